"""Parquet files, read by pyarrow: numbers, text, booleans, and lists of one length as vectors; nulls are missing."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgc.data.columns import Array, SourceColumn, SourceColumns
from sgc.data.empty_cells import MARKS, Mark
from sgc.data.file_search import choose_columns
from sgc.errors import DataError

_BATCH = 8192  # rows that are decoded at a time


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
    with opened(path, str(path)) as file:
        wanted = choose_columns(columns, optional, list(file.schema_arrow.names), str(path), also)
        table = file.read(columns=wanted)
        arrays = {name: table.column(name).combine_chunks() for name in wanted}
    return {name: _column(name, array, path, missing_values) for name, array in arrays.items()}


def parquet_chunks(
    path: Path,
    columns: Collection[str],
    *,
    size: int,
    skip: int = 0,
    missing_values: Sequence[Mark] = MARKS,
    optional: Collection[str] = (),
    also: Collection[str] = (),
) -> Iterator[SourceColumns]:
    """Read a file as `read_parquet` does, but so many rows at a time; the parameters are as in `table_chunks`.

    Raises: DataError, as `read_parquet`, where the reading comes to it.
    """
    with opened(path, str(path)) as file:
        wanted = choose_columns(columns, optional, list(file.schema_arrow.names), str(path), also)
        examples = {name: example for name in wanted if (example := _first_list(file, name)) is not None}
        first = skip
        for table in _tables(file, wanted, size, skip):
            arrays = {name: table.column(name).combine_chunks() for name in wanted}
            yield {
                name: replace(_chunk(name, array, path, missing_values, examples.get(name), first), first=first)
                for name, array in arrays.items()
            }
            first += len(table)


def _tables(file: Any, wanted: list[str], size: int, skip: int) -> Iterator[Any]:  # Any: pyarrow's file and tables
    """Give the rows from `skip` on as tables of so many rows; one of none where there are none."""
    import pyarrow as arrow

    group, before = 0, 0  # the first group of rows that is needed, and the rows of those before it
    while group < file.num_row_groups and before + file.metadata.row_group(group).num_rows <= skip:
        before += file.metadata.row_group(group).num_rows
        group += 1
    groups = list(range(group, file.num_row_groups))
    schema = arrow.schema([file.schema_arrow.field(name) for name in wanted])
    held, left, given = arrow.Table.from_batches([], schema), skip - before, False
    for batch in file.iter_batches(min(size, _BATCH), row_groups=groups, columns=wanted):
        table = arrow.Table.from_batches([batch]).slice(min(left, len(batch)))
        left -= min(left, len(batch))
        held = arrow.concat_tables([held, table]) if len(held) else table
        while len(held) >= size:
            yield held.slice(0, size)
            held, given = held.slice(size), True
    if len(held) or not given:
        yield held


def _first_list(file: Any, name: str) -> Any:  # Any: pyarrow's file and an arrow array
    """Give the first list of a column of lists, as an array of one; None where the column holds none.

    Its length is that of all rows, also in a chunk that is empty.
    """
    import pyarrow as arrow

    kind = file.schema_arrow.field(name).type
    if not (arrow.types.is_list(kind) or arrow.types.is_large_list(kind) or arrow.types.is_fixed_size_list(kind)):
        return None
    for batch in file.iter_batches(_BATCH, columns=[name]):
        full = np.flatnonzero(np.asarray(batch.column(0).is_valid()))
        if len(full):
            return batch.column(0).slice(int(full[0]), 1)
    return None


def _chunk(
    name: str, array: Any, path: Path, marks: Sequence[Mark], example: Any, first: int
) -> SourceColumn:  # Any: arrow arrays
    """Make the column of a chunk whose first row has this id; a list is held against the example before it."""
    import pyarrow as arrow

    if example is None:
        return _column(name, array, path, marks)
    try:
        column = _column(name, arrow.concat_arrays([example, array]), path, marks)
    except DataError as error:
        row = None if error.row is None else error.row - 1 + first
        raise DataError(error.message, error.file, row) from None
    null = None if column.null is None else column.null[1:]
    return replace(column, values=column.values[1:], null=null)


def column_names(path: Path) -> list[str]:
    """Name the columns of a parquet file. Raises: DataError."""
    with opened(path, str(path)) as file:
        return list(dict.fromkeys(file.schema_arrow.names))


def parquet_index(path: Path) -> str | None:
    """Name the one column that pandas wrote its index to; None where there is none. Raises: DataError."""
    with opened(path, str(path)) as file:
        names, metadata = file.schema_arrow.names, file.schema_arrow.pandas_metadata or {}
    named = [name for name in metadata.get("index_columns", []) if isinstance(name, str) and name in names]
    return named[0] if len(named) == 1 else None


@contextlib.contextmanager
def opened(source: Any, name: str, metadata: Any = None) -> Iterator[Any]:  # Any: what pyarrow opens, and its file
    """Open a parquet file, and report whatever pyarrow raises in plain words; `name` is what it is called there.

    metadata: of the file, where it was read before. Raises: DataError.
    """
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise DataError("a .parquet file needs pyarrow: pip install 'sgc[parquet]'", file=name) from error
    try:
        with parquet.ParquetFile(source, metadata=metadata) as file:
            yield file
    except (arrow.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise DataError(f"cannot be read: {error.strerror}", file=name) from error
        raise DataError("not a parquet file, or one that is cut short or damaged", file=name) from error


def _column(name: str, array: Any, path: Path, marks: Sequence[Mark]) -> SourceColumn:  # Any: an arrow array
    values, null = plain_cells(array, name, str(path))
    return SourceColumn(name, values, str(path), null if null.any() else None, marks=tuple(marks))


def plain_cells(array: Any, name: str, file: str) -> tuple[Array, NDArray[np.bool_]]:  # Any: an arrow array
    """Give an arrow array's values, and which of them are null; these hold some other value of their type."""
    import pyarrow as arrow

    types, kind = arrow.types, array.type
    if types.is_dictionary(kind):
        return plain_cells(array.dictionary_decode(), name, file)
    null = np.asarray(array.is_null())
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _vectors(array, null, name, file)
    if types.is_null(kind):
        return np.full(len(array), np.nan), null
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        texts = array.fill_null("").to_numpy(zero_copy_only=False)
        return np.char.strip(texts.astype(str)), null
    if types.is_decimal(kind):
        array = array.cast(arrow.float64())
    elif not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        wanted = "numbers, text, booleans, or lists of one length"
        raise DataError(f"column '{name}': found values of the type {kind}, wanted {wanted}", file=file)
    zero = arrow.scalar(False if types.is_boolean(kind) else 0, array.type)
    return np.asarray((array.fill_null(zero) if null.any() else array).to_numpy(zero_copy_only=False)), null


def _vectors(
    array: Any, null: NDArray[np.bool_], name: str, file: str
) -> tuple[Array, NDArray[np.bool_]]:  # Any: as above
    """Stack the lists of a column, all of one length; a null becomes a list of nulls."""
    import pyarrow.compute as compute

    lengths = np.asarray(compute.list_value_length(array).fill_null(-1))
    length = int(lengths[~null][0]) if (~null).any() else 0
    other = ~null & (lengths != length)
    if other.any():
        row = int(np.argmax(other))
        message = f"column '{name}': found a list of {lengths[row]}, wanted {length}, as in the rows above"
        raise DataError(message, file=file, row=row)
    inner, inner_missing = plain_cells(array.drop_null().flatten(), name, file)
    values = np.zeros((len(array), length, *inner.shape[1:]), dtype=inner.dtype)
    missing = np.ones(values.shape, dtype=bool)
    values[~null] = inner.reshape(-1, *values.shape[1:]) if length else 0
    missing[~null] = inner_missing.reshape(-1, *values.shape[1:]) if length else False
    return values, missing
