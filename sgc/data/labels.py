"""Which training rows keep a node's label, by row id and seed, and what a user should know of these labels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from sgc.data.columns import Array, Rows, show
from sgc.data.file_search import find_file
from sgc.data.label_fields import LabelRule
from sgc.data.large_columns import EncodedColumn
from sgc.data.numpy_files import read_header, read_values
from sgc.data.row_draws import priorities, stream
from sgc.data.split import Division
from sgc.data.variables import Variable
from sgc.errors import LISTED, DataError

LARGEST_ID = 2**63 - 1
_ROW_ID = re.compile("-?[0-9]{1,19}")


def choose_labels(
    rules: Mapping[str, LabelRule],
    present: Mapping[str, Array],
    cells: Mapping[str, Array],
    variables: Mapping[str, Variable],
    division: Division,
    *,
    beside: Path,
    seed: int,
) -> dict[str, Rows]:
    """Choose, for each node of `present`, the ids of the training rows whose label is kept, ascending.

    `present`, `(N,)`, marks the training rows that have a label: one that is missing in the data is never chosen.
    `cells`, `(N,)`, are the labels of nodes with one category a row. The choice depends on the row ids, the seed and
    the node's name; with the same seed, a larger count keeps the rows of a smaller one, unless it is balanced.

    Raises:
        DataError: fewer labels than wanted, or a rule about rows or nodes that do not exist.
    """
    chosen: dict[str, Rows] = {}

    def choose(node: str, waiting: tuple[str, ...]) -> Rows:
        if node in chosen:
            return chosen[node]
        if node in waiting:
            circle = " -> ".join([*waiting[waiting.index(node) :], node])
            raise DataError(f"labels: 'same_rows_as' goes in a circle: {circle}")
        if node not in present:
            raise DataError(f"labels: node '{node}' has no label: wanted a partial node with a column")
        labelled = division.train[present[node]]
        rule = rules.get(node)
        if rule is None:
            chosen[node] = labelled
        elif rule.same_rows_as is not None:
            chosen[node] = np.intersect1d(labelled, choose(rule.same_rows_as, (*waiting, node)))
        elif rule.rows is not None:
            chosen[node] = np.intersect1d(labelled, _listed_rows(rule.rows, node, division, beside))
        else:
            generator = stream(seed if rule.seed is None else rule.seed, "labels", node)
            ranked = labelled[np.argsort(priorities(labelled, generator), kind="stable")]
            ids = _draw(node, rule, ranked, cells, variables[node], division, generator)
            chosen[node] = np.sort(ids)
        return chosen[node]

    for node in [*rules, *present]:
        choose(node, ())
    return {node: chosen[node] for node in present}


def _draw(
    node: str,
    rule: LabelRule,
    ranked: Rows,
    cells: Mapping[str, Array],
    variable: Variable,
    division: Division,
    generator: np.random.Generator,
) -> Rows:
    wanted = rule.count
    if rule.fraction is not None:
        wanted = int(np.floor(rule.fraction * len(division.train) + 0.5))
        if rule.fraction and not wanted:
            raise DataError(
                f"labels: node '{node}': found {len(division.train)} training rows, of which {rule.fraction:g} is none"
            )
    if rule.per_category is None and not rule.balanced:
        assert wanted is not None
        if wanted > len(ranked):
            raise DataError(f"labels: node '{node}': found {len(ranked)} training rows with a label, wanted {wanted}")
        return ranked[:wanted]
    if variable.categories is None or variable.laid:
        word, categories = "balanced" if rule.balanced else "per_category", "one a step" if variable.steps else "none"
        categories = "none" if variable.categories is None else categories
        raise DataError(f"labels: node '{node}': '{word}' wants one category a row, and this node has {categories}")
    return _draw_by_category(node, rule.per_category, wanted, ranked, cells[node], variable, division, generator)


def _draw_by_category(
    node: str,
    per_category: int | None,
    total: int | None,
    ranked: Rows,
    cells: Array,
    variable: Variable,
    division: Division,
    generator: np.random.Generator,
) -> Rows:
    size = variable.categories or 0
    counts = np.full(size, (total or 0) // size if per_category is None else per_category)
    if per_category is None:
        counts[generator.permutation(size)[: (total or 0) % size]] += 1
    if cells.size != len(cells):
        shape = list(cells.shape[1:])
        raise DataError(f"labels: node '{node}': found rows of the shape {shape}, wanted one category a row")
    if per_category and not len(ranked):
        wanted = f"wanted {per_category} of each category"
        raise DataError(f"labels: node '{node}': found no training rows with a label, {wanted}")
    category = cells.reshape(len(cells))[np.searchsorted(division.train, ranked)]
    chosen = []
    for index, count in enumerate(counts):
        rows = ranked[category == index]
        if len(rows) < count and per_category is None:
            name = index if variable.values is None else variable.values[index]
            raise DataError(
                f"labels: node '{node}': found {len(rows)} training rows labelled {show(name)}, wanted {count}"
            )
        chosen.append(rows[:count])
    return np.concatenate(chosen)


def _listed_rows(name: str, node: str, division: Division, beside: Path) -> Rows:
    """Read row ids, one a line, or an array of them (.npy)."""
    path = find_file((name,), "", beside)
    ids = read_ids(path) if path.suffix == ".npy" else _written(path)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise DataError(f"found an array of {ids.dtype} {list(ids.shape)}, wanted a list of integers", str(path))
    if len(ids) and int(ids.max()) > LARGEST_ID:
        raise DataError(f"found {ids.max()}, wanted row ids up to {LARGEST_ID}", str(path))
    rows = ids.astype(np.int64)
    strange = rows[~np.isin(rows, division.train)]
    if len(strange):
        held = np.concatenate([division.validation, division.test])
        why = "is in the validation or test part" if strange[0] in held else "is not among the rows of the data"
        raise DataError(f"labels of node '{node}': row {strange[0]} {why}", file=str(path))
    return np.unique(rows)


def read_ids(path: Path) -> Array:
    """Read an array of row ids (.npy), of whatever type and shape. Raises: DataError."""
    try:
        with open(path, "rb") as file:
            header = read_header(file)
            header.check(path.stat().st_size - header.length)
            return read_values(file, header)
    except (OSError, ValueError) as error:
        words = (error.strerror or error) if isinstance(error, OSError) else error
        raise DataError(f"not a .npy array of integers: {words}", file=str(path)) from error


def _written(path: Path) -> Rows:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise DataError("not a list of row ids: wanted one a line, or a .npy array of integers", str(path)) from error
    written = [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
    return np.array([_row_id(line, number, path) for number, line in written], dtype=np.int64)


def _row_id(text: str, line: int, path: Path) -> int:
    if not _ROW_ID.fullmatch(text) or abs(int(text)) > LARGEST_ID:
        raise DataError(f"line {line}: found {show(text[:40])}, wanted a row id", file=str(path))
    return int(text)


def label_notes(
    rules: Mapping[str, LabelRule], values: Mapping[str, Array | EncodedColumn], variables: Mapping[str, Variable]
) -> tuple[str, ...]:
    """Say for which rare categories `per_category` takes all rows, and which categories no training row has.

    values: of the training rows, without the labels that training may not see. A node without any label has no notes:
    it is not meant to have some.
    """
    notes: list[str] = []
    for name, variable in variables.items():
        if variable.categories is None or variable.supervision != "partial":
            continue
        counts = category_counts(values[name], variable.categories)
        if not counts.any():
            continue
        wanted = rules[name].per_category if name in rules else None
        rare = [i for i in range(len(counts)) if wanted and 0 < counts[i] < wanted]
        if rare:
            those = _listed(f"{counts[i]} of {_named(variable, i)}" for i in rare)
            few = f"per_category is {wanted}, and there are only {those}"
            notes.append(f"labels of '{name}': {few}: all of them are kept")
        never = [i for i in range(len(counts)) if not counts[i]]
        if never and wanted != 0:
            those = _listed(_named(variable, i) for i in never)
            is_declared = "is a category" if len(never) == 1 else "are categories"
            notes.append(f"labels of '{name}': no training row is labelled {those}, which {is_declared} of it")
    return tuple(notes)


def category_counts(values: Array | EncodedColumn, categories: int) -> Rows:
    """Count each category among values `(N, *event)`, of which -1 is none: `(categories,)`."""
    chunks = values.chunks() if isinstance(values, EncodedColumn) else [values]
    total = np.zeros(categories, dtype=np.int64)
    for chunk in chunks:
        total += np.bincount(chunk[chunk >= 0].ravel(), minlength=categories)
    return total


def _named(variable: Variable, category: int) -> str:
    return show(category if variable.values is None else variable.values[category])


def _listed(words: Iterator[str]) -> str:
    """List words; of many, the first twelve."""
    every = list(words)
    more = len(every) - LISTED
    shown = every if more <= 0 else [*every[:LISTED], f"{more} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
