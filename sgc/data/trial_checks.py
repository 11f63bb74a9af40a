"""Checks that counts agree with the totals of their rows: no more trials succeed than there were."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sgc.data.columns import Array, Origin, SourceColumn, show
from sgc.data.columns import Rows as RowIds
from sgc.data.encoder import rows_at_a_time
from sgc.data.large_columns import EncodedColumn
from sgc.data.variables import Variable
from sgc.distributions.row_totals import faults_of_totals


def check_totals(
    values: Mapping[str, Array | EncodedColumn],
    variables: Mapping[str, Variable],
    columns: Mapping[str, tuple[SourceColumn, ...]],
    rows: RowIds,
) -> None:
    """Check encoded values, `(N, *steps, *event)`, against the totals of their rows; a missing value passes.

    columns: those that each node was read from, in these rows of them.

    Raises:
        DataError: names the file, the first row that differs, the value and its total.
    """
    for name, variable in variables.items():
        if not variable.total or name not in columns:
            continue
        origin = Origin(name, columns[name], rows, variable.steps)
        size = rows_at_a_time(variable.laid)
        for start in range(0, len(rows), size):
            index = np.arange(start, min(start + size, len(rows)), dtype=np.int64)
            found, totals = (_taken(values[each], index) for each in (name, variable.total))
            vector = variable.support.vector
            for fault in faults_of_totals(found, totals, variable.total, vector=vector):
                measured = fault.measured

                def number(row: int, element: tuple[int, ...], start: int = start, measured: Array = measured) -> str:
                    return show(measured[(row - start, *element)])

                origin.fail(fault.text("{found}"), fault.mask, number, start)


def _taken(values: Array | EncodedColumn, index: RowIds) -> Array:
    return values.take(index) if isinstance(values, EncodedColumn) else values[index]
