"""Which rows share a plan although they carry different labels: one plan for all 2ⁿ patterns of enumerated nodes.

A plan may have maybe-labelled nodes: some of its rows carry their label, others do not. Such a node has its dimension
in every row. A row that carries the label repeats it K times there, each copy with mass 1/K, and its q goes to w
instead of r. Its particles are then those of its own plan, each K times over, so every average over them, the bound and
its gradient are those of its own plan.

This holds draw by draw if no draw is repeated K times and no closed form depends on the label: the node reads nothing
drawn in q, directly or not, and nothing drawn reads it. A label of a repeat's step restricts the counts that are not
labelled, so these too must read nothing drawn, nor be drawn themselves. Plans are merged where running each pattern by
itself would take longer: with many small groups the time goes into bookkeeping, not into arithmetic.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from sgc.derivation.derive import derive
from sgc.derivation.factors import SAMPLES
from sgc.derivation.graph import Graphs, Role
from sgc.derivation.plan import Plan
from sgc.objectives.objective_words import ObjectiveWords

# nanoseconds on one core, forwards and backwards; only their ratios count, and only for what is faster
FACTOR = 300_000.0  # the bookkeeping of one factor of one group
ELEMENT = 50.0  # a number of a score or of an intermediate sum
WEIGHT = 1.0  # a weight of a network, for one row


@dataclass(frozen=True)
class Merging:
    """Find the nodes that may be labelled or not inside one plan, and whether merging pays.

    parameters: how many weights a row passes in the network of a (node, role).
    """

    graphs: Graphs
    words: ObjectiveWords
    parameters: Mapping[tuple[str, Role], int]
    _more: dict[tuple[frozenset[str], frozenset[str]], float] = field(default_factory=dict, init=False, compare=False)

    @cached_property
    def nodes(self) -> frozenset[str]:
        """The partially supervised nodes that rows of one plan may carry or not."""
        nodes = self.graphs.nodes
        full = frozenset(name for name, node in nodes.items() if node.supervision == "full")
        proposed = {name for name in nodes if nodes[name].recognition is not None}
        drawn = {name for name in proposed if not nodes[name].estimator.enumerates}
        below, sets = self.graphs.below_bits(full), self.graphs.sets
        reading = set(sets.named(functools.reduce(operator.or_, (below[name] for name in drawn), 0)))
        enumerated = [name for name in self.graphs.partial if name in proposed - drawn - reading]
        free = [name for name in enumerated if not below[name] & sets.bits(drawn)]
        # a label is evidence on the counts of its step, and where these involve draws it would change the draws
        return frozenset(name for name in free if not (drawn | reading).intersection(nodes[name].counts))

    def worth(self, observed: frozenset[str], maybe_labelled: frozenset[str], patterns: int, rows: int) -> bool:
        """Tell whether rows of so many patterns run faster under one plan; all of them carry `observed`."""
        if patterns < 2 or not maybe_labelled:
            return False
        if (observed, maybe_labelled) not in self._more:
            together = derive(self.graphs, observed, self.words, maybe_labelled)
            apart = derive(self.graphs, observed | maybe_labelled, self.words)  # the cheapest of them
            self._more[observed, maybe_labelled] = self.work(together) - self.work(apart)
        factors = len(self.graphs.nodes) + len(self.graphs.partial)
        return rows * self._more[observed, maybe_labelled] < (patterns - 1) * factors * FACTOR

    def work(self, plan: Plan) -> float:
        """Estimate what a row of a plan costs, without bookkeeping, in nanoseconds."""
        size: dict[str, int] = {p.node: p.support for p in plan.proposals if p.estimator.enumerates}
        size[SAMPLES] = plan.words.samples
        total = ELEMENT * plan.operations
        for factor in [*plan.joint, *(p.factor for p in plan.proposals), *(w.factor for w in plan.weights)]:
            elements = math.prod(size[d] for d in factor.dims)
            passes = math.prod(size[d] for d in factor.dims if d != factor.node)
            total += ELEMENT * elements + WEIGHT * passes * self.parameters.get((factor.node, factor.role), 0)
        return total
