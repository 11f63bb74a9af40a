"""The columns of a table that a spec is started from: their cells, and what these may be."""

from __future__ import annotations

import itertools
import math
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path

from sgc.errors import DataError
from sgc.starter.spec_text import FEW, ROWS

MISSING = ("", "NA", "N/A", "na", "NaN", "nan", "NULL", "null", "None", "?")
LETTERS = 1 << 22  # of rows that are looked at: they may be long
LARGEST_COUNT = 10**6  # a network starts far from larger ones, and of those no single one tells
CODES = 5  # so many different whole numbers, or fewer, may be codes
SCALE = 12  # and so many from 1 up, without a gap, a scale or months
OFFERED = 200  # different values of a column of text that is still offered as categories
DEVIATIONS = 4  # of a normal, above which the dispersion of numbers is no chance
MANY, SEVERAL = 10, 3  # columns alike that say what the others are, the fewer where there is nothing else
ODD = 5  # different words among numbers that may stand for empty cells
DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{1,2}:\d{2}")
TRUTHS = ({"False", "True"}, {"false", "true"}, {"FALSE", "TRUE"})
PAIRS = 20  # that are expected in the same row of a Poisson's counts, where these are enough to judge by


class Kind(Enum):
    """What a column is modelled as."""

    NUMBER = "number"
    COUNT = "count"
    FLAG = "flag"  # 0 or 1
    CATEGORIES = "categories"
    OFFERED = "offered"  # categories, of more values than a guess takes
    UNUSED = "unused"


