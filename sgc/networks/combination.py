"""Values combined into one: their sum, product, mean or maximum, each laid over those before it, or the last."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from sgc.distributions.supports import NONNEGATIVE, POSITIVE, REAL, UNIT_INTERVAL, Support
from sgc.networks.layer import Joining, Shape, ShapeFault, shape_text

if TYPE_CHECKING:
    from torch import nn

Way = Literal["sum", "product", "max", "over", "mean", "last"]


class Combination(Joining):
    """Combine inputs of one shape; `over` lays each over those before it (Porter and Duff 1984).

    Under `sum`, `product`, `max` and `mean` an axis of one is spread over that of another input, a number over all.
    Under `over`, an image of two or four channels has its opacity in the last, which the result has not; an image of
    one channel is ink whose value is its own opacity. A scalar is a vector of one, as everywhere in networks. Absent
    inputs count for nothing; where all are absent, the result is zero.
    """

    name: ClassVar[str] = "combine"
    way: Way
    exists: tuple[int | None, ...] = ()  # by value, the place of its boolean among the inputs; empty: none has one

    def joined_shape(self, shapes: Sequence[Shape]) -> Shape:
        shapes = shapes[: len(self.exists) or None]
        shape = self._spread([shape or (1,) for shape in shapes])
        if self.way != "over":
            return shape
        if len(shape) != 3 or shape[0] not in (1, 2, 4):
            raise ShapeFault(
                f"'over' takes images of 1, 2 or 4 channels, the last the opacity, got {shape_text(shape)}"
            )
        return (max(1, shape[0] - 1), *shape[1:])

    def _spread(self, shapes: Sequence[Shape]) -> Shape:
        """Give the shape that all of them have, or are spread over. Raises: ShapeFault."""
        if len({*shapes}) == 1:
            return shapes[0]
        got = f"got {', '.join(map(shape_text, shapes))}"
        if self.exists or self.way in ("over", "last"):
            raise ShapeFault(f"combine takes values of one shape, {got}")
        longest = max(map(len, shapes))
        axes = list(zip(*((1,) * (longest - len(shape)) + shape for shape in shapes), strict=True))
        if any(len({*axis} - {1}) > 1 for axis in axes):
            raise ShapeFault(f"combine takes values of one shape, or with axes of one in place of others, {got}")
        return tuple(max(axis) for axis in axes)

    def joined_range(self, shapes: Sequence[Shape], incoming: Sequence[Support]) -> Support:
        joined = functools.reduce(Support.joined, incoming[: len(self.exists) or None]).element
        if self.way == "sum":
            joined = next((support for support in (POSITIVE, NONNEGATIVE) if support.contains(joined)), REAL)
        if self.way == "product":
            known = (UNIT_INTERVAL, POSITIVE, NONNEGATIVE)
            joined = next((support for support in known if support.contains(joined)), REAL)
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
                longest = max(value.dim() for value in values)
                wide = [v.reshape(len(v), *(1,) * (longest - v.dim()), *v.shape[1:]) for v in values]
                if way == "product" and all(absence is None for absence in absent):
                    return functools.reduce(torch.mul, wide)
                stacked = torch.stack(torch.broadcast_tensors(*wide))
                if all(absence is None for absence in absent):
                    return stacked.amax(0) if way == "max" else stacked.mean(0) if way == "mean" else stacked.sum(0)
                present = torch.stack(
                    [
                        torch.ones_like(value, dtype=torch.bool) if absence is None else ~absence.expand_as(value)
                        for value, absence in zip(values, absent, strict=True)
                    ]
                )
                neutral = {"max": -math.inf, "product": 1.0}.get(way, 0.0)
                counted = torch.where(present, stacked, neutral)
                if way in ("max", "product"):
                    found = counted.amax(0) if way == "max" else counted.prod(0)
                    return torch.where(present.any(0), found, torch.zeros_like(stacked[0]))
                total = counted.sum(0)
                return total if way == "sum" else total / present.sum(0).clamp(min=1)

        return Combined()
