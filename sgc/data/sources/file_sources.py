"""Sources that read files of the user's: archives, tables and arrays, one class for each format."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias, final

from pydantic import Discriminator, Field, Tag, model_validator

from sgc.data.file_search import find_file, known_columns, look_for
from sgc.data.sources.in_blocks import InBlocks
from sgc.data.sources.source import FileSource, Source, files_in_words, refuse_second_test
from sgc.errors import DataError
from sgc.piece import Many, Maybe, Piece

if TYPE_CHECKING:
    from sgc.data.columns import Opened, SourceColumns

TABLES = (".csv", ".csv.gz", ".parquet")


@final
class Npz(FileSource):
    """`source: npz`: numpy's archive of named arrays `(N, *event)`. Arrays of Python objects are never loaded."""

    endings: ClassVar = (".npz",)

    source: Literal["npz"]

    def read_file(self, path: Path, columns: Collection[str], optional: Collection[str] = ()) -> SourceColumns:
        from sgc.data.numpy_files import read_npz

        return read_npz(path, columns, optional=optional)


@final
class Mat(FileSource):
    """`source: mat`: a MATLAB file up to version 7.2; each variable is a column.

    `rows` says which axis the rows are. Without it they come first, but last in an array of four axes, as MATLAB stores
    pictures. Rows that come last are moved to the front, `[rows, columns, channels, N]` to
    `(N, channels, rows, columns)`. A vector, N x 1 or 1 x N, has one value a row.
    """

    endings: ClassVar = (".mat",)

    source: Literal["mat"]
    rows: Maybe[Literal["first", "last"]] = Field(
        None,
        description=(
            "Which axis the rows are. Absent: the first, but the last in an array of four axes, as MATLAB "
            "stores pictures."
        ),
        examples=["first"],
    )

    def read_file(self, path: Path, columns: Collection[str], optional: Collection[str] = ()) -> SourceColumns:
        from sgc.data.mat import read_mat

        return read_mat(path, columns, rows=self.rows, optional=optional)


def _mark_form(value: object) -> str:
    return "<text>" if isinstance(value, str) else "<number>"


Mark: TypeAlias = Annotated[
    Annotated[str, Tag("<text>")] | Annotated[float, Tag("<number>")], Discriminator(_mark_form)
]
"""The mark of an empty cell of a table: text as it is written, or a number by value."""


class TableSource(FileSource):
    """A source whose rows may be in a table; `missing_values` are the marks of its empty cells.

    They mark empty cells too where values come from Python, or new rows from a file of another format.
    """

    endings: ClassVar = TABLES

    separator: Annotated[str, Field(min_length=1, max_length=1)] = Field(
        ",",
        description="What stands between the cells of a csv file.",
        examples=[";"],
    )
    missing_values: Many[Mark] = Field(
        ("",),
        description="The marks of empty cells, as text or as numbers.",
        examples=[["", "NA", -999]],
    )


@final
class Table(TableSource):
    """`source: table`: a csv file (or .csv.gz) with a header line, or a .parquet, whose nulls are empty cells too."""

    source: Literal["table"]

    def read_file(self, path: Path, columns: Collection[str], optional: Collection[str] = ()) -> SourceColumns:
        from sgc.data.tables import read_table

        return read_table(
            path, columns, separator=self.separator, missing_values=self.missing_values, optional=optional
        )


PictureSize: TypeAlias = Maybe[
    Annotated[Many[Annotated[int, Field(ge=1, le=10_000)]], Field(min_length=2, max_length=2)]
]
"""The rows and columns that pictures are brought to."""


