"""The conditional densities of a model: networks with their heads, constants, and the distributions that these give."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from sgc.distributions.row_totals import OWN_SUM, TOTAL
from sgc.errors import ParameterError, UsageError
from sgc.networks.scheduled_module import Moving
from sgc.randomness import number_type
from sgc.runtime.network_modules import Group, ParentSum, Trunk
from sgc.schedules import Schedule
from sgc.spec.outline import Constant, Density, Variable


class Conditional:
    """A conditional density of one node; abstract."""

    outline: Density
    variable: Variable
    owner: DensityOwner  # what holds the network

    @abstractmethod
    def parameters_of(
        self, groups: Sequence[Group], named: Sequence[Mapping[str, Tensor]], rank: int
    ) -> list[dict[str, Tensor]]:
        """Give each group's parameters of the distribution: [*leading, *parameter shape], constants without leading.

        named: for each group, the values of the features that parameters are taken from.
        """

    def distribution(
        self, parameters: Mapping[str, Tensor], *, validate: bool = False, finite: bool = False
    ) -> Distribution:
        """Make the node's distribution: batch shape the leading dimensions, event the node's.

        Raises: ParameterError, which names the node.
        """
        with naming(self.outline):
            return self.owner.member(parameters, validate=validate, finite=finite)


class DensityOwner(nn.Module, Conditional):
    """One conditional density with networks of its own; abstract."""

    def __init__(self, outline: Density, variable: Variable) -> None:
        super().__init__()
        self.outline, self.variable = outline, variable

    @property
    def owner(self) -> DensityOwner:  # type: ignore[override]  # no attribute: a module would register itself
        """What holds the network: itself."""
        return self

    @property
    @abstractmethod
    def conditionals(self) -> tuple[DensityModule, ...]:
        """The conditionals with a network each: itself, or its experts."""

    @property
    def trunks(self) -> tuple[Trunk, ...]:
        """The networks before the heads."""
        return tuple(part.trunk for part in self.conditionals if part.trunk is not None)

    @abstractmethod
    def named(self, values: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Give the values that parameters are taken from."""

    def member(self, parameters: Mapping[str, Tensor], *, validate: bool = False, finite: bool = False) -> Distribution:
        """Make the distribution, as `distribution` does. Raises: ParameterError, which names no node."""
        return self.variable.family.distribution(parameters, self.variable.event, validate=validate, finite=finite)

    def by_rows(self, parameters: Mapping[str, Tensor], rank: int, rows: int) -> dict[str, Tensor]:
        """Lay parameters of a single sample out by row: [*(1,) * (rank - 1), B, ...] or constants -> [B, ...]."""
        family, event = self.variable.family, self.variable.event

        def by_row(name: str, parameter: Tensor) -> Tensor:
            filled = family.fill(name, parameter, event)
            inner = family.parameter_shape(name, event)
            leading = np.broadcast_shapes(tuple(filled.shape[: filled.dim() - len(inner)]), (1,) * (rank - 1) + (rows,))
            return filled.expand(*leading, *inner).reshape(rows, *inner)

        return {name: by_row(name, parameter) for name, parameter in parameters.items()}


