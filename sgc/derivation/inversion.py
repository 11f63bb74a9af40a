"""Faithful inversion: recognition parents derived from the generative graph, and what written ones leave out.

The derivation is NaMI, the natural minimal I-map inversion of Webb et al. 2018, *Faithful Inversion of Generative
Models for Effective Amortized Inference*, Algorithm 1: latents are eliminated from the moral graph, each by min-fill
among those whose latent parents (forward) or children (reverse) are eliminated already, and q proposes them in the
opposite order. The evidence is what q never proposes, X, and the inputs. Two things are ours:

- Nodes that are never labelled are eliminated first, so q proposes them last and no weight varies with them: at a
  perfect q the proposal is then the posterior also in rows with every label.
- A parent in q is a neighbour in the moral graph of what still stands and its ancestors, not in that of the whole
  graph: a latent with nothing observed below it would marry its parents for nothing, and the inverse be too large.

q is held to p(l | x), the posterior of rows without labels, in the order in which q proposes. In a row whose label
comes late in that order, q proposes without it, and the importance weight makes up for that.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import networkx as nx

from sgc.derivation.elimination import Boundaries, Elimination, MoralGraph, Relations
from sgc.derivation.graph import Graphs

SOURCE = "Webb et al. 2018"


@dataclass(frozen=True)
class LeftOut:
    """The parents that a conditional of q needs and does not read: q makes its node independent of them, p does not."""

    node: str
    reads: tuple[str, ...]
    parents: tuple[str, ...]

    def given(self, parent: str) -> tuple[str, ...]:
        """Name what q makes the node and one of these parents independent by: all that it should read but that one."""
        return (*self.reads, *(other for other in self.parents if other != parent))


def dependence(graphs: Graphs) -> nx.DiGraph[str]:
    """Draw p over its variables and inputs alone, features seen through.

    No edge from a count to its steps: given that a step exists its value does not hang on it.
    """
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from([*graphs.nodes, *graphs.inputs])
    for name in graphs.nodes:
        graph.add_edges_from((each, name) for each in graphs.sources(graphs.parents(name, "generative")))
    return graph


def invert(graphs: Graphs, most: int) -> dict[str, tuple[str, ...]]:
    """Derive the parents of each node that q proposes, in the order of proposal: variables and inputs, evidence first.

    A node is proposed where `recognition` is not None, whatever it holds. Of the forward and the reverse inverse the
    one with fewer edges is taken, the forward one of equals; ties are broken by name, never by the order of the file.

    Raises: LargeInverse, where both have more than `most` edges.
    """
    graph = Relations(dependence(graphs))
    proposed = [name for name, node in graphs.nodes.items() if node.recognition is not None]
    evidence = sorted(set(graphs.nodes).difference(proposed)) + sorted(graphs.inputs)
    stages = [[n for n in proposed if graphs.nodes[n].supervision == status] for status in ("none", "partial")]
    ways = [_Inverse(graph, evidence, stages, forward=forward) for forward in (True, False)]
    while True:  # both side by side, so that the larger one, which may be very large, is not followed to its end
        way = min(ways, key=lambda each: each.least)
        if way.least > most:
            raise LargeInverse
        if not way.eliminate():
            return way.parents(evidence)


class LargeInverse(Exception):
    """A faithful inverse has more edges than wanted."""


class _Inverse:
    """One of the two inverses, as far as it was followed."""

    def __init__(self, graph: Relations, evidence: list[str], stages: Iterable[list[str]], *, forward: bool) -> None:
        self.graph = graph
        known, every = graph.bits(evidence), graph.bits(graph.names)
        elimination = Elimination(graph, MoralGraph(graph, known, every))
        self.order = itertools.chain.from_iterable(elimination.order(stage, forward=forward) for stage in stages)
        self.left = Boundaries(graph)
        self.boundaries: dict[str, int] = {}
        self.edges = 0
        self.sure = MoralGraph(graph, known, graph.above(evidence))

    def eliminate(self) -> bool:
        """Go on by one variable; tell whether there was one."""
        variable = next(self.order, None)
        if variable is not None:
            boundary = self.boundaries[self.graph.names[variable]] = self.left.eliminate(variable)
            self.edges += boundary.bit_count()
            self.sure.eliminate(variable, self.sure.fresh(variable))
        return variable is not None

    @property
    def least(self) -> int:
        """The edges that it has at least, and at its end all that it has.

        What has evidence below it is never barren: of its moral graph every edge that still stands becomes one of q.
        """
        return self.edges + self.sure.edges

    def parents(self, evidence: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Give the parents of each variable, in the order of proposal."""
        place = {name: i for i, name in enumerate([*evidence, *reversed(self.boundaries)])}
        return {
            name: tuple(sorted(self.graph.named(self.boundaries[name]), key=place.__getitem__))
            for name in reversed(self.boundaries)
        }


