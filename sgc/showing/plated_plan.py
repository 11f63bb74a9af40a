"""A plan of a model with repeats as text and LaTeX: each factor once, with the steps it stands for.

Steps of a name stand together where the plan does the same with them; else they stand apart, as `t=1` and `t=2..50`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

from sgc.derivation.derive import derive
from sgc.derivation.node_id import Index
from sgc.derivation.plan import Factor, Plan
from sgc.language.scopes import Plate
from sgc.objectives.expressions import LogMean
from sgc.showing.grouping import Group, Grouped, grouped, listed, parents_text
from sgc.showing.plates import Plated
from sgc.showing.ranges import Around, around, boxes, nested, range_words, sign, whole
from sgc.showing.step_sets import StepSets

MARK = re.compile(r"‹(\d+)›")  # behind a name, in the plan of groups: which group it is
TEXT = re.compile(r"(KL\(|log |\|\| )?([pq]\([^()‹| ]*)‹(\d+)›")
LATEX = re.compile(r"(\\mathrm\{KL\}\\left\(|\\log |\\,\\\|\\, )?([pq]\(\\mathrm\{[^{}‹]*)‹(\d+)›")
SIDES = {(0,): "", (0, 1): " of this and later steps", (1,): " of later steps", (-1,): " of earlier steps"}  # charged


@dataclass(frozen=True)
class PlatedPlan:
    """A plan of all steps, and how it is written over repeats."""

    view: Plated
    flat: Plan
    made: Grouped

    @property
    def plan(self) -> Plan:
        return self.made.plan

    @property
    def groups(self) -> tuple[Group, ...]:
        return self.made.groups

    def rows_text(self) -> str:
        """Say which rows this plan is for."""
        return self.plan.rows_text()

    def text(self) -> str:
        """Write the plan as aligned lines, as `Plan.text` does."""
        rows: list[tuple[str, str]] = []
        first, *lines = self.plan.text().split("\n")
        for line in lines:
            rows.append((line[2:12].strip(), line[12:]))
        # the signs of products and sums say by themselves which steps are there
        rows = [row for row in rows if row[0] not in ("masked", "charged", "cost", "warning")]
        found = [first]
        for label, block in itertools.groupby(rows, key=_Label()):
            contents = [text for _, text in block]
            if label == "r =" and self.plan.proposals:
                contents = [self._product([p.factor for p in self.plan.proposals])]
            elif label == "p =":
                contents = [self._product(self.plan.joint)]
            elif label in ("proposed", "w =", "terms"):
                contents = _aligned([self.words(text) for text in contents])
            else:
                contents = [self.words(text) for text in contents]
            found += [f"  {'' if i else label:<10}{text}".rstrip() for i, text in enumerate(contents)]
        for i, text in enumerate(self.charges()):
            found.append(f"  {'' if i else 'charged':<10}{text}")
        found.append(f"  {'cost':<10}{self.cost_text()}")
        return "\n".join([*found, *(f"  warning   {warning}" for warning in self.warnings)])

    def latex(self) -> str:
        """Write the bound in LaTeX, with the proposal and the weight that it uses."""
        found = []
        for line in self.plan.latex().split("\n"):
            if line.startswith("r &= ") and self.plan.proposals:
                line = rf"r &= {self._product([p.factor for p in self.plan.proposals], latex=True)} \\"
            elif line.startswith("w &= ") and self.plan.weights:
                line = rf"w &= {self._product([w.factor for w in self.plan.weights], latex=True)} \\"
            found.append(self.words(line, latex=True))
        return "\n".join(found)

    def bound_text(self) -> list[str]:
        """Write the bound that these rows add, a line for each part."""
        plan = self.flat if self._interlaced else self.plan
        return [self.words(line) for line in plan.bound_text()]

    @property
    def _interlaced(self) -> bool:
        """Whether logarithms of growing products, an α of its own for each name, stand in no order of names."""
        growing = [each.part for each in self.flat.expression.parts if isinstance(each.part, LogMean)]
        names = [self.view.names.of(node) for part in growing if part.before.logs for node in part.product.labels]
        return self.flat.words.alpha_by_node and len([*itertools.groupby(names)]) > len(set(names))

    def words(self, text: str, *, latex: bool = False) -> str:
        """Write products and sums over steps in place of the groups in a text."""

        def replaced(match: re.Match[str]) -> str:
            before, factor, group = match[1] or "", match[2], self.groups[int(match[3])]
            if "|" in before:  # the second half of a divergence
                return f"{before}{factor}"
            return f"{_signs('sum' if before else 'prod', group, latex=latex)} {before}{factor}"

        return MARK.sub("", (LATEX if latex else TEXT).sub(replaced, text))

    def bare(self, text: str) -> str:
        """Write a text without the signs of products and sums."""
        return MARK.sub("", text)

    def over(self, node: str) -> list[str]:
        """List the steps that a node of the rewriting stands for, as `digit=1..k`."""
        around = self._around(node)
        return [range_words(around, i) for i in range(len(around))]

    def _around(self, node: str) -> Around:
        found = MARK.search(node)
        return self.groups[int(found[1])].around if found else ()

    def _product(self, factors: Sequence[Factor], *, latex: bool = False) -> str:
        """Write a product of factors of the rewriting, equal ones of several groups as one."""
        names = self.view.names
        indices: dict[str, list[Index]] = {}
        plates: dict[str, tuple[Plate, ...]] = {}
        for factor in factors:
            text, found = self.bare(factor.latex() if latex else str(factor)), MARK.search(factor.node)
            flat = self.groups[int(found[1])].flat if found else ()
            indices.setdefault(text, []).extend(names.index(each) for each in flat)
            plates[text] = names.plates(self.bare(factor.node))
        items = [(text, box) for text, each in indices.items() for box in (boxes(each) if each else [()])]
        return nested(items, lambda item: around(plates[item[0]], item[1]), lambda item: item[0], latex=latex)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The plan's own warnings, each once over the steps."""
        return plan_warnings(self.view, self.flat)

    def cost_text(self) -> str:
        """Say what is summed out, a name once, and what it costs over all steps."""
        first, *rest = self.flat.cost_text().split("; ")
        if self.flat.enumerated:
            counts: dict[str, int] = {}
            for flat in self.flat.elimination:
                name = self.view.names.of(flat)
                counts[name] = counts.get(name, 0) + 1
            steps = [f"{name} ({count} steps)" if count > 1 else name for name, count in counts.items()]
            first = f"sums out {', '.join(steps)}"
        drawn: dict[str, list[int]] = {}
        found = [first]
        for part in rest:
            times = re.fullmatch(r"(\S+) is drawn (\d+) times a sample", part)
            if times is None:
                found.append(part)
            else:
                drawn.setdefault(self.view.names.of(times[1]), []).append(int(times[2]))
        for name, each in drawn.items():
            often = str(each[0]) if min(each) == max(each) else f"{min(each)} to {max(each)}"
            found.append(f"{name} is drawn {often} times a sample")
        return "; ".join(found)

    def charges(self) -> list[str]:
        """Say what the draws of each group are charged with."""
        found: list[str] = []
        if not self.plan.charges:
            return found
        steps = StepSets(self.view.names, [term.node for term in self.flat.terms])
        weighing = StepSets(self.view.names, [weight.factor.node for weight in self.flat.weights])
        mark, label = self.made.mark, self.made.label
        terms = _places((mark.get(term.node, term.node), term.role) for term in self.flat.terms)
        labels = _places(label.get(w.factor.node, w.factor.node) for w in self.flat.weights)
        for charge in self.plan.charges:
            group = self.groups[int(MARK.findall(charge.node)[0])] if MARK.search(charge.node) else None
            nodes = frozenset(group.flat if group else (charge.node,))
            own = [each for each in self.flat.charges if each.node in nodes]
            factor = self.words(str(self.plan.proposal(charge.node).factor))
            if all(self.flat.charges_whole(each) for each in own):
                found.append(f"{factor}: the whole bound")
                continue
            texts: list[str] = []
            for term in self.plan.terms:
                charged = [(each.node, each.charged & terms[term.node, term.role]) for each in own]
                texts.append(self._charged(charged, steps, self.plan.term_text(term)))
            for weight in self.plan.weights:
                charged = [(each.node, each.varied & labels[weight.factor.node]) for each in own]
                texts.append(self._charged(charged, weighing, self.plan.label_text(weight)))
            found.append(f"{factor}: {', '.join(filter(None, texts)) or 'nothing'}")
        return found

    def _charged(self, draws: Iterable[tuple[str, int]], steps: StepSets, text: str) -> str:
        """Write a term that some draws are charged with, and of which steps; empty where none is.

        draws: what is drawn, and the places of the terms that it is charged with, among those of `steps`.
        """
        names = self.view.names
        sides: set[int] = set()
        shared = False
        for node, bits in draws:
            for word in steps.placed(node, bits):
                when, _, name = word.rpartition(" ")
                sides.add({"earlier": -1, "": 0, "later": 1}[when])
                shared |= bool(set(names.plates(names.of(node))) & set(names.plates(name)))
        if not sides:
            return ""
        return f"{self.bare(text)}{SIDES.get(tuple(sorted(sides)), ' of all steps')}" if shared else self.words(text)


