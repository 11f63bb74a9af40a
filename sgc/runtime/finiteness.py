"""Rows whose scores are not finite: which rows, because of which node's term, and the other rows without them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from sgc.errors import LISTED, RunError, is_about_memory
from sgc.own_code import failure
from sgc.runtime.batch import PatternRows
from sgc.runtime.group import Group
from sgc.runtime.layout import Score

S = TypeVar("S")
W = TypeVar("W")

WORDS = {"generative": "log p", "recognition": "log q", "kl": "the KL", "label": "log q of the label"}


def check_finite(group: Group) -> tuple[str, str] | None:
    """Name the first node and role whose score is not finite; None where all are."""
    return next((key for key, score in _scored(group) if not bool(torch.isfinite(score.tensor).all())), None)


def term_text(node: str, role: str) -> str:
    """Say which term is not finite.

    >>> term_text("x", "generative")
    "node 'x': log p is not finite"
    """
    return f"node '{node}': {WORDS[role]} is not finite"


def without_failures(
    run: Callable[[W], S], rows: W, places: Callable[[W], Sequence[int]], halves: Callable[[W], tuple[W, W]]
) -> tuple[list[tuple[W, S]], dict[int, str]]:
    """Run rows; where that fails because of a row, such as at parameters that are NaN, run the others without it.

    Failing rows are found by halving, so that n rows with k of them take some k log n passes. What is drawn for the
    others then differs.

    places: the places of some rows in the batch. halves: parts of them.

    Returns: the rows that were run, in order, with what that gave; and the reason of each failing row, by its place.
    """
    try:
        return [(rows, run(rows))], {}
    except (ValueError, RuntimeError, RunError) as problem:  # torch's refusals are of many kinds
        if not is_about_rows(problem):
            raise
        if len(places(rows)) == 1:
            return [], {places(rows)[0]: str(problem).splitlines()[0].rstrip(":")}
    (first, wrong), (second, also_wrong) = (without_failures(run, half, places, halves) for half in halves(rows))
    return [*first, *second], wrong | also_wrong


def sums_without_failures(
    run: Callable[[list[PatternRows]], list[S]], parts: Sequence[PatternRows]
) -> tuple[list[tuple[PatternRows, S]], dict[int, str]]:
    """Run parts of a batch, see `without_failures`. run: from parts to their sums, as `Model.sums`, or others."""

    def halves(group: list[PatternRows]) -> tuple[list[PatternRows], list[PatternRows]]:
        if len(group) > 1:
            return group[: len(group) // 2], group[len(group) // 2 :]
        places, middle = torch.arange(group[0].size), group[0].size // 2
        return [group[0].select(places[:middle])], [group[0].select(places[middle:])]

    def places(group: list[PatternRows]) -> list[int]:
        return [place for part in group for place in part.places]

    finished, broken = without_failures(run, list(parts), places, halves)
    return [pair for group, sums in finished for pair in zip(group, sums, strict=True)], broken


def is_about_rows(problem: BaseException) -> bool:
    """Tell whether a row may have caused a failure: not if memory ran out, or in a user's own code."""
    return not is_about_memory(problem) and not failure(problem)


def explain_rows(group: Group, broken: Tensor) -> dict[int, str]:
    """Say of each broken row which term makes it so, by its place in the group.

    That is the first term that is NaN or +∞ in one of the row's particles, or −∞ in all of them: a value may be
    impossible in some of the particles.

    broken: [B] booleans.
    """
    reasons: dict[int, str] = {}
    left = broken.clone()
    for key, score in _scored(group):
        rows_at_fault = left & _of_rows(score, group.layout.rows)
        reasons |= dict.fromkeys(_places(rows_at_fault), term_text(*key))
        left &= ~rows_at_fault
    for name in group.proposals:
        if name in group.values and bool(left.any()):
            rows_at_fault = left & ~finite_values(group, name)
            reasons |= dict.fromkeys(_places(rows_at_fault), f"node '{name}': what q proposes is not finite")
            left &= ~rows_at_fault
    reasons |= dict.fromkeys(_places(left), "the scores of all particles together are not finite, though each term is")
    return dict(sorted(reasons.items()))


def finite_values(group: Group, name: str) -> Tensor:
    """Mark the rows in which all values of a node, [*enumerated, S, B, *event], are finite: [B]."""
    axis = group.layout.row_axis
    finite = torch.isfinite(group.values[name])
    flat = finite.movedim(axis, 0).reshape(finite.shape[axis], -1).all(1)
    return flat.expand(group.layout.rows)


def rows_words(reasons: Mapping[int, str], names: Mapping[int, str] | None = None) -> str:
    """List rows with the reason of each, those of one reason together; of many, the first twelve.

    reasons: by row. names: what else users know a row by.

    >>> rows_words({2: "a", 3: "b", 7: "a"}, {2: "AB-2"})
    "rows 2 ('AB-2') and 7: a; row 3: b"
    """
    together: dict[str, list[int]] = {}
    for row, reason in reasons.items():
        together.setdefault(reason, []).append(row)
    return "; ".join(f"{row_list(rows, names)}: {reason}" for reason, rows in together.items())


def row_list(rows: Iterable[int], names: Mapping[int, str] | None = None, count: int | None = None) -> str:
    """List rows; of many, the first twelve. count: how many there are, where only the first twelve are given.

    >>> row_list([4]), row_list([1, 2, 5])
    ('row 4', 'rows 1, 2 and 5')
    >>> row_list(range(100))
    'rows 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 88 others'
    """
    texts = [f"{row}" + (f" ({names[row]!r})" if names and row in names else "") for row in rows]
    count = len(texts) if count is None else count
    if count == 1:
        return f"row {texts[0]}"
    more = count - LISTED
    last = texts[-1] if more <= 0 else f"{more} other{'s' if more > 1 else ''}"
    shown: Sequence[str] = texts[:-1] if more <= 0 else texts[:LISTED]
    return f"rows {', '.join(shown)} and {last}"


def _scored(group: Group) -> list[tuple[tuple[str, str], Score]]:
    labels = [((name, "label"), log) for name, log in group.weights.items()]
    return [*group.scores.items(), *labels]


def _of_rows(score: Score, rows: int) -> Tensor:
    """Mark the rows in which a score makes the sum over particles not a number: [B]."""
    particles = score.tensor.reshape(-1, score.tensor.shape[-1])
    broken = torch.isnan(particles).any(0) | (particles == torch.inf).any(0) | (particles == -torch.inf).all(0)
    return broken.expand(rows)


def _places(rows: Tensor) -> list[int]:
    places: list[int] = rows.nonzero().reshape(-1).tolist()
    return places
