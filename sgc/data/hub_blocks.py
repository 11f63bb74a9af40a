"""Rows of Hugging Face datasets in blocks: Arrow tables that `datasets` maps from disk, decoded as they are needed.

No code of a data set is run: the versions that are asked for have no scripts, and pictures are decoded here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np

from sgc.data.blocks import Blocks, Cells, Field, Room
from sgc.data.file_search import choose_columns
from sgc.data.parquet import plain_cells
from sgc.data.pictures import Wanted, read_picture
from sgc.errors import DataError

OF_SAVED = ("dataset_dict.json", "state.json")  # what `save_to_disk` leaves beside the tables


def load_part(folder: Path | None, name: str, config: str | None, revision: str | None, part: str) -> Any:
    """Load one part of a data set, of a folder or by its name; it stays on disk. Raises: DataError.

    Any: a `datasets.Dataset`, which is not annotated.
    """
    try:
        import datasets
    except ImportError as error:
        raise DataError("the source 'datasets' needs datasets: pip install 'sgc[datasets]'", file=name) from error
    if int(datasets.__version__.partition(".")[0]) < 4:
        found = f"found datasets {datasets.__version__}, wanted 4 or later, which runs no scripts of data sets"
        raise DataError(found, file=name)
    try:
        if folder is not None:
            loaded = datasets.load_from_disk(str(folder))
            if isinstance(loaded, datasets.DatasetDict):
                if part not in loaded:
                    raise DataError(f"no part '{part}': found {', '.join(loaded)}", file=name)
                return loaded[part]
            return loaded
        datasets.disable_progress_bars()
        return datasets.load_dataset(name, config, split=part, revision=revision)
    except DataError:
        raise
    except Exception as error:  # of the network, of the hub, of files: of every kind
        words = " ".join(str(error).split())[:300] or type(error).__name__
        advice = (
            ""
            if folder is not None
            else ("; without a network: load it where there is one, save it with save_to_disk, and name that folder")
        )
        raise DataError(f"cannot be loaded: {words}{advice}", file=name) from error


@final
class HubBlocks(Blocks):
    """The rows of a data set, so many to a block."""

    def __init__(
        self, rows: Any, name: str, columns: Collection[str], wanted: Wanted | None, room: Room
    ) -> None:  # Any: a `datasets.Dataset`
        """Look at the first rows. Raises: DataError: no such column, one that cannot be read, or no rows."""
        import pyarrow

        if not len(rows):
            raise DataError("found no rows", file=name)
        self.rows, self.name, self.wanted = rows.with_format("arrow"), name, wanted
        chosen = choose_columns(columns, (), list(rows.column_names), name)
        self.pictured = {each for each in chosen if _is_picture(rows.features[each])}
        if self.pictured and wanted is None:
            which = sorted(self.pictured)[0]
            message = f"column '{which}' has pictures: say with 'mode: grey' or 'mode: colour' how they are read"
            raise DataError(message, file=name)
        self.files, self.fields = [name], {}
        self.starts, self.owners = np.array([0, len(rows)]), np.zeros(1, dtype=np.int64)
        some = self.rows[: min(64, len(rows))]
        fields: dict[str, Field] = {}
        for each in chosen:
            values, null = self._cells(some, each, 0)
            kind = rows.data.schema.field(each).type
            if null.all() and each not in self.pictured:  # as of a column that is rarely filled
                values = self._first_filled(each, values)
            nullable = bool(rows.data.column(each).null_count) or pyarrow.types.is_nested(kind)
            dtype = np.dtype("U") if values.dtype.kind == "U" else values.dtype
            fields[each] = Field(dtype, values.shape[1:], dtype.kind != "f" and nullable and each not in self.pictured)
        self.fields: Mapping[str, Field] = fields
        step = room.step(fields.values())
        self.starts = np.append(np.arange(0, len(rows), step), len(rows)).astype(np.int64)
        self.owners = np.zeros(len(self.starts) - 1, dtype=np.int64)

    def read(self, block: int, names: Collection[str]) -> Mapping[str, Cells]:
        start, stop = (int(row) for row in self.starts[block : block + 2])
        table = self.rows.select_columns(list(names))[start:stop]
        read: dict[str, Cells] = {}
        for name in names:
            field, (values, null) = self.fields[name], self._cells(table, name, start)
            if null.all() and values.shape[1:] != field.shape:
                values = np.zeros((len(values), *field.shape), dtype=field.dtype)
                null = np.ones(values.shape, dtype=bool)
            if values.shape[1:] != field.shape:
                found = f"found the shape {list(values.shape[1:])}, wanted {list(field.shape)}, as in the first row"
                raise self.error(f"column '{name}': {found}", start)
            values = values if field.dtype.kind == "U" else values.astype(field.dtype)
            if field.dtype.kind == "f" and null.any():
                values[null] = np.nan
            read[name] = Cells(values, null if field.marked and null.any() else None)
        return read

    def _first_filled(self, name: str, nothing: Any) -> Any:  # Any: arrays
        """Give the values of the first cell of a column that is not null, or else `nothing`."""
        for chunk in self.rows.data.column(name).chunks:
            cell = chunk.drop_null().slice(0, 1)
            if len(cell):
                return plain_cells(getattr(cell, "storage", cell), name, self.name)[0]
        return nothing

    def _cells(self, table: Any, name: str, start: int) -> tuple[Any, Any]:  # Any: a table and arrays
        array = table.column(name).combine_chunks()
        array = getattr(array, "storage", array)  # of arrays of a fixed shape
        if name not in self.pictured:
            try:
                return plain_cells(array, name, self.name)
            except DataError as error:
                raise self.error(error.message, start + (error.row or 0)) from error
        pictures = [self._picture(cell, name, start + place) for place, cell in enumerate(array.to_pylist())]
        for place, picture in enumerate(pictures):
            if picture.shape != pictures[0].shape:
                found = f"found a picture of the shape {list(picture.shape)}, wanted {list(pictures[0].shape)}"
                hint = "'size: [rows, columns]' brings all to one size"
                raise self.error(f"column '{name}': {found}, as before: {hint}", start + place)
        return np.stack(pictures), np.zeros((len(pictures), *pictures[0].shape), dtype=bool)

    def _picture(self, cell: Any, name: str, row: int) -> Any:  # Any: a cell as Arrow has it, and an array
        content = cell.get("bytes") if isinstance(cell, dict) else None
        if not isinstance(content, bytes):
            found = "no picture" if cell is None else "a picture by its path, which is not followed"
            raise self.error(f"column '{name}': found {found}, wanted its bytes in the table", row)
        assert self.wanted is not None
        try:
            return read_picture(Path(self.name), None, self.wanted, content)
        except DataError as error:
            raise self.error(f"column '{name}': {error.message}", row) from error

    def digest(self) -> str:
        files = [Path(file["filename"]) for file in self.rows.cache_files]
        facts = [str(getattr(self.rows, "_fingerprint", "")), str(len(self.rows))]
        facts += [f"{file.name} {file.stat().st_size}" for file in files if file.is_file()]
        return hashlib.blake2b("\n".join(facts[1:]).encode(), digest_size=16).hexdigest()


def _is_picture(feature: Any) -> bool:  # Any: of `datasets`
    return type(feature).__name__ == "Image"
