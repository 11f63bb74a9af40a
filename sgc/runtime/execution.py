"""Run plans: propose particles and score every factor. Nothing is decided here.

The groups of a call (one for each observation pattern) go through the model in step: a network that several of them
use is run once, on their joined rows.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.distributions import Distribution

from sgc.derivation.factors import Paths
from sgc.distributions.points import Point
from sgc.errors import RunError
from sgc.objectives.estimator import Draw, Estimator
from sgc.randomness import draws
from sgc.runtime import counts, step_masks
from sgc.runtime.density_modules import AnyDensity, naming
from sgc.runtime.drawn_paths import PathWeight, frozen
from sgc.runtime.group import Group
from sgc.runtime.layout import Score
from sgc.runtime.network_modules import AnyFeature, FeatureModule, read_by
from sgc.runtime.probabilities import log_score
from sgc.runtime.stacked_steps import (
    Job,
    Parameters,
    StackedSteps,
    draws_masks,
    shapes_of,
    stacked_parameters,
    stacked_steps,
    stacked_values,
    valued_before,
)
from sgc.shared_rows import rows_in, rows_of_groups
from sgc.spec.outline import Outline, Variable


@dataclass(frozen=True)
class Machine:
    """The modules of a model, by what they compute."""

    outline: Outline
    features: Mapping[str, AnyFeature]
    generative: Mapping[str, AnyDensity]
    recognition: Mapping[str, AnyDensity]

    @cached_property
    def together(self) -> list[list[str]]:
        """All names in the order of q, the steps of a repeat that can be computed together as one group.

        The values of enumerated nodes are known from the start, so that no step of these waits for another.
        """
        graphs, unrolled = self.outline.graphs, self.outline.spec.unrolled
        steps = {**unrolled.features, **unrolled.nodes}
        done = set(self.outline.inputs)
        chosen = {name: variable.estimator for name, variable in self.outline.variables.items()}
        known = {name for name, estimator in chosen.items() if estimator is not None and estimator.enumerates}
        rounds: list[list[str]] = []
        for name in graphs.order("recognition"):
            if name in done:
                continue
            names = [name]
            if name in unrolled.template:
                others = [node for node in steps[unrolled.template[name]] if node not in done]
                early = known if name in known and not draws_masks(self.recognition[name]) else set()
                names = [node for node in others if (done | early).issuperset(graphs.parents(node, "recognition"))]
            done.update(names)
            rounds.append(names)
        return rounds

    @cached_property
    def alike(self) -> list[list[str]]:
        """All nodes, the steps of a repeat's together."""
        steps, outer = self.outline.stepped, self.outline.outer_name
        names = dict.fromkeys(outer.get(name, name) for name in self.outline.variables)
        return [list(steps[name].nodes) if name in steps else [name] for name in names]


def run(machine: Machine, groups: Sequence[Group], *, epoch: float = 0.0, validate: bool = False) -> None:
    """Propose the particles of every group and score every factor, in the order of the recognition graph.

    epoch: that of the schedules of estimators. Raises: ParameterError for a parameter that no distribution has.
    """
    walk = _Walk(machine, groups, epoch, validate)
    paths = {group: group.plan.paths for group in groups if group.plan.paths is not None}
    for names in machine.together:
        if names[0] in machine.features:
            walk.features([(g, name) for g in groups for name in names if g not in paths or paths[g].early(name)])
        else:
            walk.nodes(names)
    for group in paths:
        walk.weigh_paths(group, paths[group])
    for names in machine.together if paths else ():
        walk.features([(group, name) for group in paths for name in names if name in paths[group].scored])
    for names in machine.alike:
        walk.score(names)
    walk.mask()


