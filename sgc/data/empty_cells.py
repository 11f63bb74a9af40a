"""Which cells are empty, by the marks of a spec (`missing_values`): text as it is written, numbers by value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Mark: TypeAlias = str | float
MARKS: tuple[Mark, ...] = ("",)  # unless a spec says otherwise


def marked(cells: NDArray[Any], marks: Sequence[Mark]) -> NDArray[np.bool_] | None:
    """Mark the cells, text or numbers of any shape, that stand for an empty one; None: none of them can.

    A number is compared as the column's own type stores it, so that -99.9 is found among float32 too. Among numbers a
    mark that is text counts by its value.
    """
    kind = cells.dtype.kind
    if kind == "S":
        return marked(np.char.decode(cells, "utf-8", "replace"), marks)
    if kind == "U":
        return _among_text(cells, marks)
    if kind == "b":
        values: set[Any] = {str(mark).lower() == "true" for mark in marks if str(mark).lower() in ("true", "false")}
    else:
        values = {value for mark in marks for value in stored(mark, cells.dtype)} if kind in "iuf" else set()
    empty: NDArray[np.bool_] | None = None
    for value in values:
        equal = np.asarray(cells == value)
        empty = equal if empty is None else empty | equal
    return empty


def stored(mark: Mark, dtype: np.dtype[Any]) -> list[Any]:
    """Give a mark as a number of this type; nothing where it is no number, or one that the type does not have."""
    number = number_of(mark)
    if number is None or math.isnan(number):  # NaN is missing anyhow
        return []
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            value = dtype.type(number)
        return [value] if np.isfinite(value) or math.isinf(number) else []
    limits = np.iinfo(dtype)
    return [dtype.type(int(number))] if number.is_integer() and limits.min <= number <= limits.max else []


def number_of(cell: str | float) -> float | None:
    """Read a number, of text as tables write it: Python alone reads 12_3 as 123; None where it is none."""
    try:
        return float(cell.replace("_", "?") if isinstance(cell, str) else cell)
    except ValueError:
        return None


def _among_text(texts: NDArray[Any], marks: Sequence[Mark]) -> NDArray[np.bool_]:
    kinds, inverse = np.unique(texts, return_inverse=True)
    words = {mark for mark in marks if isinstance(mark, str)}
    numbers = {float(mark) for mark in marks if not isinstance(mark, str)}
    empty = [text in words or (bool(numbers) and number_of(text) in numbers) for text in map(str, kinds)]
    if not any(empty):
        return np.zeros(texts.shape, dtype=bool)
    return np.asarray(np.array(empty, dtype=bool)[inverse.reshape(texts.shape)])
