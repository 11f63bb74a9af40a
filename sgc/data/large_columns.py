"""Columns larger than memory: their cells stay in the source, and are encoded when they are taken.

The values equal those of the column encoded as a whole, to the bit: transforms are fitted on the same chunks, and draws
belong to rows. Values are checked whenever they are taken, so that one pass over a column checks it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sgc.data.block_store import BlockStore, store_of
from sgc.data.columns import MISSING, Array, Origin, Rows, SourceColumn
from sgc.data.encoder import Encoder, fit_in_chunks, has_value, missing_values, read_cells, rows_at_a_time
from sgc.data.sparse_rows import of_sparse
from sgc.data.transforms.transforms import AnyTransform
from sgc.data.variables import Variable

LIMIT = 1 << 30  # bytes of one node's values in one part of the data, as float32: more are not kept in memory


def read_or_note(origin: Origin, variable: Variable, transforms: Sequence[AnyTransform] = ()) -> Array | LargeCells:
    """Read an origin's rows as `read_cells` does, or only note them if they or their values are too large for memory.

    One number a row is always read, since the row's id takes as much memory, and so is text, which is longer than its
    numbers; but not where columns stay in their files, except for text and for categories that may be hidden. Of a
    sparse matrix rows are always only noted, however few they are.

    Raises:
        DataError: as `read_cells`.
    """
    if is_large(origin.columns, variable, len(origin.rows)):
        return LargeCells(variable, origin, tuple(transforms))
    if in_blocks(origin.columns) is not None:
        chunks = [cells for cells, _ in LargeCells(variable, origin, tuple(transforms)).chunks()]
        return np.concatenate(chunks)
    return read_cells(origin, variable, transforms)


def in_blocks(columns: Sequence[SourceColumn]) -> BlockStore | None:
    """Give the store that columns of a node are read from; None where all of them are arrays."""
    return next((store for column in columns if (store := store_of(column)) is not None), None)


def is_large(columns: Sequence[SourceColumn], variable: Variable, rows: int) -> bool:
    """Tell whether so many rows of a node are too large for memory, as cells or as values, or sparse there."""
    numbers = max(math.prod(cell_shape(columns)), math.prod(variable.laid))
    single = numbers == 1 or (variable.categories is not None and not variable.laid)
    numeric = all(column.values.dtype.kind in "biuf" for column in columns)
    if in_blocks(columns) is not None:
        return numeric and not (single and variable.supervision == "partial")
    return numeric and not single and (of_sparse(columns) or _too_much(rows, numbers))


def absent(variable: Variable, count: int) -> Array | EncodedColumn:
    """Make the values of a node that is missing in all rows, `(N, *event)`; many rows share the memory of one."""
    if not _too_much(count, math.prod(variable.laid)):
        return missing_values(variable, count)
    row = missing_values(variable, 1)
    column = SourceColumn(variable.name, np.broadcast_to(row, (count, *variable.laid)))
    nothing = Encoder(variable, (variable.name,), (), (), variable.shape, 0)
    return EncodedColumn(
        nothing, LargeCells(variable, Origin(variable.name, (column,), np.arange(count), variable.steps))
    )


def _too_much(rows: int, numbers: int) -> bool:
    return 4 * rows * numbers > LIMIT


def cell_shape(columns: Sequence[SourceColumn]) -> tuple[int, ...]:
    """Give the shape of a row of a node's cells."""
    return columns[0].values.shape[1:] if len(columns) == 1 else (len(columns),)


@dataclass(frozen=True)
class LargeCells:
    """The cells of a node in the rows of `origin`, read from the source when they are taken.

    The rows that `hidden`, `(N,)`, marks are never read: their cells are missing.
    """

    variable: Variable
    origin: Origin
    transforms: tuple[AnyTransform, ...] = ()  # the node's: the first may decide how cells are read
    hidden: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.origin.rows)

    def take(self, index: Rows) -> tuple[Array, Origin]:
        """Read the rows at these places: `(n,) -> (n, *event)`, which the caller may write into, and their origin.

        Raises:
            DataError: as `read_cells`.
        """
        own = self._of(index)
        if self.hidden is None or not self.hidden[index].any():
            return read_cells(own, self.variable, self.transforms), own
        shown = ~self.hidden[index]
        read = read_cells(self._of(index[shown]), self.variable, self.transforms)
        empty = MISSING if read.dtype.kind == "i" else np.nan
        cells = np.full((len(index), *read.shape[1:]), empty, dtype=read.dtype)
        cells[shown] = read
        return cells, own

    def _of(self, index: Rows) -> Origin:
        return replace(self.origin, rows=self.origin.rows[index])

    def chunks(self) -> Iterator[tuple[Array, Origin]]:
        """Read all rows in order, a chunk at a time; no row at all is one chunk."""
        size = rows_at_a_time(cell_shape(self.origin.columns))
        for start in range(0, max(1, len(self)), size):
            yield self.take(np.arange(start, min(start + size, len(self)), dtype=np.int64))

    def present(self) -> Array:
        """Tell for each row, `(N,)`, whether any of its elements has a value."""
        return np.concatenate([has_value(cells) for cells, _ in self.chunks()])

    def fit(self, transforms: Sequence[AnyTransform], seed: int) -> Encoder:
        """Fit an encoder on them. Raises: DataError, as `fit_in_chunks`."""
        return fit_in_chunks(self.variable, transforms, self.chunks, self.origin, seed)


@dataclass(frozen=True)
class EncodedColumn:
    """The values of a node in some rows, float32 or int64 categories `(N, *event)`, encoded when they are taken.

    Of a node of a repeat, `(N, *steps, *event)`.
    """

    encoder: Encoder
    cells: LargeCells

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.encoder.variable.laid)

    @property
    def is_held(self) -> bool:
        """Whether the values, unlike the cells, are few enough for memory."""
        columns = self.cells.origin.columns
        stay = in_blocks(columns) is not None or of_sparse(columns)
        return not stay and not _too_much(len(self), math.prod(self.shape[1:]))

    def take(self, index: Rows) -> Array:
        """Encode the rows at these places: `(n,) -> (n, *event)`. Raises: DataError, as `Encoder.encode_cells`."""
        return self.encoder.encode_cells(*self.cells.take(index))

    def chunks(self) -> Iterator[Array]:
        """Encode all rows in order, a chunk at a time."""
        for cells, origin in self.cells.chunks():
            yield self.encoder.encode_cells(cells, origin)

    def checked(self) -> Array | EncodedColumn:
        """Go through all rows once; give the values if they fit into memory, or else the column itself.

        Raises:
            DataError: names the file and the first row whose value cannot be the node's.
        """
        if not self.is_held:
            for _ in self.chunks():
                pass
            return self
        values = missing_values(self.encoder.variable, len(self))
        encoded = 0
        for chunk in self.chunks():
            values[encoded : encoded + len(chunk)] = chunk
            encoded += len(chunk)
        return values
