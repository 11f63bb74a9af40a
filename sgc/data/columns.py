"""Columns as a source gives them, and the numbers or categories that are read from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NoReturn, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sgc.data.empty_cells import MARKS, Mark, marked, number_of
from sgc.data.variables import Variable
from sgc.errors import LISTED, DataError

Array: TypeAlias = NDArray[Any]
Rows: TypeAlias = NDArray[np.int64]


class Places(Protocol):
    """Where the rows of a source of many files are."""

    def place_of(self, row: int) -> tuple[str, int]:
        """Name the file that a row is in, and count it there from 0."""


@dataclass(frozen=True)
class SourceColumn:
    """One column of a source: `values` is `(N, *event)`, numbers or text.

    Of data larger than memory, `values` and `null` are read as they are indexed (`sgc.data.blocks`).

    `null`, `(N, *event)`, marks empty cells that the values cannot show. Cells that hold one of the `marks` are empty
    too; None: the marks of the spec, where the source has none of its own. `absent`, `(N, *steps)`, marks the steps
    that a row does not have, whatever its cells hold. `lines` are the lines of the rows in the file, where it has
    lines. `file` is empty for arrays that were passed in. `first` is the row id of its first row, above 0 where the
    column is a chunk of its file. `places` names the file of each row, where there are several. `elements` names the
    numbers of a row of a column `(N, D)`, as of the genes of cells; None: nothing names them.
    """

    name: str
    values: Array
    file: str = ""
    null: NDArray[np.bool_] | None = None
    lines: Rows | None = None
    absent: NDArray[np.bool_] | None = None
    marks: tuple[Mark, ...] | None = None
    first: int = 0
    places: Places | None = None
    elements: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def missing(self) -> NDArray[np.bool_] | None:
        """The empty cells of the whole column, `(N, *event)`; NaN, which shows itself, is not marked. None: none is."""
        null = None if self.null is None else np.asarray(self.null)
        return _union(null, self._marked(np.asarray(self.values)))

    def empty(self, rows: Rows, raw: Array) -> NDArray[np.bool_] | None:
        """Mark the cells of these rows that are empty, or of a step that does not exist: `(n, *event)`; None: none is.

        raw: the cells of these rows, text as text.
        """
        missing = _union(None if self.null is None else self.null[rows], self._marked(raw))
        if self.absent is None:
            return missing
        gone = self.absent[rows]
        absent = np.broadcast_to(
            gone.reshape(*gone.shape, *(1,) * (self.values.ndim - gone.ndim)), (len(rows), *self.values.shape[1:])
        )
        return absent.copy() if missing is None else missing | absent

    def _marked(self, raw: Array) -> NDArray[np.bool_] | None:
        return marked(raw, MARKS if self.marks is None else self.marks)


def _union(left: NDArray[np.bool_] | None, right: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    if left is None or right is None:
        return right if left is None else left
    return left | right


SourceColumns: TypeAlias = dict[str, SourceColumn]  # by name


@dataclass(frozen=True)
class Opened:
    """The columns of a source by name: its training rows and, where the source brings them, its test rows."""

    train: Mapping[str, SourceColumn]
    test: Mapping[str, SourceColumn] | None = None


@dataclass(frozen=True)
class Origin:
    """Where an array of values came from, so that an error can name the file, the column and the row.

    `rows`, `(N,)`, are the places of the array's rows in the columns, and `ids` their row ids in the source, which
    differ where the columns are a chunk of a file. Of a node of a repeat, `steps` are the axes that come next in the
    array; if `folded`, each step has a row instead, `(N · steps, *event)`. `kind` says what `node` is the name of,
    where it is no node.
    """

    node: str
    columns: tuple[SourceColumn, ...]
    rows: Rows
    steps: tuple[int, ...] = ()
    folded: bool = False
    kind: str = "node"

    @property
    def ids(self) -> Rows:
        """The row ids of the rows, `(N,)`, from 0 in their file."""
        return self.rows + self.columns[0].first

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def elements(self) -> tuple[str, ...]:
        """The names of the elements of a row, if it is of one column that has them; none of several columns."""
        return self.columns[0].elements or () if len(self.columns) == 1 else ()

    def error(self, message: str, position: int | None = None, element: tuple[int, ...] = ()) -> DataError:
        """Build the error about a row of the array (its position), or about all of it."""
        column = self.columns[0]
        if self.folded and position is not None:
            position, place = divmod(position, math.prod(self.steps))
            element = (*(int(index) for index in np.unravel_index(place, self.steps)), *element)
        if len(self.columns) > 1 and len(element) == 1 and element[0] < len(self.columns):
            column = self.columns[element[0]]
        named = f"{self.kind} '{self.node}'" + ("" if column.name == self.node else f", column '{column.name}'")
        row = None if position is None else int(self.rows[position])
        line = "" if row is None or column.lines is None else f" (line {column.lines[row]} of the file)"
        file = column.file
        row = None if row is None else row + column.first
        if row is not None and column.places is not None:
            file, own = column.places.place_of(row)
            line = f" (row {own} of the file)"
        return DataError(f"{named}: {message}{line}", file=file or None, row=row)

    def fold(self) -> Origin:
        """Give the origin of the same cells with a row for each step; unchanged where there are no steps."""
        return replace(self, folded=True) if self.steps else self

    def check_steps(self) -> None:
        """Check that rows have the steps first, and as many as the node. Raises: DataError."""
        shape = self.columns[0].values.shape[1:] if len(self.columns) == 1 else (len(self.columns),)
        leading = shape[: len(self.steps)]
        if tuple(leading) == self.steps:
            return
        wanted = " × ".join(map(str, self.steps))
        if len(self.columns) > 1:
            raise self.error(f"found a list of {len(self.columns)} columns, wanted {wanted} steps, a column for each")
        if len(leading) < len(self.steps):
            raise self.error(f"found rows of the shape {list(shape)}, wanted {wanted} steps first")
        steps = " × ".join(map(str, leading))
        raise self.error(f"found {steps} steps, wanted {wanted}, in rows of the shape {list(shape)}")

    def absent(self) -> NDArray[np.bool_] | None:
        """Mark the steps that rows do not have, `(n, *steps)`, or `(n · steps,)`; None: every row has all."""
        absent = [column.absent[self.rows] for column in self.columns if column.absent is not None]
        if not absent:
            return None
        gone = absent[0] if len(self.columns) == 1 else np.stack(absent, axis=1)
        return gone.reshape(-1) if self.folded else gone

    def of_column(self, column: SourceColumn) -> Origin:
        """Give the origin of one column; it has the steps only if it is the node's only column."""
        return replace(self, columns=(column,), steps=self.steps if len(self.columns) == 1 else ())

    def fail(self, message: str, bad: NDArray[np.bool_], values: Array | str, start: int = 0) -> NoReturn:
        """Raise the error about the first bad element, which replaces `{found}` in the message.

        bad, values: of the array from the position `start` on; a text in place of the values replaces it instead.
        """
        first = tuple(int(index) for index in np.unravel_index(int(np.argmax(bad)), bad.shape))
        position, element = start + first[0], first[1:]
        text = (values if isinstance(values, str) else show(values[first])) + self._where(position, element)
        raise self.error(message.replace("{found}", text), position, element)

    def _where(self, position: int, element: tuple[int, ...]) -> str:
        """Name a place in a row: its step, counted from 1, and its place in the event, from 0."""
        steps: tuple[int, ...] = ()
        if self.folded:
            steps = tuple(int(index) for index in np.unravel_index(position % math.prod(self.steps), self.steps))
        elif self.steps and len(element) >= len(self.steps):
            steps, element = element[: len(self.steps)], element[len(self.steps) :]
        listed = len(self.columns) > 1 and not (self.steps and steps)  # the column's name says where
        step = f" in step {', '.join(str(index + 1) for index in steps)}" if steps else ""
        return step + ("" if listed or not element else f" at {list(element)}")


