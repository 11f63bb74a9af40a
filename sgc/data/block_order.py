"""The order in which rows that stay in their files are trained on: blocks are permuted, and rows within windows.

A pass permutes the blocks and takes them in windows of a few; the rows of a window are permuted together. To take a
batch, only the blocks of its window are read. Any place of any pass follows from the seed alone, so that a run that
goes on reads what it still needs and nothing else.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple, TypeVar, final

import numpy as np

from sgc.data.block_store import BlockStore
from sgc.data.columns import Rows

K = TypeVar("K")
V = TypeVar("V")


class Pass(NamedTuple):
    """The blocks of a pass in its order, and where each window starts among the places, and the last ends."""

    blocks: Rows
    starts: Rows


@final
class BlockOrder:
    """Passes over `rows`, `(n,)`, places among the data's `ids` whose blocks are those of `store`; both ascending."""

    def __init__(self, rows: Rows, ids: Rows, store: BlockStore, seed: tuple[int, ...]) -> None:
        self.rows, self.store, self.seed = rows, store, seed
        self.window = store.window()
        self.bounds = np.searchsorted(ids[rows], store.blocks.starts)  # where each block begins among the rows
        self._passes: OrderedDict[int, Pass] = OrderedDict()
        self._windows: OrderedDict[tuple[int, int], Rows] = OrderedDict()

    def take(self, number: int, low: int, high: int) -> Rows:
        """Give what stands at the places from `low` up to `high` of a pass, and have read what comes next."""
        starts = self._pass(number).starts
        first, last = (np.searchsorted(starts, (low, high - 1), side="right") - 1).tolist()
        taken = []
        for window in range(first, last + 1):
            start = int(starts[window])
            taken.append(self._permuted(number, window)[max(low - start, 0) : high - start])
        if self.store.room.threads:
            self.store.ahead([*self._blocks(number, last), *self._next(number, last)])
        return np.concatenate(taken)

    def _next(self, number: int, window: int) -> list[int]:
        """List the blocks of the window after this one."""
        return self._blocks(number, window + 1) or self._blocks(number + 1, 0)

    def _blocks(self, number: int, window: int) -> list[int]:
        listed: list[int] = self._pass(number).blocks[window * self.window : (window + 1) * self.window].tolist()
        return listed

    def _pass(self, number: int) -> Pass:
        """Permute the blocks of a pass."""
        if number not in self._passes:
            sizes = np.diff(self.bounds)
            blocks = np.flatnonzero(sizes)
            blocks = np.random.default_rng([*self.seed, number]).permutation(blocks)
            counts = np.add.reduceat(sizes[blocks], np.arange(0, len(blocks), self.window))
            _put(self._passes, number, Pass(blocks, np.concatenate([[0], np.cumsum(counts)])))
        return self._passes[number]

    def _permuted(self, number: int, window: int) -> Rows:
        """Permute the rows of a window."""
        key = (number, window)
        if key not in self._windows:
            own = [self.rows[self.bounds[block] : self.bounds[block + 1]] for block in self._blocks(number, window)]
            draw = np.random.default_rng([*self.seed, number, window])
            _put(self._windows, key, draw.permutation(np.concatenate(own)))
        return self._windows[key]


def _put(memory: OrderedDict[K, V], key: K, value: V) -> None:
    """Remember a value, and forget all but the last two."""
    memory[key] = value
    while len(memory) > 2:
        memory.popitem(last=False)
