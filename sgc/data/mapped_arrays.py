"""Arrays that stay in their files: large ones are mapped, read-only, and come into memory as they are used."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from sgc.data.columns import Array

MAPPED_FROM = 64 * 2**20  # bytes; below, a copy in memory is quicker


def is_large(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> bool:
    """Tell whether an array should stay in its file."""
    return math.prod(shape) * dtype.itemsize > MAPPED_FROM


def map_array(
    path: Path, dtype: np.dtype[np.generic], shape: tuple[int, ...], *, offset: int, fortran: bool = False
) -> Array:
    """Map an array that begins at a byte of a file. Raises: OSError; ValueError where the file is too short."""
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape, order="F" if fortran else "C")
