"""numpy's archives of named arrays. Python objects in them are never loaded, since loading one can run code."""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from sgc.data.columns import Array, SourceColumn
from sgc.data.finding import known_columns
from sgc.data.mapped import is_large, map_array
from sgc.errors import DataError

_CHUNK = 1 << 22


def read_npz(path: Path, columns: Collection[str], *, optional: Collection[str] = ()) -> dict[str, SourceColumn]:
    """Read these arrays, and those of `optional` that are there.

    A large array that is not compressed stays in the file and is read-only, see `mapped`.

    Raises:
        DataError: no npz archive, a damaged one, no such array, or an array of Python objects.
    """
    try:
        with open(path, "rb") as file:
            single = file.read(len(np.lib.format.MAGIC_PREFIX)) == np.lib.format.MAGIC_PREFIX
        if single:  # it is not loaded to be refused
            raise DataError("found a single array (.npy), wanted an npz archive of named arrays", file=str(path))
        archive = np.load(path, allow_pickle=False)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", file=str(path)) from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError("not an npz archive, or one that is cut short", file=str(path)) from error
    assert isinstance(archive, np.lib.npyio.NpzFile)
    with archive:
        known_columns(columns, archive.files, file=str(path))
        present = [*columns, *(name for name in optional if name in archive.files and name not in columns)]
        return {name: _read(archive, name, path) for name in present}


def _read(archive: np.lib.npyio.NpzFile, name: str, path: Path) -> SourceColumn:
    try:
        values = map_member(archive, name, path)
        if values is None:
            values = archive[name]
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise DataError(
                f"column '{name}': found Python objects, which are never loaded, since loading one can run code: "
                "save it as numbers or text",
                file=str(path),
            ) from error
        raise DataError(f"column '{name}': the array is damaged: {error}", file=str(path)) from error
    except (RuntimeError, NotImplementedError) as error:  # a password, or a compression that nobody knows
        raise DataError(f"column '{name}': the array cannot be unpacked: {error}", file=str(path)) from error
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(
            f"column '{name}': the array is cut short or damaged: fetch it again", file=str(path)
        ) from error
    if values.ndim == 0:
        raise DataError(f"column '{name}': found a single value, wanted an array with the rows first", file=str(path))
    return SourceColumn(name, values, str(path))


def map_member(archive: np.lib.npyio.NpzFile, name: str, path: Path) -> Array | None:
    """Map a large array where it stands in the archive; None where it is small, compressed or of a strange form.

    Raises: DataError, before anything is allocated, where the array is not as large as its header says.

    It is read once for its checksum, a piece at a time.
    """
    members = archive.zip.infolist() if archive.zip is not None else []
    member = next((each for each in members if each.filename == f"{name}.npy"), None)
    if member is None:
        return None
    assert archive.zip is not None
    with archive.zip.open(member) as file:
        version = np.lib.format.read_magic(file)
        headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in headers:
            return None
        shape, fortran, dtype = headers[version](file)
        head = file.tell()
        size = math.prod(shape) * dtype.itemsize
        if dtype.hasobject:
            return None  # numpy says what is wrong
        if head + size != member.file_size:
            claim = f"the header says {' x '.join(map(str, shape))} of {dtype}, {size:,} bytes"
            message = f"column '{name}': {claim}; found {member.file_size - head:,}: cut short or damaged"
            raise DataError(message, file=str(path))
        if member.compress_type != zipfile.ZIP_STORED or not dtype.isnative or not is_large(shape, dtype):
            return None  # numpy reads it
        while file.read(_CHUNK):
            pass
    with open(path, "rb") as raw:  # the header that stands before the data is not as long as the one in the list
        raw.seek(member.header_offset)
        names, extras = struct.unpack("<26xHH", raw.read(30))
    offset = member.header_offset + 30 + names + extras + head
    return map_array(path, dtype, shape, offset=offset, fortran=fortran)
