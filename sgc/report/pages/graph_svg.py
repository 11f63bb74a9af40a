"""Both graphs of a model as SVG within HTML, with the same places: nodes take the focus, colours come from CSS.

Every node is an element of class `node` whose `data-node` is its name in the file; every edge one of class `edge` with
`data-from` and `data-to`. `graph_style` gives the CSS: it takes the colours of the page around, of JupyterLab, VS Code
and Furo too, and else those of light or dark.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sgc.derivation.graph import ROLES, Role, Supervision
from sgc.report.pages.html_document import escaped, page_file
from sgc.report.plates import Plated, plated
from sgc.report.short_words import event_words, family_words
from sgc.spec.outline import Outline

if TYPE_CHECKING:
    from sgc.report.pictures.edge_routes import Points, Spot
    from sgc.report.pictures.node_places import Layout
    from sgc.report.pictures.plate_frames import Frame, Framed

TITLES: dict[Role, str] = {"generative": "generative p", "recognition": "recognition q"}
SUPERVISIONS: dict[Supervision, str] = {"full": "observed", "partial": "partially observed", "none": "latent"}
FEATURE, INPUT = "feature", "input"
KINDS: dict[str, str] = {
    **SUPERVISIONS,  # type: ignore[dict-item]  # its keys are strings
    FEATURE: "feature (deterministic)",
    INPUT: "input (not modelled)",
}
SCALE = 96.0  # CSS pixels an inch
EDGE = 0.12  # inches around a panel
LINE = 18.0  # pixels, the height of a line of a name
EVERY = 6  # of the points of a run, one of so many is kept: the curve through them is smooth


@dataclass(frozen=True)
class Canvas:
    """Where the inches of a layout, which grow upwards, lie in an SVG: pixels, which grow downwards."""

    low: tuple[float, float]
    high: tuple[float, float]

    @classmethod
    def of(cls, layout: Layout) -> Canvas:
        low, high = layout.low, layout.high
        return cls((low[0] - EDGE, low[1] - EDGE), (high[0] + EDGE, high[1] + EDGE))

    @property
    def width(self) -> float:
        return (self.high[0] - self.low[0]) * SCALE

    @property
    def height(self) -> float:
        return (self.high[1] - self.low[1]) * SCALE

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Give the pixels of a place."""
        return (x - self.low[0]) * SCALE, (self.high[1] - y) * SCALE

    def path(self, points: Points, *, closed: bool = False) -> str:
        """Write a line through points as the data of a path; `closed`: with its corners."""
        places = [self.at(float(x), float(y)) for x, y in points]
        if closed:
            return f"M{'L'.join(map(_pair, places))}Z"
        if len(places) < 3:
            return f"M{'L'.join(map(_pair, places))}"
        curve = [f"M{_pair(places[0])}"]
        for i in range(1, len(places) - 2):  # parabolas whose joints are the middles between the points
            (x, y), (after_x, after_y) = places[i], places[i + 1]
            curve.append(f"Q{_pair((x, y))} {_pair(((x + after_x) / 2, (y + after_y) / 2))}")
        return "".join([*curve, f"Q{_pair(places[-2])} {_pair(places[-1])}"])


def graph_panels(outline: Outline, *, links: Mapping[str, str] | None = None) -> str:
    """Write both graphs as figures beside each other, each with its title; on a narrow page below each other.

    links: for each node where a click leads, as an address; without them nodes are buttons, for a script to hear.
    """
    view = plated(outline)
    return layout_panels(view, framed_layout(view), links=links)


def layout_panels(view: Plated, framed: Framed, *, links: Mapping[str, str] | None = None) -> str:
    """Write both graphs of a layout as `graph_panels` does."""
    figures = [
        f'<figure class="panel {role}"><figcaption>{TITLES[role].partition(" ")[0]} '
        f"<i>{TITLES[role].partition(' ')[2]}</i></figcaption>"
        f'<div class="panel-scroll">{panel_svg(view, framed, role, links=links)}</div></figure>'
        for role in ROLES
    ]
    return f'<div class="sgc-graphs">{"".join(figures)}</div>'


def graph_style() -> str:
    """Give the style sheet of the graphs and their legend."""
    return page_file("graph.css")


def framed_layout(view: Plated) -> Framed:
    """Place the nodes of a model, which are the same in both panels."""
    from sgc.report.pictures.plate_frames import frame  # whose package wants numpy

    return frame(view)


