"""Which rows share a plan although they carry different labels: one plan for all 2ⁿ patterns of enumerated nodes.

A plan may hold nodes that are labelled in some of its rows (its `either`). Such a node has its dimension in every row.
A row that carries the label holds it there K times over, each copy with mass 1/K, and its q goes to w instead of r. Its
particles are then those of its own plan, each K times over, so that every average over them, the bound and its gradient
are those of its own plan.

That holds draw by draw where no draw would be made K times over, and where no closed form hangs on the label: the node
reads nothing that is drawn in q, directly or not, and nothing drawn reads it. A label of a repeat's step restricts the
counts that are not labelled, so these too must read nothing drawn, nor be drawn themselves. It is done where the
pattern by pattern way would take longer: for many small groups the time goes into their bookkeeping, not into their
numbers.
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
    """Knows the nodes that may be labelled or not inside one plan, and when that pays.

    parameters: how many a row passes on its way through the network of a (node, role).
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
        told = drawn | reading  # counts of which a label must not tell: with some draw it would tell otherwise
        found = [name for name in enumerated if not below[name] & sets.bits(drawn)]
        return frozenset(name for name in found if not told.intersection(nodes[name].counts))

    def worth(self, observed: frozenset[str], either: frozenset[str], patterns: int, rows: int) -> bool:
        """Tell whether rows of so many patterns run faster under one plan; `observed` is labelled in all of them."""
        if patterns < 2 or not either:
            return False
        if (observed, either) not in self._more:
            together = derive(self.graphs, observed, self.words, either)
            apart = derive(self.graphs, observed | either, self.words)  # the cheapest of them
            self._more[observed, either] = self.work(together) - self.work(apart)
        factors = len(self.graphs.nodes) + len(self.graphs.partial)
        return rows * self._more[observed, either] < (patterns - 1) * factors * FACTOR

    def work(self, plan: Plan) -> float:
        """Estimate what a row of a plan costs, its bookkeeping left out."""
        size: dict[str, int] = {p.node: p.support for p in plan.proposals if p.estimator.enumerates}
        size[SAMPLES] = plan.words.samples
        total = ELEMENT * plan.operations
        for factor in [*plan.joint, *(p.factor for p in plan.proposals), *(w.factor for w in plan.weights)]:
            elements = math.prod(size[d] for d in factor.dims)
            passes = math.prod(size[d] for d in factor.dims if d != factor.node)
            total += ELEMENT * elements + WEIGHT * passes * self.parameters.get((factor.node, factor.role), 0)
        return total
