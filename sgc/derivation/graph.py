"""The two graphs over one set of nodes; every query about them, in domain words.

A feature is a deterministic node of both graphs and is seen through; an input is read and has no parents.
"""

from __future__ import annotations

import functools
import heapq
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal

from sgc.derivation.experts import Experts
from sgc.derivation.name_sets import NameSets
from sgc.derivation.node_id import NodeId
from sgc.objectives.estimator import Estimator
from sgc.objectives.pathwise import PATHWISE

Supervision = Literal["full", "partial", "none"]
Role = Literal["generative", "recognition"]
ROLES: tuple[Role, Role] = ("generative", "recognition")


@dataclass(frozen=True)
class GraphNode:
    """What the derivation needs to know about a random variable."""

    name: str
    supervision: Supervision
    generative: tuple[str, ...] = ()  # parents in p
    recognition: tuple[str, ...] | None = None  # parents in q; None: never proposed
    estimator: Estimator = PATHWISE
    closed_kl: bool = True
    support: int = 0  # how many values; 0: not finite
    dropped: bool = False  # partial, and scored where it is present: clamped in every row, no label of any
    exists: tuple[tuple[str, int], ...] = ()  # of a step, (count, i): it exists while each count is above its i
    step: NodeId | None = None  # its name in the file and its step; None: it is in no repeat
    experts: Experts | None = None  # that make up its q together; None: its q is one conditional

    @property
    def counts(self) -> tuple[str, ...]:
        """The counts that say whether it exists."""
        return tuple(count for count, _ in self.exists)

    @property
    def id(self) -> NodeId:
        """Its name in the file, and its step."""
        return self.step or NodeId(self.name)


@dataclass(frozen=True)
class _Facts:
    """Facts of one graph that are needed again and again."""

    above: Mapping[str, tuple[str, ...]]  # the parents of inputs, features and variables; in p also their counts
    order: tuple[str, ...]
    readers: Mapping[str, tuple[str, ...]]  # variables and features, by what they read


