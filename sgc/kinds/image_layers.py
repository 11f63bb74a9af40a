"""Layers of images [channels, height, width]: convolutions, pooling, and what goes by channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from sgc.kinds.base import Maybe
from sgc.kinds.layer import BatchNorm, Kernel, Layer, Shape, ShapeFault, Share, Width, shape_text

if TYPE_CHECKING:
    from torch import nn


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


class Dropout2d(Layer):
    """Zero whole channels of an image with probability p while training (Tompson et al. 2015)."""

    name: ClassVar[str] = "Dropout2d"
    p: Share = 0.5

    def output_shape(self, shape: Shape) -> Shape:
        return _image("Dropout2d", shape)

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        return nn.Dropout2d(self.p)


class BatchNorm2d(BatchNorm):
    """Normalise each channel over all rows and places of a batch (Ioffe and Szegedy 2015)."""

    name: ClassVar[str] = "BatchNorm2d"

    def output_shape(self, shape: Shape) -> Shape:
        return _image("BatchNorm2d", shape)


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


def _image(name: str, shape: Shape) -> Shape:
    if len(shape) != 3:
        raise ShapeFault(f"{name} got {shape_text(shape)}, wanted an image [channels, height, width]")
    return shape