def read_numbers(origin: Origin) -> Array:
    """Read an origin's rows as numbers `(N, *event)`, NaN where missing; several columns become a vector.

    The caller may write into the result. It is float32, or float64 where the source is more precise than that.

    Raises:
        DataError: a cell that is no number.
    """
    parts = [_numbers(origin, column) for column in origin.columns]
    if len(parts) == 1:
        return parts[0]
    return _stack(origin, parts)


def _stack(origin: Origin, parts: list[Array]) -> Array:
    for column, part in zip(origin.columns, parts, strict=True):
        if part.ndim != 1:
            raise origin.error(
                f"found rows of the shape {list(part.shape[1:])} in column '{column.name}', wanted one value: "
                "it is one of several columns of the node"
            )
    return np.stack(parts, axis=1)


def _numbers(origin: Origin, column: SourceColumn) -> Array:
    own = origin.of_column(column)
    raw, missing = _read(own, column)
    if raw.dtype.kind in "biuf":
        # float64 only where the source is more precise than float32, so that bytes do not grow eightfold
        numbers = raw.astype(np.result_type(raw.dtype, np.float32), copy=False)
    elif raw.dtype.kind == "U":
        numbers = _parse(own, raw, missing)
    else:
        raise own.error(f"found values of the type {raw.dtype}, wanted numbers")
    if missing is not None:
        numbers[missing] = np.nan
    return numbers


def _read(origin: Origin, column: SourceColumn) -> tuple[Array, NDArray[np.bool_] | None]:
    """Give the cells of an origin's rows, text as text, and which of them are empty. Raises: DataError."""
    raw = column.values[origin.rows]
    raw = _text(origin, raw) if raw.dtype.kind in "US" else raw
    return raw, column.empty(origin.rows, raw)


