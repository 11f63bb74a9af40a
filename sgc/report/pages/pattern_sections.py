"""The derived objective of a page: for each pattern of labels what is proposed, the weight, the bound and its terms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sgc.derivation.factors import Factor
from sgc.derivation.plan import EachNode
from sgc.objectives.expressions import LabelScore, Log, Scale, Score
from sgc.report.pages.formula_mathml import LABEL, MINUS, BoundHtml, Factors, Target, around, broken, linked, math, sign
from sgc.report.pages.graph_svg import chip
from sgc.report.pages.html_document import escaped
from sgc.report.plated_plan import PlatedPlan, plan_of
from sgc.report.plates import Plated
from sgc.report.step_ranges import Around, at_steps

TAGS: Mapping[str, str] = {
    "exact": "known, or in closed form: no noise",
    "enumerated": "summed over all values: no noise from this choice",
    "sampled": "estimated from draws: unbiased up to normalised weights, with noise",
    "biased": "reads a relaxed or averaged value: its expectation is not the term's",
}


@dataclass(frozen=True)
class TermRow:
    """A term of a pattern: where it is told of, its formula with its sign, what it is scaled by, and why it is so."""

    target: Target
    log: Log
    negative: bool
    why: str


@dataclass(frozen=True, eq=False)
class Pattern:
    """A plan on the page. observed: its labels, by names of the file."""

    view: Plated
    observed: frozenset[str]
    writer: EachNode | PlatedPlan
    number: int

    @cached_property
    def rows(self) -> Sequence[TermRow]:
        """The terms, then the labels."""
        plan, flat, factors = self.writer.plan, self.writer.flat, Factors(self.view)
        rows: list[TermRow] = []
        for term in plan.terms:
            read: list[Factor] = [flat.scored[term.node]] if term.role != "recognition" else []
            read += [flat.proposed[term.node].factor] if term.role != "generative" else []
            target = Target(f"term-{self.number}-{len(rows)}", term.tag, factors.nodes(read))
            log = Score(term.node, term.role)
            rows.append(TermRow(target, log, term.role != "generative", self.writer.reason(term)))
        for weight in plan.weights:
            target = Target(f"term-{self.number}-{len(rows)}", weight.tag, factors.nodes([weight.factor]))
            rows.append(TermRow(target, LabelScore(weight.factor.node), False, weight.why))
        return rows

    @cached_property
    def _targets(self) -> Mapping[tuple[str, str], Target]:
        keys = ((row.log.node, row.log.role if isinstance(row.log, Score) else LABEL) for row in self.rows)
        return dict(zip(keys, (row.target for row in self.rows), strict=True))

    def target(self, node: str, role: str) -> Target | None:
        """Find the row of a term: of the step that stands for a node. role: as of a term, or `label`."""
        if isinstance(self.writer, PlatedPlan):
            node = self.writer.groups.of(node, label=role == LABEL).middle
        return self._targets.get((node, role))

    @cached_property
    def bound(self) -> BoundHtml:
        """What writes the bound."""
        return BoundHtml(self.view, self.writer, self.target)

    def pieces(self, row: TermRow) -> list[str]:
        """Write a term with its sign, in pieces."""
        pieces = self.bound.score(row.log) if isinstance(row.log, Score) else self.bound.log_label(row.log)
        return around(sign(MINUS, "prefix") if row.negative else "", pieces)

    def link(self, row: TermRow) -> str:
        """Write a term with its sign as a link to its row."""
        return linked(row.target, self.pieces(row))

    def html(self) -> str:
        """Write the section of the pattern."""
        writer, name = self.writer, f"rows-{self.number}"
        lines = "".join(f'<div class="line">{line}</div>' for line in self.bound.lines())
        notes = "".join(f'<p class="warning">{escaped(note)}</p>' for note in writer.no_bound())
        notes += "".join(f'<p class="warning">{escaped(warning)}</p>' for warning in writer.warnings())
        rows = "".join(self._row(row) for row in self.rows)
        head = "<tr><th>term</th><th>computed</th><th>reads</th></tr>"
        table = f'<div class="wide"><table class="terms"><thead>{head}</thead><tbody>{rows}</tbody></table></div>'
        latex = f'<details class="latex"><summary>LaTeX</summary><pre>{escaped(writer.equations())}</pre></details>'
        return (
            f'<section class="pattern" aria-labelledby="{name}"><h3 id="{name}">{escaped(writer.rows())}</h3>'
            f'<div class="bound">{lines}<p class="source">{escaped(writer.words.bound.source)}</p></div>{notes}'
            f'<div class="pattern-parts">{table if self.rows else ""}'
            f'<div><dl class="plan">{"".join(self._facts())}</dl>{latex}</div></div></section>'
        )

    def _facts(self) -> Iterator[str]:
        """Say what is clamped and proposed, and the factors of proposal, weight and joint."""
        writer, plan = self.writer, self.writer.plan
        yield _fact("clamped", "from the data", self._chips(writer.flat.clamped) or "nothing")
        proposed = [f"{self._product([p.factor])} {escaped(writer.how(p))}" for p in plan.proposals]
        yield _fact("proposed", "by q", "<br>".join(proposed) or "nothing")
        if plan.proposals:
            yield _fact("r", "the proposal", self._product([p.factor for p in plan.proposals]))
        if plan.weights:
            weights = (
                f"{self._product([w.factor], label=True)} "
                f'<span class="{"varies" if w.varies else "soft"}">{escaped(writer.varies(w))}</span>'
                for w in plan.weights
            )
            yield _fact("w", "the importance weight", "<br>".join(weights))
        if plan.joint:
            yield _fact("p", "the joint", self._product(plan.joint))
        if charged := writer.charges():
            yield _fact("charged", "to draws without a gradient", "<br>".join(map(escaped, charged)))
        yield _fact("cost", "", escaped(writer.cost()))

    def _product(self, items: Sequence[Factor], *, label: bool = False) -> str:
        ranged: list[tuple[Factor, Around]] = [(factor, ()) for factor in items]
        if isinstance(self.writer, PlatedPlan):
            ranged = self.writer.ranged(items, label=label)
        return broken(Factors(self.view).product(ranged))

    def _chips(self, flat: Sequence[str]) -> str:
        return " ".join(f"{chip(name)}{escaped(at)}" for name, at in at_steps(self.view, flat))

    def _row(self, row: TermRow) -> str:
        target = row.target
        scale = ""
        if isinstance(row.log, LabelScore):
            scale = self._scale(self.writer.plan.expression.scale_of(row.log.node))
        why = f' <span class="soft">{escaped(row.why)}</span>' if row.why else ""
        return (
            f'<tr id="{target.id}" class="{target.tag}" data-nodes="{escaped(" ".join(target.nodes))}">'
            f"<td>{scale}{broken(self.pieces(row))}</td><td>{badge(target.tag)}{why}</td>"
            f"<td>{' '.join(map(chip, target.nodes))}</td></tr>"
        )

    def _scale(self, scale: Scale) -> str:
        """Write what a label's term is multiplied by in the bound."""
        if scale == Scale(-1.0):
            return math(sign(MINUS, "prefix"))
        text = self.bound.scale(scale)
        return f"{math(text)} " if text else ""


def patterns_of(view: Plated, chosen: Sequence[frozenset[str]]) -> list[Pattern]:
    """Derive the plans of some patterns of labels, by names of the file."""
    return [Pattern(view, observed, plan_of(view, observed), i) for i, observed in enumerate(chosen)]


def badge(tag: str) -> str:
    """Write how a term is computed, in its colour."""
    return f'<span class="badge {tag}">{tag}</span>'


def tag_legend(patterns: Sequence[Pattern]) -> str:
    """Say what the tags mean, of those that the patterns have."""
    held = {row.target.tag for pattern in patterns for row in pattern.rows}
    rows = "".join(f"<li>{badge(tag)} {escaped(words)}</li>" for tag, words in TAGS.items() if tag in held)
    return f'<ul class="tag-legend">{rows}</ul>' if rows else ""


def _fact(term: str, words: str, content: str) -> str:
    more = f' <span class="soft">{words}</span>' if words else ""
    return f"<div><dt>{term}{more}</dt><dd>{content}</dd></div>"
