"""Finding files: under $SGC_DATA, then beside the spec; and columns by name."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from sgc.errors import DataError, suggest


def find_file(names: Sequence[str], root: str, beside: Path) -> Path:
    """Find the first of these files: `root/name` under $SGC_DATA, then in the folder `beside`; absolute paths as given.

    Raises:
        DataError: none is there; it says where was looked.
    """
    data = os.environ.get("SGC_DATA", "")
    folders = [Path(each) / root for each in (data, beside) if str(each)]
    for folder in dict.fromkeys(folders):
        for name in names:
            if (folder / name).is_file():
                return folder / name
    absolute = Path(root, names[0]).is_absolute()
    looked = "" if absolute else "; looked in " + " and ".join(f"'{each}'" for each in dict.fromkeys(folders))
    unset = "" if data or absolute else "; SGC_DATA, the folder of data sets, is not set"
    raise DataError(f"no such file{looked}{unset}", file=str(Path(root, names[0])))


def known_columns(wanted: Iterable[str], found: Collection[str], file: str | None) -> None:
    """Check that a source has these columns.

    Raises:
        DataError: it has no such column.
    """
    for name in wanted:
        if name not in found:
            raise DataError(f"no column named '{name}'; {suggest(name, found) or 'there are none'}", file=file)
