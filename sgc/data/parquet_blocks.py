"""Row groups of parquet files as blocks: of each file the footer is read at once, the rest as rows are needed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from sgc.data.blocks import Blocks, Cells, Field
from sgc.data.columns import Array
from sgc.data.file_search import choose_columns
from sgc.data.parquet import opened, plain_cells
from sgc.data.shards import Shard
from sgc.errors import DataError

FOOTERS = 8  # that are read at a time


@dataclass(frozen=True)
class Footer:
    """What the footer of a file says: its metadata and schema, as pyarrow gives them, and a hash of it."""

    metadata: Any  # Any: pyarrow's
    schema: Any
    digest: str


@final
class ParquetBlocks(Blocks):
    """The row groups of parquet files, one after the other."""

    def __init__(self, shards: Sequence[Shard], columns: Collection[str], optional: Collection[str] = ()) -> None:
        """Read the footers. Raises: DataError: no parquet file, other columns in one of the files, or no rows."""
        self.shards = shards
        with ThreadPoolExecutor(FOOTERS if len(shards) > 1 else 1) as pool:
            self.footers = list(pool.map(_footer, shards))
        self.files = [shard.name for shard in shards]
        groups = [
            (owner, group)
            for owner, footer in enumerate(self.footers)
            for group in range(footer.metadata.num_row_groups)
            if footer.metadata.row_group(group).num_rows
        ]
        if not groups:
            raise DataError("found no rows", file=self.files[0])
        self.owners = np.array([owner for owner, _ in groups], dtype=np.int64)
        self.groups = [group for _, group in groups]
        sizes = [self.footers[owner].metadata.row_group(group).num_rows for owner, group in groups]
        self.starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        first = self.footers[int(self.owners[0])]
        self.names = choose_columns(columns, optional, list(first.schema.names), self.files[int(self.owners[0])])
        self._check_alike(first)
        self.fields: Mapping[str, Field] = self._fields()

    def _check_alike(self, first: Footer) -> None:
        """Check that every file has the columns of the first, of the same types. Raises: DataError."""
        for shard, footer in zip(self.shards, self.footers, strict=True):
            if not footer.metadata.num_rows:
                continue
            choose_columns(self.names, (), list(footer.schema.names), shard.name)
            for name in self.names:
                found, wanted = footer.schema.field(name).type, first.schema.field(name).type
                if _kind(found) != _kind(wanted):
                    message = f"column '{name}': found values of the type {found}, wanted {wanted}"
                    raise DataError(f"{message}, as in {self.files[int(self.owners[0])]}", file=shard.name)

    def _fields(self) -> dict[str, Field]:
        """Take the type and shape of each column from its first rows that are not null."""
        fields: dict[str, Field] = {}
        for name in self.names:
            values = np.zeros(0)
            for block in range(len(self.groups)):
                values, null = self._cells(self._first_rows(block, name), name, block)
                if not null.all():
                    break
            else:  # as of a column that is rarely filled: the first cell that is says how long its lists are
                values, _ = self._cells(self._first_filled(name), name, len(self.groups) - 1)
            dtype = np.dtype("U") if values.dtype.kind == "U" else np.result_type(*(self._types(name, values.dtype)))
            fields[name] = Field(dtype, values.shape[1:], dtype.kind != "f" and self._may_miss(name))
        return fields

    def _types(self, name: str, dtype: np.dtype[Any]) -> list[np.dtype[Any]]:
        """List the types that a column has in the files: 16 and 32 bits of a number may stand beside each other."""
        types = {str(footer.schema.field(name).type) for footer in self.footers if footer.metadata.num_rows}
        if len(types) == 1:
            return [dtype]
        blocks = [int(np.argmax(self.owners == owner)) for owner in np.unique(self.owners)]
        return [self._cells(self._first_rows(block, name), name, block)[0].dtype for block in blocks]

    def _may_miss(self, name: str) -> bool:
        """Tell whether a column may have nulls: as far as the statistics of the row groups do not deny it."""
        for owner, group in zip(self.owners, self.groups, strict=True):
            own = self.footers[owner].metadata.row_group(group)
            for place in range(own.num_columns):
                column = own.column(place)
                path = column.path_in_schema
                if path != name and not path.startswith(f"{name}."):
                    continue
                statistics = column.statistics
                if path != name or statistics is None or not statistics.has_null_count or statistics.null_count:
                    return True
        return False

    def _first_rows(self, block: int, name: str) -> Any:  # Any: an arrow array
        owner = int(self.owners[block])
        with (
            self.shards[owner].opened() as raw,
            opened(raw, self.files[owner], self.footers[owner].metadata) as file,
        ):
            batch = next(file.iter_batches(batch_size=64, row_groups=[self.groups[block]], columns=[name]))
            return batch.column(0)

    def _first_filled(self, name: str) -> Any:  # Any: as above
        """Give the first cell of a column that is not null, as an array of one; of none where all are."""
        filled: Any = None
        for owner in np.unique(self.owners).tolist():
            with (
                self.shards[owner].opened() as raw,
                opened(raw, self.files[owner], self.footers[owner].metadata) as file,
            ):
                for batch in file.iter_batches(columns=[name]):
                    filled = batch.column(0).drop_null().slice(0, 1)
                    if len(filled):
                        return filled
        return filled

    def read(self, block: int, names: Collection[str]) -> Mapping[str, Cells]:
        owner = int(self.owners[block])
        with (
            self.shards[owner].opened() as raw,
            opened(raw, self.files[owner], self.footers[owner].metadata) as file,
        ):
            table = file.read_row_group(self.groups[block], columns=list(names))
            arrays = {name: table.column(name).combine_chunks() for name in names}
        return {name: self._fitted(*self._cells(array, name, block), name, block) for name, array in arrays.items()}

    def _cells(self, array: Any, name: str, block: int) -> tuple[Array, NDArray[np.bool_]]:  # Any: an arrow array
        """Read the cells of a part of a block, whose rows an error counts in the file. Raises: DataError."""
        try:
            return plain_cells(array, name, self.files[int(self.owners[block])])
        except DataError as error:
            raise self.error(error.message, int(self.starts[block]) + (error.row or 0)) from error

    def _fitted(self, values: Array, null: NDArray[np.bool_], name: str, block: int) -> Cells:
        """Give cells the type and shape of their column. Raises: DataError."""
        field = self.fields[name]
        if values.shape[1:] != field.shape:
            if not null.all():
                found, wanted = list(values.shape[1:]), list(field.shape)
                message = f"column '{name}': found lists of the shape {found}, wanted {wanted}, as in the rows above"
                raise self.error(message, int(self.starts[block]))
            values = np.zeros((len(values), *field.shape), dtype=field.dtype)
            null = np.ones(values.shape, dtype=bool)
        if field.dtype.kind == "U":
            values = values if values.dtype.kind == "U" else np.zeros(len(values), dtype="U1")
        elif values.dtype != field.dtype or not values.flags.owndata:
            values = values.astype(field.dtype)  # a copy, so that arrow's own is given back
        if field.dtype.kind == "f" and null.any():
            values[null] = np.nan
        return Cells(values, null if field.marked and null.any() else None)

    def digest(self) -> str:
        facts = [
            f"{shard.size} {shard.tag} {footer.digest}" for shard, footer in zip(self.shards, self.footers, strict=True)
        ]
        return hashlib.blake2b("\n".join(facts).encode(), digest_size=16).hexdigest()


def _footer(shard: Shard) -> Footer:
    """Read the footer of a file. Raises: DataError."""
    with shard.opened() as raw, opened(raw, shard.name) as file:
        metadata, schema = file.metadata, file.schema_arrow
        raw.seek(max(0, shard.size - 8))
        tail = raw.read(8)
        length = int.from_bytes(tail[:4], "little")
        raw.seek(max(0, shard.size - 8 - length))
        return Footer(metadata, schema, hashlib.blake2b(raw.read(length), digest_size=16).hexdigest())


def _kind(arrow_type: Any) -> str:  # Any: pyarrow's
    """Say what values of a type are, so that files written by different tools may stand beside each other."""
    import pyarrow

    types = pyarrow.types
    if types.is_dictionary(arrow_type):
        return _kind(arrow_type.value_type)
    if types.is_list(arrow_type) or types.is_large_list(arrow_type) or types.is_fixed_size_list(arrow_type):
        return f"list of {_kind(arrow_type.value_type)}"
    number = (types.is_integer, types.is_floating, types.is_decimal, types.is_null)
    if any(test(arrow_type) for test in number):
        return "number"
    text = (types.is_string, types.is_large_string, types.is_string_view)
    return "text" if any(test(arrow_type) for test in text) else str(arrow_type)
