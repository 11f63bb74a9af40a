"""Pictures of a model: the generative and the recognition graph side by side, with every node at the same place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgc.derivation.graph import ROLES, Role, Supervision
from sgc.derivation.styled_letters import plain
from sgc.report.pictures.canvas import (
    COLORS,
    FAINT,
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
    rendered,
    save,
    sheet,
    write_lines,
    write_title,
)
from sgc.report.plates import plated
from sgc.report.printed_lines import fold
from sgc.report.products import product
from sgc.spec.outline import Outline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sgc.report.pictures.edge_routes import Points, Spot
    from sgc.report.pictures.plate_frames import Frame, Framed

TITLES: dict[Role, str] = {"generative": "generative  p", "recognition": "recognition  q"}
NARROWEST = 3.3  # a panel's width, for its title and its product
VARIABLES: dict[Supervision, tuple[Shape, str]] = {
    "full": (Shape("ellipse", "full"), "observed"),
    "partial": (Shape("ellipse", "half"), "partially observed"),
    "none": (Shape("ellipse"), "latent"),
}
FEATURE = Shape("rounded", stroke="dashed"), "feature (deterministic)"
INPUT = Shape("box"), "input (not modelled)"


def draw(outline: Outline, path: Path) -> None:
    """Draw both graphs into a file, in the format that its ending names: .svg, .png, .pdf or .dot.

    Raises: UsageError for another ending, or where matplotlib is missing; OSError where the file cannot be written.
    """

    def figure() -> Figure:
        return _figure(outline)

    save(path, lambda: dot_text(outline), figure)


def picture(outline: Outline, form: str) -> bytes:
    """Draw with matplotlib: svg, png or pdf. The same model gives the same bytes. Raises: UsageError."""
    return rendered(lambda: _figure(outline), form)


def _figure(outline: Outline) -> Figure:
    from sgc.report.pictures.plate_frames import frame

    view = plated(outline)
    framed = frame(view)
    layout = framed.layout
    width = max(layout.width, NARROWEST)
    products = {
        role: [*map(plain, fold(product(outline, role, styled=True), int(width / LETTER), "    "))] for role in ROLES
    }
    below = max(map(len, products.values())) * LINE
    rows = legend_rows(_legend(view.outline), 2 * width + GUTTER)
    legend_top = MARGIN + ROW * len(rows)
    bottom = legend_top + 0.1 + below + 0.35
    top = bottom + layout.height
    page_width = 2 * MARGIN + 2 * width + GUTTER
    figure, axes = sheet(page_width, top + 0.35 + 0.35 + MARGIN, outline.spec.name)
    axes.plot([page_width / 2] * 2, [bottom - 0.2 - below, top + 0.4], color="#dddddd", linewidth=0.8)
    for i, role in enumerate(ROLES):
        left = MARGIN + i * (width + GUTTER)
        write_title(axes, left + width / 2, top + 0.35, TITLES[role], COLORS[role])
        shift = left + (width - layout.width) / 2 - layout.low[0], bottom - layout.low[1]
        _draw_panel(axes, view.outline, framed, role, shift)
        write_lines(axes, left, bottom - 0.35, products[role], COLORS[role])
    draw_legend(axes, rows, page_width / 2, legend_top + 0.02)
    return figure


def _draw_panel(axes: Axes, outline: Outline, framed: Framed, role: Role, shift: tuple[float, float]) -> None:
    """Draw one graph. shift: where the origin of the layout lies in the figure, in inches."""
    import numpy as np

    edges, steps, color = framed.layout.edges[role], framed.steps.get(role, {}), COLORS[role]
    for framed_repeat in framed.frames:
        _draw_frame(axes, framed_repeat, shift, f"{role}-repeat-{framed_repeat.plate.name}")
    for (parent, child), (run, step) in steps.items():
        draw_edge(axes, run + np.array(shift), color, f"{role}-step-{parent}-{child}", dashed=True)
        _draw_mark(axes, run + np.array(shift), step, color)
    for (count, frame), run in framed.counts.items():
        draw_edge(axes, run + np.array(shift), FAINT, f"{role}-count-{count}-{frame[1:-1]}")
    for (parent, child), run in edges.items():
        draw_edge(axes, run + np.array(shift), color, f"{role}-edge-{parent}-{child}")
    for name, spot in framed.layout.spots.items():
        idle = name not in outline.variables and not any(name in edge for edge in (*edges, *steps))
        _draw_node(axes, _shape(outline, name, FAINT if idle else INK), spot, shift, f"{role}-node-{name}")


def _draw_node(axes: Axes, shape: Shape, spot: Spot, shift: tuple[float, float], name: str) -> None:
    from sgc.report.pictures.node_places import FONT
    from sgc.report.pictures.node_places import LINE as HIGH

    x, y = spot.x + shift[0], spot.y + shift[1]
    shape.draw(axes, (x, y), (spot.width, spot.height), name)
    for i, text in enumerate(spot.lines):
        middle = y + (0.5 * (len(spot.lines) - 1) - i) * HIGH
        axes.text(x, middle, text, fontsize=FONT, color=shape.color, va="center_baseline", ha="center", zorder=5)


def _draw_frame(axes: Axes, frame: Frame, shift: tuple[float, float], name: str) -> None:
    """Draw the frame of a repeat, with its name and count in the lower right corner."""
    from matplotlib.patches import FancyBboxPatch

    spot = frame.spot
    x, y = spot.x + shift[0], spot.y + shift[1]
    corner = (x - spot.width / 2, y - spot.height / 2)
    border: dict[str, Any] = {"edgecolor": FAINT, "linewidth": 1.2, "fill": False, "zorder": 0.5}  # Any: keywords
    style = "round,pad=0,rounding_size=0.12"
    axes.add_patch(FancyBboxPatch(corner, spot.width, spot.height, boxstyle=style, gid=name, **border))
    place = (x + spot.width / 2 - 0.1, corner[1] + 0.13)
    axes.text(*place, frame.text, fontsize=SMALL, color=INK, va="center", ha="right", zorder=5)


def _draw_mark(axes: Axes, run: Points, step: int, color: str) -> None:
    """Write on an edge from which step it comes: -1 the one before."""
    x, y = run[len(run) // 2]
    box: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}  # Any: keywords of matplotlib
    how: dict[str, Any] = {"fontsize": 7.0, "va": "center", "ha": "center", "zorder": 4, "bbox": box}  # Any: the same
    axes.text(float(x), float(y), f"{step:+d}".replace("-", "−"), color=color, **how)


def _shape(outline: Outline, name: str, color: str = INK) -> Shape:
    if name in outline.variables:
        return VARIABLES[outline.variables[name].supervision][0]
    return Shape("rounded", stroke="dashed", color=color) if name in outline.features else Shape("box", color=color)


def _legend(outline: Outline) -> list[Entry]:
    """List the kinds of nodes that the picture holds."""
    kinds = {variable.supervision for variable in outline.variables.values()}
    entries: list[Entry] = [entry for supervision, entry in VARIABLES.items() if supervision in kinds]
    return [*entries, *([FEATURE] if outline.features else []), *([INPUT] if outline.inputs else [])]


# ---- without matplotlib


def dot_text(outline: Outline) -> str:
    """Write both graphs as DOT, a cluster each, with the places of our own layout: `dot` or `neato -n2` draws it."""
    from sgc.report.pictures.plate_frames import frame

    view = plated(outline)
    framed, outline = frame(view), view.outline
    layout = framed.layout
    lines = [f"digraph {quoted(outline.spec.name)} {{", "  node [fontname=Helvetica, fontsize=11, fixedsize=false];"]
    for i, role in enumerate(ROLES):
        shift = i * (layout.width + GUTTER) - layout.low[0], -layout.low[1]
        color = COLORS[role]
        lines.append(f"  subgraph cluster_{role} {{")
        lines.append(f'    label={quoted(TITLES[role])}; color="{color}"; fontcolor="{color}"; fontname=Helvetica;')
        for name, spot in layout.spots.items():
            label, shape = quoted("".join(spot.lines)), _shape(outline, name).dot()
            lines.append(f"    {dot_node(f'{role}.{name}', label, shape, spot, shift)}")
        edges = [(edge, "") for edge in layout.edges[role]]
        for edge, (_, step) in framed.steps.get(role, {}).items():
            edges.append((edge, f', style=dashed, constraint=false, label="{step:+d}"'))
        for (parent, child), more in edges:
            ends = f"{quoted(f'{role}.{parent}')} -> {quoted(f'{role}.{child}')}"
            lines.append(f'    {ends} [color="{color}"{more}];')
        lines += [f"    {line}" for line in _dot_frames(framed, role)]
        lines.append("  }")
    return "\n".join([*lines, "}", ""])


def _dot_frames(framed: Framed, role: Role, within: str = "") -> Iterator[str]:
    """Write repeats as clusters in one another, each with its own nodes."""
    inner = [frame for frame in framed.frames if frame.plate.name.startswith(within)]
    names = [frame.plate.name for frame in inner]
    for frame in inner:
        own = f"{frame.plate.name}."
        if any(frame.plate.name.startswith(f"{name}.") for name in names):
            continue  # it is inside another one
        yield f"subgraph {quoted(f'cluster_{role}.{frame.plate.name}')} {{"
        yield f"  label={quoted(frame.text)}; style=rounded; labeljust=r; labelloc=b;"
        further = tuple(f"{name}." for name in names if name.startswith(own))
        inside = [name for name in framed.layout.spots if name.startswith(own) and not name.startswith(further)]
        yield f"  {' '.join(quoted(f'{role}.{name}') + ';' for name in inside)}"
        yield from (f"  {line}" for line in _dot_frames(framed, role, own))
        yield "}"
