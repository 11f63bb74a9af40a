"""Pictures in files, read by Pillow: from folders whose names are labels, from one folder, or by a table of paths."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, final

import numpy as np

from sgc.data.block_store import block_columns
from sgc.data.blocks import ROOM, Blocks, Cells, Field, Room
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
    place: Path, columns: Collection[str], wanted: Wanted, room: Room = ROOM, *, optional: Collection[str] = ()
) -> SourceColumns:
    """Read the pictures of a folder, in the order of their paths, or a single one; more than fit stay in their files.

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
            read[name] = _column([folder / path for path in paths], wanted, room, place)
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
    room: Room,
    *,
    optional: Collection[str] = (),
) -> SourceColumns:
    """Read the pictures that a table lists, a row each, and the table's other columns; a picture is `image`.

    Pictures that do not fit into the room stay in their files.

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
    return {**others, IMAGE: replace(_column(paths, wanted, room, table), lines=cells.lines)}


def _inside(text: str, row: int, cells: SourceColumn) -> str:
    line = "" if cells.lines is None else f" (line {cells.lines[row]} of the file)"
    if not text or (cells.missing is not None and cells.missing[row]):
        raise DataError(f"no path in column '{cells.name}'{line}", file=cells.file, row=row)
    absolute = PurePosixPath(text).is_absolute() or PureWindowsPath(text).drive or PureWindowsPath(text).root
    if absolute or ".." in PureWindowsPath(text).parts:
        message = f"column '{cells.name}': found '{text}', wanted a path below the table's folder, without '..'{line}"
        raise DataError(message, file=cells.file, row=row)
    return text


@final
class PictureBlocks(Blocks):
    """Pictures of one size, so many to a block: bytes `(N, C, H, W)`, as `read_picture` gives them."""

    def __init__(self, paths: Sequence[Path], wanted: Wanted, room: Room, place: Path) -> None:
        """Read the first one, which says how large they are. Raises: DataError, as `read_picture`."""
        self.paths, self.wanted = paths, wanted
        self.shape = read_picture(paths[0], 0, wanted).shape
        field = Field(np.dtype(np.uint8), self.shape)
        self.fields: Mapping[str, Field] = {IMAGE: field}
        self.starts = np.append(np.arange(0, len(paths), room.step([field])), len(paths))
        self.files, self.owners = [str(place)], np.zeros(len(self.starts) - 1, dtype=np.int64)

    def read(self, block: int, names: Collection[str]) -> Mapping[str, Cells]:
        """Read the pictures of a block.

        Raises:
            DataError: names the first file and row that is no picture, damaged, too large, of more than 8 bits a value,
                or of another size than the first.
        """
        rows = range(int(self.starts[block]), int(self.starts[block + 1]))
        loaded = np.empty((len(rows), *self.shape), dtype=np.uint8)
        for place, row in enumerate(rows):
            picture = read_picture(self.paths[row], row, self.wanted)
            if picture.shape != self.shape:
                (_, high, wide), (_, rows_of_first, columns) = picture.shape, self.shape
                raise DataError(
                    f"found a picture of {high} x {wide} (rows x columns), wanted {rows_of_first} x {columns}, as "
                    f"'{self.paths[0].name}': 'size: [rows, columns]' brings all to one size",
                    file=str(self.paths[row]),
                    row=row,
                )
            loaded[place] = picture
        return {IMAGE: Cells(loaded, None)}

    def digest(self) -> str:
        above = os.path.commonpath(self.paths) if len(self.paths) > 1 else self.paths[0].parent
        facts = (f"{os.path.relpath(path, above)} {path.stat().st_size}\n" for path in self.paths)
        return hashlib.blake2b("".join(facts).encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def _column(paths: Sequence[Path], wanted: Wanted, room: Room, place: Path) -> SourceColumn:
    """Read pictures, or leave them in their files where they are too many. Raises: DataError, as `PictureBlocks`."""
    if not paths:
        return SourceColumn(IMAGE, np.zeros((0, 3 if wanted.colour else 1, 1, 1), np.uint8), str(place), marks=())
    return block_columns(PictureBlocks(paths, wanted, room, place), [IMAGE], room, marks=())[IMAGE]


def read_picture(path: Path, row: int | None, wanted: Wanted, content: bytes | None = None) -> Array:
    """Read a picture: bytes `(C, H, W)`, turned as its EXIF says, without its transparency.

    content: of the file, where it is not read from its path. Raises: DataError, with `path` as the file's name.
    """
    with opened(path, row, content) as file:
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
def opened(path: Path, row: int | None, content: bytes | None = None) -> Iterator[Image]:
    """Open a picture, of which Pillow then loads as much as is asked for; `content` as in `read_picture`.

    Raises:
        DataError: names the file and row, whatever Pillow raises in the block.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise DataError("pictures need Pillow: pip install 'sgc[images]'") from error
    if content is None:
        check_regular(path)
    Image.init()  # a Pillow may be made without some of its formats
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            place = path if content is None else io.BytesIO(content)
            with Image.open(place, formats=[name for name in FORMATS if name in Image.OPEN]) as file:
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
