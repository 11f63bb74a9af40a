"""What archives, files of typed columns and folders of pictures look like to whoever writes a starting spec."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgc.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Typed:
    """A column of a parquet file: its cells as a csv file would have them, None where empty; or why it has none."""

    name: str
    cells: tuple[str | None, ...]
    why: str = ""


@dataclass(frozen=True)
class Gallery:
    """A folder of pictures: how many, their labels in order, and whether any is in colour.

    `size` is rows and columns, where all share it.
    """

    count: int
    labels: tuple[str, ...]
    colour: bool
    size: tuple[int, int] | None


def npz_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Read the arrays that have rows; name those that hold Python objects, which are never loaded."""
    from sgc.data.numpy_files import PythonObjects, members_of, opened, read_member

    arrays: dict[str, NDArray[Any]] = {}
    skipped: list[str] = []
    with opened(path) as archive:
        for key, member in members_of(archive).items():
            try:
                array = read_member(archive, member, path)
            except PythonObjects:
                skipped.append(f"{key} (Python objects, which are never loaded)")
                continue
            except ValueError as problem:
                raise DataError(f"column '{key}': {problem}", file=str(path)) from problem
            if array.ndim:
                arrays[key] = array
            else:
                skipped.append(f"{key} (a single value)")
    if not arrays:
        raise DataError("the archive holds no arrays with rows", file=str(path))
    return arrays, skipped


def matlab_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Read the arrays of a MATLAB file, rows first; name what is none. Raises: DataError."""
    from sgc.data.mat import PLAIN, read_mat, variables

    classes = variables(path)
    arrays = {name: read_mat(path, [name])[name].values for name, kind in classes.items() if kind in PLAIN}
    if not arrays:
        raise DataError("the file holds no arrays of numbers or text", file=str(path))
    return arrays, [f"{name} (a MATLAB {kind})" for name, kind in classes.items() if kind not in PLAIN]


def parquet_columns(path: Path, limit: int) -> tuple[list[Typed], int, bool]:
    """Read the first rows of a parquet file: its columns, how many rows, and whether these are all.

    Raises:
        DataError: no parquet file, or one without columns or rows.
    """
    from sgc.data.parquet import column_names, read_parquet

    found: list[Typed] = []
    rows, whole = 0, True
    for name in column_names(path):
        try:
            column = read_parquet(path, [name])[name]
        except DataError as problem:
            if not problem.message.startswith(f"column '{name}'"):
                raise
            found.append(Typed(name, (), "neither numbers nor text"))
            continue
        rows, whole = min(len(column), limit), len(column) <= limit
        if column.values.ndim > 1:
            found.append(Typed(name, (), "lists: a column of its own node"))
            continue
        missing = [False] * rows if column.missing is None else column.missing[:rows].tolist()
        cells = zip(column.values[:rows].tolist(), missing, strict=True)
        found.append(Typed(name, tuple(None if empty or cell != cell else _text(cell) for cell, empty in cells)))
    if not found or not rows:
        raise DataError("found no rows" if found else "found no columns", file=str(path))
    return found, rows, whole


def _text(cell: str | bool | int | float) -> str:
    """Write a cell as a csv file would have it, with a point where it is no integer, and truth as 0 or 1.

    >>> _text(True), _text(3), _text(3.0), _text("a")
    ('1', '3', '3.0', 'a')
    """
    if isinstance(cell, str):
        return cell
    return repr(cell) if isinstance(cell, float) else str(int(cell))


def gallery(folder: Path, limit: int) -> Gallery:
    """Look at the heads of the first pictures of a folder. Raises: DataError."""
    from sgc.data.pictures import LABEL, PATH, Wanted, read_pictures

    columns = read_pictures(folder, [PATH], Wanted(colour=False), optional=[LABEL])
    paths = [folder / str(path) for path in columns[PATH].values]
    labels = tuple(sorted({str(label) for label in columns[LABEL].values})) if LABEL in columns else ()
    heads = list(_heads(paths[:limit]))
    sizes = {size for _, size in heads}
    return Gallery(len(paths), labels, any(colour for colour, _ in heads), sizes.pop() if len(sizes) == 1 else None)


def _heads(paths: list[Path]) -> Iterator[tuple[bool, tuple[int, int]]]:
    from sgc.data.pictures import opened

    for row, path in enumerate(paths):
        with opened(path, row) as picture:
            turned = picture.getexif().get(0x0112, 1) >= 5  # of EXIF's orientations, those that lie on their side
            size = picture.size if turned else picture.size[::-1]
            yield picture.mode not in ("1", "L", "LA", "I", "I;16", "F"), (size[0], size[1])
