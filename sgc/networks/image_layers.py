"""Layers of images [channels, height, width] and of signals [channels, length], and what goes by channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from sgc.networks.layer import (
    BatchNorm,
    Dropping,
    Epsilon,
    Kernel,
    Layer,
    Rearranging,
    ScaledByChannel,
    Shape,
    ShapeFault,
    Width,
    layer_kind,
    shape_text,
)
from sgc.piece import Maybe

if TYPE_CHECKING:
    from torch import nn


class Kernels(Layer):
    """Kernels that are as long on every side; abstract."""

    sides: ClassVar[int]
    channels: ClassVar[str] = "in_channels"
    out_channels: Width
    kernel_size: Kernel
    stride: Kernel = 1
    padding: Annotated[int, Field(ge=0, le=512)] = 0
    if TYPE_CHECKING:
        bias: bool  # the last field of each kind

    def parameter_count(self, shape: Shape) -> int:
        kernel: int = self.kernel_size**self.sides
        return self.out_channels * (shape[0] * kernel + self.bias)


class Convolution(Kernels):
    """Convolve, with `padding` zeros around what comes; abstract."""

    bias: bool = True

    def output_shape(self, shape: Shape) -> Shape:
        _, *sides = check_grid(self.name, shape, self.sides)
        after = [(side + 2 * self.padding - self.kernel_size) // self.stride + 1 for side in sides]
        if min(after) < 1:
            around = f" with {self.padding} zeros around it" if self.padding else ""
            raise ShapeFault(
                f"{self.name} with a kernel of {self.kernel_size} got {shape_text(shape)}{around}: too small"
            )
        return (self.out_channels, *after)


class TransposedConvolution(Kernels):
    """Convolve backwards: every place lays a kernel down (Zeiler et al. 2010); abstract.

    `padding` places are taken off around the result, `output_padding` places are added at the end of every side.
    """

    output_padding: Annotated[int, Field(ge=0, le=1023)] = 0
    bias: bool = True

    def output_shape(self, shape: Shape) -> Shape:
        _, *sides = check_grid(self.name, shape, self.sides)
        if self.output_padding >= self.stride:
            raise ShapeFault(f"{self.name}: an output_padding of {self.output_padding} is not less than the stride")
        lost = 2 * self.padding - self.kernel_size - self.output_padding
        after = [(side - 1) * self.stride - lost for side in sides]
        if min(after) < 1:
            raise ShapeFault(f"{self.name} with a padding of {self.padding} got {shape_text(shape)}: nothing is left")
        return (self.out_channels, *after)


class Conv2d(Convolution):
    sides: ClassVar[int] = 2


class ConvTranspose2d(TransposedConvolution):
    sides: ClassVar[int] = 2


Conv1d = layer_kind(Convolution, "Conv1d", sides=1)
ConvTranspose1d = layer_kind(TransposedConvolution, "ConvTranspose1d", sides=1)


class Upsample(Rearranging):
    """Make an image so many times as high and wide, or a signal as long, every place repeated."""

    scale_factor: Kernel

    def output_shape(self, shape: Shape) -> Shape:
        channels, *sides = check_grid(self.name, shape, 1 if len(shape) == 2 else 2)
        return (channels, *(side * self.scale_factor for side in sides))


class PixelShuffle(Rearranging):
    """Turn r² channels into one that is r times as high and wide (Shi et al. 2016)."""

    upscale_factor: Kernel

    def output_shape(self, shape: Shape) -> Shape:
        channels, height, width = check_grid(self.name, shape, 2)
        squared = self.upscale_factor**2
        if channels % squared:
            raise ShapeFault(
                f"PixelShuffle by {self.upscale_factor} got {shape_text(shape)}, wanted channels that {squared} divides"
            )
        return (channels // squared, height * self.upscale_factor, width * self.upscale_factor)


class Pool(Rearranging):
    """Take one number of each window; abstract. The stride is the window's size if not said."""

    sides: ClassVar[int]
    kernel_size: Kernel
    stride: Maybe[Kernel] = None

    def output_shape(self, shape: Shape) -> Shape:
        channels, *sides = check_grid(self.name, shape, self.sides)
        if min(sides) < self.kernel_size:
            raise ShapeFault(f"{self.name} with a window of {self.kernel_size} got {shape_text(shape)}: too small")
        return (channels, *((side - self.kernel_size) // (self.stride or self.kernel_size) + 1 for side in sides))


class AdaptivePool(Rearranging):
    """Bring every side down to so many places; abstract."""

    sides: ClassVar[int]
    output_size: Kernel

    def output_shape(self, shape: Shape) -> Shape:
        return (check_grid(self.name, shape, self.sides)[0], *(self.output_size,) * self.sides)


MaxPool1d = layer_kind(Pool, "MaxPool1d", sides=1)
MaxPool2d = layer_kind(Pool, "MaxPool2d", sides=2)
AvgPool1d = layer_kind(Pool, "AvgPool1d", sides=1)
AvgPool2d = layer_kind(Pool, "AvgPool2d", sides=2)
AdaptiveAvgPool1d = layer_kind(AdaptivePool, "AdaptiveAvgPool1d", sides=1)
AdaptiveAvgPool2d = layer_kind(AdaptivePool, "AdaptiveAvgPool2d", sides=2)
AdaptiveMaxPool2d = layer_kind(AdaptivePool, "AdaptiveMaxPool2d", sides=2)


class Dropout2d(Dropping):
    """Zero whole channels of an image with probability p while training (Tompson et al. 2015)."""

    def output_shape(self, shape: Shape) -> Shape:
        return check_grid(self.name, shape, 2)


class BatchNorm2d(BatchNorm):
    """Normalise each channel over all rows and places of a batch (Ioffe and Szegedy 2015)."""

    def output_shape(self, shape: Shape) -> Shape:
        return check_grid(self.name, shape, 2)


class InstanceNorm2d(ScaledByChannel):
    """Normalise each channel of each row over its places, and scale it (Ulyanov et al. 2016)."""

    eps: Epsilon = 1e-5

    def output_shape(self, shape: Shape) -> Shape:
        if check_grid(self.name, shape, 2)[1:] == (1, 1):
            raise ShapeFault(f"InstanceNorm2d got {shape_text(shape)}, wanted more than one place")
        return shape

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        return nn.InstanceNorm2d(shape[0], eps=self.eps, affine=True)


class GroupNorm(ScaledByChannel):
    """Normalise each row over groups of its channels (Wu and He 2018)."""

    channels: ClassVar[str] = "num_channels"
    num_groups: Width
    eps: Epsilon = 1e-5

    def output_shape(self, shape: Shape) -> Shape:
        if not shape or shape[0] % self.num_groups:
            raise ShapeFault(
                f"GroupNorm of {self.num_groups} groups got {shape_text(shape)}, wanted channels they divide"
            )
        return shape


def check_grid(name: str, shape: Shape, sides: int) -> Shape:
    """Return the shape, if it is of an image (two sides) or of a signal (one). Raises: ShapeFault if it is not."""
    if len(shape) != 1 + sides:
        wanted = "an image [channels, height, width]" if sides == 2 else "a signal [channels, length]"
        raise ShapeFault(f"{name} got {shape_text(shape)}, wanted {wanted}")
    return shape
