"""A residual block: layers, and what comes in added to what they give (He et al. 2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sgc.distributions.supports import REAL, Support
from sgc.networks.layer import Layer, Shape, ShapeFault, count_through, sequential, shape_text, shapes_through

if TYPE_CHECKING:
    from torch import nn

Layers = tuple[Layer, ...]


class ResidualBlock(Layer):
    """end(inner(x) + x), or end(inner(x) + beside(x)) where `inner` gives another shape than that of x."""

    name: ClassVar[str] = "residual"
    inner: Layers
    beside: Layers
    end: Layers

    @property
    def unsteady(self) -> str:
        """Name the first of its layers that gives other values each time."""
        return next((layer.unsteady for layer in (*self.inner, *self.beside, *self.end) if layer.unsteady), "")

    def output_shape(self, shape: Shape) -> Shape:
        inner = shapes_through(self.inner, shape)[-1]
        if inner != shape and (beside := shapes_through(self.beside, shape)[-1]) != inner:
            raise ShapeFault(
                f"residual blocks got {shape_text(shape)}, of which the map gives {shape_text(inner)} and what is "
                f"added {shape_text(beside)}: the stride must divide"
            )
        return inner

    def output_range(self, incoming: Support) -> Support:
        support = REAL
        for layer in self.end:
            support = layer.output_range(support)
        return support

    def parameter_count(self, shape: Shape) -> int:
        inner = shapes_through(self.inner, shape)[-1]
        count = count_through(self.inner, shape) + count_through(self.end, inner)
        return count + (0 if inner == shape else count_through(self.beside, shape))

    def module(self, shape: Shape) -> nn.Module:
        from torch import Tensor, nn

        class Block(nn.Module):
            def __init__(self, inner: nn.Module, beside: nn.Module, end: nn.Module) -> None:
                super().__init__()
                self.inner, self.beside, self.end = inner, beside, end

            def forward(self, rows: Tensor) -> Tensor:
                ended: Tensor = self.end(self.inner(rows) + self.beside(rows))
                return ended

        inner = shapes_through(self.inner, shape)[-1]
        beside = nn.Identity() if inner == shape else sequential(self.beside, shape)
        return Block(sequential(self.inner, shape), beside, sequential(self.end, inner))
