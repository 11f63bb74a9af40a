"""Arrays and data frames that a caller passes in place of a source."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgc.data.columns import Array, SourceColumn, SourceColumns
from sgc.data.element_names import named
from sgc.data.file_search import choose_columns
from sgc.data.sparse_rows import is_sparse, sparse_column
from sgc.errors import DataError

Mask = NDArray[np.bool_]


def is_frame(data: object) -> bool:
    """Tell a pandas data frame, without importing pandas."""
    return hasattr(data, "iloc") and hasattr(data, "columns")


def frame_columns(frame: Any, wanted: Collection[str]) -> SourceColumns:  # Any: pandas is no dependency
    """Take these columns of a data frame, whatever the others hold; rows count from 0, whatever its index says.

    Raises:
        DataError: no such column, or two of the name, or one that is neither numbers nor text.
    """
    names = [str(name) for name in frame.columns]
    chosen = choose_columns(wanted, (), names, file=None)
    return {name: array_column(name, frame.iloc[:, names.index(name)]) for name in dict.fromkeys(chosen)}


def array_columns(arrays: Mapping[str, Any]) -> SourceColumns:  # Any: whatever numpy can read as an array
    """Take each array of a mapping. Raises: DataError, as `array_column`; or for what is no mapping of names."""
    if not isinstance(arrays, Mapping):
        raise DataError(f"found data of the type '{type(arrays).__name__}', wanted a mapping by node, or a data frame")
    for name in arrays:
        if not isinstance(name, str):
            raise DataError(f"found the key {name!r} of the type '{type(name).__name__}', wanted the name of a node")
    columns = {name: array_column(name, values) for name, values in arrays.items()}
    return {
        name: named(each, arrays[name].columns) if is_frame(arrays[name]) else each for name, each in columns.items()
    }


def array_column(name: str, values: Any) -> SourceColumn:  # Any: as above
    """Take an array `(N, *event)`, or what numpy can read as one, of numbers or text; a masked cell is missing.

    A sparse matrix `(N, D)` of scipy's, or a sparse column of pandas, stays sparse: its rows are made dense when they
    are taken. A cell that is not stored is 0.

    A Python object in a cell may mean a missing one too (None, NaN, pandas' NA). It may also hold a whole row, as in a
    column of lists.

    Raises:
        DataError: no array, or one that mixes numbers with text.
    """
    if is_sparse(values):
        return sparse_column(name, values)
    if getattr(getattr(values, "dtype", None), "fill_value", None) == 0 and hasattr(values, "sparse"):
        return sparse_column(name, _sparse_series(values), single=True)
    array, null = _with_nulls(name, values)
    if array.ndim == 0:
        raise DataError(f"'{name}': found a single value, wanted an array with the rows first")
    if array.dtype.kind != "O":
        return SourceColumn(name, array, null=null)
    missing = np.array([_is_missing(cell) for cell in array.ravel()], dtype=bool).reshape(array.shape)
    missing = missing if null is None else missing | null
    if array.ndim == 1 and any(isinstance(cell, (list, tuple, np.ndarray)) for cell in array[~missing]):
        return _rows(name, array, missing)
    return SourceColumn(name, _plain(name, array, missing), null=missing)


def _with_nulls(name: str, values: Any) -> tuple[Array, Mask | None]:  # Any: as above
    """Read values as numpy does, and keep what it would lose: which cells are masked, or pandas' NA."""
    if hasattr(values, "iloc") and getattr(values, "ndim", 0) == 1:
        return _series(values)
    if isinstance(values, (list, tuple)) and any(isinstance(part, np.ma.MaskedArray) for part in values):
        values = _stacked(name, values)
    masked = isinstance(values, np.ma.MaskedArray)
    if str(getattr(values, "layout", "")).startswith("torch.sparse"):
        raise DataError(f"'{name}': found a sparse {type(values).__name__}, wanted a dense array")
    try:
        if hasattr(values, "detach"):  # a tensor, of which numpy takes neither the graph nor another device
            values = values.detach().cpu()
            values = values.float() if str(values.dtype) == "torch.bfloat16" else values
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        if isinstance(values, (list, tuple)) and any(_is_missing(value) for value in values):
            return _of_objects(values), None
        raise DataError(f"'{name}' cannot be read as an array: {error}") from error
    array = array.astype(object) if array.dtype.kind == "T" else array
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:  # torch has no wider numbers
        with np.errstate(over="ignore"):  # what is too large becomes infinite, which is reported later
            array = array.astype(np.float64)
    array = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    return array, np.ma.getmaskarray(values) if masked else None


def _sparse_series(series: Any) -> Any:  # Any: a sparse column of pandas; gives a matrix of scipy's
    """Give a sparse column of a data frame as one of scipy's, `(N, 1)`: only what is stored is read."""
    try:
        from scipy.sparse import csr_array
    except ImportError as error:
        raise DataError("sparse columns of a data frame need scipy: pip install 'sgc[mat]'") from error
    held = series.array
    rows = np.asarray(held.sp_index.to_int_index().indices, dtype=np.int64)
    values, place = np.asarray(held.sp_values), np.zeros(len(rows), dtype=np.int64)
    return csr_array((values, (rows, place)), shape=(len(series), 1))


def _of_objects(values: Any) -> Array:  # Any: as above
    """Give each row as an object: some are missing, so that numpy finds their lengths unequal."""
    array = np.empty(len(values), dtype=object)
    for row, row_value in enumerate(values):
        array[row] = row_value
    return array


def _series(series: Any) -> tuple[Array, Mask]:  # Any: a pandas series
    """Take a series: numbers and booleans keep their type, missing ones have any value; the others are objects."""
    missing = np.asarray(series.isna().to_numpy(), dtype=bool)
    kind = getattr(series.dtype, "kind", "O")
    if kind in "biuf" and not missing.any():
        return np.asarray(series.to_numpy()), missing
    if kind in "biuf":
        types: dict[str, Any] = {"b": np.bool_, "i": np.int64, "u": np.uint64, "f": np.float64}  # Any: a numpy type
        wide = np.float32 if kind == "f" and getattr(series.dtype, "itemsize", 8) == 4 else types[kind]
        return series.to_numpy(dtype=wide, na_value=np.nan if kind == "f" else wide(0)), missing
    return series.astype(object).where(~series.isna(), None).to_numpy(), missing


def _stacked(name: str, values: Any) -> Any:  # Any: as above
    try:
        return np.ma.stack(values)
    except (ValueError, TypeError) as error:
        raise DataError(f"'{name}' cannot be read as an array: {error}") from error


def _rows(name: str, array: Array, missing: Mask) -> SourceColumn:
    """Stack cells that each hold a row, all of one shape; of a missing row, every element is missing."""
    parts = [None if gone else array_column(name, cell) for cell, gone in zip(array, missing, strict=True)]
    first = next(part for part in parts if part is not None)
    shape = first.values.shape
    for row, part in enumerate(parts):
        if part is not None and part.values.shape != shape:
            message = f"'{name}': found a list of {_size(part)}, wanted {_size(first)}, as in the rows above"
            raise DataError(message, row=row)
    nothing = np.zeros(shape, dtype=first.values.dtype)
    values = np.stack([nothing if part is None else part.values for part in parts])
    null = [np.full(shape, part is None) if part is None or part.null is None else part.null for part in parts]
    return SourceColumn(name, values, null=np.stack(null))


def _size(column: SourceColumn) -> str:
    return str(len(column)) if column.values.ndim == 1 else f"the shape {list(column.values.shape)}"


def _is_missing(cell: object) -> bool:
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return True
    return cell.is_nan() if isinstance(cell, Decimal) else isinstance(cell, Real) and bool(cell != cell)


def _plain(name: str, array: Array, missing: Mask) -> Array:
    """Turn an array of Python objects into text, if any cell is text, or else into numbers."""
    present = array[~missing]
    if any(isinstance(cell, str) for cell in present):
        return np.where(missing, "", array).astype(str)
    if len(present) and all(isinstance(cell, bytes) for cell in present):
        return np.where(missing, b"", array).astype(bytes)
    for cell in present:
        if not isinstance(cell, (Real, Decimal, np.bool_)):
            raise DataError(f"'{name}': found a value of the type '{type(cell).__name__}', wanted numbers or text")
    try:
        if len(present) and all(isinstance(cell, (bool, np.bool_)) for cell in present):
            return np.where(missing, False, array).astype(bool)
        if len(present) and all(isinstance(cell, Integral) and abs(int(cell)) < 2**63 for cell in present):
            return np.where(missing, 0, array).astype(np.int64)
        return np.where(missing, np.nan, array).astype(np.float64)
    except OverflowError as error:
        raise DataError(f"'{name}': found an integer that is too large for any number of the data") from error
