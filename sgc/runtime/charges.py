"""The bound with its whole gradient: what charged draws, weighed paths into draws, and the wake phase of q add to it.

A draw without a gradient of its own is charged with the terms that it can influence (Schulman et al. 2015), less a
baseline; what gradient an estimator makes of this charge is its own, see `Estimator.surrogate`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sgc.derivation.factors import Charge
from sgc.errors import RunError, UsageError
from sgc.objectives.estimator import Estimator
from sgc.objectives.expressions import LabelScore, Log
from sgc.runtime.layout import Pair, join, sum_enumerated
from sgc.runtime.step_masks import masked
from sgc.runtime.sums import Sums, WeighedLogMean, WeighedMean, patterns_in
from sgc.shared_rows import RowShare


def surrogate_bound(sums: Sums, kl_weight: float = 1.0) -> Tensor:
    """Sum the bound of each row, [B] nats, its α term included, γ not; its gradient is the estimators'."""
    bound = sums.value(kl_weight)
    if not torch.is_grad_enabled():
        return bound
    gradient = sums.plan.words.gradient
    if gradient.weighs_paths:
        set_path_weights(sums)
    if gradient.wakes:
        bound = bound + wake(sums)
    missing = surrogate(sums, kl_weight) if sums.plan.charges else None
    return bound if missing is None else bound + missing


def set_path_weights(sums: Sums) -> None:
    """Give every watched draw the share ŵ of all weight that the particles in which it exists have."""
    for name, path in sums.group.paths.items():
        with torch.enable_grad():
            probe = sums.probe(name)
            masked_probe = probe if path.there is None else masked(probe, path.there)
            total = sums.sweep_still(sums.weight_pairs, Pair(log=masked_probe)).log
            (path.weight,) = torch.autograd.grad(total.sum(), probe.tensor)


def wake(sums: Sums) -> Tensor:
    """Give Σ ŵ log r of each row less its own value, [B], ŵ held fixed (Bornschein and Bengio 2015, Eq. 8)."""
    logs = [Pair(value=log) for log in sums.group.waking.values()]
    mean = sums.sweep_still(sums.weight_pairs, *logs).value
    return mean - mean.detach()


def surrogate(sums: Sums, kl_weight: float) -> Tensor | None:
    """Give zeros with the gradient that charged draws add, [B]; None where no draw needs it."""
    total: Tensor | None = None
    for charge in sums.plan.charges:
        score, given, drawn = sums.group.charged[charge.node]
        log = score.tensor  # [*enumerated, S, B]
        if not log.requires_grad:
            continue
        estimator, refusal = sums.plan.proposed[charge.node].estimator, sums.plan.refuse_charging(charge)
        if refusal:  # the value is still defined, for example of another bound than the spec's
            part = _without_gradient(log, f"'{estimator}' of {charge.node} {refusal}: here is a bound, but no gradient")
        else:
            part = estimator.surrogate(log, given, drawn, _Charging(sums, charge, kl_weight))
            if estimator.own:
                _check_surrogate(charge.node, estimator, part, sums.group.layout.rows)
        total = part if total is None else total + part
    return total


def _check_surrogate(node: str, estimator: Estimator, part: object, rows: int) -> None:
    """Check the shape and the value of what a user's own estimator gives. Raises: RunError."""
    gives = f"node '{node}': surrogate() of the estimator '{estimator}' gives"
    if not isinstance(part, Tensor):
        raise RunError(f"{gives} a {type(part).__name__}, wanted a tensor of one number for each row")
    if tuple(part.shape) != (rows,):
        raise RunError(f"{gives} the shape {list(part.shape)}, wanted one number for each of {rows} rows")
    largest = float(part.detach().abs().max()) if rows else 0.0
    if not largest < 1e-3:
        raise RunError(f"{gives} values up to {largest:.3g}: its value has to be 0, its gradient is what is added")


def _without_gradient(log: Tensor, message: str) -> Tensor:
    """Give zeros, [B], that refuse a gradient."""

    def refuse(gradient: Tensor) -> None:
        raise UsageError(message)

    zero = (log - log.detach()).sum(tuple(range(log.dim() - 1)))
    zero.register_hook(refuse)
    return zero


