"""A plan of a model with repeats as text and LaTeX: each factor once, with its steps.

Steps of a name form one group where the plan treats them alike; else they are written apart, as `t=1` and `t=2..50`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, final

from sgc.derivation.derive import derive
from sgc.derivation.factors import Charge, Factor, Term, Weight
from sgc.derivation.node_id import Index
from sgc.derivation.plan import EachNode, Plan, PlanWriter
from sgc.objectives.expressions import LabelScore, LogMean
from sgc.report.plates import Plated, StepSets, places_of
from sgc.report.step_ranges import Around, all_steps, around, at_steps, boxes, nested, range_words, signs, where

SIDES = {(0,): "", (0, 1): " of this and later steps", (1,): " of later steps", (-1,): " of earlier steps"}  # charged


@dataclass(frozen=True)
class StepGroup:
    """Steps of a name that a plan treats alike; flat: their nodes, of which `middle` stands for all."""

    flat: tuple[str, ...]
    around: Around = ()

    @property
    def middle(self) -> str:
        return self.flat[min(1, len(self.flat) - 1)]


@dataclass(frozen=True, eq=False)
class StepGroups:
    """The groups of a plan by each of their nodes: of scored nodes, and of the factors of the weight."""

    scored: Mapping[str, StepGroup]
    weighed: Mapping[str, StepGroup]

    def of(self, node: str, *, label: bool = False) -> StepGroup:
        """Give the group of a node; one outside of repeats is alone in its group. label: of its weight."""
        return (self.weighed if label else self.scored).get(node) or StepGroup((node,))

    def written(self, plan: Plan) -> Plan:
        """Give a plan of the nodes that stand for their groups."""

        def stands(node: str, *, label: bool = False) -> bool:
            return self.of(node, label=label).middle == node

        return replace(
            plan,
            proposals=tuple(p for p in plan.proposals if stands(p.node)),
            weights=tuple(w for w in plan.weights if stands(w.factor.node, label=True)),
            joint=tuple(f for f in plan.joint if stands(f.node)),
            terms=tuple(t for t in plan.terms if stands(t.node)),
            charges=tuple(c for c in plan.charges if stands(c.node)),
        )


def grouped(view: Plated, plan: Plan) -> StepGroups:
    """Put steps that a plan treats alike into groups."""
    roles: dict[str, list[str]] = {}
    for term in plan.terms:
        roles.setdefault(term.node, []).append(term.role)
    baselines = {charge.node: charge.baseline for charge in plan.charges}
    scored: dict[str, object] = {}
    for node in dict.fromkeys((*plan.proposed, *plan.scored)):
        proposal, p = plan.proposed.get(node), plan.scored.get(node)
        q = proposal and (parents_text(view, proposal.factor), proposal.estimator, proposal.support)
        scored[node] = (p and parents_text(view, p), q, tuple(roles.get(node, ())), baselines.get(node))
    weighed = {n: (parents_text(view, w.factor), w.varies, w.tag) for n, w in plan.weighed.items()}
    return StepGroups(*({n: g for g in _groups(view, treated) for n in g.flat} for treated in (scored, weighed)))


def _groups(view: Plated, treated: Mapping[str, object]) -> Iterator[StepGroup]:
    """Divide the steps of each name by how a plan treats them, into ranges of steps."""
    names = view.names
    for name, steps in view.steps.items():
        plates = names.plates(name)
        alike: dict[object, dict[Index, str]] = {}
        for node in steps if plates else ():
            if node in treated:
                alike.setdefault(treated[node], {})[names.index(node)] = node
        for nodes in alike.values():
            for box in boxes(nodes):
                inside = itertools.product(*(range(low, high + 1) for low, high in box))
                yield StepGroup(tuple(nodes[index] for index in inside), around(plates, box))


def parents_text(view: Plated, factor: Factor) -> tuple[str, ...]:
    """Write the parents of a factor as its own node would call them."""
    reader = view.names.of(factor.node)
    return tuple(view.names.written(reader, read) for read in view.names.relatives(factor.node, factor.parents))


def listed(view: Plated, flat: Iterable[str]) -> list[str]:
    """List names of the file, with steps where not all of them are meant."""
    return [f"{name}{at}" for name, at in at_steps(view, flat)]


@final
@dataclass(frozen=True, eq=False)
class PlatedPlan(PlanWriter):
    """Writes a plan over repeats. flat: the plan of all steps; plan: of the nodes that stand for their groups."""

    view: Plated
    flat: Plan
    plan: Plan
    groups: StepGroups
    latex: bool = False
    styled: bool = False
    apart: ClassVar[bool] = True

    def with_latex(self) -> PlatedPlan:
        return replace(self, latex=True, styled=False)

    def rows(self) -> str:
        return plan_rows(self.view, self.flat)

    def listed(self, nodes: Iterable[str]) -> list[str]:
        return listed(self.view, nodes)

    def name(self, node: str) -> str:
        return self.view.names.of(node)

    def called(self, factor: Factor) -> Factor:
        return replace(factor, node=self.name(factor.node), parents=parents_text(self.view, factor))

    def over(self, node: str, *, label: bool = False) -> list[str]:
        """List the steps that are written as this node, as `digit=1..k`. label: its factor of the weight."""
        ranges = self.groups.of(node, label=label).around
        return [range_words(ranges, i) for i in range(len(ranges))]

    def signs(self, kind: str, node: str, *, label: bool = False) -> str:
        return self.mark(signs(kind, self.groups.of(node, label=label).around, latex=self.latex), "kept")

    def factors(self, factors: Sequence[Factor], *, label: bool = False) -> str:
        """Write a product of factors, equal ones of several groups as one."""
        items = [(self.factor(factor), steps) for factor, steps in self.ranged(factors, label=label)]
        return nested(items, self.mark, latex=self.latex)

    def ranged(self, factors: Sequence[Factor], *, label: bool = False) -> list[tuple[Factor, Around]]:
        """Give the factors of a product with the steps that they are over, equal ones of several groups once."""
        names = self.view.names
        nodes: dict[str, tuple[Factor, list[str]]] = {}
        for factor in factors:
            _, steps = nodes.setdefault(self.factor(factor), (factor, []))
            steps.extend(self.groups.of(factor.node, label=label).flat)
        items: list[tuple[Factor, Around]] = []
        for factor, flat in nodes.values():
            plates = names.plates(names.of(flat[0]))
            ranges = boxes(map(names.index, flat)) if plates else [()]
            items += [(factor, around(plates, box)) for box in ranges]
        return items

    def exact_bound(self) -> list[str]:
        """Write the bound, step by step where no formula over repeats is the same."""
        return EachNode(self.flat, styled=self.styled).bound() if self.interlaced else self.bound()

    @property
    def interlaced(self) -> bool:
        """Whether logarithms of growing products, an α of its own for each name, have no order of names."""
        growing = [scaled.part for scaled in self.flat.expression.parts if isinstance(scaled.part, LogMean)]
        names = [self.name(node) for part in growing if part.before.logs for node in part.product.labels]
        return self.flat.words.alpha_by_node and len([*itertools.groupby(names)]) > len(set(names))

    def carriers(self, weight: Weight) -> list[str]:
        return self._placed(self.groups.of(weight.factor.node, label=True).flat)

    def carried(self, label: LabelScore) -> list[str]:
        return self._carried[self.name(label.node)]

    @cached_property
    def _carried(self) -> dict[str, list[str]]:
        steps: dict[str, list[str]] = {}
        for weight in self.flat.weights:
            steps.setdefault(self.name(weight.factor.node), []).append(weight.factor.node)
        return {name: self._placed(nodes) for name, nodes in steps.items()}

    def _placed(self, steps: Iterable[str]) -> list[str]:
        """Say what the weights of some steps of a name vary through, as seen from these steps."""
        weighed, placed = self.flat.weighed, self.view.names.placed
        return [str(place) for place in dict.fromkeys(placed(s, c) for s in steps for c in weighed[s].carriers)]

    def reason(self, term: Term) -> str:
        """Say why a term is computed as it is, and at which steps it is computed in another way."""
        group, names = self.groups.of(term.node), self.view.names
        steps = set(group.flat)
        others: dict[str, list[Index]] = {}
        for other_term in self.flat.terms if group.around else ():
            if other_term.node in steps and other_term.role == term.role and other_term.tag != term.tag:
                others.setdefault(other_term.tag, []).append(names.index(other_term.node))
        notes = [f"{tag} at {where(names.plates(self.name(term.node)), indices)}" for tag, indices in others.items()]
        return "; ".join(filter(None, (self.message(term.why), *notes)))

    def masked(self) -> str:
        return ""  # the signs of products and sums say by themselves which steps are there

    def charges(self) -> list[str]:
        """Say what the draws of each group are charged with."""
        return [*map(_Charging(self).line, self.plan.charges)] if self.plan.charges else []


class _Charging:
    """What the draws of groups are charged with, in words. Sets of terms and weights are bits of the flat plan's."""

    def __init__(self, writer: PlatedPlan) -> None:
        self.writer, self.flat, groups = writer, writer.flat, writer.groups
        self.unsigned = replace(writer, groups=StepGroups({}, {}))
        names = writer.view.names
        self.terms = StepSets(names, [term.node for term in self.flat.terms])
        self.weights = StepSets(names, [weight.factor.node for weight in self.flat.weights])
        self.places = places_of((groups.of(term.node).middle, term.role) for term in self.flat.terms)
        self.labels = places_of(groups.of(weight.factor.node, label=True).middle for weight in self.flat.weights)

    def line(self, charge: Charge) -> str:
        writer, unsigned = self.writer, self.unsigned
        nodes = frozenset(writer.groups.of(charge.node).flat)
        own = [step_charge for step_charge in self.flat.charges if step_charge.node in nodes]
        q = writer.plan.proposed[charge.node].factor
        factor = f"{writer.signs('prod', charge.node)}{writer.factor(q)}"
        if all(self.flat.charges_whole(step_charge) for step_charge in own):
            return f"{factor}: the whole bound"
        texts: list[str] = []
        for term in writer.plan.terms:
            charged = {step_charge.node: step_charge.charged & self.places[term.node, term.role] for step_charge in own}
            texts.append(self.part(charged, self.terms, writer.term(term), unsigned.term(term)))
        for weight in writer.plan.weights:
            charged = {step_charge.node: step_charge.varied & self.labels[weight.factor.node] for step_charge in own}
            texts.append(self.part(charged, self.weights, writer.label_term(weight), unsigned.label_term(weight)))
        return f"{factor}: {', '.join(filter(None, texts)) or 'nothing'}"

    def part(self, draws: Mapping[str, int], steps: StepSets, signed: str, unsigned: str) -> str:
        """Write a term that some draws are charged with, and of which steps; empty where none is.

        draws: by drawn node, the places of its charged terms among those of `steps`. signed, unsigned: the term.
        """
        names = self.writer.view.names
        sides: set[int] = set()
        shared = False
        for node, bits in draws.items():
            for read in steps.placed(node, bits):
                sides.add(read.shift)
                shared |= bool(set(names.plates(names.of(node))) & set(names.plates(read.name)))
        if not sides or not shared:
            return signed if sides else ""
        return f"{unsigned}{SIDES.get(tuple(sorted(sides)), ' of all steps')}"


def plan_of(view: Plated, observed: Iterable[str], *, styled: bool = False) -> EachNode | PlatedPlan:
    """Derive the plan of a pattern of names in the file, written over repeats where there are any."""
    return writer_of(view, derive(view.flat.graphs, view.spread(observed), view.flat.words), styled=styled)


def writer_of(view: Plated, plan: Plan, *, styled: bool = False) -> EachNode | PlatedPlan:
    """Give what writes a plan of all steps by names of the file."""
    if not view.names.around:
        return EachNode(plan, styled=styled)
    groups = grouped(view, plan)
    return PlatedPlan(view, plan, groups.written(plan), groups, styled=styled)


def plan_rows(view: Plated, plan: Plan) -> str:
    """Say which rows a plan of all steps is for, by names of the file."""
    return replace(plan, observed=tuple(listed(view, plan.observed))).rows_text()


def over_all_steps(view: Plated, plan: Plan) -> PlatedPlan:
    """Give what writes a term of one step of a repeat as the sum over all its steps."""
    groups = ((steps, StepGroup(steps, all_steps(view.names.plates(name)))) for name, steps in view.steps.items())
    every = {node: group for steps, group in groups for node in steps}
    return PlatedPlan(view, plan, plan, StepGroups(every, every))
