"""Steps of a repeat that are computed together: side by side in one more leading dimension, before all others.

The plan says of every step what is scored and how. Steps of one node in one group whose tensors have the same shapes
are stacked: one product for all of them, what they read alike multiplied once, and one density or closed divergence,
taken apart into the scores of the steps. Each number is that of the step by itself, but for the rounding of sums.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from sgc.distributions.points import Point
from sgc.distributions.row_totals import OWN_SUM
from sgc.runtime.density_modules import AnyDensity, DensityOwner
from sgc.runtime.group import Group
from sgc.shared_rows import rows_of_groups

Job = tuple[Group, AnyDensity]
Parameters = Mapping[str, Tensor]


@dataclass(frozen=True)
class StackedSteps:
    """Steps of one node in one group, and the parameters of their conditionals.

    parameters: of several steps [steps, *leading, *parameter shape], of one [*leading, *parameter shape]; constants
    have no leading dimensions.
    """

    group: Group
    modules: tuple[AnyDensity, ...]
    parameters: Parameters

    def of_step(self, i: int) -> Parameters:
        """Give the parameters of one step."""
        return self._steps[i]

    @cached_property
    def _steps(self) -> list[Parameters]:
        count, constants = len(self.modules), _constants(self.modules[0].owner)
        if count == 1:
            return [self.parameters]
        apart: dict[str, Sequence[Tensor]] = {}
        for name, value in self.parameters.items():  # by unbind: each place by itself would bring zeros for all others
            shared = name in constants or len(value) == 1
            apart[name] = [value if name in constants else value.squeeze(0)] * count if shared else value.unbind()
        return [{name: steps[i] for name, steps in apart.items()} for i in range(count)]

    @property
    def shapes(self) -> Hashable:
        """The names and shapes of the parameters of a step."""
        constants, several = _constants(self.modules[0].owner), len(self.modules) > 1
        return tuple(
            (name, value.shape[several and name not in constants :]) for name, value in self.parameters.items()
        )


def stacked_steps(
    jobs: Sequence[Job], rank: int, alike: Callable[[Group, AnyDensity], Hashable | None]
) -> list[StackedSteps]:
    """Compute the parameters of conditionals that share their network, in a single pass.

    alike: what the conditionals of a stack have to have in common beside their shapes; None: it stands alone.
    """
    if not jobs:
        return []
    owner = jobs[0][1].owner
    together = _together(jobs, alike) if _stackable(owner) else [[job] for job in jobs]
    several = any(len(stack) > 1 for stack in together)
    parents = [_parents(stack, several=several) for stack in together]
    named = [_named(stack, several=several) for stack in together]
    stacks: list[StackedSteps] = []
    constants = _constants(owner)
    with rows_of_groups([stack[0][0].share for stack in together]):
        of_stacks = owner.parameters_of(parents, named, rank + several)
    for stack, parameters in zip(together, of_stacks, strict=True):
        if several and len(stack) == 1:
            parameters = {name: v if name in constants else v.squeeze(0) for name, v in parameters.items()}
        stacks.append(StackedSteps(stack[0][0], tuple(module for _, module in stack), parameters))
    return stacks


def stacked_values(values: Sequence[Tensor | Point]) -> Tensor | Point:
    """Put the values of steps side by side: [steps, *leading, *event]."""
    points = [value for value in values if isinstance(value, Point)]
    if len(points) < len(values):
        return torch.stack([value for value in values if isinstance(value, Tensor)])
    exact = zip(*(point.exact for point in points), strict=True)
    return Point(torch.stack([point.value for point in points]), tuple(torch.stack(parts) for parts in exact))


def stacked_parameters(places: Sequence[tuple[StackedSteps, int]]) -> Parameters:
    """Put parameters of steps side by side, each given by its stack and its place there."""
    first = places[0][0]
    if len(first.modules) > 1 and [(id(stack), i) for stack, i in places] == [
        (id(first), i) for i in range(len(first.modules))
    ]:
        return first.parameters
    steps = [stack.of_step(i) for stack, i in places]
    constants = _constants(first.modules[0].owner)
    return {
        name: value if name in constants else torch.stack([parameters[name] for parameters in steps])
        for name, value in steps[0].items()
    }


def shapes_of(value: Tensor | Point) -> Hashable:
    """Give what values of a stack have in common."""
    return (value.value.shape, *(part.shape for part in value.exact)) if isinstance(value, Point) else value.shape


def valued_before(group: Group, module: AnyDensity) -> bool:
    """Tell whether the value that q scores is known before q is, and in every row."""
    name = module.variable.name
    if name in group.plan.proposed:
        return group.plan.proposed[name].estimator.enumerates
    return name not in group.exist and name not in group.present


def draws_masks(module: AnyDensity) -> bool:
    """Tell whether a network draws, as dropout does: then the order of its steps counts."""
    return any(trunk.may_draw for trunk in module.owner.trunks)


def _stackable(owner: DensityOwner) -> bool:
    """Tell whether rows of a network may be told apart by nothing but their values: draws and means of all depend."""
    return not any(
        trunk.may_draw or any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in trunk.modules())
        for trunk in owner.trunks
    )


def _together(jobs: Sequence[Job], alike: Callable[[Group, AnyDensity], Hashable | None]) -> list[list[Job]]:
    alike_jobs: dict[Hashable, list[Job]] = {}
    for place, (group, module) in enumerate(jobs):
        common = alike(group, module)
        shapes = tuple(group.network_inputs[parent].shape for parent in module.outline.parents)
        named = tuple(value.shape for value in _taken(group, module).values())
        key: Hashable = place if common is None else (id(group), common, shapes, named)
        alike_jobs.setdefault(key, []).append((group, module))
    return list(alike_jobs.values())


def _taken(group: Group, module: AnyDensity) -> dict[str, Tensor]:
    """Give the values that parameters are taken from, by the names that the first step has for them."""
    owner, named = module.owner, module.named(group.values)
    names = [taken.value for taken in owner.outline.constants.values() if isinstance(taken.value, str)]
    names += [owner.variable.name] if owner.variable.total == OWN_SUM else []
    return {name: named[name] for name in names if name in named}


def _parents(stack: Sequence[Job], *, several: bool) -> list[Tensor]:
    group = stack[0][0]
    by_step = [[group.network_inputs[parent] for parent in module.outline.parents] for _, module in stack]
    if not several:
        return by_step[0]
    parents = [_side_by_side(values) for values in zip(*by_step, strict=True)]
    if parents and len(stack) > 1 and all(len(parent) == 1 for parent in parents):  # all read the same
        parents[0] = parents[0].expand(len(stack), *parents[0].shape[1:])
    return parents


def _named(stack: Sequence[Job], *, several: bool) -> Mapping[str, Tensor]:
    if not several:
        group, module = stack[0]
        return module.named(group.values)
    by_step = [_taken(group, module) for group, module in stack]
    return {name: _side_by_side([values[name] for values in by_step]) for name in by_step[0]}


def _side_by_side(values: Sequence[Tensor]) -> Tensor:
    """StackedSteps tensors; of one and the same there is no copy, and a dimension of size 1."""
    if all(value is values[0] for value in values):
        return values[0].unsqueeze(0)
    return torch.stack(list(values))


def _constants(owner: DensityOwner) -> set[str]:
    """Name the parameters that have no leading dimensions."""
    return {name for name, constant in owner.outline.constants.items() if not isinstance(constant.value, str)}
