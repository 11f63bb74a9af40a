"""The steps of repeats that a plan treats alike, put into groups, each of which one node stands for."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from sgc.derivation.factors import Factor
from sgc.derivation.node_id import Index
from sgc.derivation.plan import Plan
from sgc.report.plates import Plated
from sgc.report.step_ranges import Around, around, boxes, where


@dataclass(frozen=True)
class Group:
    """Steps of a name that a plan treats alike; flat: their nodes, `middle` the one that stands for them."""

    name: str
    flat: tuple[str, ...]
    around: Around

    @property
    def middle(self) -> str:
        return self.flat[min(1, len(self.flat) - 1)]


@dataclass(frozen=True, eq=False)
class Groups:
    """The groups of a plan, each by all its nodes: of what is scored, and of the factors of the weight."""

    scored: Mapping[str, Group]
    weighed: Mapping[str, Group]

    def of(self, node: str, *, label: bool) -> Group:
        """Give the group of a node; one that stands in no repeat is one by itself. label: of its weight."""
        return (self.weighed if label else self.scored).get(node) or Group(node, (node,), ())

    def stands(self, node: str, *, label: bool = False) -> bool:
        """Tell whether a node stands for its group."""
        return self.of(node, label=label).middle == node

    def written(self, plan: Plan) -> Plan:
        """Give a plan of the nodes that stand for their groups."""
        return replace(
            plan,
            proposals=tuple(p for p in plan.proposals if self.stands(p.node)),
            weights=tuple(w for w in plan.weights if self.stands(w.factor.node, label=True)),
            joint=tuple(f for f in plan.joint if self.stands(f.node)),
            terms=tuple(t for t in plan.terms if self.stands(t.node)),
            charges=tuple(c for c in plan.charges if self.stands(c.node)),
        )


def grouped(view: Plated, plan: Plan) -> Groups:
    """Put steps that a plan treats alike into groups."""
    return Groups(*({n: each for each in _groups(view, done) for n in each.flat} for done in _done(view, plan)))


def _done(view: Plated, plan: Plan) -> Iterator[dict[str, object]]:
    """Say what a plan does with each node but for the weight, and with it: what is the same is written the same."""
    roles: dict[str, list[str]] = {}
    for term in plan.terms:
        roles.setdefault(term.node, []).append(term.role)
    baselines = {charge.node: charge.baseline for charge in plan.charges}
    scored: dict[str, object] = {}
    for flat in dict.fromkeys((*plan.proposed, *plan.scored)):
        proposal, p = plan.proposed.get(flat), plan.scored.get(flat)
        q = proposal and (parents_text(view, proposal.factor), proposal.estimator, proposal.support)
        scored[flat] = (p and parents_text(view, p), q, tuple(roles.get(flat, ())), baselines.get(flat))
    yield scored
    weighed = plan.weighed.items()
    yield {flat: (parents_text(view, each.factor), each.varies, each.tag) for flat, each in weighed}


def _groups(view: Plated, done: Mapping[str, object]) -> Iterator[Group]:
    """Part the steps of each name by what is done with them, into ranges of steps."""
    names = view.names
    for name, steps in view.steps.items():
        plates = names.plates(name)
        alike: dict[object, dict[Index, str]] = {}
        for flat in steps if plates else ():
            if flat in done:
                alike.setdefault(done[flat], {})[names.index(flat)] = flat
        for by in alike.values():
            for box in boxes(by):
                inside = [by[i] for i in itertools.product(*(range(low, high + 1) for low, high in box))]
                yield Group(name, tuple(inside), around(plates, box))


def parents_text(view: Plated, factor: Factor) -> tuple[str, ...]:
    """Write the parents of a factor as their reader writes them."""
    reader = view.names.of(factor.node)
    return tuple(view.names.written(reader, seen) for seen in view.names.seen(factor.node, factor.parents))


def listed(view: Plated, flat: Iterable[str]) -> Iterator[str]:
    """List names of the file, with steps where not all of them are meant."""
    found: dict[str, list[str]] = {}
    for each in flat:
        found.setdefault(view.names.of(each), []).append(each)
    for name, steps in found.items():
        if len(steps) == len(view.steps[name]):
            yield name
        else:
            yield f"{name} at {where(view.names.plates(name), map(view.names.index, steps))}"
