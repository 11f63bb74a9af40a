"""Files that are written: an ending that can be, a folder that is there, and nobody's input."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from sgc.data.finding import look_for
from sgc.errors import UsageError
from sgc.kinds.source import FileSource
from sgc.kinds.sources import DataSection


def check_output(path: Path, endings: tuple[str, ...], inputs: Mapping[Path, str] = MappingProxyType({})) -> None:
    """Refuse a file that cannot be written, or that would overwrite an input.

    inputs: what each file or folder that is read is, in words. Raises: UsageError.
    """
    if path.suffix not in endings:
        raise UsageError(f"{path}: cannot write '{path.suffix or 'a file without an ending'}': {', '.join(endings)}")
    if not path.resolve().parent.is_dir():
        raise UsageError(f"{path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise UsageError(f"{path}: is a folder, wanted a file to write")
    check_no_input(path, inputs)


def check_no_input(path: Path, inputs: Mapping[Path, str]) -> None:
    """Refuse to overwrite an input, by whatever name; inputs: as for `check_output`. Raises: UsageError."""
    for found, what in inputs.items():
        if _same(path, found):
            raise UsageError(f"{path}: holds {what}, which would be overwritten: write another file")


def data_files(data: DataSection | None, beside: Path) -> dict[Path, str]:
    """Name the files of a data section that are there, and what each is; what an own source reads is not known."""
    if data is None:
        return {}
    names = [("", rule.rows) for rule in data.labels.values()]
    if isinstance(data, FileSource):
        parts = [data.file] if data.files is None else [data.files.train, data.files.test]
        names += [(data.root, each) for each in parts]
    found = [look_for((name,), root, beside) for root, name in names if name]
    return {path: "data that the run was trained on" for path in found if path is not None}


def _same(path: Path, other: Path) -> bool:
    """Tell whether two paths are one file, by whatever names and links."""
    if path.exists() and other.exists():
        return path.samefile(other)
    return path.resolve() == other.resolve()
