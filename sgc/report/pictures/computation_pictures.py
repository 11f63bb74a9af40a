"""Pictures of stochastic computation graphs: a panel for each pattern of labels, from clamped values to the bound."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgc.derivation.computation import BOUND, Computation, Kind, Step
from sgc.derivation.plan import EachNode
from sgc.errors import UsageError, option
from sgc.report.computation_report import Expansion, expand_text, left_out_words
from sgc.report.pictures.canvas import (
    COLORS,
    GUTTER,
    INK,
    LARGE,
    LETTER,
    MARGIN,
    SHADE,
    SMALL,
    draw_edge,
    page,
    quoted,
    rendered,
    save,
)
from sgc.report.text_report import fold

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sgc.report.pictures.edge_routes import Spot
    from sgc.report.pictures.node_places import Layout

BOTH = "#7d5ba6"  # what has parameters of both graphs: a KL divergence
CHARGE = "#c2185b"
TAGS = {"exact": "#2e7d32", "enumerated": "#00838f", "sampled": "#8a6100", "biased": "#c62828"}
ALL = "all"  # the one set of edges
LARGEST = 150  # nodes of a graph that is drawn; a larger one takes minutes
ACROSS = 2  # panels beside each other
FOLDED = 26  # letters in a line of a score
NARROWEST = 4.2  # a panel's width, for its bound
LINE = 1.4 * SMALL / 72  # of text below a panel
TEXT = 9.5  # points, of what stands in a node
WIDE, HIGH = 0.58 * TEXT / 72, 1.3 * TEXT / 72  # upper bounds on its letters
DOUBLE = 0.045  # between the two lines of an enumerated draw

ORDER: tuple[Kind, ...] = ("input", "clamped", "feature", "draw", "score", "label", "weight", "bound")  # of the legend
KINDS: dict[Kind, str] = {
    "clamped": "clamped value",
    "input": "input",
    "feature": "feature (deterministic)",
    "weight": "what every term is weighed by",
    "bound": "the bound",
}


def chart(expanded: Expansion, path: Path) -> None:
    """Draw the graphs into a file, in the format that its ending names. Raises: UsageError as `draw` does."""

    def figure() -> Figure:
        return _figure(expanded)

    def whole_page() -> str:
        return page(expanded.outline.spec, rendered(figure, "svg"), expand_text(expanded))

    save(path, lambda: dot_text(expanded), whole_page, figure)


@dataclass(frozen=True)
class _Panel:
    """One graph laid out: its title and bound, and where the origin of the layout lies in the figure, in inches."""

    graph: Computation
    layout: Layout
    width: float
    bound: tuple[str, ...]
    left: float = 0.0
    bottom: float = 0.0  # of the layout

    @property
    def below(self) -> float:
        return 0.3 + len(self.bound) * LINE

    @property
    def height(self) -> float:
        return 0.6 + self.layout.height + self.below

    @property
    def origin(self) -> tuple[float, float]:
        middle = (self.width - self.layout.width) / 2
        return self.left + middle - self.layout.low[0], self.bottom - self.layout.low[1]


def lay_out_graph(graph: Computation) -> Layout:
    """Place the steps of a graph and route its edges, those of the charges too, which run the other way.

    Raises: UsageError where it is too large for a picture.
    """
    from sgc.report.pictures.node_places import lay_out

    if len(graph.steps) > LARGEST:
        size = f"a graph of {len(graph.steps)} nodes, and at most {LARGEST} are drawn"
        raise UsageError(f"{graph.rows}: {size}: leave -o out for text, or take {option('json')}")
    sizes = {step.id: _size(step) for step in graph.steps}
    return lay_out(graph.layers(), sizes, {ALL: [*graph.edges, *graph.charges]})


def lines_of(step: Step) -> tuple[str, ...]:
    """Write what stands in a node: its name and how it is drawn; or a score, folded, and how it is computed."""
    from sgc.report.pictures.node_places import fold_name

    if step.proposal is not None:
        return (*fold_name(step.id), step.how.split(", baseline")[0], *(["biased"] if step.biased else []))
    if step.kind in ("clamped", "input", "feature"):
        return fold_name(step.id)
    text = step.scaled.replace(" || ", "\n|| ") if len(step.scaled) > FOLDED else step.scaled
    tag = f"{step.tag}, {step.why}" if step.why == "where present" else step.tag
    return (*(part for line in text.split("\n") for part in fold(line, FOLDED)), *([tag] if tag else []))


def _size(step: Step) -> Any:  # Any: the sizes of `lay_out`, whose module needs numpy
    lines = lines_of(step)
    width, height = max(map(len, lines)) * WIDE, len(lines) * HIGH
    if step.kind not in ("draw", "clamped"):
        return "box", max(0.45, width + 0.2), max(0.4, height + 0.14), lines
    high = max(0.55, height * 1.45 + 0.15)
    inner = math.sqrt(1 - (height / high) ** 2)  # how wide an ellipse is at the height of its text
    return "ellipse", max(high, (width + 0.08) / inner), high, lines


def _panels(expanded: Expansion) -> tuple[list[_Panel], float, float]:
    """Put the panels in rows from the top; return them with the width and height that they take."""
    made: list[_Panel] = []
    for graph in expanded.graphs:
        layout = lay_out_graph(graph)
        width = max(layout.width, NARROWEST)
        bound = [part for line in EachNode(graph.plan).bound() for part in fold(line, int(width / LETTER), "        ")]
        made.append(_Panel(graph, layout, width, tuple(bound)))
    columns = [max(panel.width for panel in made[i::ACROSS]) for i in range(min(ACROSS, len(made)))]
    rows = [made[i : i + ACROSS] for i in range(0, len(made), ACROSS)]
    heights = [max(panel.height for panel in row) for row in rows]
    total = sum(heights) + GUTTER * (len(rows) - 1)
    found: list[_Panel] = []
    top = total
    for row, height in zip(rows, heights, strict=True):
        left = 0.0
        for panel, width in zip(row, columns, strict=False):
            bottom = top - 0.6 - panel.layout.height
            found.append(replace(panel, left=left + (width - panel.width) / 2, bottom=bottom))
            left += width + GUTTER
        top -= height + GUTTER
    return found, sum(columns) + GUTTER * (len(columns) - 1), total


def _figure(expanded: Expansion) -> Figure:
    import numpy as np
    from matplotlib.figure import Figure

    panels, width, height = _panels(expanded)
    entries = _legend_entries(expanded.graphs)
    rows = _legend_rows(entries, width)
    foot = MARGIN + 0.3 * len(rows) + 0.25 + (0.3 if expanded.left_out else 0.0)
    size = (2 * MARGIN + width, foot + height + 0.35 + MARGIN)
    figure = Figure(figsize=size, facecolor="white")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, size[0]), ylim=(0, size[1]))
    axes.axis("off")
    bold: dict[str, Any] = {"fontsize": LARGE, "fontweight": "bold", "va": "center", "ha": "center"}  # Any: keywords
    axes.text(size[0] / 2, size[1] - MARGIN, expanded.outline.spec.name, color=INK, **bold)
    for i, panel in enumerate(panels):
        panel = replace(panel, left=panel.left + MARGIN, bottom=panel.bottom + foot)
        shift = np.array(panel.origin)
        title = panel.bottom + panel.layout.height + 0.3
        axes.text(panel.left + panel.width / 2, title, panel.graph.rows, color=INK, **bold)
        for edge, run in panel.layout.edges[ALL].items():
            charged = edge in panel.graph.charges
            name = f"{i}-{'charge' if charged else 'edge'}-{edge[0]}-{edge[1]}".replace(" ", "-")
            color = CHARGE if charged else _color(panel.graph.step[edge[1]])
            draw_edge(axes, run + shift, color, name, dashed=charged)
        for spot in panel.layout.spots.values():
            _draw_step(axes, panel.graph.step[spot.name], spot, (spot.x + shift[0], spot.y + shift[1]), i)
        for j, text in enumerate(panel.bound):
            y = panel.bottom - 0.3 - j * LINE
            axes.text(panel.left, y, text, fontsize=SMALL, color=INK, va="center", ha="left")
    for j, row in enumerate(rows):
        _draw_legend(axes, row, size[0] / 2, foot - 0.25 - 0.3 * (j + 0.5))
    if expanded.left_out:
        axes.text(size[0] / 2, MARGIN, left_out_words(expanded), fontsize=SMALL, color=INK, va="center", ha="center")
    return figure


def _color(step: Step) -> str:
    """Give the colour of the graph whose parameters a step has."""
    if len(step.owners) == 2:
        return BOTH
    return COLORS[step.owners[0]] if step.owners else INK


def _draw_step(axes: Axes, step: Step, spot: Spot, at: tuple[float, float], panel: int) -> None:
    name = f"{panel}-node-{step.id}".replace(" ", "-")
    _draw_shape(axes, step, at, (spot.width, spot.height), name)
    for i, text in enumerate(spot.lines):
        middle = at[1] + (0.5 * (len(spot.lines) - 1) - i) * HIGH
        tagged = step.tag and i == len(spot.lines) - 1 and text.startswith(step.tag)
        color = TAGS[step.tag] if tagged else INK
        weight = "bold" if step.kind == "bound" else "normal"
        how: dict[str, Any] = {"fontsize": TEXT, "fontweight": weight, "va": "center_baseline"}  # Any: keywords
        axes.text(at[0], middle, text, color=color, ha="center", zorder=5, **how)


def _draw_shape(axes: Axes, step: Step, at: tuple[float, float], size: tuple[float, float], name: str | None) -> None:
    """Draw a value's shaded ellipse, a draw's, double where enumerated, dotted where biased; the others' boxes."""
    from matplotlib.patches import Ellipse, FancyBboxPatch, Rectangle

    (x, y), (width, height) = at, size
    style: Any = (0, (1, 1.2)) if step.kind == "draw" and step.biased else "solid"
    line = 2.2 if step.kind == "bound" else 1.2
    border: dict[str, Any] = {"edgecolor": _color(step), "linewidth": line, "linestyle": style}  # Any: keywords
    if step.kind in ("draw", "clamped"):
        face = SHADE if step.kind == "clamped" else "white"
        axes.add_patch(Ellipse(at, width, height, facecolor=face, zorder=3, gid=name, **border))
        if step.proposal is not None and step.proposal.estimator.enumerates:
            inner = width - 2 * DOUBLE, height - 2 * DOUBLE
            axes.add_patch(Ellipse(at, *inner, fill=False, zorder=3.5, **border))
        return
    corner = (x - width / 2, y - height / 2)
    if step.kind in ("feature", "weight"):
        border["linestyle"] = (0, (3, 1.5)) if step.kind == "feature" else "solid"
        rounding = f"round,pad=0,rounding_size={min(width, height) * 0.3:.3f}"
        box = FancyBboxPatch(corner, width, height, boxstyle=rounding, facecolor="white", zorder=3, gid=name, **border)
        axes.add_patch(box)
        return
    axes.add_patch(Rectangle(corner, width, height, facecolor="white", zorder=3, gid=name, **border))


