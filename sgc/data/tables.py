"""Tables: csv files with a header line, plain or gzipped, as text; parquet files are read in `parquet`."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import itertools
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from sgc.data.columns import SourceColumn, SourceColumns
from sgc.data.empty_cells import MARKS, Mark
from sgc.data.file_search import choose_columns
from sgc.data.raw_files import CHUNK, open_binary, reading, text_lines
from sgc.errors import DataError


def read_table(
    path: Path,
    columns: Collection[str],
    *,
    separator: str = ",",
    missing_values: Sequence[Mark] = MARKS,
    optional: Collection[str] = (),
    also: Collection[str] = (),
) -> SourceColumns:
    """Read these columns as text, spaces around a cell dropped, and those of `optional` that are there.

    also: columns that the source has beside those of the table, to be named where one is unknown.

    Rows count from 0 below the header; empty lines are no rows. Of `missing_values`, numbers are compared by value and
    text as it is written. A file that ends in .parquet is read as one: it has no separator, and its columns have types.

    Raises:
        DataError: not text, a line with more or fewer cells than the header, or no such column.
    """
    if path.name.lower().endswith(".parquet"):
        from sgc.data.parquet import read_parquet

        return read_parquet(path, columns, missing_values=missing_values, optional=optional, also=also)
    chunks = table_chunks(
        path,
        columns,
        size=sys.maxsize,
        separator=separator,
        missing_values=missing_values,
        optional=optional,
        also=also,
    )
    return next(iter(chunks))


def table_chunks(
    path: Path,
    columns: Collection[str],
    *,
    size: int,
    skip: int = 0,
    separator: str = ",",
    missing_values: Sequence[Mark] = MARKS,
    optional: Collection[str] = (),
    also: Collection[str] = (),
) -> Iterator[SourceColumns]:
    """Read a table as `read_table` does, but so many rows at a time, the last chunk as many as are left.

    skip: rows at the beginning that are left out. A table without rows below them is one chunk of none.

    Raises: DataError, as `read_table`, where the reading comes to it.
    """
    if path.name.lower().endswith(".parquet"):
        from sgc.data.parquet import parquet_chunks

        yield from parquet_chunks(
            path, columns, size=size, skip=skip, missing_values=missing_values, optional=optional, also=also
        )
        return
    marks = tuple(missing_values)
    with open_rows(path, separator) as reader:
        header = [name.strip() for name in next(reader, [])]
        wanted = choose_columns(columns, optional, header, str(path), also)
        places = [header.index(name) for name in wanted]
        rows = itertools.islice(rows_below(reader, header, path), skip, None)
        first, ended = skip, False
        while not ended:
            lines: list[int] = []
            cells: list[list[str]] = [[] for _ in wanted]
            for line, row in itertools.islice(rows, size):
                lines.append(line)
                for column, place in zip(cells, places, strict=True):
                    column.append(row[place].strip())
            ended = len(lines) < size
            if lines or first == skip:
                numbers = np.array(lines, dtype=np.int64)
                yield {
                    name: SourceColumn(
                        name, np.array(column, dtype=str), str(path), lines=numbers, marks=marks, first=first
                    )
                    for name, column in zip(wanted, cells, strict=True)
                }
            first += len(lines)


@contextlib.contextmanager
def open_rows(path: Path, separator: str) -> Iterator[Iterator[list[str]]]:
    """Open a csv file row by row, the header first. Raises: DataError where it cannot be read to its end."""
    with _open_lines(path) as lines:
        yield csv.reader(lines, delimiter=separator, strict=True)


def likely_separator(path: Path) -> str:
    """Guess the separator of the cells of a csv file: of comma, semicolon and tab, what its header has most of.

    Characters in quotes are no separators. Raises: DataError.
    """
    with _open_lines(path) as lines:
        header = re.sub(r'"[^"]*"', "", next(lines, ""))
    return max(",;\t", key=header.count)  # the first of them where none is there


def rows_below(reader: Iterator[list[str]], header: Sequence[str], path: Path) -> Iterator[tuple[int, list[str]]]:
    """Give the rows below a header, each with the line where it begins, all of as many cells.

    An empty line is no row, unless there is one column: then it is an empty cell. Raises: DataError.
    """
    count = 0
    end: int = reader.line_num  # type: ignore[attr-defined]  # csv's reader has no public type
    for row in reader:
        line, end = end + 1, reader.line_num  # type: ignore[attr-defined]  # a cell may have line breaks
        if not row and len(header) > 1:
            continue
        cells = row or [""]
        if len(cells) != len(header):
            message = f"found {len(cells)} cells, wanted {len(header)}, as in the header (line {line} of the file)"
            raise DataError(message, file=str(path), row=count)
        yield line, cells
        count += 1


@contextlib.contextmanager
def _open_lines(path: Path) -> Iterator[Iterator[str]]:
    """Open a text file line by line, and say what goes wrong as it is read. Raises: DataError."""
    with reading(path):
        try:
            with open_binary(path) as binary, io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as text:
                yield text_lines(text, path)
        except UnicodeDecodeError as error:
            raise DataError(f"not a text file in UTF-8: {where_no_text(path)}", file=str(path)) from error
        except csv.Error as error:
            raise DataError(f"not a csv file: {error}", file=str(path)) from error


def where_no_text(path: Path) -> str:
    """Say why a file, gzipped or not, is no UTF-8, and at which of its bytes: decoders start counting at each read."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    before = 0
    with open_binary(path) as file:
        while True:
            held = len(decoder.getstate()[0])  # begun in the chunk before
            chunk = file.read(CHUNK)
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                return f"{error.reason} at byte {before - held + error.start}"
            assert chunk, "all of it is UTF-8"
            before += len(chunk)


UNNAMED = ("", "Unnamed: 0")  # how pandas heads an index, and what it makes of that heading when it reads it


def index_column(path: Path, separator: str = ",") -> str | None:
    """Name the column that holds the rows' own names, as pandas and R write them; None where there is none.

    Of a csv it is the first, if it has no name; of a parquet file what its metadata say. Raises: DataError.
    """
    if path.name.lower().endswith(".parquet"):
        from sgc.data.parquet import parquet_index

        return parquet_index(path)
    with open_rows(path, separator) as reader:
        header = [name.strip() for name in next(reader, [])]
    return header[0] if len(header) > 1 and header[0] in UNNAMED and header.count(header[0]) == 1 else None
