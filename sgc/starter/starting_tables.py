"""A starting spec from the columns of a table: a csv or parquet file."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from sgc.errors import DataError
from sgc.starter.spec_text import FEW, LABELS, DataFiles, Label, Observed, compose, folded, listed_values, quoted
from sgc.starter.starting_pictures import PATH, lists_pictures, pictures_spec
from sgc.starter.table_columns import LARGEST_COUNT, OFFERED, Kind, TableColumn, TableHead, kinds, read_head

LAST = "the last column that can be one"
# of LABELS, those that no number is called
CLASSES = ("label", "labels", "class", "diagnosis", "category", "species", "cluster")
NODES = 12  # of columns of categories; more are offered
NAMED = 20  # columns of those that are left out; more are counted
ALIKE = 3  # columns of the same categories that become one vector
PARTLY = 0.1  # of the cells are empty in a column whose labels only some rows have; fewer are holes


def table_spec(name: str, path: Path, files: DataFiles) -> str:
    """Write a spec to start from: y, the counts, marks and other numbers as vectors, and a node of each category.

    A table with a column `path` of files of pictures is one of those, and its label.

    Raises: DataError, of a file that cannot be read or holds nothing to model.
    """
    head = read_head(path)
    if lists_pictures(head, path):
        return _listed_pictures(name, path, head, files)
    kind_of = {column.name: kind for column, kind in zip(head.columns, kinds(head.columns), strict=True)}
    label, chosen = None, _label_column(head.columns, kind_of)
    others = [column for column in head.columns if column is not chosen]
    of_kind = {kind: [column for column in others if kind_of[column.name] is kind] for kind in Kind}
    groups = _groups(of_kind[Kind.CATEGORIES])
    vectors = [*_numbers(of_kind[Kind.NUMBER], of_kind[Kind.COUNT]), *_flags(of_kind[Kind.FLAG])]
    if not vectors and not groups:
        alone = "no column of numbers or of few categories to model" if chosen is None else "no column beside the label"
        raise DataError(alone, file=str(path))
    if chosen is not None:
        label = _label(chosen, head.columns, kind_of)
    offered = [*(column for group in groups[NODES:] for column in group), *of_kind[Kind.OFFERED]]
    looked = f"{head.rows:,} rows" if head.complete else f"the first {head.rows:,} rows"
    sentences = [
        f"A starting spec for {path.name}, guessed from its header and {looked}: read it, and mend what is wrong."
    ]
    sentences += _left_out([column for column in others if kind_of[column.name] is Kind.UNUSED], offered)
    source = ["source: table", files.line, *_dialect(head)]
    observed = [*vectors, *_category_nodes(groups[:NODES], offered)]
    counts, own_test = bool(of_kind[Kind.COUNT]), files.test is not None
    return compose(name, sentences, source, observed, label, counts=counts, own_test=own_test)


def _dialect(head: TableHead) -> list[str]:
    """Write what a reader of the table must know: what parts its cells, and which are empty."""
    lines = [] if head.separator == "," else [f"separator: {json.dumps(head.separator)}"]
    if head.marks:
        lines.append(f"missing_values: [{', '.join(map(json.dumps, head.marks))}]    # the marks of empty cells")
    return lines


def _listed_pictures(name: str, path: Path, head: TableHead, files: DataFiles) -> str:
    """Write a spec to start from for a table of pictures: the picture, and the label that some rows may lack."""
    others = [column for column in head.columns if column.name != PATH]
    kind_of = {column.name: kind for column, kind in zip(others, kinds(others), strict=True)}
    usable = [column for column in others if column.few or column.name.lower() in LABELS]
    usable = [column for column in usable if len(column.distinct) > 1]
    named = [column for column in usable if column.name.lower() in LABELS]
    partly = [column for column in usable if _lacks(column) >= PARTLY]
    chosen = (named or partly or usable)[-1] if usable else None
    label = None if chosen is None else _label(chosen, [column for column in usable if column is not chosen], kind_of)
    left = [column.name for column in others if column is not chosen]
    more = [f"Left out: {_listed(left)}; a column that is one of numbers can be a node of its own."] if left else []
    paths = [path.parent / cell for cell in next(column.cells for column in head.columns if column.name == PATH)]
    sentence = f"A starting spec for the {head.rows:,} pictures of {path.name}: read it, and mend what is wrong."
    return pictures_spec(name, [sentence, *more], paths, [files.line, *_dialect(head)], label, files.test is not None)


def _label_column(columns: Sequence[TableColumn], kind_of: Mapping[str, Kind]) -> TableColumn | None:
    """Choose the label: by its name, as the one that some rows lack, or as the last; None among counts alone."""
    useful = [column for column in columns if kind_of[column.name] is not Kind.UNUSED]
    named = [column for column in useful if column.name.lower() in LABELS]
    if len(useful) < 2:
        return None
    if named:
        return named[-1]
    useful = [column for column in useful if kind_of[column.name] is not Kind.OFFERED]
    partly = [column for column in useful if column.few and _lacks(column) >= PARTLY]
    classes = [column for column in partly if kind_of[column.name] is not Kind.COUNT]
    if classes or len(partly) == 1:
        return (classes or partly)[-1]
    counts = all(kind_of[column.name] is Kind.COUNT for column in useful)
    if not useful or (counts and useful[-1].kind is not Kind.CATEGORIES):
        return None
    return useful[-1]


def _lacks(column: TableColumn) -> float:
    return column.empty / (column.empty + len(column.cells))


def _label(column: TableColumn, columns: Sequence[TableColumn], kind_of: Mapping[str, Kind]) -> Label:
    """Write the label: few values are categories, and more of a column that is called after classes."""
    named, partly = column.name.lower() in LABELS, column.few and _lacks(column) >= PARTLY
    repeated = len(column.distinct) <= min(OFFERED, len(column.cells) // 2)
    classes = repeated and (not column.numbers or (column.integers and column.name.lower() in CLASSES))
    values = tuple(map(_category, column.distinct)) if column.few or classes else None
    why = "by its name" if named else "the last column of few values, some of them missing" if partly else LAST
    comments = []
    if not named:
        kinds_of_labels = (Kind.CATEGORIES, Kind.FLAG)
        others = [other for other in columns if kind_of[other.name] in kinds_of_labels and other is not column]
        if others:
            comments.append(f"it could also be {_shown(others)}: then take that name here, and its values below")
    if values and "-1" in values:
        comments.append("-1 is taken for a category; where it means that there is no label, strike it from `values`")
    counts = column.countable and kind_of[column.name] is Kind.COUNT
    return Label(column.name, values, column.empty, why, counts, tuple(comments), len(column.cells))


def _numbers(measured: Sequence[TableColumn], counts: Sequence[TableColumn]) -> list[Observed]:
    """Make one vector of all counts, and one of all other numbers; say of what is in doubt how to change it."""
    observed: list[Observed] = []
    if measured:
        comments = ["the columns of numbers, as one vector", *_few(measured), *_uncounted(measured)]
        lines = ("distribution: Normal", f"shape: [{len(measured)}]")
        entry = _vector_entry(measured, ", transforms: [standardize]")
        observed.append(Observed("x", entry, lines, tuple(comments), any(column.empty for column in measured)))
    if counts:
        move = "belongs among the columns of x: move its name there, and mend the shape of both"
        if not measured:
            move = "belongs in a vector x like this one, with `distribution: Normal` and `transforms: [standardize]`"
        comments = [f"whole numbers from 0 up, taken for counts; what is measured, as an age or a price, {move}"]
        varied = [column.name for column in counts if column.overdispersed]
        about = f"{len(varied)} of {len(counts)} columns vary more than a Poisson"
        family = f"NegativeBinomial    # {about}" if varied else "Poisson    # NegativeBinomial where counts vary more"
        lines = (f"distribution: {family}", f"shape: [{len(counts)}]    # networks read log(1 + count)")
        comments += _few(counts)
        holes = any(column.empty for column in counts)
        observed.append(Observed("counts", _vector_entry(counts), lines, tuple(comments), holes))
    return observed


def _flags(flags: Sequence[TableColumn]) -> list[Observed]:
    """Make one vector of all columns that say yes or no."""
    if not flags:
        return []
    lines = ("distribution: Bernoulli", f"shape: [{len(flags)}]")
    comments = ("0 and 1, or false and true, taken for no and yes",)
    return [Observed("flags", _vector_entry(flags), lines, comments, any(column.empty for column in flags))]


def _few(columns: Sequence[TableColumn]) -> list[str]:
    """Say which columns of numbers have so few values that they may be categories."""
    few = [column for column in columns if column.few]
    mend = "where they stand for categories, make a Categorical of each, with `values`"
    return [f"of few values: {_shown(few)}; {mend}"] if few else []


def _uncounted(measured: Sequence[TableColumn]) -> list[str]:
    """Say which whole numbers from 0 up are taken for measurements, and why."""
    integers = [column for column in measured if column.integers and float(column.distinct[0]) >= 0]
    steady = [column for column in integers if column.countable and column.measured]
    large = [column for column in integers if float(column.distinct[-1]) > LARGEST_COUNT]
    reasons = {"vary less than counts do": steady, f"some above {LARGEST_COUNT:,}": large}
    reasons["written with a point"] = [column for column in integers if column not in steady and column not in large]
    listed = "; ".join(f"{_shown(alike)} ({why})" for why, alike in reasons.items() if alike)
    return [f"whole numbers among them, taken for measurements: {listed}"] if listed else []


def _shown(columns: Sequence[TableColumn]) -> str:
    more = f" and {len(columns) - 3} more" if len(columns) > 3 else ""
    return ", ".join(quoted(column.name) for column in columns[:3]) + more


def _groups(columns: Sequence[TableColumn]) -> list[list[TableColumn]]:
    """Bring columns of the same categories together where there are several, as the answers of a survey."""
    alike: dict[tuple[str, ...], list[TableColumn]] = {}
    for column in columns:
        alike.setdefault(tuple(column.distinct), []).append(column)
    groups: list[list[TableColumn]] = []
    for column in columns:
        same = alike[tuple(column.distinct)]
        if len(same) < ALIKE:
            groups.append([column])
        elif column is same[0]:
            groups.append(same)
    return groups


def _category_nodes(groups: Sequence[Sequence[TableColumn]], offered: Sequence[TableColumn]) -> list[Observed]:
    """Make a node of each column of categories, or of several alike; those that are only offered are in comments."""
    observed: list[Observed] = []
    taken = {"x", "y", "z", "counts", "flags"}
    numeric = [column for group in groups for column in group if column.numbers]
    quantities = "quantities belong in x, a vector of `distribution: Normal` and `transforms: [standardize]`"
    for group in [*groups, *([column] for column in offered)]:
        first = group[0]
        stem = first.name if len(group) == 1 else _common_start([column.name for column in group])
        node = re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_-")
        node = node if re.match(r"[A-Za-z]", node) else f"c_{node}" if node else "categories"
        while node in taken:
            node += "_"
        taken.add(node)
        values = [line.strip() for line in listed_values([_category(value) for value in first.distinct])]
        lines = ["distribution: Categorical", values[0], *(f"  {line}" for line in values[1:])]
        comments = []
        if len(group) > 1:
            lines.append(f"shape: [{len(group)}]")
            comments.append("columns of the same categories, as one vector")
        if numeric and first is numeric[0]:
            comments.append(f"whole numbers of few values, taken for categories: {_shown(numeric)}; {quantities}")
        entry = _vector_entry(group) if len(group) > 1 else f"{{column: {quoted(first.name)}}}"
        holes = any(column.empty > 0 for column in group)
        observed.append(Observed(node, entry, tuple(lines), tuple(comments), holes, offered=first in offered))
    return observed


def _common_start(names: Sequence[str]) -> str:
    """Give what names begin with alike.

    >>> _common_start(["q1_trust", "q2_trust"])
    'q'
    """
    alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in alike)


def _vector_entry(columns: Sequence[TableColumn], more: str = "") -> str:
    """Write the entry under `columns` for a vector of several."""
    listed = folded("{column: [", [quoted(column.name) for column in columns], f"]{more}}}")
    return "\n      ".join(line.strip() for line in listed)


def _left_out(unused: Sequence[TableColumn], offered: Sequence[TableColumn]) -> list[str]:
    """Say which columns the spec does not use, and why; those that it offers are in its comments."""
    reasons: dict[str, list[str]] = {}
    for column in [*unused, *offered]:
        more = f"more than {FEW}" if len(column.distinct) > FEW else "those of many columns"
        offer = f"categories, {more}, offered below in comments: take '# ' away, in both places, to model them"
        reasons.setdefault(offer if column in offered else column.left_out(), []).append(column.name or "(no name)")
    return [f"Left out: {_listed(names)} ({why})." for why, names in reasons.items()]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def _category(value: str) -> str:
    """Write a category as in a table: a whole number as one, everything else as a string."""
    return value if re.fullmatch(r"-?(0|[1-9][0-9]{0,15})", value) else quoted(value)
