"""MATLAB's files up to version 7.2, read by scipy. Cells, structs and objects in them are never loaded."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from sgc.data.columns import Array, SourceColumn, SourceColumns
from sgc.data.file_search import choose_columns, known_columns
from sgc.data.raw_files import reading
from sgc.errors import DataError

HDF5 = b"MATLAB 7.3 MAT-file"
PLAIN = ("double", "single", "logical", "char", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
PICTURES = 4  # axes of an array whose rows come last unless something else is said


def read_mat(
    path: Path,
    columns: Collection[str],
    *,
    rows: Literal["first", "last"] | None = None,
    optional: Collection[str] = (),
) -> SourceColumns:
    """Read these variables, and those of `optional` that are there, with the rows first: `(N, *event)`.

    rows: which axis the rows are; None: the last of four, else the first. A vector has one value a row.

    Raises:
        DataError: no MATLAB file, one of version 7.3 or cut short, no such variable, one of another class than numbers
            or text, or variables of different lengths.
    """
    classes = variables(path)
    wanted = choose_columns(columns, optional, list(classes), file=str(path))
    for name in wanted:
        if classes[name] not in PLAIN:
            hint = "full(…) makes an array of it" if classes[name] == "sparse" else "save it as numbers or text"
            message = f"column '{name}': found a MATLAB {classes[name]}, wanted an array of numbers or text: {hint}"
            raise DataError(message, file=str(path))
    with _parsing(path):
        import scipy.io

        loaded = scipy.io.loadmat(path, variable_names=wanted)
    known_columns(wanted, loaded, file=str(path))
    read = {name: SourceColumn(name, _rows_first(loaded[name], name, path, rows), str(path)) for name in wanted}
    _check_lengths(path, read, {name: loaded[name].shape for name in wanted}, rows)
    return read


def variables(path: Path) -> dict[str, str]:
    """Name the variables of a MATLAB file, each with its class there.

    Raises:
        DataError: no MATLAB file, or one of version 7.3 or cut short.
    """
    try:
        import scipy.io
    except ImportError as error:
        raise DataError("a .mat file needs scipy: pip install 'sgc[mat]'", file=str(path)) from error
    with reading(path), open(path, "rb") as file:
        head = file.read(len(HDF5))
    if head == HDF5:
        message = "a MATLAB file of version 7.3, which is HDF5: save it again in MATLAB with save(FILE, '-v7')"
        raise DataError(message, file=str(path))
    with _parsing(path):
        return {name: kind for name, _, kind in scipy.io.whosmat(path)}


@contextlib.contextmanager
def _parsing(path: Path) -> Iterator[None]:
    """Report whatever scipy raises as a damaged file: it raises errors of every kind."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other things in the file
            yield
    except Exception as error:
        raise DataError("not a MATLAB file, or one that is cut short or damaged", file=str(path)) from error


def _rows_first(values: Array, name: str, path: Path, rows: str | None) -> Array:
    """Bring the rows to the front, and channels after them; the values are not copied."""
    if values.dtype.kind == "c":
        raise DataError(f"column '{name}': found complex numbers, wanted real ones", file=str(path))
    if values.dtype.kind == "U":
        return np.char.rstrip(np.atleast_1d(values))  # text is filled up with spaces to equal lengths
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    last = rows == "last" or (rows is None and values.ndim == PICTURES)
    if values.ndim == 2 and (values.shape[1] == 1 or (values.shape[0] == 1 and rows != "first")):
        return values.reshape(-1)
    if last and values.ndim == PICTURES:
        return values.transpose(3, 2, 0, 1)
    return np.moveaxis(values, -1, 0) if last else values


def _check_lengths(path: Path, read: SourceColumns, shapes: dict[str, tuple[int, ...]], rows: str | None) -> None:
    """Check that all have as many rows. Raises: DataError, which says which axis was taken for the rows."""
    first = next(iter(read.values()), None)
    for name, column in read.items():
        if first is not None and len(column) != len(first):
            pairs = [(first.name, len(first)), (name, len(column))]
            counted = " and ".join(f"{n} in '{name}' ({' x '.join(map(str, shapes[name]))})" for name, n in pairs)
            rule = f"rows: {rows}" if rows else "they come first, but last where there are four axes"
            hint = "say 'rows: first' or 'rows: last'" if rows is None else "leave it out, or write the other"
            raise DataError(f"found different numbers of rows: {counted}; {rule}: {hint}", file=str(path))
