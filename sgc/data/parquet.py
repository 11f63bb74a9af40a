"""Parquet files, read by pyarrow: numbers, text, booleans, and lists of one length as vectors; nulls are missing."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgc.data.columns import Array, SourceColumn, SourceColumns
from sgc.data.empty_cells import MARKS, Mark
from sgc.data.file_search import choose_columns
from sgc.errors import DataError


def read_parquet(
    path: Path,
    columns: Collection[str],
    *,
    missing_values: Sequence[Mark] = MARKS,
    optional: Collection[str] = (),
    also: Collection[str] = (),
) -> SourceColumns:
    """Read these columns, and those of `optional` that are there; the parameters are as in `read_table`.

    A column of lists of one length, which may be nested, is one of vectors. `missing_values` mark empty cells as in a
    text table.

    Raises:
        DataError: no parquet file, a damaged one, no such column, or one of another type.
    """
    with _opened(path) as file:
        wanted = choose_columns(columns, optional, list(file.schema_arrow.names), str(path), also)
        table = file.read(columns=wanted)
        arrays = {name: table.column(name).combine_chunks() for name in wanted}
    return {name: _column(name, array, path, missing_values) for name, array in arrays.items()}


def column_names(path: Path) -> list[str]:
    """Name the columns of a parquet file. Raises: DataError."""
    with _opened(path) as file:
        return list(dict.fromkeys(file.schema_arrow.names))


def parquet_index(path: Path) -> str | None:
    """Name the one column that pandas wrote its index to; None where there is none. Raises: DataError."""
    with _opened(path) as file:
        names, metadata = file.schema_arrow.names, file.schema_arrow.pandas_metadata or {}
    named = [name for name in metadata.get("index_columns", []) if isinstance(name, str) and name in names]
    return named[0] if len(named) == 1 else None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:  # Any: pyarrow's file
    """Open a parquet file, and report whatever pyarrow raises in plain words. Raises: DataError."""
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise DataError("a .parquet file needs pyarrow: pip install 'sgc[parquet]'", file=str(path)) from error
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except (arrow.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise DataError(f"cannot be read: {error.strerror}", file=str(path)) from error
        raise DataError("not a parquet file, or one that is cut short or damaged", file=str(path)) from error


def _column(name: str, array: Any, path: Path, marks: Sequence[Mark]) -> SourceColumn:  # Any: an arrow array
    values, null = _plain(array, name, path)
    return SourceColumn(name, values, str(path), null if null.any() else None, marks=tuple(marks))


def _plain(array: Any, name: str, path: Path) -> tuple[Array, NDArray[np.bool_]]:  # Any: an arrow array
    """Give an arrow array's values, and which of them are null; these hold some other value of their type."""
    import pyarrow as arrow

    types, kind = arrow.types, array.type
    if types.is_dictionary(kind):
        return _plain(array.dictionary_decode(), name, path)
    null = np.asarray(array.is_null())
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _vectors(array, null, name, path)
    if types.is_null(kind):
        return np.full(len(array), np.nan), null
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        texts = array.fill_null("").to_numpy(zero_copy_only=False)
        return np.char.strip(texts.astype(str)), null
    if types.is_decimal(kind):
        array = array.cast(arrow.float64())
    elif not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        wanted = "numbers, text, booleans, or lists of one length"
        raise DataError(f"column '{name}': found values of the type {kind}, wanted {wanted}", file=str(path))
    zero = arrow.scalar(False if types.is_boolean(kind) else 0, array.type)
    return np.asarray((array.fill_null(zero) if null.any() else array).to_numpy(zero_copy_only=False)), null


def _vectors(
    array: Any, null: NDArray[np.bool_], name: str, path: Path
) -> tuple[Array, NDArray[np.bool_]]:  # Any: as above
    """Stack the lists of a column, all of one length; a null becomes a list of nulls."""
    import pyarrow.compute as compute

    lengths = np.asarray(compute.list_value_length(array).fill_null(-1))
    length = int(lengths[~null][0]) if (~null).any() else 0
    other = ~null & (lengths != length)
    if other.any():
        row = int(np.argmax(other))
        message = f"column '{name}': found a list of {lengths[row]}, wanted {length}, as in the rows above"
        raise DataError(message, file=str(path), row=row)
    inner, inner_missing = _plain(array.drop_null().flatten(), name, path)
    values = np.zeros((len(array), length, *inner.shape[1:]), dtype=inner.dtype)
    missing = np.ones(values.shape, dtype=bool)
    values[~null] = inner.reshape(-1, *values.shape[1:]) if length else 0
    missing[~null] = inner_missing.reshape(-1, *values.shape[1:]) if length else False
    return values, missing