class _Charging:
    """The costs that the draws of one node are charged with, over [*enumerated, S, B]; nothing here has a gradient."""

    def __init__(self, sums: Sums, charge: Charge, kl_weight: float) -> None:
        self.sums, self.charge, self.kl_weight = sums, charge, kl_weight
        self.group = sums.group
        self.terms, self.labels = frozenset(charge.terms), frozenset(charge.labels)
        self.layout = sums.group.layout
        self.leaves_out = charge.baseline == "leave_one_out" and self.layout.samples > 1

    def signal(self) -> Tensor:
        """Add up the charges of the parts of the bound."""
        total = self.group.like.new_zeros(())
        for mean in self.sums.means:
            total = total + self.mean(mean)
        for part in self.sums.log_means:
            if any(map(self.charges, part.product.logs)):
                total = total + part.scale * self.log_mean(part)
        return total

    def costs(self) -> Tensor:
        """Give ŵ F of each draw, m w F where nothing is normalised, [*enumerated, S, B]: no baseline is taken off."""
        total = self.group.like.new_zeros(())
        for mean in self.sums.means:
            assert not any(map(self.charges, mean.weight.logs)), "what moves weights is no draw's own cost"
            values = self.values(mean)
            if values:
                own = self.shares([*self.sums.factors(mean.weight), *values])
                total = total + (own if mean.normalised else own.unnormalised()).charged
        return total

    def charges(self, log: Log) -> bool:
        """Tell whether the draw can influence a log."""
        if isinstance(log, LabelScore):
            return log.node in self.labels
        return (log.node, log.role) in self.terms

    # the parts of the bound

    def mean(self, mean: WeighedMean) -> Tensor:
        """Charge a mean: its values that the draw can influence, all of them where it moves their weights."""
        moved = any(map(self.charges, mean.weight.logs))
        values = self.values(mean, every=moved)
        if not values:
            return self.group.like.new_zeros(())
        pairs = [*self.sums.factors(mean.weight), *values]
        if not mean.normalised:
            return self.unnormalised(mean.name, pairs, moved=moved)
        if moved:
            log, value = self.inside(pairs)  # Z holds the samples together
            return self.less(mean.name, log, value, lambda _, average: average)
        own = self.shares(pairs)
        return own.charged - own.share * self.baseline(mean.name, own)

    def values(self, mean: WeighedMean, *, every: bool = False) -> list[Pair]:
        """Give the values of a mean that the draw can influence."""
        value_of = self.sums.value_of
        return [value_of(number, log, self.kl_weight) for number, log in mean.values if every or self.charges(log)]

    def unnormalised(self, name: str, pairs: Sequence[Pair], *, moved: bool) -> Tensor:
        """Charge Σ m w f over the particles with the draw, all of f where it moves w."""
        own = self.shares(pairs).unnormalised()
        if not moved:
            return own.charged - own.share * self.baseline(name, own)
        alike = torch.full_like(own.share, 1 / self.layout.samples)
        return own.charged - alike * self.baseline(name, DrawShare(own.log, alike, own.charged))

    def log_mean(self, part: WeighedLogMean) -> Tensor:
        """Charge log (1/S) Σ a less the same without the sample."""
        log, value = self.inside(self.sums.factors(part.product))
        return self.less(part.name, log, value, lambda total, _: total)

    # sums over particles

    def shares(self, pairs: Sequence[Pair]) -> DrawShare:
        """Sum the particles with each draw, by one sweep and its gradient by the weight of each draw.

        With a factor e^τ over the draws, ∂ log Σ m w / ∂τ is their share ŵ, and ∂ Σ ŵ F / ∂τ is ŵ (F − Σ ŵ F).
        """
        with torch.enable_grad():
            probe = self.sums.probe(self.charge.node)
            swept = self.sums.sweep_still(pairs, Pair(log=probe))
            (share,) = torch.autograd.grad(swept.log.sum(), probe.tensor, retain_graph=True)
            alike = not swept.value.requires_grad  # every particle has the same value
            slope = torch.zeros_like(share) if alike else torch.autograd.grad(swept.value.sum(), probe.tensor)[0]
        return DrawShare(swept.log.detach(), share, slope + share * swept.value.detach())

    def inside(self, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
        """Sum the enumerated dimensions out inside each sample: the log of its weight, and its mean value, [S, B]."""
        left, _ = sum_enumerated(
            [pair.still() for pair in [*self.sums.masses, *pairs]], self.sums.plan.elimination, self.layout
        )
        joined, size = join(left), (self.layout.samples, self.layout.rows)
        zero = self.group.like.new_zeros(size)
        log, value = (zero if x is None else x.tensor.reshape(x.tensor.shape[-2:]) for x in (joined.log, joined.value))
        return log.expand(size), value.expand(size)

    # baselines

    def less(self, part: str, log: Tensor, value: Tensor, choose: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Give a mean over samples less its baseline, that of the other samples or a running one: [S, B] or [1, B]."""
        count = self.layout.samples
        mean = (log.softmax(0) * value).sum(0, keepdim=True)
        average = choose(log.logsumexp(0, keepdim=True) - math.log(count), mean)
        if self.leaves_out:
            return average - choose(*leave_one_out(log, value))
        return average - self.running(part, average.reshape(-1))

    def baseline(self, part: str, own: DrawShare) -> Tensor | float:
        """Give what is taken off each draw's terms: the mean of the other samples', a running mean, or nothing."""
        if self.leaves_out:
            axis = self.layout.sample_axis
            share = sum_of_others(own.share, axis)
            return sum_of_others(own.charged, axis) / share.clamp(min=torch.finfo(share.dtype).tiny)
        over = tuple(range(own.share.dim() - 1))
        share = own.share.sum(over)
        return self.running(part, own.charged.sum(over) / share.clamp(min=torch.finfo(share.dtype).tiny))

    def running(self, part: str, charged: Tensor) -> Tensor | float:
        """Give each row the running mean of its own pattern, and move these by what is charged now, [B]: [B] or 0."""
        if self.charge.baseline != "running_mean":
            return 0.0
        baselines = torch.zeros_like(charged)
        decay = self.sums.settings.decay[self.charge.node]
        if self.group.share is not None:
            return self._running_of_all(part, charged, decay, self.group.share)
        for pattern, places in self.sums.patterns():
            key = f"{self.charge.node} | {pattern} | {part}"
            rows = slice(None) if places is None else places
            baselines[rows] = self.sums.running_means.take(key, charged[rows], decay)
        return baselines

    def _running_of_all(self, part: str, charged: Tensor, decay: float, share: RowShare) -> Tensor:
        """Do as `running` where rows are shared out: a mean is one of the rows of all processes."""
        baselines = torch.zeros_like(charged)
        for pattern, places in patterns_in(self.sums.plan.observed, self.group.labelled_of_all, self.sums.plan.order):
            every = np.arange(share.count) if places is None else places.cpu().numpy()
            rows = torch.from_numpy(share.own(every)).to(charged.device)
            key = f"{self.charge.node} | {pattern} | {part}"
            mean = partial(_mean_of_all, count=len(every))
            baselines[rows] = self.sums.running_means.take(key, charged.index_select(0, rows), decay, mean)
        return baselines


def _mean_of_all(charged: Tensor, count: int) -> Tensor:
    total: Tensor = torch.ops.sgc.summed(charged.sum())
    return total / count


class DrawShare(NamedTuple):
    """The share of all weight of the particles with each draw, [*enumerated, S, B], and this times their value."""

    log: Tensor  # of all weight, [B]
    share: Tensor
    charged: Tensor

    def unnormalised(self) -> DrawShare:
        """Take the weight itself in place of its share: where nothing is normalised."""
        scale = self.log.exp()
        return DrawShare(self.log, self.share * scale, self.charged * scale)


def sum_of_others(values: Tensor, axis: int) -> Tensor:
    """For each place along an axis, add up the others, from both ends: subtracting it from a sum would lose digits."""
    before = values.cumsum(axis).roll(1, axis)
    after = values.flip(axis).cumsum(axis).roll(1, axis)
    before.select(axis, 0).zero_()
    after.select(axis, 0).zero_()
    return before + after.flip(axis)


def leave_one_out(log: Tensor, value: Tensor) -> Weighted:
    """For each sample, average the others: the log of their mean weight, and their weighted mean value.

    Sums from both ends meet at the sample that is left out. log, value: [S, B] -> [S, B] each.
    """
    places = list(zip(log.unbind(0), value.unbind(0), strict=True))
    before, after = _scan(places), _scan(places[::-1])[::-1]
    inner = [_meet(before[i - 1], after[i + 1]) for i in range(1, len(places) - 1)]
    averages = [after[1], *inner, before[-2]]
    least = math.log(len(places) - 1)
    return torch.stack([total - least for total, _ in averages]), torch.stack([mean for _, mean in averages])


Weighted = tuple[Tensor, Tensor]  # the log of a weight, and the mean that it weighs


def _scan(places: Sequence[Weighted]) -> list[Weighted]:
    sums = [places[0]]
    for place in places[1:]:
        sums.append(_meet(sums[-1], place))
    return sums


def _meet(left: Weighted, right: Weighted) -> Weighted:
    total = torch.logaddexp(left[0], right[0])
    return total, left[1] + torch.sigmoid(right[0] - left[0]) * (right[1] - left[1])
