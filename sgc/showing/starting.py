"""The text of a starting spec: the digits model, or what can be guessed from the columns of a csv or npz file."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import math
import os
import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgc.errors import DataError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS = 10_000  # rows of a table that are looked at
FEW = 20  # up to so many different values are categories
NODES = 6  # columns of categories that become nodes of their own
MISSING = ("", "NA", "N/A", "na", "NaN", "nan", "NULL", "null", "None", "?")
LABELS = ("label", "labels", "class", "target", "y", "outcome", "diagnosis", "category", "species")
PLAIN = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
WORDS = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")  # quoted, though only some parsers trip over all
WIDTH = 100


def starting_spec(name: str, data: Path | None = None, *, beside: Path | None = None) -> str:
    """Write a commented spec to start from, valid as it stands.

    name: the model's. data: a .csv, .csv.gz or .npz file; None: scikit-learn's digits. beside: the folder that the
    spec will stand in, from which its data are found; None: the current one.

    Raises:
        UsageError: a name that is none, or a file that is missing or of another kind.
        DataError: a file that cannot be read, or holds nothing to model.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
        raise UsageError(f"'{name}' is not a name: a letter, then letters, digits, '_' or '-'")
    if data is None:
        return DIGITS.format(name=_quoted(name))
    if not data.is_file():
        raise UsageError(f"'{data}': {'a folder' if data.is_dir() else 'no such file'}, wanted a .csv or .npz file")
    file = str(data) if data.is_absolute() else Path(os.path.relpath(data, beside or Path())).as_posix()
    if data.name.endswith((".csv", ".csv.gz")):
        return _table_spec(name, data, file)
    if data.name.endswith(".npz"):
        return _npz_spec(name, data, file)
    raise UsageError(f"'{data}': wanted a file that ends in .csv, .csv.gz or .npz")


DIGITS = """\
# A model of handwritten digits: y is which digit, known for some pictures, and z its style, known for none.
# `sgc inspect` shows what follows from it, `sgc train` trains it.
version: 1
name: {name}
description: Digit and style of scikit-learn's 8 x 8 digits (Kingma's M2)

data:
  source: digits                    # 1797 pictures that come with scikit-learn
  columns:
    x: {{column: image, transforms: [{{divide: 16}}]}}    # grey values from 0 to 16, brought to 0 to 1
    y: {{column: label}}
  split: {{test: 0.2, validation: 0.1, seed: 0}}
  labels:
    y: {{count: 100, balanced: true}} # 100 training rows keep their label, 10 of each digit

nodes:
  x:
    distribution: Bernoulli         # a grey value is scored by cross-entropy
    shape: [1, 8, 8]
    supervision: full               # observed in every row
    generative: {{parents: [y, z], network: {{mlp: [256, 256]}}}}    # p(x | y, z)
  y:
    distribution: Categorical
    categories: 10
    supervision: partial            # observed in some rows; without `generative`, p(y) is uniform
    recognition: {{parents: [x], network: {{mlp: [256]}}, estimator: enumerate}}    # q(y | x), the classifier
  z:
    distribution: Normal
    shape: [8]
    supervision: none               # never observed; p(z) is the standard normal
    recognition: {{parents: [x, y], network: {{mlp: [256]}}}}    # q(z | x, y)

objective:
  bound: elbo
  samples: 1
  alpha: 30                         # the weight of log q(label) in a labelled row
  supervision_rate: 0.25            # the share of labelled rows in the loss

train:
  epochs: 150
  batch_size: {{unlabelled: 100, labelled: 50}}
  optimizer: {{name: Adam, lr: 0.001}}
  seed: 0
"""


@dataclass(frozen=True)
class _Label:
    """The column guessed as the label: its categories, or None for a number."""

    column: str
    values: tuple[str, ...] | None  # as the spec writes them
    empty: int  # rows without it
    why: str


@dataclass(frozen=True)
class _Observed:
    """An observed node: its name, its entry under `columns`, its lines under `nodes`, and whether cells are empty."""

    node: str
    column: str
    lines: tuple[str, ...]
    comment: str = ""
    holes: bool = False


