"""Arrays and data frames that a caller passes instead of a source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sgc.data.columns import Array, SourceColumn
from sgc.errors import DataError


def is_frame(data: object) -> bool:
    """Tell a pandas data frame, without importing pandas."""
    return hasattr(data, "iloc") and hasattr(data, "columns")


def frame_columns(frame: Any) -> dict[str, SourceColumn]:  # any: pandas is not among the dependencies
    """Take each column of a data frame; rows count from 0, whatever its index says."""
    return {str(name): _frame_column(str(name), frame[name]) for name in frame.columns}


def _frame_column(name: str, series: Any) -> SourceColumn:  # any: as above
    missing = np.asarray(series.isna().to_numpy(), dtype=bool)
    kind = getattr(series.dtype, "kind", "O")
    if kind in "biuf":
        values = series.to_numpy(dtype=np.float64, na_value=np.nan) if missing.any() else series.to_numpy()
        return SourceColumn(name, np.asarray(values), missing=missing)
    return array_column(name, series.astype(object).where(~series.isna(), None).to_numpy())


def array_columns(arrays: Mapping[str, Any]) -> dict[str, SourceColumn]:  # any: whatever numpy can read as an array
    """Take each array of a mapping."""
    return {name: array_column(name, values) for name, values in arrays.items()}


def array_column(name: str, values: Any) -> SourceColumn:  # any: as above
    """Take an array `(N, *event)`, or what numpy can read as one, of numbers or text.

    Raises:
        DataError: no array, or one that mixes numbers with text.
    """
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"'{name}' cannot be read as an array: {error}") from error
    if array.ndim == 0:
        raise DataError(f"'{name}': found a single value, wanted an array with the rows first")
    if array.dtype.kind != "O":
        return SourceColumn(name, array)
    missing = np.array([_is_missing(each) for each in array.ravel()], dtype=bool).reshape(array.shape)
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
