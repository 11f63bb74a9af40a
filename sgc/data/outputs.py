"""Files that are written: with a known ending, into a folder that exists, and over no file that is read."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sgc.data.file_search import look_for
from sgc.data.sources.source_section import DataSection
from sgc.errors import UsageError, special_file, writing

PART = ".part"  # of the name of a file that is not yet whole


@dataclass(frozen=True)
class Inputs:
    """Files that are read and must not be overwritten: `files`, each with a description, and those of a data section.

    whose: a description of the data. beside: the folder where files of the section are looked for.
    """

    files: Mapping[Path, str] = field(default_factory=dict)
    data: DataSection | None = None
    beside: Path = Path()
    whose: str = "data of the spec"

    def at(self, path: Path) -> str:
        """Describe the one of them that is at a path, under any name or link; an empty string: none is."""
        if not path.exists():
            return ""
        described = next((description for file, description in self.files.items() if _same(path, file)), "")
        if described or self.data is None:
            return described
        names = [rule.rows for rule in self.data.labels.values() if rule.rows]
        files = [look_for((name,), "", self.beside) for name in names]
        read = [*(file for file in files if file is not None), *self.data.inputs(self.beside)]
        return self.whose if any(_same(path, file) for file in read) else ""


def check_output(path: Path, endings: tuple[str, ...], inputs: Inputs = Inputs()) -> None:
    """Refuse a file that cannot be written, or that would overwrite an input. Raises: UsageError."""
    if not ending_of(path, endings):
        raise UsageError(f"{path}: cannot write '{path.suffix or 'a file without an ending'}': {', '.join(endings)}")
    check_place(path, inputs)


def ending_of(path: Path, endings: tuple[str, ...]) -> str:
    """Give the longest of these endings that the name of a file has, which may have two dots; '' where it has none.

    >>> ending_of(Path("a.csv.gz"), (".csv", ".csv.gz")), ending_of(Path(".csv"), (".csv",))
    ('.csv.gz', '')
    """
    return max((end for end in endings if path.name.endswith(end) and path.name != end), key=len, default="")


def check_place(path: Path, inputs: Inputs) -> None:
    """Refuse a place where no file can be written, or that holds an input, under any name. Raises: UsageError."""
    if not Path(os.path.realpath(path)).parent.is_dir():  # `resolve` fails at links that lead to themselves
        raise UsageError(f"{path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise UsageError(f"{path}: is a folder, wanted a file to write")
    if kind := special_file(path):
        raise UsageError(f"{path}: is {kind}, wanted a file to write")
    if held := inputs.at(path):
        raise UsageError(f"{path}: holds {held}, which would be overwritten: write another file")


def write_output(path: Path, content: bytes) -> None:
    """Write a user's file: it is complete or as before, and no other file is touched; links are followed."""
    target = Path(os.path.realpath(path))
    write_beside(path, target.with_name(f".{secrets.token_hex(8)}{PART}"), target, content)


def write_beside(path: Path, part: Path, target: Path, content: bytes) -> None:
    """Write a new file, and replace another by it once it is whole. path: the name that a fault of the disk gives."""
    with writing(path):
        try:
            with part.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, target)
        except OSError:
            with suppress(OSError):
                part.unlink()  # on a full disk it would take room from other files
            raise


def _same(path: Path, other: Path) -> bool:
    """Tell whether an existing file is the same as another."""
    try:
        return path.samefile(other)
    except (OSError, ValueError):  # the other is not there
        return False
