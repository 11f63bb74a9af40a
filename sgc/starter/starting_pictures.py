"""A starting spec from pictures: those of a folder, or those that a table lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from sgc.starter.spec_text import GREY, ROWS, SEARCHED, Label, Observed, compose, file_text, quoted
from sgc.starter.table_columns import TableHead

SIZE = (32, 32)  # rows and columns that pictures of different sizes are brought to
PATH = "path"  # the column of a table that says which file a row's picture is


def gallery_spec(name: str, folder: Path, root: str) -> str:
    """Write a spec to start from for a folder of pictures, by the heads of the first ones. Raises: DataError."""
    from sgc.data.pictures import LABEL, Wanted, read_pictures

    columns = read_pictures(folder, [PATH], Wanted(colour=False), optional=[LABEL])
    paths = [folder / str(path) for path in columns[PATH].values]
    labels = sorted({str(label) for label in columns[LABEL].values}) if LABEL in columns else []
    label = Label("label", tuple(map(quoted, labels)), 0, "the names of the folders") if len(labels) > 1 else None
    head = [f"A starting spec for the {len(paths):,} pictures of {folder.name or folder}: read it, and mend it."]
    return pictures_spec(name, head, paths, [f"root: {file_text(root)}    # {SEARCHED}"], label)


def lists_pictures(head: TableHead, path: Path) -> bool:
    """Tell whether a table has a column of paths of pictures, the first of which is there."""
    from sgc.data.pictures import ENDINGS

    cells = next((column.cells for column in head.columns if column.name == PATH), ())
    return bool(cells) and cells[0].lower().endswith(ENDINGS) and (path.parent / cells[0]).is_file()


def pictures_spec(
    name: str,
    head: Sequence[str],
    paths: Sequence[Path],
    place: Sequence[str],
    label: Label | None,
    own_test: bool = False,
) -> str:
    """Write a spec to start from for pictures in files, by the heads of the first ones.

    place: the lines of the spec that say where they are. Raises: DataError.
    """
    heads = list(_heads(paths[:ROWS]))
    sizes = {size for _, size in heads}
    mode, channels = ("colour", 3) if any(colour for colour, _ in heads) else ("grey", 1)
    height, width = next(iter(sizes)) if len(sizes) == 1 else SIZE
    source = ["source: images", *place, f"mode: {mode}"]
    if len(sizes) != 1:
        source.append(f"size: [{height}, {width}]    # they are of different sizes: all are brought to this one")
    shape = f"shape: [{channels}, {height}, {width}]    # channels, rows, columns"
    image = Observed("x", "{column: image, transforms: [{divide: 255}]}", (GREY, shape))
    return compose(name, head, source, [image], label, own_test=own_test, pictures=True)


def _heads(paths: Sequence[Path]) -> Iterator[tuple[bool, tuple[int, int]]]:
    from sgc.data.pictures import opened

    for row, path in enumerate(paths):
        with opened(path, row) as picture:
            turned = picture.getexif().get(0x0112, 1) >= 5  # of EXIF's orientations, those that lie on their side
            size = picture.size if turned else picture.size[::-1]
            yield picture.mode not in ("1", "L", "LA", "I", "I;16", "F"), (size[0], size[1])
