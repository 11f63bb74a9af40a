"""Several values of one shape combined into one: their sum, mean or maximum, each over those before it, or the last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from sgc.kinds.joining import Joining
from sgc.kinds.layer import Shape, ShapeFault, shape_text

if TYPE_CHECKING:
    from torch import nn

Way = Literal["sum", "max", "over", "mean", "last"]


class Combination(Joining):
    """Combine inputs of one shape; `over` lays each over those before it (Porter and Duff 1984).

    Under `over` an image of two or four channels has its opacity in the last, which is gone in the result; an image of
    one is ink whose value is its own opacity. A scalar is a vector of one, as wherever it enters a network.
    """

    name: ClassVar[str] = "combine"
    way: Way

    def joined_shape(self, shapes: Sequence[Shape]) -> Shape:
        if len({shape or (1,) for shape in shapes}) > 1:
            came = ", ".join(map(shape_text, shapes))
            raise ShapeFault(f"combine takes values of one shape, got {came}")
        shape = shapes[0] or (1,)
        if self.way != "over":
            return shape
        if len(shape) != 3 or shape[0] not in (1, 2, 4):
            raise ShapeFault(
                f"'over' takes images of 1, 2 or 4 channels, the last the opacity, got {shape_text(shape)}"
            )
        return (max(1, shape[0] - 1), *shape[1:])

    def joined_count(self, shapes: Sequence[Shape]) -> int:
        return 0

    def joining_module(self, shapes: Sequence[Shape]) -> nn.Module:
        import torch
        from torch import Tensor, nn

        way = self.way

        def laid_over(images: Sequence[Tensor]) -> Tensor:
            below: Tensor | None = None
            for image in images:
                opacity = image[:, -1:]
                ink = opacity * image[:, :-1] if image.shape[1] > 1 else opacity
                below = ink if below is None else ink + (1 - opacity) * below
            assert below is not None
            return below

        class Combined(nn.Module):
            def forward(self, *parents: Tensor) -> Tensor:
                inputs = [value.unsqueeze(-1) if value.dim() == 1 else value for value in parents]
                if way == "last":
                    return inputs[-1]
                if way == "over":
                    return laid_over(inputs)
                stacked = torch.stack(inputs)
                return stacked.amax(0) if way == "max" else stacked.mean(0) if way == "mean" else stacked.sum(0)

        return Combined()
