"""The base of an entry of a network, and what it is told of its place: it unfolds into layers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from sgc.networks.layer import Layer, Shape
from sgc.own_code import OwnCode
from sgc.piece import Piece


@dataclass(frozen=True)
class Wanted:
    """What a network of a node has to give: the shape of each head, and the node's own without categories."""

    shape: Shape
    heads: Mapping[str, Shape]


@dataclass(frozen=True)
class Place:
    """The place of an entry in its network.

    `first`: the parents come to it; `incoming`: the shape that it gets, None where it gets several parents;
    `wanted`: None in a feature, which has no heads; `own`: where own code is looked for, by import path.
    """

    first: bool
    incoming: Shape | None
    wanted: Wanted | None
    own: Callable[[str], OwnCode]


class Entry(Piece):
    """An entry of a network; abstract."""

    name: ClassVar[str]
    last: ClassVar[bool] = False  # whether it gives the heads, so that nothing may follow

    @abstractmethod
    def unfold(self, place: Place) -> list[Layer]:
        """Unfold into layers. Raises: ShapeFault."""


class Unrolled(Entry):
    """An entry that no file has: unrolling a repeat writes it, see `sgc.networks.repeat_entries`; abstract."""
