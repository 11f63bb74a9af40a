"""Random draws that belong to a row, in whatever order rows come."""

from __future__ import annotations

import math
import zlib
from itertools import pairwise

import numpy as np

from sgc.data.columns import Array, Rows

_BLOCK = 1024  # rows drawn for at a time


def stream(seed: int, *purpose: str) -> np.random.Generator:
    """Start a generator for one purpose, independent of those with other purposes and equal seed."""
    return np.random.Generator(np.random.PCG64([seed, *(zlib.crc32(word.encode()) for word in purpose)]))


def uniforms_by_row(rows: Rows, shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """Draw float32 numbers in [0, 1), `(N, *shape)`, each of which depends on its row's id alone.

    A row's draws follow those of all smaller ids in the stream. The generator leaps there, once for each run of
    consecutive ids, so that only the rows that are wanted cost time. `generator` is new, as `stream` gives it.
    """
    source, size = generator.bit_generator, math.prod(shape)
    assert isinstance(source, np.random.PCG64)
    drawn = np.empty((len(rows), size), dtype=np.float32)
    starts = np.flatnonzero((np.diff(rows, prepend=-2) != 1) | (np.arange(len(rows)) % _BLOCK == 0))
    at = 0  # the generator's place, in words of 64 bits, of which each makes two draws
    for start, stop in pairwise([*starts.tolist(), len(rows)]):
        word, odd = divmod(int(rows[start]) * size, 2)
        source.advance(word - at)
        count = (stop - start) * size
        drawn[start:stop] = generator.random(odd + count, dtype=np.float32)[odd:].reshape(stop - start, size)
        at = word + (odd + count + 1) // 2
    return drawn.reshape(len(rows), *shape)


def priorities(rows: Rows, generator: np.random.Generator) -> Rows:
    """Give each row id its place in a random order of all ids, `(N,)`: the first few are a fair choice of rows."""
    return generator.permutation(int(rows.max(initial=-1)) + 1)[rows].astype(np.int64)
