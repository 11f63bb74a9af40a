"""A plan: for one observation pattern, what is proposed when, what it is weighed by, and what the bound is made of.

Plain data. It is printed as text or LaTeX by `inspect`, and executed, with nothing left to decide, by the runtime.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import cached_property

from sgc.derivation.existence import Steps, masked_text
from sgc.derivation.formula import Writer, bound_lines, symbol
from sgc.derivation.graph import Role
from sgc.derivation.name_sets import NOTHING, NameSet, members
from sgc.derivation.paths import Paths
from sgc.objectives.bound import Ingredients
from sgc.objectives.estimator import Estimator
from sgc.objectives.expressions import Expression, LabelScore, Score
from sgc.objectives.words import ObjectiveWords

SAMPLES = "S"  # the dimension of samples, beside the enumerated ones, which bear their nodes' names


@dataclass(frozen=True)
class Factor:
    """One conditional density of the model, and the dimensions over which its value varies in this plan.

    above: of a count that labels of its steps tell of, the number that it is above. It is then given, or, where
    `asked`, what the probability is of.
    """

    node: str
    role: Role
    parents: tuple[str, ...]
    dims: NameSet = NOTHING
    above: str = ""
    asked: bool = False

    def __str__(self) -> str:
        return self._write(str, "|", self.above)

    def called(self, name: Callable[[str], str]) -> Factor:
        """Give the factor with other names."""
        return replace(self, node=name(self.node), parents=tuple(map(name, self.parents)))

    def latex(self) -> str:
        return self._write(symbol, r"\mid", self.above.replace("*", "^*"))

    def _write(self, name: Callable[[str], str], bar: str, above: str) -> str:
        letter = "p" if self.role == "generative" else "q"
        told = f"{name(self.node)} > {above}"
        given = [name(parent) for parent in self.parents] + ([told] if above and not self.asked else [])
        left = told if self.asked else name(self.node)
        return f"{letter}({left} {bar} {', '.join(given)})" if given else f"{letter}({left})"


@dataclass(frozen=True)
class Proposal:
    """A node that q proposes, how it hands on values, and over which dimensions these vary."""

    factor: Factor
    estimator: Estimator
    support: int
    dims: NameSet
    above_samples: bool = False  # whether what q reads varies over the samples

    @property
    def node(self) -> str:
        return self.factor.node


@dataclass(frozen=True)
class Weight:
    """A factor of the importance weight, and the proposals through which it varies (none: it is constant)."""

    factor: Factor
    carriers: tuple[str, ...]
    biased: bool = False  # it reads a relaxed or averaged value

    @property
    def varies(self) -> bool:
        return bool(self.carriers)

    @property
    def why(self) -> str:
        """What brings it: its node's label, or that of a step which the node counts."""
        return "labels of its steps" if self.factor.asked else "label"


@dataclass(frozen=True)
class Term:
    """A term of log p(c, l) − log r: its node and role, its dimensions, how it is computed, and why so.

    Roles: `generative` log p(v | ·), `recognition` −log q(v | ·), `kl` both of a node at once. Tags: `exact`,
    `enumerated` (a sum over a finite support), `sampled` (unbiased up to normalised weights), `biased`.
    """

    node: str
    role: str
    dims: NameSet
    tag: str
    why: str
    reads: tuple[str, ...] = ()  # the names whose values it depends on


