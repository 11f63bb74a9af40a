"""A starting spec from the columns of a table: a csv or parquet file."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sgc.data.text_lines import text_lines
from sgc.errors import DataError
from sgc.showing.composing import FEW, LABELS, ROWS, Label, Observed, compose, file_text, folded, listed_values, quoted
from sgc.showing.looking import parquet_columns

LAST = "the last column that can be one"
NODES = 6  # columns of categories that become nodes of their own
MISSING = ("", "NA", "N/A", "na", "NaN", "nan", "NULL", "null", "None", "?")


@dataclass(frozen=True)
class _Cells:
    """A column of a table as far as it was read; `why` it cannot be used, where that is known."""

    name: str
    cells: tuple[str, ...]  # empty ones left out
    empty: int
    why: str = ""

    @property
    def distinct(self) -> list[str]:
        found = set(self.cells)
        return sorted(found, key=float) if self.numbers else sorted(found)

    @property
    def numbers(self) -> bool:
        return bool(self.cells) and all(map(_is_number, self.cells))

    @property
    def whole(self) -> bool:
        return self.numbers and all(float(cell).is_integer() for cell in set(self.cells))

    @property
    def few(self) -> bool:
        count = len(set(self.cells))
        return 2 <= count <= min(FEW, max(2, len(self.cells) // 2)) and (self.whole or not self.numbers)

    @property
    def identifies(self) -> bool:
        """Tell whether the column only tells rows apart."""
        named = re.fullmatch(r"(.*[_ ])?(id|index|idx|nr|no|number|row)|unnamed.*|", self.name.lower())
        return bool(named) and len(set(self.cells)) == len(self.cells) and not any("." in cell for cell in self.cells)


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell)) and "_" not in cell  # which Python alone takes for a part of a number
    except ValueError:
        return False


def table_spec(name: str, path: Path, file: str) -> str:
    columns, separator, marks, rows, whole = _read_table(path)
    useful = [c for c in columns if len(set(c.cells)) > 1 and not c.identifies and (c.few or c.numbers)]
    if not useful:
        raise DataError("no column of numbers or of few categories to model", file=str(path))
    label, chosen = None, None
    if len(useful) > 1:
        named = [column for column in useful if column.name.lower() in LABELS]
        partly = [column for column in useful if column.few and column.empty]
        chosen = (named or partly or useful)[-1]
        why = "by its name" if named else "the last column of few values, some of them missing" if partly else LAST
        values = tuple(map(_category, chosen.distinct)) if chosen.few else None
        label = Label(chosen.name, values, chosen.empty, why)
    rest = [column for column in useful if column is not chosen]
    kept = [column for column in rest if column.numbers]
    words = [column for column in rest if not column.numbers][:NODES]
    if not kept and not words:
        raise DataError("no column beside the label", file=str(path))
    observed = _table_nodes(kept, words)
    looked = f"{rows:,} rows" if whole else f"the first {rows:,} rows"
    head = [f"A starting spec for {path.name}, guessed from its header and {looked}: read it, and mend what is wrong."]
    head += _left_out(columns, [*kept, *words, *([chosen] if chosen else [])])
    source = ["source: table", f"file: {file_text(file)}    # looked for under $SGC_DATA, then beside this file"]
    if separator != ",":
        source.append(f"separator: {json.dumps(separator)}")
    if marks:
        source.append(f"missing_values: [{', '.join(map(json.dumps, marks))}]    # what stands in empty cells")
    return compose(name, head, source, observed, label)


def _table_nodes(numeric: Sequence[_Cells], words: Sequence[_Cells]) -> list[Observed]:
    """Make one vector of all numbers, and a node of each column of words."""
    observed: list[Observed] = []
    if numeric:
        listed = folded("{column: [", [quoted(column.name) for column in numeric], "], transforms: [standardize]}")
        column = "\n      ".join(line.strip() for line in listed)
        vector = ("distribution: Normal", f"shape: [{len(numeric)}]")
        holes = any(column.empty for column in numeric)
        observed.append(Observed("x", column, vector, "the columns of numbers, as one vector", holes))
    taken = {"x", "y", "z"}
    for column_ in words:
        node = re.sub(r"[^A-Za-z0-9_-]+", "_", column_.name).strip("_")
        node = node if re.match(r"[A-Za-z]", node) else f"c_{node}"
        while node in taken:
            node += "_"
        taken.add(node)
        values = [line.strip() for line in listed_values([_category(value) for value in column_.distinct])]
        lines = ("distribution: Categorical", values[0], *(f"  {line}" for line in values[1:]))
        observed.append(Observed(node, f"{{column: {quoted(column_.name)}}}", lines, holes=column_.empty > 0))
    return observed


def _left_out(columns: Sequence[_Cells], used: Sequence[_Cells]) -> list[str]:
    """Say which columns the spec does not use, and why."""
    reasons: dict[str, list[str]] = {}
    for column in columns:
        if column in used:
            continue
        if column.why:
            why = column.why
        elif len(set(column.cells)) < 2:
            why = "a single value"
        elif column.identifies:
            why = "it only tells rows apart"
        elif not column.numbers and not column.few:
            why = "text with many different values"
        else:
            why = f"more than {NODES} columns of categories"
        reasons.setdefault(why, []).append(column.name or "(no name)")
    return [f"Left out: {', '.join(names)} ({why})." for why, names in reasons.items()]


def _category(value: str) -> str:
    """Write a category as it stands in a table: a whole number as one, everything else as a string."""
    return value if re.fullmatch(r"-?(0|[1-9][0-9]{0,15})", value) else quoted(value)


def _read_table(path: Path) -> tuple[list[_Cells], str, list[str], int, bool]:
    """Read the first rows: the columns, separator, marks of empty cells, how many rows, and whether these are all."""
    if path.name.endswith(".parquet"):
        typed, rows, whole = parquet_columns(path, ROWS)
        full = [tuple(cell for cell in each.cells if cell is not None) for each in typed]
        made = [_Cells(each.name, cells, rows - len(cells), each.why) for each, cells in zip(typed, full, strict=True)]
        return made, ",", [], rows, whole
    try:
        opener = gzip.open if path.name.endswith(".gz") else open
        with opener(path, "rb") as binary, io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as text:
            read = text_lines(text, path)
            first = next(read, "")
            separator = max(",;\t", key=first.count)  # the first of them where none is there
            reader = csv.reader(itertools.chain([first], read), delimiter=separator, strict=True)
            header = [cell.strip() for cell in next(reader, [])]
            lines = [row for row in itertools.islice(reader, ROWS + 1) if row]
    except UnicodeDecodeError:
        from sgc.data.tables import where_no_text  # which wants numpy

        raise DataError(f"not a text file in UTF-8: {where_no_text(path)}", file=str(path)) from None
    except csv.Error as problem:
        raise DataError(f"not a csv file: {problem}", file=str(path)) from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise DataError("the gzip file is cut short or damaged", file=str(path)) from None
    except OSError as problem:
        raise DataError(f"cannot be read: {problem.strerror or problem}", file=str(path)) from None
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
    if all(map(_is_number, header)):
        raise DataError("the first line holds numbers, wanted a header with the columns' names", file=str(path))
    whole, lines = len(lines) <= ROWS, lines[:ROWS]
    columns, marks = [], set()
    for name, cells in zip(header, zip(*lines, strict=True), strict=True):
        stripped = [cell.strip() for cell in cells]
        marks |= {cell for cell in stripped if cell in MISSING}
        there = tuple(cell for cell in stripped if cell not in MISSING)
        columns.append(_Cells(name, there, len(stripped) - len(there)))
    return columns, separator, sorted(marks), len(lines), whole