def panel_svg(view: Plated, framed: Framed, role: Role, *, links: Mapping[str, str] | None = None) -> str:
    """Write one graph as an SVG that is as large as its layout."""
    canvas = Canvas.of(framed.layout)
    edges, steps = framed.layout.edges[role], framed.steps.get(role, {})
    used = {name for edge in (*edges, *steps) for name in edge}
    pieces = [_frame(canvas, frame) for frame in framed.frames]
    for edge, (run, step) in steps.items():
        pieces.append(edge_svg(canvas, *edge, run, "edge step") + _mark(canvas, run, step))
    pieces += [edge_svg(canvas, count, "", run, "edge count") for (count, _), run in framed.counts.items()]
    pieces += [edge_svg(canvas, *edge, run, "edge") for edge, run in edges.items()]
    for name, spot in framed.layout.spots.items():
        kind = kind_of(view.outline, name)
        words = f"{name} in {TITLES[role]}: {_words(view.outline, name, role)}"
        idle = "" if name in used or kind not in (FEATURE, INPUT) else " idle"
        pieces.append(node_svg(canvas, spot, name, f"node {kind}{idle}", words, (links or {}).get(name)))
    return svg(canvas, f"{TITLES[role]} graph", pieces)


def svg(canvas: Canvas, label: str, pieces: list[str]) -> str:
    """Write an SVG whose content takes the focus. label: what it shows."""
    wide, high = f"{canvas.width:.0f}", f"{canvas.height:.0f}"
    size = f'viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" style="--natural:{wide}px"'
    return f'<svg class="graph" {size} role="group" aria-label="{escaped(label)}">{"".join(pieces)}</svg>'


def kind_of(outline: Outline, name: str) -> str:
    """Say what a name of the file is: full, partial or none as it is supervised, a feature or an input."""
    if name in outline.variables:
        return outline.variables[name].supervision
    return FEATURE if name in outline.features else INPUT


def graph_legend(outline: Outline) -> str:
    """Write what the shapes of the nodes and edges mean, of those that the graphs of a model hold."""
    view = plated(outline)
    names = (*view.outline.variables, *view.outline.features, *view.outline.inputs)
    held = {kind_of(view.outline, name) for name in names}
    rows = [f"<li>{_sample(kind)} {escaped(words)}</li>" for kind, words in KINDS.items() if kind in held]
    if view.plates:
        rows.append(f"<li>{_SAMPLE_PLATE} repeat, with how often</li>")
        if any(link.shift for role in ROLES for link, _ in view.links(role)):
            rows.append(f"<li>{_SAMPLE_STEP} read from the step before (−1) or after (+1)</li>")
    return f'<ul class="graph-legend">{"".join(rows)}</ul>'


def node_svg(canvas: Canvas, spot: Spot, name: str, classes: str, words: str, link: str | None = None) -> str:
    """Write a node. words: what it is, for whoever does not see it; link: where a click leads."""
    x, y = canvas.at(spot.x, spot.y)
    shape = shape_svg(canvas, spot, half=" partial" in classes)
    top = y - (len(spot.lines) - 1) * LINE / 2
    text = "".join(
        f'<text x="{x:.1f}" y="{top + i * LINE:.1f}">{escaped(line)}</text>' for i, line in enumerate(spot.lines)
    )
    shared = f'class="{classes}" data-node="{escaped(name)}" aria-label="{escaped(words)}"'
    if link is not None:
        return f'<a {shared} href="{escaped(link)}">{shape}{text}</a>'
    return f'<g {shared} tabindex="0" role="button">{shape}{text}</g>'


def shape_svg(canvas: Canvas, spot: Spot, *, half: bool = False) -> str:
    """Write the outline of a node. half: with its left half apart, to be shaded."""
    x, y = canvas.at(spot.x, spot.y)
    across, up = spot.width * SCALE / 2, spot.height * SCALE / 2
    if spot.form == "box":
        place = f'x="{x - across:.1f}" y="{y - up:.1f}" width="{2 * across:.1f}" height="{2 * up:.1f}"'
        return f'<rect class="shape" {place}/>'
    shape = f'<ellipse class="shape" cx="{x:.1f}" cy="{y:.1f}" rx="{across:.1f}" ry="{up:.1f}"/>'
    if half:
        arc = f"A{across:.1f} {up:.1f} 0 0 0 {x:.1f} {y + up:.1f}"
        shape += f'<path class="half" d="M{x:.1f} {y - up:.1f}{arc}Z"/>'
    return shape


