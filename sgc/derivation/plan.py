"""A plan: for one observation pattern, what is proposed in which order, the weight, and the terms of the bound.

Plain data. A `PlanWriter` writes it as text or LaTeX, and the runtime executes it without further decisions.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Self, final

from sgc.derivation.existence import Steps, masked_text
from sgc.derivation.expert_formulas import combined_latex, combined_text
from sgc.derivation.factors import SAMPLES, Charge, Factor, Paths, Proposal, Term, Weight, ingredients
from sgc.derivation.formula import Cells, Writer, aligned
from sgc.derivation.name_sets import members
from sgc.notebook import ShownFormula
from sgc.objectives.bound import Message
from sgc.objectives.expression_check import expression_of
from sgc.objectives.expressions import ONE, Expression, LabelScore, LogMean, Mean, Score
from sgc.objectives.objective_words import ObjectiveWords


@dataclass(frozen=True)
class Plan(ShownFormula):
    """The derivation for the rows of one observation pattern. `print(plan)` shows it; `plan.latex()` too."""

    notebook_view: ClassVar[str] = "sgc.report.pages.notebook_views:plan_html"

    observed: tuple[str, ...]  # O, in the order of the recognition graph
    clamped: tuple[str, ...]  # X and O
    proposals: tuple[Proposal, ...]  # L, in the order of the recognition graph
    weights: tuple[Weight, ...]  # one for each of O, and for each count with labelled steps
    joint: tuple[Factor, ...]
    terms: tuple[Term, ...]
    charges: tuple[Charge, ...]  # one for each proposal by score_function
    order: tuple[str, ...]
    enumerated: tuple[str, ...]
    elimination: tuple[str, ...]  # the order in which enumerated dimensions are summed out
    largest: int  # elements of the largest intermediate, for a row
    widest: tuple[str, ...]  # the enumerated nodes of the largest intermediate
    operations: int  # elements touched in all, for a row
    words: ObjectiveWords
    messages: tuple[Message, ...]  # what a user should know of these rows before training
    axes: Mapping[str, int] = field(hash=False)  # leading dimensions; enumerated nodes that never meet share one
    needed: frozenset[str]  # all that a factor of this plan reads, directly or not
    maybe_labelled: frozenset[str] = frozenset()  # enumerated nodes whose label some of the rows carry: see `derive`
    exists: Mapping[str, Steps] = field(default_factory=dict, hash=False)  # what the scores of a step are masked by
    paths: Paths | None = None  # of draws, where the gradient weighs these
    evidence: frozenset[str] = frozenset()  # proposed counts with labelled steps: see `existence`

    @cached_property
    def expression(self) -> Expression:
        """The bound as an expression over the factors of this plan."""
        every = bool(self.proposals) and len(self.enumerated) == len(self.proposals)
        given = ingredients(((t.node, t.role) for t in self.terms), self.weights, enumerated=every)
        return expression_of(self.words.bound, given, self.words)

    @property
    def normalised(self) -> bool:
        """Whether factors of the weight that vary are divided by their mean."""
        return self.words.bound.normalises(self.words)

    @cached_property
    def proposed(self) -> dict[str, Proposal]:
        """The proposals by node."""
        return {p.node: p for p in self.proposals}

    @cached_property
    def weighed(self) -> dict[str, Weight]:
        """The factors of the importance weight by node."""
        return {w.factor.node: w for w in self.weights}

    @cached_property
    def scored(self) -> dict[str, Factor]:
        """The factors of the joint by node."""
        return {f.node: f for f in self.joint}

    @cached_property
    def roles(self) -> frozenset[tuple[str, str]]:
        """The terms by node and role."""
        return frozenset((t.node, t.role) for t in self.terms)

    def dims(self, node: str, role: str) -> AbstractSet[str]:
        """Name the dimensions that the score of a node may vary over; role as of a term."""
        if role == "generative":
            return self.scored[node].dims
        q = (self.proposed.get(node) or self.weighed[node]).factor.dims
        return q | self.scored[node].dims if role == "kl" else q

    def rows_text(self) -> str:
        """Say which rows this plan is for."""
        maybe_labelled = [node for node in self.order if node in self.maybe_labelled]
        if maybe_labelled:
            return f"rows with {' and '.join([*self.observed, 'some of ' + ', '.join(maybe_labelled)])} labelled"
        return f"rows with {' and '.join(self.observed)} labelled" if self.observed else "rows without labels"

    def charges_whole(self, charge: Charge) -> bool:
        """Tell whether the draws of a node are charged with the whole bound."""
        bound = self.expression
        moved = bound.normalised and not bound.weights.labels.isdisjoint(charge.labels)
        return bound.couples or (moved and charge.charged.bit_count() == len(self.terms))

    def refuse_charging(self, charge: Charge) -> str:
        """Say why a node's estimator cannot be charged for in this plan; an empty string where it can."""
        proposal, bound = self.proposed[charge.node], self.expression
        estimator = proposal.estimator
        if estimator.one_q and proposal.above_samples:
            return "needs a q that is the same for all samples, but this q reads what is drawn for each of them"
        others = [p.node for p in self.proposals if p.estimator.weighs_draws and p.node != charge.node]
        if estimator.weighs_draws and others:
            return f"counts samples unevenly, and {others[0]} does so as well: one node at most"
        if not estimator.own_costs:
            return ""
        moved = {*(Score(*term) for term in charge.terms), *charge.labels}
        for scaled in bound.parts:
            part = scaled.part
            meeting = part.weight if isinstance(part, Mean) else part.numerator if isinstance(part, LogMean) else ONE
            if any((log.node if isinstance(log, LabelScore) else log) in moved for log in meeting.logs):
                how = "under one logarithm" if isinstance(part, LogMean) else "in the weights of labels"
                return f"needs each sample's own costs, and {how} the samples are coupled"
        return ""

    def drawn_often(self) -> Iterator[tuple[str, int]]:
        """Give the nodes that are drawn several times a sample, for each value of what they read, and how often."""
        size = {p.node: p.support for p in self.proposals}
        drawn = [p for p in self.proposals if self.enumerated and not p.estimator.enumerates and p.dims - {SAMPLES}]
        yield from ((p.node, math.prod(size[d] for d in p.dims - {SAMPLES})) for p in drawn)

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """Write the plan as aligned lines: nodes, proposal, weight, joint, bound, terms, cost, warnings."""
        return EachNode(self).text()

    def latex(self) -> str:
        """Write the bound in LaTeX, with the proposal and the weight that it uses."""
        return EachNode(self).equations()


