"""Known faults of the derivation and the runtime, each as a change of one function; see `make mutate`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sgc.derivation.derive import _Derivation
from sgc.distributions import normal_mixture
from sgc.distributions.points import Point
from sgc.objectives.bound import Message
from sgc.objectives.expressions import LabelScore, Product
from sgc.runtime import charges, counts, execution, expert_modules, plan_runner, step_masks
from sgc.runtime import model as models
from sgc.runtime.batch import PatternRows, prepare
from sgc.runtime.layout import Layout, Pair
from sgc.runtime.model import Model
from sgc.runtime.sums import Settings, Sums, WeighedMean
from sgc.shared_rows import RowShare
from sgc.training.shared_gradients import SharedGradients
from sgc.training.weight_shards import WeightShards

Patch = pytest.MonkeyPatch


def dropped_weight(patch: Patch) -> None:
    right = Sums.factors

    def factors(self: Sums, product: Product) -> list[Pair]:
        labels = [log for log in product.logs if isinstance(log, LabelScore)]
        return right(self, replace(product, logs=tuple(log for log in product.logs if log not in labels[:1])))

    patch.setattr(Sums, "factors", factors)


def forgotten_weights(patch: Patch) -> None:
    patch.setattr(Sums, "factors", lambda self, product: [])


def detached_weights(patch: Patch) -> None:
    right = Sums.factors

    def factors(self: Sums, product: Product) -> list[Pair]:
        found = [pair.log for pair in right(self, product) if pair.log is not None]
        if not product.labels:
            return right(self, product)
        return [Pair(log=replace(log, tensor=log.tensor.detach())) for log in found]

    patch.setattr(Sums, "factors", factors)


def hardened_score(patch: Patch) -> None:
    right = execution._Walk.log_prob

    def hardened(self: Any, group: Any, variable: Any, conditional: Any) -> Tensor:  # Any: passed on
        proposal = group.plan.proposed.get(variable.name)
        if proposal is not None and variable.family.relaxation and variable.name in group.points:
            group.points[variable.name] = Point(variable.family.harden(group.values[variable.name]))
        return right(self, group, variable, conditional)

    patch.setattr(execution._Walk, "log_prob", hardened)


def forgotten_label_prior(patch: Patch) -> None:
    right = _Derivation.terms
    patch.setattr(_Derivation, "terms", lambda self, name: [] if name in self.observed else right(self, name))


def forgotten_prior(patch: Patch) -> None:
    def run(machine: Any, groups: Any, **words: Any) -> None:  # Any: passed on
        execution.run(machine, groups, **words)
        for group in groups:
            group.scores["y", "generative"] *= 0.0

    patch.setattr(plan_runner, "run", run)


def others_labels(patch: Patch) -> None:
    def wrong(made: Any, batch: Mapping[str, Any], like: Tensor) -> tuple[list[PatternRows], int]:  # Any: passed on
        parts, size = prepare(made, batch, like)
        partial = made.graphs.partial
        return [
            replace(each, values={n: v.roll(1, 0) if n in partial else v for n, v in each.values.items()})
            for each in parts
        ], size

    patch.setattr(models, "prepare", wrong)


def own_share_alone(patch: Patch) -> None:
    right = charges._Charging.mean

    def alone(self: Any, mean: WeighedMean) -> Tensor:  # Any: a class of the module's own
        if not mean.normalised or not mean.weight.logs:
            return right(self, mean)
        own = [(number, log) for number, log in mean.values if not isinstance(log, LabelScore)]
        values = [self.sums.value_of(number, log, self.kl_weight) for number, log in own]
        shares = self.shares([*self.sums.factors(mean.weight), *values])
        return shares.charged - shares.share * self.baseline(mean.name, shares)  # type: ignore[no-any-return]

    patch.setattr(charges._Charging, "mean", alone)


def charged_for_itself(patch: Patch) -> None:
    def influenced(self: _Derivation, terms: Any) -> Mapping[str, int]:  # Any: passed on
        found = dict.fromkeys(self.graphs.order("recognition"), 0)
        for i, term in enumerate(terms):
            for name in term.reads:
                if name in found:
                    found[name] |= 1 << i
        return found

    patch.setattr(_Derivation, "influenced", influenced)


def no_score(patch: Patch) -> None:
    patch.setattr(charges, "surrogate", lambda sums, kl_weight: None)


def doubled_alpha(patch: Patch) -> None:
    right: Callable[[Model], Settings] = Model.settings

    def settings(self: Model) -> Settings:
        found = right(self)
        return replace(found, alpha={name: 2 * value for name, value in found.alpha.items()})

    patch.setattr(Model, "settings", settings)


def doubled_samples(patch: Patch) -> None:
    right = Pair.mean_out

    def mean_out(self: Pair, axis: int) -> Pair:
        found = right(self, axis)
        if self.log is not None or found.value is None or self.value is None:
            return found
        return Pair(found.log, found.value * (1 / self.value.tensor.shape[axis]))

    patch.setattr(Pair, "mean_out", mean_out)


def closed_form_above_a_label(patch: Patch) -> None:
    wrong = functools.cached_property(lambda self: 0)
    wrong.__set_name__(_Derivation, "observed_bits")
    patch.setattr(_Derivation, "observed_bits", wrong)


def closed_form_everywhere(patch: Patch) -> None:
    patch.setattr(_Derivation, "refuse_kl", lambda self, name: Message(""))


def forgotten_masses(patch: Patch) -> None:
    right = execution._Walk.propose

    def propose(self: Any, group: Any, *rest: Any) -> None:  # Any: passed on
        before = len(group.masses)
        right(self, group, *rest)
        group.masses[before:] = [mass * 0.0 for mass in group.masses[before:]]

    patch.setattr(execution._Walk, "propose", propose)


def scored_absent_steps(patch: Patch) -> None:
    patch.setattr(step_masks, "masked", lambda score, there: score)


def labels_without_news(patch: Patch) -> None:
    right = counts.restrict
    patch.setattr(counts, "restrict", lambda log, allowed, axis: right(log, torch.ones_like(allowed), axis))


def one_draw_for_all(patch: Patch) -> None:
    right = Layout.drawn

    def drawn(self: Layout, batch_shape: tuple[int, ...]) -> tuple[int, ...]:
        return right(self, batch_shape) if max(batch_shape, default=1) > 1 else (1,) * self.rank

    patch.setattr(Layout, "drawn", drawn)


def forgotten_expert(patch: Patch) -> None:
    right = expert_modules.product_of

    def product_of(normals: Any, there: Any) -> Any:  # Any: passed on
        return right(normals[-2:], there[-2:])

    patch.setattr(expert_modules, "product_of", product_of)


def heard_though_missing(patch: Patch) -> None:
    patch.setattr(expert_modules.ExpertsModule, "speaking", lambda self, group, rank: [None] * len(self._needed))


def forgotten_factor(patch: Patch) -> None:
    right = expert_modules.ExpertsModule._combined

    def combined(self: Any, normals: Any, prior: Any, *rest: Any) -> Any:  # Any: passed on
        return right(self, normals, None if self.combination.prior else prior, *rest)

    patch.setattr(expert_modules.ExpertsModule, "_combined", combined)


def counted_though_missing(patch: Patch) -> None:
    right = expert_modules.mixture
    patch.setattr(expert_modules, "mixture", lambda normals, there: right(normals, torch.ones_like(there)))


def first_expert_alone(patch: Patch) -> None:
    kind = normal_mixture._class()
    right = kind.chosen

    def chosen(self: Any) -> Any:  # Any: of a class that is made in a function
        return right(kind(self.components, self.there & (self.there.cumsum(-1) == 1)))

    patch.setattr(kind, "chosen", chosen)


def doubled_gradients(patch: Patch) -> None:
    right = SharedGradients.add_up

    def add_up(self: SharedGradients, *given: Any, **words: Any) -> tuple[float, bool]:  # Any: passed on
        found = right(self, *given, **words)
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.grad *= self.processes.size
        return found

    patch.setattr(SharedGradients, "add_up", add_up)


def averaged_shards(patch: Patch) -> None:
    right = WeightShards.take_gradients

    def take(self: WeightShards) -> None:
        right(self)
        for shard in self.by_name.values():
            if shard.own.grad is not None:
                shard.own.grad /= self.processes.size

    patch.setattr(WeightShards, "take_gradients", take)


def counted_copies(patch: Patch) -> None:
    patch.setattr(RowShare, "counting", property(lambda self: np.ones(self.rows)))


FAULTS: dict[str, Callable[[Patch], None]] = {
    "a factor of w is dropped": dropped_weight,
    "w is detached": detached_weights,
    "a relaxed draw is scored at its largest entry": hardened_score,
    "p of a label is forgotten": forgotten_label_prior,
    "rows get the labels of others": others_labels,
    "w is held fixed in what a draw is charged with": own_share_alone,
    "the charge leaves out what lies below the draw": charged_for_itself,
    "draws are charged with nothing": no_score,
    "alpha counts twice": doubled_alpha,
    "1/S counts twice": doubled_samples,
    "a KL in closed form though a label depends on the node": closed_form_above_a_label,
    "the masses of an enumerated node are left out": forgotten_masses,
    "a step that does not exist is scored": scored_absent_steps,
    "a label tells nothing of the count of its step": labels_without_news,
    "a q without parents shares one draw": one_draw_for_all,
    "an expert is forgotten where there are several": forgotten_expert,
    "an expert speaks of what is missing": heard_though_missing,
    "p is no factor of a product of experts": forgotten_factor,
    "a mixture counts experts of what is missing": counted_though_missing,
    "a draw of a mixture is its first expert's": first_expert_alone,
    "processes add their gradients up twice": doubled_gradients,
    "gradients of weights that are shared out are averaged": averaged_shards,
    "copies of the last row count in a process": counted_copies,
}
