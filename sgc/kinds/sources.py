"""Sources: where the data of a spec come from, one class for each, and the fields all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, final

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from sgc.kinds.base import Many, Maybe, Piece
from sgc.kinds.labels import LabelRule, Refusable, Refused, Split, pairs, refuse_later
from sgc.kinds.transforms import AnyTransform, Flatten

if TYPE_CHECKING:
    from sgc.data.columns import Opened, SourceColumn


def _column_form(value: object) -> str:
    return "<list>" if isinstance(value, (list, tuple)) else "<name>"


@final
class Column(Piece):
    """`{column: NAME | [NAMES], transforms: [...]}`: what of the source a node takes, and the steps to its values."""

    column: Annotated[
        Annotated[str, Tag("<name>")] | Annotated[Many[str], Field(min_length=1), Tag("<list>")],
        Discriminator(_column_form),
    ]
    transforms: Many[AnyTransform] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The source's columns in order; several become the elements of a vector."""
        return (self.column,) if isinstance(self.column, str) else self.column

    @field_validator("transforms", mode="after")
    @classmethod
    def _draw_last(cls, transforms: tuple[AnyTransform, ...]) -> tuple[AnyTransform, ...]:
        drawn = False
        for each in transforms:
            if drawn and not isinstance(each, Flatten):
                raise PydanticCustomError(
                    "transform_order",
                    "'{name}' stands after 'binarize: dynamic', which draws at every use: put it before",
                    {"name": each.name},
                )
            drawn = drawn or each.draws_anew
        return transforms


class Section(Piece):
    """What every `data` section holds, whatever its source."""

    columns: dict[str, Column]
    split: Split = Split()
    labels: dict[str, LabelRule] = {}  # noqa: RUF012 - a frozen pydantic default


class Source(Section, ABC):
    """A source of rows."""

    @abstractmethod
    def read(self, beside: Path, columns: Collection[str]) -> Opened:
        """Open these columns; files are looked for under $SGC_DATA, then in the folder `beside`.

        Raises:
            DataError: a file is missing, cut short or not of its format, or has no such column.
        """


@final
class Digits(Source):
    """`source: digits`: scikit-learn's 1797 handwritten digits; columns image `(N, 8, 8)` of 0 to 16, and label."""

    source: Literal["digits"] = "digits"

    def read(self, beside: Path, columns: Collection[str]) -> Opened:
        from sgc.data.columns import Opened, SourceColumn
        from sgc.data.finding import known_columns
        from sgc.errors import DataError

        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise DataError("the source 'digits' needs scikit-learn: pip install 'sgc[digits]'") from error
        known_columns(columns, ("image", "label"), file="digits")
        loaded = load_digits()
        values = {"image": loaded.images.astype("uint8"), "label": loaded.target.astype("int64")}
        return Opened({name: SourceColumn(name, values[name], "digits") for name in columns})


class Parts(Piece):
    """`{train: FILE, test: FILE}`: the files of a source that has two; without `test`, `split` may make one."""

    train: str
    test: Maybe[str] = None


class FileSource(Source):
    """A source whose columns stand in one file, or in one for training and one for testing."""

    root: str = ""
    file: Annotated[Maybe[str], Refusable] = None
    files: Annotated[Maybe[Parts], Refusable] = None

    @model_validator(mode="before")
    @classmethod
    def _exclude(cls, value: object) -> object:
        marked = refuse_later(value, pairs(("file", "files")))
        if not isinstance(marked, dict):
            return marked
        files = marked.get("files")
        if files is None and "file" not in marked:
            marked["file"] = Refused("missing", "no file: wanted 'file: FILE' or 'files: {train: FILE, test: FILE}'")
        return _refuse_second_test(marked) if isinstance(files, dict) and files.get("test") is not None else marked

    @abstractmethod
    def read_file(self, path: Path, columns: Collection[str]) -> dict[str, SourceColumn]:
        """Read these columns of one file.

        Raises:
            DataError: the file is cut short or not of its format, or has no such column.
        """

    def read(self, beside: Path, columns: Collection[str]) -> Opened:
        from sgc.data.columns import Opened
        from sgc.data.finding import find_file

        def part(name: str) -> dict[str, SourceColumn]:
            return self.read_file(find_file((name,), self.root, beside), columns)

        if self.files is None:
            return Opened(part(self.file or ""))
        return Opened(part(self.files.train), None if self.files.test is None else part(self.files.test))


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
        return _refuse_second_test(value) if isinstance(files, dict) and files.get("test") is not None else value

    def read(self, beside: Path, columns: Collection[str]) -> Opened:
        from sgc.data.columns import Opened, SourceColumn
        from sgc.data.finding import find_file, known_columns
        from sgc.data.idx import read_idx

        def part(files: dict[str, str]) -> dict[str, SourceColumn]:
            known_columns(columns, files, file=self.root or None)
            found = {name: find_file((files[name], files[name] + ".gz"), self.root, beside) for name in columns}
            return {name: SourceColumn(name, read_idx(path), str(path)) for name, path in found.items()}

        return Opened(part(self.files.train), None if self.files.test is None else part(self.files.test))


def _refuse_second_test(section: object) -> object:
    """Mark `split.test` where the source brings test rows of its own."""
    split = section.get("split") if isinstance(section, dict) else None
    if not isinstance(section, dict) or not isinstance(split, dict) or split.get("test") is None:
        return section
    refused = Refused("excluded_key", "the source has a test part of its own: leave out 'test'")
    return {**section, "split": {**split, "test": refused}}


SOURCES: dict[str, type[Source]] = {"digits": Digits, "idx": Idx, "npz": Npz, "table": Table}


def _refuse_source(name: str) -> str:
    raise PydanticCustomError("unknown_name", "no source named '{name}'", {"name": name, "allowed": list(SOURCES)})


class UnknownSource(Section):
    """A section with a source nobody knows; it never validates. The fields that all sources share are still read."""

    model_config = ConfigDict(extra="ignore")
    source: Annotated[str, AfterValidator(_refuse_source)]


def _source_tag(value: Any) -> str:  # any: whatever stands in the file
    if isinstance(value, Source):
        return next(f"<{name}>" for name, kind in SOURCES.items() if isinstance(value, kind))
    name = value.get("source", "digits") if isinstance(value, dict) else "digits"
    return f"<{name}>" if isinstance(name, str) and name in SOURCES else "<unknown>"


if TYPE_CHECKING:
    DataSection: TypeAlias = Digits | Idx | Npz | Table
else:
    DataSection = Annotated[
        Annotated[Digits, Tag("<digits>")]
        | Annotated[Idx, Tag("<idx>")]
        | Annotated[Npz, Tag("<npz>")]
        | Annotated[Table, Tag("<table>")]
        | SkipJsonSchema[Annotated[UnknownSource, Tag("<unknown>")]],
        Discriminator(_source_tag),
    ]