class PlanWriter(Writer):
    """Writes a plan as text or as LaTeX: rows of cells, the same for every node by itself and for repeats as one.

    Subclasses say which nodes a factor stands for, and its names.
    """

    plan: Plan  # the plan that is written, with one node for all that are written as one
    flat: Plan  # all of it
    apart: ClassVar[bool]  # whether the factors of the proposal and of the weight are set in columns of their own

    @abstractmethod
    def with_latex(self) -> Self:
        """Give the writer of LaTeX."""

    @abstractmethod
    def rows(self) -> str:
        """Say which rows the plan is for."""

    @abstractmethod
    def listed(self, nodes: Iterable[str]) -> list[str]:
        """List nodes."""

    @abstractmethod
    def called(self, factor: Factor) -> Factor:
        """Give a factor with the names that it is written with."""

    @abstractmethod
    def signs(self, kind: str, node: str, *, label: bool = False) -> str:
        """Write the signs before a factor: of a `sum` or a `prod`. label: of the weight."""

    @abstractmethod
    def factors(self, factors: Sequence[Factor], *, label: bool = False) -> str:
        """Write a product of factors; empty where there is none. label: of the weight."""

    @abstractmethod
    def carriers(self, weight: Weight) -> list[str]:
        """List the draws and values through which a factor of the weight varies."""

    @abstractmethod
    def carried(self, label: LabelScore) -> list[str]:
        """List the draws and values through which the factors of a label vary, those of all its steps."""

    @abstractmethod
    def reason(self, term: Term) -> str:
        """Say why a term is computed as it is."""

    @abstractmethod
    def masked(self) -> str:
        """Say which scores are masked, by what; empty where the signs of sums and products do."""

    @abstractmethod
    def charges(self) -> list[str]:
        """Say what draws are charged with, a line for each."""

    def factor(self, factor: Factor) -> str:
        """Write one factor, without signs."""
        called = self.called(factor)
        return called.latex() if self.latex else self.mark(str(called), factor.role)

    def score(self, score: Score) -> str:
        """Write a term as it is inside the expectation."""
        signs, q = self.signs("sum", score.node), self.flat.proposed.get(score.node)
        if score.role == "generative":
            return f"{self.before(signs, self.log)}{self.factor(self.flat.scored[score.node])}"
        assert q is not None
        if score.role == "recognition":
            return f"-{self.before(signs, self.log)}{self.factor(q.factor)}"
        q_and_p = self.factor(q.factor), self.factor(self.flat.scored[score.node])
        if self.latex:
            return rf"-{signs}\mathrm{{KL}}\left({q_and_p[0]} \,\|\, {q_and_p[1]}\right)"
        return f"-{self.before(signs, 'KL(')}{q_and_p[0]} || {q_and_p[1]})"

    def label(self, label: LabelScore) -> str:
        """Write the factor of a label."""
        return f"{self.signs('prod', label.node, label=True)}{self.weighed(label.node)}"

    def log_label(self, label: LabelScore) -> str:
        """Write the log of a label's factor."""
        return f"{self.before(self.signs('sum', label.node, label=True), self.log)}{self.weighed(label.node)}"

    def weighed(self, node: str) -> str:
        """Write a factor of the weight, without signs."""
        return self.factor(self.flat.weighed[node].factor)

    def term(self, term: Term) -> str:
        """Write one term."""
        return self.score(Score(term.node, term.role))

    def label_term(self, weight: Weight) -> str:
        """Write the term of a label."""
        return self.log_label(LabelScore(weight.factor.node))

    def message(self, message: Message) -> str:
        """Put the names into a sentence."""
        names = {"node": self.name(message.node)} if message.node else {}
        if message.label is not None:
            names["factor"] = self.weighed(message.label.node)
            names["carriers"] = " and ".join(self.carried(message.label))
        return message.words.format(**names) if names else message.words

    @property
    def words(self) -> ObjectiveWords:
        return self.plan.words

    @property
    def proposes(self) -> bool:
        return bool(self.plan.proposals)

    def bound(self) -> list[str]:
        """Write the bound that the rows add, a line for each part."""
        return list(self.bound_lines(self.plan.expression))

    def equations(self) -> str:
        """Write the bound in LaTeX, with the proposal and the weight that it uses."""
        return "\\begin{aligned}\n" + " \\\\\n".join(self.equation_lines()) + "\n\\end{aligned}"

    def equation_lines(self) -> list[str]:
        """Write the lines of `equations`, each with the sign & where they are aligned."""
        latex = self.with_latex()
        r = latex.factors([p.factor for p in self.plan.proposals]) or "1"
        w = latex.factors([weight.factor for weight in self.plan.weights], label=True) or "1"
        experts = [combined_latex(p, latex.factor) for p in self.plan.proposals if p.experts is not None]
        return [rf"r &= {r}", *experts, rf"w &= {w}", *latex.bound()]

    def text(self) -> str:
        """Write the plan as aligned lines, with its warnings."""
        return "\n".join([*self.lines(), *(f"  warning   {warning}" for warning in self.warnings())])

    def lines(self) -> list[str]:
        """Write the plan as a title and aligned lines, without its warnings."""
        blocks: dict[str, list[Cells]] = {
            "clamped": [(", ".join(self.listed(self.plan.clamped)) or "nothing",)],
            "proposed": [
                (f"{self.signs('prod', p.node)}{self.factor(p.factor)}", self.how(p)) for p in self.plan.proposals
            ]
            or [("nothing",)],
            "r =": [(self.factors([p.factor for p in self.plan.proposals]) or "1",)],
            "w =": [(self.label(LabelScore(w.factor.node)), self.varies(w)) for w in self.plan.weights] or [("1",)],
            "p =": [(self.factors(self.plan.joint),)] if self.plan.joint else [],
            "masked": [(masked,)] if (masked := self.masked()) else [],
            "bound": [*((line,) for line in self.bound()), *((f"    {note}",) for note in self.no_bound())],
            "terms": [*self._terms()],
            "charged": [(line,) for line in self.charges()],
            "cost": [(self.cost(),)],
        }
        return list(aligned(self.rows(), blocks, [] if self.apart else [("proposed", "w =")]))

    def how(self, proposal: Proposal) -> str:
        """Say how a proposed node gives its values: `enumerate, 10 values`."""
        values = f", {proposal.support} values" if proposal.estimator.enumerates else ""
        baselines = {charge.node: f", baseline {charge.baseline}" for charge in self.plan.charges if charge.baseline}
        experts = f", {combined_text(proposal, self.factor)}" if proposal.experts is not None else ""
        return f"{proposal.estimator}{values}{baselines.get(proposal.node, '')}{experts}"

    def varies(self, weight: Weight) -> str:
        """Say through what a factor of the weight varies, or what becomes of it."""
        if weight.varies:
            return f"{self.mark('varies', 'varies')}: reads {' and '.join(self.carriers(weight))}"
        return "constant: cancels in w/Z" if self.plan.normalised else "constant"

    def no_bound(self) -> Iterator[str]:
        """Say because of which nodes the value is not a bound, or only its gradient is not a bound's."""
        proposals = self.plan.proposals
        relaxed = dict.fromkeys(self.name(p.node) for p in proposals if not p.estimator.attainable)
        if relaxed:
            verb = "is" if len(relaxed) == 1 else "are"
            yield f"not a bound: {' and '.join(relaxed)} {verb} relaxed or averaged, not drawn"
        for note in dict.fromkeys(p.estimator.gradient_note for p in proposals if p.estimator.gradient_note):
            nodes = dict.fromkeys(self.name(p.node) for p in proposals if p.estimator.gradient_note == note)
            yield f"its gradient is not a bound's: {' and '.join(nodes)}: {note}"

    def _terms(self) -> Iterator[Cells]:
        for term in self.plan.terms:
            why = self.reason(term)
            yield self.term(term), self.mark(term.tag, term.tag) + (f" ({why})" if why else "")
        for weight in self.plan.weights:
            yield self.label_term(weight), f"{self.mark(weight.tag, weight.tag)} ({weight.why})"

    def cost(self) -> str:
        """Say what is summed out, and what it costs."""
        plan, samples = self.plan, self.plan.words.samples
        if not plan.enumerated:
            return f"{samples} particle{'s' if samples > 1 else ''} a row, nothing enumerated"
        size = f"largest intermediate {plan.largest} numbers a row, {plan.operations} touched in all"
        counts = Counter(map(self.name, plan.elimination))
        summed = [f"{name} ({count} steps)" if count > 1 else name for name, count in counts.items()]
        times: dict[str, list[int]] = {}
        for node, often in self.flat.drawn_often():
            times.setdefault(self.name(node), []).append(often)
        drawn = [
            f"{name} is drawn {' to '.join(map(str, sorted({min(counts), max(counts)})))} times a sample"
            for name, counts in times.items()
        ]
        return "; ".join([f"sums out {', '.join(summed)}", size, *drawn])

    def warnings(self) -> tuple[str, ...]:
        """Write what a user should know of these rows before training, each once."""
        return tuple(dict.fromkeys(f"{self.rows()}: {self.message(message)}" for message in self.plan.messages))


