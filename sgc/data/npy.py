"""numpy's arrays in files, which are not believed: what a header claims is held to the bytes that are there."""

from __future__ import annotations

import lzma
import math
import zipfile
import zlib
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from sgc.data.columns import Array

DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)  # what an archive's members raise
_CHUNK = 1 << 22


class PythonObjects(ValueError):
    """An array of Python objects, which are never loaded, since loading one can run code."""


@dataclass(frozen=True)
class Header:
    """What the head of an array says, and how many bytes it takes itself."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]  # Any: of whatever type a file can hold
    length: int

    @property
    def size(self) -> int:
        """How many bytes the values take."""
        return math.prod(self.shape) * self.dtype.itemsize

    def check(self, found: int) -> None:
        """Hold the claim to the bytes of values that are there. Raises: ValueError."""
        if found != self.size:
            shape = " x ".join(map(str, self.shape)) or "a single value"
            claim = f"the header says {shape} of {self.dtype}, {self.size:,} bytes"
            raise ValueError(f"{claim}; found {found:,}: cut short or damaged")


def read_header(file: IO[bytes]) -> Header:
    """Read the head of an array, from a file that stands at its beginning.

    Raises: ValueError, in words; PythonObjects; whatever of `DAMAGED` the file does.
    """
    try:
        version = np.lib.format.read_magic(file)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version in readers:
            shape, fortran, dtype = readers[version](file)
            header = Header(shape, fortran, dtype, file.tell())
    except DAMAGED:
        raise
    except Exception as problem:  # numpy parses a head as Python's own words, and raises many kinds
        raise ValueError(f"its header cannot be read: {' '.join(str(problem).split())[:200]}") from None
    if version not in readers:
        number = ".".join(map(str, version))
        raise ValueError(f"found an array of numpy's format {number}, wanted 1.0 or 2.0, which numbers and text have")
    if dtype.hasobject:
        raise PythonObjects("found Python objects, which are never loaded, since loading one can run code")
    if min(shape, default=0) < 0 or (shape[:1] > (0,) and not header.size):
        raise ValueError(f"the header says {' x '.join(map(str, shape))} of {dtype}, which holds no values")
    return header


def read_values(file: IO[bytes], header: Header) -> Array:
    """Read the values behind a head, to the end of the file; memory grows by what is there, not by what is claimed.

    Raises: ValueError where these are other bytes than the header says; whatever the file raises.
    """
    held = bytearray()
    while len(held) < header.size and (chunk := file.read(min(_CHUNK, header.size - len(held)))):
        held += chunk
    header.check(len(held) + len(file.read(1)))  # at its end an archive holds a member to its checksum
    if not held:
        return np.zeros(header.shape, header.dtype)
    values: Array = np.frombuffer(held, header.dtype)
    return values.reshape(header.shape, order="F" if header.fortran else "C")
