"""A source of rows: its base, the fields that all of them share, and the base of those that read files."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Self, final

from pydantic import Discriminator, Field, Tag, field_validator, model_validator
from pydantic_core import PydanticCustomError

from sgc.data.file_search import find_file, look_for
from sgc.data.label_fields import LabelRule, Refusable, Refused, Split, pairs, refuse_later
from sgc.data.transforms.image_transforms import Resize
from sgc.data.transforms.transforms import AnyTransform, Flatten, Standardize
from sgc.errors import DataError
from sgc.piece import Many, Maybe, Piece

if TYPE_CHECKING:
    from sgc.data.columns import Opened, SourceColumns


def _column_form(value: object) -> str:
    return "<list>" if isinstance(value, (list, tuple)) else "<name>"


@final
class Column(Piece):
    """`{column: NAME | [NAMES], transforms: [...]}`: a node's columns of the source, and the steps to its values."""

    column: Annotated[
        Annotated[str, Tag("<name>")] | Annotated[Many[str], Field(min_length=1), Tag("<list>")],
        Discriminator(_column_form),
    ] = Field(
        description="The column of the source, or a list of columns, the elements of a vector.",
        examples=["image", ["height", "weight"]],
    )
    transforms: Many[AnyTransform] = Field(
        (),
        description="Steps from its cells to the node's values, in order.",
        examples=[[{"divide": 255}, "flatten"]],
    )

    @property
    def names(self) -> tuple[str, ...]:
        """The source's columns in order; several become the elements of a vector."""
        return (self.column,) if isinstance(self.column, str) else self.column

    @field_validator("transforms", mode="after")
    @classmethod
    def _in_order(cls, transforms: tuple[AnyTransform, ...]) -> tuple[AnyTransform, ...]:
        drawn, sized = False, ""
        for place, transform in enumerate(transforms):
            fault = ""
            if place and transform.reads_names is not None:
                fault = "'{name}' reads the names in the column: put it first"
            elif drawn and not isinstance(transform, Flatten):
                fault = "'{name}' comes after 'binarize: dynamic', which draws at every use: put it before"
            elif sized and isinstance(transform, Resize):
                fault = "'{name}' comes after '{before}', which could not be undone in another size: put it before"
            if fault:
                raise PydanticCustomError("transform_order", fault, {"name": transform.name, "before": sized})
            drawn = drawn or transform.draws_anew
            sized = sized or (transform.name if transform.points or isinstance(transform, Standardize) else "")
        return transforms


class Section(Piece):
    """What every `data` section holds, whatever its source."""

    columns: dict[str, Column] = Field(
        description="The column of each node, input and total, by name, with its transforms.",
        examples=[{"x": {"column": "image", "transforms": [{"divide": 255}]}}],
    )
    split: Split = Field(
        Split(),
        description="What is held out for validation and for the test.",
        examples=[{"validation": 0.1, "test": 0.2}],
    )
    labels: dict[str, LabelRule] = Field(
        {},
        description=(
            "Which training rows keep their label, by node; of a node that is not named, every row that has one."
        ),
        examples=[{"y": {"count": 100, "balanced": True}}],
    )


class Source(Section, ABC):
    """A source of rows."""

    @abstractmethod
    def read(self, beside: Path, columns: Collection[str], training: Collection[str] = ()) -> Opened:
        """Open these columns; files are looked for under $SGC_DATA, then in the folder `beside`.

        training: those of them that the source's own test rows need not have.

        Raises:
            DataError: a file is missing, cut short or not of its format, or has no such column.
        """

    def inputs(self, beside: Path) -> list[Path]:
        """List the user's files that `read` reads, as far as they exist."""
        return []

    def needs(self) -> str:
        """Say what must be there before rows can be read, for whoever begins; an empty string where nothing must."""
        return ""

    def standing_in(self, folder: Path, *, trusted: bool) -> Self:
        """Give the source of a spec in this folder; its own code may be imported where it is `trusted`."""
        return self


@final
class Parts(Piece):
    """`{train: FILE, test: FILE}`: the files of the two parts; without `test`, `split` may make that part."""

    train: str = Field(
        description="The file of the training rows.",
        examples=["train.csv"],
    )
    test: Maybe[str] = Field(
        None,
        description="The file of the test rows.",
        examples=["test.csv"],
    )