class _Walk:
    def __init__(self, machine: Machine, groups: Sequence[Group], epoch: float, validate: bool) -> None:
        self.machine, self.groups, self.epoch, self.validate = machine, groups, epoch, validate
        self.rank = groups[0].layout.rank
        self.proposed: dict[tuple[Group, str], tuple[StackedSteps, int]] = {}  # q of each node
        for group in groups:
            for name, value in group.given.items():
                group.put(name, group.layout.clamp(value), machine.outline)
            step_masks.resolve_steps(group, machine.outline)
            for proposal in group.plan.proposals:
                if proposal.estimator.enumerates:
                    self.enumerate(group, machine.outline.variables[proposal.node])

    def enumerate(self, group: Group, variable: Variable) -> None:
        """Lay out the values of an enumerated node, in rows with its label that label alone."""
        name = variable.name
        value = group.layout.spread(
            variable.family.enumerate(variable.event, group.like.dtype, group.like.device), name
        )
        if name in group.labelled:
            there = group.labelled[name].reshape(-1, *(1,) * (value.dim() - self.rank))
            value = torch.where(there, group.layout.clamp(group.given[name]), value)
        group.put(name, value, self.machine.outline)

    def features(self, wanted: Sequence[tuple[Group, str]]) -> None:
        """Compute features that share their network: those of all groups, and the steps of one, in a single pass."""
        jobs = [(g, self.machine.features[name], name) for g, name in wanted if name in g.plan.needed]
        if not jobs:
            return
        if all(isinstance(module, FeatureModule) for _, module, _ in jobs):
            with rows_of_groups([g.share for g, _, _ in jobs]):
                values = jobs[0][1]([read_by(module, g.values, g.network_inputs) for g, module, _ in jobs], self.rank)
        else:
            values = [module([read_by(module, g.values, g.network_inputs)], self.rank)[0] for g, module, _ in jobs]
        for (group, _, name), value in zip(jobs, values, strict=True):
            group.put(name, value, self.machine.outline)

    def nodes(self, names: Sequence[str]) -> None:
        """Propose nodes that share their network, or weigh by them where they are labelled."""
        jobs = [
            (g, self.machine.recognition[name])
            for name in names
            for g in self.groups
            if name in g.plan.proposed or name in g.plan.weighed
        ]
        places: dict[Job, tuple[StackedSteps, int]] = {}
        logs: dict[Job, Tensor] = {}
        for stack in stacked_steps(jobs, self.rank, self.proposed_alike):
            places |= {(stack.group, module): (stack, i) for i, module in enumerate(stack.modules)}
            if len(stack.modules) > 1 and valued_before(stack.group, stack.modules[0]):
                with suppress(RunError, ValueError):  # which step it is, the steps by themselves say
                    by_step = self.score_values(stack).unbind()
                    logs |= {(stack.group, module): log for module, log in zip(stack.modules, by_step, strict=True)}
        for group, module in jobs:
            stack, i = self.proposed[group, module.variable.name] = places[group, module]
            parameters = stack.of_step(i)
            q = module.distribution(parameters, validate=self.validate)
            variable, name = module.variable, module.variable.name
            group.proposals[name] = q
            if group.parameters is not None:
                group.parameters[name, "recognition"] = parameters
            log = logs.get((group, module))
            if name in group.plan.proposed:
                self.propose(group, module, q, parameters, log)
            else:
                log = log_score(variable, q, group.scorable(name, variable, q)) if log is None else log
                group.weights[name] = group.score(log, name, "recognition")

    @staticmethod
    def proposed_alike(group: Group, module: AnyDensity) -> Hashable | None:
        """Tell steps apart that q proposes in different ways; None where all parameters are kept by themselves."""
        if group.parameters is not None:
            return None
        name, valued = module.variable.name, valued_before(group, module)
        return name in group.plan.proposed, valued, shapes_of(group.values[name]) if valued else None

    def score_values(self, stack: StackedSteps) -> Tensor:
        """Score the values of several steps of a node in one call, [steps, *leading]."""
        group, first = stack.group, stack.modules[0]
        names = [module.variable.name for module in stack.modules]
        value = stacked_values([group.points.get(name, group.values[name]) for name in names])
        return log_score(first.variable, first.distribution(stack.parameters, validate=self.validate), value)

    def propose(
        self, group: Group, module: AnyDensity, q: Distribution, parameters: Parameters, log: Tensor | None
    ) -> None:
        variable, name = module.variable, module.variable.name
        family, layout, gradient = variable.family, group.layout, group.plan.words.gradient
        estimator = group.plan.proposed[name].estimator
        if estimator.enumerates:
            if log is None:
                log = log_score(variable, q, group.values[name])
            mass = group.score(log, name, "recognition")
            if name in group.labelled or name in group.allowed:
                self.restrict(group, name, mass)
                return
            group.masses.append(mass)
            group.scores[name, "recognition"] = -mass
            if gradient.wakes:
                group.waking[name] = mass
            return
        given = Draw(family, q, layout.drawn(q.batch_shape), self.epoch)
        if name in group.allowed:
            self.draw_allowed(group, variable, given)
            return
        with naming(module.outline), rows_in(given.leading, group.share), draws():
            drawn = estimator.draw(given)
        if estimator.own:
            check_drawn(name, estimator, given, drawn)
        if estimator.averages:
            group.put(name, layout.padded(drawn.value, len(variable.event)), self.machine.outline)
            return
        group.put_draw(name, drawn, self.machine.outline)
        if estimator.charged:
            log_q = group.score(log_score(variable, q, drawn), name, "recognition")
            group.charged[name] = (log_q, given, drawn)
        if estimator.weighs_draws:
            group.masses.append(group.score(estimator.log_mass(given, drawn), name, "recognition"))
        if gradient.wakes:
            group.waking[name] = group.score(log_score(variable, q, drawn), name, "recognition")
        if (name, "recognition") in group.plan.roles:
            if gradient.weighs_paths:
                group.drawn_with[name] = parameters  # it is scored where paths are weighed
                return
            if gradient.stops_score and (estimator.reparameterised or gradient.wakes):
                stopped = {key: parameter.detach() for key, parameter in parameters.items()}
                log = log_score(variable, module.distribution(stopped), drawn)
            else:
                log = self.log_prob(group, variable, q)
            group.scores[name, "recognition"] = -group.score(log, name, "recognition")

    def weigh_paths(self, group: Group, paths: Paths) -> None:
        """Make all scores read the draws through their weights, and score q with its parameters kept fixed.

        Features of draws that q reads are computed again with fixed parameters.
        """
        outline = self.machine.outline
        for name in paths.drawn:
            exists = step_masks.particles_exist(group, name, outline) if name in group.plan.exists else None
            group.paths[name] = PathWeight(len(outline.variables[name].event), exists)
            group.put_draw(name, group.paths[name].watched(group.points[name]), outline)
        again = [name for names in self.machine.together for name in names if name in paths.again]
        with frozen([self.machine.features[name] for name in again]):
            for name in again:
                self.features([(group, name)])
            for name in paths.drawn:
                module = self.machine.recognition[name]
                if group.plan.proposed[name].above_samples:
                    with frozen([module.owner]):
                        (stack,) = stacked_steps([(group, module)], self.rank, lambda *_: None)
                    q = module.distribution(stack.parameters, validate=self.validate)
                else:
                    q = module.distribution({k: v.detach() for k, v in group.drawn_with[name].items()})
                log = log_score(module.variable, q, group.points[name])
                group.scores[name, "recognition"] = -group.score(log, name, "recognition")

    def log_prob(self, group: Group, variable: Variable, conditional: Distribution) -> Tensor:
        """Score a node's value, a relaxed one by its own density where the spec says so."""
        name = variable.name
        proposal = group.plan.proposed.get(name)
        if proposal is None:
            return log_score(variable, conditional, group.scorable(name, variable, conditional))
        if proposal.estimator.scores_itself:
            return proposal.estimator.log_prob(variable.family, conditional, group.points[name], self.epoch)
        return log_score(variable, conditional, group.points.get(name, group.values[name]))

    def restrict(self, group: Group, name: str, log: Score) -> None:
        """Weigh an enumerated node whose values are restricted in some rows, by its label or by labels of steps.

        A row with its label repeats it K times, with mass 1/K, and has q in its weight. A row whose labels are evidence
        that a count is above some step proposes those values alone, with their probability in its weight.
        """
        layout, labelled = group.layout, group.labelled.get(name)
        axis = layout.axes[name]
        mass, taken, weight = log.tensor, log.tensor, torch.zeros_like(log.tensor)
        nodes = log.nodes
        if name in group.allowed:
            allowed = counts.on_axis(group.allowed[name], layout, name)
            mass, weight = counts.restrict(log.tensor, allowed, axis)
            taken = torch.where(allowed, mass, 0.0)
        if labelled is None:
            nodes = nodes - {name}
        else:
            mass = mass.masked_fill(labelled, -math.log(log.tensor.shape[axis]))
            taken, weight = taken.masked_fill(labelled, 0.0), torch.where(labelled, log.tensor, weight)
        group.masses.append(Score(mass, log.nodes))
        group.scores[name, "recognition"] = -Score(taken, log.nodes)
        if group.plan.words.gradient.wakes:
            group.waking[name] = Score(taken, log.nodes)
        group.weights[name] = Score(weight, nodes)

    def draw_allowed(self, group: Group, variable: Variable, given: Draw) -> None:
        """Draw a count from the values that labels of its steps allow; their probability goes into the weight."""
        name = variable.name
        truncated, support, log_allowed = counts.truncated(variable, given.q, group.allowed[name], self.rank)
        with rows_in(given.leading, group.share):
            place = draw(truncated, given.leading).value
        group.put(name, support[place], self.machine.outline)
        log = group.score(truncated.expand(given.leading).log_prob(place), name, "recognition")
        if group.plan.words.gradient.wakes:
            group.waking[name], log = log, log.still()
        else:
            group.charged[name] = (log, given, Point(support[place]))
        group.scores[name, "recognition"] = -log
        group.weights[name] = group.score(log_allowed, name, "recognition")

    def mask(self) -> None:
        """Set the scores of steps to 0 where the steps do not exist."""
        for group in self.groups:
            for name in group.plan.exists:
                exists = step_masks.particles_exist(group, name, self.machine.outline)
                for key in [key for key in group.scores if key[0] == name]:
                    group.scores[key] = step_masks.masked(group.scores[key], exists)
                if name in group.waking:
                    group.waking[name] = step_masks.masked(group.waking[name], exists)
                if name in group.weights and name in group.exist:  # a label says that its step exists
                    there = Score(group.layout.clamp(group.exist[name]))
                    group.weights[name] = step_masks.masked(group.weights[name], there)

    def score(self, names: Sequence[str]) -> None:
        """Score nodes that share their network under p."""
        jobs = [(g, self.machine.generative[name]) for name in names for g in self.groups if name in g.plan.scored]
        for stack in stacked_steps(jobs, self.rank, self.scored_alike):
            if len(stack.modules) == 1:
                self.score_step(stack.group, stack.modules[0], stack.parameters)
                continue
            try:
                self.score_stack(stack)
            except (RunError, ValueError):  # which step it is, the steps by themselves say
                for i, module in enumerate(stack.modules):
                    self.score_step(stack.group, module, stack.of_step(i))

    def scored_alike(self, group: Group, module: AnyDensity) -> Hashable | None:
        """Tell steps apart that cannot be scored in one call; None for one that is scored by itself."""
        name = module.variable.name
        proposal = group.plan.proposed.get(name)
        keeps_parameters = group.parameters is not None
        if keeps_parameters or name in group.present or (name in group.exist and name in group.plan.clamped):
            return None
        if (name, "kl") in group.plan.roles:
            stack, _ = self.proposed[group, name]
            return "kl", stack.shapes
        if proposal is not None and proposal.estimator.scores_itself:
            return None
        return "generative", shapes_of(group.points.get(name, group.values[name]))

    def score_stack(self, stack: StackedSteps) -> None:
        """Score several steps of a node under p in one call."""
        group, first = stack.group, stack.modules[0]
        names = [module.variable.name for module in stack.modules]
        if (names[0], "kl") in group.plan.roles:
            p = first.distribution(stack.parameters, validate=self.validate)
            q = stacked_parameters([self.proposed[group, name] for name in names])
            proposal = self.machine.recognition[names[0]].distribution(q, validate=self.validate)
            role, log = "kl", -first.variable.family.kl(proposal, p)
        else:
            role, log = "generative", self.score_values(stack)
        for name, of_step in zip(names, log.unbind(), strict=True):
            group.scores[name, role] = group.score(of_step, name, role)

    def score_step(self, group: Group, module: AnyDensity, parameters: Parameters) -> None:
        """Score one node under p."""
        variable, name, family = module.variable, module.variable.name, module.variable.family
        p = module.distribution(parameters, validate=self.validate)
        if group.parameters is not None:
            group.parameters[name, "generative"] = parameters
        if name in group.present:
            group.dropped[name] = p
            log = log_score(variable, p, group.values[name], group.present[name])
            group.scores[name, "generative"] = group.score(log, name, "generative")
        elif (name, "kl") in group.plan.roles:
            group.scores[name, "kl"] = -group.score(family.kl(group.proposals[name], p), name, "kl")
        else:
            log = self.log_prob(group, variable, p)
            group.scores[name, "generative"] = group.score(log, name, "generative")


def draw(q: Distribution, leading: tuple[int, ...]) -> Point:
    """Draw without a gradient from a distribution that no family made, [*leading, *event]."""
    with draws():
        return Point(q.expand(leading).sample())


def check_drawn(name: str, estimator: Estimator, given: Draw, drawn: object) -> None:
    """Check the type and the shape of what a user's own estimator draws. Raises: RunError."""
    gives = f"node '{name}': draw() of the estimator '{estimator}' gives"
    if not isinstance(drawn, Point):
        raise RunError(f"{gives} a {type(drawn).__name__}, wanted a Point, as family.draw() makes it")
    wanted = (*given.leading, *given.q.event_shape)
    if not estimator.averages and tuple(drawn.value.shape) != wanted:
        raise RunError(f"{gives} values of the shape {list(drawn.value.shape)}, wanted {list(wanted)}")
