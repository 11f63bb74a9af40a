"""A spatial transformer: a window of an image cropped, or an image pasted into a window of an empty canvas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from sgc.distributions.supports import Support
from sgc.networks.layer import Joining, Shape, ShapeFault, shape_text

if TYPE_CHECKING:
    from torch import Tensor, nn

LARGEST = 4.0  # times the canvas's side that a window may have
FARTHEST = 2.0  # from the middle of the canvas, whose edge is at 1


def window(numbers: Tensor, canvas: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Read the size (1 number or 2) and the middle (2) of a window, [R, 3 or 4], within the limits of a canvas [H, W].

    Returns the size as a share of the canvas's sides and the middle, from -1 to 1 over it: [R, 2] each, across, down.
    """
    size, middle = numbers[:, :-2], numbers[:, -2:].clamp(-FARTHEST, FARTHEST)
    smallest = numbers.new_tensor([1 / canvas[1], 1 / canvas[0]])
    return size.expand(-1, 2).clamp(max=LARGEST).maximum(smallest), middle


def image_place(shapes: Sequence[Shape]) -> int:
    """Return which of the inputs is the image; the others are numbers."""
    return next(i for i, shape in enumerate(shapes) if len(shape) == 3)


class Affine(Joining):
    """Crop or paste by size and place (Jaderberg et al. 2015, Eq. 1 and 5), bilinear, zeros outside.

    Of the inputs one is the image; the others are, in order, the window's size as a share of the canvas's sides (one
    number, or two: across, down) and its middle (two: across, down; from −1 to 1 over the canvas). A size is kept
    between one pixel and four canvases, a middle within ±2, where nothing of the window is left to see.
    """

    name: ClassVar[str] = "affine"
    way: Literal["crop", "paste"]
    output: Shape

    def joined_shape(self, shapes: Sequence[Shape]) -> Shape:
        came = ", ".join(map(shape_text, shapes))
        images = [shape for shape in shapes if len(shape) == 3]
        numbers = sum(math.prod(shape) for shape in shapes if len(shape) != 3)
        if len(images) != 1 or numbers not in (3, 4):
            raise ShapeFault(
                f"affine takes one image [channels, height, width], then the window's size (1 number or 2) and middle "
                f"(2), got {came}"
            )
        if images[0][0] != self.output[0]:
            raise ShapeFault(f"affine keeps the channels: got {came}, and {self.way} gives {shape_text(self.output)}")
        return self.output

    def canvas(self, shapes: Sequence[Shape]) -> tuple[int, int]:
        """Return the height and width of what the window lies on."""
        image = shapes[image_place(shapes)] if self.way == "crop" else self.output
        return image[1], image[2]

    def joined_range(self, shapes: Sequence[Shape], incoming: Sequence[Support]) -> Support:
        return incoming[image_place(shapes)].with_zero()

    def joining_module(self, shapes: Sequence[Shape]) -> nn.Module:
        import torch
        from torch import nn
        from torch.nn import functional

        image_index, canvas = image_place(shapes), self.canvas(shapes)
        crop, output = self.way == "crop", self.output

        class Transformer(nn.Module):
            def forward(self, *inputs: Tensor) -> Tensor:
                image = inputs[image_index]
                numbers = torch.cat([v.reshape(len(v), -1) for i, v in enumerate(inputs) if i != image_index], 1)
                size, middle = window(numbers, canvas)
                scale, shift = (size, middle) if crop else (1 / size, -middle / size)
                rows = torch.cat([torch.diag_embed(scale), shift.unsqueeze(-1)], -1)
                grid = functional.affine_grid(rows, [len(image), *output], align_corners=False)
                return functional.grid_sample(image, grid.to(image.dtype), align_corners=False)

        return Transformer()
