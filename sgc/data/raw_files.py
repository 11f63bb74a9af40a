"""Files as they are opened and read: gzipped or not, of any size, and never believed about their own size."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

import numpy as np

from sgc.data.columns import Array
from sgc.errors import DataError

CHUNK = 1 << 22  # bytes that are read at a time
MAPPED_FROM = 64 * 2**20  # bytes of an array; below, a copy in memory is quicker
LONGEST = 1 << 26  # letters of a line: a million numbers take a quarter of it


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Name the file in what goes wrong as it is read, plain or gzipped. Raises: DataError."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError("the gzip file is cut short or damaged: fetch it again", file=str(path)) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", file=str(path)) from error


def open_binary(path: Path) -> BinaryIO:
    """Open a file, gzipped or not: its first bytes decide, not its name."""
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(path, "rb")) if zipped else open(path, "rb")


def read_up_to(file: IO[bytes], count: int) -> bytearray:
    """Read so many bytes, or as many as there are. A header may claim any size: memory grows only as bytes arrive."""
    content = bytearray()
    while len(content) < count and (chunk := file.read(min(CHUNK, count - len(content)))):
        content += chunk
    return content


def text_lines(text: io.TextIOWrapper, path: Path) -> Iterator[str]:
    """Give the lines of a file; a few kilobytes of gzip may hold one that fills the memory. Raises: DataError."""
    while line := text.readline(LONGEST):
        if len(line) == LONGEST:
            raise DataError(f"a line of {LONGEST:,} letters or more, which is not read: not a csv file", file=str(path))
        yield line


def is_large(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> bool:
    """Tell whether an array should stay in its file, mapped, and come into memory as it is used."""
    return math.prod(shape) * dtype.itemsize > MAPPED_FROM


def map_array(
    path: Path, dtype: np.dtype[np.generic], shape: tuple[int, ...], *, offset: int, fortran: bool = False
) -> Array:
    """Map an array that begins at a byte of a file, read-only. Raises: OSError; ValueError for too short a file."""
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape, order="F" if fortran else "C")
