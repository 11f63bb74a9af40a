"""Networks: what stands between a node's parents and its distribution's parameters. One final class an entry.

Every entry unfolds into layers of one table; a network is the layers of its entries in sequence. Its first linear map
is split by parent: each parent enters by weights of its own, and the results add.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from sgc.kinds.base import Many, Piece, tagged
from sgc.kinds.image_layers import BatchNorm2d, Conv2d
from sgc.kinds.layer import Kernel, Layer, Shape, ShapeFault, Share, Width, shape_text
from sgc.kinds.layers import ACTIVATIONS, BatchNorm1d, Dropout, Flatten, LayerChoice, LayerNorm, Linear

Activation = Literal["relu", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "softplus", "tanh", "sigmoid", "none"]
Norm = Literal["none", "batch", "layer"]


class Stages(Piece):
    """What stands after every map of an entry: norm, activation, dropout, in this order; abstract."""

    activation: Activation = "relu"
    norm: Norm = "none"
    dropout: Share = 0.0

    def after(self, batch: Layer) -> list[Layer]:
        """Unfold into layers of the table. batch: the batch norm of what the map gives."""
        norms: dict[str, list[Layer]] = {"none": [], "batch": [batch], "layer": [LayerNorm()]}
        activation = ACTIVATIONS[self.activation]
        dropout = [Dropout(p=self.dropout)] if self.dropout else []
        return [*norms[self.norm], *([activation] if activation is not None else []), *dropout]


class Mlp(Stages):
    """Fully connected layers of the given widths, each: linear, norm, activation, dropout. `mlp: []` is linear."""

    name: ClassVar[str] = "mlp"

    mlp: Many[Width]

    def unfold(self) -> list[Layer]:
        """Unfold into layers of the table."""
        unfolded: list[Layer] = [Flatten()]
        for width in self.mlp:
            unfolded += [Linear(out_features=width), *self.after(BatchNorm1d())]
        return unfolded


class Convolutions(Piece):
    """The channels of each convolution, and the kernel and stride of all of them."""

    channels: Annotated[Many[Width], Field(min_length=1)]
    kernel: Kernel
    stride: Kernel = 1


class Conv(Stages):
    """Convolutions of an image, each: convolution, norm, activation, dropout; (kernel − stride + 1)//2 zeros around it.

    A side of n pixels becomes n/stride where the stride divides n, and n + 1 with stride 1 and an even kernel.
    """

    name: ClassVar[str] = "conv"

    conv: Convolutions

    def unfold(self) -> list[Layer]:
        """Unfold into layers of the table."""
        kernel, stride = self.conv.kernel, self.conv.stride
        unfolded: list[Layer] = []
        for channels in self.conv.channels:
            padding = max(0, (kernel - stride + 1) // 2)
            conv = Conv2d(out_channels=channels, kernel_size=kernel, stride=stride, padding=padding)
            unfolded += [conv, *self.after(BatchNorm2d())]
        return unfolded


class Layers(Piece):
    """Layers of the table, as written: a name, `{Linear: 64}` or `{Linear: {out_features: 64, bias: false}}`."""

    name: ClassVar[str] = "layers"

    layers: Many[LayerChoice]

    def unfold(self) -> list[Layer]:
        """Give the layers as they are."""
        return list(self.layers)


Entry = Mlp | Conv | Layers
ENTRIES: dict[str, type[Entry]] = {"mlp": Mlp, "conv": Conv, "layers": Layers}


def _entry_tag(value: Any) -> str | None:  # Any: whatever YAML can say
    if isinstance(value, dict):
        return next((key for key in value if key in ENTRIES), None)
    return getattr(value, "name", None)


def _network_tag(value: Any) -> str:  # Any: whatever YAML can say
    if isinstance(value, str):
        return "name"
    return _shared_tag(value)


def _shared_tag(value: Any) -> str:  # Any: whatever YAML can say
    return "sequence" if isinstance(value, list | tuple) else "entry"


if TYPE_CHECKING:
    EntryChoice = Entry
else:
    EntryChoice = tagged(dict(ENTRIES), "network", _entry_tag)
EntrySequence = Annotated[Many[EntryChoice], Field(min_length=1)]
# What stands under `network:`: the name of a shared one, one entry, or entries in sequence.
NetworkChoice = tagged({"name": str, "entry": EntryChoice, "sequence": EntrySequence}, "network", _network_tag)
# What stands under a name in the top-level `networks:`.
SharedNetwork = tagged({"entry": EntryChoice, "sequence": EntrySequence}, "network", _shared_tag)


@dataclass(frozen=True)
class Stack:
    """A network's layers on the shapes of its parents: what is split by parent, what follows, and what it costs.

    `split` is how wide the first linear map is, to which every parent comes by weights of its own; 0 means that the
    network is empty and the heads are that map. It is None where a single parent goes through layers as it is, and
    where `conv` is the first map: each image enters by kernels of its own, anything else adds a value to each channel.
    """

    parents: tuple[Shape, ...]
    split: int | None
    rest: tuple[Layer, ...]
    output: Shape
    parameters: int
    conv: Conv2d | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing stands between the parents and what reads the network."""
        return not self.split and not self.rest and self.conv is None


def stack(entries: Sequence[Entry], parents: Sequence[tuple[str, Shape]]) -> Stack:
    """Lay a network on its parents' shapes. Raises: ShapeFault, which says what came and what was wanted."""
    layers = [layer for entry in entries for layer in entry.unfold()]
    shapes = tuple(shape for _, shape in parents)
    size = sum(math.prod(shape) for shape in shapes)
    rest = list(layers)
    while rest and isinstance(rest[0], Flatten):
        rest.pop(0)
    flat = len(rest) < len(layers) or not layers or all(len(shape) <= 1 for shape in shapes)
    if not rest:
        return Stack(shapes, 0, (), (size,), 0)
    first = rest[0]
    conv: Conv2d | None = None
    shape: Shape
    if isinstance(first, Conv2d) and len(rest) == len(layers):
        split, conv, (shape, count) = None, first, _convolved(first, parents)
        rest.pop(0)
    elif isinstance(first, Linear) and flat:
        split, shape, count = first.out_features, (first.out_features,), first.parameter_count((size,))
        rest.pop(0)
    elif len(parents) == 1:
        split, shape, count, rest = None, shapes[0] or (1,), 0, list(layers)
    else:
        came = ", ".join(f"'{name}' {shape_text(shape)}" for name, shape in parents)
        raise ShapeFault(f"{first.name} takes one input, got {came}: begin with Flatten and Linear, where parents add")
    for layer in rest:
        after = layer.output_shape(shape)
        count += layer.parameter_count(shape)
        shape = after
    return Stack(shapes, split, tuple(rest), shape, count, conv)


def _convolved(conv: Conv2d, parents: Sequence[tuple[str, Shape]]) -> tuple[Shape, int]:
    """Give the shape and the parameters of a convolution of several parents. Raises: ShapeFault."""
    images = [shape for _, shape in parents if len(shape) == 3]
    came = ", ".join(f"'{name}' {shape_text(shape)}" for name, shape in parents)
    if not images:
        raise ShapeFault(f"a convolution needs an image [channels, height, width], got {came}")
    if len({shape[1:] for shape in images}) > 1:
        raise ShapeFault(f"the images of one convolution have one height and width, got {came}")
    others = sum(math.prod(shape) for _, shape in parents if len(shape) != 3)
    channels = sum(shape[0] for shape in images)
    made = conv.output_shape((channels, *images[0][1:]))
    return made, conv.parameter_count((channels, *images[0][1:])) + conv.out_channels * others
