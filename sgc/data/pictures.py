"""Pictures in files, read by Pillow: from folders whose names are labels, from one folder, or by a table of paths."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

import numpy as np

from sgc.data.columns import Array, SourceColumn, SourceColumns
from sgc.data.file_search import choose_columns
from sgc.data.transforms.image_transforms import Resize
from sgc.errors import DataError, check_regular, check_text

if TYPE_CHECKING:
    from PIL.Image import Image

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")  # of others, one runs a program to read a file
IMAGE, LABEL, PATH = "image", "label", "path"

ReadTable = Callable[[Collection[str], Collection[str]], SourceColumns]  # columns, and those that may lack


@dataclass(frozen=True)
class Wanted:
    """What pictures are brought to: 3 channels or 1, and rows and columns, their own where it is None."""

    colour: bool
    size: tuple[int, int] | None = None


def read_pictures(
    place: Path, columns: Collection[str], wanted: Wanted, *, optional: Collection[str] = ()
) -> SourceColumns:
    """Read the pictures of a folder, in the order of their paths, or a single one.

    The columns are image, `(N, C, H, W)` bytes, path, relative to the folder, and, where pictures are in folders of
    their own, label, the name of the first folder. Files with other endings, and hidden ones, are no pictures.

    Raises:
        DataError: no pictures, pictures both in the folder and in folders of it, no such column; or see `_load`.
    """
    paths = listed(place) if place.is_dir() else [place.name]
    folder = place if place.is_dir() else place.parent
    inside = [path for path in paths if "/" in path]
    if not paths:
        raise DataError(f"found no pictures in the folder: wanted files that end in {', '.join(ENDINGS)}", str(place))
    if inside and len(inside) < len(paths):
        outside = next(path for path in paths if "/" not in path)
        message = f"found pictures in it ({outside}) and in its folders ({inside[0]}), wanted one or the other"
        raise DataError(message, file=str(place))
    known = [IMAGE, *([LABEL] if inside else []), PATH]
    read: SourceColumns = {}
    for name in choose_columns(columns, optional, known, file=str(place)):
        if name == IMAGE:
            read[name] = SourceColumn(name, _load([folder / path for path in paths], wanted), str(place), marks=())
        else:
            for path in paths:
                check_text(path)
            texts = [path.partition("/")[0] for path in paths] if name == LABEL else paths
            read[name] = SourceColumn(name, np.array(texts, dtype=str), str(place))
    return read


def listed(folder: Path) -> list[str]:
    """List the pictures in a folder and below, as paths relative to it with '/', sorted."""
    paths: list[str] = []
    for above, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        pictures = [name for name in files if name.lower().endswith(ENDINGS) and not name.startswith(".")]
        paths += [(Path(above) / name).relative_to(folder).as_posix() for name in pictures]
    return sorted(paths)


def read_listed(
    table: Path,
    read: ReadTable,
    column: str,
    columns: Collection[str],
    wanted: Wanted,
    *,
    optional: Collection[str] = (),
) -> SourceColumns:
    """Read the pictures that a table lists, a row each, and the table's other columns; a picture is `image`.

    read: reads columns of the table. column: the one with the paths, relative to the table's folder, below which they
    stay: a table may come from a stranger.

    Raises:
        DataError: no such column, or a path that is empty or leads elsewhere; or see `_load`.
    """
    names = [name for name in columns if name != IMAGE]
    pictured = IMAGE in columns or IMAGE in optional
    table_columns = read([*names, *([column] if pictured and column not in names else [])], optional)
    if not pictured:
        return table_columns
    cells = table_columns[column]
    paths = [table.parent / _inside(str(text), row, cells) for row, text in enumerate(cells.values)]
    others = {name: own for name, own in table_columns.items() if name in names or name in optional}
    return {**others, IMAGE: SourceColumn(IMAGE, _load(paths, wanted), str(table), lines=cells.lines, marks=())}


def _inside(text: str, row: int, cells: SourceColumn) -> str:
    line = "" if cells.lines is None else f" (line {cells.lines[row]} of the file)"
    if not text or (cells.missing is not None and cells.missing[row]):
        raise DataError(f"no path in column '{cells.name}'{line}", file=cells.file, row=row)
    absolute = PurePosixPath(text).is_absolute() or PureWindowsPath(text).drive or PureWindowsPath(text).root
    if absolute or ".." in PureWindowsPath(text).parts:
        message = f"column '{cells.name}': found '{text}', wanted a path below the table's folder, without '..'{line}"
        raise DataError(message, file=cells.file, row=row)
    return text


def _load(paths: Sequence[Path], wanted: Wanted) -> Array:
    """Load pictures of one size: bytes `(N, C, H, W)`, turned as their EXIF says, without their transparency.

    Raises:
        DataError: names the first file and row that is no picture, damaged, too large, of more than 8 bits a value, or
            of another size than the first.
    """
    loaded = np.zeros((len(paths), 3 if wanted.colour else 1, 1, 1), dtype=np.uint8)
    for row, path in enumerate(paths):
        picture = _picture(path, row, wanted)
        if not row:
            loaded = np.empty((len(paths), *picture.shape), dtype=np.uint8)
        if picture.shape != loaded.shape[1:]:
            (_, high, wide), (_, rows, columns) = picture.shape, loaded.shape[1:]
            raise DataError(
                f"found a picture of {high} x {wide} (rows x columns), wanted {rows} x {columns}, as "
                f"'{paths[0].name}': 'size: [rows, columns]' brings all to one size",
                file=str(path),
                row=row,
            )
        loaded[row] = picture
    return loaded


def _picture(path: Path, row: int, wanted: Wanted) -> Array:
    with opened(path, row) as file:
        from PIL import ImageOps

        deep = file.mode if file.mode[0] in "IF" else ""
        picture = ImageOps.exif_transpose(file).convert("RGB" if wanted.colour else "L")
    if deep:
        message = f"found a picture of more than 8 bits a value (mode {deep}), wanted bytes: convert it, or use npz"
        raise DataError(message, file=str(path), row=row)
    values: Array = np.asarray(picture)
    values = values.transpose(2, 0, 1) if wanted.colour else values[None]
    if wanted.size is None or wanted.size == values.shape[1:]:
        return values
    averaged: Array = Resize(resize=wanted.size).apply(values[None].astype(np.float32), {}, np.zeros)[0]
    return np.rint(averaged).astype(np.uint8)


@contextlib.contextmanager
def opened(path: Path, row: int) -> Iterator[Image]:
    """Open a picture, of which Pillow then loads as much as is asked for.

    Raises:
        DataError: names the file and row, whatever Pillow raises in the block.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise DataError("pictures need Pillow: pip install 'sgc[images]'") from error
    check_regular(path)
    Image.init()  # a Pillow may be made without some of its formats
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN]) as file:
                yield file
    except UnidentifiedImageError as error:
        raise DataError("not a picture of a known format, or a damaged one", file=str(path), row=row) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = f"{Image.MAX_IMAGE_PIXELS:,}"
        message = f"more than {limit} pixels, which are not loaded: bring it to a smaller size"
        raise DataError(message, file=str(path), row=row) from error
    except Exception as error:  # a damaged file makes Pillow raise errors of every kind
        reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
        reason = "no such file" if isinstance(error, FileNotFoundError) else reason
        raise DataError(reason or "the picture is cut short or damaged", file=str(path), row=row) from error
