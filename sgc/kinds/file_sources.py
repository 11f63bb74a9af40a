"""Sources that read files of the user's: archives, tables and arrays, one class for each format."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, final

from pydantic import Discriminator, Field, Tag, model_validator

from sgc.kinds.base import Many, Piece
from sgc.kinds.source import FileSource, Source, refuse_second_test

if TYPE_CHECKING:
    from sgc.data.columns import Opened, SourceColumn


@final
class Npz(FileSource):
    """`source: npz`: numpy's archive of named arrays `(N, *event)`. Arrays of Python objects are never loaded."""

    source: Literal["npz"]

    def read_file(self, path: Path, columns: Collection[str]) -> dict[str, SourceColumn]:
        from sgc.data.npz import read_npz

        return read_npz(path, columns)


def _mark_form(value: object) -> str:
    return "<text>" if isinstance(value, str) else "<number>"


Mark: TypeAlias = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[float, Tag("<number>")], Discriminator(_mark_form)
]
"""What stands in an empty cell of a table: text as it is, or a number by value."""


@final
class Table(FileSource):
    """`source: table`: a csv file (or .csv.gz) with a header line; `missing_values` names its empty cells."""

    source: Literal["table"]
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    missing_values: Many[Mark] = ("",)

    def read_file(self, path: Path, columns: Collection[str]) -> dict[str, SourceColumn]:
        from sgc.data.tables import read_table

        return read_table(path, columns, separator=self.separator, missing_values=self.missing_values)


@final
class IdxParts(Piece):
    """`{train: {COLUMN: FILE}, test: {COLUMN: FILE}}`: the file of each column."""

    train: Annotated[dict[str, str], Field(min_length=1)]
    test: Annotated[dict[str, str], Field(min_length=1)] | None = None


IDX_FILES = IdxParts(
    train={"image": "train-images-idx3-ubyte", "label": "train-labels-idx1-ubyte"},
    test={"image": "t10k-images-idx3-ubyte", "label": "t10k-labels-idx1-ubyte"},
)


@final
class Idx(Source):
    """`source: idx`: MNIST's format, one array a file, plain or .gz; columns image and label, or those of `files`."""

    source: Literal["idx"]
    root: str = ""
    files: IdxParts = IDX_FILES

    @model_validator(mode="before")
    @classmethod
    def _exclude(cls, value: object) -> object:
        files = value.get("files", {"test": {}}) if isinstance(value, dict) else None
        return refuse_second_test(value) if isinstance(files, dict) and files.get("test") is not None else value

    def read(self, beside: Path, columns: Collection[str]) -> Opened:
        from sgc.data.columns import Opened, SourceColumn
        from sgc.data.finding import find_file, known_columns
        from sgc.data.idx import read_idx

        def part(files: dict[str, str]) -> dict[str, SourceColumn]:
            known_columns(columns, files, file=self.root or None)
            found = {name: find_file((files[name], files[name] + ".gz"), self.root, beside) for name in columns}
            return {name: SourceColumn(name, read_idx(path), str(path)) for name, path in found.items()}

        return Opened(part(self.files.train), None if self.files.test is None else part(self.files.test))