def _places(keys: Iterable[Hashable]) -> dict[Hashable, int]:
    """Give the places of each key in a list, as bits."""
    found: dict[Hashable, int] = {}
    for i, key in enumerate(keys):
        found[key] = found.get(key, 0) | 1 << i
    return found


class _Label:
    """The label that a row of a plan stands under: its own, or the last one above it."""

    def __init__(self) -> None:
        self.last = ""

    def __call__(self, row: tuple[str, str]) -> str:
        self.last = row[0] or self.last
        return self.last


def plan_of(view: Plated, observed: Iterable[str]) -> Plan | PlatedPlan:
    """Derive the plan of a pattern of names in the file, over repeats where there are any."""
    plan = derive(view.flat.graphs, view.spread(observed), view.flat.words)
    return PlatedPlan(view, plan, grouped(view, plan)) if view.names.around else plan


def plan_rows(view: Plated, plan: Plan) -> str:
    """Say which rows a plan of all steps is for, by names of the file."""
    return replace(plan, observed=tuple(listed(view, plan.observed))).rows_text()


def plan_warnings(view: Plated, plan: Plan) -> tuple[str, ...]:
    """Write the warnings of a plan of all steps by names of the file, each once."""
    names, rows = view.names, plan_rows(view, plan)
    carried: dict[str, dict[str, None]] = {}
    for weight in plan.weights:
        flat = weight.factor.node
        carried.setdefault(names.of(flat), {}).update(dict.fromkeys(names.placed(flat, c) for c in weight.carriers))
    found: dict[str, None] = {}
    for warning in plan.warnings:
        text = warning.replace(f"{plan.rows_text()}: ", f"{rows}: ", 1)
        for weight in plan.weights:
            factor = str(weight.factor)
            if factor in text:
                placed = " and ".join(carried[names.of(weight.factor.node)])
                text = text.replace(f"with {' and '.join(weight.carriers)},", f"with {placed},")
                text = text.replace(factor, _factor_text(view, weight.factor))
        found[text] = None
    return tuple(found)


def step_words(view: Plated, name: str, text: str, factors: Iterable[Factor]) -> str:
    """Write a term of one step of a repeat, in which these factors stand, as the sum over its steps."""
    for factor in factors:
        text = text.replace(str(factor), _factor_text(view, factor))
    over = whole(view.names.around[name])
    signs = " ".join(sign("sum", over, i) for i in range(len(over)))
    return f"-{signs} {text[1:]}" if text.startswith("-") else f"{signs} {text}"


def _factor_text(view: Plated, factor: Factor) -> str:
    return str(replace(factor, node=view.names.of(factor.node), parents=parents_text(view, factor)))


def _signs(kind: str, group: Group, *, latex: bool) -> str:
    return " ".join(sign(kind, group.around, i, latex=latex) for i in range(len(group.around)))


def _aligned(lines: Sequence[str]) -> list[str]:
    """Align what stands behind the factors again."""
    cells = [line.partition("  ") for line in lines]
    width = max(len(first) for first, _, _ in cells)
    return [f"{first:<{width}}  {rest.lstrip()}".rstrip() for first, _, rest in cells]
