"""Random draws that belong to a row, whatever the order in which rows are met."""

from __future__ import annotations

import zlib

import numpy as np

from sgc.data.columns import Array, Rows

_BLOCK = 1024


def stream(seed: int, *purpose: str) -> np.random.Generator:
    """Start a generator for one purpose, independent of those with other purposes and equal seed."""
    return np.random.default_rng([seed, *(zlib.crc32(word.encode()) for word in purpose)])


def uniforms_by_row(rows: Rows, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """Draw float32 numbers in [0, 1), `(N, *shape)`, of which each depends on its row's id alone.

    Every id up to the largest is drawn for, in blocks, so that the stream stands at the same place for the same row.
    """
    drawn = np.empty((len(rows), *shape), dtype=np.float32)
    for start in range(0, int(rows.max(initial=-1)) + 1, _BLOCK):
        block = generator.random((_BLOCK, *shape), dtype=np.float32)
        here = (rows >= start) & (rows < start + _BLOCK)
        drawn[here] = block[rows[here] - start]
    return drawn


def priorities(rows: Rows, generator: np.random.Generator) -> Rows:
    """Give each row id a place in a random order of all ids, `(N,)`: the first few are a fair choice of rows."""
    return generator.permutation(int(rows.max(initial=-1)) + 1)[rows].astype(np.int64)
