"""Names of the elements of a row, as of the genes of cells: new rows are brought into a run's order by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from sgc.data.columns import Array, SourceColumn
from sgc.data.sparse_rows import SparseRows
from sgc.errors import DataError, printable

SHOWN = 5  # names that a message lists


def matched(
    nodes: Mapping[str, tuple[SourceColumn, ...]], elements: Mapping[str, Sequence[str]]
) -> dict[str, tuple[SourceColumn, ...]]:
    """Bring the elements of each node's column into the order of its run; those that the run has not are left out.

    elements: of a run, by node. Raises: DataError, as `by_name`.
    """
    return {
        node: (by_name(columns[0], elements.get(node, ())),) if len(columns) == 1 else columns
        for node, columns in nodes.items()
    }


def by_name(column: SourceColumn, wanted: Sequence[str]) -> SourceColumn:
    """Take the elements of these names, in this order. An array without names, or a run without, is as it is.

    Raises:
        DataError: elements without the names of the run's, or several of the same name.
    """
    found = column.elements
    if not wanted or found is None or found == tuple(wanted):
        return column
    if not are_names(found):
        fix = "name them, or give an array, whose elements are taken by their place"
        raise _error(column, f"its elements are numbered, and the run knows theirs by name: {_listed(wanted)}", fix)
    place: dict[str, int] = {name: number for number, name in enumerate(found)}
    lacking = [name for name in wanted if name not in place]
    if lacking:
        known = f"of {len(wanted):,} elements that the run was trained on {len(lacking):,} are not there"
        others = [name for name in found if name not in set(wanted)]
        beside = f"; of other names there are {len(others):,}: {_listed(others)}" if others else ""
        fix = "add them, or train on the elements that both have"
        if len(lacking) == len(wanted) or {name.lower() for name in lacking} <= {name.lower() for name in others}:
            fix = "are the names of another kind, or in other letters? Rename them as the run's are"
        raise _error(column, f"{known}: {_listed(lacking)}{beside}", fix)
    several = len(found) - len(place)
    if several:
        counts: dict[str, int] = {}
        for name in found:
            counts[name] = counts.get(name, 0) + 1
        needed = [name for name in wanted if counts[name] > 1]
        if needed or len(set(wanted)) < len(wanted):
            raise _error(column, f"several elements have the same name: {_listed(needed)}", "give each its own")
    order = np.array([place[name] for name in wanted], dtype=np.int64)
    null = None if column.null is None else np.asarray(column.null)[:, order]
    if isinstance(column.values, SparseRows):
        values = cast(Array, SparseRows(column.values.matrix[:, order]))
    else:
        values = np.asarray(column.values)[:, order]
    return replace(column, values=values, null=null, elements=tuple(wanted))


def named(column: SourceColumn, labels: Iterable[object]) -> SourceColumn:
    """Give the elements of a column `(N, D)` these names; numbers are names, too."""
    names = tuple(map(str, labels))
    if column.values.ndim != 2 or len(names) != column.values.shape[1]:
        return column
    return replace(column, elements=names)


def are_names(names: Sequence[str]) -> bool:
    """Tell names from the numbers 0, 1, … that AnnData gives where there are none."""
    return any(name != str(number) for number, name in enumerate(names))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(printable(name) for name in names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def _error(column: SourceColumn, message: str, fix: str) -> DataError:
    return DataError(f"'{column.name}': {message}{f'; {fix}' if fix else ''}", file=column.file or None)
