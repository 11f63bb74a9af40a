"""The column of row weights: what each training or validation row counts, beside one that counts 1."""

from __future__ import annotations

import numpy as np

from sgc.data.columns import Array, Origin, Rows, SourceColumn, read_numbers
from sgc.data.value_checks import check_finite
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
    found = read_numbers(origin).astype(np.float64)
    check_finite(found, origin)
    for bad, wanted in ((np.isnan(found), "no value"), (found < 0, "{found}")):
        if bad.any():
            text = f"found {wanted}, wanted a number of at least 0 in every row"
            origin.fail(text, bad, lambda row, _: f"{found[row]:g}")
    return found


def check_some(weights: Array, column: SourceColumn, part: str) -> None:
    """See that the rows of a part, `training` or `validation`, weigh something together. Raises: DataError."""
    told = f"{WEIGHT}: column '{column.name}'"
    if len(weights) and not weights.any():
        message = f"{told}: every {part} row has the weight 0: wanted some above it"
        raise DataError(message, column.file or None)
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not np.isfinite(total):
        message = f"{told}: the weights of the {part} rows add up to more than a number holds"
        raise DataError(message, column.file or None)
