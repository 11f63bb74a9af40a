"""What the data layer knows of a model: the variables that rows have values for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Variable:
    """A node or an input as data see it.

    `shape` is the event's, without the axis of categories. `values` are the categories as they stand in data; without
    them, data hold 0 … `categories` - 1. `support` is torch's word for the constraint, `upper` its upper bound where
    the word has one. `supervision`: a value in every row (`full`), in some rows (`partial`), or read by networks and
    never modelled (`input`). `whole`: where an element of a partial node is missing, all of its value is.
    `dropped`: what is missing of a partial node is left out, and is no label that a row lacks.
    """

    name: str
    shape: tuple[int, ...] = ()
    categories: int | None = None
    values: tuple[str | int | float | bool, ...] | None = None
    support: str = "real"
    upper: float | None = None
    supervision: Literal["full", "partial", "input"] = "full"
    whole: bool = False
    dropped: bool = False
