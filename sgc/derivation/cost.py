"""Plans that enumerate too much: which nodes to draw instead, and what the plan costs then."""

from __future__ import annotations

import bisect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from sgc.derivation.derive import derive
from sgc.derivation.graph import Graphs
from sgc.derivation.plan import Plan
from sgc.objectives.plain_draw import PlainDraw

LARGEST = 1_000_000  # numbers a row: a batch of 100 then takes 400 MB for one tensor in float32
OPERATIONS = 10_000_000  # numbers touched a row
TRIED = 100  # plans that are derived to find out what helps
TRIED_AT_ONCE = 16  # of those, to choose one node


@dataclass(frozen=True)
class Advice:
    """Nodes to take out of enumeration, and the plan without them; none where nothing would help."""

    nodes: tuple[str, ...]
    plan: Plan


def too_large(plan: Plan) -> bool:
    """Tell whether a plan sums over more numbers for a row than memory or time allow."""
    return plan.largest > LARGEST or plan.operations > OPERATIONS


def advise(
    graphs: Graphs, plan: Plan, able: Collection[str], steps: Mapping[str, Sequence[str]] | None = None
) -> Advice:
    """Choose nodes to draw instead of enumerating them: one by one, that of the largest intermediate which saves most.

    able: the nodes that can be drawn. steps: by the one name of a repeat's node, the node of each step, which share
    their estimator. Costs are at two samples at least, which a drawn node needs for its baseline. Of many nodes those
    of the largest supports are tried; after `TRIED` plans as many of these are taken at once as it needs.
    """
    every = steps or {}
    name_of = {node: name for name, nodes in every.items() for node in nodes}
    words = replace(plan.words, samples=max(2, plan.words.samples))
    taken: list[str] = []
    current, tried = plan, 0
    support = {proposal.node: proposal.support for proposal in plan.proposals}

    def without(*names: str) -> Plan:
        nodes = [node for name in [*taken, *names] for node in every.get(name, [name])]
        return derive(graphs.with_estimators(dict.fromkeys(nodes, PlainDraw())), plan.observed, words)

    while too_large(current):
        candidates = [name for name in dict.fromkeys(name_of.get(n, n) for n in current.widest) if name in able]
        if not candidates:
            return Advice((), plan)
        candidates = sorted(candidates, key=lambda name: -support[every.get(name, [name])[0]])
        if tried > TRIED:
            enough = bisect.bisect_left(
                range(1, len(candidates)), True, key=lambda n: not too_large(without(*candidates[:n]))
            )
            taken += candidates[: enough + 1]
            current = without()
            continue
        candidates = candidates[:TRIED_AT_ONCE]
        tried += len(candidates)
        plans = {name: without(name) for name in candidates}
        best = min(candidates, key=lambda name: (plans[name].largest, plans[name].operations))
        taken.append(best)
        current = plans[best]
    return Advice(tuple(taken), current)


def count_text(count: int) -> str:
    """Write a count with its thousands, a very large one as a power of ten.

    >>> count_text(1234567), count_text(5**50)
    ('1,234,567', '10^34')
    """
    return f"{count:,}" if count < 10**12 else f"10^{len(str(count)) - 1}"