class FileSource(Source):
    """A source whose columns are in one file, or in one for training and one for testing.

    `endings` are those of its files. `root_alone`: `root` alone is enough, for a folder is read as a whole.
    """

    endings: ClassVar[tuple[str, ...]]
    root_alone: ClassVar[bool] = False

    root: Annotated[str, Refusable] = Field(
        "",
        description="The folder that the files are in, looked for under `$SGC_DATA`, then beside the spec.",
        examples=["scans"],
    )
    file: Annotated[Maybe[str], Refusable] = Field(
        None,
        description="The one file of all rows.",
        examples=["rows.csv"],
    )
    files: Annotated[Maybe[Parts], Refusable] = Field(
        None,
        description="The file of the training rows and that of the test rows, in place of `file`.",
        examples=[{"train": "train.csv", "test": "test.csv"}],
    )

    @model_validator(mode="before")
    @classmethod
    def _exclude(cls, value: object) -> object:
        marked = refuse_later(value, pairs(("file", "files")))
        if not isinstance(marked, dict):
            return marked
        files = marked.get("files")
        if files is None and "file" not in marked and not (cls.root_alone and marked.get("root")):
            wanted = "root" if cls.root_alone else "file"
            marked[wanted] = Refused("missing", "no file: wanted 'file: FILE' or 'files: {train: FILE, test: FILE}'")
        return refuse_second_test(marked) if isinstance(files, dict) and files.get("test") is not None else marked

    def needs(self) -> str:
        given = self.files
        names = [self.file or ""] if given is None else [given.train, *([] if given.test is None else [given.test])]
        return files_in_words([str(Path(self.root, name)) for name in names])

    @abstractmethod
    def read_file(self, path: Path, columns: Collection[str], optional: Collection[str] = ()) -> SourceColumns:
        """Read these columns of one file, and those of `optional` that are there.

        Raises:
            DataError: the file is cut short or not of its format, or has no such column.
        """

    def inputs(self, beside: Path) -> list[Path]:
        names = [self.file or ""] if self.files is None else [self.files.train, self.files.test]
        paths = [look_for((name,), self.root, beside, folders=self.root_alone) for name in names if name is not None]
        return [path for path in paths if path is not None]

    def takes(self, path: Path) -> bool:
        """Tell whether a new file is one of this source's, to be read as those of the spec are."""
        return path.is_file() and path.name.lower().endswith(self.endings)

    def read(self, beside: Path, columns: Collection[str], training: Collection[str] = ()) -> Opened:
        from sgc.data.columns import Opened

        def found(name: str) -> Path:
            return find_file((name,), self.root, beside, folders=self.root_alone)

        if self.files is None:
            return Opened(self.read_file(found(self.file or ""), columns))
        if self.files.test is None:
            return Opened(self.read_file(found(self.files.train), columns))
        train, test = found(self.files.train), found(self.files.test)
        refuse_both([str(train)], [str(test)])
        tested = [name for name in columns if name not in training]
        return Opened(self.read_file(train, columns), self.read_file(test, tested))


def files_in_words(names: Sequence[str]) -> str:
    """Name files that a user brings: up to two of them, and where they are looked for."""
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return f"{', '.join(names[:2])}{more}, looked for under $SGC_DATA, then beside the spec"


def refuse_both(train: Iterable[str], test: Iterable[str]) -> None:
    """Check that no file, or part, is trained on and tested, under whatever name. Raises: DataError."""
    known = {os.path.realpath(name) for name in train}
    for name in test:
        if os.path.realpath(name) in known:
            raise DataError("is in 'train' and in 'test': the test would be of rows that are trained on", file=name)


def refuse_second_test(section: object) -> object:
    """Mark `split.test` where the source brings test rows of its own."""
    split = section.get("split") if isinstance(section, dict) else None
    if not isinstance(section, dict) or not isinstance(split, dict) or split.get("test") is None:
        return section
    refused = Refused("excluded_key", "the source has a test part of its own: leave out 'test'")
    return {**section, "split": {**split, "test": refused}}
