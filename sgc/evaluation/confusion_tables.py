"""Errors by category and confusion matrices as aligned lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan

import numpy as np

from sgc.errors import printable
from sgc.evaluation.confusion import Confusion

LARGEST = 20  # categories of a table; of more, those with the largest errors and the most frequent confusions
LISTED = 10  # confusions that are listed then
LETTERS = 12  # of a category's name, in a matrix


def confusion_lines(node: str, ways: Mapping[str, Confusion]) -> list[str]:
    """Write the errors by category of all ways beside each other, then the matrix of each way."""
    if not ways:
        return []
    first = next(iter(ways.values()))
    places = np.flatnonzero(first.labels)
    few = len(first.names) <= LARGEST
    if not few:
        worst = np.argsort(-np.nan_to_num(first.errors[places]), kind="stable")[:LISTED]
        places = places[worst]
    head = ["error by category" if few else f"error by category, the {len(places)} largest", "labels", *ways]
    table = [[f"{head[0]} of {node}", *head[1:]]]
    for place in places.tolist():
        errors = [_percent(each.errors[place]) for each in ways.values()]
        table.append([f"  {_name(first, place)}", str(first.labels[place]), *errors])
    lines = _aligned(table)
    for way, each in ways.items():
        lines += _matrix(node, way, each) if few else [_most_frequent(node, way, each)]
    return lines


def _matrix(node: str, way: str, found: Confusion) -> list[str]:
    names = [_name(found, place)[:LETTERS] for place in range(len(found.names))]
    table = [["", *names]]
    for name, row in zip(names, found.matrix(range(len(names))).tolist(), strict=True):
        table.append([f"  {name}", *map(str, row)])
    return [f"confusion of {node}, {way}: a row for each label, a column for each prediction", *_aligned(table)]


def _most_frequent(node: str, way: str, found: Confusion) -> str:
    wrong = found.pairs[found.pairs[:, 0] != found.pairs[:, 1]]
    order = np.argsort(-wrong[:, 2], kind="stable")[:LISTED]
    words = [f"{_name(found, i)} as {_name(found, j)} {count}" for i, j, count in wrong[order].tolist()]
    return f"most frequent confusions of {node}, {way}: {', '.join(words) or 'none'}"


def _name(found: Confusion, place: int) -> str:
    name = found.names[place]
    return printable(str(name).lower() if isinstance(name, bool) else str(name))


def _percent(share: float) -> str:
    return "" if isnan(share) else f"{100 * share:.2f} %"


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Align the first column left, the others right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        row[0].ljust(widths[0]) + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in table
    ]
