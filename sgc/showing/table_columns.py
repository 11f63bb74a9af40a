"""The columns of a table that a spec is started from: their cells, and what these may be."""

from __future__ import annotations

import itertools
import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sgc.errors import DataError
from sgc.showing.composing import FEW, ROWS
from sgc.showing.looking import parquet_columns

MISSING = ("", "NA", "N/A", "na", "NaN", "nan", "NULL", "null", "None", "?")
LARGEST_COUNT = 2**31  # above are numbers that name something
OFFERED = 200  # different values of a column of text that is still offered as categories
DEVIATIONS = 4  # of the index of dispersion, above which counts vary more than a Poisson's


@dataclass(frozen=True)
class TableColumn:
    """A column of a table as far as it was read; `why` it cannot be used, where that is known."""

    name: str
    cells: tuple[str, ...]  # empty ones left out
    empty: int
    why: str = ""

    @cached_property
    def distinct(self) -> list[str]:
        found = set(self.cells)
        return sorted(found, key=float) if self.numbers else sorted(found)

    @cached_property
    def numbers(self) -> bool:
        return bool(self.cells) and all(map(is_number, self.cells))

    @cached_property
    def whole(self) -> bool:
        return self.numbers and all(float(cell).is_integer() for cell in set(self.cells))

    @cached_property
    def counts(self) -> bool:
        """Tell whether the numbers may count something: whole, none below 0, and of more than two values.

        They are written as whole numbers; where some are missing, other tools write 3.0 for a 3.
        """
        written = self.empty > 0 or not any("." in cell for cell in self.cells)
        span = written and self.whole and len(self.distinct) > 2
        return span and float(self.distinct[0]) >= 0 and float(self.distinct[-1]) < LARGEST_COUNT

    @cached_property
    def overdispersed(self) -> bool:
        """Tell whether numbers vary more than those of a Poisson, by more than chance.

        Under a Poisson (n - 1) s² / mean is nearly χ² of n - 1 degrees (Fisher 1950): mean n - 1, variance 2 (n - 1).
        """
        values = [float(cell) for cell in self.cells]
        degrees, mean = len(values) - 1, statistics.fmean(values)
        if degrees < 1 or mean <= 0:
            return False
        index = degrees * statistics.variance(values, mean) / mean
        return index > degrees + DEVIATIONS * math.sqrt(2 * degrees)

    @cached_property
    def few(self) -> bool:
        count = len(set(self.cells))
        return 2 <= count <= min(FEW, max(2, len(self.cells) // 2)) and (self.whole or not self.numbers)

    @cached_property
    def decimal_comma(self) -> bool:
        numbers = bool(self.cells) and all(re.fullmatch(r"[+-]?[0-9]+(,[0-9]+)?", cell) for cell in self.cells)
        return numbers and not self.numbers

    @cached_property
    def offered(self) -> bool:
        """Tell whether the column is text that may well be categories, though of more values than a guess takes."""
        text = not (self.why or self.numbers or self.decimal_comma or self.few)
        return text and 2 <= len(self.distinct) <= min(OFFERED, len(self.cells) // 2)

    @cached_property
    def identifies(self) -> bool:
        """Tell whether the column only tells rows apart: by its name or as the next number each."""
        if len(set(self.cells)) < len(self.cells) or any("." in cell for cell in self.cells):
            return False
        named = re.fullmatch(r"(.*[_ ])?(id|index|idx|nr|no|number|row)|unnamed.*|", self.name.lower())
        return bool(named) or self._consecutive

    @property
    def _consecutive(self) -> bool:
        long = self.whole and not self.empty and len(self.cells) > FEW
        return long and all(float(b) - float(a) == 1 for a, b in itertools.pairwise(self.cells))

    def left_out(self) -> str:
        """Say why the column cannot be modelled; an empty string where it can."""
        if self.why:
            return self.why
        if len(set(self.cells)) < 2:
            return "a single value"
        if self.identifies:
            return "it only tells rows apart"
        if self.decimal_comma:
            return "numbers with a decimal comma, which are not read: write them with a point"
        if self.numbers or self.few:
            return ""
        return "text with many different values"


@dataclass(frozen=True)
class TableHead:
    """The first rows of a table."""

    columns: Sequence[TableColumn]
    rows: int
    whole: bool  # these are all
    separator: str = ","
    marks: Sequence[str] = ()  # what stands in empty cells


def is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell)) and "_" not in cell  # which Python alone takes for a part of a number
    except ValueError:
        return False


def read_head(path: Path) -> TableHead:
    """Read the first rows of a csv or parquet file. Raises: DataError."""
    return _read_parquet(path) if path.name.endswith(".parquet") else _read_csv(path)


def _read_parquet(path: Path) -> TableHead:
    typed, rows, whole = parquet_columns(path, ROWS)
    full = [tuple(cell for cell in each.cells if cell is not None) for each in typed]
    columns = [
        TableColumn(each.name, cells, rows - len(cells), each.why) for each, cells in zip(typed, full, strict=True)
    ]
    return TableHead(columns, rows, whole)


def _read_csv(path: Path) -> TableHead:
    from sgc.data.tables import likely_separator, open_rows  # which want numpy

    separator = likely_separator(path)
    with open_rows(path, separator) as reader:
        header = [cell.strip() for cell in next(reader, [])]
        lines = [row for row in itertools.islice(reader, ROWS + 1) if row]
    if not any(header):
        raise DataError("the file is empty, wanted a header line and rows", file=str(path))
    if not lines:
        raise DataError("found a header and no rows", file=str(path))
    for i, row in enumerate(lines):
        if len(row) != len(header):
            raise DataError(f"found {len(row)} cells, wanted {len(header)}, as in the header", file=str(path), row=i)
    twice = next((cell for i, cell in enumerate(header) if cell in header[:i]), None)
    if twice is not None:
        raise DataError(f"two columns named '{twice}'", file=str(path))
    if all(map(is_number, header)):
        raise DataError("the first line holds numbers, wanted a header with the columns' names", file=str(path))
    whole, lines = len(lines) <= ROWS, lines[:ROWS]
    columns, marks = [], set()
    for name, cells in zip(header, zip(*lines, strict=True), strict=True):
        stripped = [cell.strip() for cell in cells]
        marks |= {cell for cell in stripped if cell in MISSING}
        there = tuple(cell for cell in stripped if cell not in MISSING)
        columns.append(TableColumn(name, there, len(stripped) - len(there)))
    return TableHead(columns, len(lines), whole, separator, sorted(marks))
