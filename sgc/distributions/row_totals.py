"""Totals by row: the trials of a Binomial or a Multinomial in each row, and the check of values against them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from sgc.distributions.supports import Fault, vector_sums

TOTAL = "total_count"  # the option, and the parameter where each row has its own
OWN_SUM = "sum"  # the total that a spec names where a row's total is the sum of its value
_ROUNDING = 2.0**-23  # of float32: whole numbers below it are exact, and so is their sum


def faults_of_totals(values: Any, totals: Any, name: str, *, vector: bool) -> Iterator[Fault]:
    """Find the values above their row's total, or the vectors that do not sum to it; a missing one, NaN, is no fault.

    values: [N, *event], of a vector family with its vectors last; totals: [N], or [N, *elements] that broadcast with
    the last elements of the event; Any: numpy's arrays or torch's tensors. name: the input that gives the totals.
    """
    counted = vector_sums(values) if vector else values
    inner = tuple(totals.shape[1:]) if math.prod(totals.shape[1:]) != 1 else ()  # one number is for all elements
    wanted = totals.reshape(len(totals), *(1,) * (len(counted.shape) - 1 - len(inner)), *inner)
    excess = counted - wanted  # NaN where a value is missing, and then no fault
    mask = (abs(excess) if vector else excess) > abs(wanted) * _ROUNDING
    if not bool(mask.any()):
        return
    is_tensor = hasattr(mask, "new_tensor")
    place = tuple(mask.nonzero()[0].tolist()) if is_tensor else tuple(int(axis[0]) for axis in mask.nonzero())
    total = float((wanted + 0 * counted)[place])
    allowed = f"{'wanted' if vector else 'at most'} {total:.6g}, its row's '{name}'"
    yield Fault(mask, counted, allowed, summed=vector)