def _compose(
    name: str, head: Sequence[str], source: Sequence[str], observed: Sequence[_Observed], label: _Label | None
) -> str:
    """Put a spec together: what is observed, the label y where there is one, and a latent z."""
    seen = ", ".join(each.node for each in observed)
    above = "[y, z]" if label else "[z]"
    lines = [*(f"# {line}".rstrip() for line in head), "version: 1", f"name: {_quoted(name)}", "", "data:"]
    lines += [f"  {line}" for line in source]
    lines.append("  columns:")
    for each in observed:
        lines += [f"    # {each.comment}"] if each.comment else []
        lines.append(f"    {each.node}: {each.column}")
    if label is not None:
        standard = ", transforms: [standardize]" if label.values is None else ""
        lines.append(f"    y: {{column: {_quoted(label.column)}{standard}}}    # a guess: {label.why}")
    lines.append("  split: {test: 0.2, validation: 0.1, seed: 0}")
    if label is not None and not label.empty:
        lines.append("  labels:")
        lines.append(
            "    y: {fraction: 0.1}    # every row has its label; one in ten keeps it, to try how few are enough"
        )
    elif label is not None:
        lines.append(f"  # rows whose cell is empty have no label: {label.empty} of those that were looked at")
    lines += ["", "nodes:"]
    for each in observed:
        lines.append(f"  {each.node}:")
        lines += [f"    {line}" for line in each.lines]
        if each.holes:
            lines.append("    supervision: partial")
            lines.append(
                "    missing: drop    # an empty cell has no term; networks read a zero and a flag in its place"
            )
        else:
            lines.append("    supervision: full    # observed in every row")
        lines.append(f"    generative: {{parents: {above}, network: {{mlp: [64, 64]}}}}")
    if label is not None and label.values is not None:
        lines += ["  y:", "    distribution: Categorical", *_listed_values(label.values)]
        lines.append("    supervision: partial    # observed in some rows")
        lines.append(f"    recognition: {{parents: [{seen}], network: {{mlp: [64, 64]}}, estimator: enumerate}}")
    elif label is not None:
        lines += ["  y:", "    distribution: Normal", "    supervision: partial    # observed in some rows"]
        lines.append(f"    recognition: {{parents: [{seen}], network: {{mlp: [64, 64]}}}}")
    lines += ["  z:", "    distribution: Normal", "    shape: [4]", "    supervision: none    # never observed"]
    after = f"[{seen}, y]" if label else f"[{seen}]"
    lines.append(f"    recognition: {{parents: {after}, network: {{mlp: [64, 64]}}}}")
    lines += ["", "objective:", "  bound: elbo", f"  samples: {1 if label and label.values else 4}"]
    if label is not None:
        lines.append("  alpha: 10    # the weight of log q(label) in a labelled row")
    lines += [
        "",
        "train:",
        "  epochs: 100",
        "  batch_size: 64",
        "  optimizer: {name: Adam, lr: 0.001}",
        "  seed: 0",
        "",
    ]
    return "\n".join(lines)


def _listed_values(values: Sequence[str]) -> list[str]:
    return _folded("    values: [", values)


def _folded(head: str, words: Sequence[str], tail: str = "]") -> list[str]:
    """Write a list of words, folded where a line becomes too long."""
    lines = [head]
    for i, word in enumerate(words):
        piece = word + (tail if i == len(words) - 1 else ", ")
        if len(lines[-1]) + len(piece.rstrip()) > WIDTH and lines[-1] != head:
            lines[-1] = lines[-1].rstrip()
            lines.append(" " * (len(head) - len(head.lstrip()) + 2))
        lines[-1] += piece
    return lines


def _quoted(text: str) -> str:
    """Write a string as YAML: plain where no parser takes it for something else."""
    return text if PLAIN.match(text) and text.lower() not in WORDS else json.dumps(text, ensure_ascii=False)


def _file(path: str) -> str:
    return path if re.fullmatch(r"[A-Za-z0-9_./-]*[./][A-Za-z_-]+", path) else json.dumps(path, ensure_ascii=False)


# ---- tables


