"""The networks of a spec and its plans, each derived once and run on rows: what every use of a model builds on."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any, Self

import torch
from torch import Tensor, nn

from sgc.arguments import names_in, one_of, truth, whole_number
from sgc.derivation.derive import derive
from sgc.derivation.existence import counts_of
from sgc.derivation.plan import Plan
from sgc.networks.scheduled_module import Moving
from sgc.objectives.bound import Bound
from sgc.objectives.bounds import BOUNDS
from sgc.objectives.objective import OverRate
from sgc.objectives.objective_words import ObjectiveWords
from sgc.randomness import built_in, default_type, draws
from sgc.runtime import steps
from sgc.runtime.batch import PatternRows
from sgc.runtime.capacity import check_capacity
from sgc.runtime.exact_estimators import exact_estimators
from sgc.runtime.execution import run
from sgc.runtime.group import Group
from sgc.runtime.layout import Layout
from sgc.runtime.modes import outside_inference_mode
from sgc.runtime.module_builder import build, frozen_modules, registered, try_own
from sgc.runtime.running_means import RunningMeans
from sgc.runtime.sums import Settings, Sums
from sgc.schedules import Moment, Schedule, number_at, schedules_in
from sgc.spec.outline import Outline
from sgc.spec.spec import Spec

COMPUTED_IN = (torch.float32, torch.float64)  # densities need it; autocast runs networks in half of it
PLANS_KEPT = 100_000  # nodes in all plans that are kept, those that were asked for last: n labels have 2ⁿ patterns


class PlanRunner(nn.Module):
    """The networks of a spec and its plans. `sums` runs these on rows; `Model` is what users have."""

    validate_args = False  # whether torch checks the arguments of every distribution: slow, for tests and --debug

    def __init__(
        self, outline: Outline, *, dtype: torch.dtype | None = None, numbers: torch.dtype | None = None
    ) -> None:
        """Build the networks, in torch's default type if no other is said, and the spec's own numbers, see `built_in`.

        Raises: UsageError for a number that its type cannot hold, or for own code that cannot be used.
        """
        super().__init__()
        try_own(outline)
        self.outline = outline
        self.spec: Spec = outline.spec
        self.gamma: float | None = None  # what training made of a rate, once the data are known; for reports
        self.rate: float | None = None  # ρ, likewise, for α over the rate
        with outside_inference_mode(), built_in(dtype or default_type(), numbers), draws():
            self.machine = build(outline)
        self.features = registered(outline, self.machine.features)
        self.generative = registered(outline, self.machine.generative)
        self.recognition = registered(outline, self.machine.recognition)
        self.running_means = RunningMeans()  # the baselines of score_function nodes
        self._plans: OrderedDict[tuple[frozenset[str], frozenset[str], bool, ObjectiveWords], Plan] = OrderedDict()
        self.exact_graphs = outline.graphs.with_estimators(exact_estimators(outline))
        self._moving = [module for module in self.modules() if isinstance(module, Moving) and module.moves]
        sections = {"generative": self.generative, "recognition": self.recognition, "features": self.features}
        self.frozen = frozen_modules(outline.spec.unrolled.parts, sections)
        for module in self.frozen:
            module.requires_grad_(False)
        self.train()
        self._moving_numbers: dict[Schedule, Tensor] = {}
        self.epoch = 0.0

    @property
    def epoch(self) -> float:
        """The epoch of schedules: training moves it, and a trained model has that of its weights."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: float) -> None:
        place: object = epoch
        if not isinstance(place, Real) or not math.isfinite(place):
            raise ValueError(f"epoch is {place!r}, wanted a finite number")
        self._epoch: float = float(place)
        if self._moving_numbers:
            for schedule, tensor in self._moving_numbers.items():
                tensor.fill_(schedule.at(self._epoch))
            self._epoch = Moment.at(self._epoch, self._moving_numbers)
        for module in self._moving:
            module.stand_at(self._epoch)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all modules but those of frozen parts, which stay as in evaluation."""
        super().train(mode)
        for module in self.frozen:
            module.eval()
        return self

    computes_like: Tensor | None = None  # where its weights do not say so, being elsewhere

    @property
    def like(self) -> Tensor:
        """A tensor of the type and on the device that the model computes with. Raises: ValueError where it cannot."""
        if self.computes_like is not None:
            return self.computes_like
        weights = next((parameter.detach() for parameter in self.parameters()), None)
        like = torch.zeros((), device="cpu") if weights is None else weights
        if like.is_meta:
            raise ValueError("the model is on the device 'meta', which has no values")
        if like.dtype not in COMPUTED_IN:
            name = str(like.dtype).removeprefix("torch.")
            raise ValueError(f"the model's weights are of the type {name}, wanted float32 or float64")
        return like

    def plan(
        self,
        observed: Collection[str] = (),
        *,
        exact: bool = False,
        bound: str | Bound | None = None,
        samples: int | None = None,
        maybe_labelled: Collection[str] = (),
    ) -> Plan:
        """Derive (once) the plan of rows that carry the labels of `observed`; print it, or take its `latex()`.

        A node of a repeat by its one name is labelled in all its steps.

        exact: with relaxed and averaged nodes enumerated or drawn instead. bound, samples: others than the spec's.
        maybe_labelled: nodes whose label some of the rows carry, see `sgc.derivation.row_groups`.

        Raises: ValueError where `observed` names a node that is not partially supervised.
        """
        wanted = self._every_step(names_in("observed", observed))
        maybe_labelled = self._every_step(names_in("maybe_labelled", maybe_labelled))
        truth("exact", exact)
        words = self.outline.words
        wanted_bound = bound if isinstance(bound, Bound) else bound_named(words.bound, bound)
        if wanted_bound != words.bound:
            words = ObjectiveWords(bound=wanted_bound, samples=words.samples, alpha_by_node=words.alpha_by_node)
        if samples is not None:
            words = replace(words, samples=whole_number("samples", samples))
        index = (wanted, maybe_labelled, exact, words)
        if index not in self._plans:
            self._plans[index] = derive(
                self.exact_graphs if exact else self.outline.graphs, wanted, words, maybe_labelled
            )
            if len(self._plans) * len(self.outline.variables) > PLANS_KEPT:
                self._plans.popitem(last=False)
        self._plans.move_to_end(index)
        return self._plans[index]

    def _every_step(self, names: Collection[str]) -> frozenset[str]:
        """Give the nodes that are meant by names of users."""
        return frozenset(node for name in names for node in steps.nodes_of(self.outline, name))

    def settings(self) -> Settings:
        """Read the numbers of the objective at the epoch of the schedules."""
        objective = self.spec.objective
        alpha: dict[str, Any] = {}  # Any: see number_at
        graphs = self.outline.graphs
        for name in dict.fromkeys([*graphs.partial, *counts_of(graphs)]):  # counts are weighed where steps are labelled
            alpha_of_node = objective.alpha_of(self.outline.outer_name.get(name, name))
            if isinstance(alpha_of_node, OverRate):
                known = self.rate if objective.supervision_rate is None else objective.supervision_rate
                rate = number_at(known or 1.0, self.epoch)  # 1: without data
                alpha[name] = number_at(alpha_of_node.over_rate, self.epoch) / rate
            else:
                alpha[name] = number_at(alpha_of_node, self.epoch)
        chosen = {name: variable.estimator for name, variable in self.outline.variables.items()}
        decay = {name: estimator.decay_at(self.epoch) for name, estimator in chosen.items() if estimator is not None}
        return Settings(alpha, number_at(objective.kl_weight, self.epoch), decay)

    def take_schedules_as_tensors(self) -> list[Schedule]:
        """Have the values of schedules of the objective and of estimators as tensors, for the steps of a training.

        Returns: the other schedules, which move parts of networks and constants.
        """
        chosen = [variable.estimator for variable in self.outline.variables.values()]
        numbers = schedules_in([self.spec.objective, *chosen])
        self._moving_numbers = {schedule: torch.zeros((), dtype=torch.float64) for schedule in numbers}
        self.epoch = self.epoch
        estimators = {id(number) for number in numbers}
        sections = [getattr(self.spec, name) for name in type(self.spec).model_fields if name != "train"]
        return [schedule for schedule in schedules_in(sections) if id(schedule) not in estimators]

    def moving_tensors(self) -> list[Tensor]:
        """List the tensors that steps of a training read and that change from step to step."""
        weights = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return [*weights, *self._moving_numbers.values(), *self.running_means.means.values()]

    def group(self, part: PatternRows, plan: Plan, samples: int, depth: int = 0) -> Group:
        """Lay rows of one pattern out for a plan. depth: leading dimensions that all groups of a call have."""
        layout = Layout(plan.axes, samples, part.size, depth)
        return Group(plan, layout, part.values, self.like, part.labelled, part.share, part.labelled_of_all)

    def sums(
        self,
        parts: Sequence[PatternRows],
        *,
        samples: int | None = None,
        exact: bool = False,
        bound: Bound | None = None,
        kept: bool = False,
    ) -> list[Sums]:
        """Run the plans of parts of a batch in step and give the sums over their particles.

        kept: groups keep the parameters of their conditionals.
        """
        count = self.spec.objective.samples if samples is None else samples
        plans = [self.plan(part.observed, exact=exact, bound=bound, maybe_labelled=part.labelled) for part in parts]
        depth = max((1 + axis for plan in plans for axis in plan.axes.values()), default=0)
        for part, plan in zip(parts, plans, strict=True):
            check_capacity(self.outline, plan, depth, part.size, self.like)
        groups = [self.group(part, plan, count, depth) for part, plan in zip(parts, plans, strict=True)]
        for group in groups if kept else ():
            group.parameters = {}
        run(self.machine, groups, epoch=self.epoch, validate=self.validate_args)
        settings = self.settings()
        self.running_means.learning = self.training
        return [Sums(group, settings, self.running_means) for group in groups]


def bound_named(own: Bound, name: str | None) -> Bound:
    """Give the bound that a user names: one of the known ones, or a spec's own. Raises: ValueError."""
    known = {**BOUNDS, own.name: own}
    return own if name is None else known[one_of("bound", name, tuple(known))]
