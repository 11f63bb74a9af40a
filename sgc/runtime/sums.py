"""The sums over the particles of a group that give its bound, its terms and its weights.

Nothing is decided here: the plan says what is summed, and running it gives the scores.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from sgc.derivation.factors import SAMPLES
from sgc.objectives.expressions import Constant, LabelScore, Log, LogMean, Mean, Product, Scale
from sgc.objectives.expressions import Score as ScoreOf
from sgc.runtime.batch import patterns_of
from sgc.runtime.group import Group, Key
from sgc.runtime.layout import Eliminated, Pair, Score, eliminate
from sgc.runtime.modes import outside_inference_mode
from sgc.runtime.running_means import RunningMeans
from sgc.tape.recording import not_recordable

ONE_BY_ONE = 64  # factors that are joined at most for means that are taken one by one

P = TypeVar("P", Mean, LogMean, Constant)


@dataclass(frozen=True)
class Settings:
    """The numbers of the objective at one moment: α of each node, and the weight of the latent nodes' terms."""

    alpha: Mapping[str, float]
    kl_weight: float = 1.0
    decay: Mapping[str, float] = field(default_factory=dict)  # of each node's running mean


@dataclass(frozen=True)
class WeighedMean:
    """A mean of scaled logs under one product of weights, ready to be summed: scales are numbers."""

    weight: Product
    normalised: bool
    name: str
    values: Sequence[tuple[float, Log]]


@dataclass(frozen=True)
class WeighedLogMean:
    """The log of the mean of a product, times a number."""

    scale: float
    product: Product
    name: str


