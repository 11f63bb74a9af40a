"""Ranges of the steps of repeats: as words, as the signs of products and sums, and what is written behind these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from sgc.derivation.formula import symbol
from sgc.derivation.node_id import Index
from sgc.spec.scopes import Plate

Range = tuple[int, int | None]  # the first step and the last one, from 0; None: up to the count
Box = tuple[tuple[int, int], ...]  # for each repeat around a name, the first and the last of some steps
Around = tuple[tuple[Plate, Range], ...]
T = TypeVar("T")


def whole(plates: Sequence[Plate]) -> Around:
    """Give repeats with all their steps."""
    return tuple((plate, (0, None)) for plate in plates)


def nested(
    items: Sequence[T],
    over: Callable[[T], Around],
    write: Callable[[T], str],
    *,
    latex: bool = False,
    depth: int = 0,
) -> str:
    """Write a product of items, those of one repeat together behind its sign. over: the repeats of an item."""
    groups: dict[object, list[T]] = {}
    for i, item in enumerate(items):
        around = over(item)[depth:]
        groups.setdefault(around[0] if around else i, []).append(item)
    found = []
    for group in groups.values():
        around = over(group[0])
        if len(around) <= depth:
            found.append(write(group[0]))
            continue
        inner = nested(group, over, write, latex=latex, depth=depth + 1)
        if len(group) > 1:
            inner = rf"\left[ {inner} \right]" if latex else f"[{inner}]"
        found.append(f"{sign('prod', around, depth, latex=latex)} {inner}")
    return (r" \, " if latex else " ").join(found)


def sign(kind: str, around: Around, depth: int, *, latex: bool = False) -> str:
    r"""Write the sign of a product or sum over the steps of a repeat: `prod_{digit=1..k}`, `\sum_{t=1}^{50}`."""
    if not latex:
        return f"{kind}_{{{range_words(around, depth)}}}"
    name, low, last = _range(around, depth)
    return rf"\{kind}_{{{symbol(name)}={low}}}^{{{last if last.isdigit() else symbol(last)}}}"


def signs(kind: str, around: Around, *, latex: bool = False) -> str:
    """Write the signs of a product or sum over all repeats around something, and a space behind each."""
    return "".join(f"{sign(kind, around, i, latex=latex)} " for i in range(len(around)))


def range_words(around: Around, depth: int) -> str:
    """Say which steps of a repeat are meant: `digit=1..k`, `t=1`."""
    _, (low, high) = around[depth]
    name, first, last = _range(around, depth)
    return f"{name}={first}" if low == high else f"{name}={first}..{last}"


def _range(around: Around, depth: int) -> tuple[str, str, str]:
    """Give a repeat's own name, and its first and last step in words."""
    plate, (low, high) = around[depth]
    above = around[depth - 1][0].name + "." if depth else ""
    name = plate.name.removeprefix(above)
    return name, str(low + 1), count_name(plate) if high is None else str(high + 1)


def count_name(plate: Plate) -> str:
    """Say how many steps a repeat has: the node that counts them, as it is called there, or a number."""
    scope = plate.name.rpartition(".")[0]
    return plate.count.removeprefix(f"{scope}.") if plate.count and scope else plate.count or str(plate.size)


def boxes(indices: Iterable[Index]) -> list[Box]:
    """Part steps into ranges over each repeat.

    >>> boxes([(0,), (2,), (3,)]), boxes([(0, 0), (1, 0), (1, 1)])
    ([((0, 0),), ((2, 3),)], [((0, 0), (0, 0)), ((1, 1), (0, 1))])
    """
    rest: dict[int, list[Index]] = {}
    for index in sorted(indices):
        rest.setdefault(index[0], []).append(index[1:])
    found: list[tuple[tuple[int, int], list[Box]]] = []
    for first, tails in rest.items():
        inner: list[Box] = boxes(tails) if tails[0] else [()]
        if found and found[-1][0][1] == first - 1 and found[-1][1] == inner:
            found[-1] = ((found[-1][0][0], first), inner)
        else:
            found.append(((first, first), inner))
    return [(own, *tail) for own, inner in found for tail in inner]


def around(plates: Sequence[Plate], box: Box) -> Around:
    """Give repeats with the ranges of a box, up to the count where it reaches the last step."""
    return tuple(
        (plate, (low, None if high == plate.size - 1 and (low == 0 or low < high) else high))
        for plate, (low, high) in zip(plates, box, strict=True)
    )


def where(plates: Sequence[Plate], indices: Iterable[Index]) -> str:
    """Say at which steps: `t=1`, `sent=2..m`; only the repeats that not all steps of are meant."""
    found = []
    for box in boxes(indices):
        ranges = around(plates, box)
        some = [range_words(ranges, i) for i, (_, each) in enumerate(ranges) if each != (0, None)]
        found.append(" ".join(some))
    return ", ".join(filter(None, found))
