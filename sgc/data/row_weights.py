"""The column of row weights: what each training or validation row counts, beside one that counts 1."""

from __future__ import annotations

import numpy as np

from sgc.data.columns import Array, Origin, Rows, SourceColumn, read_numbers
from sgc.data.value_checks import check_support
from sgc.distributions.supports import REAL
from sgc.errors import DataError

WEIGHT = "train.weight"  # where the spec names the column


def read_weights(column: SourceColumn, rows: Rows) -> Array:
    """Read what rows count: float64 `(N,)`, finite and at least 0.

    Raises:
        DataError: names the file and the first row without such a number.
    """
    origin = Origin(column.name, (column,), rows, kind=f"{WEIGHT}: column")
    if column.values.ndim != 1:
        raise origin.error(f"found rows of the shape {list(column.values.shape[1:])}, wanted one number a row")
    weights = read_numbers(origin).astype(np.float64)
    check_support(weights, REAL, origin)
    for bad, shown in ((np.isnan(weights), "no value"), (weights < 0, weights)):
        if bad.any():
            origin.fail("found {found}, wanted a number of at least 0 in every row", bad, shown)
    return weights


def check_some(weights: Array, column: SourceColumn, part: str) -> None:
    """Check that the weights of a part, `training` or `validation`, have a sum above 0. Raises: DataError."""
    place = f"{WEIGHT}: column '{column.name}'"
    if len(weights) and not weights.any():
        raise DataError(f"{place}: every {part} row has the weight 0: wanted some above 0", column.file or None)
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not np.isfinite(total):
        message = f"{place}: the weights of the {part} rows add up to more than a number holds"
        raise DataError(message, column.file or None)
