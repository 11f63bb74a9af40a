"""Totals by row: how many trials a Binomial or a Multinomial has in each row, and the check of values against them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from sgc.distributions.supports import Fault, vector_sums

TOTAL = "total_count"  # the option, and the parameter where each row has its own
OWN_SUM = "sum"  # what stands there where a row's total is the sum of its value
_ROUNDING = 2.0**-23  # of float32: whole numbers below it are exact, and so is their sum


def faults_of_totals(values: Any, totals: Any, name: str, *, vector: bool) -> Iterator[Fault]:
    """Tell which values are above their row's total, or, of vectors, do not sum to it; a missing one, NaN, is neither.

    values: [N, *event], of a vector family its vectors last; totals: [N], or [N, *elements] that broadcast with those
    of the event from behind; Any: arrays of numpy's or tensors of torch's, alike here. name: what gives the totals.
    """
    counted = vector_sums(values) if vector else values
    inner = tuple(totals.shape[1:]) if math.prod(totals.shape[1:]) != 1 else ()  # one number is for all elements
    wanted = totals.reshape(len(totals), *(1,) * (len(counted.shape) - 1 - len(inner)), *inner)
    more = counted - wanted  # NaN where a value is missing, and then no fault
    mask = (abs(more) if vector else more) > abs(wanted) * _ROUNDING
    if not bool(mask.any()):
        return
    place = tuple(int(each[0]) for each in mask.nonzero()) if _is_array(mask) else tuple(mask.nonzero()[0].tolist())
    total = float((wanted + 0 * counted)[place])
    allowed = f"{'wanted' if vector else 'at most'} {total:.6g}, its row's '{name}'"
    yield Fault(mask, counted, allowed, summed=vector)


def _is_array(mask: Any) -> bool:  # Any: as above
    return not hasattr(mask, "new_tensor")
