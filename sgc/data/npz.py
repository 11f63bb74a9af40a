"""numpy's archives of named arrays. Python objects in them are never loaded, since loading one can run code."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from sgc.data.columns import Array, SourceColumn
from sgc.data.file_search import known_columns
from sgc.data.mapped_arrays import is_large, map_array
from sgc.data.npy import DAMAGED, Header, PythonObjects, read_header, read_values
from sgc.errors import DataError

ENDING = ".npy"  # of the name of an array in an archive

_CHUNK = 1 << 22


def read_npz(path: Path, columns: Collection[str], *, optional: Collection[str] = ()) -> dict[str, SourceColumn]:
    """Read these arrays, and those of `optional` that are there.

    A large array that is not compressed stays in the file and is read-only, see `mapped`.

    Raises:
        DataError: no npz archive, a damaged one, no such array, or an array of Python objects.
    """
    with opened(path) as archive:
        members = members_of(archive)
        known_columns(columns, members, file=str(path))
        present = [*columns, *(name for name in optional if name in members and name not in columns)]
        return {name: _column(archive, members[name], name, path) for name in present}


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive of arrays. Raises: DataError where it is none."""
    try:
        with open(path, "rb") as file:
            if file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX:  # it is not loaded for that
                raise DataError("found a single array (.npy), wanted an npz archive of named arrays", file=str(path))
        archive = zipfile.ZipFile(path)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", file=str(path)) from error
    except (ValueError, EOFError, RuntimeError, OverflowError, struct.error, zipfile.BadZipFile) as error:
        raise DataError("not an npz archive, or one that is cut short", file=str(path)) from error
    with archive:
        yield archive


def members_of(archive: zipfile.ZipFile) -> Mapping[str, zipfile.ZipInfo]:
    """Name the arrays of an archive, without the ending that numpy gives each; of two of a name, the one with it."""
    found = sorted(archive.infolist(), key=lambda each: each.filename.endswith(ENDING))
    return {each.filename.removesuffix(ENDING): each for each in found}


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
            held = 0
            while chunk := file.read(_CHUNK):  # once, a piece at a time, for its length and its checksum
                held += len(chunk)
            header.check(held)
        return _map(member, header, path)
    except (RuntimeError, NotImplementedError) as error:  # a password, or a compression that nobody knows
        raise ValueError(f"the array cannot be unpacked: {error}") from error
    except DAMAGED as error:
        raise ValueError("the array is cut short or damaged: fetch it again") from error


def _map(member: zipfile.ZipInfo, header: Header, path: Path) -> Array:
    with open(path, "rb") as raw:  # the head that stands before the data is not as long as the one in the list
        raw.seek(member.header_offset)
        names, extras = struct.unpack("<26xHH", raw.read(30))
    offset = member.header_offset + 30 + names + extras + header.length
    return map_array(path, header.dtype, header.shape, offset=offset, fortran=header.fortran)
