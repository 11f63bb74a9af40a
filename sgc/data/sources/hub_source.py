"""Hugging Face datasets as a source: a folder that `save_to_disk` wrote, or a data set of the hub by its name."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, final

from pydantic import Field, model_validator

from sgc.data.file_search import look_for
from sgc.data.sources.file_sources import PictureSize
from sgc.data.sources.in_blocks import InBlocks
from sgc.data.sources.source import refuse_second_test
from sgc.errors import DataError
from sgc.piece import Maybe, Piece

if TYPE_CHECKING:
    from sgc.data.columns import Opened, SourceColumns


@final
class HubParts(Piece):
    """`{train: NAME, test: NAME}`: what the data set calls its parts."""

    train: str = Field(
        "train",
        description="The part of the training rows.",
        examples=["train"],
    )
    test: Maybe[str] = Field(
        None,
        description="The part of the test rows; without it, `split` may make them.",
        examples=["test"],
    )


@final
class HubDatasets(InBlocks):
    """`source: datasets`: a Hugging Face data set, whose rows are read as they are needed.

    `dataset` is a folder that `save_to_disk` wrote, looked for under `$SGC_DATA`, then beside the spec, or else the
    name of one at the hub, which `datasets` fetches and keeps. Columns are numbers, text, lists of one length, class
    labels as their numbers, and pictures (`mode`, `size`, as of `source: images`). No code of a data set is run.
    """

    source: Literal["datasets"]
    dataset: str = Field(
        min_length=1,
        description="A folder that `save_to_disk` wrote, or the name of a data set at the hub.",
        examples=["saved/cells", "ylecun/mnist"],
    )
    config: Maybe[str] = Field(
        None,
        description="Which configuration of the data set, where it has several.",
        examples=["mnist"],
    )
    revision: Maybe[str] = Field(
        None,
        description="Which version of a data set at the hub: a commit, so that rows stay the same.",
        examples=["77f3279092a1c1579b2250db8eafed0ad422088c"],
    )
    parts: HubParts = Field(
        HubParts(),
        description="What the data set calls its training rows and its test rows.",
        examples=[{"train": "train", "test": "test"}],
    )
    mode: Maybe[Literal["grey", "colour"]] = Field(
        None,
        description="Whether pictures have one channel or three; to be said where a column has pictures.",
        examples=["grey"],
    )
    size: PictureSize = Field(
        None,
        description="The rows and columns that each picture is brought to. Absent: all have one size already.",
        examples=[[32, 32]],
    )

    @model_validator(mode="before")
    @classmethod
    def _exclude(cls, value: object) -> object:
        parts = value.get("parts") if isinstance(value, dict) else None
        return refuse_second_test(value) if isinstance(parts, dict) and parts.get("test") is not None else value

    def needs(self) -> str:
        return f"the data set {self.dataset}: a folder that save_to_disk wrote, or one of the hub, by its name"

    def inputs(self, beside: Path) -> list[Path]:
        folder = look_for((self.dataset,), "", beside, folders=True)
        return [] if folder is None else [folder]

    def read(self, beside: Path, columns: Collection[str], training: Collection[str] = ()) -> Opened:
        from sgc.data.columns import Opened
        from sgc.data.hub_blocks import OF_SAVED

        folder = look_for((self.dataset,), "", beside, folders=True)
        if folder is not None and not any((folder / name).is_file() for name in OF_SAVED):
            wanted = "wanted what save_to_disk wrote; of other files, take source: parquet, tar, images or table"
            raise DataError(f"no saved data set: {wanted}", file=str(folder))
        if self.parts.test == self.parts.train:
            found = f"the part '{self.parts.train}' is 'train' and 'test'"
            raise DataError(f"{found}: the test would be of rows that are trained on", file=self.dataset)
        train = self._part(folder, self.parts.train, columns)
        if self.parts.test is None:
            return Opened(train)
        return Opened(train, self._part(folder, self.parts.test, [name for name in columns if name not in training]))

    def _part(self, folder: Path | None, part: str, columns: Collection[str]) -> SourceColumns:
        from sgc.data.block_store import block_columns
        from sgc.data.hub_blocks import HubBlocks, load_part
        from sgc.data.pictures import Wanted

        name = self.dataset if folder is None else str(folder)
        rows: Any = load_part(folder, name, self.config, self.revision, part)  # Any: of a library without types
        size = (self.size[0], self.size[1]) if self.size else None
        wanted = None if self.mode is None else Wanted(self.mode == "colour", size)
        blocks = HubBlocks(rows, name, columns, wanted, self.room())
        return block_columns(blocks, list(blocks.fields), self.room(), marks=None)
