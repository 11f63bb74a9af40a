"""The posterior of what is not observed: particles weighed by p/r, their means, draws of them, and predictions by q.

`infer` weighs by the model's posterior, p(c, l) / r(l); a prediction "from q" averages q's own means over its
particles.
Enumerated nodes are summed out in both, so that categories come as probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sgc.language.outline import Outline
from sgc.runtime.execute import Sums
from sgc.runtime.layout import Eliminated, Layout, Pair, average_samples, eliminate, join, sum_enumerated


@dataclass(frozen=True)
class NodePosterior:
    """What is known of one unobserved node in each row, under the model's posterior.

    `mean` [B, *event]: probabilities for categories. `samples` [S, B, *event] with normalised `weights` [S, B], which
    sum to one over S: Σ_s weights · samples estimates the mean.
    """

    mean: Tensor
    samples: Tensor
    weights: Tensor


class Posterior:
    """The particles of one group of rows, weighed."""

    def __init__(self, sums: Sums, outline: Outline) -> None:
        self.group, self.outline = sums.group, outline
        self.layout: Layout = sums.group.layout
        self.masses = [Pair(log=mass) for mass in self.group.masses]
        self.scores = [Pair(log=score) for score in self.group.scores.values()]
        self.swept: Eliminated = self.sweep([*self.masses, *self.scores])

    def sweep(self, pairs: Sequence[Pair]) -> Eliminated:
        return eliminate(pairs, self.group.plan.elimination, self.layout, self.group.like)

    @property
    def log_evidence(self) -> Tensor:
        """log (1/S) Σ p/r, [B] nats: an importance-sampled log p of what is observed, from below in expectation."""
        return self.swept.log

    def sample_weights(self) -> Tensor:
        """Normalise the samples' weights: [S, B], summing to one over S."""
        log = self.swept.samples
        size = (self.layout.samples, self.layout.rows)
        if log is None:
            return self.group.like.new_full(size, 1 / self.layout.samples)
        return log.reshape(log.shape[-2:]).expand(size).softmax(0)

    def mean(self, node: str, *, weighted: bool) -> Tensor:
        """Average a node over all particles: [B, *event]; unweighted, average q's own means instead of its values."""
        family = self.outline.variables[node].family
        if weighted:
            value = self.group.values[node]
        else:
            value = family.mean(self.group.proposals[node])
            value = value.reshape((1,) * (self._rank(node) - value.dim()) + tuple(value.shape))
        return self.average(node, value, weighted=weighted)

    def average(self, node: str, value: Tensor, *, weighted: bool) -> Tensor:
        """Average what every particle says of a node, [*enumerated, S, B, *event], over all of them: [B, *event]."""
        event = tuple(self.outline.variables[node].event)
        rank = self.layout.rank
        flat = value.reshape(*value.shape[:rank], -1)
        pairs = [*self.masses, *(self.scores if weighted else [])]
        axes = [axis for axis in range(rank - 1) if flat.shape[axis] > 1]
        weights = self.marginal(pairs, axes)
        total = (weights.unsqueeze(-1) * flat).sum(tuple(range(rank - 1)))
        return total.expand(self.layout.rows, total.shape[-1]).reshape(self.layout.rows, *event)

    def _rank(self, node: str) -> int:
        return self.layout.rank + len(self.outline.variables[node].event)

    def marginal(self, pairs: Sequence[Pair], keep: Sequence[int]) -> Tensor:
        """Give the normalised weights over the kept dimensions, the others of size 1: [*enumerated, S, B]."""
        left, _ = sum_enumerated(pairs, self.group.plan.elimination, self.layout, keep)
        if self.layout.sample_axis not in keep:
            left, _ = average_samples(left, self.layout)
        names = {axis: name for name, axis in self.layout.axes.items()}
        shape = [1] * self.layout.rank
        shape[self.layout.row_axis] = self.layout.rows
        for axis in keep:
            shape[axis] = self._support(names[axis]) if axis in names else self.layout.samples
        log = join(left).log
        total = self.group.like.new_zeros(shape) if log is None else log.expand(shape)
        return total.flatten(0, -2).softmax(0).reshape(shape)

    def _support(self, node: str) -> int:
        return self.group.values[node].shape[self.layout.axes[node]]

    def choose(self) -> dict[str, Tensor]:
        """Draw for each sample and row a value of every enumerated node: indices [S, B], backwards through the sums."""
        size = (self.layout.samples, self.layout.rows)
        chosen: dict[str, Tensor] = {}
        for node, log in reversed(self.swept.steps):
            picked = self.pick(log, chosen, self.layout.axes[node])  # [S, B, K]
            flat = picked.reshape(-1, picked.shape[-1])
            chosen[node] = torch.multinomial(flat.softmax(-1), 1).reshape(size)
        return chosen

    def pick(self, value: Tensor, chosen: Mapping[str, Tensor], keep: int | None = None) -> Tensor:
        """Take the combination of each sample and row: [*leading, *event] -> [S, B, *event], a kept axis after B."""
        rank, size = self.layout.rank, (self.layout.samples, self.layout.rows)
        device = value.device
        index: list[Tensor | slice] = []
        for node, axis in self.layout.axes.items():
            if axis == keep:
                index.append(slice(None))
            elif value.shape[axis] > 1:
                index.append(chosen[node])
            else:
                index.append(torch.zeros(size, dtype=torch.long, device=device))
        samples = torch.arange(size[0], device=device).unsqueeze(1).expand(size)
        rows = torch.arange(size[1], device=device).unsqueeze(0).expand(size)
        index.append(samples if value.shape[rank - 2] > 1 else torch.zeros_like(samples))
        index.append(rows if value.shape[rank - 1] > 1 else torch.zeros_like(rows))
        if keep is not None:
            moved = value.movedim(keep, rank - 1)
            order = [each for each in index if not isinstance(each, slice)]
            return moved[tuple(order)]
        return value[tuple(index)]

    def node(self, name: str, chosen: Mapping[str, Tensor], weights: Tensor) -> NodePosterior:
        """Give one node's posterior, its samples taken from one draw of the enumerated nodes."""
        value = self.group.values[name]
        samples = self.pick(value, chosen)
        return NodePosterior(self.mean(name, weighted=True), samples, weights)

    def filled(self, name: str, given: Tensor, chosen: Mapping[str, Tensor], weights: Tensor) -> NodePosterior:
        """Give a node that drops what is missing, filled in by p(node | parents) under the posterior of the parents.

        given: [B, *event], NaN where it is missing; what is there stays as it is.
        """
        p, missing = self.group.dropped[name], torch.isnan(given)
        center = self.outline.variables[name].family.mean(p)
        center = center.reshape((1,) * (self._rank(name) - center.dim()) + tuple(center.shape))
        draws = self.pick(p.expand(self.layout.drawn(p.batch_shape)).sample(), chosen)
        mean = self.average(name, center, weighted=True)
        return NodePosterior(torch.where(missing, mean, given), torch.where(missing, draws, given), weights)
