"""The features of an estimator: an array or a data frame as columns of numbers and of categories, learned in fit."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgc.data.arrays import array_column, is_frame
from sgc.data.sparse_rows import is_sparse
from sgc.errors import DataError, printable

MANY = 50  # more categories than these are names, and tell a model nothing
CALLER = 6  # frames up from here to the call of fit, which scikit-learn wraps
NUMBERS = "x"  # the node of all columns of numbers


@dataclass(frozen=True)
class FeatureColumns:
    """Which columns of a table are numbers, and which categories, by place; the others are left out.

    holes: whether a cell of the numbers was empty. rows: how many were looked at.
    """

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    categories: dict[int, tuple[str, ...]]
    holes: bool
    rows: int

    def node(self, place: int) -> str:
        """Name the node of a column of categories: a spec's names have no spaces, a column's may."""
        return f"column_{place}"

    def arrays(self, table: Any) -> dict[str, Any]:  # Any: an array, a sparse matrix, or a data frame
        """Lay a table out by node: numbers `(N, D)` float64, NaN where empty; categories `(N,)` by place, or -1.

        A category that was not there in fit counts as an empty cell.

        Raises: ValueError for an empty cell among numbers that had none in fit, or text among them.
        """
        by_node: dict[str, Any] = {}
        if is_sparse(table):
            if not self.holes and np.isnan(table.data).any():
                raise ValueError("Input X contains NaN, and no cell was empty in fit")
            return {NUMBERS: table[:, list(self.numbers)]}
        if self.numbers:
            values = np.stack([_numbers(table, place, self.names) for place in self.numbers], axis=1)
            if not self.holes and np.isnan(values).any():
                row, column = np.argwhere(np.isnan(values))[0]
                name = self.names[self.numbers[int(column)]]
                raise ValueError(
                    f"Input X contains NaN: column '{name}', row {row}; no cell was empty in fit, so that the model "
                    "does not know what to do without one"
                )
            by_node[NUMBERS] = values
        for place, known in self.categories.items():
            cells, missing = _texts(table, place, self.names)
            places = {text: number for number, text in enumerate(known)}
            by_node[self.node(place)] = np.array(
                [-1 if gone else places.get(cell, -1) for cell, gone in zip(cells, missing, strict=True)],
                dtype=np.int64,
            )
        return by_node


def learn_columns(table: Any) -> FeatureColumns:  # Any: an array or sparse matrix (N, D) of numbers, or a data frame
    """Learn which columns are numbers and which categories; warn of those that are left out.

    Text, pandas' categories and booleans are categories; an infinite number is refused.

    Raises: ValueError where no column is left, or one is neither numbers nor text.
    """
    if is_sparse(table):
        return _learn_sparse(table)
    frame = is_frame(table)
    names = tuple(str(name) for name in table.columns) if frame else tuple(f"x{i}" for i in range(table.shape[1]))
    numbers: list[int] = []
    categories: dict[int, tuple[str, ...]] = {}
    left: dict[str, list[str]] = {}
    holes = False
    for place, name in enumerate(names):
        if not frame or _is_numeric(table, place, names):
            values = _numbers(table, place, names)
            known = values[~np.isnan(values)]
            if not len(known) or bool((known == known[0]).all()):
                left.setdefault("of one value", []).append(name)
                continue
            numbers.append(place)
            holes = holes or len(known) < len(values)
            continue
        cells, missing = _texts(table, place, names)
        kinds = sorted({cell for cell, gone in zip(cells, missing, strict=True) if not gone})
        if len(kinds) < 2:
            left.setdefault("of one value", []).append(name)
        elif len(kinds) > min(MANY, max(2, len(cells) // 2)):
            left.setdefault(f"of more than {min(MANY, max(2, len(cells) // 2))} categories", []).append(name)
        else:
            categories[place] = tuple(kinds)
    told = {why: those for why, those in left.items() if why != "of one value" or frame}
    for why, those in told.items():
        warnings.warn(f"left out, {why}: {_listed(those)}", stacklevel=CALLER)
    if not numbers and not categories:
        if len(names) and not frame:  # constant numbers: nothing tells rows apart, which a model may say too
            return FeatureColumns(names, tuple(range(len(names))), {}, bool(np.isnan(table).any()), len(table))
        raise ValueError("found no column of X that tells rows apart: wanted numbers, or text of few categories")
    return FeatureColumns(names, tuple(numbers), categories, holes, len(table))


def _learn_sparse(matrix: Any) -> FeatureColumns:  # Any: a sparse matrix of scipy's, by rows
    """Learn which columns of a sparse matrix have several values."""
    names = tuple(f"x{i}" for i in range(matrix.shape[1]))
    low, high = (np.asarray(bound.toarray()).ravel() for bound in (matrix.min(axis=0), matrix.max(axis=0)))
    varied = np.flatnonzero(low != high)  # NaN differs from itself
    places = varied if len(varied) else np.arange(len(names))
    return FeatureColumns(names, tuple(places.tolist()), {}, bool(np.isnan(matrix.data).any()), matrix.shape[0])


def _is_numeric(frame: Any, place: int, names: Sequence[str]) -> bool:  # Any: a data frame
    """Tell whether a column is of numbers; pandas has them as objects where None stands among them."""
    dtype = frame.iloc[:, place].dtype
    if hasattr(dtype, "categories"):
        return False
    kind = getattr(dtype, "kind", "O")
    if kind != "O":
        return kind in "iuf"
    values = _read(frame, place, names).values
    return values.ndim == 1 and values.dtype.kind in "iuf"


def _column(table: Any, place: int) -> Any:  # Any: a column of a data frame, or an array
    return table.iloc[:, place] if is_frame(table) else np.asarray(table)[:, place]


def _numbers(table: Any, place: int, names: Sequence[str]) -> NDArray[np.float64]:  # Any: as above
    column = _read(table, place, names)
    if column.values.ndim != 1 or column.values.dtype.kind not in "biuf":
        raise ValueError(f"column '{printable(names[place])}' of X: found text, wanted numbers, as in fit")
    values: NDArray[np.float64] = np.array(column.values, dtype=np.float64)  # dense, and the caller's stays as it is
    if column.null is not None:
        values[column.null] = np.nan
    if np.isinf(values).any():
        name = printable(names[place])
        raise ValueError(f"Input X contains infinity: column '{name}', row {int(np.argmax(np.isinf(values)))}")
    return values


def _texts(table: Any, place: int, names: Sequence[str]) -> tuple[list[str], NDArray[np.bool_]]:  # Any: as above
    """Give the cells of a column as text, 3 for a 3.0, and which are empty."""
    if is_frame(table) and hasattr(table.iloc[:, place].dtype, "categories"):  # which may be ranges, or dates
        categorical = table.iloc[:, place].cat
        kinds = [*(_text(kind) for kind in categorical.categories.tolist()), ""]
        codes = categorical.codes.to_numpy()
        return [kinds[code] for code in codes], codes < 0
    column = _read(table, place, names)
    values = column.values
    if values.ndim != 1:
        raise ValueError(f"column '{printable(names[place])}' of X: found lists, wanted numbers or text")
    missing = np.zeros(len(values), dtype=bool) if column.null is None else column.null.copy()
    if values.dtype.kind == "f":
        missing |= np.isnan(values)
    return [_text(value) for value in values.tolist()], missing


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _read(table: Any, place: int, names: Sequence[str]) -> Any:  # Any: as above; gives a SourceColumn
    try:
        return array_column(names[place], _column(table, place))
    except DataError as problem:
        raise ValueError(f"column of X: {problem}") from None


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(repr(printable(name)) for name in names[:5]) + more
