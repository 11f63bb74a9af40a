"""Checks that the rows of an origin have values, and that these lie in the support of their node's distribution."""

from __future__ import annotations

import numpy as np

from sgc.data.columns import Array, Origin
from sgc.distributions.supports import Support

_CHUNK = 4096


def check_present(values: Array, origin: Origin, supervision: str) -> None:
    """Check that no value is missing: NaN, or -1 in integer categories. Steps that a row does not have need none.

    Raises:
        DataError: names the first row without one.
    """
    has_nan = values.size and np.isnan(values.min())  # an array of them is made only where there is one
    missing = values < 0 if values.dtype.kind == "i" else np.isnan(values) if has_nan else None
    if missing is not None and missing.any():
        gone = origin.absent()
        missing &= True if gone is None else ~gone.reshape(*gone.shape, *(1,) * (missing.ndim - gone.ndim))
    if missing is not None and missing.any():
        kind = "no value (-1 or empty)" if values.dtype.kind == "i" else "no value (NaN or empty)"
        what = "an input" if supervision == "input" else "a node with supervision 'full'"
        hint = "" if supervision == "input" else "; with 'supervision: partial' and 'missing: drop' cells may be empty"
        origin.fail(f"found {{found}}: {what} has a value in every row{hint}", missing, kind)


def check_support(values: Array, support: Support, origin: Origin) -> None:
    """Check values `(N, *event)` against a support; NaN, a missing value, passes.

    Raises:
        DataError: names the first row outside, the value and the range.
    """
    for start in range(0, len(values), _CHUNK):
        chunk = values[start : start + _CHUNK]
        for fault in support.faults(chunk):
            hint = "" if fault.summed else _hint(float(np.nanmax(chunk)), support)
            origin.fail(fault.text("{found}") + hint, fault.mask, fault.measured, start)


def _hint(largest: float, support: Support) -> str:
    if support.integers and support.upper is not None and support.upper > 1 and largest <= 1:
        return "; is a transform {divide: …} one too many?"
    if support.high != 1 or support.integers or not 1 < largest <= 255:
        return ""
    return f"; is the transform {{divide: {16 if largest <= 16 else 255}}} missing?"
