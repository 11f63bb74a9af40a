"""The order in which enumerated dimensions are summed out, what it costs, and the axes that they share."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sgc.derivation.name_sets import members
from sgc.derivation.plan import SAMPLES


@dataclass(frozen=True)
class Swept:
    """The order in which enumerated dimensions are summed out, and what it costs for a row."""

    order: tuple[str, ...]
    largest: int  # elements of the largest intermediate
    widest: frozenset[str]  # its dimensions
    operations: int  # elements touched in all
    unions: tuple[frozenset[str], ...]  # the dimensions of every intermediate that no other one holds


def sweep(spans: Sequence[frozenset[str]], sizes: Mapping[str, int], samples: int) -> Swept:
    """Choose the order in which enumerated dimensions are summed out: the smallest intermediate first.

    Sets of dimensions are bits of numbers here: where everything meets there are as many as pairs of nodes. Once all
    that is left meets, each intermediate is the one before without the dimension that is gone.
    """
    names = [*sizes, SAMPLES]
    size = [*sizes.values(), samples]
    bit = {name: 1 << i for i, name in enumerate(names)}
    meets = {i: 1 << i for i in range(len(sizes))}
    for span in set(spans):
        mask = sum(bit[name] for name in span if name in bit)
        for i in members(mask):
            if i in meets:
                meets[i] |= mask
    product = {mask: _product(size, mask) for mask in set(meets.values())}  # where all meets, there is one
    elements = {i: product[mask] for i, mask in meets.items()}
    sampled = any(SAMPLES in span for span in spans)
    order: list[str] = []
    unions: list[int] = []
    counts: list[int] = []
    left = (1 << len(sizes)) - 1
    while elements:
        best = min(elements, key=elements.__getitem__)
        union = meets.pop(best)
        unions.append(union)
        order.append(names[best])
        counts.append(elements.pop(best))
        if union == (left | bit[SAMPLES] if sampled else left):
            for i in elements:  # each is as large as the others, and smaller than this one: in the order of q
                counts.append(counts[-1] // size[best])
                order.append(names[i])
                best = i
            break
        left &= ~(1 << best)
        for i in members(union & ~(1 << best)):
            if i in meets:
                more = union & ~meets[i]
                meets[i] = (meets[i] | more) & ~(1 << best)
                elements[i] = elements[i] * (_product(size, more) if more else 1) // size[best]
    found = {union: frozenset(names[i] for i in members(union)) for union in unions}
    widest = max(zip(counts, unions, strict=False), default=(1, 0), key=lambda pair: pair[0])[1]
    counts += [samples] if sampled else []
    every = tuple(found[union] for union in unions)
    return Swept(tuple(order), max([1, *counts]), found.get(widest, frozenset()), sum(counts), every)


def _product(size: Sequence[int], mask: int) -> int:
    return math.prod(size[i] for i in members(mask))


def share_axes(meeting: Iterable[frozenset[str]], nodes: Sequence[str]) -> dict[str, int]:
    """Give every enumerated node a leading dimension; two that stand in one tensor never get the same.

    A chain then has two of them, whatever its length: torch's tensors have at most 64. Greedy, in the order of q.
    """
    others: dict[str, set[str]] = {name: set() for name in nodes}
    spans: dict[str, list[frozenset[str]]] = {name: [] for name in nodes}
    for span in sorted(set(meeting), key=len, reverse=True):
        own = [name for name in span if name in others]
        if own and not any(span <= wider for wider in spans[own[0]]):
            for name in own:
                others[name] |= span
                spans[name].append(span)
    axes: dict[str, int] = {}
    for name in nodes:
        taken = {axes[other] for other in others[name] if other in axes}
        axes[name] = next(i for i in itertools.count() if i not in taken)
    return axes
