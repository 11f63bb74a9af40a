"""The search for files, under $SGC_DATA, then beside the spec; and for columns, by name."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from sgc.errors import DataError, check_regular, suggest


def find_file(names: Sequence[str], root: str, beside: Path, *, folders: bool = False) -> Path:
    """Find the first of these files: `root/name` under $SGC_DATA, then in the folder `beside`; absolute paths as given.

    folders: whether a folder may be found too.

    Raises:
        DataError: none exists; it names the folders that were searched.
    """
    path = look_for(names, root, beside, folders=folders)
    if path is not None:
        return path
    absolute = Path(root, names[0]).is_absolute()
    looked = "" if absolute else "; looked in " + " and ".join(f"'{folder}'" for folder in _folders(root, beside))
    unset = "" if os.environ.get("SGC_DATA") or absolute else "; SGC_DATA, the folder of data sets, is not set"
    missing = "no such file or folder" if folders else "no such file"
    raise DataError(f"{missing}{looked}{unset}", file=str(Path(root, names[0])))


def look_for(names: Sequence[str], root: str, beside: Path, *, folders: bool = False) -> Path | None:
    """Find a file as `find_file` does; None where none exists."""
    for folder in _folders(root, beside):
        for name in names:
            check_regular(folder / name)
            if (folder / name).is_file() or (folders and (folder / name).is_dir()):
                return folder / name
    return None


def _folders(root: str, beside: Path) -> list[Path]:
    data = os.environ.get("SGC_DATA", "")
    return list(dict.fromkeys(Path(folder) / root for folder in (data, beside) if str(folder)))


def known_columns(wanted: Iterable[str], existing: Collection[str], file: str | None) -> None:
    """Check that a source has these columns.

    Raises:
        DataError: it has no such column.
    """
    for name in wanted:
        if name not in existing:
            raise DataError(f"no column named '{name}'; {suggest(name, existing) or 'there are none'}", file=file)


def choose_columns(
    columns: Collection[str],
    optional: Collection[str],
    existing: Sequence[str],
    file: str | None,
    also: Collection[str] = (),
) -> list[str]:
    """List these columns of a source, and those of `optional` that it has, each once.

    also: columns that the source has beside those of its file, to be named where one is unknown.

    Raises:
        DataError: it has no such column, or two of the name.
    """
    known_columns(columns, [*existing, *also], file)
    chosen = [*columns, *(name for name in optional if name in existing and name not in columns)]
    for name in chosen:
        if existing.count(name) > 1:
            raise DataError(f"found {existing.count(name)} columns named '{name}', wanted one", file=file)
    return chosen