@final
class Images(TableSource, InBlocks):
    """`source: images`: a folder of pictures, given by `root`, or by `file` or `files`; column image `(N, C, H, W)`.

    Pictures in folders of their own have their folder's name in the column `label`; `path` is the file's, and orders
    the rows. A table may be given instead (as `source: table` reads it). Its rows and columns are then those of the
    data, and its column `path`, or the one named by `path`, holds the pictures' files, relative to the table's
    folder. `mode`: grey (C = 1) or colour (C = 3). `size`: rows and columns that each picture is brought to,
    averaged over areas. Values are bytes. More pictures than half of `memory` holds stay in their files.
    """

    root_alone: ClassVar = True

    source: Literal["images"]
    mode: Literal["grey", "colour"] = Field(
        description="Whether pictures have one channel or three.",
        examples=["colour"],
    )
    size: PictureSize = Field(
        None,
        description="The rows and columns that each picture is brought to. Absent: all have one size already.",
        examples=[[32, 32]],
    )
    path: str = Field(
        "path",
        description="The column of the table that holds the pictures' files.",
        examples=["file"],
    )

    def takes(self, path: Path) -> bool:
        from sgc.data.pictures import ENDINGS

        return path.is_dir() or path.name.lower().endswith((*self.endings, *ENDINGS))

    def inputs(self, beside: Path) -> list[Path]:
        from sgc.data.pictures import listed
        from sgc.data.tables import read_table

        paths = super().inputs(beside)
        for path in list(paths):
            if path.is_dir():
                paths += [path / name for name in listed(path)]
            elif self._is_table(path):
                with suppress(DataError):  # reading its rows says what is wrong with it
                    cells = read_table(path, [self.path], separator=self.separator)[self.path]
                    paths += [path.parent / str(text) for text in cells.values]
        return paths

    def names_files_in(self, path: Path) -> str:
        """Name the column that says which file a picture is, of new pictures."""
        from sgc.data.pictures import PATH

        return self.path if self._is_table(path) else PATH

    def _is_table(self, path: Path) -> bool:
        return path.name.lower().endswith(self.endings) and not path.is_dir()

    def read_file(self, path: Path, columns: Collection[str], optional: Collection[str] = ()) -> SourceColumns:
        from sgc.data.pictures import IMAGE, Wanted, read_listed, read_pictures
        from sgc.data.tables import read_table

        def table(names: Collection[str], others: Collection[str]) -> SourceColumns:
            marks = self.missing_values
            return read_table(
                path, names, separator=self.separator, missing_values=marks, optional=others, also=(IMAGE,)
            )

        wanted = Wanted(self.mode == "colour", (self.size[0], self.size[1]) if self.size else None)
        if self._is_table(path):
            return read_listed(path, table, self.path, columns, wanted, self.room(), optional=optional)
        return read_pictures(path, columns, wanted, self.room(), optional=optional)


@final
class IdxParts(Piece):
    """`{train: {COLUMN: FILE}, test: {COLUMN: FILE}}`: the file of each column."""

    train: Annotated[dict[str, str], Field(min_length=1)] = Field(
        description="The file of each column of the training rows.",
        examples=[{"image": "train-images-idx3-ubyte.gz"}],
    )
    test: Annotated[dict[str, str], Field(min_length=1)] | None = Field(
        None,
        description="The file of each column of the test rows.",
        examples=[{"image": "t10k-images-idx3-ubyte.gz"}],
    )


IDX_FILES = IdxParts(
    train={"image": "train-images-idx3-ubyte", "label": "train-labels-idx1-ubyte"},
    test={"image": "t10k-images-idx3-ubyte", "label": "t10k-labels-idx1-ubyte"},
)


@final
class Idx(Source):
    """`source: idx`: MNIST's format, one array a file, plain or .gz; columns image and label, or those of `files`."""

    source: Literal["idx"]
    root: str = Field(
        "",
        description="The folder that the files are in, looked for under `$SGC_DATA`, then beside the spec.",
        examples=["mnist"],
    )
    files: IdxParts = Field(
        IDX_FILES,
        description="The file of each column, for training and for testing. Absent: MNIST's names.",
        examples=[{"train": {"image": "x.gz", "label": "y.gz"}}],
    )

    @model_validator(mode="before")
    @classmethod
    def _exclude(cls, value: object) -> object:
        files = value.get("files", {"test": {}}) if isinstance(value, dict) else None
        return refuse_second_test(value) if isinstance(files, dict) and files.get("test") is not None else value

    def needs(self) -> str:
        parts = (self.files.train, self.files.test or {})
        return files_in_words([str(Path(self.root, name)) for part in parts for name in part.values()])

    def inputs(self, beside: Path) -> list[Path]:
        names = [name for part in (self.files.train, self.files.test) for name in (part or {}).values()]
        paths = (look_for((name, name + ".gz"), self.root, beside) for name in names)
        return [path for path in paths if path is not None]

    def read(self, beside: Path, columns: Collection[str], training: Collection[str] = ()) -> Opened:
        from sgc.data.columns import Opened, SourceColumn
        from sgc.data.idx import read_idx

        def part(files: dict[str, str], wanted: Collection[str]) -> SourceColumns:
            known_columns(wanted, files, file=self.root or None)
            paths = {name: find_file((files[name], files[name] + ".gz"), self.root, beside) for name in wanted}
            return {name: SourceColumn(name, read_idx(path), str(path)) for name, path in paths.items()}

        tested = [name for name in columns if name not in training]
        return Opened(
            part(self.files.train, columns), None if self.files.test is None else part(self.files.test, tested)
        )
