"""What depends on what in p, and by which trails."""

from __future__ import annotations

import functools
import operator

from sgc.derivation.graph import Graphs, see_through
from sgc.derivation.name_sets import NameSets, members


class Dependence(NameSets):
    """What depends on what in p: its variables and inputs alone, features seen through, in sets of bits.

    by_name: the lowest bit is the first by name, else the first in the file. No edge runs from a count to its steps:
    given that a step exists, its value does not depend on it.
    """

    def __init__(self, graphs: Graphs, *, by_name: bool = False) -> None:
        super().__init__(sorted(graphs.sets.names) if by_name else graphs.sets.names)
        behind = see_through(graphs.features, self)
        self.parents = [0] * len(self.names)
        for name in graphs.nodes:
            for parent in graphs.parents(name, "generative"):
                bits = behind[parent] if parent in behind else 1 << self.place[parent]
                self.parents[self.place[name]] |= bits
        self.children = [0] * len(self.names)
        self.spouses = [0] * len(self.names)  # children and their other parents
        self.descendants = [0] * len(self.names)
        self._look_down(graphs)

    def _look_down(self, graphs: Graphs) -> None:
        """Find all children, and all pairs with a child in common; each feature is gone through once."""
        below: dict[str, tuple[int, int, int]] = {}
        readers = graphs.readers("generative")
        for name in (*reversed(graphs.order("generative")), *graphs.inputs):
            children = families = descendants = 0
            for reader in readers.get(name, ()):
                own, shared, further = below[reader]
                if reader not in graphs.features:
                    own, shared = 1 << self.place[reader], self.family(self.place[reader])
                children, families, descendants = children | own, families | shared, descendants | own | further
            below[name] = children, families, descendants
            if name in self.place:
                variable = self.place[name]
                self.children[variable], self.descendants[variable] = children, descendants
                self.spouses[variable] = families & ~(1 << variable)

    def family(self, variable: int) -> int:
        """Return a variable and its parents."""
        return self.parents[variable] | 1 << variable

    def above(self, variables: int) -> int:
        """Return variables and all their ancestors."""
        ancestors, front = 0, variables
        while front:
            member = next(members(front))
            ancestors |= 1 << member
            front = (front | self.parents[member]) & ~ancestors
        return ancestors

    def reads(self, child: str, parent: str) -> bool:
        """Tell whether a variable reads another."""
        return bool(self.parents[self.place[child]] >> self.place[parent] & 1)

    def nearest_below(self, name: str, given: int) -> str:
        """Name the nearest of some variables that depends on one, itself first."""
        level, passed = 1 << self.place[name], 0
        while not level & given:
            passed |= level
            level = functools.reduce(operator.or_, (self.children[member] for member in members(level)), 0) & ~passed
        return self.names[next(members(level & given))]

    def active_trail(self, start: str, end: str, given: int) -> tuple[str, ...]:
        """Return a shortest trail that d-connects two variables given others, or an empty one where they are separated.

        A node on it is passed along an arrow, or against, where it is not given, and met head to head where it, or
        something below it, is (Pearl 1988). Of trails of one length the first by its names.
        """
        came: dict[tuple[str, bool], tuple[str, bool] | None] = {(start, False): None}
        front = [(start, False)]  # the node, and whether it was reached along an arrow, from a parent
        reached = {False: 1 << self.place[start], True: 0}
        goal = 1 << self.place[end]
        for member in front:
            name, down = member
            place = self.place[name]
            known = given >> place & 1
            opened = known or self.descendants[place] & given
            ways = {False: self.parents[place] if (opened if down else not known) else 0}
            ways[True] = 0 if known else self.children[place]
            for way, bits in ways.items():
                if bits & goal:
                    steps = [(end, way), member]
                    while (before := came[steps[-1]]) is not None:
                        steps.append(before)
                    return tuple(step for step, _ in reversed(steps))
                for step in sorted(self.named(bits & ~reached[way])):
                    came[step, way] = member
                    front.append((step, way))
                reached[way] |= bits
        return ()
