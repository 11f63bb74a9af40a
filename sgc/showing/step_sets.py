"""What sets of steps are to whoever stands at one: earlier, of the same step, later; asked of many steps at once."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from sgc.derivation.name_sets import NameSets, members
from sgc.showing.plates import Names
from sgc.showing.ranges import Index


class StepSets:
    """Sets of nodes and inputs, parted by the names of the file."""

    def __init__(self, names: Names, sets: NameSets) -> None:
        self.names, self.sets = names, sets
        self._steps: dict[str, list[str]] = {}
        for flat in sets.names:
            self._steps.setdefault(names.of(flat), []).append(flat)
        self._once = sets.bits(name for name in sets.names if not names.plates(names.of(name)))
        self._whole = {name: sets.bits(steps) for name, steps in self._steps.items()}
        self._parted: dict[tuple[str, int], Mapping[Index, tuple[int, int]]] = {}

    def placed(self, reader: str, bits: int) -> dict[str, int]:
        """Part a set by what it is to whoever stands at a step, in the words of `Names.placed`, as first met."""
        found = [(i, self.sets.names[i], 1 << i) for i in members(bits & self._once)]
        bits &= ~self._once
        ours = self.names.plates(self.names.of(reader))
        while bits:
            name = self.names.of(self.sets.names[next(members(bits))])
            pairs = zip(ours, self.names.plates(name), strict=False)
            common = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
            earlier, same = self._around(name, common)[self.names.index(reader)[:common]]
            here = bits & self._whole[name]
            bits &= ~here
            ways = (("earlier ", here & earlier), ("", here & same), ("later ", here & ~earlier & ~same))
            found += [(next(members(steps)), f"{when}{name}", steps) for when, steps in ways if steps]
        return {word: steps for _, word, steps in sorted(found)}

    def _around(self, name: str, common: int) -> Mapping[Index, tuple[int, int]]:
        """Give, for each step of the outer repeats, the steps of a name that are earlier, and those of the same."""
        if (name, common) not in self._parted:
            own: dict[Index, int] = {}
            for flat in self._steps[name]:
                index = self.names.index(flat)[:common]
                own[index] = own.get(index, 0) | self.sets.bits([flat])
            found: dict[Index, tuple[int, int]] = {}
            earlier = 0
            for index in sorted(own):
                found[index] = earlier, own[index]
                earlier |= own[index]
            self._parted[name, common] = found
        return self._parted[name, common]
