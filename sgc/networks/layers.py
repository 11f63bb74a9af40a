"""Layers: the closed table of `torch.nn` modules that a network may be made of, with their shapes and sizes.

Each is one final class: how it is written, what shape it makes of a row's shape, how many parameters it has, and the
module itself. Shapes are without the batch. Nothing here imports torch but the method that builds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from sgc.distributions.supports import INTERVAL, NONNEGATIVE, OPEN_UNIT_INTERVAL, POSITIVE, REAL, SIMPLEX, Support
from sgc.networks import image_layers as image
from sgc.networks.layer import (
    BatchNorm,
    Dropping,
    Epsilon,
    Layer,
    Rearranging,
    Shape,
    ShapeFault,
    Width,
    layer_kind,
    shape_text,
)
from sgc.piece import Many, tagged

if TYPE_CHECKING:
    from torch import nn


class Linear(Layer):
    """y = W x + b over a vector: [n] -> [out_features]."""

    channels: ClassVar[str] = "in_features"
    out_features: Width
    bias: bool = True

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 1:
            raise ShapeFault(f"Linear got {shape_text(shape)}, wanted a vector: put Flatten before it")
        return (self.out_features,)

    def parameter_count(self, shape: Shape) -> int:
        return self.out_features * (shape[0] + self.bias)


class Flatten(Rearranging):
    """Any shape -> a vector."""

    def output_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        return nn.Flatten(1)


class Unflatten(Rearranging):
    """A vector -> [*sizes] of as many elements."""

    sizes: Many[Width]

    def output_shape(self, shape: Shape) -> Shape:
        if math.prod(shape) != math.prod(self.sizes):
            wanted = math.prod(self.sizes)
            raise ShapeFault(f"Unflatten to {shape_text(self.sizes)} got {shape_text(shape)}, wanted {wanted} elements")
        return self.sizes

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        return nn.Sequential(nn.Flatten(1), nn.Unflatten(1, self.sizes))


class Dropout(Dropping):
    """Zero each element with probability p while training (Srivastava et al. 2014)."""


class BatchNorm1d(BatchNorm):
    """Normalise each element of a vector, or channel of a signal, over a batch (Ioffe and Szegedy 2015)."""

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) not in (1, 2):
            raise ShapeFault(f"BatchNorm1d got {shape_text(shape)}, wanted a vector or a signal [channels, length]")
        return shape


class LayerNorm(Layer):
    """Normalise each row over its elements (Ba et al. 2016)."""

    eps: Epsilon = 1e-5
    elementwise_affine: bool = True

    def parameter_count(self, shape: Shape) -> int:
        return 2 * math.prod(shape) * self.elementwise_affine

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        return nn.LayerNorm(shape, eps=self.eps, elementwise_affine=self.elementwise_affine)


class PReLU(Layer):
    """A rectifier whose slope below zero is learned, one for all elements (He et al. 2015)."""

    def parameter_count(self, shape: Shape) -> int:
        return 1


class Pointwise(Layer):
    """An activation, element by element, that takes no options; abstract."""


ReLU = layer_kind(Pointwise, "ReLU", support=NONNEGATIVE)
LeakyReLU = layer_kind(Pointwise, "LeakyReLU")
ELU = layer_kind(Pointwise, "ELU")
SELU = layer_kind(Pointwise, "SELU")
GELU = layer_kind(Pointwise, "GELU")
SiLU = layer_kind(Pointwise, "SiLU")
Mish = layer_kind(Pointwise, "Mish")
Softplus = layer_kind(Pointwise, "Softplus", support=POSITIVE)
Hardswish = layer_kind(Pointwise, "Hardswish")
Tanh = layer_kind(Pointwise, "Tanh", support=INTERVAL.within(-1.0, 1.0))
Sigmoid = layer_kind(Pointwise, "Sigmoid", support=OPEN_UNIT_INTERVAL)


class Exp(Layer):
    """The exponential of each element: any number -> a positive one."""

    support: ClassVar[Support] = POSITIVE

    def module(self, shape: Shape) -> nn.Module:
        from torch import Tensor, nn

        class Exponential(nn.Module):
            def forward(self, rows: Tensor) -> Tensor:
                return rows.exp()

        return Exponential()


class Log1p(Layer):
    """log(1 + x) of each element, of a negative one −log(1 − x): large counts no longer drown small ones."""

    def output_range(self, incoming: Support) -> Support:
        return NONNEGATIVE if NONNEGATIVE.contains(incoming) else REAL

    def module(self, shape: Shape) -> nn.Module:
        from torch import Tensor, nn

        class LogarithmOfOneMore(nn.Module):
            def forward(self, rows: Tensor) -> Tensor:
                return rows.sign() * rows.abs().log1p()

        return LogarithmOfOneMore()


class LogNormalize(Layer):
    """log(1 + scale · c / Σ c) of counts c, which networks read as log(1 + c): rows of one size, whatever was counted.

    Of a row without any count, zeros; a count beyond e^60 is taken for that. As scanpy's normalize_total and log1p, and
    Seurat's LogNormalize, have it.
    """

    scale: Annotated[float, Field(gt=0)] = 1e4
    support: ClassVar[Support] = NONNEGATIVE

    def module(self, shape: Shape) -> nn.Module:
        from torch import Tensor, nn

        class LogarithmOfShares(nn.Module):
            def __init__(self, scale: float) -> None:
                super().__init__()
                self.scale = scale

            def forward(self, rows: Tensor) -> Tensor:
                counts = (rows.clamp(0, 60).exp() - 1).relu()  # no sum of them overflows; ONNX has no expm1
                total = counts.flatten(1).sum(1).reshape(-1, *[1] * (rows.dim() - 1))
                return (counts * (self.scale / total.clamp_min(1e-9))).log1p()

        return LogarithmOfShares(self.scale)


class Softmax(Layer):
    """Shares that sum to one over the last axis, exp(x_k) / Σ_j exp(x_j)."""

    support: ClassVar[Support] = SIMPLEX

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        return nn.Softmax(-1)


_TABLE: tuple[type[Layer], ...] = (
    *(Linear, Flatten, Unflatten),
    *(image.Conv1d, image.Conv2d, image.ConvTranspose1d, image.ConvTranspose2d, image.Upsample, image.PixelShuffle),
    *(image.MaxPool1d, image.MaxPool2d, image.AvgPool1d, image.AvgPool2d),
    *(image.AdaptiveAvgPool1d, image.AdaptiveAvgPool2d, image.AdaptiveMaxPool2d),
    *(Dropout, image.Dropout2d, BatchNorm1d, image.BatchNorm2d, LayerNorm, image.GroupNorm, image.InstanceNorm2d),
    *(ReLU, LeakyReLU, ELU, SELU, GELU, SiLU, Mish, Softplus, Hardswish, PReLU, Tanh, Sigmoid, Exp, Log1p),
    *(LogNormalize, Softmax),
)
LAYERS: dict[str, type[Layer]] = {layer.name: layer for layer in _TABLE}

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
    "exp": Exp(),
    "log1p": Log1p(),
    "softmax": Softmax(),
    "none": None,
}


def _tag(value: Any) -> str | None:  # Any: whatever YAML can say
    if isinstance(value, str):
        return value if value in LAYERS else None
    if isinstance(value, dict) and len(value) == 1:
        return next((key for key in value if key in LAYERS), None)
    return getattr(value, "name", None)


LayerChoice = tagged(dict(LAYERS), "layer", _tag, key=True)
