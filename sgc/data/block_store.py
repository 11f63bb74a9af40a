"""Blocks as they are read: those used last, within their room, and rows that are kept; and arrays that read from them.

Whatever is read when, the cells of a row are the same.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import Any, cast, final

import numpy as np

from sgc.data.blocks import Blocks, Cells, Mask, Room, mebibytes
from sgc.data.columns import Array, Rows, SourceColumn
from sgc.data.empty_cells import Mark
from sgc.errors import DataError


@final
class BlockStore:
    """The blocks that were read last, within their room, and the rows that are kept; for some of a source's columns.

    `together` are the columns that are read with any one of them; each other column is read by itself. `reads` counts
    the readings of each block by group, and `most` is the most bytes that blocks took.
    """

    def __init__(self, blocks: Blocks, together: Collection[str], room: Room) -> None:
        self.blocks, self.together, self.room = blocks, tuple(together), room
        self.reads: Counter[tuple[int, str]] = Counter()
        self.bytes, self.most = 0, 0
        self._read: OrderedDict[tuple[int, str], Mapping[str, Cells]] = OrderedDict()
        self._sizes: dict[tuple[int, str], int] = {}
        self._coming: dict[tuple[int, str], Future[Mapping[str, Cells]]] = {}
        self._lock = threading.RLock()
        self._pool: ThreadPoolExecutor | None = None
        self._kept_rows: Rows = np.zeros(0, dtype=np.int64)
        self._kept: dict[str, Cells] = {}
        self._filled: Mask = np.zeros(0, dtype=bool)

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("a store of blocks belongs to its process")

    @property
    def count(self) -> int:
        return int(self.blocks.starts[-1])

    @property
    def row_bytes(self) -> int:
        """Bytes of a row in the columns that are read together."""
        return sum(self.blocks.fields[name].size for name in self.together)

    def block_of(self, rows: Rows) -> Rows:
        """Number the block of each row."""
        return np.searchsorted(self.blocks.starts, rows, side="right") - 1

    @property
    def largest(self) -> int:
        """Rows of the largest block."""
        return int(np.diff(self.blocks.starts).max(initial=1))

    def window(self) -> int:
        """Say how many blocks are shuffled together: two windows, or what `Room.window` says, fit into the room.

        Raises:
            DataError: they do not, or not even one block does.
        """
        size = self.largest * max(1, self.row_bytes)
        most = self.room.blocks // size
        if most < 1:
            need = f"a block of {self.largest:,} rows takes {mebibytes(size)} MiB"
            advice = f"write smaller blocks, or give data.memory at least {mebibytes(2 * size)}"
            message = f"{need}, and half of data.memory, for blocks, is {mebibytes(self.room.blocks)} MiB: {advice}"
            raise DataError(message, file=self.blocks.files[0])
        if self.room.window is not None and self.room.window > most:
            found = f"data.window is {self.room.window} blocks of up to {mebibytes(size)} MiB"
            advice = f"give data.memory at least {mebibytes(2 * size * self.room.window)}, or a smaller window"
            message = f"{found}, and half of data.memory holds {most}: {advice}"
            raise DataError(message, file=self.blocks.files[0])
        return max(1, most // 2) if self.room.window is None else self.room.window

    def note(self) -> str:
        """Say in words how rows are read and shuffled. Raises: DataError, as `window`."""
        count = len(self.blocks.starts) - 1
        window = min(self.window(), count)
        together = "all are" if window == count else f"{window} of them are"
        return (
            f"rows stay in their files: {count:,} blocks of up to {self.largest:,} rows; {together} shuffled together"
        )

    # what is read

    def take(self, name: str, rows: Rows, *, null: bool) -> Array:
        """Give the cells of a column in these rows, or which of them are empty: `(n, *event)`. Raises: DataError."""
        field = self.blocks.fields[name]
        dtype = np.dtype(bool) if null else field.dtype
        taken = np.zeros((len(rows), *field.shape), dtype=dtype)
        left = np.ones(len(rows), dtype=bool)
        if len(self._kept_rows) and name in self._kept:
            places = np.searchsorted(self._kept_rows, rows)
            places[places == len(self._kept_rows)] = 0
            kept = (self._kept_rows[places] == rows) & self._filled[places]
            cells = self._kept[name].null if null else self._kept[name].values
            if cells is not None:
                taken[kept] = cells[places[kept]]
            left = ~kept
        for number, own in self._by_block(rows, np.flatnonzero(left)):
            cells = self._block(number, name)[name][null]
            if cells is None:
                continue
            if cells.dtype.kind == "U" and cells.dtype.itemsize > taken.dtype.itemsize:
                taken = taken.astype(cells.dtype)  # text of a block is as wide as its longest
            taken[own] = cells[rows[own] - self.blocks.starts[number]]
        return taken

    def _by_block(self, rows: Rows, places: Rows) -> Iterator[tuple[int, Rows]]:
        """Share these places of rows out by the block that each row is in."""
        numbers = self.block_of(rows[places])
        order = np.argsort(numbers, kind="stable")
        ends = np.flatnonzero(np.diff(numbers[order], append=-1))
        for start, stop in pairwise([-1, *ends.tolist()]):
            own = places[order[start + 1 : stop + 1]]
            yield int(numbers[order[stop]]), own

    def _group(self, name: str) -> str:
        return "" if name in self.together else name

    def _names(self, group: str) -> tuple[str, ...]:
        return (group,) if group else self.together

    def _block(self, number: int, name: str) -> Mapping[str, Cells]:
        key = (number, self._group(name))
        with self._lock:
            if key in self._read:
                self._read.move_to_end(key)
                return self._read[key]
            coming = self._coming.get(key)
        return self._load(key) if coming is None else coming.result()

    def _load(self, key: tuple[int, str]) -> Mapping[str, Cells]:
        number, group = key
        with self._lock:
            self.reads[key] += 1
        try:
            cells = self.blocks.read(number, self._names(group))
            if not group:
                self._keep_of(number, cells)
            return self._remember(key, cells)
        finally:
            with self._lock:
                self._coming.pop(key, None)

    def _remember(self, key: tuple[int, str], cells: Mapping[str, Cells]) -> Mapping[str, Cells]:
        size = sum(part.nbytes for column in cells.values() for part in column if part is not None)
        with self._lock:
            if key not in self._read:
                while self._read and self.bytes + size > self.room.blocks:
                    oldest, _ = self._read.popitem(last=False)
                    self.bytes -= self._sizes.pop(oldest)
                self._read[key] = cells
                self._sizes[key] = size
                self.bytes += size
                self.most = max(self.most, self.bytes)
            return cells

    def ahead(self, numbers: Sequence[int]) -> None:
        """Begin to read these blocks, in their order, in threads of their own, if there are to be any."""
        if not self.room.threads:
            return
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.room.threads, thread_name_prefix="sgc-blocks")
            for number in numbers:
                key = (number, "")
                if key in self._read or key in self._coming or len(self._coming) >= 2 * self.room.threads:
                    continue
                self._coming[key] = self._pool.submit(self._load, key)

    # what is kept

    def can_keep(self, count: int) -> bool:
        """Tell whether so many rows may be kept."""
        return count * self.row_bytes <= self.room.kept

    def keep(self, rows: Rows) -> None:
        """Keep these rows, ascending, of the columns that are read together, as soon as their blocks are read."""
        fields = {
            name: self.blocks.fields[name] for name in self.together if self.blocks.fields[name].dtype.kind != "U"
        }
        self._kept_rows = rows
        self._filled = np.zeros(len(rows), dtype=bool)
        self._kept = {
            name: Cells(
                np.zeros((len(rows), *field.shape), dtype=field.dtype),
                np.zeros((len(rows), *field.shape), dtype=bool) if field.marked else None,
            )
            for name, field in fields.items()
        }

    def _keep_of(self, number: int, cells: Mapping[str, Cells]) -> None:
        """Take what is to be kept out of a block that was read."""
        start, stop = (int(row) for row in self.blocks.starts[number : number + 2])
        rows, kept, filled = self._kept_rows, self._kept, self._filled
        low, high = np.searchsorted(rows, (start, stop)).tolist()
        if low == high:
            return
        places = rows[low:high] - start
        for name, own in kept.items():
            own.values[low:high] = cells[name].values[places]
            null = cells[name].null
            if own.null is not None and null is not None:
                own.null[low:high] = null[places]
        filled[low:high] = True  # at last, for those who read meanwhile

    def fill(self, rows: Rows) -> bool:
        """Tell whether all these rows are to be kept, and have those read that are not there yet. Raises: DataError."""
        if len(rows) > len(self._kept_rows) or not np.isin(rows, self._kept_rows, assume_unique=True).all():
            return False
        lacking = rows[~self._filled[np.searchsorted(self._kept_rows, rows)]]
        numbers = np.unique(self.block_of(lacking)).tolist() if self.together else []
        for place, number in enumerate(numbers):
            self.ahead(numbers[place : place + 1 + self.room.threads])
            self._block(number, self.together[0])
        return True

    def every(self) -> Iterator[Rows]:
        """Go through the rows of all blocks, each read once, in their order."""
        last = len(self.blocks.starts) - 1
        for number in range(last):
            self.ahead(range(number, min(number + 1 + self.room.threads, last)))
            yield np.arange(self.blocks.starts[number], self.blocks.starts[number + 1], dtype=np.int64)


@final
class BlockArray:
    """The cells of a column, or the marks of its empty ones, as an array that is read when it is indexed."""

    def __init__(self, store: BlockStore, name: str, *, null: bool = False) -> None:
        self.store, self.name, self.null = store, name, null
        field = store.blocks.fields[name]
        self.dtype: np.dtype[Any] = np.dtype(bool) if null else field.dtype  # Any: as above
        self.shape = (store.count, *field.shape)
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Rows) -> Array:
        return self.store.take(self.name, rows, null=self.null)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:  # Any: as numpy calls it
        whole = self[np.arange(len(self), dtype=np.int64)]
        return whole if dtype is None else whole.astype(dtype)


def store_of(column: SourceColumn) -> BlockStore | None:
    """Give the store of a column that stays in its files; None for one in memory."""
    values: object = column.values
    return values.store if isinstance(values, BlockArray) else None


def block_columns(
    blocks: Blocks, names: Collection[str], room: Room, *, marks: tuple[Mark, ...] | None
) -> dict[str, SourceColumn]:
    """Open columns of blocks: those that fit are read whole, in one pass, the others stay in their files.

    All are held if they fit into half of the room, else the narrowest, as far as a quarter of it goes.

    Raises:
        DataError: as `Blocks.read`; or a window that does not fit.
    """
    count = int(blocks.starts[-1])
    narrow = sorted(names, key=lambda name: blocks.fields[name].size)
    total = sum(blocks.fields[name].size for name in narrow) * count
    held: list[str] = narrow if 2 * total <= room.memory else []
    if not held:
        taken = 0
        for name in narrow:
            taken += blocks.fields[name].size * count
            if taken > room.held:
                break
            held.append(name)
    together = [name for name in names if name not in held and blocks.fields[name].dtype.kind != "U"]
    store = BlockStore(blocks, together, room)
    whole = _held(blocks, held)
    columns: dict[str, SourceColumn] = {}
    for name in names:
        if name in whole:
            values, null = whole[name]
        else:
            values = cast(Array, BlockArray(store, name))
            null = cast(Mask, BlockArray(store, name, null=True)) if blocks.fields[name].marked else None
        columns[name] = SourceColumn(
            name, values, blocks.files[0], null, marks=marks, places=blocks if len(blocks.files) > 1 else None
        )
    return columns


def _held(blocks: Blocks, names: Sequence[str]) -> dict[str, Cells]:
    """Read columns whole, a block at a time."""
    if not names:
        return {}
    count = int(blocks.starts[-1])
    whole: dict[str, Array] = {}
    null: dict[str, Mask] = {}
    texts: dict[str, list[Array]] = {name: [] for name in names if blocks.fields[name].dtype.kind == "U"}
    for name in names:
        field = blocks.fields[name]
        if name not in texts:
            whole[name] = np.zeros((count, *field.shape), dtype=field.dtype)
        if field.marked:
            null[name] = np.zeros((count, *field.shape), dtype=bool)
    for number in range(len(blocks.starts) - 1):
        rows = slice(int(blocks.starts[number]), int(blocks.starts[number + 1]))
        for name, cells in blocks.read(number, names).items():
            if name in texts:
                texts[name].append(cells.values)
            else:
                whole[name][rows] = cells.values
            if cells.null is not None:
                null[name][rows] = cells.null
    whole |= {name: np.concatenate(parts) for name, parts in texts.items()}
    return {name: Cells(whole[name], null[name] if name in null and null[name].any() else None) for name in names}
