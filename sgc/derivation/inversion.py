"""Faithful inversion: recognition parents derived from the generative graph, and what written ones leave out.

The derivation is NaMI, the natural minimal I-map inversion of Webb et al. 2018, *Faithful Inversion of Generative
Models for Effective Amortized Inference*, Algorithm 1: latents are eliminated from the moral graph, each by min-fill
among those whose latent parents (forward) or children (reverse) are eliminated already, and q proposes them in the
opposite order. The evidence is what q never proposes, X, and the inputs. Two things are ours:

- Nodes that are never labelled are eliminated first, so q proposes them last and no weight varies with them: at a
  perfect q the proposal is then the posterior also in rows with every label.
- A parent in q is a neighbour in the moral graph of what is not eliminated and its ancestors, not in that of the whole
  graph: a latent with nothing observed below it would marry its parents for nothing, and the inverse be too large.

q is compared with p(l | x), the posterior of rows without labels, in the order in which q proposes. In a row whose
label comes late in that order, q proposes without it, and the importance weight corrects for that.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sgc.derivation.dependence import Dependence
from sgc.derivation.elimination import Boundaries, Elimination, MoralGraph
from sgc.derivation.graph import Graphs, in_order
from sgc.derivation.name_sets import NameSets

SOURCE = "Webb et al. 2018"


@dataclass(frozen=True)
class LeftOut:
    """The parents that a conditional of q needs but does not read: q makes its node independent of them, p does not."""

    node: str
    reads: int  # a set of `sets`
    lacks: int
    sets: NameSets = field(repr=False, compare=False)

    @property
    def parents(self) -> tuple[str, ...]:
        """Name what it lacks, as in the file."""
        return tuple(self.sets.named(self.lacks))

    def conditioned_on(self, parent: str) -> int:
        """Give the set given which q makes the node independent of a parent: all that it should read but that one."""
        return (self.reads | self.lacks) & ~self.sets.bits([parent])


def invert(graphs: Graphs, most: int) -> dict[str, tuple[str, ...]]:
    """Derive the parents of each node that q proposes, in the order of proposal: variables and inputs, evidence first.

    A node is proposed where `recognition` is not None, whatever it holds. Of the forward and the reverse inverse the
    one with fewer edges is taken, the forward one of equals; ties are broken by name, never by the order of the file.

    Raises: LargeInverse, where both have more than `most` edges.
    """
    graph = Dependence(graphs, by_name=True)
    proposed = [name for name, node in graphs.nodes.items() if node.recognition is not None]
    evidence = sorted(set(graphs.nodes).difference(proposed)) + sorted(graphs.inputs)
    stages = [[n for n in proposed if graphs.nodes[n].supervision == status] for status in ("none", "partial")]
    ways = [_Inverse(graph, evidence, stages, forward=forward) for forward in (True, False)]
    while True:  # both side by side, so that the larger one, which may be very large, is not followed to its end
        way = min(ways, key=lambda inverse: inverse.least)
        if way.least > most:
            raise LargeInverse
        if not way.eliminate():
            return way.parents(evidence)


class LargeInverse(Exception):
    """A faithful inverse has more edges than wanted."""


class _Inverse:
    """One of the two inverses, as far as it has been worked out."""

    def __init__(self, graph: Dependence, evidence: list[str], stages: Iterable[list[str]], *, forward: bool) -> None:
        self.graph = graph
        known, every = graph.bits(evidence), graph.bits(graph.names)
        elimination = Elimination(graph, MoralGraph(graph, known, every))
        self.order = itertools.chain.from_iterable(elimination.order(stage, forward=forward) for stage in stages)
        self.left = Boundaries(graph)
        self.boundaries: dict[str, int] = {}
        self.edges = 0
        self.sure = MoralGraph(graph, known, graph.above(known))

    def eliminate(self) -> bool:
        """Eliminate one more variable, and say whether there was one."""
        variable = next(self.order, None)
        if variable is not None:
            boundary = self.boundaries[self.graph.names[variable]] = self.left.eliminate(variable)
            self.edges += boundary.bit_count()
            self.sure.eliminate(variable, self.sure.fresh(variable))
        return variable is not None

    @property
    def least(self) -> int:
        """The edges that it has at least, and at its end all that it has.

        What has evidence below it is never barren: every edge that is left of its moral graph becomes one of q.
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
    graph = Dependence(graphs)
    boundaries = Boundaries(graph)
    lacking: list[LeftOut] = []
    for name in reversed(_proposals(graphs)):
        if graphs.nodes[name].recognition is not None:
            reads = graphs.source_bits(graphs.parents(name, "recognition"))
            lacks = boundaries.eliminate(graph.place[name]) & ~reads
            if lacks:
                lacking.append(LeftOut(name, reads, lacks, graph))
    return sorted(lacking, key=lambda missing: graph.place[missing.node])


def _proposals(graphs: Graphs) -> list[str]:
    """Order the variables as q proposes them, partially supervised ones as early as can be."""
    last = {name: node.supervision == "none" for name, node in graphs.nodes.items()}
    order = in_order(graphs.above("recognition"), key=lambda name: (last.get(name, False), name))
    return [name for name in order if name in graphs.nodes]
