"""Layers: the closed table of `torch.nn` modules that a network may be made of, with their shapes and sizes.

Each is one final class: how it is written, what shape it makes of a row's shape, how many parameters it has, and the
module itself. Shapes are without the batch. Nothing here imports torch but the method that builds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from sgc.distributions.supports import INTERVAL, NONNEGATIVE, OPEN_UNIT_INTERVAL, POSITIVE, REAL, SIMPLEX, Support
from sgc.networks.image_layers import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveMaxPool2d,
    AvgPool1d,
    AvgPool2d,
    BatchNorm2d,
    Conv1d,
    Conv2d,
    ConvTranspose1d,
    ConvTranspose2d,
    Dropout2d,
    GroupNorm,
    InstanceNorm2d,
    MaxPool1d,
    MaxPool2d,
    PixelShuffle,
    Upsample,
)
from sgc.networks.layer import BatchNorm, Layer, Shape, ShapeFault, Share, Width, dropped_range, shape_text
from sgc.networks.scheduled_module import dropout
from sgc.piece import Many, tagged

if TYPE_CHECKING:
    from torch import nn


class Linear(Layer):
    """y = W x + b over a vector: [n] -> [out_features]."""

    name: ClassVar[str] = "Linear"
    out_features: Width
    bias: bool = True

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 1:
            raise ShapeFault(f"Linear got {shape_text(shape)}, wanted a vector: put Flatten before it")
        return (self.out_features,)

    def parameter_count(self, shape: Shape) -> int:
        return self.out_features * (shape[0] + self.bias)

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        return nn.Linear(shape[0], self.out_features, bias=self.bias)


class Flatten(Layer):
    """Any shape -> a vector."""

    name: ClassVar[str] = "Flatten"

    def output_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)

    def output_range(self, incoming: Support) -> Support:
        return incoming.element

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        return nn.Flatten(1)


class Unflatten(Layer):
    """A vector -> [*sizes] of as many elements."""

    name: ClassVar[str] = "Unflatten"
    sizes: Many[Width]

    def output_shape(self, shape: Shape) -> Shape:
        if math.prod(shape) != math.prod(self.sizes):
            wanted = math.prod(self.sizes)
            raise ShapeFault(f"Unflatten to {shape_text(self.sizes)} got {shape_text(shape)}, wanted {wanted} elements")
        return self.sizes

    def output_range(self, incoming: Support) -> Support:
        return incoming.element

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        return nn.Sequential(nn.Flatten(1), nn.Unflatten(1, self.sizes))


class Dropout(Layer):
    """Zero each element with probability p while training (Srivastava et al. 2014)."""

    name: ClassVar[str] = "Dropout"
    p: Share = 0.5

    @property
    def unsteady(self) -> str:
        """Name the layer, unless it never zeroes anything."""
        return "" if self.p == 0 else self.name

    def output_range(self, incoming: Support) -> Support:
        return dropped_range(incoming)

    def module(self, shape: Shape) -> nn.Module:
        return dropout("Dropout", self.p)


class BatchNorm1d(BatchNorm):
    """Normalise each element of a vector, or channel of a signal, over a batch (Ioffe and Szegedy 2015)."""

    name: ClassVar[str] = "BatchNorm1d"

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) not in (1, 2):
            raise ShapeFault(f"BatchNorm1d got {shape_text(shape)}, wanted a vector or a signal [channels, length]")
        return shape


class LayerNorm(Layer):
    """Normalise each row over its elements (Ba et al. 2016)."""

    name: ClassVar[str] = "LayerNorm"
    eps: Annotated[float, Field(gt=0)] = 1e-5

    def parameter_count(self, shape: Shape) -> int:
        return 2 * math.prod(shape)

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        return nn.LayerNorm(shape, eps=self.eps)


class Pointwise(Layer):
    """An activation, element by element, that takes no options; abstract."""

    made: ClassVar[Support] = REAL

    def output_range(self, incoming: Support) -> Support:
        return self.made

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        made: nn.Module = getattr(nn, self.name)()
        return made


class PReLU(Layer):
    """A rectifier whose slope below zero is learned, one for all elements (He et al. 2015)."""

    name: ClassVar[str] = "PReLU"

    def parameter_count(self, shape: Shape) -> int:
        return 1

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        return nn.PReLU()


class ReLU(Pointwise):
    name: ClassVar[str] = "ReLU"
    made: ClassVar[Support] = NONNEGATIVE


class LeakyReLU(Pointwise):
    name: ClassVar[str] = "LeakyReLU"


class ELU(Pointwise):
    name: ClassVar[str] = "ELU"


class SELU(Pointwise):
    name: ClassVar[str] = "SELU"


class GELU(Pointwise):
    name: ClassVar[str] = "GELU"


class SiLU(Pointwise):
    name: ClassVar[str] = "SiLU"


class Mish(Pointwise):
    name: ClassVar[str] = "Mish"


class Softplus(Pointwise):
    name: ClassVar[str] = "Softplus"
    made: ClassVar[Support] = POSITIVE


class Hardswish(Pointwise):
    name: ClassVar[str] = "Hardswish"


class Tanh(Pointwise):
    name: ClassVar[str] = "Tanh"
    made: ClassVar[Support] = INTERVAL.within(-1.0, 1.0)


class Sigmoid(Pointwise):
    name: ClassVar[str] = "Sigmoid"
    made: ClassVar[Support] = OPEN_UNIT_INTERVAL


class Exp(Layer):
    """The exponential of each element: any number -> a positive one."""

    name: ClassVar[str] = "Exp"

    def output_range(self, incoming: Support) -> Support:
        return POSITIVE

    def module(self, shape: Shape) -> nn.Module:
        from torch import Tensor, nn

        class Exponential(nn.Module):
            def forward(self, rows: Tensor) -> Tensor:
                return rows.exp()

        return Exponential()


class Softmax(Layer):
    """Shares that sum to one over the last axis, exp(x_k) / Σ_j exp(x_j)."""

    name: ClassVar[str] = "Softmax"

    def output_range(self, incoming: Support) -> Support:
        return SIMPLEX

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        return nn.Softmax(-1)


LAYERS: dict[str, type[Layer]] = {
    "Linear": Linear,
    "Flatten": Flatten,
    "Unflatten": Unflatten,
    "Conv1d": Conv1d,
    "Conv2d": Conv2d,
    "ConvTranspose1d": ConvTranspose1d,
    "ConvTranspose2d": ConvTranspose2d,
    "Upsample": Upsample,
    "PixelShuffle": PixelShuffle,
    "MaxPool1d": MaxPool1d,
    "MaxPool2d": MaxPool2d,
    "AvgPool1d": AvgPool1d,
    "AvgPool2d": AvgPool2d,
    "AdaptiveAvgPool1d": AdaptiveAvgPool1d,
    "AdaptiveAvgPool2d": AdaptiveAvgPool2d,
    "AdaptiveMaxPool2d": AdaptiveMaxPool2d,
    "Dropout": Dropout,
    "Dropout2d": Dropout2d,
    "BatchNorm1d": BatchNorm1d,
    "BatchNorm2d": BatchNorm2d,
    "LayerNorm": LayerNorm,
    "GroupNorm": GroupNorm,
    "InstanceNorm2d": InstanceNorm2d,
    "ReLU": ReLU,
    "LeakyReLU": LeakyReLU,
    "ELU": ELU,
    "SELU": SELU,
    "GELU": GELU,
    "SiLU": SiLU,
    "Mish": Mish,
    "Softplus": Softplus,
    "Hardswish": Hardswish,
    "PReLU": PReLU,
    "Tanh": Tanh,
    "Sigmoid": Sigmoid,
    "Exp": Exp,
    "Softmax": Softmax,
}

ACTIVATIONS: dict[str, Layer | None] = {
    "relu": ReLU(),
    "leaky_relu": LeakyReLU(),
    "elu": ELU(),
    "selu": SELU(),
    "gelu": GELU(),
    "silu": SiLU(),
    "mish": Mish(),
    "softplus": Softplus(),
    "tanh": Tanh(),
    "sigmoid": Sigmoid(),
    "none": None,
}


def _tag(value: Any) -> str | None:  # Any: whatever YAML can say
    if isinstance(value, str):
        return value if value in LAYERS else None
    if isinstance(value, dict) and len(value) == 1:
        return next((key for key in value if key in LAYERS), None)
    return getattr(value, "name", None)


LayerChoice = tagged(dict(LAYERS), "layer", _tag, key=True)
