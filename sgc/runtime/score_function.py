"""The score function: what each draw without a gradient is charged with, and the baselines that are taken off.

A draw v of sample s enters the objective as (log q(v) − stop(log q(v))) · stop(signal), so that the bound keeps its
value and the gradient of log q(v) is multiplied by what the draw can influence (Williams 1992; Schulman et al. 2015).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sgc.derivation.plan import SAMPLES, Cost
from sgc.runtime.layout import Layout, Pair, join, sum_enumerated

if TYPE_CHECKING:
    from sgc.runtime.execute import Sums


@dataclass
class RunningMeans:
    """The running means that are taken off what draws are charged with, by node, pattern and part of the bound."""

    means: dict[str, float] = field(default_factory=dict)
    learning: bool = True

    def take(self, key: str, charged: Tensor, decay: float) -> float:
        """Give the mean of the steps before this one, 0 at the first, and move it on by what is charged now."""
        before = self.means.get(key)
        if self.learning:
            now = float(charged.mean())
            if math.isfinite(now):
                self.means[key] = now if before is None else decay * before + (1 - decay) * now
        return 0.0 if before is None else before

    def state(self) -> dict[str, Any]:  # Any: numbers
        """Give the means as plain data."""
        return dict(self.means)

    def restore(self, state: dict[str, Any]) -> None:  # Any: numbers
        """Go on from a saved state."""
        self.means = {str(key): float(value) for key, value in state.items()}


def surrogate(sums: Sums, kl_weight: float) -> Tensor | None:
    """Give what has the value 0 and the score-function gradient of the bound, [B]; None where no draw needs it."""
    total: Tensor | None = None
    for cost in sums.plan.costs:
        log = sums.group.draws[cost.node]  # [*enumerated, S, B]
        if not log.requires_grad:
            continue
        with torch.no_grad():
            signal = _Charge(sums, cost, kl_weight).signal()
        part = ((log - log.detach()) * signal).sum(tuple(range(log.dim() - 1)))
        total = part if total is None else total + part
    return total


class _Charge:
    """What the draws of one node are charged with, over [*enumerated, S, B]."""

    def __init__(self, sums: Sums, cost: Cost, kl_weight: float) -> None:
        self.sums, self.cost, self.kl_weight = sums, cost, kl_weight
        self.group, self.words = sums.group, sums.words
        self.layout: Layout = sums.group.layout
        dims = sums.plan.proposal(cost.node).dims
        self.own = [self.layout.axes[name] for name in dims if name != SAMPLES]
        samples = self.layout.samples
        self.leaves_out = cost.baseline == "leave_one_out" and samples > 1

    def signal(self) -> Tensor:
        kind, labels = self.words.bound, self.cost.labels
        pieces: list[Tensor] = []
        if kind == "supervised":
            pieces.append(self.coupled_log_mean("bound", self.sums.weight_pairs))
        elif kind == "iwae":
            pieces.append(self.coupled_log_mean("bound", self.sums.weight_pairs))
            if labels:
                pieces.append(self.telescoped(list(self.group.weights), self.sums.alpha))
        elif kind == "density":
            pieces.append(self.density())
        else:
            pieces.append(self.coupled_mean("bound") if self.cost.coupled else self.local("bound", self.terms()))
            if labels:
                pieces.append(self.labels())
        total = pieces[0]
        for piece in pieces[1:]:
            total = total + piece
        return total

    # the parts of the bound

    def terms(self) -> list[Pair]:
        """The values of f that are charged."""
        scores, scaled = self.group.scores, self.sums.scaled
        return [Pair(value=scaled(key, scores[key], self.kl_weight)) for key in self.cost.terms if key in scores]

    def labels(self) -> Tensor:
        """The α terms of the labels whose factor varies with the draw."""
        extra = 1.0 if self.sums.normalised else 0.0

        def scale(name: str) -> float:
            return extra + self.sums.alpha(name)

        if self.words.label_term == "log_mean":
            return self.telescoped(list(self.sums.varying), scale)
        values = [Pair(value=scale(name) * self.group.weights[name]) for name in self.cost.labels]
        return self.local("label", values, weighed=False)

    def local(self, part: str, values: Sequence[Pair], *, weighed: bool = True) -> Tensor:
        """ŵ (F − baseline), where the draw moves no weight: F the terms of the particles that hold it."""
        if not values:
            return self.group.like.new_zeros(())
        weights = self.sums.weight_pairs if weighed else []
        held = self.inside([*weights, *values], self.own)
        assert held.value is not None
        share = self.share(held.log, weights)
        return share * (held.value - self.baseline(part, held.value, share))

    def share(self, log: Tensor | None, weights: Sequence[Pair]) -> Tensor:
        """Give the part of all weight that the particles of each draw have."""
        samples = self.layout.samples
        if log is None:
            return self.group.like.new_full((), 1 / samples)
        if self.words.bound == "density":  # not normalised
            return log.exp() / samples
        total = self.sums.eliminate(weights).log
        return (log - total).exp() / samples

    def density(self) -> Tensor:
        """Σ m w f over the particles that hold the draw, their weights moved by it where it reaches w."""
        if not self.cost.labels:
            return self.local("bound", self.terms())
        minus_log_w = [Pair(value=-log) for log in self.group.weights.values()]
        held = self.inside([*self.sums.weight_pairs, *self.terms(), *minus_log_w], self.own)
        assert held.value is not None
        charged = held.value if held.log is None else held.log.exp() * held.value
        each = self.group.like.new_full((), 1 / self.layout.samples)
        return each * (charged - self.baseline("bound", charged, each))

    def coupled_mean(self, part: str) -> Tensor:
        """Σ ŵ f less Σ ŵ f without the sample: Z holds the samples together."""
        minus_log_w = [Pair(value=-log) for log in self.sums.varying.values()]
        each = self.inside([*self.sums.weight_pairs, *self.terms(), *minus_log_w], [])
        return self.less(part, each, lambda pair: pair.value)

    def coupled_log_mean(self, part: str, weights: Sequence[Pair]) -> Tensor:
        """log (1/S) Σ a less the same without the sample."""
        return self.less(part, self.inside(weights, []), lambda pair: pair.log)

    def telescoped(self, names: Sequence[str], scale: Callable[[str], float]) -> Tensor:
        """Σ scale_v [log E ∏_{u<=v} w_u − log E ∏_{u<v} w_u], less the same without the sample."""
        total = self.group.like.new_zeros(())
        for i, name in enumerate(names):
            further = scale(names[i + 1]) if i + 1 < len(names) else 0.0
            if scale(name) == further:  # equal scales telescope
                continue
            logs = [Pair(log=self.group.weights[n]) for n in names[: i + 1]]
            total = total + (scale(name) - further) * self.coupled_log_mean(f"label {name}", logs)
        return total

    # sums and baselines

    def inside(self, pairs: Sequence[Pair], keep: Sequence[int]) -> Pair:
        """Sum the enumerated dimensions out inside each sample, but for those to keep: over [*kept, S, B]."""
        left, _ = sum_enumerated([*self.sums.masses, *pairs], self.sums.plan.elimination, self.layout, keep)
        return join(left)

    def less(self, part: str, each: Pair, choose: Callable[[Pair], Tensor | None]) -> Tensor:
        """Give a mean over samples less its baseline: the mean over the other samples, or a running mean."""
        axis = self.layout.sample_axis
        shape = [1] * self.layout.rank
        shape[axis], shape[self.layout.row_axis] = self.layout.samples, self.layout.rows
        zero = self.group.like.new_zeros(shape)
        spread = Pair(*(zero if x is None else x.expand(shape) for x in (each.log, each.value)))
        whole = choose(spread.mean_out(axis))
        assert whole is not None
        if self.leaves_out:
            others = choose(leave_one_out(spread, axis))
            assert others is not None
            return whole - others
        return whole - self.running(part, whole)

    def baseline(self, part: str, charged: Tensor, share: Tensor) -> Tensor | float:
        """Give what is taken off each draw's charge: the mean of the other samples', a running mean, or nothing."""
        axis = self.layout.sample_axis
        if self.leaves_out and charged.shape[axis] > 1:
            count = charged.shape[axis]
            return (charged.sum(axis, keepdim=True) - charged) / (count - 1)
        return self.running(part, charged, share)

    def running(self, part: str, charged: Tensor, share: Tensor | None = None) -> float:
        if self.cost.baseline != "running_mean":
            return 0.0
        scaled = "" if self.kl_weight == 1.0 else " scaled"
        key = f"{self.cost.node} | {', '.join(self.sums.plan.observed)} | {part}{scaled}"
        if share is not None:  # particles count as much as they weigh
            size = torch.broadcast_shapes(charged.shape, share.shape)
            weight = share.expand(size)
            charged = (weight * charged).sum() / weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)
        return self.sums.running_means.take(key, charged, self.sums.decay(self.cost.node))


def leave_one_out(each: Pair, axis: int) -> Pair:
    """For each place along an axis, average the others: the log of their mean weight, their weighted mean value.

    Sums from both ends meet at the place that is left out, so that nothing is taken off a sum it dominates.
    """
    assert each.log is not None
    assert each.value is not None
    logs, values = each.log.unbind(axis), each.value.unbind(axis)
    count = len(logs)
    places = list(zip(logs, values, strict=True))
    before, after = _scan(places), _scan(places[::-1])[::-1]
    found = [_meet(before[i - 1], after[i + 1]) if 0 < i < count - 1 else None for i in range(count)]
    found[0], found[-1] = after[1], before[-2]
    least = math.log(count - 1)
    return Pair(
        torch.stack([each[0] - least for each in found if each is not None], axis),
        torch.stack([each[1] for each in found if each is not None], axis),
    )


Weighted = tuple[Tensor, Tensor]  # the log of a total weight, the weighted mean


def _scan(places: Sequence[Weighted]) -> list[Weighted]:
    found = [places[0]]
    for place in places[1:]:
        found.append(_meet(found[-1], place))
    return found


def _meet(one: Weighted, other: Weighted) -> Weighted:
    total = torch.logaddexp(one[0], other[0])
    return total, one[1] + torch.sigmoid(other[0] - one[0]) * (other[1] - one[1])
