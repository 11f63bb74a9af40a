"""The split of rows into training, validation and test, by row id and seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sgc.data.columns import Array, Rows, SourceColumn
from sgc.data.label_fields import Split
from sgc.data.row_draws import priorities, stream
from sgc.errors import DataError


@dataclass(frozen=True)
class Division:
    """Row ids, ascending and disjoint, that make up all rows together."""

    train: Rows
    validation: Rows
    test: Rows


def divide_rows(size: int, split: Split, column: SourceColumn | None) -> Division:
    """Divide the rows 0 … size - 1.

    `column` is the one of `stratify` (each part has its categories in proportion) or of `group` (no group is in two
    parts; the sizes are then as near as groups allow).

    Raises:
        DataError: more rows are wanted than there are, or a share is less than one row.
    """
    rows = np.arange(size, dtype=np.int64)
    order = priorities(rows, stream(split.seed, "split"))
    wanted: dict[str, int] = {
        name: _count(share, size, name) for name, share in (("test", split.test), ("validation", split.validation))
    }
    held_out = sum(wanted.values())
    if held_out and held_out >= size:
        parts = " and ".join(f"{count} for {name}" for name, count in wanted.items() if count)
        raise DataError(f"split: found {size} rows, wanted {parts}, and some for training")
    part = np.zeros(size, dtype=np.int64)
    if column is not None and split.group is not None:
        _by_group(part, order, wanted, _kinds(column, may_miss=False))
    elif column is not None:
        _by_stratum(part, order, wanted, _kinds(column, may_miss=True))
    else:
        _take(part, np.argsort(order), wanted)
    return Division(*(rows[part == number] for number in (0, 2, 1)))


def _count(share: int | float | None, size: int, name: str) -> int:
    if share is None or isinstance(share, int):
        return share or 0
    count = int(np.floor(share * size + 0.5))
    if share and not count:
        raise DataError(f"split: found {size} rows, of which {share:g} for {name} is none")
    return count


def _take(part: Rows, ordered: Rows, wanted: dict[str, int]) -> None:
    start = 0
    for number, count in enumerate(wanted.values(), start=1):
        part[ordered[start : start + count]] = number
        start += count


def _kinds(column: SourceColumn, *, may_miss: bool) -> Rows:
    """Number the column's different values: `(N,)`."""
    if column.values.ndim != 1:
        shape = list(column.values.shape[1:])
        raise DataError(
            f"split: column '{column.name}' has the shape {shape} a row, wanted one value", column.file or None
        )
    values: Array = column.values
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)
    if column.missing is not None:
        missing = missing | column.missing
    if missing.any() and not may_miss:
        row = int(np.argmax(missing))
        raise DataError(
            f"split: no value in column '{column.name}', which names each row's group", column.file or None, row
        )
    numbers = np.unique(values, return_inverse=True)[1].astype(np.int64)
    numbers[missing] = -1
    return numbers


def _by_stratum(part: Rows, order: Rows, wanted: dict[str, int], kinds: Rows) -> None:
    names, strata = np.unique(kinds, return_inverse=True)
    if len(names) > max(1, len(kinds) // 2):
        raise DataError(
            f"split: 'stratify' found {len(names)} different values in {len(kinds)} rows, wanted categories"
        )
    sizes = np.bincount(strata)
    left = sizes.copy()
    for number, count in enumerate(wanted.values(), start=1):
        shares = apportion(count, sizes, left)
        for stratum, share in enumerate(shares):
            free = np.flatnonzero((strata == stratum) & (part == 0))
            part[free[np.argsort(order[free])[:share]]] = number
        left = left - shares


def apportion(total: int, weights: Rows, room: Rows) -> Rows:
    """Divide a total in proportion to weights by largest remainders, none above its room: integers that sum to it.

    >>> apportion(5, np.array([10, 10, 20]), np.array([10, 10, 20])).tolist()
    [1, 1, 3]
    """
    exact = total * weights / max(1, weights.sum())
    shares: Rows = np.minimum(np.floor(exact).astype(np.int64), room)
    while shares.sum() < total:
        gap = np.where(shares < room, exact - shares, -np.inf)
        shares[int(np.argmax(gap))] += 1
    return shares


def _by_group(part: Rows, order: Rows, wanted: dict[str, int], kinds: Rows) -> None:
    sizes = np.bincount(kinds)
    first = np.full(len(sizes), len(order))
    np.minimum.at(first, kinds, order)
    waiting = [int(group) for group in np.argsort(first)]
    parts = len([count for count in wanted.values() if count])
    if parts >= len(waiting) and parts:
        raise DataError(f"split: found {len(waiting)} groups, wanted at least {parts + 1}, one for each part")
    for number, count in enumerate(wanted.values(), start=1):
        taken = 0
        reserve = 1 + len([later for later in list(wanted.values())[number:] if later])  # groups that other parts need
        for group in list(waiting):
            if taken >= count or len(waiting) <= reserve:
                break
            # a group goes in where that brings the part nearer to its size; a part is never left empty
            if taken == 0 or abs(taken + sizes[group] - count) < count - taken:
                part[kinds == group] = number
                taken += int(sizes[group])
                waiting.remove(group)