@dataclass(frozen=True)
class Graphs:
    """The generative and the recognition graph of a model: variables in the order of the file, features, inputs."""

    nodes: Mapping[str, GraphNode]
    features: Mapping[str, tuple[str, ...]]
    inputs: tuple[str, ...] = ()

    def parents(self, name: str, role: Role) -> tuple[str, ...]:
        """Return the parents as written: variables, features and inputs."""
        if name in self.features:
            return self.features[name]
        if name in self.inputs:
            return ()
        node = self.nodes[name]
        return node.generative if role == "generative" else (node.recognition or ())

    @cached_property
    def sets(self) -> NameSets:
        """The variables and inputs, whose sets are bits."""
        return NameSets((*self.nodes, *self.inputs))

    def source_bits(self, names: Iterable[str]) -> int:
        """See through features: the random variables and inputs that a list of parents reads, as bits."""
        sources = 0
        for name in names:
            sources |= self._behind[name] if name in self.features else 1 << self.sets.place[name]
        return sources

    @cached_property
    def _behind(self) -> Mapping[str, int]:
        return see_through(self.features, self.sets)

    def sources(self, names: Iterable[str]) -> frozenset[str]:
        """See through features: the random variables and inputs that a list of parents reads."""
        return frozenset(self.sets.named(self.source_bits(names)))

    def variables(self, names: Iterable[str]) -> frozenset[str]:
        """See through features: the random variables that a list of parents reads."""
        return frozenset(name for name in self.sources(names) if name in self.nodes)

    def above(self, role: Role) -> Mapping[str, tuple[str, ...]]:
        """Return the parents of each input, feature and variable in one graph; in p also the counts of a step."""
        return self._facts[role].above

    def order(self, role: Role) -> tuple[str, ...]:
        """Return the variables and features, each after its parents; ties by name, not as in the file.

        With an α for each node the bound depends on the order of its labels, and must not on that of a file.
        """
        return self._facts[role].order

    def children_first(self) -> list[str]:
        """Return the variables, each before its parents in p; ties as in the file."""
        below: dict[str, list[str]] = {name: [] for name in self.nodes}
        for name in self.nodes:
            for parent in self.variables(self.parents(name, "generative")):
                below[parent].append(name)
        return in_order(below, key=self.sets.place.__getitem__)

    def readers(self, role: Role) -> Mapping[str, tuple[str, ...]]:
        """Return the variables and features that have a name among their parents, by that name."""
        return self._facts[role].readers

    def features_of(self, names: Iterable[str], role: Role) -> frozenset[str]:
        """Return the features that variables read, those that these read among them."""
        read = (parent for name in names for parent in self.parents(name, role))
        return frozenset(reach(read, lambda name: self.features.get(name, ())) & self.features.keys())

    def children(self, name: str, role: Role) -> frozenset[str]:
        """Return the variables that read a variable, features seen through."""
        readers = self.readers(role)
        reached = reach(
            readers.get(name, ()), lambda reader: readers.get(reader, ()) if reader in self.features else ()
        )
        return frozenset(reached & self.nodes.keys() - {name})

    @cached_property
    def _facts(self) -> dict[Role, _Facts]:  # needed for every row pattern and every step
        return {role: self._find_facts(role) for role in ROLES}

    def _find_facts(self, role: Role) -> _Facts:
        above: dict[str, tuple[str, ...]] = dict.fromkeys(self.inputs, ())
        readers: dict[str, list[str]] = {}
        for name in [*self.features, *self.nodes]:
            parents = self.parents(name, role)
            for parent in parents:
                readers.setdefault(parent, []).append(name)
            counts = self.nodes[name].counts if role == "generative" and name in self.nodes else ()
            above[name] = (*parents, *counts)
        order = tuple(name for name in in_order(above) if name not in self.inputs)
        return _Facts(above, order, {name: tuple(names) for name, names in readers.items()})

    def below(self, name: str, clamped: frozenset[str]) -> frozenset[str]:
        """Return the recognition descendants of a variable, not passing beyond a clamped one."""
        return frozenset(self.sets.named(self.below_bits(clamped)[name]))

    def below_bits(self, clamped: frozenset[str]) -> Mapping[str, int]:
        """Return the recognition descendants of each variable and feature as bits, not passing beyond a clamped one."""
        facts, place = self._facts["recognition"], self.sets.place
        bits_below: dict[str, int] = {}
        for name in reversed(facts.order):
            below = 0
            for child in facts.readers.get(name, ()):
                below |= bits_below[child] if child not in clamped else 0
                below |= 1 << place[child] if child in place else 0
            bits_below[name] = below
        return bits_below

    def ancestors(self, names: Iterable[str], role: Role) -> frozenset[str]:
        """Return everything above some names in one graph, themselves included; in p a count is above its steps."""

        return frozenset(reach(names, self.above(role).__getitem__))

    def ancestor_bits(self, role: Role) -> Mapping[str, int]:
        """Return the variables and inputs above each name in one graph as bits, itself included where it is one."""
        above = {name: 1 << self.sets.place[name] for name in self.inputs}
        for name in self.order(role):
            above[name] = 1 << self.sets.place[name] if name in self.nodes else 0
            for parent in self.above(role)[name]:
                above[name] |= above[parent]
        return above

    def layers(self) -> list[list[str]]:
        """Return all names in generations of the generative graph, for drawing: roots first, each as in the file."""
        return generations(self.above("generative"))

    def with_estimators(self, estimators: Mapping[str, Estimator]) -> Graphs:
        """Return the same graphs with other estimators at some nodes."""
        nodes = {n: replace(v, estimator=estimators.get(n, v.estimator)) for n, v in self.nodes.items()}
        return replace(self, nodes=nodes)

    @property
    def partial(self) -> tuple[str, ...]:
        """The partially supervised variables that q proposes where they are absent, as in the file."""
        return tuple(n for n, node in self.nodes.items() if node.supervision == "partial" and not node.dropped)

    @property
    def dropped(self) -> tuple[str, ...]:
        """The variables whose terms are left out where they are absent, as in the file."""
        return tuple(name for name, node in self.nodes.items() if node.dropped)


