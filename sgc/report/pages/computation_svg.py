"""The stochastic computation graphs of a page: each pattern's plan as an SVG, or as a table where it is large."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sgc.derivation.computation import BOUND, Computation, Step
from sgc.derivation.styled_letters import plain
from sgc.report.computation_report import VALUES, charged_text
from sgc.report.pages.formula_mathml import LABEL
from sgc.report.pages.graph_svg import Canvas, card_id, edge_svg, shape_svg, svg
from sgc.report.pages.html_document import escaped
from sgc.report.pages.pattern_sections import Pattern, badge
from sgc.report.pictures.computation_layout import ALL, HIGH, LARGEST, lay_out_graph, legend_words
from sgc.report.plates import Plated

QUICK = 30  # steps of a graph whose layout takes less than a second
LISTED = 400  # steps of a graph that is listed
LINE = HIGH * 96


def computation_html(view: Plated, pattern: Pattern, graph: Computation, *, largest: int = QUICK) -> str:
    """Write one graph below its title. largest: how many steps are drawn, at most 150; more are listed."""
    count = len(graph.steps)
    title = f"<h3>{escaped(graph.rows)}</h3>"
    if count <= min(largest, LARGEST):
        return f"{title}<div class='panel-scroll'>{_drawn(view, pattern, graph)}</div>{_legend(graph)}"
    if count > LISTED:
        return f"{title}<p>{count} steps: <code>sgc inspect SPEC --expand</code> lists them.</p>"
    return f"{title}{_table(graph)}"


def links_of(view: Plated, pattern: Pattern, graph: Computation) -> Mapping[str, str]:
    """Say where a step is told of: a value in the card of its node, a score or label in its row of the pattern."""
    links = {step.id: f"#{card_id(view.names.of(step.id))}" for step in graph.steps if step.kind in VALUES}
    terms = [(term.node, term.role) for term in graph.plan.terms]
    labels = [(weight.factor.node, LABEL) for weight in graph.plan.weights]
    for kind, keys in (("score", terms), ("label", labels)):
        steps = [step for step in graph.steps if step.kind == kind]
        targets = ((step, pattern.target(*key)) for step, key in zip(steps, keys, strict=True))
        links |= {step.id: f"#{target.id}" for step, target in targets if target is not None}
    return links


def _drawn(view: Plated, pattern: Pattern, graph: Computation) -> str:
    layout = lay_out_graph(graph)
    canvas = Canvas.of(layout)
    links = links_of(view, pattern, graph)
    pieces = []
    for edge, run in layout.edges[ALL].items():
        charged = edge in graph.charges
        owners = " charge" if charged else f" {_owner(graph.step[edge[1]])}"
        pieces.append(edge_svg(canvas, *edge, run, f"edge{owners}"))
    for spot in layout.spots.values():
        step = graph.step[spot.name]
        x, y = canvas.at(spot.x, spot.y)
        top = y - (len(spot.lines) - 1) * LINE / 2
        texts = []
        for i, line in enumerate(spot.lines):
            tagged = step.tag and i == len(spot.lines) - 1 and line.startswith(step.tag)
            kind = f' class="tag {step.tag}"' if tagged else ""
            texts.append(f'<text{kind} x="{x:.1f}" y="{top + i * LINE:.1f}">{escaped(line)}</text>')
        inside = shape_svg(canvas, spot) + "".join(texts)
        named = f' data-node="{escaped(view.names.of(step.id))}"' if step.kind in VALUES else ""
        shared = f'class="node step {step.kind} {_owner(step)}{_style(step)}"{named}'
        words = escaped(f"{step.text}: {legend_words(step)}" if step.kind != "bound" else "the bound")
        if step.id in links:
            pieces.append(f'<a {shared} href="{escaped(links[step.id])}" aria-label="{words}">{inside}</a>')
        else:
            pieces.append(f'<g {shared} role="img" aria-label="{words}">{inside}</g>')
    return svg(canvas, f"stochastic computation graph, {graph.rows}", pieces)


def _owner(step: Step) -> str:
    return "both" if len(step.owners) == 2 else step.owners[0] if step.owners else "nobody"


def _style(step: Step) -> str:
    if step.proposal is None:
        return ""
    return (" enumerates" if step.proposal.estimator.enumerates else "") + (" biased" if step.biased else "")


def _legend(graph: Computation) -> str:
    """Say what the shapes mean, of those that the graph holds."""
    words: dict[str, str] = {}
    for step in graph.steps:
        words.setdefault(legend_words(step), f"node step {step.kind} {_owner(step)}{_style(step)}")
    shapes = []
    for text, classes in words.items():
        round_ = any(f" {kind} " in f"{classes} " for kind in ("draw", "clamped"))
        shape = (
            '<ellipse class="shape" cx="14" cy="10" rx="11" ry="8"/>'
            if round_
            else '<rect class="shape" x="2" y="3" width="24" height="14"/>'
        )
        sample = f'<svg class="sample" width="28" height="20" aria-hidden="true"><g class="{classes}">{shape}</g></svg>'
        shapes.append(f"<li>{sample} {escaped(text)}</li>")
    if graph.charges:
        shapes.append('<li><svg class="sample" width="28" height="20" aria-hidden="true"><g class="edge charge">')
        shapes[-1] += '<path class="run" d="M1 10H26"/></g></svg> what a draw is charged with</li>'
    return f'<ul class="graph-legend">{"".join(shapes)}</ul>'


def _table(graph: Computation) -> str:
    rows = "".join(_rows(graph))
    head = "<tr><th>kind</th><th>step</th><th>reads</th><th>how</th></tr>"
    table = f'<table class="steps"><thead>{head}</thead><tbody>{rows}</tbody></table>'
    return f'<div class="wide" tabindex="0" role="region" aria-label="{escaped(f"steps, {graph.rows}")}">{table}</div>'


def _rows(graph: Computation) -> Iterator[str]:
    for step in graph.steps:
        if step.id == BOUND:
            continue
        how = escaped(step.how) if step.kind == "draw" else badge(step.tag) if step.tag else ""
        charged = charged_text(graph, step)
        how += f" charged with {escaped(plain(charged))}" if charged else ""
        reads = ", ".join(read if graph.step[read].kind in VALUES else graph.step[read].text for read in step.reads)
        cells = (step.kind, plain(step.scaled), reads)
        yield f"<tr>{''.join(f'<td>{escaped(cell)}</td>' for cell in cells)}<td>{how}</td></tr>"