@dataclass(frozen=True)
class _Cells:
    """A column of a table as far as it was read."""

    name: str
    cells: tuple[str, ...]  # empty ones left out
    empty: int

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
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _table_spec(name: str, path: Path, file: str) -> str:
    columns, separator, marks, rows, whole = _read_table(path)
    useful = [c for c in columns if len(set(c.cells)) > 1 and not c.identifies and (c.few or c.numbers)]
    if not useful:
        raise DataError("no column of numbers or of few categories to model", file=str(path))
    label, chosen = None, None
    if len(useful) > 1:
        named = [column for column in useful if column.name.lower() in LABELS]
        chosen = named[-1] if named else useful[-1]
        why = "by its name" if named else "the last column that can be one"
        values = tuple(map(_category, chosen.distinct)) if chosen.few else None
        label = _Label(chosen.name, values, chosen.empty, why)
    rest = [column for column in useful if column is not chosen]
    kept = [column for column in rest if column.numbers]
    words = [column for column in rest if not column.numbers][:NODES]
    if not kept and not words:
        raise DataError("no column beside the label", file=str(path))
    observed = _table_nodes(kept, words)
    looked = f"{rows:,} rows" if whole else f"the first {rows:,} rows"
    head = [f"A starting spec for {path.name}, guessed from its header and {looked}: read it, and mend what is wrong."]
    head += _left_out(columns, [*kept, *words, *([chosen] if chosen else [])])
    source = ["source: table", f"file: {_file(file)}    # looked for under $SGC_DATA, then beside this file"]
    if separator != ",":
        source.append(f"separator: {json.dumps(separator)}")
    if marks:
        source.append(f"missing_values: [{', '.join(map(json.dumps, marks))}]    # what stands in empty cells")
    return _compose(name, head, source, observed, label)


def _table_nodes(numeric: Sequence[_Cells], words: Sequence[_Cells]) -> list[_Observed]:
    """Make one vector of all numbers, and a node of each column of words."""
    observed: list[_Observed] = []
    if numeric:
        listed = _folded("{column: [", [_quoted(column.name) for column in numeric], "], transforms: [standardize]}")
        column = "\n      ".join(line.strip() for line in listed)
        vector = ("distribution: Normal", f"shape: [{len(numeric)}]")
        holes = any(column.empty for column in numeric)
        observed.append(_Observed("x", column, vector, "the columns of numbers, as one vector", holes))
    taken = {"x", "y", "z"}
    for column_ in words:
        node = re.sub(r"[^A-Za-z0-9_-]+", "_", column_.name).strip("_")
        node = node if re.match(r"[A-Za-z]", node) else f"c_{node}"
        while node in taken:
            node += "_"
        taken.add(node)
        values = [line.strip() for line in _listed_values([_category(value) for value in column_.distinct])]
        lines = ("distribution: Categorical", values[0], *(f"  {line}" for line in values[1:]))
        observed.append(_Observed(node, f"{{column: {_quoted(column_.name)}}}", lines, holes=column_.empty > 0))
    return observed


def _left_out(columns: Sequence[_Cells], used: Sequence[_Cells]) -> list[str]:
    """Say which columns the spec does not use, and why."""
    reasons: dict[str, list[str]] = {}
    for column in columns:
        if column in used:
            continue
        if len(set(column.cells)) < 2:
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
    return value if re.fullmatch(r"-?(0|[1-9][0-9]{0,15})", value) else _quoted(value)


def _read_table(path: Path) -> tuple[list[_Cells], str, list[str], int, bool]:
    """Read the first rows: the columns, separator, marks of empty cells, how many rows, and whether these are all."""
    try:
        opener = gzip.open if path.name.endswith(".gz") else open
        with opener(path, "rb") as binary, io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as text:
            first = text.readline()
            separator = max(",;\t", key=first.count)  # the first of them where none is there
            reader = csv.reader(itertools.chain([first], text), delimiter=separator, strict=True)
            header = [cell.strip() for cell in next(reader, [])]
            lines = [row for row in itertools.islice(reader, ROWS + 1) if row]
    except UnicodeDecodeError:
        raise DataError("not a text file in UTF-8", file=str(path)) from None
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


# ---- archives


