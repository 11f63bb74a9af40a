"""A plan of a model with repeats as text and LaTeX: each factor once, with the steps it stands for.

Steps of a name stand together where the plan does the same with them; else they stand apart, as `t=1` and `t=2..50`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, final

from sgc.derivation.derive import derive
from sgc.derivation.factors import Charge, Factor, Term, Weight
from sgc.derivation.node_id import Index
from sgc.derivation.plan import EachNode, Plan, PlanWriter
from sgc.objectives.expressions import LabelScore, LogMean
from sgc.report.plates import Plated
from sgc.report.step_groups import Group, Groups, grouped, listed, parents_text
from sgc.report.step_ranges import Around, around, boxes, nested, range_words, signs, where, whole
from sgc.report.step_sets import StepSets

SIDES = {(0,): "", (0, 1): " of this and later steps", (1,): " of later steps", (-1,): " of earlier steps"}  # charged


@final
@dataclass(frozen=True, eq=False)
class PlatedPlan(PlanWriter):
    """Writes a plan over repeats. flat: the plan of all steps; plan: of the nodes that stand for their groups."""

    view: Plated
    flat: Plan
    plan: Plan
    groups: Groups
    latex: bool = False
    apart: ClassVar[bool] = True

    def with_latex(self) -> PlatedPlan:
        return replace(self, latex=True)

    def rows(self) -> str:
        return plan_rows(self.view, self.flat)

    def listed(self, nodes: Iterable[str]) -> list[str]:
        return list(listed(self.view, nodes))

    def name(self, node: str) -> str:
        return self.view.names.of(node)

    def called(self, factor: Factor) -> Factor:
        return replace(factor, node=self.name(factor.node), parents=parents_text(self.view, factor))

    def over(self, node: str, *, label: bool = False) -> list[str]:
        """List the steps that a node stands for, as `digit=1..k`. label: its factor of the weight."""
        found = self.groups.of(node, label=label).around
        return [range_words(found, i) for i in range(len(found))]

    def signs(self, kind: str, node: str, *, label: bool = False) -> str:
        return signs(kind, self.groups.of(node, label=label).around, latex=self.latex)

    def factors(self, factors: Sequence[Factor], *, label: bool = False) -> str:
        """Write a product of factors, equal ones of several groups as one."""
        names = self.view.names
        nodes: dict[str, list[str]] = {}
        for factor in factors:
            nodes.setdefault(self.factor(factor), []).extend(self.groups.of(factor.node, label=label).flat)
        items: list[tuple[str, Around]] = []
        for text, flat in nodes.items():
            plates, indices = names.plates(names.of(flat[0])), [names.index(each) for each in flat]
            items += [(text, around(plates, box)) for box in (boxes(indices) if plates else [()])]
        return nested(items, lambda item: item[1], lambda item: item[0], latex=self.latex)

    def exact_bound(self) -> list[str]:
        """Write the bound, step by step where no formula over repeats is the same."""
        return EachNode(self.flat).bound() if self._interlaced else self.bound()

    @property
    def _interlaced(self) -> bool:
        """Whether logarithms of growing products, an α of its own for each name, stand in no order of names."""
        growing = [each.part for each in self.flat.expression.parts if isinstance(each.part, LogMean)]
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
        """Say what the weights of some steps of a name vary through, to whoever stands at one of them."""
        weighed, placed = self.flat.weighed, self.view.names.placed
        return [str(each) for each in dict.fromkeys(placed(s, c) for s in steps for c in weighed[s].carriers)]

    def reason(self, term: Term) -> str:
        """Say why a term is computed as it is, and at which steps it is computed in another way."""
        group, names = self.groups.of(term.node, label=False), self.view.names
        steps = set(group.flat)
        others: dict[str, list[Index]] = {}
        for each in self.flat.terms if group.around else ():
            if each.node in steps and each.role == term.role and each.tag != term.tag:
                others.setdefault(each.tag, []).append(names.index(each.node))
        notes = [f"{tag} at {where(names.plates(group.name), indices)}" for tag, indices in others.items()]
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
        names = writer.view.names
        self.terms = StepSets(names, [term.node for term in self.flat.terms])
        self.weights = StepSets(names, [weight.factor.node for weight in self.flat.weights])
        standing = [(groups.of(term.node, label=False).middle, term.role) for term in self.flat.terms]
        self.places = _places(standing)
        self.labels = _places(groups.of(weight.factor.node, label=True).middle for weight in self.flat.weights)

    def line(self, charge: Charge) -> str:
        writer = self.writer
        nodes = frozenset(writer.groups.of(charge.node, label=False).flat)
        own = [each for each in self.flat.charges if each.node in nodes]
        q = writer.plan.proposed[charge.node].factor
        factor = f"{writer.signs('prod', charge.node)}{writer.factor(q)}"
        if all(self.flat.charges_whole(each) for each in own):
            return f"{factor}: the whole bound"
        texts: list[str] = []
        for term in writer.plan.terms:
            charged = [(each.node, each.charged & self.places[term.node, term.role]) for each in own]
            texts.append(self.part(charged, self.terms, lambda w, term=term: w.term(term)))  # type: ignore[misc]
        for weight in writer.plan.weights:
            charged = [(each.node, each.varied & self.labels[weight.factor.node]) for each in own]
            texts.append(self.part(charged, self.weights, lambda w, weight=weight: w.label_term(weight)))  # type: ignore[misc]
        return f"{factor}: {', '.join(filter(None, texts)) or 'nothing'}"

    def part(self, draws: Iterable[tuple[str, int]], steps: StepSets, write: Callable[[PlatedPlan], str]) -> str:
        """Write a term that some draws are charged with, and of which steps; empty where none is.

        draws: what is drawn, and the places of the terms that it is charged with, among those of `steps`.
        """
        names = self.writer.view.names
        sides: set[int] = set()
        shared = False
        for node, bits in draws:
            for placed in steps.placed(node, bits):
                sides.add(placed.when)
                shared |= bool(set(names.plates(names.of(node))) & set(names.plates(placed.name)))
        if not sides or not shared:
            return write(self.writer) if sides else ""
        bare = replace(self.writer, groups=Groups({}, {}))
        return f"{write(bare)}{SIDES.get(tuple(sorted(sides)), ' of all steps')}"


def _places(keys: Iterable[Hashable]) -> dict[Hashable, int]:
    """Give the places of each key in a list, as bits."""
    found: dict[Hashable, int] = {}
    for i, key in enumerate(keys):
        found[key] = found.get(key, 0) | 1 << i
    return found


def plan_of(view: Plated, observed: Iterable[str]) -> EachNode | PlatedPlan:
    """Derive the plan of a pattern of names in the file, written over repeats where there are any."""
    return writer_of(view, derive(view.flat.graphs, view.spread(observed), view.flat.words))


def writer_of(view: Plated, plan: Plan) -> EachNode | PlatedPlan:
    """Give what writes a plan of all steps by names of the file."""
    if not view.names.around:
        return EachNode(plan)
    groups = grouped(view, plan)
    return PlatedPlan(view, plan, groups.written(plan), groups)


def plan_rows(view: Plated, plan: Plan) -> str:
    """Say which rows a plan of all steps is for, by names of the file."""
    return replace(plan, observed=tuple(listed(view, plan.observed))).rows_text()


def over_all_steps(view: Plated, plan: Plan) -> PlatedPlan:
    """Give what writes a term of one step of a repeat as the sum over all its steps."""
    every = {n: Group(name, steps, whole(view.names.plates(name))) for name, steps in view.steps.items() for n in steps}
    return PlatedPlan(view, plan, plan, Groups(every, every))
