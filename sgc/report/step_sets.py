"""What sets of steps are to whoever stands at one: earlier, of the same step, later; asked of many steps at once."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Iterable, Mapping, Sequence

from sgc.derivation.name_sets import members
from sgc.derivation.node_id import Index
from sgc.report.plates import Names, Placed


class StepSets:
    """Sets of what is of steps, by place in a list of their names, parted by the names of the file."""

    def __init__(self, names: Names, flat: Sequence[str]) -> None:
        self.names, self.flat = names, flat
        self._places: dict[str, list[int]] = {}
        for i, each in enumerate(flat):
            self._places.setdefault(names.of(each), []).append(i)
        once = [name for name in self._places if not names.plates(name)]
        self._once = _bits(i for name in once for i in self._places[name])
        self._whole = {name: _bits(places) for name, places in self._places.items()}
        self._parted: dict[tuple[str, int], Mapping[Index, tuple[int, int]]] = {}

    def placed(self, reader: str, bits: int) -> dict[Placed, int]:
        """Part a set by what it is to whoever stands at a step, as `Names.placed`, as first met."""
        found: dict[Placed, int] = {}
        for i in members(bits & self._once):
            once = Placed(self.flat[i])
            found[once] = found.get(once, 0) | 1 << i
        bits &= ~self._once
        ours = self.names.plates(self.names.of(reader))
        while bits:
            name = self.names.of(self.flat[next(members(bits))])
            pairs = zip(ours, self.names.plates(name), strict=False)
            common = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
            earlier, same = self._around(name, common)[self.names.index(reader)[:common]]
            here = bits & self._whole[name]
            bits &= ~here
            ways = ((-1, here & earlier), (0, here & same), (1, here & ~earlier & ~same))
            found |= {Placed(name, when): steps for when, steps in ways if steps}
        return dict(sorted(found.items(), key=lambda item: item[1] & -item[1]))

    def _around(self, name: str, common: int) -> Mapping[Index, tuple[int, int]]:
        """Give, for each step of the outer repeats, the steps of a name that are earlier, and those of the same."""
        if (name, common) not in self._parted:
            own: dict[Index, int] = {}
            for i in self._places[name]:
                index = self.names.index(self.flat[i])[:common]
                own[index] = own.get(index, 0) | 1 << i
            found: dict[Index, tuple[int, int]] = {}
            earlier = 0
            for index in sorted(own):
                found[index] = earlier, own[index]
                earlier |= own[index]
            self._parted[name, common] = found
        return self._parted[name, common]


def _bits(places: Iterable[int]) -> int:
    return functools.reduce(operator.or_, (1 << i for i in places), 0)
