"""The posterior of what is not observed: particles weighed by p/r, their means, draws of them, and predictions by q.

`infer` weighs by the model's posterior, p(c, l) / r(l); a prediction "from q" averages q's own means over its
particles. What is said of a repeat's step is said given that the step exists.
Enumerated nodes are summed out in both, so that categories come as probabilities.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from sgc.derivation.plan import SAMPLES
from sgc.distributions.densities import element_of
from sgc.language.outline import Outline
from sgc.runtime.existence import particles_exist
from sgc.runtime.layout import Eliminated, Layout, Pair, Score, eliminate
from sgc.runtime.sums import Sums


@dataclass(frozen=True)
class NodePosterior:
    """What is known of one unobserved node in each row, under the model's posterior.

    `mean` [B, *event]: probabilities for categories. `samples` [S, B, *event] with normalised `weights` [S, B], which
    sum to one over S: Σ_s weights · samples estimates the mean.

    Of a step of a repeat the mean is that given that the step exists, NaN where it cannot, and samples in which it does
    not are NaN.
    """

    mean: Tensor
    samples: Tensor
    weights: Tensor

    def held(self, value: Tensor, there: Tensor) -> NodePosterior:
        """Put what was observed in its place, where it was. value: [B, *event], there: [B] booleans."""
        where = there.reshape(-1, *(1,) * (value.dim() - 1))
        return NodePosterior(
            torch.where(where, value, self.mean), torch.where(where, value, self.samples), self.weights
        )

    def only(self, there: Tensor) -> NodePosterior:
        """Leave out what is said of rows that are not `there`: [B] booleans."""
        where = ~there.reshape(-1, *(1,) * (self.mean.dim() - 1))
        return NodePosterior(
            self.mean.masked_fill(where, torch.nan), self.samples.masked_fill(where, torch.nan), self.weights
        )


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
        if weighted or node in self.by_value:
            value = self.group.values[node]
        else:
            value = family.mean(self.group.proposals[node])
            value = value.reshape((1,) * (self._rank(node) - value.dim()) + tuple(value.shape))
        return self.average(node, value, weighted=weighted)

    def share_below(self, node: str, value: Tensor) -> Tensor | None:
        """Give q's probability, averaged over its particles, of each element being at most `value`, both [B, *event].

        None where the family has no such function, or its elements are not apart. NaN where the value is.
        """
        family, q = self.outline.variables[node].family, self.group.proposals[node]
        if family.event_dim:
            return None
        missing = torch.isnan(value)
        safe = torch.where(missing, family.inside(q, value), value)
        try:
            below = element_of(q).cdf(safe)
        except NotImplementedError:
            return None
        below = below.reshape((1,) * (self._rank(node) - below.dim()) + tuple(below.shape))
        return self.average(node, below, weighted=False).masked_fill(missing, torch.nan)

    def average(self, node: str, value: Tensor, *, weighted: bool) -> Tensor:
        """Average what every particle says of a node, [*enumerated, S, B, *event], over all of them: [B, *event]."""
        event = tuple(self.outline.variables[node].event)
        rank = self.layout.rank
        flat = value.reshape(*value.shape[:rank], -1)
        weights = (self.by_posterior if weighted else self.by_proposal)[node]
        over = tuple(range(rank - 1))
        if node in self.group.plan.exists:
            weights = self.given_there(node, weights, over, weighted=weighted)
        total = (weights.unsqueeze(-1) * flat).sum(over)
        return total.expand(self.layout.rows, total.shape[-1]).reshape(self.layout.rows, *event)

    def given_there(self, node: str, weights: Tensor, over: tuple[int, ...], *, weighted: bool) -> Tensor:
        """Hold the weights of a step to the particles in which it exists: NaN where there are none.

        But q still has something to say of a step that no draw of its count reached: unweighted, all particles count.
        """
        kept = torch.where(self.there(node).tensor, weights, 0.0)
        total = kept.sum(over, keepdim=True)
        if weighted:
            return kept / total  # 0/0 is NaN
        found = torch.where(total > 0, kept / total, weights)
        return torch.where(self.group.exist[node], found, torch.nan) if node in self.group.exist else found

    def there(self, node: str) -> Score:
        """Tell in which particles a step exists, booleans over [*enumerated, S, B]."""
        return particles_exist(self.group, node, self.outline)

    def counted(self, node: str) -> frozenset[str]:
        """Name the dimensions over which a step's existence varies."""
        counts = (count for count, _ in self.group.plan.exists.get(node, ()))
        proposed = self.group.plan.proposed
        return frozenset().union(*(proposed[count].dims for count in counts if count in proposed))

    @cached_property
    def by_value(self) -> frozenset[str]:
        """The nodes that are held to something which their q does not read: labels, or that they exist.

        A count that labels tell of, and a step that a count below it in q may deny: q's own mean is not theirs.
        """
        plan, graphs = self.group.plan, self.outline.graphs
        steps = (name for name in plan.exists if name in plan.proposed)
        clamped = frozenset(plan.clamped)
        later = (name for name in steps if graphs.below(name, clamped).intersection(graphs.nodes[name].counts))
        return plan.evidence.union(later)

    def _rank(self, node: str) -> int:
        return self.layout.rank + len(self.outline.variables[node].event)

    @cached_property
    def by_posterior(self) -> dict[str, Tensor]:
        """The weights of the particles by p/r, over the dimensions of each proposed or dropped node's value."""
        plan = self.group.plan
        wanted = {n: p.dims | self.counted(n) for n, p in plan.proposed.items()}
        wanted |= {n: plan.scored[n].dims for n in self.group.dropped}
        return self.marginals([*self.masses, *self.scores], wanted)

    @cached_property
    def by_proposal(self) -> dict[str, Tensor]:
        """The weights of the particles by r, over the dimensions of each proposed node's q."""
        wanted: dict[str, frozenset[str]] = {}
        for name, proposal in self.group.plan.proposed.items():
            own = proposal.estimator == "enumerate" and name not in self.by_value
            wanted[name] = (proposal.factor.dims - {name} if own else proposal.factor.dims) | self.counted(name)
        return self.marginals(self.masses, wanted)

    def marginals(self, pairs: Sequence[Pair], wanted: Mapping[str, Collection[str]]) -> dict[str, Tensor]:
        """Give the normalised weights over the dimensions wanted for each node: [*enumerated, S, B], the others 1.

        They are what log Σ m w changes by with a factor over these dimensions: one sweep and its gradient give them
        for all nodes, at twice the cost of the sweep, which is the forward-backward algorithm (Darwiche 2003).
        """
        layout, like = self.layout, self.group.like
        probes: dict[frozenset[str], Tensor] = {}
        for dims in map(frozenset, wanted.values()):
            shape = [1] * layout.depth + [layout.samples if SAMPLES in dims else 1, layout.rows]
            for name in dims & layout.axes.keys():
                shape[layout.axes[name]] = self._support(name)
            probes.setdefault(dims, like.new_zeros(shape).requires_grad_())
        with torch.enable_grad():
            fixed = [
                Pair(log=Score(pair.log.tensor.detach(), pair.log.nodes)) for pair in pairs if pair.log is not None
            ]
            more = [Pair(log=Score(probe, dims & layout.axes.keys())) for dims, probe in probes.items()]
            found = torch.autograd.grad(self.sweep([*fixed, *more]).log.sum(), list(probes.values()))
        by_dims = dict(zip(probes, found, strict=True))
        return {name: by_dims[frozenset(dims)] for name, dims in wanted.items()}

    def _support(self, node: str) -> int:
        return self.group.values[node].shape[self.layout.axes[node]]

    def choose(self) -> dict[str, Tensor]:
        """Draw for each sample and row a value of every enumerated node: indices [S, B], backwards through the sums."""
        size = (self.layout.samples, self.layout.rows)
        chosen: dict[str, Tensor] = {}
        for node, log in reversed(self.swept.steps):
            picked = self.pick(log.tensor, log.nodes, chosen, node)  # [S, B, K]
            flat = picked.reshape(-1, picked.shape[-1])
            chosen[node] = torch.multinomial(flat.softmax(-1), 1).reshape(size)
        return chosen

    def pick(
        self, value: Tensor, dims: Collection[str], chosen: Mapping[str, Tensor], keep: str | None = None
    ) -> Tensor:
        """Take the combination of each sample and row: [*leading, *event] -> [S, B, *event], a kept axis after B.

        dims: the nodes that the leading dimensions stand for.
        """
        rank, size = self.layout.rank, (self.layout.samples, self.layout.rows)
        device = value.device
        zero = torch.zeros(size, dtype=torch.long, device=device)
        index = [zero] * self.layout.depth
        for node in dims:
            if node != keep and node != SAMPLES and value.shape[self.layout.axes[node]] > 1:
                index[self.layout.axes[node]] = chosen[node]
        samples = torch.arange(size[0], device=device).unsqueeze(1).expand(size)
        rows = torch.arange(size[1], device=device).unsqueeze(0).expand(size)
        index.append(samples if value.shape[rank - 2] > 1 else zero)
        index.append(rows if value.shape[rank - 1] > 1 else zero)
        if keep is not None:
            axis = self.layout.axes[keep]
            del index[axis]
            value = value.movedim(axis, rank - 1)
        return value[tuple(index)]

    def node(self, name: str, chosen: Mapping[str, Tensor], weights: Tensor) -> NodePosterior:
        """Give one node's posterior, its samples taken from one draw of the enumerated nodes."""
        samples = self.pick(self.group.values[name], self.group.plan.proposal(name).dims, chosen)
        return NodePosterior(self.mean(name, weighted=True), self.where_there(name, samples, chosen), weights)

    def of_steps(self, name: str, made: NodePosterior) -> NodePosterior:
        """Leave out what is said of a step in rows whose labelled counts deny it."""
        return made.only(self.group.exist[name]) if name in self.group.exist else made

    def where_there(self, name: str, samples: Tensor, chosen: Mapping[str, Tensor]) -> Tensor:
        """Put NaN in place of the samples, [S, B, *event], in which a step does not exist."""
        if name not in self.group.plan.exists:
            return samples
        there = self.pick(self.there(name).tensor, self.counted(name), chosen)
        return samples.masked_fill(~there.reshape(*there.shape, *(1,) * (samples.dim() - 2)), torch.nan)

    def filled(self, name: str, given: Tensor, chosen: Mapping[str, Tensor], weights: Tensor) -> NodePosterior:
        """Give a node that drops what is missing, filled in by p(node | parents) under the posterior of the parents.

        given: [B, *event], NaN where it is missing; what is there stays as it is.
        """
        p, missing = self.group.dropped[name], torch.isnan(given)
        center = self.outline.variables[name].family.mean(p)
        center = center.reshape((1,) * (self._rank(name) - center.dim()) + tuple(center.shape))
        drawn = p.expand(self.layout.drawn(p.batch_shape)).sample()
        draws = self.pick(drawn, self.group.plan.scored[name].dims, chosen)
        mean = self.average(name, center, weighted=True)
        draws = self.where_there(name, draws, chosen)
        return NodePosterior(torch.where(missing, mean, given), torch.where(missing, draws, given), weights)
