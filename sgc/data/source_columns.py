"""The columns of each node, gathered from the spec's source or from arrays that a caller passed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sgc.data.annotated import annotated_columns, is_annotated
from sgc.data.arrays import array_columns, frame_columns, is_frame
from sgc.data.columns import SourceColumn
from sgc.data.empty_cells import MARKS, Mark
from sgc.data.file_search import known_columns
from sgc.data.sources.cell_source import H5ad
from sgc.data.sources.file_sources import TableSource
from sgc.data.sources.shard_sources import Parquet
from sgc.data.sources.source_section import DataSection
from sgc.data.sparse_rows import joined
from sgc.data.variables import Variable
from sgc.errors import DataError, suggest


@dataclass(frozen=True)
class Part:
    """Rows of a source: the columns of each node, other columns by name, and how many rows there are."""

    nodes: Mapping[str, tuple[SourceColumn, ...]]
    others: Mapping[str, SourceColumn]
    size: int


def gather(
    data: DataSection | None,
    variables: Mapping[str, Variable],
    *,
    beside: Path,
    arrays: Any,  # Any: as in open_dataset
    weight: str | None = None,
    weighing: bool = True,
) -> tuple[Part, Part | None]:
    """Open the source, or take the arrays, and give each node its columns: in training, and in test rows of its own.

    weight: a further column of training rows, of what each counts; without `weighing` it may be there, but is not read.

    Raises:
        DataError: a column is missing, or columns have different lengths.
    """
    wanted: Mapping[str, tuple[str, ...]] = node_columns(data, variables)
    named = (data.split.stratify, data.split.group) if data is not None else ()
    others = tuple(name for name in (*named, weight if weighing else None) if name)
    if arrays is None and data is None:
        raise DataError("no data: the spec has no 'data' section, and no arrays were given")
    if is_annotated(arrays):
        partial = [n for n, names in wanted.items() if data is None and variables[n].supervision == "partial"]
        needed = [name for node, names in wanted.items() if node not in partial for name in names]
        columns = annotated_columns(arrays, [*needed, *others], [name for node in partial for name in wanted[node]])
        wanted = {node: names for node, names in wanted.items() if {*names} <= columns.keys()}
        return assemble(columns, _with_column(wanted, variables), others, data), None
    if arrays is not None and not is_frame(arrays):
        return _mapped(array_columns(arrays), wanted, variables, others, data, weight), None
    if arrays is not None:
        if data is None:
            known = {str(name) for name in arrays.columns}
            wanted = {name: names for name, names in wanted.items() if name in known}
        columns = frame_columns(arrays, [*(name for names in wanted.values() for name in names), *others])
        return assemble(columns, _with_column(wanted, variables), others, data), None
    assert data is not None
    names = dict.fromkeys([*(name for columns in wanted.values() for name in columns), *others])
    used = {name for columns in wanted.values() for name in columns}
    opened = data.read(beside, list(names), [name for name in others if name not in used])
    wanted = _with_column(wanted, variables)
    test = None if opened.test is None else assemble(opened.test, wanted, (), data)
    return assemble(opened.train, wanted, others, data), test


def node_columns(data: DataSection | None, variables: Mapping[str, Variable]) -> dict[str, tuple[str, ...]]:
    """Name the columns of each node: those of the spec, or one by the node's own name where it has no data section.

    Raises:
        DataError: a column for a node that the model has no values for.
    """
    if data is None:
        return {name: (name,) for name in variables}
    for name in data.columns:
        if name not in variables:
            hint = suggest(name, variables)
            raise DataError(
                f"columns: '{name}' is not an observed node or input of the model{f'; {hint}' if hint else ''}"
            )
    return {name: data.columns[name].names for name in variables if name in data.columns}


def _mapped(
    columns: Mapping[str, SourceColumn],
    wanted: Mapping[str, tuple[str, ...]],
    variables: Mapping[str, Variable],
    others: tuple[str, ...],
    data: DataSection | None,
    unread: str | None,
) -> Part:
    """Take a mapping whose keys are nodes; a column that is no node's may be a key too, by its own name."""
    for name in columns:
        if name not in variables and name not in others and name != unread:
            hint = suggest(name, variables)
            raise DataError(f"'{name}' is not an observed node or input of the model{f'; {hint}' if hint else ''}")
    owner = {names[0]: node for node, names in wanted.items() if len(names) == 1}
    known = dict(columns)
    for other in others:
        if other not in known and owner.get(other) in columns:
            known[other] = columns[owner[other]]
    known_columns(others, known, file=None)
    by_node = {name: (name,) for name in variables if name in columns}
    return assemble(known, _with_column(by_node, variables), others, data)


def _with_column(
    wanted: Mapping[str, tuple[str, ...]], variables: Mapping[str, Variable]
) -> Mapping[str, tuple[str, ...]]:
    """Check that every node that needs values in all rows has a column; a partial one without is unlabelled."""
    for name, variable in variables.items():
        if name not in wanted and variable.supervision != "partial":
            kind = "input" if variable.supervision == "input" else "node"
            raise DataError(f"no data for the {kind} '{name}', which has a value in every row")
    return wanted


def assemble(
    columns: Mapping[str, SourceColumn],
    wanted: Mapping[str, tuple[str, ...]],
    others: tuple[str, ...],
    data: DataSection | None,
) -> Part:
    """Give each node its columns, with the spec's marks of empty cells, and check that all have as many rows.

    Raises:
        DataError: columns of different lengths, or no rows at all.
    """
    used = {name: columns[name] for names in (*wanted.values(), others) for name in names}
    marks = marks_of(data)
    used = {name: replace(column, marks=marks) if column.marks is None else column for name, column in used.items()}
    if not used:
        raise DataError("no columns: name at least one under 'columns'")
    first = next(iter(used.values()))
    for column in used.values():
        if len(column) != len(first):
            file = f" of {first.file}" if first.file != column.file else ""
            raise DataError(
                f"column '{column.name}': found {len(column)} rows, wanted {len(first)}, "
                f"as in column '{first.name}'{file}",
                file=column.file or None,
            )
    if not len(first):
        raise DataError("found no rows", file=first.file or None)
    nodes = {node: joined(node, tuple(used[name] for name in names)) for node, names in wanted.items()}
    return Part(nodes, {name: used[name] for name in others}, len(first))


def marks_of(data: DataSection | None) -> tuple[Mark, ...]:
    """Name the marks of empty cells in a spec's data."""
    return data.missing_values if isinstance(data, TableSource | Parquet | H5ad) else MARKS
