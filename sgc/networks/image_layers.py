"""Layers of images [channels, height, width] and of signals [channels, length], and what goes by channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from sgc.distributions.supports import Support
from sgc.networks.layer import BatchNorm, Kernel, Layer, Shape, ShapeFault, Share, Width, dropped_range, shape_text
from sgc.networks.scheduled_module import dropout
from sgc.piece import Maybe

if TYPE_CHECKING:
    from torch import nn


class Convolution(Layer):
    """Convolve with kernels that are as long on every side, zeros around what came; abstract."""

    sides: ClassVar[int]
    out_channels: Width
    kernel_size: Kernel
    stride: Kernel = 1
    padding: Annotated[int, Field(ge=0, le=512)] = 0
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

    def parameter_count(self, shape: Shape) -> int:
        kernel: int = self.kernel_size**self.sides
        return self.out_channels * (shape[0] * kernel + self.bias)

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        made: nn.Module = getattr(nn, self.name)(
            shape[0], self.out_channels, self.kernel_size, stride=self.stride, padding=self.padding, bias=self.bias
        )
        return made


class Conv1d(Convolution):
    name: ClassVar[str] = "Conv1d"
    sides: ClassVar[int] = 1


class Conv2d(Convolution):
    name: ClassVar[str] = "Conv2d"
    sides: ClassVar[int] = 2


class TransposedConvolution(Layer):
    """Convolve backwards: every place lays a kernel down (Zeiler et al. 2010); abstract."""

    sides: ClassVar[int]
    out_channels: Width
    kernel_size: Kernel
    stride: Kernel = 1
    padding: Annotated[int, Field(ge=0, le=512)] = 0  # places taken off around the result
    output_padding: Annotated[int, Field(ge=0, le=1023)] = 0  # places added at the end of every side
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

    def parameter_count(self, shape: Shape) -> int:
        kernel: int = self.kernel_size**self.sides
        return self.out_channels * (shape[0] * kernel + self.bias)

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        made: nn.Module = getattr(nn, self.name)(
            shape[0],
            self.out_channels,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
            bias=self.bias,
        )
        return made


class ConvTranspose1d(TransposedConvolution):
    name: ClassVar[str] = "ConvTranspose1d"
    sides: ClassVar[int] = 1


class ConvTranspose2d(TransposedConvolution):
    name: ClassVar[str] = "ConvTranspose2d"
    sides: ClassVar[int] = 2


class Upsample(Layer):
    """Make an image so many times as high and wide, or a signal as long, every place repeated."""

    name: ClassVar[str] = "Upsample"
    scale_factor: Kernel

    def output_range(self, incoming: Support) -> Support:
        return incoming.element

    def output_shape(self, shape: Shape) -> Shape:
        channels, *sides = check_grid("Upsample", shape, 1 if len(shape) == 2 else 2)
        return (channels, *(side * self.scale_factor for side in sides))

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        return nn.Upsample(scale_factor=self.scale_factor)


class PixelShuffle(Layer):
    """Turn r² channels into one that is r times as high and wide (Shi et al. 2016)."""

    name: ClassVar[str] = "PixelShuffle"
    upscale_factor: Kernel

    def output_range(self, incoming: Support) -> Support:
        return incoming.element

    def output_shape(self, shape: Shape) -> Shape:
        channels, height, width = check_grid("PixelShuffle", shape, 2)
        squared = self.upscale_factor**2
        if channels % squared:
            raise ShapeFault(
                f"PixelShuffle by {self.upscale_factor} got {shape_text(shape)}, wanted channels that {squared} divides"
            )
        return (channels // squared, height * self.upscale_factor, width * self.upscale_factor)

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        return nn.PixelShuffle(self.upscale_factor)


class Pool(Layer):
    """Take one number of each window; abstract. The stride is the window's size if not said."""

    sides: ClassVar[int]
    kernel_size: Kernel
    stride: Maybe[Kernel] = None

    def output_range(self, incoming: Support) -> Support:
        return incoming.element

    def output_shape(self, shape: Shape) -> Shape:
        channels, *sides = check_grid(self.name, shape, self.sides)
        if min(sides) < self.kernel_size:
            raise ShapeFault(f"{self.name} with a window of {self.kernel_size} got {shape_text(shape)}: too small")
        return (channels, *((side - self.kernel_size) // (self.stride or self.kernel_size) + 1 for side in sides))

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        made: nn.Module = getattr(nn, self.name)(self.kernel_size, stride=self.stride)
        return made


class MaxPool1d(Pool):
    name: ClassVar[str] = "MaxPool1d"
    sides: ClassVar[int] = 1


class MaxPool2d(Pool):
    name: ClassVar[str] = "MaxPool2d"
    sides: ClassVar[int] = 2


class AvgPool1d(Pool):
    name: ClassVar[str] = "AvgPool1d"
    sides: ClassVar[int] = 1


class AvgPool2d(Pool):
    name: ClassVar[str] = "AvgPool2d"
    sides: ClassVar[int] = 2


class AdaptivePool(Layer):
    """Bring every side down to so many places; abstract."""

    sides: ClassVar[int]
    output_size: Kernel

    def output_range(self, incoming: Support) -> Support:
        return incoming.element

    def output_shape(self, shape: Shape) -> Shape:
        return (check_grid(self.name, shape, self.sides)[0], *(self.output_size,) * self.sides)

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        made: nn.Module = getattr(nn, self.name)(self.output_size)
        return made


class AdaptiveAvgPool1d(AdaptivePool):
    name: ClassVar[str] = "AdaptiveAvgPool1d"
    sides: ClassVar[int] = 1


class AdaptiveAvgPool2d(AdaptivePool):
    name: ClassVar[str] = "AdaptiveAvgPool2d"
    sides: ClassVar[int] = 2


class AdaptiveMaxPool2d(AdaptivePool):
    name: ClassVar[str] = "AdaptiveMaxPool2d"
    sides: ClassVar[int] = 2


class Dropout2d(Layer):
    """Zero whole channels of an image with probability p while training (Tompson et al. 2015)."""

    name: ClassVar[str] = "Dropout2d"
    p: Share = 0.5

    @property
    def unsteady(self) -> str:
        """Name the layer, unless it never zeroes anything."""
        return "" if self.p == 0 else self.name

    def output_range(self, incoming: Support) -> Support:
        return dropped_range(incoming)

    def output_shape(self, shape: Shape) -> Shape:
        return check_grid("Dropout2d", shape, 2)

    def module(self, shape: Shape) -> nn.Module:
        return dropout("Dropout2d", self.p)


class BatchNorm2d(BatchNorm):
    """Normalise each channel over all rows and places of a batch (Ioffe and Szegedy 2015)."""

    name: ClassVar[str] = "BatchNorm2d"

    def output_shape(self, shape: Shape) -> Shape:
        return check_grid("BatchNorm2d", shape, 2)


class InstanceNorm2d(Layer):
    """Normalise each channel of each row over its places, and scale it (Ulyanov et al. 2016)."""

    name: ClassVar[str] = "InstanceNorm2d"
    eps: Annotated[float, Field(gt=0)] = 1e-5

    def output_shape(self, shape: Shape) -> Shape:
        if check_grid("InstanceNorm2d", shape, 2)[1:] == (1, 1):
            raise ShapeFault(f"InstanceNorm2d got {shape_text(shape)}, wanted more than one place")
        return shape

    def parameter_count(self, shape: Shape) -> int:
        return 2 * shape[0]

    def module(self, shape: Shape) -> nn.Module:
        from torch import nn

        return nn.InstanceNorm2d(shape[0], eps=self.eps, affine=True)


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


def check_grid(name: str, shape: Shape, sides: int) -> Shape:
    """Hand back the shape of an image (two sides) or of a signal (one). Raises: ShapeFault where it is none."""
    if len(shape) != 1 + sides:
        wanted = "an image [channels, height, width]" if sides == 2 else "a signal [channels, length]"
        raise ShapeFault(f"{name} got {shape_text(shape)}, wanted {wanted}")
    return shape
