"""The cards of a page, one for each node, feature and input: densities, parents, parameters, terms that it enters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

from sgc.derivation.factors import Factor
from sgc.derivation.graph import ROLES, Role
from sgc.networks.layer import shape_text
from sgc.report.pages.formula_mathml import Factors, broken
from sgc.report.pages.graph_svg import KINDS, card_id, chip, kind_of, node_names
from sgc.report.pages.html_document import escaped
from sgc.report.pages.pattern_sections import Pattern
from sgc.report.plates import Plated
from sgc.report.short_words import (
    combination_words,
    constant_words,
    entering_words,
    estimator_words,
    event_words,
    expert_words,
    family_words,
    network_words,
)
from sgc.spec.outline import Density, Variable

Facts = list[tuple[str, str]]  # words, and HTML


@dataclass(frozen=True)
class Cards:
    """Writes the cards of a model."""

    view: Plated
    patterns: Sequence[Pattern]
    counts: Mapping[str, int] = field(default_factory=dict)  # parameters, as `parameter_table` lists them

    def html(self) -> str:
        """Write all cards, in the order of the file."""
        return f'<div class="cards">{"".join(map(self.card, node_names(self.view.flat)))}</div>'

    def card(self, name: str) -> str:
        """Write the card of a name."""
        outline, kind = self.view.outline, kind_of(self.view.outline, name)
        blocks = "".join(self._blocks(name))
        about = ""
        if name in outline.variables:
            about = _about(outline.variables[name])
        elif name in outline.inputs:
            entry = outline.inputs[name]
            named = f": {', '.join(map(str, entry.values))}" if entry.values else ""
            about = f"{entry.categories} categories{named}" if entry.categories else shape_text(entry.shape)
        return (
            f'<article class="card" id="{card_id(name)}" data-card="{escaped(name)}" tabindex="-1">'
            f'<h3>{escaped(name)} <span class="kind">{escaped(KINDS[kind])}</span></h3>'
            f"{f'<p>{escaped(about)}</p>' if about else ''}{blocks}</article>"
        )

    def _blocks(self, name: str) -> Iterator[str]:
        outline = self.view.outline
        if name in outline.variables:
            for role in ROLES:
                densities = outline.generative if role == "generative" else outline.recognition
                if name in densities:
                    yield self._density(densities[name], role, outline.variables[name])
        elif name in outline.features:
            feature = outline.features[name]
            facts = [("network", escaped(network_words(feature.entries, feature.trunk)))]
            facts += _maybe("", entering_words(feature.parents, feature.stack))
            facts += [("gives", escaped(shape_text(feature.stack.output) or "a number"))]
            facts += self._counted(name, feature.parameters)
            yield f"{_facts([('parents', self._parents(name)), *facts])}"
        yield _facts(self._read_by(name)) + self._terms(name)

    def _density(self, density: Density, role: Role, variable: Variable) -> str:
        step = self.view.names.middle(density.node)
        flat = self.view.flat.generative if role == "generative" else self.view.flat.recognition
        formula = broken(Factors(self.view).factor(Factor(step, role, flat[step].reads)))
        facts: Facts = [("parents", self._parents(density.node, role))]
        if density.experts is not None:
            facts.append(("experts", escaped(combination_words(density.experts))))
            named = zip(density.experts.members, density.of_experts, strict=True)
            facts += [("", escaped(expert_words(member, part))) for member, part in named]
        if density.entries:
            facts.append(("network", escaped(network_words(density.entries, density.trunk))))
        facts += _maybe("enters as", entering_words(density.parents, density.stack))
        gives = ", ".join(f"{head} {shape_text(shape) or 'a number'}" for head, shape in density.heads.items())
        facts += _maybe("gives", gives) + _maybe("fixed", constant_words(density.constants))
        if role == "recognition":
            facts += _maybe("estimator", estimator_words(variable.estimator))
        letter = "p" if role == "generative" else "q"
        facts += self._counted(f"{letter}({density.node})", density.parameters)
        return f'<div class="density {role}"><p class="formula">{formula}</p>{_facts(facts)}</div>'

    def _counted(self, part: str, otherwise: int) -> Facts:
        count = self.counts.get(part, otherwise)
        return [("parameters", f"{count:,}")] if count else [("parameters", "none")]

    def _parents(self, name: str, role: Role = "generative") -> str:
        """List what a name reads, as links to its cards."""
        names, flat = self.view.names, self.view.flat
        step = names.middle(name)
        if name in self.view.outline.features:
            parents: Sequence[str] = flat.features[step].parents
        else:
            parents = (flat.generative if role == "generative" else flat.recognition)[step].reads
        reads = names.relatives(step, parents)
        return " ".join(chip(read.name, names.written(name, read)) for read in reads) or "none"

    @cached_property
    def _used(self) -> Mapping[Role, frozenset[str]]:
        """The nodes of each graph, and the features that these read, directly or not."""
        outline, used = self.view.outline, {}
        for role in ROLES:
            names = set(outline.generative if role == "generative" else outline.recognition)
            links, before = self.view.links(role), 0
            while before < len(names):
                before = len(names)
                names |= {source.name for source, child in links if child in names and source.name in outline.features}
            used[role] = frozenset(names)
        return used

    def _read_by(self, name: str) -> Facts:
        """List who reads a name in each graph."""
        facts: Facts = []
        for role in ROLES:
            used = self._used[role]
            readers = [child for source, child in self.view.links(role) if source.name == name and child in used]
            readers = [child for child in dict.fromkeys(readers) if child != name]
            letter = "p" if role == "generative" else "q"
            if readers:
                facts.append((f"read in {letter} by", " ".join(map(chip, readers))))
        return facts

    def _terms(self, name: str) -> str:
        """List the terms that a name enters, by pattern."""
        rows: list[str] = []
        for pattern in self.patterns:
            links = [pattern.link(row) for row in pattern.rows if name in row.target.nodes]
            if links:
                rows.append(f"<dt>{escaped(pattern.writer.rows())}</dt><dd>{' '.join(links)}</dd>")
        return f'<h4>enters the terms</h4><dl class="enters">{"".join(rows)}</dl>' if rows else ""


def _about(variable: Variable) -> str:
    parts = [family_words(variable), event_words(variable)]
    elements = prod(variable.event)
    parts += [f"{elements:,} numbers a row"] if elements > 1 and len(variable.event) > 1 else []
    parts += ["rows dropped where missing"] if variable.dropped else []
    return ", ".join(filter(None, parts))


def _maybe(word: str, text: str) -> Facts:
    return [(word, escaped(text))] if text else []


def _facts(facts: Facts) -> str:
    rows = "".join(f"<div><dt>{word}</dt><dd>{content}</dd></div>" for word, content in facts)
    return f'<dl class="facts">{rows}</dl>' if rows else ""
