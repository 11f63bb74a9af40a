"""The page of a model: both graphs, the derived objective of each pattern of labels, its nodes, its computation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sgc.derivation.graph import ROLES
from sgc.report.computation_report import expansion
from sgc.report.independence_notes import notes
from sgc.report.pages.computation_svg import QUICK, computation_html
from sgc.report.pages.formula_mathml import Factors, broken
from sgc.report.pages.graph_svg import (
    SCALE,
    card_id,
    framed_layout,
    graph_legend,
    graph_style,
    layout_panels,
    node_names,
)
from sgc.report.pages.html_document import document, escaped, page_file
from sgc.report.pages.node_cards import Cards
from sgc.report.pages.pattern_sections import Pattern, patterns_of, tag_legend
from sgc.report.pictures.computation_layout import LARGEST
from sgc.report.plates import Plated, plated
from sgc.report.repeat_report import part_rows, repeat_rows
from sgc.report.short_words import DERIVED, objective_rows, shared_networks
from sgc.report.shown_patterns import shown
from sgc.report.warning_notes import warnings
from sgc.spec.outline import Outline

LOW, NARROW = 340.0, 820.0  # pixels: graphs as low stay in view, beside graphs as narrow a card has room
SECTIONS = {
    "model": "Model",
    "objective": "Objective",
    "nodes": "Nodes",
    "details": "Details",
    "computation": "Computation",
}


def write_model_page(
    outline: Outline, path: Path, *, pattern: frozenset[str] | None = None, expanded: bool = False
) -> None:
    """Write the page of a model into a file. Raises: OSError where it cannot be written."""
    from sgc.data.outputs import write_output  # whose package wants numpy

    write_output(path, model_page(outline, pattern=pattern, expanded=expanded).encode())


def model_page(outline: Outline, *, pattern: frozenset[str] | None = None, expanded: bool = False) -> str:
    """Write the page of a model: one HTML file that asks nothing of a network.

    pattern: the one pattern of labels that is shown; else those that `inspect` shows. expanded: with the computation
    graphs unfolded, and drawn up to 150 steps.
    """
    view = plated(outline)
    chosen, left_out = shown(view.outline) if pattern is None else ([pattern], 0)
    patterns = patterns_of(view, chosen)
    spec = outline.spec
    body = f"""<header><h1>{escaped(spec.name)}</h1>
{f"<p>{escaped(spec.description)}</p>" if spec.description else ""}
<p class="soft">{_summary(outline, view)}</p>
<nav class="contents" aria-label="Contents">{_contents()}</nav></header>
<main id="main">
{_model(outline, view)}
<div class="follow">{_graphs(outline, view)}
{_objective(patterns, left_out)}</div>
<section aria-labelledby="nodes"><h2 id="nodes">Nodes</h2>
{Cards(view, patterns, dict(view.outline.parameter_table())).html()}</section>
{_details(outline, view)}
{_computation(outline, view, patterns, expanded=expanded)}
</main>
<footer><p>Written by <code>sgc inspect</code> from the spec alone: no data, no training. Siddharth et al. 2017,
<cite>Learning Disentangled Representations with Semi-Supervised Deep Generative Models</cite>.</p></footer>"""
    styles = [graph_style(), page_file("model.css")]
    return document(f"{spec.name}: the model", body, styles=styles, scripts=[page_file("model.js")])


def _summary(outline: Outline, view: Plated) -> str:
    nodes = len(view.outline.variables)
    own = f", and those of {' and '.join(outline.own_networks)}" if outline.own_networks else ""
    bound = outline.spec.maximised
    count = f"{nodes} random variable{'s' if nodes != 1 else ''} · {outline.parameter_count():,} parameters{own}"
    return escaped(f"{count} · bound {bound.name}: {bound.source}")


def _contents() -> str:
    return "".join(f'<a href="#{name}">{title}</a>' for name, title in SECTIONS.items())


def _model(outline: Outline, view: Plated) -> str:
    """Write p and q as products."""
    factors = Factors(view)
    products = "".join(f'<div class="product {role}">{broken(factors.joint(role))}</div>' for role in ROLES)
    derived = f'<p class="soft">Parents of q: {escaped(DERIVED)}.</p>' if outline.spec.derived else ""
    return f"""<section aria-labelledby="model"><h2 id="model">Model</h2>
<p>Two graphs over the same variables, each at the same place in both: <b class="generative">p</b> generates the data,
<b class="recognition">q</b> infers what was not observed.</p>
<div class="products">{products}</div>{derived}</section>"""


def _graphs(outline: Outline, view: Plated) -> str:
    """Write both graphs, what their marks mean, and the place where a card opens."""
    framed = framed_layout(view)
    panels = layout_panels(view, framed, links={name: f"#{card_id(name)}" for name in node_names(outline)})
    high, wide = framed.layout.height * SCALE, framed.layout.width * SCALE * 2
    way = "stacked" if wide > NARROW else "low" if high <= LOW else "beside"
    return f"""<div class="overview {way}">{panels}
