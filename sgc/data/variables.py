"""What the data layer knows of a model: the variables that rows have values for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sgc.distributions.supports import REAL, Support

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Existence:
    """A condition for a step to exist: the count's value is above `above`. `place` is the count's own step."""

    count: str
    place: int
    above: int


@dataclass(frozen=True)
class Variable:
    """A node or an input as data see it.

    `shape` is the event's, without the axis of categories. `values` are the categories as data write them; without
    them, data hold 0 … `categories` - 1. `support`: the numbers that a row may have. `supervision`: a value in every
    row (`full`), in some rows (`partial`), or read by networks and never modelled (`input`). `whole`: where an element
    of a partial node is missing, all of its value is. `dropped`: the term of a missing value of a partial node is left
    out; it is not a label that a row lacks. `steps`: the sizes of the repeats around a node, the first axes of its
    values, `(*steps, *shape)`. `exists`: for each step, flattened, the conditions under which a row has it; empty where
    every row has all. `total`: the input that bounds the value of its row, or, of vectors, its sum.
    """

    name: str
    shape: tuple[int, ...] = ()
    categories: int | None = None
    values: tuple[str | int | float | bool, ...] | None = None
    support: Support = REAL
    supervision: Literal["full", "partial", "input"] = "full"
    whole: bool = False
    dropped: bool = False
    steps: tuple[int, ...] = ()
    exists: tuple[tuple[Existence, ...], ...] = ()
    total: str = ""

    @property
    def laid(self) -> tuple[int, ...]:
        """The shape of a row's values, the steps first."""
        return (*self.steps, *self.shape)

    def fold(self, cells: NDArray[Any]) -> NDArray[Any]:
        """Give every step a row of its own: `(N, *steps, *event)` -> `(N · steps, *event)`.

        What is fitted and encoded is alike in all steps.
        """
        if not self.steps:
            return cells
        return cells.reshape(len(cells) * math.prod(self.steps), *cells.shape[1 + len(self.steps) :])

    def unfold(self, cells: NDArray[Any]) -> NDArray[Any]:
        """Undo `fold`."""
        if not self.steps:
            return cells
        return cells.reshape(len(cells) // math.prod(self.steps), *self.steps, *cells.shape[1:])
