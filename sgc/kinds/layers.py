"""Layers: the closed table of `torch.nn` modules that a network may be made of, with their shapes and sizes.

Each is one final class: how it is written, what shape it makes of a row's shape, how many parameters it has, and the
module itself. Shapes are without the batch. Nothing here imports torch but the method that builds.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from sgc.kinds.base import Many, Maybe, Piece, tagged

if TYPE_CHECKING:
    from torch import nn

Shape = tuple[int, ...]
Width = Annotated[int, Field(ge=1, le=1_000_000)]
Kernel = Annotated[int, Field(ge=1, le=1024)]
Share = Annotated[float, Field(ge=0, lt=1)]


class ShapeFault(Exception):
    """A shape that a layer cannot take; the text says what came and what was wanted."""


def shape_text(shape: Shape) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


class Layer(Piece):
    """A layer in the table; abstract."""

    name: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _unwrap(cls, value: Any) -> Any:  # Any: whatever YAML can say
        if isinstance(value, str):
            return {}
        if not (isinstance(value, dict) and list(value) == [cls.name]):
            return value
        inner = value[cls.name]
        main = next(iter(cls.model_fields), "")
        return inner if isinstance(inner, dict) or not main else {main: inner}

    @model_serializer(mode="wrap")
    def _wrap(self, inner: SerializerFunctionWrapHandler) -> Any:  # Any: plain data
        options = inner(self)
        return {self.name: options} if options else self.name

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape this layer makes. Raises: ShapeFault."""
        return shape

    def parameter_count(self, shape: Shape) -> int:
        """Count its parameters on an input of `shape`."""
        return 0

    def module(self, shape: Shape) -> nn.Module:
        """Build it for rows [R, *shape]."""
        raise TypeError(f"{self.name} is abstract")


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

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        return nn.Sequential(nn.Flatten(1), nn.Unflatten(1, self.sizes))


class Conv2d(Layer):
    """Convolve an image [channels, height, width] with square kernels, zeros around it."""

    name: ClassVar[str] = "Conv2d"
    out_channels: Width
    kernel_size: Kernel
    stride: Kernel = 1
    padding: Annotated[int, Field(ge=0, le=512)] = 0
    bias: bool = True

    def output_shape(self, shape: Shape) -> Shape:
        height, width = (self._after(size) for size in _image("Conv2d", shape)[1:])
        if min(height, width) < 1:
            around = f" with {self.padding} zeros around it" if self.padding else ""
            raise ShapeFault(f"Conv2d with a kernel of {self.kernel_size} got {shape_text(shape)}{around}: too small")
        return (self.out_channels, height, width)

    def _after(self, size: int) -> int:
        return (size + 2 * self.padding - self.kernel_size) // self.stride + 1

    def parameter_count(self, shape: Shape) -> int:
        return self.out_channels * (shape[0] * self.kernel_size**2 + self.bias)

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        return nn.Conv2d(
            shape[0], self.out_channels, self.kernel_size, stride=self.stride, padding=self.padding, bias=self.bias
        )


class ConvTranspose2d(Layer):
    """Convolve backwards: each pixel of an image [channels, height, width] lays a kernel down (Zeiler et al. 2010)."""

    name: ClassVar[str] = "ConvTranspose2d"
    out_channels: Width
    kernel_size: Kernel
    stride: Kernel = 1
    padding: Annotated[int, Field(ge=0, le=512)] = 0  # pixels taken off around the result
    bias: bool = True

    def output_shape(self, shape: Shape) -> Shape:
        sides = _image("ConvTranspose2d", shape)[1:]
        height, width = ((side - 1) * self.stride - 2 * self.padding + self.kernel_size for side in sides)
        if min(height, width) < 1:
            raise ShapeFault(
                f"ConvTranspose2d with a padding of {self.padding} got {shape_text(shape)}: nothing is left"
            )
        return (self.out_channels, height, width)

    def parameter_count(self, shape: Shape) -> int:
        return self.out_channels * (shape[0] * self.kernel_size**2 + self.bias)

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        return nn.ConvTranspose2d(
            shape[0], self.out_channels, self.kernel_size, stride=self.stride, padding=self.padding, bias=self.bias
        )


class Upsample(Layer):
    """Make an image so many times as high and wide, every pixel a square of itself."""

    name: ClassVar[str] = "Upsample"
    scale_factor: Kernel

    def output_shape(self, shape: Shape) -> Shape:
        channels, height, width = _image("Upsample", shape)
        return (channels, height * self.scale_factor, width * self.scale_factor)

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        return nn.Upsample(scale_factor=self.scale_factor)


