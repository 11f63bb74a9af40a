"""Sets of names as integers, a bit for each name.

Where everything hangs together a thousand names have a million pairs: a set of bits for each of them is small still,
and two of these are joined at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


class NameSets:
    """Names in an order, and sets of them: the lowest bit is the first."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.place = {name: i for i, name in enumerate(self.names)}

    def bits(self, names: Iterable[str]) -> int:
        """Return the set of some names."""
        found = 0
        for name in names:
            found |= 1 << self.place[name]
        return found

    def named(self, bits: int) -> list[str]:
        """Name what is in a set, in order."""
        return [self.names[i] for i in members(bits)]


def members(bits: int) -> Iterator[int]:
    """List the places of a set, lowest first.

    >>> list(members(0b1101))
    [0, 2, 3]
    """
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
