"""The order in which enumerated dimensions are summed out, what it costs, and the axes that they share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sgc.derivation.factors import SAMPLES
from sgc.derivation.name_sets import NameSets, members


@dataclass(frozen=True)
class Swept:
    """The order in which enumerated dimensions are summed out, and what it costs for a row."""

    order: tuple[str, ...]
    largest: int  # elements of the largest intermediate
    widest: tuple[str, ...]  # its dimensions
    operations: int  # elements touched in all
    unions: tuple[int, ...]  # the dimensions of every intermediate that no other one holds


def sweep(dimensions: NameSets, spans: Iterable[int], sizes: Mapping[str, int], samples: int) -> Swept:
    """Choose the order in which enumerated dimensions are summed out: the smallest intermediate first.

    spans: sets of dimensions as bits. Once all that is left meets, each intermediate is the one before without the
    dimension that is gone.
    """
    names = dimensions.names
    sample = dimensions.place[SAMPLES]
    size = {dimensions.place[name]: count for name, count in sizes.items()} | {sample: samples}
    enumerated = dimensions.bits(sizes)
    relevant = enumerated | 1 << sample
    every = {span & relevant for span in spans}
    meets = _meetings(every, enumerated)
    product = {mask: _product(size, mask) for mask in set(meets.values())}  # where all meets, there is one
    elements = {i: product[mask] for i, mask in meets.items()}
    sampled = any(span >> sample & 1 for span in every)
    order: list[str] = []
    unions: list[int] = []
    counts: list[int] = []
    left = enumerated
    while elements:
        best = min(elements, key=elements.__getitem__)
        union = meets.pop(best)
        unions.append(union)
        order.append(names[best])
        counts.append(elements.pop(best))
        if union == (left | 1 << sample if sampled else left):
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
    widest = max(zip(counts, unions, strict=False), default=(1, 0), key=lambda pair: pair[0])[1]
    counts += [samples] if sampled else []
    return Swept(tuple(order), max([1, *counts]), tuple(dimensions.named(widest)), sum(counts), tuple(unions))


def _product(size: Mapping[int, int], mask: int) -> int:
    return math.prod(size[i] for i in members(mask))


def _meetings(spans: Iterable[int], enumerated: int) -> dict[int, int]:
    """Give the dimensions that each enumerated one shares a tensor with, as bits.

    The widest spans come first: what lies within one that its lowest dimension has been in adds nothing.
    """
    meets = {i: 1 << i for i in members(enumerated)}
    earlier: dict[int, list[int]] = {}
    for span in sorted(set(spans), key=int.bit_count, reverse=True):
        own = span & enumerated
        lowest = (own & -own).bit_length() - 1
        if not own or any(not span & ~wider for wider in earlier.get(lowest, ())):
            continue
        for i in members(own):
            meets[i] |= span
            earlier.setdefault(i, []).append(span)
    return meets


def share_axes(dimensions: NameSets, meeting: Iterable[int], nodes: Sequence[str]) -> dict[str, int]:
    """Give every enumerated node a leading dimension; two that are in one tensor never get the same.

    A chain then has two of them, whatever its length: torch's tensors have at most 64. Greedy, in the order of q.
    """
    others = _meetings(meeting, dimensions.bits(nodes))
    axes: dict[str, int] = {}
    sharing: list[int] = []  # the nodes of each axis
    for name in nodes:
        place = dimensions.place[name]
        axis = next((axis for axis, those in enumerate(sharing) if not those & others[place]), len(sharing))
        axes[name] = axis
        if axis == len(sharing):
            sharing.append(0)
        sharing[axis] |= 1 << place
    return axes
