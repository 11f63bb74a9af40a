"""Counts, the nodes that give the number of a repeat's steps, and the integers that they may be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sgc.distributions.family import Family


def count_values(
    family: Family, event: tuple[int, ...], values: Sequence[Any] | None
) -> tuple[int, ...]:  # Any: the names of categories as in the data
    """Give the integers that a count may be, in the order of `Family.enumerate`.

    values: the names of a Categorical's categories; None: 0 to K − 1.

    Raises: ValueError, in words: not one number, not finite, not integers, or below 0.
    """
    if not family.finite:
        raise ValueError(f"a count needs a largest value, and the support of {family.name} is not finite")
    if event[: len(event) - family.event_dim]:
        raise ValueError(f"a count is one number, and its shape is {list(event[: len(event) - family.event_dim])}")
    if not family.support.categorical:
        size = family.support_size(event)
        assert size is not None
        return tuple(range(size))
    if values is None:
        return tuple(range(event[-1]))
    for value in values:
        if type(value) is not int:
            raise ValueError(f"a count is an integer, and one of its values is {value!r}")
        if value < 0:
            raise ValueError(f"a count is at least 0, and one of its values is {value}")
    return tuple(values)
