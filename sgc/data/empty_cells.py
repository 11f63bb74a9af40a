"""Which cells are empty: by the marks of a spec (`missing_values`), text as it stands, numbers by value."""

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

    A number is met as the column's own type holds it, so that -99.9 is found among float32 too; of numbers a text mark
    is met by its value.
    """
    kind = cells.dtype.kind
    if kind == "S":
        return marked(np.char.decode(cells, "utf-8", "replace"), marks)
    if kind == "U":
        return _among_text(cells, marks)
    if kind == "b":
        values: set[Any] = {str(mark).lower() == "true" for mark in marks if str(mark).lower() in ("true", "false")}
    else:
        values = {value for mark in marks for value in held(mark, cells.dtype)} if kind in "iuf" else set()
    found: NDArray[np.bool_] | None = None
    for value in values:
        here = np.asarray(cells == value)
        found = here if found is None else found | here
    return found


def held(mark: Mark, dtype: np.dtype[Any]) -> list[Any]:
    """Give a mark as numbers of a type hold it; nothing where it is none, or they cannot."""
    number = _number(mark)
    if number is None or math.isnan(number):  # NaN is missing anyhow
        return []
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            value = dtype.type(number)
        return [value] if np.isfinite(value) or math.isinf(number) else []
    limits = np.iinfo(dtype)
    return [dtype.type(int(number))] if number.is_integer() and limits.min <= number <= limits.max else []


def _number(mark: Mark) -> float | None:
    try:
        return float(mark.replace("_", "?") if isinstance(mark, str) else mark)
    except ValueError:
        return None


def _among_text(texts: NDArray[Any], marks: Sequence[Mark]) -> NDArray[np.bool_]:
    kinds, inverse = np.unique(texts, return_inverse=True)
    words = {mark for mark in marks if isinstance(mark, str)}
    numbers = {float(mark) for mark in marks if not isinstance(mark, str)}
    empty = [text in words or (bool(numbers) and _number(text) in numbers) for text in map(str, kinds)]
    if not any(empty):
        return np.zeros(texts.shape, dtype=bool)
    return np.asarray(np.array(empty, dtype=bool)[inverse.reshape(texts.shape)])