@dataclass(frozen=True)
class TableColumn:
    """A column of a table as far as it was read; `why` it cannot be used, where that is known."""

    name: str
    cells: tuple[str, ...]  # empty ones left out
    empty: int
    why: str = ""

    @cached_property
    def often(self) -> Counter[str]:
        return Counter(self.cells)

    @cached_property
    def distinct(self) -> list[str]:
        """List the different cells in order, each number once, as 3 where other tools write 3.0."""
        if not self.numbers:
            return sorted(self.often)
        return [_integer_text(cell) for _, cell in sorted({float(cell): cell for cell in self.often}.items())]

    @cached_property
    def numbers(self) -> bool:
        """Tell whether the cells are numbers; with zeros in front, as of 01234, they name something."""
        return bool(self.cells) and not self.coded and all(map(is_number, self.often))

    @cached_property
    def coded(self) -> bool:
        return any(re.fullmatch(r"0[0-9]+", cell) for cell in self.often)

    @cached_property
    def integers(self) -> bool:
        return self.numbers and all(float(cell).is_integer() for cell in self.often)

    @cached_property
    def from_zero(self) -> bool:
        return self.integers and float(self.distinct[0]) == 0

    @cached_property
    def countable(self) -> bool:
        """Tell whether the numbers are written as counts are: whole, from 0 up, and none too large.

        Where some are missing, other tools write 3.0 for a 3.
        """
        written = self.empty > 0 or not any("." in cell for cell in self.often)
        return written and self.integers and float(self.distinct[0]) >= 0 and float(self.distinct[-1]) <= LARGEST_COUNT

    @cached_property
    def dispersion(self) -> float:
        """Tell by how many deviations of a normal the numbers vary more than a Poisson's, or less; 0 of too few.

        Under a Poisson (n - 1) s² / mean is nearly χ² of n - 1 degrees (Fisher 1950), and the cube root of a χ² over
        its degrees ν is nearly normal, of mean 1 - 2/(9ν) and variance 2/(9ν) (Wilson and Hilferty 1931). What n rows
        count, T in all, tells by its pairs in one row: T²/2n of them are expected.
        """
        values = [float(cell) for cell in self.cells]
        degrees, total = len(values) - 1, math.fsum(values)
        if degrees < 1 or total**2 < 2 * PAIRS * len(values):
            return 0.0
        mean = total / len(values)
        part = 2 / (9 * degrees)
        return (math.cbrt(statistics.variance(values, mean) / mean) - (1 - part)) / math.sqrt(part)

    @property
    def overdispersed(self) -> bool:
        """Tell whether numbers vary more than those of a Poisson, by more than chance."""
        return self.dispersion > DEVIATIONS

    @cached_property
    def few(self) -> bool:
        count = len(self.often)
        return 2 <= count <= min(FEW, max(2, len(self.cells) // 2)) and (self.integers or not self.numbers)

    @cached_property
    def kind(self) -> Kind:
        """Guess what the column is, by itself."""
        if self.left_out():
            return Kind.UNUSED
        if self.flag:
            return Kind.FLAG
        if not self.numbers:
            return Kind.CATEGORIES if self.few else Kind.OFFERED
        if self.few and self._codes:
            return Kind.CATEGORIES
        return Kind.COUNT if self.countable and not self.measured else Kind.NUMBER

    @property
    def flag(self) -> bool:
        """Tell whether the column says only yes or no, as 0 and 1 or as false and true."""
        return self.distinct == ["0", "1"] or set(self.distinct) in TRUTHS

    @property
    def _codes(self) -> bool:
        """Tell whether few whole numbers are codes: not many, or a scale from 1 up.

        Of counts from 0 up, where they are as few as codes, the larger are seen less often.
        """
        values = [int(float(value)) for value in self.distinct]
        if self.countable and len(values) > 2 and values == list(range(len(values))):
            frequency = Counter(int(float(cell)) for cell in self.cells)
            falls = (
                all(frequency[value] >= frequency[value + 1] for value in values)
                and frequency[0] >= 2 * frequency[values[-1]]
            )
            if falls:
                return False
        return len(values) <= CODES or (len(values) <= SCALE and values == list(range(1, len(values) + 1)))

    @property
    def measured(self) -> bool:
        """Tell whether numbers that may be counts vary too little for any: years, say."""
        return self.dispersion < -DEVIATIONS and float(self.distinct[0]) > 0

    @cached_property
    def commas(self) -> bool:
        """Tell whether the cells are numbers with decimal commas, or with commas between thousands."""
        written = all(re.fullmatch(r"[+-]?[0-9]+([.,][0-9]+)*", cell) for cell in self.often)
        return written and not self.coded and any("," in cell for cell in self.often)

    @cached_property
    def identifies(self) -> bool:
        """Tell whether the column only identifies rows: by its name, or by consecutive numbers."""
        if len(self.often) < len(self.cells) or any("." in cell for cell in self.cells):
            return False
        named = self._named("id|index|idx|nr|no|number|row") or re.fullmatch("unnamed.*|", self.name.lower())
        return bool(named) or self._consecutive

    def _named(self, words: str) -> bool:
        last = re.fullmatch(rf"(.*[_ ])?({words})", self.name.lower())
        return bool(last) or bool(re.fullmatch(".*[a-z](Id|ID)", self.name))

    @property
    def _consecutive(self) -> bool:
        if not self.numbers or self.empty or len(self.cells) <= FEW:
            return False
        if not all(re.fullmatch(r"-?[0-9]+", cell) for cell in self.cells):
            return False
        return all(int(after) - int(before) == 1 for before, after in itertools.pairwise(self.cells))

    def left_out(self) -> str:
        """Say why the column cannot be modelled; an empty string where it can."""
        if self.why:
            return self.why
        if len(self.often) < 2:
            return "a single value"
        if self.identifies:
            return "it only tells rows apart"
        if self._named("id") and not self.few and (self.integers or not self.numbers):
            return "it names groups of rows: `group` under `split` keeps those of one on one side"
        if self.commas:
            return "numbers written with a comma, which are not read: write 1234.5 for 1.234,5 or 1,234.5"
        if any(re.fullmatch(r"[+-]?[0-9]{16,}", value) for value in (self.distinct[0], self.distinct[-1])):
            return "numbers of more digits than are kept apart"
        return "" if self.numbers or self.few else self._too_many()

    def _too_many(self) -> str:
        """Say why text of many values cannot be categories; an empty string where it can."""
        if all(DATE.match(cell) for cell in self.often):
            return "dates or times: write what they mean here, as an age or a month, as numbers"
        odd = [value for value in self.distinct if not is_number(value)]
        if len(odd) <= ODD and len(odd) < len(self.often) / 2 and not self.coded:
            shown = ", ".join(f"'{value}'" for value in odd)
            return f"numbers, but for {shown}: name what stands for an empty cell under `missing_values`"
        if len(self.often) == len(self.cells):
            return "it only tells rows apart"
        if len(self.often) > min(OFFERED, len(self.cells) // 2):
            return "text with many different values"
        return ""


def kinds(columns: Sequence[TableColumn]) -> list[Kind]:
    """Guess what columns are, each beside the others.

    Whole numbers from 0 up of so few values that they may be codes are what most like them are, where these are many
    or all that there is: of a table of genes, those that are seldom seen; of one of grey values, the picture's edge.
    """
    guesses = [column.kind for column in columns]
    wide = [kind for kind, column in zip(guesses, columns, strict=True) if column.from_zero and kind is not Kind.UNUSED]
    small = sum(kind in (Kind.FLAG, Kind.CATEGORIES) for kind in wide)
    alone = all(column.countable for kind, column in zip(guesses, columns, strict=True) if kind is not Kind.UNUSED)
    least = SEVERAL if alone else MANY
    most = next((kind for kind in (Kind.COUNT, Kind.NUMBER) if wide.count(kind) >= max(least, 2 * small + 1)), None)

    def beside_others(kind: Kind, column: TableColumn) -> Kind:
        little = kind in (Kind.FLAG, Kind.CATEGORIES) and column.from_zero
        return most if most and little and (most is Kind.NUMBER or column.countable) else kind

    return list(map(beside_others, guesses, columns))


@dataclass(frozen=True)
class TableHead:
    """The first rows of a table."""

    columns: Sequence[TableColumn]
    rows: int
    complete: bool  # whether these are all
    separator: str = ","
    marks: Sequence[str] = ()  # the marks of empty cells


def _integer_text(cell: str) -> str:
    """Write a whole number as one.

    >>> _integer_text("3.0"), _integer_text("0.5")
    ('3', '0.5')
    """
    return re.sub(r"\.0*$", "", cell) if re.fullmatch(r"-?[0-9]+\.0*", cell) else cell


def is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell)) and "_" not in cell  # which Python alone takes for a part of a number
    except ValueError:
        return False


def read_head(path: Path) -> TableHead:
    """Read the first rows of a csv or parquet file. Raises: DataError."""
    return _read_parquet(path) if path.name.endswith(".parquet") else _read_csv(path)


def _read_parquet(path: Path) -> TableHead:
    from sgc.data.parquet import column_names, read_parquet  # which want numpy

    columns: list[TableColumn] = []
    rows, complete = 0, True
    for name in column_names(path):
        try:
            column = read_parquet(path, [name])[name]
        except DataError as problem:
            if not problem.message.startswith(f"column '{name}'"):
                raise
            columns.append(TableColumn(name, (), 0, "neither numbers nor text"))
            continue
        rows, complete = min(len(column), ROWS), len(column) <= ROWS
        if column.values.ndim > 1:
            columns.append(TableColumn(name, (), rows, "lists: a column of its own node"))
            continue
        missing = [False] * rows if column.missing is None else column.missing[:rows].tolist()
        cells = zip(column.values[:rows].tolist(), missing, strict=True)
        filled = tuple(_text(cell) for cell, empty in cells if not empty and cell == cell)
        columns.append(TableColumn(name, filled, rows - len(filled)))
    if not columns or not rows:
        raise DataError("found no rows" if columns else "found no columns", file=str(path))
    return TableHead(columns, rows, complete)


def _text(cell: str | bool | int | float) -> str:
    """Write a cell as a csv file would have it, with a point where it is no integer, and truth as 0 or 1.

    >>> _text(True), _text(3), _text(3.0), _text("a")
    ('1', '3', '3.0', 'a')
    """
    if isinstance(cell, str):
        return cell
    return repr(cell) if isinstance(cell, float) else str(int(cell))


def _read_csv(path: Path) -> TableHead:
    from sgc.data.tables import likely_separator, open_rows, rows_below  # which want numpy

    separator = likely_separator(path)
    with open_rows(path, separator) as reader:
        header = [cell.strip() for cell in next(reader, [])]
        if not any(header):
            raise DataError("the file is empty, wanted a header line and rows", file=str(path))
        lines: list[list[str]] = []
        letters, complete = 0, True
        for _, row in rows_below(reader, header, path):
            if len(lines) == ROWS or letters > LETTERS:
                complete = False
                break
            lines.append([cell.strip() for cell in row])
            letters += len(row) + sum(map(len, row))
    if not lines:
        raise DataError("found a header and no rows", file=str(path))
    twice = next((cell for i, cell in enumerate(header) if cell in header[:i]), None)
    if twice is not None:
        raise DataError(f"two columns named '{twice}'", file=str(path))
    if all(map(is_number, header)):
        raise DataError("the first line holds numbers, wanted a header with the columns' names", file=str(path))
    columns, marks = [], set()
    for name, cells in zip(header, zip(*lines, strict=True), strict=True):
        marks |= {cell for cell in cells if cell in MISSING}
        filled = tuple(cell for cell in cells if cell not in MISSING)
        columns.append(TableColumn(name, filled, len(cells) - len(filled)))
    return TableHead(columns, len(lines), complete, separator, sorted(marks))
