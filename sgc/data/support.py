"""Checks that values lie in the support of their node's distribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sgc.data.columns import Array, Origin, show
from sgc.data.variables import Variable

_CHUNK = 4096


@dataclass(frozen=True)
class Range:
    """The numbers that may stand in one element."""

    low: float = -np.inf
    high: float = np.inf
    open_low: bool = False
    whole: bool = False

    def __str__(self) -> str:
        kind = "an integer" if self.whole else "a number"
        if self.high < np.inf:
            between = f"{'above' if self.open_low else 'from'} {show(self.low)} to {show(self.high)}"
            return f"{kind} {between}" if self.low > -np.inf else f"{kind} up to {show(self.high)}"
        if self.low > -np.inf:
            return f"{kind} above {show(self.low)}" if self.open_low else f"{kind} from {show(self.low)} up"
        return kind

    def misses(self, values: Array) -> NDArray[np.bool_]:
        """Mark what lies outside; NaN lies outside nothing."""
        bad: NDArray[np.bool_] = (values > self.high) | np.isinf(values)
        bad |= values <= self.low if self.open_low else values < self.low
        if self.whole:
            bad |= ~np.isnan(values) & (values != np.floor(values))
        return bad


RANGES = {
    "positive": Range(low=0, open_low=True),
    "nonnegative": Range(low=0),
    "unit_interval": Range(low=0, high=1),
    "boolean": Range(low=0, high=1),  # grey values are scored by cross-entropy
    "nonnegative_integer": Range(low=0, whole=True),
    "positive_integer": Range(low=1, whole=True),
    "integer_interval": Range(low=0, whole=True),
    "multinomial": Range(low=0, whole=True),
    "simplex": Range(low=0, high=1),
    "one_hot": Range(low=0, high=1, whole=True),
}
"""By torch's word; of every other support only that its values are finite is checked here."""

_SUMMED = ("simplex", "one_hot", "multinomial")


def check_present(values: Array, origin: Origin, supervision: str) -> None:
    """Check that no value is missing: NaN, or -1 in integer categories; of a step that is not there none has to be.

    Raises:
        DataError: names the first row without one.
    """
    missing = values < 0 if values.dtype.kind == "i" else np.isnan(values) if _has_nan(values) else None
    if missing is not None and missing.any():
        gone = origin.absent()
        missing &= True if gone is None else ~gone.reshape(*gone.shape, *(1,) * (missing.ndim - gone.ndim))
    if missing is not None and missing.any():
        kind = "no value (-1 or empty)" if values.dtype.kind == "i" else "no value (NaN or empty)"
        what = "an input" if supervision == "input" else "a node with supervision 'full'"
        hint = "" if supervision == "input" else "; with 'supervision: partial' and 'missing: drop' cells may be empty"
        origin.fail(f"found {{found}}: {what} has a value in every row{hint}", missing, lambda row, element: kind)


def check_grey(values: Array, origin: Origin) -> None:
    """Check that values lie in [0, 1], as a random binarisation wants them.

    Raises:
        DataError: names the first row that does not.
    """
    _check_range(values, origin, RANGES["unit_interval"])


def check_finite(values: Array, origin: Origin) -> None:
    """Check that no value is infinite.

    Raises:
        DataError: names the first row with one.
    """
    _check_range(values, origin, Range())


def check_support(values: Array, variable: Variable, origin: Origin) -> None:
    """Check values `(N, *event)` against their node's support; NaN, a missing value, passes.

    Raises:
        DataError: names the first row outside, the value and the range.
    """
    allowed = RANGES.get(variable.support, Range())
    if variable.upper is not None and variable.support != "multinomial":
        allowed = Range(allowed.low, variable.upper, allowed.open_low, allowed.whole)
    _check_range(values, origin, allowed)
    if variable.support in _SUMMED and variable.shape:
        total = variable.upper if variable.support == "multinomial" else 1.0
        sums = values.sum(axis=-1, dtype=np.float64)
        bad = np.zeros(sums.shape, dtype=bool) if total is None else np.abs(sums - total) > 1e-6
        if bad.any():
            message = f"found a sum of {{found}}, wanted values that sum to {show(total)}"
            origin.fail(message, bad, lambda row, element: show(sums[(row, *element)]))


def _check_range(values: Array, origin: Origin, allowed: Range) -> None:
    for start in range(0, len(values), _CHUNK):
        chunk = values[start : start + _CHUNK]
        if not chunk.size or _inside(chunk, allowed):
            continue
        bad = allowed.misses(chunk)
        if bad.any():
            message = f"found {{found}}, wanted {allowed}{_hint(float(np.nanmax(chunk)), allowed)}"
            origin.fail(message, bad, lambda row, element: show(values[(row, *element)]), start)


def _inside(chunk: Array, allowed: Range) -> bool:
    """Tell quickly, from the extremes alone, that all is well; NaN among them tells nothing."""
    low, high = float(chunk.min()), float(chunk.max())
    above = low > allowed.low if allowed.open_low else low >= allowed.low
    return above and high <= allowed.high and np.isfinite(low) and np.isfinite(high) and not allowed.whole


def _hint(largest: float, allowed: Range) -> str:
    if allowed.whole and 1 < allowed.high < np.inf and largest <= 1:
        return "; is a transform {divide: …} one too many?"
    if allowed.high != 1 or allowed.whole or not 1 < largest <= 255:
        return ""
    return f"; is the transform {{divide: {16 if largest <= 16 else 255}}} missing?"


def _has_nan(values: Array) -> bool:
    return bool(values.size) and bool(np.isnan(values.min()))
