"""What unrolling a repeat puts into networks: entries that no spec writes, each of them its own layer.

A recurrent cell, the state that is kept where a step does not exist, the steps of a node side by side, the zeros before
the first step, and whether a step exists.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from sgc.distributions.supports import Support
from sgc.networks.combination import Combination
from sgc.networks.entry import Place, Unrolled
from sgc.networks.layer import Joining, Layer, Shape, ShapeFault, Width, shape_text

if TYPE_CHECKING:
    from torch import nn


class StepLayer(Joining, Unrolled):
    """An entry that is its own layer; abstract."""

    def unfold(self, place: Place) -> list[Layer]:
        return [self]


class Cell(StepLayer):
    """One step of a gated recurrent unit (Cho et al. 2014): inputs side by side, the last one the state before."""

    name: ClassVar[str] = "gru"
    gru: Width

    def joined_shape(self, shapes: Sequence[Shape]) -> Shape:
        return (self.gru,)

    def joined_count(self, shapes: Sequence[Shape]) -> int:
        return 3 * self.gru * (_size(shapes[:-1]) + self.gru + 2)

    def joining_module(self, shapes: Sequence[Shape]) -> nn.Module:
        import torch
        from torch import Tensor, nn

        class Step(nn.Module):
            def __init__(self, cell: nn.GRUCell) -> None:
                super().__init__()
                self.cell = cell

            def forward(self, *inputs: Tensor) -> Tensor:
                read = torch.cat([value.reshape(len(value), -1) for value in inputs[:-1]], 1)
                state: Tensor = self.cell(read, inputs[-1])
                return state

        return Step(nn.GRUCell(_size(shapes[:-1]), self.gru))


class Hold(StepLayer):
    """The new state (the first input) where the step exists (the third is 1), else the state before (the second)."""

    name: ClassVar[str] = "carry"

    def joined_shape(self, shapes: Sequence[Shape]) -> Shape:
        return shapes[0]

    def joined_range(self, shapes: Sequence[Shape], incoming: Sequence[Support]) -> Support:
        return incoming[0].joined(incoming[1])

    def joining_module(self, shapes: Sequence[Shape]) -> nn.Module:
        import torch
        from torch import Tensor, nn

        class Holding(nn.Module):
            def forward(self, new: Tensor, before: Tensor, exists: Tensor) -> Tensor:
                return torch.where(exists.reshape(-1, *(1,) * (new.dim() - 1)) > 0, new, before)

        return Holding()


class Collect(StepLayer):
    """The steps of a name side by side, [*steps, *shape]; zeros for those that do not exist."""

    name: ClassVar[str] = "steps"
    steps: tuple[int, ...]
    exists: tuple[int, ...] = ()  # by step, the place of the boolean that says whether it exists; empty: all do

    def joined_shape(self, shapes: Sequence[Shape]) -> Shape:
        count = len(self.exists) or len(shapes)
        if len(set(shapes[:count])) > 1:
            raise ShapeFault(
                f"steps side by side must have one shape, got {', '.join(map(shape_text, shapes[:count]))}"
            )
        return (*self.steps, *shapes[0])

    def joined_range(self, shapes: Sequence[Shape], incoming: Sequence[Support]) -> Support:
        joined = functools.reduce(Support.joined, incoming[: len(self.exists) or None])
        return joined.with_zero() if self.exists else joined

    def joining_module(self, shapes: Sequence[Shape]) -> nn.Module:
        import torch
        from torch import Tensor, nn

        count, places = len(self.exists) or len(shapes), self.exists
        shape = self.joined_shape(shapes)

        class Beside(nn.Module):
            def forward(self, *inputs: Tensor) -> Tensor:
                values = torch.stack(inputs[:count], 1)
                if places:
                    exists = torch.stack([inputs[place] for place in places], 1).reshape(
                        *values.shape[:2], *(1,) * (values.dim() - 2)
                    )
                    values = torch.where(exists > 0, values, torch.zeros_like(values))
                return values.reshape(len(values), *shape)

        return Beside()


class CombineSteps(Combination, StepLayer):
    """As `combine`, of steps that may not exist."""


class Zeros(Unrolled):
    """Zeros of the shape that networks read of a name: what comes before the first step."""

    name: ClassVar[str] = "zeros"

    of: str
    width: int | None = None  # where it is known without the name's own shape

    def unfold(self, place: Place) -> list[Layer]:
        raise AssertionError("zeros have the shape of another name")


class Exists(Unrolled):
    """Whether step `i` (from 0) exists, 0 or 1: its count is above it, and the step around it exists."""

    name: ClassVar[str] = "exists"

    count: str
    i: int

    def unfold(self, place: Place) -> list[Layer]:
        raise AssertionError("it reads the value of its count, not what networks read of it")


def _size(shapes: Sequence[Shape]) -> int:
    return sum(math.prod(shape) for shape in shapes)