def edge_svg(canvas: Canvas, start: str, end: str, run: Points, classes: str) -> str:
    """Write an edge with its head."""
    import numpy as np

    from sgc.report.pictures.edge_routes import arrow

    _, head = arrow(run)
    line = np.concatenate([run[:: EVERY if not _straight(run) else max(1, len(run) - 1)], head[2:3]])
    line = line[np.linalg.norm(line - head[0], axis=1) >= np.linalg.norm(head[2] - head[0]) - 1e-9]
    ends = f'data-from="{escaped(start)}" data-to="{escaped(end)}"'
    return (
        f'<g class="{classes}" {ends}><path class="run" d="{canvas.path(line)}"/>'
        f'<path class="head" d="{canvas.path(head, closed=True)}"/></g>'
    )


def _straight(run: Points) -> bool:
    import numpy as np

    along = (run[-1] - run[0]) / max(float(np.linalg.norm(run[-1] - run[0])), 1e-9)
    away = (run - run[0]) @ np.array([-along[1], along[0]])
    return bool(abs(away).max() < 0.004)


def _pair(place: tuple[float, float]) -> str:
    return f"{place[0]:.1f} {place[1]:.1f}"


def _words(outline: Outline, name: str, role: Role) -> str:
    """Say what a node is, and what it reads in one graph."""
    parts = [KINDS[kind_of(outline, name)]]
    densities = outline.generative if role == "generative" else outline.recognition
    reads: tuple[str, ...] = ()
    if name in outline.variables:
        variable = outline.variables[name]
        parts += [family_words(variable), event_words(variable)]
        reads = densities[name].reads if name in densities else ()
    elif name in outline.features:
        reads = outline.features[name].parents
    return ", ".join(filter(None, parts)) + (f"; reads {', '.join(reads)}" if reads else "")


def _frame(canvas: Canvas, frame: Frame) -> str:
    """Write the frame of a repeat, with its name and count in the lower right corner."""
    spot = frame.spot
    x, y = canvas.at(spot.x - spot.width / 2, spot.y + spot.height / 2)
    wide, high = spot.width * SCALE, spot.height * SCALE
    return (
        f'<g class="plate" data-repeat="{escaped(frame.plate.name)}">'
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}" rx="12"/>'
        f'<text x="{x + wide - 10:.1f}" y="{y + high - 12:.1f}">{escaped(frame.text)}</text></g>'
    )


def _mark(canvas: Canvas, run: Points, step: int) -> str:
    """Write on an edge from which step it comes: −1 the one before."""
    x, y = canvas.at(*map(float, run[len(run) // 2]))
    return f'<text class="mark" x="{x:.1f}" y="{y:.1f}">{f"{step:+d}".replace("-", "−")}</text>'


def _sample(kind: str) -> str:
    """Draw the shape of a kind of node for the legend."""
    if kind in (FEATURE, INPUT):
        shape = '<rect class="shape" x="2" y="3" width="24" height="14"/>'
    else:
        half = '<path class="half" d="M14 2A11 8 0 0 0 14 18Z"/>' if kind == "partial" else ""
        shape = f'<ellipse class="shape" cx="14" cy="10" rx="11" ry="8"/>{half}'
    return f'<svg class="sample" width="28" height="20" aria-hidden="true"><g class="node {kind}">{shape}</g></svg>'


_SAMPLE_PLATE = (
    '<svg class="sample" width="28" height="20" aria-hidden="true"><g class="plate">'
    '<rect x="2" y="2" width="24" height="16" rx="4"/></g></svg>'
)
_SAMPLE_STEP = (
    '<svg class="sample" width="28" height="20" aria-hidden="true"><g class="edge step">'
    '<path class="run" d="M1 10H20"/><path class="head" d="M27 10L18 5.5L20 10L18 14.5Z"/></g></svg>'
)


def card_id(name: str) -> str:
    """Give the id of a node's card."""
    return f"node-{name}"


def chip(name: str, text: str = "") -> str:
    """Write the name of a node as a link to its card. text: as its reader writes it."""
    return f'<a class="chip" href="#{escaped(card_id(name))}" data-node="{escaped(name)}">{escaped(text or name)}</a>'


def node_names(outline: Outline) -> Iterator[str]:
    """Give the nodes, features and inputs as they are drawn, each once."""
    folded = plated(outline).outline
    yield from (*folded.variables, *folded.features, *folded.inputs)