def in_order(above: Mapping[str, Iterable[str]], key: Callable[[str], Any] = str) -> list[str]:
    """Return names, each after those above it; of the names that may come next the one whose key is least.

    Any: whatever can be compared. Raises: graphlib.CycleError.
    """
    sorter = TopologicalSorter(above)
    sorter.prepare()
    order: list[str] = []
    ready: list[tuple[Any, str]] = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heapq.heappush(ready, (key(name), name))
        order.append(heapq.heappop(ready)[1])
        sorter.done(order[-1])
    return order


def layers_of(names: Sequence[str], edges: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Return names in generations by (parent, child) edges, for drawing; an edge that closes a cycle is left out."""
    above: dict[str, list[str]] = {name: [] for name in names}
    for parent, child in edges:
        if child not in reach([parent], lambda name: above.get(name, ())):
            above.setdefault(parent, [])
            above.setdefault(child, []).append(parent)
    return generations(above)


def generations(above: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return the generations of a graph, roots first, each in the order of its names; above: what each stands below."""
    place = {name: i for i, name in enumerate(above)}
    sorter = TopologicalSorter(above)
    sorter.prepare()
    layers: list[list[str]] = []
    while sorter.is_active():
        layers.append(sorted(sorter.get_ready(), key=place.__getitem__))
        sorter.done(*layers[-1])
    return layers


def see_through(features: Mapping[str, Iterable[str]], sets: NameSets) -> Mapping[str, int]:
    """Return the names that each feature is made of, as bits; unknown names, which are faults, are left out."""
    sources: dict[str, int] = {}
    order = TopologicalSorter({name: [p for p in parents if p in features] for name, parents in features.items()})
    for name in order.static_order():
        known = (parent for parent in features[name] if parent in features or parent in sets.place)
        bits = (sources[parent] if parent in features else 1 << sets.place[parent] for parent in known)
        sources[name] = functools.reduce(operator.or_, bits, 0)
    return sources


def reach(start: Iterable[str], onward: Callable[[str], Iterable[str]]) -> set[str]:
    """Return some names and all that is reached from them, a step at a time."""
    reached: set[str] = set()
    front = list(start)
    while front:
        name = front.pop()
        if name not in reached:
            reached.add(name)
            front += onward(name)
    return reached


def find_cycles(edges: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Find the cycles of (parent, child) edges: of each strongly connected component the first, its names in order.

    >>> find_cycles([("b", "a"), ("c", "b"), ("a", "c"), ("d", "d"), ("a", "d")])
    [['a', 'c', 'b', 'a'], ['d', 'd']]
    """
    children: dict[str, list[str]] = {}
    for parent, child in edges:
        children.setdefault(child, [])
        children.setdefault(parent, []).append(child)
    try:
        TopologicalSorter(children).prepare()
    except CycleError:
        return _cycles(children)
    return []


def _cycles(children: Mapping[str, Sequence[str]]) -> list[list[str]]:
    import networkx as nx  # here: it takes long to import, and few graphs have a cycle

    graph: nx.DiGraph[str] = nx.DiGraph()
    for name in children:
        graph.add_node(name)
    graph.add_edges_from((name, child) for name, names in children.items() for child in names)
    place = {name: i for i, name in enumerate(graph)}
    cycles: list[list[str]] = []
    for component in nx.strongly_connected_components(graph):
        inside: nx.DiGraph[str] = nx.DiGraph()
        names = sorted(component, key=place.__getitem__)
        inside.add_edges_from((name, child) for name in names for child in graph[name] if child in component)
        if inside:
            steps = nx.find_cycle(inside)
            cycles.append([steps[0][0], *(head for _, head in steps)])
    return sorted(cycles, key=lambda cycle: place[cycle[0]])


def descendants(name: str, edges: Iterable[tuple[str, str]]) -> set[str]:
    """Name all that depends on a name, by (parent, child) edges."""
    children: dict[str, list[str]] = {}
    for parent, child in edges:
        children.setdefault(parent, []).append(child)
    return reach([name], lambda above: children.get(above, ())) - {name}