def _npz_spec(name: str, path: Path, file: str) -> str:
    arrays, skipped = _read_npz(path)
    rows = max((len(array) for array in arrays.values()), key=[len(a) for a in arrays.values()].count, default=0)
    usable = {key: array for key, array in arrays.items() if len(array) == rows and rows > 1}
    numeric = {key: array for key, array in usable.items() if array.dtype.kind in "biuf" and array[0].size > 0}
    flat = [key for key, array in usable.items() if array.ndim == 1 and array.dtype.kind in "biufUS"]
    named = [key for key in flat if key.lower() in LABELS]
    chosen = named[-1] if named else flat[-1] if flat else None
    inputs = [key for key in numeric if key != chosen]
    if not inputs:
        raise DataError("no array of numbers to model, with the rows first", file=str(path))
    main = max(inputs, key=lambda key: numeric[key][0].size)
    label = None if chosen is None else _npz_label(chosen, usable[chosen], by_name=bool(named))
    if chosen is not None and label is None:
        skipped.append(f"{chosen} (text with many different values)")
    skipped += [f"{key} (one array is modelled)" for key in inputs if key != main]
    skipped += [f"{key} (not {rows} rows of numbers)" for key in arrays if key not in numeric and key != chosen]
    head = [
        f"A starting spec for {path.name}, {rows:,} rows, guessed from its arrays: read it, and mend what is wrong."
    ]
    head += [f"Left out: {', '.join(skipped)}."] if skipped else []
    source = ["source: npz", f"file: {_file(file)}    # looked for under $SGC_DATA, then beside this file"]
    return _compose(name, head, source, [_npz_node(main, numeric[main])], label)


def _npz_node(key: str, array: NDArray[Any]) -> _Observed:
    """Guess a distribution: bytes and numbers from 0 to 1 are grey values, others are standardized."""
    import numpy as np

    shape = f"shape: [{', '.join(map(str, array.shape[1:]))}]"
    shape_lines = (shape,) if array.ndim > 1 else ()
    low, high = float(np.nanmin(array)), float(np.nanmax(array))
    holes = bool(array.dtype.kind == "f" and np.isnan(array).any())
    column = f"column: {_quoted(key)}"
    grey = "distribution: Bernoulli    # a guess: grey values from 0 to 1, scored by cross-entropy"
    if low >= 0 and high <= 1:
        return _Observed("x", f"{{{column}}}", (grey, *shape_lines), holes=holes)
    if array.dtype == np.uint8:
        return _Observed("x", f"{{{column}, transforms: [{{divide: 255}}]}}", (grey, *shape_lines))
    lines = ("distribution: Normal", *shape_lines)
    return _Observed("x", f"{{{column}, transforms: [standardize]}}", lines, holes=holes)


def _npz_label(key: str, array: NDArray[Any], *, by_name: bool) -> _Label | None:
    """Guess a label: few different values are categories, more numbers a target; None: text with many values."""
    import numpy as np

    why = "by its name" if by_name else "the last array with one value a row"
    if array.dtype.kind in "US":
        texts = [str(text) for text in np.unique(array.astype(str)) if str(text)]
        empty = int((array.astype(str) == "").sum())
        return _Label(key, tuple(map(_quoted, texts)), empty, why) if 2 <= len(texts) <= 1000 else None
    missing = np.isnan(array) if array.dtype.kind == "f" else array == -1
    there = np.unique(array[~missing])
    if 2 <= len(there) <= max(FEW, 200 * (array.dtype.kind in "iub")) and all(
        float(each).is_integer() for each in there
    ):
        return _Label(key, tuple(str(int(each)) for each in there), int(missing.sum()), why)
    return _Label(key, None, int(missing.sum()) if array.dtype.kind == "f" else 0, why)


def _read_npz(path: Path) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Read the arrays that have rows; name those that hold Python objects, which are never loaded."""
    import numpy as np

    arrays: dict[str, NDArray[Any]] = {}
    skipped: list[str] = []
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise DataError("found a single array, wanted an npz archive of named arrays", file=str(path))
        with archive:
            for key in archive.files:
                try:
                    array = archive[key]
                except ValueError:
                    skipped.append(f"{key} (Python objects, which are never loaded)")
                    continue
                if array.ndim:
                    arrays[key] = array
                else:
                    skipped.append(f"{key} (a single value)")
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
        raise DataError("not an npz archive, or one that is cut short", file=str(path)) from None
    if not arrays:
        raise DataError("the archive holds no arrays with rows", file=str(path))
    return arrays, skipped
