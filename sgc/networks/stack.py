"""Laying a network on its parents: what is split by parent, what follows, the shape that comes out, the parameters."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sgc.distributions.supports import REAL, Support
from sgc.networks.entry import Entry, Place, Wanted
from sgc.networks.image_layers import Conv2d, ConvTranspose2d
from sgc.networks.layer import Joining, Layer, Shape, ShapeFault, count_through, shape_text
from sgc.networks.layers import Flatten, Linear
from sgc.own_code import OwnCode

First = Linear | Conv2d | Joining


@dataclass(frozen=True)
class Stack:
    """A network's layers on the shapes of its parents.

    `first` is the map that all parents enter. A linear map or a convolution is split: each parent has its own weights,
    and the results add; a parent that is no image adds a value to each channel. Any other map takes the parents as they
    are. `first` is None where a single parent goes through the rest as it is, and where the network is empty. `heads`
    is the last layer of a `deconv`, which gives the parameters by itself.
    """

    parents: tuple[Shape, ...]
    first: First | None
    rest: tuple[Layer, ...]
    output: Shape  # of first and rest
    parameters: int  # of first and rest
    heads: ConvTranspose2d | None = None

    @property
    def empty(self) -> bool:
        """Whether there is no layer."""
        return self.first is None and not self.rest and self.heads is None

    @property
    def entered(self) -> Shape:
        """The shape after the first map; without one, that of the single parent."""
        return self.parents[0] or (1,) if self.first is None else entered(self.first, self.parents)[0]


def range_of(stack: Stack, incoming: Sequence[Support]) -> Support:
    """Return where every number lies that a feature's network makes of parents in `incoming`."""
    if isinstance(stack.first, Joining):
        support = stack.first.joined_range(stack.parents, incoming)
    elif stack.first is not None:  # a linear map or a convolution
        support = REAL
    else:
        support = incoming[0] if len(incoming) == 1 else functools.reduce(Support.joined, incoming).element
    for layer in stack.rest:
        support = layer.output_range(support)
    return support


def no_code(path: str) -> OwnCode:
    """Refuse own code where a network cannot have any."""
    raise TypeError(f"no folder is known in which to look for '{path}'")


def stack(
    entries: Sequence[Entry],
    parents: Sequence[tuple[str, Shape]],
    wanted: Wanted | None = None,
    own: Callable[[str], OwnCode] = no_code,
) -> Stack:
    """Lay a network on its parents' shapes. wanted: what it has to give, None for a feature.

    Raises: ShapeFault, which says what the network got and what it wanted.
    """
    laying = _Laying(parents)
    for i, entry in enumerate(entries):
        if entry.last and i + 1 < len(entries):
            raise ShapeFault(
                f"{entry.name} gives the parameters by itself: nothing can follow it, got {entries[i + 1].name}"
            )
        layers = entry.unfold(Place(i == 0, laying.incoming, wanted, own))
        heads = layers.pop() if entry.last else None
        for layer in layers:
            laying.add(layer)
        if heads is not None:
            assert isinstance(heads, ConvTranspose2d)
            laying.begun = True  # where nothing comes before the heads, a single parent comes to them as it is
            return laying.stack(heads)
    return laying.stack()


class _Laying:
    """A network as far as it is laid."""

    def __init__(self, parents: Sequence[tuple[str, Shape]]) -> None:
        self.parents = parents
        self.shapes = tuple(shape for _, shape in parents)
        self.shape: Shape | None = (self.shapes[0] or (1,)) if len(parents) == 1 else None
        self.flat = False  # whether the parents are flattened before the first map
        self.begun = False
        self.first: First | None = None
        self.rest: list[Layer] = []

    @property
    def incoming(self) -> Shape | None:
        """The shape that the next layer gets; None where it gets several parents."""
        flattened = self.flat and not self.begun
        return (math.prod(self.shape),) if flattened and self.shape is not None else self.shape

    def add(self, layer: Layer) -> None:
        """Add a layer; the first one decides how the parents come to it."""
        if not self.begun and isinstance(layer, Flatten):
            self.flat = True
        elif not self.begun:
            self.begun = True
            self._begin(layer)
        else:
            self._follow(layer)

    def _begin(self, layer: Layer) -> None:
        vectors = self.flat or all(len(shape) <= 1 for shape in self.shapes)
        if isinstance(layer, Linear) and vectors:
            self.first = layer
        elif isinstance(layer, Conv2d) and not self.flat:
            self._check_images()
            self.first = layer
        elif isinstance(layer, Joining) and not self.flat:
            self.first = layer
        elif self.shape is not None:
            for step in (Flatten(), layer) if self.flat else (layer,):
                self._follow(step)
            return
        else:
            raise ShapeFault(
                f"{layer.name} takes one input, got {self._parents()}: begin with Flatten and Linear, where parents add"
            )
        self.shape, _ = entered(self.first, self.shapes)

    def _follow(self, layer: Layer) -> None:
        assert self.shape is not None
        self.shape = layer.output_shape(self.shape)
        self.rest.append(layer)

    def _check_images(self) -> None:
        images = [shape for shape in self.shapes if len(shape) == 3]
        if not images:
            raise ShapeFault(f"a convolution needs an image [channels, height, width], got {self._parents()}")
        if len({shape[1:] for shape in images}) > 1:
            raise ShapeFault(f"the images of one convolution have one height and width, got {self._parents()}")

    def _parents(self) -> str:
        return ", ".join(f"{name} {shape_text(shape)}" for name, shape in self.parents)

    def stack(self, heads: ConvTranspose2d | None = None) -> Stack:
        """Give what was laid. heads: the last layer of a `deconv`."""
        if not self.begun:  # nothing, or only Flatten: the parents side by side
            return Stack(self.shapes, None, (), (sum(math.prod(shape) for shape in self.shapes),), 0)
        assert self.shape is not None
        shape, count = (self.shapes[0] or (1,), 0) if self.first is None else entered(self.first, self.shapes)
        return Stack(
            self.shapes, self.first, tuple(self.rest), self.shape, count + count_through(self.rest, shape), heads
        )


def entered(first: First, parents: Sequence[Shape]) -> tuple[Shape, int]:
    """Return the shape that the first map makes of its parents, and its number of parameters. Raises: ShapeFault."""
    if isinstance(first, Linear):
        return (first.out_features,), first.parameter_count((sum(math.prod(shape) for shape in parents),))
    if isinstance(first, Joining):
        return first.joined_shape(parents), first.joined_count(parents)
    images = [shape for shape in parents if len(shape) == 3]
    others = sum(math.prod(shape) for shape in parents if len(shape) != 3)
    image = (sum(shape[0] for shape in images), *images[0][1:])
    return first.output_shape(image), first.parameter_count(image) + first.out_channels * others
