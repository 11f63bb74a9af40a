"""The IDX format of MNIST: a magic number with type and axes, the sizes, then the array; plain or gzipped."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from sgc.data.columns import Array
from sgc.data.mapped_arrays import is_large, map_array
from sgc.errors import DataError

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MOST_AXES = 32  # that numpy had before its second version
_CHUNK = 1 << 22  # a header may claim any size: memory grows only as bytes arrive


def open_binary(path: Path) -> BinaryIO:
    """Open a file, gzipped or not, which its first bytes tell and not its name."""
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return cast(BinaryIO, gzip.open(path, "rb")) if zipped else open(path, "rb")


def read_idx(path: Path) -> Array:
    """Read an IDX file: the array of its header's type and sizes, in the machine's byte order.

    A large array of bytes in a plain file stays there and is read-only, see `mapped`.

    Raises:
        DataError: another magic number or type, or fewer or more bytes than the header says.
    """
    try:
        with open_binary(path) as file:
            return _read(file, path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError("the gzip file is cut short or damaged: fetch it again", file=str(path)) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", file=str(path)) from error


def _read(file: BinaryIO, path: Path) -> Array:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in TYPES or not magic[3]:
        raise DataError(
            f"not an IDX file: found the magic number {magic.hex() or 'of an empty file'}, "
            "wanted 0000, a type from 08 to 0e and the number of axes",
            file=str(path),
        )
    if magic[3] > MOST_AXES:
        raise DataError(f"found {magic[3]} axes in its header, wanted at most {MOST_AXES}", file=str(path))
    header = file.read(4 * magic[3])
    if len(header) < 4 * magic[3]:
        raise DataError(
            f"cut short in its header: found {len(header)} bytes of sizes, wanted {4 * magic[3]}", str(path)
        )
    shape = tuple(int(size) for size in np.frombuffer(header, dtype=">u4"))
    dtype = np.dtype(TYPES[magic[2]])
    wanted = math.prod(shape) * dtype.itemsize
    if not wanted and math.prod(max(size, 1) for size in shape) * dtype.itemsize >= 2**63:  # 0 hides the others
        raise DataError(f"no array can be as large as its header says, {' × '.join(map(str, shape))}", file=str(path))
    start = file.tell()
    stays = dtype.itemsize == 1 and is_large(shape, dtype) and not isinstance(file, gzip.GzipFile)
    if stays and path.stat().st_size == start + wanted:  # of any other size: its fault is told below
        return map_array(path, dtype, shape, offset=start)
    content = bytearray()
    while len(content) <= wanted:
        chunk = file.read(min(_CHUNK, wanted + 1 - len(content)))
        if not chunk:
            break
        content += chunk
    if len(content) != wanted:
        found = f"only {len(content)}" if len(content) < wanted else "more"
        raise DataError(
            f"wrong length: the header says {' × '.join(map(str, shape))}, {wanted} bytes of data; found {found}",
            file=str(path),
        )
    return np.frombuffer(content, dtype=dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