def _text(origin: Origin, raw: Array) -> Array:
    """Strip text of spaces; decode bytes, as h5py and C write text, as UTF-8. Raises: DataError."""
    try:
        return np.char.strip(raw if raw.dtype.kind == "U" else np.char.decode(raw, "utf-8"))
    except UnicodeDecodeError:
        bad = np.array([not _is_utf8(text) for text in raw.ravel()], dtype=bool).reshape(raw.shape)
        origin.fail("found {found}, wanted text in UTF-8", bad, raw)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


TRUTHS = (
    ("false", "False", "FALSE"),
    ("true", "True", "TRUE"),
)  # the words of tables for 0 and 1


def _parse(origin: Origin, texts: Array, missing: NDArray[np.bool_] | None) -> Array:
    texts = texts if missing is None else np.where(missing, "nan", texts)
    numbers = _floats(texts)
    if numbers is None:  # other formats have a type for booleans
        texts = np.where(np.isin(texts, TRUTHS[1]), "1", np.where(np.isin(texts, TRUTHS[0]), "0", texts))
        numbers = _floats(texts)
    if numbers is None:
        bad = np.array([number_of(text) is None for text in texts.ravel()]).reshape(texts.shape)
        hint = "wanted a number; is it a mark for an empty cell (missing_values)?"
        origin.fail(f"found {{found}}, {hint}", bad, texts)
    return numbers


def _floats(texts: Array) -> Array | None:
    """Read texts as numbers; None if one of them is no number."""
    if (np.char.find(texts, "_") >= 0).any():
        return None
    try:
        return texts.astype(np.float64)
    except ValueError:
        return None


MISSING = -1
_UNKNOWN = -2


def read_categories(origin: Origin, variable: Variable, *, key: str = "values") -> Array:
    """Read an origin's rows as categories: int64 `(N, *event)` indices, -1 where missing.

    `key` is the key of the spec that lists the categories.

    Raises:
        DataError: a value that is none of the categories.
    """
    parts = [_categories(origin, column, variable, key) for column in origin.columns]
    return parts[0] if len(parts) == 1 else _stack(origin, parts)


def _categories(origin: Origin, column: SourceColumn, variable: Variable, key: str) -> Array:
    own = origin.of_column(column)
    raw, missing = _read(own, column)
    if raw.dtype.kind not in "biufU":
        raise own.error(f"found values of the type {raw.dtype}, wanted categories")
    index_of = _lookup(variable)
    if raw.dtype == np.uint8:  # a table of all 256 values is much faster than sorting
        kinds = np.flatnonzero(np.bincount(raw.ravel(), minlength=256))
        indices = np.array([index_of(kind.item()) for kind in kinds], dtype=np.int64)
        by_value = np.full(256, _UNKNOWN, dtype=np.int64)
        by_value[kinds] = indices
        result: Array = by_value[raw]
    else:
        kinds, inverse = np.unique(raw, return_inverse=True)
        indices = np.array([index_of(kind.item()) for kind in kinds], dtype=np.int64)
        result = indices[inverse.reshape(raw.shape)] if len(kinds) else np.zeros(raw.shape, dtype=np.int64)
    if missing is not None:
        result[missing] = MISSING
    if (indices == _UNKNOWN).any() and (result == _UNKNOWN).any():
        message = f"found {{found}}, wanted {_wanted(variable, key)}, or -1 where it is missing"
        own.fail(message, result == _UNKNOWN, raw)
    return result


def _lookup(variable: Variable) -> Callable[[str | float], int]:
    names = range(variable.categories or 0) if variable.values is None else variable.values
    by_text = {(str(name).lower() if isinstance(name, bool) else str(name)): i for i, name in enumerate(names)}
    by_number = {float(name): i for i, name in enumerate(names) if not isinstance(name, str)}

    def index_of(value: str | float) -> int:
        integer = not isinstance(value, str) and np.isfinite(value) and value == np.floor(value)
        text = str(int(value)) if integer else str(value)
        known = number_of(value)
        number = np.nan if known is None else known
        if text in by_text:
            return by_text[text]
        word = str(value).lower()
        if word in ("true", "false"):
            for written in (word, word.capitalize()):
                if written in by_text:
                    return by_text[written]
            number = float(word == "true")
        if number in by_number:
            return by_number[number]
        empty = (np.isnan(number) and (not isinstance(value, str) or text.lower() == "nan")) or text == ""
        return MISSING if empty or number == MISSING else _UNKNOWN

    return index_of


def _wanted(variable: Variable, key: str) -> str:
    if variable.values is None:
        return f"a category from 0 to {(variable.categories or 1) - 1}"
    if len(variable.values) > LISTED:
        return f"one of the {len(variable.values)} categories under '{key}'"
    return "one of " + ", ".join(show(value) for value in variable.values)


def show(value: object) -> str:
    """Write a cell as users write it: text in quotes, numbers without needless digits.

    >>> show(np.float32(0.1)), show(255.0), show("a")
    ('0.1', '255', "'a'")
    """
    if isinstance(value, str):
        return repr(str(value))
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).lower()
    if isinstance(value, (int, float, np.integer, np.floating)):
        number = float(value)
        return "NaN" if np.isnan(number) else f"{number:.6g}"
    return str(value)
