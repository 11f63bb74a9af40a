"""The steps of repeats that a plan treats alike, put into groups, and the plan rewritten over these.

The rewriting is a plan whose nodes are groups: `t.s‹3›` stands for the steps of `t.s` that are in the group 3. Parents
are worded as their readers write them, and what is observed or clamped by names of the file.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from sgc.derivation.node_id import Index
from sgc.derivation.plan import Charge, Factor, Plan, Term, Weight
from sgc.showing.plates import Plated
from sgc.showing.ranges import Around, around, boxes, where


@dataclass(frozen=True)
class Group:
    """Steps of a name that a plan treats alike; flat: their nodes, `middle` the one that stands for them."""

    name: str
    flat: tuple[str, ...]
    around: Around

    @property
    def middle(self) -> str:
        return self.flat[min(1, len(self.flat) - 1)]


@dataclass(frozen=True)
class Grouped:
    """A plan, its rewriting, and which group is which."""

    plan: Plan
    groups: tuple[Group, ...]
    mark: Mapping[str, str] = field(hash=False)  # by flat node, its name in the rewriting
    label: Mapping[str, str] = field(hash=False)  # and that of its factor of the weight


def grouped(view: Plated, plan: Plan) -> Grouped:
    """Put steps that a plan treats alike into groups and rewrite it over these."""
    scored, weighed = list(_groups(view, _scores(view, plan))), list(_groups(view, _weights(view, plan)))
    groups = (*scored, *weighed)
    mark = {flat: f"{group.name}‹{i}›" for i, group in enumerate(scored) for flat in group.flat}
    label = {flat: f"{group.name}‹{i}›" for i, group in enumerate(weighed, len(scored)) for flat in group.flat}
    middles = {group.middle for group in scored}
    labelled = {group.middle: group for group in weighed}
    of = {flat: group for group in scored for flat in group.flat}

    def stands(node: str) -> bool:
        return node not in mark or node in middles

    def factor(each: Factor) -> Factor:
        return replace(each, node=mark.get(each.node, each.node), parents=parents_text(view, each))

    def weight(each: Weight) -> Weight:
        node = each.factor.node
        steps = labelled[node].flat if node in labelled else (node,)
        carriers = dict.fromkeys(view.names.placed(s, each) for s in steps for each in plan.weighed[s].carriers)
        own = replace(each.factor, node=label.get(node, node), parents=parents_text(view, each.factor))
        return replace(each, factor=own, carriers=tuple(carriers))

    def charge(each: Charge) -> Charge:
        charged = {(mark.get(node, node), role) for node, role in each.terms}
        varied = {label.get(node, node) for node in each.labels}
        return replace(
            each,
            node=mark.get(each.node, each.node),
            charged=sum(1 << i for i, term in enumerate(every) if term in charged),
            every=every,
            varied=sum(1 << i for i, node in enumerate(weighing) if node in varied),
            weighing=weighing,
        )

    weights = tuple(weight(w) for w in plan.weights if w.factor.node not in label or w.factor.node in labelled)
    terms = tuple(_term(view, plan, t, of.get(t.node), mark) for t in plan.terms if stands(t.node))
    every = tuple((term.node, term.role) for term in terms)
    weighing = tuple(each.factor.node for each in weights)
    rewritten = replace(
        plan,
        observed=tuple(listed(view, plan.observed)),
        clamped=tuple(listed(view, plan.clamped)),
        proposals=tuple(replace(p, factor=factor(p.factor)) for p in plan.proposals if stands(p.node)),
        weights=weights,
        joint=tuple(factor(f) for f in plan.joint if stands(f.node)),
        terms=terms,
        charges=tuple(charge(c) for c in plan.charges if stands(c.node)),
        enumerated=(),
        elimination=(),
        warnings=(),
    )
    return Grouped(rewritten, groups, {**mark}, {**label})


def _scores(view: Plated, plan: Plan) -> dict[str, object]:
    """Say what a plan does with each node but for the weight: what is the same is written the same."""
    roles: dict[str, list[str]] = {}
    for term in plan.terms:
        roles.setdefault(term.node, []).append(term.role)
    baselines = {charge.node: charge.baseline for charge in plan.charges}
    found: dict[str, object] = {}
    for flat in dict.fromkeys((*plan.proposed, *plan.scored)):
        proposal, p = plan.proposed.get(flat), plan.scored.get(flat)
        q = proposal and (parents_text(view, proposal.factor), proposal.estimator, proposal.support)
        found[flat] = (p and parents_text(view, p), q, tuple(roles.get(flat, ())), baselines.get(flat))
    return found


def _weights(view: Plated, plan: Plan) -> dict[str, object]:
    """Say what each factor of the weight is to a plan."""
    weighed = plan.weighed.items()
    return {flat: (parents_text(view, each.factor), each.varies, plan.label_tag(each)) for flat, each in weighed}


def _groups(view: Plated, done: Mapping[str, object]) -> Iterable[Group]:
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


def _term(view: Plated, plan: Plan, term: Term, group: Group | None, mark: dict[str, str]) -> Term:
    """Give the term of a group, with the steps at which it is computed in another way."""
    if group is None:
        return replace(term, why=_why(view, term.why))
    others: dict[tuple[str, str], list[str]] = {}
    inside = set(group.flat)
    for each in plan.terms:
        if each.node in inside and each.role == term.role and each.tag != term.tag:
            others.setdefault((each.tag, ""), []).append(each.node)
    plates = view.names.plates(group.name)
    notes = [f"{tag} at {where(plates, map(view.names.index, flat))}" for (tag, _), flat in others.items()]
    why = "; ".join(filter(None, (_why(view, term.why), *notes)))
    return replace(term, node=mark[term.node], why=why)


def _why(view: Plated, why: str) -> str:
    """Write a reason with the names of the file."""
    return re.sub(r"@[\d.]+", "", why)


def parents_text(view: Plated, factor: Factor) -> tuple[str, ...]:
    reader = view.names.of(factor.node)
    return tuple(view.names.written(reader, seen) for seen in view.names.seen(factor.node, factor.parents))


def listed(view: Plated, flat: Iterable[str]) -> Iterable[str]:
    """List names of the file, with steps where not all of them are meant."""
    found: dict[str, list[str]] = {}
    for each in flat:
        found.setdefault(view.names.of(each), []).append(each)
    for name, steps in found.items():
        if len(steps) == len(view.steps[name]):
            yield name
        else:
            yield f"{name} at {where(view.names.plates(name), map(view.names.index, steps))}"
