"""Arrays and data frames that a caller passes instead of a source."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from sgc.data.columns import Array, SourceColumn
from sgc.data.finding import known_columns
from sgc.errors import DataError


def is_frame(data: object) -> bool:
    """Tell a pandas data frame, without importing pandas."""
    return hasattr(data, "iloc") and hasattr(data, "columns")


def frame_columns(frame: Any, wanted: Collection[str]) -> dict[str, SourceColumn]:  # any: pandas is no dependency
    """Take these columns of a data frame, whatever stands in others; rows count from 0, whatever its index says.

    Raises:
        DataError: no such column, or two of the name, or one that is neither numbers nor text.
    """
    names = [str(name) for name in frame.columns]
    known_columns(wanted, names, file=None)
    for name in wanted:
        if names.count(name) > 1:
            raise DataError(f"found {names.count(name)} columns named '{name}', wanted one")
    return {name: _frame_column(name, frame.iloc[:, names.index(name)]) for name in dict.fromkeys(wanted)}


def _frame_column(name: str, series: Any) -> SourceColumn:  # any: as above
    missing = np.asarray(series.isna().to_numpy(), dtype=bool)
    kind = getattr(series.dtype, "kind", "O")
    if kind in "biuf":
        values = series.to_numpy(dtype=np.float64, na_value=np.nan) if missing.any() else series.to_numpy()
        return SourceColumn(name, np.asarray(values), missing=missing)
    return array_column(name, series.astype(object).where(~series.isna(), None).to_numpy())


def array_columns(arrays: Mapping[str, Any]) -> dict[str, SourceColumn]:  # any: whatever numpy can read as an array
    """Take each array of a mapping. Raises: DataError, as `array_column`; or no mapping."""
    if not isinstance(arrays, Mapping):
        raise DataError(f"found data of the type '{type(arrays).__name__}', wanted a mapping by node, or a data frame")
    return {name: array_column(name, values) for name, values in arrays.items()}


def array_column(name: str, values: Any) -> SourceColumn:  # any: as above
    """Take an array `(N, *event)`, or what numpy can read as one, of numbers or text; a masked cell is missing.

    Raises:
        DataError: no array, or one that mixes numbers with text.
    """
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"'{name}' cannot be read as an array: {error}") from error
    if array.ndim == 0:
        raise DataError(f"'{name}': found a single value, wanted an array with the rows first")
    hidden = None if not np.ma.isMaskedArray(values) else np.ma.getmaskarray(values)
    if array.dtype.kind != "O":
        return SourceColumn(name, array, missing=hidden)
    missing = np.array([_is_missing(each) for each in array.ravel()], dtype=bool).reshape(array.shape)
    missing = missing if hidden is None else missing | hidden
    return SourceColumn(name, _plain(name, array, missing), missing=missing)


def _is_missing(cell: object) -> bool:
    return cell is None or cell != cell or type(cell).__name__ in ("NAType", "NaTType")


def _plain(name: str, array: Array, missing: Array) -> Array:
    """Turn an array of Python objects into text, if any cell is text, or else into numbers."""
    present = array[~missing]
    if any(isinstance(cell, str) for cell in present):
        return np.where(missing, "", array).astype(str)
    if all(isinstance(cell, (bool, int, float, np.number, np.bool_)) for cell in present):
        return np.where(missing, np.nan, array).astype(np.float64)
    strange = next(cell for cell in present if not isinstance(cell, (bool, int, float, np.number, np.bool_)))
    raise DataError(f"'{name}': found a value of the type '{type(strange).__name__}', wanted numbers or text")
