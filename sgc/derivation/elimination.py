"""Elimination of variables of p, one after the other: the cost of each, and its Markov boundary in the rest."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence

from sgc.derivation.dependence import Dependence
from sgc.derivation.name_sets import members


class Boundaries:
    """The Markov boundaries of variables in what is not eliminated: the least that separates each from the others.

    They are the first such variables on the ways from it through the moral graph of these, itself and their ancestors.
    There is one such set, since d-separation is a compositional graphoid (Pearl 1988).
    """

    def __init__(self, graph: Dependence) -> None:
        self.graph = graph
        self.left = (1 << len(graph.names)) - 1
        self.barren = 0  # eliminated, with all of its descendants: irrelevant to what is left
        self.fertile = [children.bit_count() for children in graph.children]  # children that are not barren
        self.region: dict[int, int] = {}  # of an eliminated variable that is not barren, the first of its region
        self.regions: dict[int, tuple[int, int]] = {}  # by first variable: a region and its neighbours

    def eliminate(self, variable: int) -> int:
        """Take out a variable; return its boundary in what is left then."""
        self.left &= ~(1 << variable)
        around = self._around(variable)
        self._join(variable, around)
        boundary = self.regions[self.region[variable]][1] & self.left
        self._bury(variable)
        return boundary

    def _join(self, variable: int, around: int) -> None:
        """Merge a variable and the regions that it touches; only the smaller ones are renamed."""
        inside, touched, named = 1 << variable, around, variable
        gone = around & ~self.left
        while gone:
            first = self.region[next(members(gone))]
            region, beyond = self.regions.pop(first)
            gone &= ~region
            smaller = min(inside, region, key=int.bit_count)
            inside, touched, named = inside | region, touched | beyond, named if smaller == region else first
            self._name(smaller, named)
        self.region.setdefault(variable, named)
        self.regions[named] = inside, touched & ~inside

    def _name(self, inside: int, first: int) -> None:
        for member in members(inside):
            self.region[member] = first

    def _around(self, variable: int) -> int:
        """Return the neighbours of a variable in the moral graph of the variables that are not barren."""
        children = self.graph.children[variable]
        around = self.graph.parents[variable]
        if not children & self.barren:
            return around | self.graph.spouses[variable]
        for child in members(children & ~self.barren):
            around |= self.graph.family(child)
        return around & ~(1 << variable)

    def _bury(self, variable: int) -> None:
        """Drop the variables that became barren with this one, and split the regions that they connected."""
        fresh, front = 0, [variable]
        while front:
            member = front.pop()
            if (self.left | fresh) >> member & 1 or self.fertile[member]:
                continue
            fresh |= 1 << member
            for parent in members(self.graph.parents[member]):
                self.fertile[parent] -= 1
                front.append(parent)
        self.barren |= fresh
        for first in {self.region.pop(member) for member in members(fresh)}:
            self._part(self.regions.pop(first)[0] & ~fresh)

    def _part(self, inside: int) -> None:
        """Part variables into regions that are not connected."""
        while inside:
            first = next(members(inside))
            region, touched, front = 0, 0, 1 << first
            while front:
                member = next(members(front))
                region |= 1 << member
                touched |= self._around(member)
                front = touched & inside & ~region
            self._name(region, first)
            self.regions[first] = region, touched & ~region
            inside &= ~region


class MoralGraph:
    """Some variables and the parents of theirs, each joined to the others, as they are eliminated.

    What is eliminated joins its neighbours to each other, but no two of the evidence. edges: their number, without
    those within the evidence. within: variables and all their ancestors.
    """

    def __init__(self, graph: Dependence, evidence: int, within: int) -> None:
        self.latent = within & ~evidence
        self.joined = [0] * len(graph.names)
        for variable in members(within):
            family = graph.family(variable)
            for member in members(family):
                self.joined[member] |= family & ~(1 << member)
        every = {member: within if self.latent >> member & 1 else self.latent for member in members(within)}
        self.edges = sum((self.joined[member] & others).bit_count() for member, others in every.items()) // 2

    def apart(self, variable: int, others: int) -> int:
        """Return those of `others` that eliminating a common neighbour would newly join to a variable."""
        countable = others if self.latent >> variable & 1 else others & self.latent
        return countable & ~self.joined[variable] & ~(1 << variable)

    def fresh(self, variable: int) -> dict[int, int]:
        """Give what an elimination would join, from both ends."""
        around = self.joined[variable]
        return {member: apart for member in members(around) if (apart := self.apart(member, around))}

    def eliminate(self, variable: int, fresh: Mapping[int, int]) -> None:
        """Take out a variable, and join its neighbours."""
        around = self.joined[variable]
        for member in members(around):
            self.joined[member] = (self.joined[member] | fresh.get(member, 0)) & ~(1 << variable)
        self.edges += sum(others.bit_count() for others in fresh.values()) // 2 - around.bit_count()


class Elimination:
    """The order of min-fill: of the variables that are ready, each time the one that joins the fewest others.

    Costs are kept up to date by what a step changes, and only those of variables that are ready.
    """

    def __init__(self, graph: Dependence, moral: MoralGraph) -> None:
        self.graph, self.moral = graph, moral
        self.ready = 0
        self.clique = 0  # the variables that the last elimination joined
        self.fill: dict[int, int] = {}  # by ready variable, the number of edges that its elimination adds
        self.queue: list[tuple[int, int]] = []

    def order(self, stage: Sequence[str], *, forward: bool) -> Iterator[int]:
        """Eliminate variables, each once those of them above it (forward) or below it are; ties go by name."""
        every, left = self.graph, self.graph.bits(stage)
        above, below = (every.parents, every.children) if forward else (every.children, every.parents)
        waits = {variable: (above[variable] & left).bit_count() for variable in members(left)}
        for variable, others in waits.items():
            if not others:
                self._offer(variable)
        for _ in waits:
            variable = self._cheapest()
            self._eliminate(variable)
            for member in members(below[variable] & left):
                waits[member] -= 1
                if not waits[member]:
                    self._offer(member)
            yield variable

    def _cheapest(self) -> int:
        while True:
            fill, variable = heapq.heappop(self.queue)
            if self.fill.get(variable) == fill:
                return variable

    def _offer(self, variable: int) -> None:
        """Make a variable ready to be eliminated."""
        cliques = [self.graph.family(member) for member in (variable, *members(self.graph.children[variable]))]
        cliques += [self.clique] if self.clique >> variable & 1 else []
        self.ready |= 1 << variable
        self._price(variable, self._missing(variable, max(cliques, key=int.bit_count)))

    def _price(self, variable: int, fill: int) -> None:
        if self.fill.get(variable) != fill:
            self.fill[variable] = fill
            heapq.heappush(self.queue, (fill, variable))

    def _missing(self, variable: int, clique: int) -> int:
        """Count the edges that an elimination adds; those within a clique are there."""
        around = self.moral.joined[variable]
        outside = around & ~clique
        once = twice = 0
        for member in members(outside):
            apart = self.moral.apart(member, around)
            once += (apart & ~outside).bit_count()
            twice += (apart & outside).bit_count()
        return once + twice // 2

    def _eliminate(self, variable: int) -> None:
        """Take out a variable, join its neighbours, and update the costs of all that are ready."""
        joined, around = self.moral.joined, self.moral.joined[variable]
        fresh = self.moral.fresh(variable)
        self.ready &= ~(1 << variable)
        self.clique = around
        del self.fill[variable]
        joining = touched = 0  # the ends of new edges, and their neighbours
        for member in fresh:
            joining |= 1 << member
            touched |= joined[member]
        for member in members(touched & ~around & self.ready):  # some of its neighbours are joined now
            self._price(member, self.fill[member] - _joined_within(joined[member], fresh, joining))
        before = {member: joined[member] & ~(1 << variable) for member in members(around & self.ready)}
        self.moral.eliminate(variable, fresh)
        for member, others in before.items():
            self._price(member, self._changed(member, others, around, fresh, joining))

    def _changed(self, variable: int, before: int, around: int, fresh: Mapping[int, int], joining: int) -> int:
        """Count the edges that the elimination of a neighbour of what was eliminated adds now.

        before: its neighbours that are still there; around: those of what was eliminated, which are joined now.
        """
        outside, added = before & ~around, fresh.get(variable, 0)
        if outside.bit_count() <= (before & joining).bit_count() + added.bit_count():
            return self._missing(variable, around)
        fill = self.fill[variable] - outside.bit_count()  # pairs of it and what was eliminated
        fill -= _joined_within(before, fresh, joining)
        return fill + sum(self.moral.apart(member, outside).bit_count() for member in members(added))


def _joined_within(variables: int, fresh: Mapping[int, int], joining: int) -> int:
    """Count the new edges between some variables."""
    return sum((fresh[member] & variables).bit_count() for member in members(variables & joining)) // 2