@dataclass(frozen=True)
class Charge:
    """What a draw of a `score_function` node is charged with: what it can influence (Schulman et al. 2015).

    Its particles' own share of `terms` and of the labels' α terms; where the samples meet in Z or under a logarithm
    a sample is charged the whole bound, or the bound with it less the bound without.
    """

    node: str
    charged: int  # of all terms of the plan, as bits
    every: tuple[tuple[str, str], ...] = field(repr=False)  # node and role
    varied: int  # of all weights of the plan, those that vary with it, as bits
    weighing: tuple[str, ...] = field(repr=False)  # their nodes
    baseline: str

    @property
    def terms(self) -> tuple[tuple[str, str], ...]:
        """The node and role of each term that is charged."""
        return tuple(self.every[i] for i in members(self.charged))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labelled nodes whose factor varies with the draw."""
        return tuple(self.weighing[i] for i in members(self.varied))


def ingredients(roles: Iterable[tuple[str, str]], weights: Iterable[Weight], *, enumerated: bool) -> Ingredients:
    """Give what a bound is made of.

    roles: of each term, its node and role. enumerated: whether something is proposed and all of it is enumerated.
    """
    labels = (
        LabelScore(w.factor.node, w.carriers, any(d != SAMPLES for d in w.factor.dims), str(w.factor)) for w in weights
    )
    return Ingredients(tuple(Score(*role) for role in roles), tuple(labels), enumerated)


@dataclass(frozen=True)
class Plan:
    """The derivation for the rows of one observation pattern. `print(plan)` shows it; `plan.latex()` too."""

    observed: tuple[str, ...]  # O, in the order of the recognition graph
    clamped: tuple[str, ...]  # X and O
    proposals: tuple[Proposal, ...]  # L, in the order of the recognition graph
    weights: tuple[Weight, ...]  # one for each of O, and for each count that labels of its steps tell of
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
    warnings: tuple[str, ...]
    axes: Mapping[str, int] = field(hash=False)  # leading dimensions; enumerated nodes that never meet share one
    needed: frozenset[str]  # all that a factor of this plan reads, directly or not
    either: frozenset[str] = frozenset()  # enumerated nodes whose label some of the rows carry: see `derive`
    exists: Mapping[str, Steps] = field(default_factory=dict, hash=False)  # what the scores of a step are masked by
    paths: Paths | None = None  # of draws, where the gradient weighs these
    evidence: frozenset[str] = frozenset()  # proposed counts that labels of their steps tell of: see `existence`

    def with_warnings(self, warnings: Iterable[str]) -> Plan:
        return replace(self, warnings=tuple(warnings))

    @property
    def varies(self) -> bool:
        """Whether a factor of the weight varies over the particles."""
        return any(weight.varies for weight in self.weights)

    @cached_property
    def expression(self) -> Expression:
        """The bound as an expression over the factors of this plan."""
        every = bool(self.proposals) and len(self.enumerated) == len(self.proposals)
        given = ingredients(((t.node, t.role) for t in self.terms), self.weights, enumerated=every)
        return self.words.bound.expression(given, self.words)

    @property
    def normalised(self) -> bool:
        """Whether factors of the weight that vary are divided by their mean."""
        return self.words.bound.normalises(self.words)

    def proposal(self, node: str) -> Proposal:
        return self.proposed[node]

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
        q = self.proposed[node].factor if node in self.proposed else self.weighed[node].factor
        return q.dims | self.scored[node].dims if role == "kl" else q.dims

    def rows_text(self) -> str:
        """Say which rows this plan is for."""
        some = [node for node in self.order if node in self.either]
        if some:
            return f"rows with {' and '.join([*self.observed, 'some of ' + ', '.join(some)])} labelled"
        return f"rows with {' and '.join(self.observed)} labelled" if self.observed else "rows without labels"

    def __str__(self) -> str:
        return self.text()

    def text(self) -> str:
        """Write the plan as aligned lines: nodes, proposal, weight, joint, bound, terms, cost, warnings."""
        lines = [self.rows_text()]

        def row(label: str, text: str) -> None:
            lines.append(f"  {label:<10}{text}".rstrip())

        row("clamped", ", ".join(self.clamped) or "nothing")
        width = max([0, *(len(str(p.factor)) for p in self.proposals), *(len(str(w.factor)) for w in self.weights)])
        baselines = {charge.node: charge.baseline for charge in self.charges}
        for i, proposal in enumerate(self.proposals):
            values = f", {proposal.support} values" if proposal.estimator.enumerates else ""
            baseline = baselines.get(proposal.node, "")
            values += f", baseline {baseline}" if baseline else ""
            row("" if i else "proposed", f"{proposal.factor!s:<{width}}  {proposal.estimator}{values}")
        if not self.proposals:
            row("proposed", "nothing")
        row("r =", " ".join(str(p.factor) for p in self.proposals) or "1")
        for i, weight in enumerate(self.weights):
            row("" if i else "w =", f"{weight.factor!s:<{width}}  {self._weight_text(weight)}")
        if not self.weights:
            row("w =", "1")
        if self.joint:
            row("p =", " ".join(map(str, self.joint)))
        if self.exists:
            row("masked", masked_text(self.exists))
        for i, line in enumerate(self.bound_text()):
            row("" if i else "bound", line)
        if self.relaxed:
            verb = "is" if len(self.relaxed) == 1 else "are"
            row("", f"    not a bound: {' and '.join(self.relaxed)} {verb} relaxed or averaged, not drawn")
        noted: dict[str, list[str]] = {}
        for p in self.proposals:
            if p.estimator.gradient_note:
                noted.setdefault(p.estimator.gradient_note, []).append(p.node)
        for note, nodes in noted.items():
            row("", f"    its gradient is not a bound's: {' and '.join(nodes)}: {note}")
        shown = [(self.term_text(t), t.tag, t.why) for t in self.terms]
        shown += [(self.label_text(w), self.label_tag(w), w.why) for w in self.weights]
        wide = max([0, *(len(text) for text, _, _ in shown)])
        for i, (text, tag, why) in enumerate(shown):
            row("" if i else "terms", f"{text:<{wide}}  {tag}{f' ({why})' if why else ''}")
        for i, charge in enumerate(self.charges):
            row("" if i else "charged", self.charge_text(charge))
        row("cost", self.cost_text())
        lines += [f"  warning   {warning}" for warning in self.warnings]
        return "\n".join(lines)

    @property
    def relaxed(self) -> tuple[str, ...]:
        """The nodes whose value in the bound is no value that they can take."""
        return tuple(p.node for p in self.proposals if not p.estimator.attainable)

    def charges_whole(self, charge: Charge) -> bool:
        """Tell whether the draws of a node are charged with the whole bound."""
        bound = self.expression
        moved = bound.normalised and not bound.weights.labels.isdisjoint(charge.labels)
        return bound.couples or (moved and charge.charged.bit_count() == len(self.terms))

    def refuse_charging(self, charge: Charge) -> str:
        """Say why a node's estimator cannot be charged for in this plan; an empty string where it can."""
        proposal, bound = self.proposal(charge.node), self.expression
        estimator = proposal.estimator
        if estimator.one_q and proposal.above_samples:
            return "needs a q that is the same for all samples, and it reads what is drawn for each"
        others = [p.node for p in self.proposals if p.estimator.weighs_draws and p.node != charge.node]
        if estimator.weighs_draws and others:
            return f"counts samples unevenly, and {others[0]} does so as well: one node at most"
        if estimator.own_costs and (bound.couples or not bound.weights.labels.isdisjoint(charge.labels)):
            how = "under one logarithm" if bound.couples else "in the weights of labels"
            return f"needs each sample's costs by itself, and {how} the samples meet"
        return ""

    def charge_text(self, charge: Charge) -> str:
        """Say what the draws of a node are charged with."""
        factor = self.proposal(charge.node).factor
        if self.charges_whole(charge):
            return f"{factor}: the whole bound"
        texts = [self.term_text(self.terms[i]) for i in members(charge.charged)]
        labels = [self.label_text(self.weights[i]) for i in members(charge.varied)]
        return f"{factor}: {', '.join([*texts, *labels]) or 'nothing'}"

    def cost_text(self) -> str:
        if not self.enumerated:
            return f"{self.words.samples} particle{'s' if self.words.samples > 1 else ''} a row, nothing enumerated"
        drawn = [p for p in self.proposals if not p.estimator.enumerates and p.dims - {SAMPLES}]
        size = {p.node: p.support for p in self.proposals}
        below = [f"{p.node} is drawn {math.prod(size[d] for d in p.dims - {SAMPLES})} times a sample" for p in drawn]
        return "; ".join(
            [
                f"sums out {', '.join(self.elimination)}",
                f"largest intermediate {self.largest} numbers a row, {self.operations} touched in all",
                *below,
            ]
        )

    def _weight_text(self, weight: Weight) -> str:
        if weight.varies:
            return f"varies: reads {' and '.join(weight.carriers)}"
        return "constant: cancels in w/Z" if self.normalised else "constant"

    def label_text(self, weight: Weight) -> str:
        """Write the term of a label."""
        return f"log {weight.factor}"

    def label_tag(self, weight: Weight) -> str:
        """Tell how the term of a label is computed."""
        if weight.biased:
            return "biased"
        if SAMPLES in weight.factor.dims:
            return "sampled"
        return "enumerated" if weight.factor.dims else "exact"

    def term_text(self, term: Term) -> str:
        """Write one term as it stands inside the expectation."""
        return self.score_text(Score(term.node, term.role))

    def score_text(self, score: Score, *, latex: bool = False) -> str:
        """Write one term as text or LaTeX."""
        sign = "-" if score.role == "recognition" else ""
        if score.role != "kl":
            factor = self._factor(score.node, score.role)
            return rf"{sign}\log {factor.latex()}" if latex else f"{sign}log {factor}"
        q, p = (self._factor(score.node, role) for role in ("recognition", "generative"))
        return rf"-\mathrm{{KL}}\left({q.latex()} \,\|\, {p.latex()}\right)" if latex else f"-KL({q} || {p})"

    def _factor(self, node: str, role: str) -> Factor:
        if role == "recognition":
            return self.proposal(node).factor
        return self.scored[node]

    def bound_text(self) -> list[str]:
        """Write the bound that these rows add, a line for each part."""
        return self.bound_lines(PlanWriter(self))

    def latex(self) -> str:
        """Write the bound in LaTeX, with the proposal and the weight that it uses."""
        r = r" \, ".join(p.factor.latex() for p in self.proposals) or "1"
        w = r" \, ".join(weight.factor.latex() for weight in self.weights) or "1"
        lines = [rf"r &= {r}", rf"w &= {w}", *self.bound_lines(PlanWriter(self, latex=True))]
        return "\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}"

    def bound_lines(self, writer: Writer) -> list[str]:
        """Write the bound as a writer writes its factors."""
        return bound_lines(self.expression, self.words, writer, proposed=bool(self.proposals))


class PlanWriter(Writer):
    """Writes each factor of a plan by itself."""

    def __init__(self, plan: Plan, *, latex: bool = False) -> None:
        self.plan, self.latex = plan, latex

    def score(self, score: Score) -> str:
        """Write a term as it stands inside the expectation."""
        return self.plan.score_text(score, latex=self.latex)

    def label(self, label: LabelScore) -> str:
        """Write the factor of a label."""
        factor = self.plan.weighed[label.node].factor
        return factor.latex() if self.latex else str(factor)