class Pool(Layer):
    """Take one number of each square window of an image; abstract. The stride is the window's size if not said."""

    kernel_size: Kernel
    stride: Maybe[Kernel] = None

    def output_shape(self, shape: Shape) -> Shape:
        channels, *sides = _image(self.name, shape)
        height, width = ((side - self.kernel_size) // (self.stride or self.kernel_size) + 1 for side in sides)
        if min(sides) < self.kernel_size:
            raise ShapeFault(f"{self.name} with a window of {self.kernel_size} got {shape_text(shape)}: too small")
        return (channels, height, width)

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        made: nn.Module = getattr(nn, self.name)(self.kernel_size, stride=self.stride)
        return made


class MaxPool2d(Pool):
    name: ClassVar[str] = "MaxPool2d"


class AvgPool2d(Pool):
    name: ClassVar[str] = "AvgPool2d"


class AdaptiveAvgPool2d(Layer):
    """Average an image down to a square of so many places a side."""

    name: ClassVar[str] = "AdaptiveAvgPool2d"
    output_size: Kernel

    def output_shape(self, shape: Shape) -> Shape:
        return (_image("AdaptiveAvgPool2d", shape)[0], self.output_size, self.output_size)

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        return nn.AdaptiveAvgPool2d(self.output_size)


def _image(name: str, shape: Shape) -> Shape:
    if len(shape) != 3:
        raise ShapeFault(f"{name} got {shape_text(shape)}, wanted an image [channels, height, width]")
    return shape


class Dropout(Layer):
    """Zero each element with probability p while training (Srivastava et al. 2014)."""

    name: ClassVar[str] = "Dropout"
    p: Share = 0.5

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        return nn.Dropout(self.p)


class BatchNorm1d(Layer):
    """Normalise each element over all rows of a batch (Ioffe and Szegedy 2015)."""

    name: ClassVar[str] = "BatchNorm1d"
    eps: Annotated[float, Field(gt=0)] = 1e-5
    momentum: Annotated[float, Field(gt=0, le=1)] = 0.1

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 1:
            raise ShapeFault(f"BatchNorm1d got {shape_text(shape)}, wanted a vector")
        return shape

    def parameter_count(self, shape: Shape) -> int:
        return 2 * shape[0]

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        return nn.BatchNorm1d(shape[0], eps=self.eps, momentum=self.momentum)


class BatchNorm2d(BatchNorm1d):
    """Normalise each channel over all rows and places of a batch (Ioffe and Szegedy 2015)."""

    name: ClassVar[str] = "BatchNorm2d"

    def output_shape(self, shape: Shape) -> Shape:
        return _image("BatchNorm2d", shape)

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        return nn.BatchNorm2d(shape[0], eps=self.eps, momentum=self.momentum)


class GroupNorm(Layer):
    """Normalise each row over groups of its channels (Wu and He 2018)."""

    name: ClassVar[str] = "GroupNorm"
    num_groups: Width
    eps: Annotated[float, Field(gt=0)] = 1e-5

    def output_shape(self, shape: Shape) -> Shape:
        if not shape or shape[0] % self.num_groups:
            raise ShapeFault(
                f"GroupNorm of {self.num_groups} groups got {shape_text(shape)}, wanted channels they divide"
            )
        return shape

    def parameter_count(self, shape: Shape) -> int:
        return 2 * shape[0]

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        return nn.GroupNorm(self.num_groups, shape[0], eps=self.eps)


class Dropout2d(Layer):
    """Zero whole channels of an image with probability p while training (Tompson et al. 2015)."""

    name: ClassVar[str] = "Dropout2d"
    p: Share = 0.5

    def output_shape(self, shape: Shape) -> Shape:
        return _image("Dropout2d", shape)

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        return nn.Dropout2d(self.p)


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

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        made: nn.Module = getattr(nn, self.name)()
        return made


class ReLU(Pointwise):
    name: ClassVar[str] = "ReLU"


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


class Tanh(Pointwise):
    name: ClassVar[str] = "Tanh"


class Sigmoid(Pointwise):
    name: ClassVar[str] = "Sigmoid"


LAYERS: dict[str, type[Layer]] = {
    "Linear": Linear,
    "Flatten": Flatten,
    "Unflatten": Unflatten,
    "Conv2d": Conv2d,
    "ConvTranspose2d": ConvTranspose2d,
    "Upsample": Upsample,
    "MaxPool2d": MaxPool2d,
    "AvgPool2d": AvgPool2d,
    "AdaptiveAvgPool2d": AdaptiveAvgPool2d,
    "Dropout": Dropout,
    "Dropout2d": Dropout2d,
    "BatchNorm1d": BatchNorm1d,
    "BatchNorm2d": BatchNorm2d,
    "LayerNorm": LayerNorm,
    "GroupNorm": GroupNorm,
    "ReLU": ReLU,
    "LeakyReLU": LeakyReLU,
    "ELU": ELU,
    "SELU": SELU,
    "GELU": GELU,
    "SiLU": SiLU,
    "Mish": Mish,
    "Softplus": Softplus,
    "Tanh": Tanh,
    "Sigmoid": Sigmoid,
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