<div class="side"><div id="guide">{graph_legend(outline)}
<p class="soft screen-only">Point at a node, tap it or Tab to it: its densities, parents and parameters, and the terms
of the objective that it enters. Point at a term: the nodes that it reads. <span class="keyed"><kbd>Enter</kbd> goes
into the card, <kbd>Esc</kbd> closes it.</span></p></div>
<aside id="card" aria-label="The chosen node" tabindex="-1" hidden></aside></div></div>"""


def _objective(patterns: list[Pattern], left_out: int) -> str:
    more = ""
    if left_out:
        count = "one" if left_out == 1 else str(left_out)
        more = f"<p>And {count} more patterns of labels, derived in the same way.</p>"
    jumps = ""
    if len(patterns) > 1:
        jumps = "".join(f'<a href="#rows-{p.number}">{escaped(p.writer.rows())}</a>' for p in patterns)
        jumps = f'<nav class="contents" aria-label="Patterns of labels">{jumps}</nav>'
    return f"""<section aria-labelledby="objective"><h2 id="objective">Derived objective</h2>
<p>For the rows of each pattern of labels, <code>sgc</code> takes what is observed as given, proposes the rest from q,
weighs the proposals by what q says of the labels, and maximises the bound ℒ, in nats. All of it follows from the two
graphs; each term says how it is computed:</p>{tag_legend(patterns)}{jumps}
{"".join(pattern.html() for pattern in patterns)}{more}</section>"""


def _details(outline: Outline, view: Plated) -> str:
    blocks = [("The loss", _list(objective_rows(view.outline)))]
    if view.plates:
        blocks.append(("Repeats", _list(repeat_rows(view))))
    if view.names.unrolled.parts:
        blocks.append(("Parts", _list(part_rows(view))))
    shared = shared_networks(view.outline)
    if shared:
        used = {name: f"used by {', '.join(facts['used_by']) or 'nothing'}" for name, facts in shared.items()}
        blocks.append(
            ("Shared networks", _list([(name, shared[name]["network"], words) for name, words in used.items()]))
        )
    blocks.append(("Parameters", _parameters(outline, view)))
    warned, noted = warnings(outline), notes(outline)
    blocks.append(("Warnings", _sentences(warned, "warning") if warned else "<p>No warnings.</p>"))
    if noted:
        blocks.append(("Notes", _sentences(noted, "note")))
    content = "".join(f"<h3>{title}</h3>{block}" for title, block in blocks)
    return f'<section aria-labelledby="details"><h2 id="details">Details</h2>{content}</section>'


def _list(rows: Sequence[tuple[str, ...]]) -> str:
    cells = (
        f"<div><dt>{escaped(first)}</dt><dd>{'; '.join(escaped(cell) for cell in rest if cell)}</dd></div>"
        for first, *rest in rows
    )
    return f'<dl class="plan">{"".join(cells)}</dl>'


def _parameters(outline: Outline, view: Plated) -> str:
    rows = [(part, f"{count:,}") for part, count in view.outline.parameter_table()]
    rows.append(("total", f"{outline.parameter_count():,}"))
    rows += [(f"and those of {path}", "not known") for path in outline.own_networks]
    cells = "".join(f'<tr><th>{escaped(part)}</th><td class="number">{count}</td></tr>' for part, count in rows)
    return f"<table><tbody>{cells}</tbody></table>"


def _sentences(texts: list[str], kind: str) -> str:
    return "".join(f'<p class="{kind}">{escaped(text)}</p>' for text in texts)


def _computation(outline: Outline, view: Plated, patterns: list[Pattern], *, expanded: bool) -> str:
    """Write the computation graph of each pattern, folded unless it was asked for."""
    graphs = (expansion(outline, pattern.observed).graphs[0] for pattern in patterns)
    largest = LARGEST if expanded else QUICK
    content = "".join(
        computation_html(view, pattern, graph, largest=largest) for pattern, graph in zip(patterns, graphs, strict=True)
    )
    return f"""<section aria-labelledby="computation"><h2 id="computation">Computation</h2>
<details id="expand"{" open" if expanded else ""}><summary>Stochastic computation graphs: what is drawn, what is scored,
what reads what</summary>
<p>As in Schulman et al. 2015: every value, draw and score of a row, down to the bound. Outlines say whose parameters a
step has: those of p, of q, or of both.</p>{content}</details></section>"""
