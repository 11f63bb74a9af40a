"""Values of one shape combined into one: their sum, mean or maximum, each laid over those before it, or the last."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from sgc.distributions.supports import NONNEGATIVE, POSITIVE, REAL, UNIT_INTERVAL, Support
from sgc.networks.layer import Joining, Shape, ShapeFault, shape_text

if TYPE_CHECKING:
    from torch import nn

Way = Literal["sum", "max", "over", "mean", "last"]


class Combination(Joining):
    """Combine inputs of one shape; `over` lays each over those before it (Porter and Duff 1984).

    Under `over`, an image of two or four channels has its opacity in the last, which the result has not; an image of
    one channel is ink whose value is its own opacity. A scalar is a vector of one, as everywhere in networks. Absent
    inputs count for nothing; where all are absent, the result is zero.
    """

    name: ClassVar[str] = "combine"
    way: Way
    exists: tuple[int | None, ...] = ()  # by value, the place of its boolean among the inputs; empty: none has one

    def joined_shape(self, shapes: Sequence[Shape]) -> Shape:
        shapes = shapes[: len(self.exists) or None]
        if len({shape or (1,) for shape in shapes}) > 1:
            raise ShapeFault(f"combine takes values of one shape, got {', '.join(map(shape_text, shapes))}")
        shape = shapes[0] or (1,)
        if self.way != "over":
            return shape
        if len(shape) != 3 or shape[0] not in (1, 2, 4):
            raise ShapeFault(
                f"'over' takes images of 1, 2 or 4 channels, the last the opacity, got {shape_text(shape)}"
            )
        return (max(1, shape[0] - 1), *shape[1:])

    def joined_range(self, shapes: Sequence[Shape], incoming: Sequence[Support]) -> Support:
        joined = functools.reduce(Support.joined, incoming[: len(self.exists) or None]).element
        if self.way == "sum":
            joined = next((support for support in (POSITIVE, NONNEGATIVE) if support.contains(joined)), REAL)
        if self.way == "over":  # shares of ink, where opacities are shares
            return UNIT_INTERVAL if UNIT_INTERVAL.contains(joined) else REAL
        return joined.with_zero() if self.exists else joined

    def joining_module(self, shapes: Sequence[Shape]) -> nn.Module:
        import torch
        from torch import Tensor, nn

        way, exists = self.way, self.exists or (None,) * len(shapes)

        def absence(inputs: Sequence[Tensor], i: int, value: Tensor) -> Tensor | None:
            """Say where a value is absent; None where it never is."""
            place = exists[i]
            return None if place is None else inputs[place].reshape(-1, *(1,) * (value.dim() - 1)) == 0

        def fold(values: Sequence[Tensor], absent: Sequence[Tensor | None]) -> Tensor:
            """Go through the values in order, past absent ones."""
            below: Tensor | None = None
            for value, absence in zip(values, absent, strict=True):
                opacity = value[:, -1:] if way == "over" else None
                ink = value if opacity is None else opacity * value[:, :-1] if value.shape[1] > 1 else opacity
                before = torch.zeros_like(ink) if below is None else below
                after = ink if opacity is None or below is None else ink + (1 - opacity) * below
                below = after if absence is None else torch.where(absence, before, after)
            assert below is not None
            return below

        class Combined(nn.Module):
            def forward(self, *inputs: Tensor) -> Tensor:
                values = [value.unsqueeze(-1) if value.dim() == 1 else value for value in inputs[: len(exists)]]
                absent = [absence(inputs, i, value) for i, value in enumerate(values)]
                if way in ("last", "over"):
                    return fold(values, absent)
                stacked = torch.stack(values)
                if all(absence is None for absence in absent):
                    return stacked.amax(0) if way == "max" else stacked.mean(0) if way == "mean" else stacked.sum(0)
                present = torch.stack(
                    [
                        torch.ones_like(value, dtype=torch.bool) if absence is None else ~absence.expand_as(value)
                        for value, absence in zip(values, absent, strict=True)
                    ]
                )
                neutral = torch.full_like(stacked, -math.inf) if way == "max" else torch.zeros_like(stacked)
                counted = torch.where(present, stacked, neutral)
                if way == "max":
                    return torch.where(present.any(0), counted.amax(0), torch.zeros_like(stacked[0]))
                total = counted.sum(0)
                return total if way == "sum" else total / present.sum(0).clamp(min=1)

        return Combined()
