"""Networks of every kind, drawn so that they fit the parents that they are given, and their misfits.

A recipe says, by hand, which parents a network takes, how it is written and what shape it makes of them; a misfit is a
network that no such parents fit.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Raw = dict[str, Any]  # Any: a spec as plain data
Shape = tuple[int, ...]

IMAGE: Shape = (1, 4, 4)
SIGNAL: Shape = (2, 4)
WIDE: Shape = (16,)
POINTWISE = ("ReLU", "LeakyReLU", "ELU", "SELU", "GELU", "SiLU", "Mish", "Softplus", "Hardswish", "PReLU", "Tanh")
POINTWISE += ("Sigmoid", "Exp", "LogNormalize", "Softmax")
OF_VECTORS: Mapping[str, tuple[Any, Shape]] = {  # how it is written, and what it makes of [16]
    "Linear": ({"Linear": 4}, (4,)),
    "Flatten": ("Flatten", WIDE),
    "Unflatten": ({"Unflatten": [1, 4, 4]}, IMAGE),
    "BatchNorm1d": ("BatchNorm1d", WIDE),
    "Log1p": ("Log1p", WIDE),
    "LayerNorm": ("LayerNorm", WIDE),
    "Dropout": ({"Dropout": 0.2}, WIDE),
    **{name: (name, WIDE) for name in POINTWISE},
}
OF_IMAGES: Mapping[str, tuple[Any, Shape]] = {  # of [1, 4, 4]
    "Conv2d": ({"Conv2d": {"out_channels": 2, "kernel_size": 3}}, (2, 2, 2)),
    "ConvTranspose2d": ({"ConvTranspose2d": {"out_channels": 2, "kernel_size": 2, "stride": 2}}, (2, 8, 8)),
    "Upsample": ({"Upsample": 2}, (1, 8, 8)),
    "MaxPool2d": ({"MaxPool2d": 2}, (1, 2, 2)),
    "AvgPool2d": ({"AvgPool2d": {"kernel_size": 2}}, (1, 2, 2)),
    "AdaptiveAvgPool2d": ({"AdaptiveAvgPool2d": 2}, (1, 2, 2)),
    "AdaptiveMaxPool2d": ({"AdaptiveMaxPool2d": 2}, (1, 2, 2)),
    "Dropout2d": ("Dropout2d", IMAGE),
    "BatchNorm2d": ("BatchNorm2d", IMAGE),
    "InstanceNorm2d": ("InstanceNorm2d", IMAGE),
    "GroupNorm": ({"GroupNorm": 1}, IMAGE),
    "PixelShuffle": ({"PixelShuffle": 1}, IMAGE),
}
OF_SIGNALS: Mapping[str, tuple[Any, Shape]] = {  # of [2, 4]
    "Conv1d": ({"Conv1d": {"out_channels": 3, "kernel_size": 2}}, (3, 3)),
    "ConvTranspose1d": ({"ConvTranspose1d": {"out_channels": 2, "kernel_size": 2, "stride": 2}}, (2, 8)),
    "MaxPool1d": ({"MaxPool1d": 2}, (2, 2)),
    "AvgPool1d": ({"AvgPool1d": 2}, (2, 2)),
    "AdaptiveAvgPool1d": ({"AdaptiveAvgPool1d": 2}, (2, 2)),
}
ENTRIES = ("mlp", "linear", "conv", "deconv", "residual", "residual images", "gru", "crop", "paste", "combine", "over")
ENTRIES += ("python", "shared")
KINDS = (*ENTRIES, *OF_VECTORS, *OF_IMAGES, *OF_SIGNALS)
TRUNK: Raw = {"mlp": [3], "activation": "tanh"}


WRONG: Sequence[tuple[Any, tuple[Any, ...]]] = (  # an entry of a network that is wrong, and the keys below it at fault
    ({"mlp": [4], "colour": 1}, ("colour",)),
    ({"mlp": [4, 0]}, ("mlp", 1)),
    ({"mlp": 4}, ("mlp",)),
    ({"mlp": [4], "activation": "rel"}, ("activation",)),
    ({"mlp": [4], "norm": "batchnorm"}, ("norm",)),
    ({"mlp": [4], "dropout": 1.5}, ("dropout",)),
    ({"mlp": [4], "conv": {"channels": [2], "kernel": 3}}, ("conv",)),
    ({"conv": {"channels": [2], "kernel": 0}}, ("conv", "kernel")),
    ({"conv": {"channels": [], "kernel": 1}}, ("conv", "channels")),
    ({"conv": {"channels": [2], "kernel": 3, "strid": 2}}, ("conv", "strid")),
    ({"conv": {"channels": [2]}}, ("conv",)),
    ({"deconv": {"channels": [2, -1], "kernel": 3}}, ("deconv", "channels", 1)),
    ({"residual": []}, ("residual",)),
    ({"residual": {"channels": [2], "kernel": 3, "padding": 1}}, ("residual", "padding")),
    ({"residual": [3], "norm": "bath"}, ("norm",)),
    ({"gru": 0}, ("gru",)),
    ({"gru": [3]}, ("gru",)),
    ({"gru": 3, "activation": "tanh"}, ("activation",)),
    ({"combine": "summ"}, ("combine",)),
    ({"affine": {"crop": [1, 2]}}, ("affine", "crop")),
    ({"affine": {"crop": [1, 2, 2], "paste": [1, 2, 2]}}, ("affine", "paste")),
    ({"affine": {"corp": [1, 2, 2]}}, ("affine", "corp")),
    ({"python": "mine", "output": [4]}, ("python",)),
    ({"layers": ["Flaten"]}, ("layers", 0)),
    ({"layers": ["Flatten", {"Linear": 0}]}, ("layers", 1, "Linear")),
    ({"layers": [{"Linear": {"out_feature": 3}}]}, ("layers", 0, "Linear", "out_feature")),
    ({"layers": [{"Linear": {"out_features": 3, "bias": "no"}}]}, ("layers", 0, "Linear", "bias")),
    ({"layers": [{"Conv2d": {"kernel_size": 3, "out_channels": 0}}]}, ("layers", 0, "Conv2d", "out_channels")),
    ({"layers": [{"Conv2d": {"out_channels": 3}}]}, ("layers", 0, "Conv2d")),
    ({"layers": [{"Upsample": 0}]}, ("layers", 0, "Upsample")),
    ({"layers": [{"Upsample": {"scale_factor": 2, "mode": "nearest"}}]}, ("layers", 0, "Upsample", "mode")),
    ({"layers": [{"BatchNorm1d": {"momentum": 2}}]}, ("layers", 0, "BatchNorm1d", "momentum")),
    ({"layers": [{"Dropout": 1.0}]}, ("layers", 0, "Dropout")),
    ({"layers": [{"MaxPool2d": {"kernel_size": 2, "stride": 0}}]}, ("layers", 0, "MaxPool2d", "stride")),
    ({"layers": [{"Unflatten": [2, "a"]}]}, ("layers", 0, "Unflatten", 1)),
    ({"layers": ["Softmin"]}, ("layers", 0)),
    ({"mpl": [3]}, ("mpl",)),
    ("nowhere", ()),
    (3, ()),
    ([], ()),
)


@dataclass(frozen=True)
class Readable:
    """A name that may stand in a parents list: the shape that networks read of it, and that of one step of it.

    one: as `combine` reads it. masked: what says which steps exist comes with it.
    """

    name: str
    shape: Shape
    one: Shape
    masked: bool = False


@dataclass(frozen=True)
class Drawn:
    """A network on its parents, and the shape that it makes of them; None for the heads of a `deconv`."""

    kind: str
    parents: tuple[Readable, ...]
    network: Any  # Any: as a spec has it
    shape: Shape | None


class Networks:
    """Draws networks. trusted: own code may stand in them; shared: what the network `trunk` is used on, once it is."""

    def __init__(self, rng: random.Random, *, trusted: bool) -> None:
        self.rng, self.trusted = rng, trusted
        self.shared: tuple[Shape, ...] | None = None

    def draw(self, readable: Sequence[Readable], event: Shape | None = None, *, kind: str = "") -> Drawn:
        """Draw a network of a kind, of any if that is not said, on some of what may be read.

        event: that of the node whose heads it is to give; None for a feature.
        """
        found = None
        while found is None:
            found = self._draw(kind or self.rng.choice(KINDS), readable, event)
            kind = ""
        return found

    def some(self, readable: Sequence[Readable], most: int = 3) -> tuple[Readable, ...]:
        return tuple(self.rng.sample(readable, min(len(readable), self.rng.randint(1, most))))

    def of(self, readable: Sequence[Readable], *shapes: Shape) -> tuple[Readable, ...] | None:
        """Choose names of these shapes, each another one."""
        found: list[Readable] = []
        for shape in shapes:
            fitting = [each for each in readable if each.shape == shape and not each.masked and each not in found]
            if not fitting:
                return None
            found.append(self.rng.choice(fitting))
        return tuple(found)

    def beside(self, norms: Sequence[str] = ("none", "batch", "layer")) -> Raw:
        """Draw what may stand beside a map."""
        words: Raw = {
            "activation": self.rng.choice(["tanh", "gelu", "none"]),
            "norm": self.rng.choice(norms),
            "dropout": self.rng.choice([0.1, {"from": 0.5, "to": 0, "epochs": 3}]),
        }
        return {key: words[key] for key in words if self.rng.random() < 0.25}

    def _draw(self, kind: str, readable: Sequence[Readable], event: Shape | None) -> Drawn | None:
        rng = self.rng
        some = self.some(readable)
        total = sum(math.prod(each.shape) for each in some)
        if kind == "mlp":
            width = rng.choice([2, 3, 4])
            return Drawn(kind, some, {"mlp": [5, width], **self.beside()}, (width,))
        if kind == "linear":
            return Drawn(kind, some, {"mlp": []}, (total,))
        if kind == "residual":
            return Drawn(kind, some, {"residual": [3, 4], **self.beside()}, (4,))
        if kind == "python":
            network = {"python": "mine:Net", "args": {"n": 2}, "output": [4]}
            return Drawn(kind, some, network, (4,)) if self.trusted else None
        if kind == "shared":
            return self._shared(readable, kind)
        if kind in ("conv", "residual images"):
            image = self.of(readable, IMAGE)
            stride = rng.choice([1, 2])
            if image is None:
                return None
            others = [each for each in some if len(each.shape) != 3 and not each.masked]
            kernel = 3 if stride == 1 or kind != "conv" else 2
            network = {kind.partition(" ")[0]: {"channels": [2], "kernel": kernel, "stride": stride}, **self.beside()}
            return Drawn(kind, (*image, *others), network, (2, 4 // stride, 4 // stride))
        if kind == "deconv":
            if event != IMAGE:
                return None
            network = {"deconv": {"channels": [3, 2], "kernel": 2, "stride": 2}, **self.beside()}
            return Drawn(kind, some, network, None)
        if kind == "gru":
            signal = self.of(readable, SIGNAL)
            return signal and Drawn(kind, signal, {"gru": 3}, (3,))
        if kind in ("crop", "paste"):
            side = 2 if kind == "crop" else 8
            parents = self.of(readable, IMAGE, (), (2,))
            return parents and Drawn(kind, parents, {"affine": {kind: [1, side, side]}}, (1, side, side))
        if kind == "combine":
            first = rng.choice(readable)
            alike = [each for each in readable if (each.one or (1,)) == (first.one or (1,)) and each != first]
            several = (first, *rng.sample(alike, min(len(alike), 2)))
            way = rng.choice(["sum", "product", "max", "mean", "last"])
            if way != "last" and first.one and not any("." in each.name for each in several):  # met by each element
                several += tuple(each for each in readable if each.shape == () and rng.random() < 0.2)
            return Drawn(kind, several, {"combine": way}, first.one or (1,))
        if kind == "over":
            alike = [each for each in readable if each.one == IMAGE]
            return Drawn(kind, self.some(alike, 2), {"combine": "over"}, IMAGE) if alike else None
        return self._layers(kind, readable, some)

    def _shared(self, readable: Sequence[Readable], kind: str) -> Drawn | None:
        if self.shared is None:
            parents = self.some([each for each in readable if not each.masked] or readable, 2)
            if any(each.masked for each in parents):
                return None
            self.shared = tuple(each.shape for each in parents)
            return Drawn(kind, parents, "trunk", (3,))
        parents_or_none = self.of(readable, *self.shared)
        return parents_or_none and Drawn(kind, parents_or_none, "trunk", (3,))

    def _layers(self, kind: str, readable: Sequence[Readable], some: tuple[Readable, ...]) -> Drawn | None:
        """Draw a layer of the table, on a parent of its shape or behind a map that makes it of any."""
        table, came = next(
            (table, shape)
            for table, shape in ((OF_VECTORS, WIDE), (OF_IMAGES, IMAGE), (OF_SIGNALS, SIGNAL))
            if kind in table
        )
        layer, made = table[kind]
        after: list[Any] = ["Flatten", {"Linear": 3}] if self.rng.random() < 0.3 else []
        shape = (3,) if after else made
        alone = self.of(readable, came)
        if alone is not None and self.rng.random() < 0.5:
            return Drawn(kind, alone, {"layers": [layer, *after]}, shape)
        width = math.prod(came)
        before: list[Any] = ["Flatten", {"Linear": width}, *([{"Unflatten": list(came)}] if len(came) > 1 else [])]
        if self.rng.random() < 0.5:
            return Drawn(kind, some, {"layers": [*before, layer, *after]}, shape)
        return Drawn(kind, some, [{"layers": before}, {"layers": [layer, *after]}], shape)


def misfits(shapes: Sequence[Shape], event: Shape | None) -> list[Any]:
    """List networks that parents of these shapes do not fit, or that cannot make an event."""
    behind: list[Any] = ["Flatten", {"Linear": 5}]
    found: list[Any] = [{"layers": [*behind, layer]} for layer, _ in (*OF_IMAGES.values(), *OF_SIGNALS.values())]
    found = [each for each in found if each["layers"][-1] != {"GroupNorm": 1}]
    found += [{"layers": [*behind, layer]} for layer in ({"Unflatten": [2, 4]}, {"GroupNorm": 2})]
    found += [{"layers": [*behind, {"Unflatten": [1, 1, 5]}, "BatchNorm1d"]}]
    found += [[{"mlp": [4]}, each] for each in ({"conv": {"channels": [2], "kernel": 3}}, {"gru": 3})]
    found += [[{"mlp": [4]}, {"combine": "over"}], [{"mlp": [4]}, {"affine": {"crop": [1, 2, 2]}}]]
    found += [{"residual": {"channels": [2], "kernel": 2}}]
    if not any(len(shape) == 3 for shape in shapes):
        found += [{"conv": {"channels": [2], "kernel": 3}}, {"residual": {"channels": [2], "kernel": 3}}]
        found += [{"affine": {"paste": [1, 8, 8]}}, {"combine": "over"}]
    if not any(len(shape) > 1 for shape in shapes):
        found += [{"gru": 3}]
    if len(shapes) > 1 and len({shape or (1,) for shape in shapes}) > 1:
        found += [{"combine": "last"}, {"layers": ["Tanh"]}]
    if event is None or len(event) not in (2, 3):
        found += [{"deconv": {"channels": [2], "kernel": 2}}]
    else:
        found += [{"deconv": {"channels": [2], "kernel": 3, "stride": 3}}]
    return found
