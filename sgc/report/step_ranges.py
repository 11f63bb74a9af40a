"""Ranges of the steps of repeats: in words, as signs of products and sums, and the products behind these signs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from sgc.derivation.formula import symbol
from sgc.derivation.node_id import Index
from sgc.report.plates import Plated
from sgc.spec.scopes import Plate

Range = tuple[int, int | None]  # the first step and the last one, from 0; None: up to the count
Box = tuple[tuple[int, int], ...]  # for each repeat around a name, the first and the last of some steps
Around = tuple[tuple[Plate, Range], ...]


def all_steps(plates: Sequence[Plate]) -> Around:
    """Give repeats with all their steps."""
    return tuple((plate, (0, None)) for plate in plates)


def nested(
    factors: Sequence[tuple[str, Around]], mark: Callable[[str, str], str], *, latex: bool = False, depth: int = 0
) -> str:
    """Write a product of factors, each over the steps of its repeats; those of one repeat share its sign.

    mark: gives a text a role, here that of the sign of a single factor, which is kept with it.
    """
    groups: dict[object, list[tuple[str, Around]]] = {}
    for i, factor in enumerate(factors):
        groups.setdefault(factor[1][depth : depth + 1] or i, []).append(factor)
    texts = []
    for group in groups.values():
        text, around = group[0]
        if len(around) > depth:
            text = nested(group, mark, latex=latex, depth=depth + 1)
            before = f"{sign('prod', around, depth, latex=latex)} "
            if len(group) > 1:
                text = before + (rf"\left[ {text} \right]" if latex else f"[{text}]")
            else:
                text = mark(before, "kept") + text
        texts.append(text)
    return (r" \, " if latex else " ").join(texts)


def sign(kind: str, around: Around, depth: int, *, latex: bool = False) -> str:
    r"""Write the sign of a product or sum over the steps of a repeat: `prod_{digit=1..k}`, `\sum_{t=1}^{50}`."""
    if not latex:
        return f"{kind}_{{{range_words(around, depth)}}}"
    name, first, last = limits(around, depth)
    return rf"\{kind}_{{{symbol(name)}={first}}}^{{{last if last.isdigit() else symbol(last)}}}"


def signs(kind: str, around: Around, *, latex: bool = False) -> str:
    """Write the signs of a product or sum over all repeats around something, and a space behind each."""
    return "".join(f"{sign(kind, around, i, latex=latex)} " for i in range(len(around)))


def range_words(around: Around, depth: int) -> str:
    """Say which steps of a repeat are meant: `digit=1..k`, `t=1`."""
    name, first, last = limits(around, depth)
    low, high = around[depth][1]
    return f"{name}={first}" if low == high else f"{name}={first}..{last}"


def limits(around: Around, depth: int) -> tuple[str, str, str]:
    """Give a repeat's own name, and its first and last step in words."""
    plate, (low, high) = around[depth]
    outer = f"{around[depth - 1][0].name}." if depth else ""
    return plate.name.removeprefix(outer), str(low + 1), count_name(plate) if high is None else str(high + 1)


def count_name(plate: Plate) -> str:
    """Say how many steps a repeat has: the node that counts them, as it is called there, or a number."""
    scope = plate.name.rpartition(".")[0]
    return plate.count.removeprefix(f"{scope}.") if plate.count and scope else plate.count or str(plate.size)


def boxes(indices: Iterable[Index]) -> list[Box]:
    """Divide steps into ranges over each repeat.

    >>> boxes([(0,), (2,), (3,)]), boxes([(0, 0), (1, 0), (1, 1)])
    ([((0, 0),), ((2, 3),)], [((0, 0), (0, 0)), ((1, 1), (0, 1))])
    """
    rest: dict[int, list[Index]] = {}
    for index in sorted(indices):
        rest.setdefault(index[0], []).append(index[1:])
    ranges: list[tuple[tuple[int, int], list[Box]]] = []
    for step, tails in rest.items():
        inner: list[Box] = boxes(tails) if tails[0] else [()]
        if ranges and ranges[-1][0][1] == step - 1 and ranges[-1][1] == inner:
            ranges[-1] = ((ranges[-1][0][0], step), inner)
        else:
            ranges.append(((step, step), inner))
    return [(own, *tail) for own, inner in ranges for tail in inner]


def around(plates: Sequence[Plate], box: Box) -> Around:
    """Give repeats with the ranges of a box, up to the count where it reaches the last step."""
    return tuple(
        (plate, (low, None if high == plate.size - 1 and (low == 0 or low < high) else high))
        for plate, (low, high) in zip(plates, box, strict=True)
    )


def where(plates: Sequence[Plate], indices: Iterable[Index]) -> str:
    """Say at which steps: `t=1`, `sent=2..m`; repeats of which all steps are meant are left out."""
    texts = []
    for box in boxes(indices):
        ranges = around(plates, box)
        texts.append(" ".join(range_words(ranges, i) for i, (_, steps) in enumerate(ranges) if steps != (0, None)))
    return ", ".join(filter(None, texts))


def at_steps(view: Plated, flat: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Give names of the file, each once, and at which steps where it is not all of them: `('z', ' at t=1')`."""
    by_name: dict[str, list[str]] = {}
    for node in flat:
        by_name.setdefault(view.names.of(node), []).append(node)
    for name, steps in by_name.items():
        partly = len(steps) < len(view.steps[name])
        yield name, f" at {where(view.names.plates(name), map(view.names.index, steps))}" if partly else ""
