"""Sources whose rows stay in their files and are read as they are needed: many files, by blocks of rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias, final

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from sgc.data.label_fields import Refusable, Refused, pairs, refuse_later
from sgc.data.sources.file_sources import Mark, PictureSize
from sgc.data.sources.in_blocks import InBlocks
from sgc.data.sources.source import files_in_words, refuse_both, refuse_second_test
from sgc.errors import DataError
from sgc.piece import Many, Maybe, Piece

if TYPE_CHECKING:
    from sgc.data.blocks import Blocks
    from sgc.data.columns import Opened, SourceColumns
    from sgc.data.shards import Shard


def _address(name: str) -> str:
    from sgc.data.shards import fault_of_address

    fault = fault_of_address(name)
    if fault:
        raise PydanticCustomError("address", "'{name}': {fault}", {"name": name, "fault": fault})
    return name


def _form(value: object) -> str:
    return "<list>" if isinstance(value, (list, tuple)) else "<name>"


Name = Annotated[str, AfterValidator(_address)]
Names: TypeAlias = Annotated[
    Annotated[Name, Tag("<name>")] | Annotated[Many[Name], Field(min_length=1), Tag("<list>")], Discriminator(_form)
]
"""A file, a pattern of names, a folder or an address; or a list of them."""


def listed(names: str | Sequence[str]) -> tuple[str, ...]:
    """Give names as a list, also a single one."""
    return (names,) if isinstance(names, str) else tuple(names)


@final
class ShardParts(Piece):
    """`{train: FILES, test: FILES}`: the files of the two parts; without `test`, `split` may make that part."""

    train: Names = Field(
        description="The files of the training rows.",
        examples=["train-*.parquet"],
    )
    test: Maybe[Names] = Field(
        None,
        description="The files of the test rows.",
        examples=["test-*.parquet"],
    )


class ShardSource(InBlocks):
    """A source of many files of rows.

    `endings` are those of its files, for which a folder is searched. Rows are in the order of the files' names.
    """

    endings: ClassVar[tuple[str, ...]]

    root: Annotated[Name, Refusable] = Field(
        "",
        description=(
            "The folder that the files are in, looked for under `$SGC_DATA`, then beside the spec; or an address."
        ),
        examples=["cells", "s3://bucket/cells"],
    )
    file: Annotated[Maybe[Names], Refusable] = Field(
        None,
        description=(
            "The files of all rows: a file, a pattern, a folder, a range in braces, an address, or a list of them."
        ),
        examples=["part-*.parquet", ["a.parquet", "b.parquet"]],
    )
    files: Annotated[Maybe[ShardParts], Refusable] = Field(
        None,
        description="The files of the training rows and those of the test rows, in place of `file`.",
        examples=[{"train": "train-*.parquet", "test": "test-*.parquet"}],
    )

    @model_validator(mode="before")
    @classmethod
    def _exclude(cls, value: object) -> object:
        marked = refuse_later(value, pairs(("file", "files")))
        if not isinstance(marked, dict):
            return marked
        files = marked.get("files")
        if files is None and "file" not in marked:
            wanted = "no files: wanted 'file: FILES' or 'files: {train: FILES, test: FILES}'"
            marked["file"] = Refused("missing", wanted)
        return refuse_second_test(marked) if isinstance(files, dict) and files.get("test") is not None else marked

    @abstractmethod
    def blocks(self, shards: Sequence[Shard], columns: Collection[str], optional: Collection[str] = ()) -> Blocks:
        """Open these columns of files, and those of `optional` that are there. Raises: DataError."""

    @property
    def marks(self) -> tuple[str | float, ...] | None:
        """The marks of empty cells; None: the format has none."""
        return None

    def _named(self) -> list[tuple[str, ...]]:
        if self.files is None:
            return [listed(self.file or "")]
        return [listed(names) for names in (self.files.train, self.files.test) if names is not None]

    def needs(self) -> str:
        return files_in_words([str(Path(self.root, name)) for names in self._named() for name in names])

    def inputs(self, beside: Path) -> list[Path]:
        from sgc.data.shards import scheme_of

        found: list[Path] = []
        for names in self._named():
            near = [name for name in names if scheme_of(name) is None and scheme_of(self.root) is None]
            try:
                shards = self._shards(near, beside) if near else []
            except DataError:  # reading says what is wrong
                continue
            found += [shard.path for shard in shards if shard.path is not None]
        return found

    def takes(self, path: Path) -> bool:
        """Tell whether new rows in a file or folder are read as those of the spec."""
        return path.is_dir() or path.name.lower().endswith(self.endings)

    def read_file(self, path: Path, columns: Collection[str], optional: Collection[str] = ()) -> SourceColumns:
        """Open these columns of new rows, and those of `optional` that are there. Raises: DataError."""
        from sgc.data.shards import shards_at

        return self._opened(shards_at(path, self.endings), columns, optional)

    def _shards(self, names: Sequence[str], beside: Path) -> list[Shard]:
        from sgc.data.shards import find_shards

        return find_shards(names, self.root, beside, self.endings)

    def _opened(
        self, shards: Sequence[Shard], columns: Collection[str], optional: Collection[str] = ()
    ) -> SourceColumns:
        from sgc.data.block_store import block_columns

        blocks = self.blocks(shards, columns, optional)
        return block_columns(blocks, list(blocks.fields), self.room(), marks=self.marks)

    def read(self, beside: Path, columns: Collection[str], training: Collection[str] = ()) -> Opened:
        from sgc.data.columns import Opened

        parts = [self._shards(names, beside) for names in self._named()]
        if len(parts) > 1:
            refuse_both(*([shard.name for shard in part] for part in parts))
        tested = [name for name in columns if name not in training]
        return Opened(self._opened(parts[0], columns), self._opened(parts[1], tested) if len(parts) > 1 else None)


@final
class Parquet(ShardSource):
    """`source: parquet`: one or many parquet files, whose row groups are read as they are needed.

    Columns are numbers, text, booleans, and lists of one length as vectors; nulls are empty cells. All files have the
    same columns.
    """

    endings: ClassVar = (".parquet", ".pq")

    source: Literal["parquet"]
    missing_values: Many[Mark] = Field(
        ("",),
        description="The marks of empty cells, as text or as numbers.",
        examples=[["", "NA", -999]],
    )

    @property
    def marks(self) -> tuple[str | float, ...] | None:
        return self.missing_values

    def blocks(self, shards: Sequence[Shard], columns: Collection[str], optional: Collection[str] = ()) -> Blocks:
        from sgc.data.parquet_blocks import ParquetBlocks

        return ParquetBlocks(shards, columns, optional)


@final
class Tar(ShardSource):
    """`source: tar`: tar files in webdataset's layout, whose samples are read as they are needed.

    Members of one key, a name up to its first dot, are a sample, and their endings are its columns: pictures (`png`,
    `jpg`; `jpg;png` for either), `npy`, `cls` and `txt`, `json.KEY` for a key of JSON, `__key__`. A member that a
    sample lacks is an empty cell. `mode` and `size` are of pictures, as of `source: images`. Pickles are never loaded.
    """

    endings: ClassVar = (".tar",)

    source: Literal["tar"]
    mode: Maybe[Literal["grey", "colour"]] = Field(
        None,
        description="Whether pictures have one channel or three; to be said where a column has pictures.",
        examples=["colour"],
    )
    size: PictureSize = Field(
        None,
        description="The rows and columns that each picture is brought to. Absent: all have one size already.",
        examples=[[32, 32]],
    )

    def blocks(self, shards: Sequence[Shard], columns: Collection[str], optional: Collection[str] = ()) -> Blocks:
        from sgc.data.pictures import Wanted
        from sgc.data.tar_blocks import TarBlocks

        size = (self.size[0], self.size[1]) if self.size else None
        wanted = None if self.mode is None else Wanted(self.mode == "colour", size)
        return TarBlocks(shards, columns, wanted, self.room(), optional)