@final
@dataclass(frozen=True)
class EachNode(PlanWriter):
    """Writes each node of a plan by itself."""

    plan: Plan
    latex: bool = False
    styled: bool = False
    apart: ClassVar[bool] = False

    @property
    def flat(self) -> Plan:  # type: ignore[override]  # it is the same
        return self.plan

    def with_latex(self) -> EachNode:
        return replace(self, latex=True, styled=False)

    def rows(self) -> str:
        return self.plan.rows_text()

    def listed(self, nodes: Iterable[str]) -> list[str]:
        return list(nodes)

    def name(self, node: str) -> str:
        return node

    def called(self, factor: Factor) -> Factor:
        return factor

    def signs(self, kind: str, node: str, *, label: bool = False) -> str:
        return ""

    def factors(self, factors: Sequence[Factor], *, label: bool = False) -> str:
        return (r" \, " if self.latex else " ").join(map(self.factor, factors))

    def carriers(self, weight: Weight) -> list[str]:
        return list(weight.carriers)

    def carried(self, label: LabelScore) -> list[str]:
        return list(label.carriers)

    def reason(self, term: Term) -> str:
        return self.message(term.why)

    def masked(self) -> str:
        return masked_text(self.plan.exists)

    def charges(self) -> list[str]:
        proposed = self.plan.proposed
        return [f"{self.factor(proposed[charge.node].factor)}: {self._charged(charge)}" for charge in self.plan.charges]

    def _charged(self, charge: Charge) -> str:
        if self.plan.charges_whole(charge):
            return "the whole bound"
        texts = [self.term(self.plan.terms[i]) for i in members(charge.charged)]
        labels = [self.label_term(self.plan.weights[i]) for i in members(charge.varied)]
        return ", ".join(texts + labels) or "nothing"
