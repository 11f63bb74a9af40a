"""numpy's archives of named arrays. Python objects in them are never loaded, since loading one can run code."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from sgc.data.columns import SourceColumn
from sgc.data.finding import known_columns
from sgc.errors import DataError


def read_npz(path: Path, columns: Collection[str], *, optional: Collection[str] = ()) -> dict[str, SourceColumn]:
    """Read these arrays, and those of `optional` that are there.

    Raises:
        DataError: no npz archive, a damaged one, no such array, or an array of Python objects.
    """
    try:
        archive = np.load(path, allow_pickle=False)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", file=str(path)) from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError("not an npz archive, or one that is cut short", file=str(path)) from error
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise DataError("found a single array (.npy), wanted an npz archive of named arrays", file=str(path))
    with archive:
        known_columns(columns, archive.files, file=str(path))
        present = [*columns, *(name for name in optional if name in archive.files and name not in columns)]
        return {name: _read(archive, name, path) for name in present}


def _read(archive: np.lib.npyio.NpzFile, name: str, path: Path) -> SourceColumn:
    try:
        values = archive[name]
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise DataError(
                f"column '{name}': found Python objects, which are never loaded, since loading one can run code: "
                "save it as numbers or text",
                file=str(path),
            ) from error
        raise DataError(f"column '{name}': the array is damaged: {error}", file=str(path)) from error
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(
            f"column '{name}': the array is cut short or damaged: fetch it again", file=str(path)
        ) from error
    if values.ndim == 0:
        raise DataError(f"column '{name}': found a single value, wanted an array with the rows first", file=str(path))
    return SourceColumn(name, values, str(path))
