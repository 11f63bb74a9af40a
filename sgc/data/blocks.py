"""Rows that stay in their files, in blocks, the rows that are read at once: row groups, runs of samples or pictures."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sgc.data.columns import Array, Rows
from sgc.errors import DataError

Mask = NDArray[np.bool_]
TEXT = 64  # bytes that a cell of text is taken for before it is read


class Cells(NamedTuple):
    """Cells of a column in some rows, `(n, *event)`, and which of them are empty; None: none is, or NaN shows it."""

    values: Array
    null: Mask | None


@dataclass(frozen=True)
class Field:
    """What a column is like in every block: its type, the shape of a row, and whether empty cells must be marked."""

    dtype: np.dtype[Any]  # Any: whatever a file holds
    shape: tuple[int, ...] = ()
    marked: bool = False

    @property
    def size(self) -> int:
        """The bytes of a row."""
        return math.prod(self.shape) * (TEXT if self.dtype.kind == "U" else max(1, self.dtype.itemsize))


class Blocks(ABC):
    """The rows of a source in blocks, in an order that is always the same; it keeps nothing of what it reads.

    `starts`, `(K + 1,)`, are the ids of the blocks' first rows, and how many rows there are; no block is empty.
    `files` are the files, `owners`, `(K,)`, the place in them of each block's own.
    """

    starts: Rows
    files: Sequence[str]
    owners: Rows
    fields: Mapping[str, Field]

    @abstractmethod
    def read(self, block: int, names: Collection[str]) -> Mapping[str, Cells]:
        """Read these columns of a block. Raises: DataError; it must be safe in several threads at once."""

    @abstractmethod
    def digest(self) -> str:
        """Hash what tells whether the files are still the same, without reading all of them: names, sizes, footers."""

    def place_of(self, row: int) -> tuple[str, int]:
        """Name the file that a row is in, and count it there from 0."""
        block = int(np.searchsorted(self.starts, row, side="right")) - 1
        first = int(np.searchsorted(self.owners, self.owners[block], side="left"))
        return self.files[int(self.owners[block])], row - int(self.starts[first])

    def error(self, message: str, row: int) -> DataError:
        """Build the error about a row."""
        file, own = self.place_of(row)
        return DataError(message + (f" (row {own} of the file)" if len(self.files) > 1 else ""), file, row)


def mebibytes(size: int) -> int:
    """Give bytes in MiB, rounded up."""
    return -(-size // (1 << 20))


@dataclass(frozen=True)
class Room:
    """How much of the data may be in memory, in bytes, and how rows are read and shuffled.

    `window`: how many blocks are shuffled together; None: as many as half of the room for blocks takes. `threads`: how
    many read ahead; 0: blocks are read when their first row is taken.
    """

    memory: int = 2 << 30
    window: int | None = None
    threads: int = 0

    @property
    def blocks(self) -> int:
        """Bytes of blocks: half of it."""
        return self.memory // 2

    @property
    def block(self) -> int:
        """Bytes of a block whose size is free: small, so that many blocks are shuffled together."""
        return min(16 << 20, self.blocks // 16)

    def step(self, fields: Iterable[Field]) -> int:
        """Count the rows of a block whose size is free."""
        return max(1, min(4096, self.block // max(1, sum(field.size for field in fields))))

    @property
    def held(self) -> int:
        """Bytes of columns that are read whole: a quarter of it."""
        return self.memory // 4

    @property
    def kept(self) -> int:
        """Bytes of rows that are kept for themselves: a quarter of it."""
        return self.memory // 4


ROOM = Room()