def _legend_entries(graphs: Sequence[Computation]) -> list[tuple[Step | None, str]]:
    """List what the picture holds, a sample step and words; None: the dashed edge of a charge."""
    found: dict[str, Step | None] = {}
    steps = [step for graph in graphs for step in graph.steps]
    for step in sorted(steps, key=lambda step: ORDER.index(step.kind)):
        found.setdefault(_legend_words(step), step)
    if any(graph.charges for graph in graphs):
        found["what a draw is charged with"] = None
    return [(step, words) for words, step in found.items()]


def _legend_words(step: Step) -> str:
    if step.proposal is not None:
        tag = step.proposal.estimator.tag
        made = {"enumerated": "all values of q, enumerated", "biased": "draw or mean of q, biased"}
        return made.get(tag, "draw from q")
    if step.kind in ("score", "label"):
        if len(step.owners) == 2:
            return "KL divergence of q from p"
        return "score of q (parameters φ)" if "recognition" in step.owners else "score of p (parameters θ)"
    return KINDS[step.kind]


def _entry_width(entry: tuple[Step | None, str]) -> float:
    return 0.7 + len(entry[1]) * LETTER


def _legend_rows(entries: list[tuple[Step | None, str]], width: float) -> list[list[tuple[Step | None, str]]]:
    rows: list[list[tuple[Step | None, str]]] = [[]]
    for entry in entries:
        if rows[-1] and sum(map(_entry_width, [*rows[-1], entry])) > width:
            rows.append([])
        rows[-1].append(entry)
    return rows


