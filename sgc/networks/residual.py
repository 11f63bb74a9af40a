"""A residual block: layers, and what came added to what they give (He et al. 2016)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sgc.distributions.supports import REAL, Support
from sgc.networks.layer import Layer, Shape, ShapeFault, shape_text

if TYPE_CHECKING:
    from torch import nn


class ResidualBlock(Layer):
    """end(inner(x) + x), or end(inner(x) + beside(x)) where `inner` gives another shape than came."""

    name: ClassVar[str] = "residual"
    inner: tuple[Layer, ...]
    beside: tuple[Layer, ...]
    end: tuple[Layer, ...]

    @property
    def unsteady(self) -> str:
        """Name the first of its layers that does not give the same again."""
        return next((each.unsteady for each in (*self.inner, *self.beside, *self.end) if each.unsteady), "")

    def output_shape(self, shape: Shape) -> Shape:
        made = _through(self.inner, shape)
        if made != shape and (added := _through(self.beside, shape)) != made:
            raise ShapeFault(
                f"residual blocks got {shape_text(shape)}, of which the map gives {shape_text(made)} and what is added "
                f"{shape_text(added)}: the stride must divide"
            )
        return made

    def output_range(self, incoming: Support) -> Support:
        made = REAL
        for layer in self.end:
            made = layer.output_range(made)
        return made

    def parameter_count(self, shape: Shape) -> int:
        count = _count(self.inner, shape) + _count(self.end, _through(self.inner, shape))
        return count + (0 if _through(self.inner, shape) == shape else _count(self.beside, shape))

    def module(self, shape: Shape) -> nn.Module:
        from torch import Tensor, nn

        class Block(nn.Module):
            def __init__(self, inner: nn.Module, beside: nn.Module, end: nn.Module) -> None:
                super().__init__()
                self.inner, self.beside, self.end = inner, beside, end

            def forward(self, rows: Tensor) -> Tensor:
                ended: Tensor = self.end(self.inner(rows) + self.beside(rows))
                return ended

        made = _through(self.inner, shape)
        beside = nn.Identity() if made == shape else _sequence(self.beside, shape)
        return Block(_sequence(self.inner, shape), beside, _sequence(self.end, made))


def _through(layers: tuple[Layer, ...], shape: Shape) -> Shape:
    for layer in layers:
        shape = layer.output_shape(shape)
    return shape


def _count(layers: tuple[Layer, ...], shape: Shape) -> int:
    count = 0
    for layer in layers:
        count += layer.parameter_count(shape)
        shape = layer.output_shape(shape)
    return count


def _sequence(layers: tuple[Layer, ...], shape: Shape) -> nn.Module:
    from torch import nn

    modules = []
    for layer in layers:
        modules.append(layer.module(shape))
        shape = layer.output_shape(shape)
    return nn.Sequential(*modules)
