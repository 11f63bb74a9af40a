"""What the data layer knows of a model: the variables that rows have values for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sgc.distributions.supports import REAL, Support


@dataclass(frozen=True)
class Existence:
    """What must hold for a step to be there: the count's value is above `above`. `place` is the count's own step."""

    count: str
    place: int
    above: int


@dataclass(frozen=True)
class Variable:
    """A node or an input as data see it.

    `shape` is the event's, without the axis of categories. `values` are the categories as they stand in data; without
    them, data hold 0 … `categories` - 1. `support`: the numbers that may stand in a row. `supervision`: a value in
    every row (`full`), in some rows (`partial`), or read by networks and never modelled (`input`). `whole`: where an
    element of a partial node is missing, all of its value is.
    `dropped`: what is missing of a partial node is left out, and is no label that a row lacks. `steps`: the sizes of
    the repeats around a node, whose values in a row stand first, `(*steps, *shape)`; `exists`: what each step, row
    by row of them, needs to be there, nothing where every row has all. `total`: the input that no value of its row may
    be above, or, of vectors, has to be the sum of.
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
