"""Pictures of stochastic computation graphs: a panel for each pattern of labels, from clamped values to the bound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgc.derivation.computation import Computation, Kind, Step
from sgc.derivation.plan import EachNode
from sgc.derivation.styled_letters import plain
from sgc.report.computation_report import Expansion, left_out_words
from sgc.report.pictures.canvas import (
    COLORS,
    GUTTER,
    INK,
    LETTER,
    LINE,
    MARGIN,
    ROW,
    SMALL,
    Entry,
    Shape,
    dot_node,
    draw_edge,
    draw_legend,
    legend_rows,
    quoted,
    save,
    sheet,
    write_lines,
    write_title,
)
from sgc.report.pictures.computation_layout import ALL, HIGH, TEXT, lay_out_graph, legend_words
from sgc.report.printed_lines import fold

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sgc.report.pictures.edge_routes import Spot
    from sgc.report.pictures.node_places import Layout

BOTH = "#7d5ba6"  # what has parameters of both graphs: a KL divergence
CHARGE = "#c2185b"
TAGS = {"exact": "#2e7d32", "enumerated": "#00838f", "sampled": "#8a6100", "biased": "#c62828"}
ACROSS = 2  # panels beside each other
NARROWEST = 4.2  # a panel's width, for its bound

ORDER: tuple[Kind, ...] = ("input", "clamped", "feature", "draw", "score", "label", "weight", "bound")  # of the legend


def chart(expanded: Expansion, path: Path) -> None:
    """Draw the graphs into a file, in the format that its ending names. Raises: UsageError as `draw` does."""

    def figure() -> Figure:
        return _figure(expanded)

    save(path, lambda: dot_text(expanded), figure)


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


def _panels(expanded: Expansion) -> tuple[list[_Panel], float, float]:
    """Put the panels in rows from the top; return them with the width and height that they take."""
    panels: list[_Panel] = []
    for graph in expanded.graphs:
        layout = lay_out_graph(graph)
        width = max(layout.width, NARROWEST)
        lines = EachNode(graph.plan, styled=True).bound()
        bound = [plain(part) for line in lines for part in fold(line, int(width / LETTER), "        ")]
        panels.append(_Panel(graph, layout, width, tuple(bound)))
    columns = [max(panel.width for panel in panels[i::ACROSS]) for i in range(min(ACROSS, len(panels)))]
    rows = [panels[i : i + ACROSS] for i in range(0, len(panels), ACROSS)]
    heights = [max(panel.height for panel in row) for row in rows]
    total = sum(heights) + GUTTER * (len(rows) - 1)
    placed: list[_Panel] = []
    top = total
    for row, height in zip(rows, heights, strict=True):
        left = 0.0
        for panel, width in zip(row, columns, strict=False):
            bottom = top - 0.6 - panel.layout.height
            placed.append(replace(panel, left=left + (width - panel.width) / 2, bottom=bottom))
            left += width + GUTTER
        top -= height + GUTTER
    return placed, sum(columns) + GUTTER * (len(columns) - 1), total


def _figure(expanded: Expansion) -> Figure:
    panels, width, height = _panels(expanded)
    rows = legend_rows(_legend(expanded.graphs), width)
    foot = MARGIN + ROW * len(rows) + 0.25 + (0.3 if expanded.left_out else 0.0)
    page_width = 2 * MARGIN + width
    figure, axes = sheet(page_width, foot + height + 0.35 + MARGIN, expanded.outline.spec.name)
    for i, panel in enumerate(panels):
        _draw_panel(axes, replace(panel, left=panel.left + MARGIN, bottom=panel.bottom + foot), i)
    draw_legend(axes, rows, page_width / 2, foot - 0.25, CHARGE)
    if expanded.left_out:
        axes.text(page_width / 2, MARGIN, left_out_words(expanded), fontsize=SMALL, color=INK, va="center", ha="center")
    return figure


def _draw_panel(axes: Axes, panel: _Panel, number: int) -> None:
    import numpy as np

    graph, shift = panel.graph, np.array(panel.origin)
    write_title(axes, panel.left + panel.width / 2, panel.bottom + panel.layout.height + 0.3, graph.rows)
    for edge, run in panel.layout.edges[ALL].items():
        charged = edge in graph.charges
        name = f"{number}-{'charge' if charged else 'edge'}-{edge[0]}-{edge[1]}".replace(" ", "-")
        draw_edge(axes, run + shift, CHARGE if charged else _color(graph.step[edge[1]]), name, dashed=charged)
    for spot in panel.layout.spots.values():
        _draw_step(axes, graph.step[spot.name], spot, (spot.x + shift[0], spot.y + shift[1]), number)
    write_lines(axes, panel.left, panel.bottom - 0.3, panel.bound)


def _draw_step(axes: Axes, step: Step, spot: Spot, at: tuple[float, float], panel: int) -> None:
    _shape(step).draw(axes, at, (spot.width, spot.height), f"{panel}-node-{step.id}".replace(" ", "-"))
    for i, text in enumerate(spot.lines):
        middle = at[1] + (0.5 * (len(spot.lines) - 1) - i) * HIGH
        tagged = step.tag and i == len(spot.lines) - 1 and text.startswith(step.tag)
        color = TAGS[step.tag] if tagged else INK
        weight = "bold" if step.kind == "bound" else "normal"
        how: dict[str, Any] = {"fontsize": TEXT, "fontweight": weight, "va": "center_baseline"}  # Any: keywords
        axes.text(at[0], middle, text, color=color, ha="center", zorder=5, **how)


def _color(step: Step) -> str:
    """Give the colour of the graph whose parameters a step has."""
    if len(step.owners) == 2:
        return BOTH
    return COLORS[step.owners[0]] if step.owners else INK


def _shape(step: Step) -> Shape:
    """Choose an ellipse for a value, shaded where clamped, double where enumerated, dotted where biased; else a box."""
    color = _color(step)
    if step.kind == "clamped":
        return Shape("ellipse", "full", color=color)
    if step.proposal is not None:
        double = step.proposal.estimator.enumerates
        return Shape("ellipse", stroke="dotted" if step.biased else "solid", color=color, double=double)
    if step.kind in ("feature", "weight"):
        return Shape("rounded", stroke="dashed" if step.kind == "feature" else "solid", color=color)
    return Shape("box", color=color, thick=step.kind == "bound")


def _legend(graphs: Sequence[Computation]) -> list[Entry]:
    """List the kinds of steps that the picture holds, and the dashed edge of a charge."""
    shapes: dict[str, Shape] = {}
    steps = [step for graph in graphs for step in graph.steps]
    for step in sorted(steps, key=lambda step: ORDER.index(step.kind)):
        shapes.setdefault(legend_words(step), _shape(step))
    entries: list[Entry] = [(shape, words) for words, shape in shapes.items()]
    charged = any(graph.charges for graph in graphs)
    return [*entries, (None, "what a draw is charged with")] if charged else entries


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
    graph = panel.graph
    for name, spot in panel.layout.spots.items():
        label = r"\n".join(quoted(line)[1:-1] for line in spot.lines)
        words = f'{_shape(graph.step[name]).dot()}, color="{_color(graph.step[name])}"'
        yield dot_node(f"{number}.{name}", f'"{label}"', words, spot, panel.origin)
    edges = [(edge, f'color="{_color(graph.step[edge[1]])}"') for edge in graph.edges]
    edges += [(charge, f'style=dashed, constraint=false, color="{CHARGE}"') for charge in graph.charges]
    for (read, reader), words in edges:
        yield f"{quoted(f'{number}.{read}')} -> {quoted(f'{number}.{reader}')} [{words}];"
