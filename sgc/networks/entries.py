"""Entries of networks, which lead from a node's parents to the parameters of its distribution. One final class each.

Every entry unfolds into layers; `sgc.networks.stack` lays the layers of a network's entries on its parents.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from sgc.networks.combination import Combination, Way
from sgc.networks.entry import Entry, Place, Unrolled
from sgc.networks.image_layers import BatchNorm2d, Conv2d, ConvTranspose2d
from sgc.networks.layer import Kernel, Layer, Shape, ShapeFault, Share, Width, shape_text
from sgc.networks.layers import ACTIVATIONS, BatchNorm1d, Dropout, Flatten, LayerChoice, LayerNorm, Linear, Unflatten
from sgc.networks.own_layer import OwnLayer
from sgc.networks.recurrent import Gru as GruLayer
from sgc.networks.residual import ResidualBlock
from sgc.networks.spatial_transformer import Affine
from sgc.own_code import OwnPiece
from sgc.piece import Many, Maybe, Piece, by_form, tagged

Activation = Literal[
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "silu",
    "mish",
    "softplus",
    "tanh",
    "sigmoid",
    "exp",
    "log1p",
    "softmax",
    "none",
]
Norm = Literal["none", "batch", "layer"]
Picture = Annotated[Many[Width], Field(min_length=3, max_length=3)]


class Stages(Entry):
    """What follows every map of an entry: norm, activation, dropout, in this order; abstract."""

    activation: Activation = Field(
        "relu",
        description="What follows each map.",
        examples=["gelu"],
    )
    norm: Norm = Field(
        "none",
        description="What stands between a map and its activation: nothing, batch norm or layer norm.",
        examples=["batch"],
    )
    dropout: Share = Field(
        0.0,
        description="Which share of elements is zeroed in training, behind the activation.",
        examples=[0.2],
    )

    def normed(self, batch: Layer) -> list[Layer]:
        """Unfold the norm. batch: the batch norm for what the map gives."""
        norms: dict[str, list[Layer]] = {"none": [], "batch": [batch], "layer": [LayerNorm()]}
        return norms[self.norm]

    def activated(self) -> list[Layer]:
        """Unfold the activation."""
        activation = ACTIVATIONS[self.activation]
        return [] if activation is None else [activation]

    def after(self, batch: Layer) -> list[Layer]:
        """Unfold all of it. batch: as for `normed`."""
        return [*self.normed(batch), *self.activated(), *([Dropout(p=self.dropout)] if self.dropout else [])]


class Mlp(Stages):
    """Fully connected layers of the given widths, each: linear, norm, activation, dropout. `mlp: []` is linear."""

    name: ClassVar[str] = "mlp"

    mlp: Many[Width] = Field(
        description="The width of each layer; `[]` is a linear map.",
        examples=[[256, 256]],
    )

    def unfold(self, place: Place) -> list[Layer]:
        unfolded: list[Layer] = [Flatten()]
        for width in self.mlp:
            unfolded += [Linear(out_features=width), *self.after(BatchNorm1d())]
        return unfolded


class Convolutions(Piece):
    """The channels of each convolution, and the kernel and stride of all of them."""

    channels: Annotated[Many[Width], Field(min_length=1)] = Field(
        description="The channels of each convolution.",
        examples=[[32, 64]],
    )
    kernel: Kernel = Field(
        description="The side of each kernel.",
        examples=[4],
    )
    stride: Kernel = Field(
        1,
        description="How many pixels a kernel moves on.",
        examples=[2],
    )

    def padding(self, stride: int) -> int:
        """Return how many zeros lie around what is convolved with a stride."""
        return max(0, (self.kernel - stride + 1) // 2)

    def convolution(self, channels: int, stride: int) -> Conv2d:
        """Return one of the convolutions."""
        padding = self.padding(stride)
        return Conv2d(out_channels=channels, kernel_size=self.kernel, stride=stride, padding=padding)


class Conv(Stages):
    """Convolutions of an image, each: convolution, norm, activation, dropout; (kernel − stride + 1)//2 zeros around it.

    A side of n pixels becomes n/stride where the stride divides n, and n + 1 with stride 1 and an even kernel.
    """

    name: ClassVar[str] = "conv"

    conv: Convolutions = Field(
        description="Channels, kernel and stride.",
        examples=[{"channels": [32, 64], "kernel": 4, "stride": 2}],
    )

    def unfold(self, place: Place) -> list[Layer]:
        unfolded: list[Layer] = []
        for channels in self.conv.channels:
            unfolded += [self.conv.convolution(channels, self.conv.stride), *self.after(BatchNorm2d())]
        return unfolded


class Deconv(Stages):
    """The reverse of `conv`, from the event's shape backwards: transposed convolutions, the last of them the heads.

    `channels` are those that each of them gets. What the entry gets is mapped linearly to the first channels at the
    smallest height and width, unless it has that shape already.
    """

    name: ClassVar[str] = "deconv"
    last: ClassVar[bool] = True

    deconv: Convolutions = Field(
        description="Channels that come to each convolution, kernel and stride.",
        examples=[{"channels": [64, 32], "kernel": 4, "stride": 2}],
    )

    def unfold(self, place: Place) -> list[Layer]:
        """Unfold into layers, of which the last has the channels of all heads."""
        if place.wanted is None:
            raise ShapeFault("deconv runs backwards from a node's event, and a feature has none: use ConvTranspose2d")
        shape, heads = place.wanted.shape, place.wanted.heads
        if len(shape) not in (2, 3):
            raise ShapeFault(f"deconv makes an image [channels, height, width], and the event is {shape_text(shape)}")
        for name, head in heads.items():
            if head[: len(shape)] != shape:
                raise ShapeFault(f"deconv gives numbers pixel by pixel, and '{name}' {shape_text(head)} is not so")
        sides, added = self._backwards(shape)
        start = (self.deconv.channels[0], *sides[-1])
        channels = [*self.deconv.channels[1:], sum(math.prod(h) for h in heads.values()) // math.prod(shape[-2:])]
        unfolded: list[Layer] = []
        if place.incoming != start:
            unfolded = [Flatten(), Linear(out_features=math.prod(start)), Unflatten(sizes=start)]
            unfolded += self.after(BatchNorm2d())
        for i, (out, more) in enumerate(zip(channels, reversed(added), strict=True)):
            unfolded += self.after(BatchNorm2d()) if i else []
            unfolded.append(
                ConvTranspose2d(
                    out_channels=out,
                    kernel_size=self.deconv.kernel,
                    stride=self.deconv.stride,
                    padding=self.deconv.padding(self.deconv.stride),
                    output_padding=more,
                )
            )
        return unfolded

    def _backwards(self, shape: Shape) -> tuple[list[Shape], list[int]]:
        """Return height and width before each layer, from the event on, and the output padding of each."""
        stride, kernel = self.deconv.stride, self.deconv.kernel
        around = 2 * self.deconv.padding(stride)
        sides, added = [shape[-2:]], []
        for _ in self.deconv.channels:
            sizes = sides[-1]
            if any(side % stride for side in sizes):
                at = "" if len(sides) == 1 else f", of the event {shape_text(shape)}"
                raise ShapeFault(
                    f"a deconv of stride {stride} cannot give {shape_text(sizes)}{at}: the stride must divide"
                )
            before = tuple((side + around - kernel) // stride + 1 for side in sizes)
            if min(before) < 1:
                raise ShapeFault(f"a deconv with a kernel of {kernel} cannot give {shape_text(sizes)}: too small")
            more = {(side + around - kernel) % stride for side in sizes}
            sides.append(before)
            added.append(more.pop())  # the stride divides both sides: one remainder
        return sides, added


if TYPE_CHECKING:
    Blocks = tuple[int, ...] | Convolutions
else:
    _widths = Annotated[Many[Width], Field(min_length=1)]
    Blocks = tagged({"list": _widths, "mapping": Convolutions}, "residual", by_form("list", mapping="mapping"))


class Residual(Stages):
    """Residual blocks (He et al. 2016): widths of vectors, `residual: [256, 256]`, or of images, written as `conv` is.

    A block is map, norm, activation, dropout, map, norm; then its input is added, through a map of its own where the
    shapes differ, then activation. For images the first map has the stride. Where a network begins with blocks, a map
    with norm and activation brings the parents to the first width.
    """

    name: ClassVar[str] = "residual"

    residual: Blocks = Field(
        description="The width of each block, or channels, kernel (odd) and stride of blocks of images.",
        examples=[[256, 256], {"channels": [32, 64], "kernel": 3, "stride": 2}],
    )

    def unfold(self, place: Place) -> list[Layer]:
        residual = self.residual
        first: Layer
        batch: Layer
        if isinstance(residual, tuple):
            unfolded: list[Layer] = [Flatten()]
            first, batch = Linear(out_features=residual[0]), BatchNorm1d()
            maps: list[tuple[Layer, ...]] = [(Linear(out_features=width),) * 3 for width in residual]
        else:
            if residual.kernel % 2 == 0:
                raise ShapeFault(f"residual blocks add pixel to pixel: the kernel must be odd, got {residual.kernel}")
            unfolded = []
            first, batch = residual.convolution(residual.channels[0], stride=1), BatchNorm2d()
            maps = [
                (
                    residual.convolution(channels, residual.stride),
                    residual.convolution(channels, stride=1),
                    Conv2d(out_channels=channels, kernel_size=1, stride=residual.stride),
                )
                for channels in residual.channels
            ]
        unfolded += [first, *self.after(batch)] if place.first else []
        for into, within, beside in maps:
            inner = (into, *self.after(batch), within, *self.normed(batch))
            block = ResidualBlock(inner=inner, beside=(beside, *self.normed(batch)), end=tuple(self.activated()))
            unfolded.append(block)
        return unfolded


class Gru(Entry):
    """A gated recurrent unit over the steps of a sequence [steps, *features], to its last state (Cho et al. 2014).

    Parents without steps are read at every step.
    """

    name: ClassVar[str] = "gru"

    gru: Width = Field(
        description="The width of the state.",
        examples=[64],
    )

    def unfold(self, place: Place) -> list[Layer]:
        return [GruLayer(hidden_size=self.gru)]


class Layers(Entry):
    """Layers of the table, as written: a name, `{Linear: 64}` or `{Linear: {out_features: 64, bias: false}}`."""

    name: ClassVar[str] = "layers"

    layers: Many[LayerChoice] = Field(
        description="Layers in their order, from the table below.",
        examples=[[{"Linear": 64}, "Tanh"]],
    )

    def unfold(self, place: Place) -> list[Layer]:
        return list(self.layers)


class Window(Piece):
    """What an `affine` gives: `crop: [1, 28, 28]` of its image, or its image pasted into `paste: [1, 64, 64]`."""

    crop: Maybe[Picture] = Field(
        None,
        description="The shape of the window that is cut out of the image.",
        examples=[[1, 28, 28]],
    )
    paste: Maybe[Picture] = Field(
        None,
        description="The shape of the canvas that the image is laid on.",
        examples=[[1, 64, 64]],
    )

    @model_validator(mode="before")
    @classmethod
    def _one(cls, value: Any) -> Any:  # Any: whatever YAML can say
        written = [key for key in value if key in cls.model_fields] if isinstance(value, dict) else []
        if len(written) > 1:
            words = {"key": written[1], "other": written[0]}
            raise PydanticCustomError("excludes", "'{key}' beside '{other}': give one", words)
        if value == {}:
            raise PydanticCustomError("window", "missing key 'crop' (or 'paste')")
        return value


class AffineNetwork(Entry):
    """A spatial transformer of an image, a size and a place: `affine: {crop: [1, 28, 28]}`, `{paste: [1, 64, 64]}`."""

    name: ClassVar[str] = "affine"

    affine: Window = Field(
        description="Whether a window is cut out or pasted in, and its shape.",
        examples=[{"crop": [1, 28, 28]}],
    )

    def unfold(self, place: Place) -> list[Layer]:
        way: Literal["crop", "paste"] = "paste" if self.affine.crop is None else "crop"
        return [Affine(way=way, output=getattr(self.affine, way))]


class Combine(Entry):
    """The parents combined, all of one shape: `combine: sum`, `product`, `max`, `over`, `mean` or `last`.

    Under `sum`, `product`, `max` and `mean` a number meets every element of another parent: a library size times the
    shares of genes.
    """

    name: ClassVar[str] = "combine"

    combine: Way = Field(
        description=(
            "How parents of one shape become one: their sum, product, mean or maximum, the last of them, or "
            "each over those before it."
        ),
        examples=["max"],
    )

    def unfold(self, place: Place) -> list[Layer]:
        return [Combination(way=self.combine)]


class OwnNetwork(Entry, OwnPiece):
    """A module of the user's: `python: module:Class`, made with `args`, called with a tensor for each parent.

    `output` is the shape of a row of what it gives. It is imported only if it is trusted.
    """

    name: ClassVar[str] = "python"

    args: dict[str, Any] = Field(  # Any: plain data
        {},
        description="The keywords that the class is made with.",
        examples=[{"width": 64}],
    )
    output: Many[Width] = Field(
        description="The shape of a row of what it gives.",
        examples=[[64]],
    )

    def unfold(self, place: Place) -> list[Layer]:
        return [OwnLayer(code=place.own(self.python), args=self.args, output=self.output)]


_TABLE: tuple[type[Entry], ...] = (Mlp, Conv, Deconv, Residual, Gru, AffineNetwork, Combine, Layers, OwnNetwork)
ENTRIES = {entry.name: entry for entry in _TABLE}


def _entry_tag(value: Any) -> str | None:  # Any: whatever YAML can say
    if isinstance(value, dict):
        return next((key for key in value if key in ENTRIES), None)
    return getattr(value, "name", None)


if TYPE_CHECKING:
    EntryChoice = Entry
else:
    EntryChoice = tagged(dict(ENTRIES), "network", _entry_tag, internal=Unrolled)
EntrySequence = Annotated[Many[EntryChoice], Field(min_length=1)]
# The value of `network:`: the name of a shared one, one entry, or entries in sequence.
NetworkChoice = tagged(
    {"name": str, "entry": EntryChoice, "sequence": EntrySequence},
    "network",
    by_form("entry", text="name", sequence="sequence"),
)
# A network in the top-level `networks:`.
SharedNetwork = tagged(
    {"entry": EntryChoice, "sequence": EntrySequence}, "network", by_form("entry", sequence="sequence")
)