def _draw_legend(axes: Axes, entries: list[tuple[Step | None, str]], middle: float, y: float) -> None:
    import numpy as np

    x = middle - sum(map(_entry_width, entries)) / 2
    for entry in entries:
        step, words = entry
        if step is None:
            draw_edge(axes, np.linspace([x, y], [x + 0.26, y], 20), CHARGE, "legend-charge", dashed=True)
        else:
            _draw_shape(axes, step, (x + 0.12, y), (0.22, 0.2), None)
        axes.text(x + 0.34, y, words, fontsize=SMALL, color=INK, va="center", ha="left")
        x += _entry_width(entry)


# ---- without matplotlib


def dot_text(expanded: Expansion) -> str:
    """Write the graphs as DOT, a cluster each, with the places of our own layout: `dot` or `neato -n2` draws it."""
    panels, _, _ = _panels(expanded)
    head = f"digraph {quoted(expanded.outline.spec.name)} {{"
    lines = [head, "  node [fontname=Helvetica, fontsize=9.5, fixedsize=false];"]
    for i, panel in enumerate(panels):
        lines.append(f"  subgraph cluster_{i} {{")
        lines.append(f"    label={quoted(panel.graph.rows)}; fontname=Helvetica;")
        lines += [f"    {line}" for line in _dot_panel(panel, i)]
        lines.append("  }")
    return "\n".join([*lines, "}", ""])


