"""Sets of names as integers, a bit for each name.

Where all names depend on each other, a thousand of them have a million pairs: sets of bits are still small, and two of
them are joined in one operation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property


class NameSets:
    """Names in an order, and sets of them: the lowest bit is the first."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.place = {name: i for i, name in enumerate(self.names)}

    def bits(self, names: Iterable[str]) -> int:
        """Return the set of some names."""
        bits = 0
        for name in names:
            bits |= 1 << self.place[name]
        return bits

    def of(self, bits: int) -> NameSet:
        """Return a set of bits as a set of names."""
        return NameSet(self, bits)

    def named(self, bits: int) -> list[str]:
        """Name what is in a set, in order."""
        return [self.names[i] for i in members(bits)]


class NameSet(AbstractSet[str]):
    """A set of names as bits; the names are listed when they are needed.

    It equals any set of the same names; two of one `NameSets` are joined and compared as bits.
    """

    def __init__(self, universe: NameSets, bits: int) -> None:
        self.universe, self.bits = universe, bits

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(self.universe.named(self.bits))

    def __contains__(self, name: object) -> bool:
        place = self.universe.place.get(name)  # type: ignore[call-overload]  # any object may be looked up
        return place is not None and bool(self.bits >> place & 1)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return self.bits.bit_count()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, NameSet) and other.universe is self.universe:
            return self.bits == other.bits
        return super().__eq__(other)

    def __hash__(self) -> int:
        return self._hash  # as a frozenset's, which it may equal

    @cached_property
    def _hash(self) -> int:  # type: ignore[override]  # of the names, worked out once
        return hash(frozenset(self._names))

    def __and__(self, other: AbstractSet[object]) -> frozenset[str]:
        return frozenset(name for name in self._names if name in other)

    def __or__(self, other: AbstractSet[str]) -> frozenset[str]:  # type: ignore[override]  # of names alone
        return frozenset(self._names) | frozenset(other)

    def __sub__(self, other: AbstractSet[object]) -> frozenset[str]:
        return frozenset(name for name in self._names if name not in other)

    __ror__ = __or__

    @classmethod
    def _from_iterable(cls, names: Iterable[str]) -> frozenset[str]:  # type: ignore[override]
        return frozenset(names)


NOTHING = NameSet(NameSets(()), 0)


def members(bits: int) -> Iterator[int]:
    """List the places of a set, lowest first.

    >>> list(members(0b1101))
    [0, 2, 3]
    """
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
