"""The files that predictions are written to: tables that grow chunk by chunk, and archives that are made as a whole."""

from __future__ import annotations

import gzip
import importlib
import io
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, TypeAlias, final

from sgc.data.outputs import PART, ending_of
from sgc.errors import UsageError, writing
from sgc.trained.prediction_table import PredictionTable

GROUP_ROWS, GROUP_CELLS = 1 << 17, 1 << 22  # of a group of rows in a parquet file, at most


class GrowingFormat(ABC):
    """A file that grows chunk by chunk, whatever the number of rows.

    `package`: the module that it is written with, if it is one of others, and the extra of sgc that brings it.
    """

    ending: ClassVar[str]
    package: ClassVar[tuple[str, str] | None] = None

    @abstractmethod
    def head(self, table: PredictionTable) -> bytes:
        """Write what comes before the rows of the first chunk; all chunks have the same."""

    @abstractmethod
    def rows(self, table: PredictionTable) -> bytes:
        """Write the rows of a chunk."""

    @abstractmethod
    def whole(self, grown: bytes) -> bytes:
        """Make the file of a head and the rows after it."""

    @abstractmethod
    def complete(self, part: Path, path: Path) -> None:
        """Put the file that has grown in `part` into its place: the whole of it, or as it was. Raises: OSError."""


class WholeFormat(ABC):
    """A file that is made in memory as a whole, of up to `largest` numbers. `package`: as of the others."""

    ending: ClassVar[str]
    package: ClassVar[tuple[str, str] | None] = None
    largest: ClassVar[int]

    @abstractmethod
    def whole(self, tables: Sequence[PredictionTable]) -> bytes:
        """Make the file of the tables of all chunks."""

    def check_size(self, path: Path, rows: int, numbers: int) -> None:
        """Check that a file of so many rows of so many numbers can be made. Raises: UsageError."""
        if rows * numbers > self.largest:
            raise UsageError(
                f"{path}: {rows:,} rows of {numbers:,} numbers are too many for '{self.ending}', which is made in "
                f"memory as a whole (up to {self.largest:,} numbers): wanted .csv, .csv.gz or .parquet"
            )


Format: TypeAlias = GrowingFormat | WholeFormat


def check_package(kind: Format, path: Path) -> None:
    """Check that what a file of this kind is written with is installed. Raises: UsageError."""
    if kind.package is None:
        return
    module, extra = kind.package
    try:
        importlib.import_module(module)
    except ImportError:
        needed = module.partition(".")[0]
        raise UsageError(f"{path}: a {kind.ending} file needs {needed}: pip install 'sgc[{extra}]'") from None


@final
class CsvFormat(GrowingFormat):
    """A line for each row."""

    ending: ClassVar = ".csv"

    def head(self, table: PredictionTable) -> bytes:
        return table.csv_head()

    def rows(self, table: PredictionTable) -> bytes:
        return table.csv_rows()

    def whole(self, grown: bytes) -> bytes:
        return grown

    def complete(self, part: Path, path: Path) -> None:
        _rename(part, path)


@final
class GzippedCsvFormat(GrowingFormat):
    """A line for each row, in gzip: each chunk is a member of its own, which readers take for one stream."""

    ending: ClassVar = ".csv.gz"

    def head(self, table: PredictionTable) -> bytes:
        return gzip.compress(table.csv_head(), mtime=0)

    def rows(self, table: PredictionTable) -> bytes:
        return gzip.compress(table.csv_rows(), compresslevel=6, mtime=0)

    def whole(self, grown: bytes) -> bytes:
        return grown

    def complete(self, part: Path, path: Path) -> None:
        _rename(part, path)


def _rename(part: Path, path: Path) -> None:
    with writing(path):
        os.replace(part, path)


@final
class ParquetFormat(GrowingFormat):
    """The columns of the csv, each of its own type.

    It grows as a stream of arrow, since a parquet file that has no end yet says nothing.
    """

    ending: ClassVar = ".parquet"
    package: ClassVar = ("pyarrow.parquet", "parquet")

    def head(self, table: PredictionTable) -> bytes:
        return bytes(table.batch().schema.serialize())

    def rows(self, table: PredictionTable) -> bytes:
        return bytes(table.batch().serialize())

    def whole(self, grown: bytes) -> bytes:
        import pyarrow as arrow

        buffer = io.BytesIO()
        _to_parquet(arrow.BufferReader(grown), buffer)
        return buffer.getvalue()

    def complete(self, part: Path, path: Path) -> None:
        import pyarrow as arrow

        made = path.with_name(f".{secrets.token_hex(8)}{PART}")
        with writing(path):
            try:
                with made.open("xb") as file, arrow.OSFile(str(part)) as source:
                    _to_parquet(source, file)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(made, path)
            except BaseException:
                with suppress(OSError):
                    made.unlink()
                raise
        part.unlink()


def _to_parquet(source: Any, sink: Any) -> None:  # Any: files of arrow or Python
    """Copy a stream of arrow to a parquet file, in groups of rows whose size follows from the columns alone."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    with arrow.ipc.open_stream(source) as stream:
        size = max(1, min(GROUP_ROWS, GROUP_CELLS // len(stream.schema)))
        with parquet.ParquetWriter(sink, stream.schema) as writer:
            held = stream.schema.empty_table()
            for batch in stream:
                held = arrow.concat_tables([held, arrow.Table.from_batches([batch])])
                while len(held) >= size:
                    writer.write_table(held.slice(0, size), row_group_size=size)
                    held = held.slice(size)
            if len(held):
                writer.write_table(held, row_group_size=size)


@final
class NpzFormat(WholeFormat):
    """Arrays by name."""

    ending: ClassVar = ".npz"
    largest: ClassVar = 1 << 27  # a gibibyte of float64, of which three copies are in memory at the end

    def whole(self, tables: Sequence[PredictionTable]) -> bytes:
        return PredictionTable.joined(tables).npz()


@final
class JsonFormat(WholeFormat):
    """Lists by name."""

    ending: ClassVar = ".json"
    largest: ClassVar = 1 << 24  # a number of Python and its text take ten times the room

    def whole(self, tables: Sequence[PredictionTable]) -> bytes:
        return PredictionTable.joined(tables).json()


@final
class H5adFormat(WholeFormat):
    """Cells as AnnData has them, without counts: latents and probabilities in `obsm`, one value a row in `obs`."""

    ending: ClassVar = ".h5ad"
    package: ClassVar = ("anndata", "cells")
    largest: ClassVar = 1 << 27  # as of an archive

    def whole(self, tables: Sequence[PredictionTable]) -> bytes:
        from sgc.trained.annotated_predictions import annotated_bytes

        return annotated_bytes(PredictionTable.joined(tables))


FORMATS: tuple[Format, ...] = (
    CsvFormat(), GzippedCsvFormat(), ParquetFormat(), NpzFormat(), JsonFormat(), H5adFormat()
)  # fmt: skip
ENDINGS = tuple(kind.ending for kind in FORMATS)


def format_of(path: Path) -> Format:
    """Give the format of a file by its ending, which is one of `ENDINGS`."""
    ending = ending_of(path, ENDINGS)
    return next(kind for kind in FORMATS if kind.ending == ending)