def _dot_panel(panel: _Panel, number: int) -> Iterator[str]:
    shift = panel.origin
    for name, spot in panel.layout.spots.items():
        step = panel.graph.step[name]
        place = f"{72 * (spot.x + shift[0]):.1f},{72 * (spot.y + shift[1]):.1f}"
        size = f"width={spot.width:.2f}, height={spot.height:.2f}"
        label = r"\n".join(quoted(line)[1:-1] for line in spot.lines)
        shown = f'label="{label}", {_dot_shape(step)}, color="{_color(step)}", {size}'
        yield f'{quoted(f"{number}.{name}")} [{shown}, pos="{place}!"];'
    for read, reader in panel.graph.edges:
        ends = f"{quoted(f'{number}.{read}')} -> {quoted(f'{number}.{reader}')}"
        yield f'{ends} [color="{_color(panel.graph.step[reader])}"];'
    for score, draw in panel.graph.charges:
        ends = f"{quoted(f'{number}.{score}')} -> {quoted(f'{number}.{draw}')}"
        yield f'{ends} [style=dashed, constraint=false, color="{CHARGE}"];'


def _dot_shape(step: Step) -> str:
    if step.kind == "clamped":
        return f'shape=ellipse, style=filled, fillcolor="{SHADE}"'
    if step.proposal is not None:
        double = ", peripheries=2" if step.proposal.estimator.enumerates else ""
        return f"shape=ellipse{double}" + (", style=dotted" if step.biased else "")
    if step.kind == "feature":
        return 'shape=box, style="rounded,dashed"'
    if step.kind == "weight":
        return "shape=box, style=rounded"
    return "shape=box, penwidth=2" if step.id == BOUND else "shape=box"
