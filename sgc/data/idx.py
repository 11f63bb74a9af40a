"""The IDX format of MNIST: a magic number with type and axes, the sizes, then the array; plain or gzipped."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sgc.data.columns import Array
from sgc.data.raw_files import is_large, map_array, open_binary, read_up_to, reading
from sgc.errors import DataError

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MOST_AXES = 32  # that numpy had before its second version


def read_idx(path: Path) -> Array:
    """Read an IDX file: the array of its header's type and sizes, in the machine's byte order.

    A large array of bytes in a plain file stays there and is read-only, see `map_array`.

    Raises:
        DataError: another magic number or type, or fewer or more bytes than the header says.
    """
    with reading(path), open_binary(path) as file:
        return _read(file, path)


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
    if stays and path.stat().st_size == start + wanted:  # any other size is a fault, see below
        return map_array(path, dtype, shape, offset=start)
    content = read_up_to(file, wanted + 1)
    if len(content) != wanted:
        amount = f"only {len(content)}" if len(content) < wanted else "more"
        raise DataError(
            f"wrong length: the header says {' × '.join(map(str, shape))}, {wanted} bytes of data; found {amount}",
            file=str(path),
        )
    return np.frombuffer(content, dtype=dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
