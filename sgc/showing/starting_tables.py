"""A starting spec from the columns of a table: a csv or parquet file."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from sgc.errors import DataError
from sgc.showing.composing import LABELS, Label, Observed, compose, file_text, folded, listed_values, quoted
from sgc.showing.table_columns import TableColumn, read_head

LAST = "the last column that can be one"
NODES = 6  # columns of categories that become nodes of their own; more are offered
CODES = 5  # that a column of codes has at most: more whole numbers from 0 up are taken for counts


def table_spec(name: str, path: Path, file: str) -> str:
    """Write a spec to start from: y, the counts, the other numbers, and a node of each column of categories.

    Raises: DataError, of a file that cannot be read or holds nothing to model.
    """
    head = read_head(path)
    useful = [column for column in head.columns if not column.left_out()]
    if not useful:
        raise DataError("no column of numbers or of few categories to model", file=str(path))
    label, chosen = None, None
    if len(useful) > 1:
        named = [column for column in useful if column.name.lower() in LABELS]
        partly = [column for column in useful if column.few and column.empty]
        chosen = (named or partly or useful)[-1]
        why = "by its name" if named else "the last column of few values, some of them missing" if partly else LAST
        values = tuple(map(_category, chosen.distinct)) if chosen.few else None
        label = Label(
            chosen.name, values, chosen.empty, why, counts=chosen.counts and (values is None or len(values) > CODES)
        )
    rest = [column for column in useful if column is not chosen]
    numeric = [column for column in rest if column.numbers]
    words = [column for column in rest if not column.numbers]
    if not numeric and not words:
        raise DataError("no column beside the label", file=str(path))
    offered = [*words[NODES:], *(column for column in head.columns if column.offered)]
    looked = f"{head.rows:,} rows" if head.whole else f"the first {head.rows:,} rows"
    said = [f"A starting spec for {path.name}, guessed from its header and {looked}: read it, and mend what is wrong."]
    said += _left_out(head.columns, offered)
    source = ["source: table", f"file: {file_text(file)}    # looked for under $SGC_DATA, then beside this file"]
    if head.separator != ",":
        source.append(f"separator: {json.dumps(head.separator)}")
    if head.marks:
        source.append(f"missing_values: [{', '.join(map(json.dumps, head.marks))}]    # what stands in empty cells")
    observed = [*_vectors(numeric), *_category_nodes(words[:NODES], offered)]
    return compose(name, said, source, observed, label)


def _vectors(numeric: Sequence[TableColumn]) -> list[Observed]:
    """Make one vector of all counts, and one of all other numbers.

    Whole numbers of few values are counts where 0 is among them and they are more than codes use to be, or where the
    table has nothing else, as of genes that are seldom seen; else they are taken for marks or codes.
    """
    every = bool(numeric) and all(column.counts for column in numeric)
    counts = [column for column in numeric if column.counts and _likely_counts(column, every)]
    measured = [column for column in numeric if column not in counts]
    observed: list[Observed] = []
    if measured:
        comments = ["the columns of numbers, as one vector", *_few(measured)]
        lines = ("distribution: Normal", f"shape: [{len(measured)}]")
        entry = _vector_entry(measured, ", transforms: [standardize]")
        observed.append(Observed("x", entry, lines, tuple(comments), any(column.empty for column in measured)))
    if counts:
        comments = [
            "whole numbers from 0 up, taken for counts; a column of measurements (an age, a price) is better moved",
            "to x, a vector like this one with `distribution: Normal` and `transforms: [standardize]`",
            *_few(counts),
        ]
        varied = [column.name for column in counts if column.overdispersed]
        about = f"{len(varied)} of {len(counts)} columns vary more than a Poisson"
        family = f"NegativeBinomial    # {about}" if varied else "Poisson    # NegativeBinomial where counts vary more"
        lines = (f"distribution: {family}", f"shape: [{len(counts)}]    # networks read log(1 + count)")
        holes = any(column.empty for column in counts)
        observed.append(Observed("counts", _vector_entry(counts), lines, tuple(comments), holes))
    return observed


def _likely_counts(column: TableColumn, every: bool) -> bool:
    return not column.few or (column.distinct[0] == "0" and (every or len(column.distinct) > CODES))


def _few(columns: Sequence[TableColumn]) -> list[str]:
    """Say which columns of numbers have so few values that they may be categories."""
    found = [column.name for column in columns if column.few]
    if not found:
        return []
    shown = ", ".join(quoted(name) for name in found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
    return [f"of few values: {shown}; where they stand for categories, make a Categorical of each, with `values`"]


def _category_nodes(words: Sequence[TableColumn], offered: Sequence[TableColumn]) -> list[Observed]:
    """Make a node of each column of categories; those that are only offered stand in comments."""
    observed: list[Observed] = []
    taken = {"x", "y", "z", "counts"}
    for column in [*words, *offered]:
        node = re.sub(r"[^A-Za-z0-9_-]+", "_", column.name).strip("_")
        node = node if re.match(r"[A-Za-z]", node) else f"c_{node}"
        while node in taken:
            node += "_"
        taken.add(node)
        values = [line.strip() for line in listed_values([_category(value) for value in column.distinct])]
        lines = ("distribution: Categorical", values[0], *(f"  {line}" for line in values[1:]))
        entry, holes = f"{{column: {quoted(column.name)}}}", column.empty > 0
        observed.append(Observed(node, entry, lines, holes=holes, offered=column in offered))
    return observed


def _vector_entry(columns: Sequence[TableColumn], more: str = "") -> str:
    """Write what stands under `columns` for a vector of several."""
    listed = folded("{column: [", [quoted(column.name) for column in columns], f"]{more}}}")
    return "\n      ".join(line.strip() for line in listed)


def _left_out(columns: Sequence[TableColumn], offered: Sequence[TableColumn]) -> list[str]:
    """Say which columns the spec does not use, and why; those that it offers stand in its comments."""
    reasons: dict[str, list[str]] = {}
    for column in columns:
        if column in offered:
            why = "categories, offered below in comments: take '# ' away, in both places, to model them"
        else:
            why = column.left_out()
        if why:
            reasons.setdefault(why, []).append(column.name or "(no name)")
    return [f"Left out: {', '.join(names)} ({why})." for why, names in reasons.items()]


def _category(value: str) -> str:
    """Write a category as it stands in a table: a whole number as one, everything else as a string."""
    return value if re.fullmatch(r"-?(0|[1-9][0-9]{0,15})", value) else quoted(value)