# ---- what a written q leaves out


def left_out(graphs: Graphs) -> list[LeftOut]:
    """List the parents that q lacks to be faithful, by the nodes that need them, as in the file.

    q(l | x) = ∏ q(v | pa(v)) claims that v is independent of all evidence and of all proposed before it, given pa(v).
    In p that holds iff pa(v) holds the Markov boundary of v among them, so what is missing of it mends q, and no less
    does in this order of proposal: q's own, nodes with labels first where it leaves a choice, then ties by name.
    """
    graph = Relations(dependence(graphs))
    boundaries = Boundaries(graph)
    place = {name: i for i, name in enumerate([*graphs.nodes, *graphs.inputs])}
    found: list[LeftOut] = []
    for name in reversed(_proposals(graphs)):
        if graphs.nodes[name].recognition is None:
            continue
        reads = graphs.sources(graphs.parents(name, "recognition"))
        missing = boundaries.eliminate(graph.place[name]) & ~graph.bits(reads)
        if missing:
            lacking = graph.named(missing)
            found.append(LeftOut(name, *(tuple(sorted(each, key=place.__getitem__)) for each in (reads, lacking))))
    return sorted(found, key=lambda each: place[each.node])


def _proposals(graphs: Graphs) -> list[str]:
    """Order the variables as q proposes them, partially supervised ones as early as can be."""
    last = {name: node.supervision == "none" for name, node in graphs.nodes.items()}
    order = nx.lexicographical_topological_sort(
        graphs.digraph("recognition"), key=lambda name: (last.get(name, False), name)
    )
    return [name for name in order if name in graphs.nodes]


def active_trail(graph: nx.DiGraph[str], start: str, end: str, given: Collection[str]) -> tuple[str, ...]:
    """Return a shortest trail that d-connects two variables given others, or an empty one where they are separated.

    A node on it is passed along an arrow, or against, where it is not given, and met head to head where it, or
    something below it, is (Pearl 1988).
    """
    given, opened = set(given), _above(graph, given)
    came: dict[tuple[str, bool], tuple[str, bool] | None] = {(start, False): None}
    front = [(start, False)]  # the node, and whether it was reached along an arrow, from a parent
    for here in front:
        name, down = here
        if name == end:
            steps = [here]
            while (before := came[steps[-1]]) is not None:
                steps.append(before)
            return tuple(step for step, _ in reversed(steps))
        upwards = name in opened if down else name not in given
        onwards = [(parent, False) for parent in sorted(graph.pred[name])] if upwards else []
        if name not in given:
            onwards += [(child, True) for child in sorted(graph.succ[name])]
        for step in onwards:
            if step not in came:
                came[step] = here
                front.append(step)
    return ()


def _above(graph: nx.DiGraph[str], names: Iterable[str]) -> set[str]:
    """Return names and all their ancestors."""
    found = set(names)
    front = list(found)
    while front:
        fresh = set(graph.pred[front.pop()]) - found
        found |= fresh
        front += fresh
    return found
