"""Which steps of a repeat a row has, by its counts: the cells of other steps are no values of any node.

Where a row has no value of the count, nothing is known of its steps. A node with supervision `full` may lack steps only
if every row has a value of the count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sgc.data.columns import MISSING, Array, Origin, SourceColumn
from sgc.data.encoder import fit_encoder, read_cells
from sgc.data.source_columns import Part
from sgc.data.transforms.transforms import AnyTransform
from sgc.data.variables import Variable
from sgc.derivation.existence import absent

Transforms = Callable[[str], tuple[AnyTransform, ...]]


def mark_absent(part: Part, variables: Mapping[str, Variable], transforms: Transforms) -> Part:
    """Mark, in the columns of each node of a counted repeat, the steps that rows do not have.

    transforms: those of a node, by its name; a count is read as its node's values are.

    Raises:
        DataError: a count that cannot be read, or columns of other steps.
    """
    if not any(any(variable.exists) for variable in variables.values()):
        return part
    marked: dict[str, tuple[SourceColumn, ...]] = {}

    def columns_of(name: str) -> tuple[SourceColumn, ...]:
        if name not in marked:
            marked[name] = _mark(part.nodes[name], variables[name], counts_of)
        return marked[name]

    def counts_of(name: str) -> NDArray[np.float64] | None:
        """Read a count in every row: `(N, its own steps)`, NaN where it is missing; None: it has no column."""
        if name not in part.nodes:
            return None
        variable = variables[name]
        rows = np.arange(part.size, dtype=np.int64)
        origin = Origin(name, columns_of(name), rows, variable.steps)
        cells = read_cells(origin, variable, transforms(name))
        _, values = fit_encoder(variable, transforms(name), cells, origin, 0)
        return _integers(variable, values.reshape(part.size, -1))

    return replace(part, nodes={name: columns_of(name) for name in part.nodes})


def _integers(variable: Variable, values: Array) -> NDArray[np.float64]:
    """Give the numbers of a count's values: of a category, its name in the data."""
    if variable.categories is None:
        return values.astype(np.float64)
    names = range(variable.categories) if variable.values is None else variable.values
    counted = np.array([*map(float, names), np.nan])
    return np.asarray(counted[np.where(values == MISSING, len(counted) - 1, values)])


def _mark(
    columns: tuple[SourceColumn, ...],
    variable: Variable,
    counts_of: Callable[[str], NDArray[np.float64] | None],
) -> tuple[SourceColumn, ...]:
    if not any(variable.exists):
        return columns
    counts = {condition.count: counts_of(condition.count) for step in variable.exists for condition in step}
    gone = np.zeros((len(columns[0]), len(variable.exists)), dtype=bool)
    for i, step in enumerate(variable.exists):
        known = {
            condition: number[:, condition.place]
            for condition in step
            if (number := counts[condition.count]) is not None
        }
        denied = absent([(condition, condition.above) for condition in step], known)
        if denied is not None:
            gone[:, i] = denied
    gone = gone.reshape(len(gone), *variable.steps)
    if len(columns) == 1:
        return (replace(columns[0], absent=gone),)
    return tuple(replace(column, absent=gone[:, j]) for j, column in enumerate(columns[: variable.steps[0]]))


def check_known_counts(part: Part, variables: Mapping[str, Variable]) -> None:
    """Check that no row lacks a step of a node with supervision 'full' by a count that is only partially observed.

    Raises:
        DataError: names the file, the row and the count.
    """
    for name, variable in variables.items():
        counts = dict.fromkeys(condition.count for step in variable.exists for condition in step)
        partial = [count for count in counts if count in variables and variables[count].supervision == "partial"]
        if variable.supervision != "full" or not partial or name not in part.nodes:
            continue
        origin = Origin(name, part.nodes[name], np.arange(part.size, dtype=np.int64), variable.steps)
        gone = origin.absent()
        if gone is not None and gone.any():
            message = (
                f"found {{found}}: the count '{partial[0]}' leaves this step out, and may be hidden in training: give "
                f"'{partial[0]}' supervision 'full', or '{name}' 'partial'"
            )
            origin.fail(message, gone, "no value")