class Sums:
    """The sums over the particles of one group that give its bound (Siddharth et al. 2017, Eqs. 8 and 9)."""

    def __init__(self, group: Group, settings: Settings, running_means: RunningMeans) -> None:
        self.group, self.settings, self.running_means = group, settings, running_means
        self.plan, self.expression = group.plan, group.plan.expression
        self.masses = [Pair(log=mass) for mass in group.masses]
        self.last_bound = group.like.new_zeros(group.layout.rows)  # as it went into the loss; for the run's log

    def eliminate(self, pairs: Sequence[Pair]) -> Eliminated:
        return eliminate([*self.masses, *pairs], self.plan.elimination, self.group.layout, self.group.like)

    # the leaves of the expression, as tensors and numbers

    def score(self, log: Log) -> Score:
        """Give the log of a factor over the particles, with its sign."""
        return self.group.weights[log.node] if isinstance(log, LabelScore) else self.group.scores[log.node, log.role]

    def factors(self, product: Product) -> list[Pair]:
        """Give the logs of a product as weights of particles."""
        power = product.power
        return [Pair(log=self.score(log) if power == 1 else self.score(log) * power) for log in product.logs]

    def probe(self, node: str) -> Score:
        """Give zeros over what a proposed node varies over and every sample and row, [*enumerated, S, B].

        As a factor e^τ of the weight, the gradient of log Σ m w by τ is the share of all weight that each draw has.
        """
        group, layout, nodes = self.group, self.group.layout, self.plan.proposed[node].dims - {SAMPLES}
        shape = [1] * layout.depth + [layout.samples, layout.rows]
        for name in nodes:
            shape[layout.axes[name]] = group.values[name].shape[layout.axes[name]]
        return Score(group.like.new_zeros(shape).requires_grad_(), nodes)

    def sweep_still(self, pairs: Sequence[Pair], *more: Pair) -> Eliminated:
        """Sum every particle out with the masses and some factors without gradient; `more` keep theirs."""
        still = [pair.still() for pair in [*self.masses, *pairs]]
        return eliminate([*still, *more], self.plan.elimination, self.group.layout, self.group.like)

    def value_of(self, number: float, log: Log, kl_weight: float = 1.0) -> Pair:
        """Give a scaled log as a value to be averaged."""
        score = self.score(log)
        if isinstance(log, ScoreOf):
            score = self.weighed((log.node, log.role), score, kl_weight)
        return Pair(value=score if number == 1 else score * number)

    def weighed(self, key: Key, score: Score, kl_weight: float) -> Score:
        """Weigh the terms of proposed nodes."""
        if kl_weight == 1.0 or key[0] not in self.plan.proposed:
            return score
        labelled = self.group.labelled.get(key[0])
        if labelled is None:
            return score * kl_weight
        unit = score.tensor.new_ones(())
        return score * torch.where(labelled, unit, (kl_weight * unit).to(unit.dtype))

    def scale(self, scale: Scale) -> float:
        """Give a scale as a number, with α as it is now."""
        return scale.constant + (self.settings.alpha[scale.alpha] if scale.alpha else 0.0)

    @property
    def weight_pairs(self) -> list[Pair]:
        """The factors that particles are weighed by beside their masses."""
        return self.factors(self.expression.weights)

    @cached_property
    def means(self) -> list[WeighedMean]:
        """The means of the bound; those under one product of weights are one."""
        by_weight: dict[tuple[Product, bool, str], list[tuple[float, Log]]] = {}
        for part, scale in self._scaled(Mean):
            values = by_weight.setdefault((part.weight, part.normalised, part.name), [])
            values += [(scale * value.sign, log) for value in part.values for log in value.logs]
        return [WeighedMean(*key, values) for key, values in by_weight.items()]

    @cached_property
    def log_means(self) -> list[WeighedLogMean]:
        """The logs of means; of ratios those with equal scales telescope."""
        scales: dict[Product, float] = {}
        names: dict[Product, str] = {}
        for part, scale in self._scaled(LogMean):
            names[part.numerator] = part.name
            scales[part.numerator] = scales.get(part.numerator, 0.0) + scale
            if part.before.logs:
                before = Product(part.before.logs, power=part.before.power)
                scales[before] = scales.get(before, 0.0) - scale
        return [WeighedLogMean(scale, product, names[product]) for product, scale in scales.items() if scale != 0]

    def _scaled(self, kind: type[P]) -> Iterator[tuple[P, float]]:
        for scaled in self.expression.parts:
            if isinstance(scaled.part, kind):
                yield scaled.part, self.scale(scaled.scale)

    # the bound

    def value(self, kl_weight: float = 1.0) -> Tensor:
        """Sum the bound of each row, [B] nats, its α term included, γ not; charged draws bring no gradient."""
        total = self.group.like.new_zeros(self.group.layout.rows)
        for mean in self.means:
            total = total + self.mean(mean, kl_weight)
        for log_part in self.log_means:
            total = total + log_part.scale * self.log_mean(log_part.product)
        for part, scale in self._scaled(Constant):
            for log in part.product.logs:
                total = total + scale * self.row(self.score(log))
        return total

    def mean(self, mean: WeighedMean, kl_weight: float = 1.0) -> Tensor:
        """Average the values of a mean under its weights, [B]."""
        values = [self.value_of(number, log, kl_weight) for number, log in mean.values]
        eliminated = self.eliminate([*self.factors(mean.weight), *values])
        return eliminated.value if mean.normalised else eliminated.log.exp() * eliminated.value

    def means_apart(self, weights: Sequence[Pair], values: Sequence[Score]) -> list[Tensor]:
        """Average each of many values under the same weights, each [B].

        A few are summed out one by one. Of many, as of the steps of a long repeat, a single sweep gives all means: the
        gradient of log Σ m w by a zero τ in a factor e^τ is the share of all weight that each place of τ has.
        """
        if len(values) * (1 + len(self.masses) + len(weights)) <= ONE_BY_ONE:
            return [self.eliminate([*weights, Pair(value=value)]).value for value in values]
        with_gradient, rows = torch.is_grad_enabled(), self.group.layout.rows
        with outside_inference_mode(), torch.enable_grad():
            pairs = [*self.masses, *weights]
            factors = pairs if with_gradient else [Pair(log=_alone(pair.log)) for pair in pairs if pair.log is not None]
            probes = [self.group.like.new_zeros((*value.tensor.shape[:-1], rows)).requires_grad_() for value in values]
            factors += [Pair(log=Score(probe, value.nodes)) for probe, value in zip(probes, values, strict=True)]
            log_weight = eliminate(factors, self.plan.elimination, self.group.layout, self.group.like).log
            shares = torch.autograd.grad(log_weight.sum(), probes, create_graph=with_gradient)
        pairs_of = zip(shares, values, strict=True)
        return [(share * value.tensor).sum(tuple(range(share.dim() - 1))) for share, value in pairs_of]

    def log_mean(self, product: Product) -> Tensor:
        """Give the log of the mean of a product, [B]."""
        return self.eliminate(self.factors(product)).log

    def patterns(self) -> list[tuple[str, Tensor | None]]:
        """List the patterns of the rows, as labels with commas between, and their places; None: all rows."""
        return patterns_in(self.plan.observed, self.group.labelled, self.plan.order)

    def row(self, score: Score) -> Tensor:
        """Flatten a score that varies over rows alone: [1, ..., B] -> [B]."""
        return score.tensor.reshape(-1).expand(self.group.layout.rows)

    # its terms

    def terms(self) -> dict[str, dict[str, Tensor]]:
        """Sum each term on its own, by node and role, under the weights of the bound; for elbo they add up to it.

        Roles: generative, recognition, kl, and label for all that the label of a node brings. Each [B], nats.
        """
        terms: dict[str, dict[str, Tensor]] = {}
        weights = self.weight_pairs
        scale = 1.0 if self.expression.normalised else self.eliminate(weights).log.exp()
        means = self.means_apart(weights, list(self.group.scores.values()))
        for (name, role), mean in zip(self.group.scores, means, strict=True):
            terms.setdefault(name, {})[role] = mean * scale
        labels: dict[str, Tensor] = {}
        for log, part in self._label_parts():
            labels[log.node] = labels[log.node] + part if log.node in labels else part
        for name in self.group.weights:
            terms.setdefault(name, {})["label"] = labels.get(name, self.group.like.new_zeros(self.group.layout.rows))
        return terms

    def _label_parts(self) -> Iterator[tuple[LabelScore, Tensor]]:
        """Give what each label adds to the bound: log E ∏ w_v as the ratios that it telescopes into."""
        for mean in self.means:
            values = [(log, self.score(log) * number) for number, log in mean.values if isinstance(log, LabelScore)]
            weights = self.factors(mean.weight)
            scale = 1.0 if mean.normalised or not values else self.eliminate(weights).log.exp()
            means = self.means_apart(weights, [score for _, score in values])
            for (label, _), average in zip(values, means, strict=True):
                yield label, average * scale
        for part, scale in self._scaled(Constant):
            for log in part.product.logs:
                assert isinstance(log, LabelScore)
                yield log, scale * self.row(self.score(log))
        logs: dict[tuple[Log, ...], Tensor] = {(): self.group.like.new_zeros(())}
        for ratio, scale in self._scaled(LogMean):
            before = ratio.before.logs
            for log in ratio.product.logs:
                if isinstance(log, LabelScore):
                    for prefix in (before, (*before, log)):
                        if prefix not in logs:
                            logs[prefix] = self.log_mean(Product(prefix, power=ratio.product.power))
                    yield log, scale * (logs[(*before, log)] - logs[before])
                    before = (*before, log)

    def effective_sample_size(self) -> Tensor:
        """Give (Σ m w)² S / Σ m w², [B]: from 1 to S, for the weights of the bound."""
        once = self.weight_pairs
        twice = [Pair(log=2 * pair.log) for pair in once if pair.log is not None]
        samples = self.group.layout.samples
        ratio = 2 * self.eliminate(once).log - self.eliminate(twice).log
        return samples * ratio.exp()


def _alone(score: Score) -> Score:
    """Give the same numbers, of which no gradient is kept, whatever mode they were made in."""
    still = score.tensor.clone() if score.tensor.is_inference() else score.tensor.detach()
    return Score(still, score.nodes)


def patterns_in(
    observed: Collection[str], labelled: Mapping[str, Tensor], order: Sequence[str]
) -> list[tuple[str, Tensor | None]]:
    """List the patterns of rows that share a plan, as labels with commas between, and their places; None: all rows.

    observed: the labels that all carry. labelled: which rows carry the others, [B]. order: of all nodes.
    """
    names = [name for name in order if name in labelled]
    if not names:
        return [(",".join(name for name in order if name in observed), None)]
    not_recordable("rows are parted by the labels that they carry")
    has = torch.stack([labelled[name] for name in names], 1)
    carried, kind = patterns_of(has.cpu().numpy())
    patterns: list[tuple[str, Tensor | None]] = []
    for i, labels_carried in enumerate(carried):
        labels = {*observed, *(name for name, has_label in zip(names, labels_carried, strict=True) if has_label)}
        places = torch.from_numpy((kind == i).nonzero()[0]).to(has.device)
        patterns.append((",".join(name for name in order if name in labels), places))
    return patterns