class DensityModule(DensityOwner, Moving):
    """One conditional density: its network, its heads, its constants; gives a distribution for each group of rows."""

    def __init__(self, outline: Density, variable: Variable, trunk: Trunk | None) -> None:
        super().__init__(outline, variable)
        self.trunk = trunk
        width = sum(math.prod(shape) for shape in outline.heads.values())
        self.heads: nn.Module | None = None
        if outline.stack is not None:
            if outline.stack.heads is not None:
                self.heads = outline.stack.heads.module(outline.stack.output)
            elif trunk is None:
                self.heads = ParentSum(outline.stack.parents, width)
            else:
                self.heads = nn.Linear(math.prod(outline.stack.output), width)
        self.constants = nn.ParameterDict()
        self.constants_type = number_type()  # their type, whatever the default type is later
        for name, constant in outline.constants.items():
            self._constant(name, constant)

    def _constant(self, name: str, constant: Constant) -> None:
        if isinstance(constant.value, str):
            return
        family, event = self.variable.family, self.variable.event
        start = constant.value.start if isinstance(constant.value, Schedule) else constant.value
        exact = torch.tensor(start, dtype=torch.float64, device="cpu")  # where its values can be read
        value = exact.to(self.constants_type)
        if not bool(value.isfinite().all()) or bool(((value == 0) & (exact != 0)).any()):
            raise self._not_held(name, start)
        if not constant.learn:
            self.register_buffer(f"fixed_{name}", value.to(torch.get_default_device()), persistent=False)
            return
        filled = family.fill(name, value, event).clone()
        try:
            raw = family.unconstrain(name, filled)
        except ValueError:
            raise self._not_held(name, start) from None
        self.constants[name] = nn.Parameter(raw.to(torch.get_default_device()))

    def _not_held(self, name: str, start: object) -> UsageError:
        number = f"is {start:g}, which" if isinstance(start, float) else "has a number that"
        kind = str(self.constants_type).removeprefix("torch.")
        return UsageError(
            f"node '{self.variable.name}': '{name}' {number} {kind} cannot hold or learn from: a run computes in the "
            f"type of its train.precision, sgc.compile in torch's default type"
        )

    @property
    def conditionals(self) -> tuple[DensityModule, ...]:
        """The conditionals with a network each: itself."""
        return (self,)

    def named(self, values: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Give the values that parameters are taken from."""
        return values

    @property
    def moves(self) -> bool:
        """Whether a schedule moves one of its constants."""
        return any(isinstance(constant.value, Schedule) for constant in self.outline.constants.values())

    def stand_at(self, epoch: float) -> None:
        """Take the constants of an epoch, where schedules move them; to the bit what a number written there gives."""
        for name, constant in self.outline.constants.items():
            if isinstance(constant.value, Schedule):
                before = getattr(self, f"fixed_{name}")
                value = torch.tensor(constant.value.at(epoch), dtype=self.constants_type)
                setattr(self, f"fixed_{name}", value.to(before))  # in place it would spoil gradients not yet taken

    def parameters_of(
        self, groups: Sequence[Group], named: Sequence[Mapping[str, Tensor]], rank: int
    ) -> list[dict[str, Tensor]]:
        parameters: list[dict[str, Tensor]] = [{} for _ in groups]
        family, heads = self.variable.family, self.outline.heads
        if self.heads is not None:
            if self.trunk is None:
                rows, leading = self.heads(groups, rank)
            else:
                rows, leading = self.trunk(groups, rank)
                pixelwise = self.outline.stack is not None and self.outline.stack.heads is not None
                rows = self._by_head(self.heads(rows)) if pixelwise else self.heads(rows.flatten(1))
            if rows.dtype in (torch.bfloat16, torch.float16):
                rows = rows.float()  # densities are never scored in half precision
            sizes = [math.prod(lead) for lead in leading]
            widths = [math.prod(shape) for shape in heads.values()]
            for raw, (head, shape) in zip(rows.split(widths, -1), heads.items(), strict=True):
                constrained = family.constrain(head, raw.reshape(-1, *shape))
                for i, (part, lead) in enumerate(zip(constrained.split(sizes), leading, strict=True)):
                    parameters[i][head] = part.reshape(*lead, *part.shape[1:])
        for name, constant in self.outline.constants.items():
            if isinstance(constant.value, str):
                for i, values in enumerate(named):
                    parameters[i][name] = self._taken(name, values[constant.value], rank)
            else:
                value = self._constant_value(name, constant)
                for by_name in parameters:
                    by_name[name] = value
        if self.variable.total == OWN_SUM:
            for by_name, values in zip(parameters, named, strict=True):
                by_name[TOTAL] = self._own_sum(values)
        return parameters

    def _own_sum(self, values: Mapping[str, Tensor]) -> Tensor:
        """Add up the node's own value. Raises: KeyError where it is not known."""
        name = self.variable.name
        if name not in values:
            raise KeyError(f"the value of '{name}' is missing: its {TOTAL} is its own sum")
        return values[name].sum(-1)

    def _by_head(self, images: Tensor) -> Tensor:
        """Lay images [R, channels, height, width] out as the heads side by side, [R, numbers of all heads].

        A head [channels, height, width, *more] has its channels together, for each of them what is more.
        """
        height, width = images.shape[-2:]
        counts = [math.prod(shape) // (height * width) for shape in self.outline.heads.values()]
        flat: list[Tensor] = []
        for part, shape in zip(images.split(counts, 1), self.outline.heads.values(), strict=True):
            more = math.prod(shape[len(self.variable.shape) :])
            flat.append(part.unflatten(1, (-1, more)).movedim(2, -1).flatten(1))
        return flat[0] if len(flat) == 1 else torch.cat(flat, 1)

    def _taken(self, name: str, value: Tensor, rank: int) -> Tensor:
        """Give a parameter that takes the value of a feature, a node or an input."""
        wanted = self.variable.family.parameter_shape(name, self.variable.event)
        value = self.variable.family.constraints[name].floored(value)
        one_for_all = tuple(value.shape[rank:]) != wanted
        return value.reshape(*value.shape[:rank], *(1,) * len(wanted)) if one_for_all else value

    def _constant_value(self, name: str, constant: Constant) -> Tensor:
        if constant.learn:
            return self.variable.family.constrain(name, self.constants[name])
        fixed = getattr(self, f"fixed_{name}")
        assert isinstance(fixed, Tensor)
        return fixed


class DensityStep(Conditional):
    """One step of a repeat: the networks of its first step, on parents of its own."""

    def __init__(self, first: DensityOwner, outline: Density, variable: Variable) -> None:
        self.owner, self.outline = first, outline
        self.variable = replace(variable, family=first.variable.family) if first.outline.experts else variable
        pairs = [(first.outline.constants[name].value, constant.value) for name, constant in outline.constants.items()]
        self.renamed = [
            (first_name, own) for first_name, own in pairs if isinstance(first_name, str) and isinstance(own, str)
        ]

    def named(self, values: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Give the values that parameters are taken from, by the names that the first step has for them."""
        me, first = self.variable, self.owner.variable
        itself = {first.name: values[me.name]} if me.total == OWN_SUM and me.name in values else {}
        return itself | {first_name: values[own] for first_name, own in self.renamed}

    def parameters_of(
        self, groups: Sequence[Group], named: Sequence[Mapping[str, Tensor]], rank: int
    ) -> list[dict[str, Tensor]]:
        return self.owner.parameters_of(groups, [self.named(values) for values in named], rank)


AnyDensity = DensityOwner | DensityStep


@contextmanager
def naming(outline: Density) -> Iterator[None]:
    """Name the conditional in faults of its parameters."""
    try:
        yield
    except ParameterError as problem:
        raise problem if problem.of else ParameterError(problem.message, density_text(outline)) from problem


def density_text(outline: Density) -> str:
    """Write a conditional as formulas do: 'p(x | y, z)'."""
    parents = f" | {', '.join(outline.reads)}" if outline.reads else ""
    return f"{'p' if outline.role == 'generative' else 'q'}({outline.node}{parents})"
