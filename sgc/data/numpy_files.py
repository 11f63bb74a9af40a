"""numpy's arrays and archives of them. A header is not believed: it is compared with the bytes that are there.

Python objects in them are never loaded, since loading one can run code.
"""

from __future__ import annotations

import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from sgc.data.columns import Array, SourceColumn, SourceColumns
from sgc.data.file_search import choose_columns
from sgc.data.raw_files import CHUNK, is_large, map_array, read_up_to, reading
from sgc.errors import DataError

DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)  # what an archive's members raise


class PythonObjects(ValueError):
    """An array of Python objects, which are never loaded, since loading one can run code."""


@dataclass(frozen=True)
class Header:
    """What the header of an array says, and its own length in bytes."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]  # Any: of whatever type a file can hold
    length: int

    @property
    def size(self) -> int:
        """How many bytes the values take."""
        return math.prod(self.shape) * self.dtype.itemsize

    def check(self, size: int) -> None:
        """Compare the claim with the number of bytes that the values take. Raises: ValueError."""
        if size != self.size:
            shape = " x ".join(map(str, self.shape)) or "a single value"
            claim = f"the header says {shape} of {self.dtype}, {self.size:,} bytes"
            raise ValueError(f"{claim}; found {size:,}: cut short or damaged")


def read_header(file: IO[bytes]) -> Header:
    """Read the header of an array, from a file at its beginning.

    Raises: ValueError, in words; PythonObjects; whatever of `DAMAGED` reading the file raises.
    """
    try:
        version = np.lib.format.read_magic(file)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version in readers:
            shape, fortran, dtype = readers[version](file)
            header = Header(shape, fortran, dtype, file.tell())
    except DAMAGED:
        raise
    except Exception as problem:  # numpy parses a header as Python's own words, and raises many kinds
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
    """Read the values behind a header, to the end of the file.

    Raises: ValueError where these are more or fewer bytes than the header says; whatever reading the file raises.
    """
    content = read_up_to(file, header.size)
    header.check(len(content) + len(file.read(1)))  # at its end an archive compares a member with its checksum
    if not content:
        return np.zeros(header.shape, header.dtype)
    values: Array = np.frombuffer(content, header.dtype)
    return values.reshape(header.shape, order="F" if header.fortran else "C")


ENDING = ".npy"  # of the name of an array in an archive


def read_npz(path: Path, columns: Collection[str], *, optional: Collection[str] = ()) -> SourceColumns:
    """Read these arrays, and those of `optional` that are there.

    A large array that is not compressed stays in the file and is read-only, see `map_array`.

    Raises:
        DataError: no npz archive, a damaged one, no such array, or an array of Python objects.
    """
    with opened(path) as archive:
        members = members_of(archive)
        present = choose_columns(columns, optional, list(members), file=str(path))
        return {name: _column(archive, members[name], name, path) for name in present}


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive of arrays. Raises: DataError where it is none."""
    with reading(path):
        with open(path, "rb") as file:
            if file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:  # it is not loaded for that
                raise DataError("found a single array (.npy), wanted an npz archive of named arrays", file=str(path))
        try:
            archive = zipfile.ZipFile(path)
        except (ValueError, EOFError, RuntimeError, OverflowError, struct.error, zipfile.BadZipFile) as error:
            raise DataError("not an npz archive, or one that is cut short", file=str(path)) from error
    with archive:
        yield archive


def members_of(archive: zipfile.ZipFile) -> Mapping[str, zipfile.ZipInfo]:
    """Name the arrays of an archive, without the ending that numpy gives each; of two of a name, the one with it."""
    members = sorted(archive.infolist(), key=lambda member: member.filename.endswith(ENDING))
    return {member.filename.removesuffix(ENDING): member for member in members}


def _column(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, path: Path) -> SourceColumn:
    try:
        values = read_member(archive, member, path)
    except PythonObjects as error:
        raise DataError(f"column '{name}': {error}: save it as numbers or text", file=str(path)) from error
    except ValueError as error:
        raise DataError(f"column '{name}': {error}", file=str(path)) from error
    if values.ndim == 0:
        raise DataError(f"column '{name}': found a single value, wanted an array with the rows first", file=str(path))
    return SourceColumn(name, values, str(path))


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> Array:
    """Read an array of an archive, or map it where it is large, whole and of this machine's form.

    Raises: ValueError, in words, for what is no array or not as large as it says, in its header or in the archive's
    list; PythonObjects.
    """
    try:
        with archive.open(member) as file:
            header = read_header(file)
            header.check(member.file_size - header.length)
            plain = member.compress_type == zipfile.ZIP_STORED and header.dtype.isnative
            if not plain or not is_large(header.shape, header.dtype):
                return read_values(file, header)
            length = 0
            while chunk := file.read(CHUNK):  # once, a piece at a time, for its length and its checksum
                length += len(chunk)
            header.check(length)
        return _map(member, header, path)
    except (RuntimeError, NotImplementedError) as error:  # a password, or an unknown compression
        raise ValueError(f"the array cannot be unpacked: {error}") from error
    except DAMAGED as error:
        raise ValueError("the array is cut short or damaged: fetch it again") from error


def _map(member: zipfile.ZipInfo, header: Header, path: Path) -> Array:
    with open(path, "rb") as raw:  # the header before the data is not as long as the one in the list
        raw.seek(member.header_offset)
        names, extras = struct.unpack("<26xHH", raw.read(30))
    offset = member.header_offset + 30 + names + extras + header.length
    return map_array(path, header.dtype, header.shape, offset=offset, fortran=header.fortran)
