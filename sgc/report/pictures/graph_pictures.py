"""Pictures of a model: the generative and the recognition graph side by side, with every node at the same place."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgc.derivation.graph import ROLES, Role, Supervision
from sgc.report.pictures.canvas import (
    COLORS,
    FAINT,
    GUTTER,
    INK,
    LARGE,
    LETTER,
    MARGIN,
    SHADE,
    SMALL,
    draw_edge,
    draw_frame,
    draw_mark,
    page,
    quoted,
    rendered,
    save,
)
from sgc.report.plates import plated
from sgc.report.products import product
from sgc.report.text_report import fold, inspect_text
from sgc.spec.outline import Outline

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sgc.report.pictures.edge_routes import Spot
    from sgc.report.pictures.plate_frames import Framed

LETTERS: dict[Role, str] = {"generative": "p", "recognition": "q"}
NARROWEST = 3.3  # a panel's width, for its title and its product
SHADES: dict[Supervision, str] = {"full": "observed", "partial": "partially observed", "none": "latent"}


def draw(outline: Outline, path: Path) -> None:
    """Draw both graphs into a file, in the format that its ending names: .svg, .png, .pdf, .dot or .html.

    Raises: UsageError for another ending, or where matplotlib is missing; OSError where the file cannot be written.
    """
    save(path, lambda: dot_text(outline), lambda: page_text(outline), lambda: _figure(outline))


def picture(outline: Outline, form: str) -> bytes:
    """Draw with matplotlib: svg, png or pdf. The same model gives the same bytes. Raises: UsageError."""
    return rendered(lambda: _figure(outline), form)


@dataclass(frozen=True)
class _Panel:
    """One panel: the graph, and where the origin of the layout lies in the figure, in inches."""

    role: Role
    left: float
    width: float
    x: float
    y: float


def _figure(outline: Outline) -> Figure:
    import numpy as np
    from matplotlib.figure import Figure

    from sgc.report.pictures.plate_frames import frame

    whole, view = outline, plated(outline)
    framed, outline = frame(view), view.outline
    layout = framed.layout
    width = max(layout.width, NARROWEST)
    products = [fold(product(whole, role), int(width / LETTER), "    ") for role in ROLES]
    line = 1.4 * SMALL / 72
    below = max(map(len, products)) * line
    legend = _legend_entries(outline)
    rows = _legend_rows(legend, 2 * width + GUTTER)
    legend_height = 0.3 * len(rows) + 0.1
    bottom = MARGIN + legend_height + below + 0.35
    top = bottom + layout.height
    size = (2 * MARGIN + 2 * width + GUTTER, top + 0.35 + 0.35 + MARGIN)
    figure = Figure(figsize=size, facecolor="white")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, size[0]), ylim=(0, size[1]))
    axes.axis("off")
    bold: dict[str, Any] = {"fontsize": LARGE, "fontweight": "bold", "va": "center", "ha": "center"}  # Any: keywords
    axes.text(size[0] / 2, size[1] - MARGIN, outline.spec.name, color=INK, **bold)
    axes.plot([size[0] / 2] * 2, [bottom - 0.2 - below, top + 0.4], color="#dddddd", linewidth=0.8)
    for i, role in enumerate(ROLES):
        left = MARGIN + i * (width + GUTTER)
        shift = left + (width - layout.width) / 2 - layout.low[0]
        panel = _Panel(role, left, width, shift, bottom - layout.low[1])
        axes.text(left + width / 2, top + 0.35, f"{role}  {LETTERS[role]}", color=COLORS[role], **bold)
        middle = (panel.x, panel.y)
        for each in framed.frames:
            draw_frame(axes, each.spot, middle, each.text, f"{role}-repeat-{each.plate.name}")
        for edge, (run, step) in framed.steps.get(role, {}).items():
            name = f"{role}-step-{edge[0]}-{edge[1]}"
            draw_edge(axes, run + np.array(middle), COLORS[role], name, dashed=True)
            draw_mark(axes, run + np.array(middle), step, COLORS[role])
        for edge, run in framed.counts.items():
            draw_edge(axes, run + np.array(middle), FAINT, f"{role}-count-{edge[0]}-{edge[1][1:-1]}")
        for edge, run in layout.edges[role].items():
            name = f"{role}-edge-{edge[0]}-{edge[1]}"
            draw_edge(axes, run + np.array([panel.x, panel.y]), COLORS[role], name)
        for spot in layout.spots.values():
            idle = spot.name not in outline.variables and not _joined(framed, role, spot.name)
            _draw_node(axes, panel, outline, spot, idle=idle)
        for j, text in enumerate(products[i]):
            y = bottom - 0.35 - j * line
            axes.text(left, y, text, fontsize=SMALL, color=COLORS[role], va="center", ha="left")
    for j, row in enumerate(rows):
        _draw_legend(axes, row, size[0] / 2, MARGIN + legend_height - 0.3 * (j + 0.9))
    return figure


def _joined(framed: Framed, role: Role, name: str) -> bool:
    """Whether an edge of a graph ends at a node."""
    return any(name in edge for edge in (*framed.layout.edges[role], *framed.steps.get(role, ())))


def _draw_node(axes: Axes, panel: _Panel, outline: Outline, spot: Spot, *, idle: bool) -> None:
    from sgc.report.pictures.node_places import FONT, LINE

    x, y = spot.x + panel.x, spot.y + panel.y
    color = FAINT if idle else INK
    form = _form(outline, spot.name)
    shade = outline.variables[spot.name].supervision if spot.name in outline.variables else "none"
    _draw_shape(axes, form, shade, x, y, spot.width, spot.height, color, f"{panel.role}-node-{spot.name}")
    for i, text in enumerate(spot.lines):
        middle = y + (0.5 * (len(spot.lines) - 1) - i) * LINE
        axes.text(x, middle, text, fontsize=FONT, color=color, va="center_baseline", ha="center", zorder=5)


def _form(outline: Outline, name: str) -> str:
    if name in outline.variables:
        return "variable"
    return "feature" if name in outline.features else "input"


def _draw_shape(
    axes: Axes,
    form: str,
    shade: Supervision,
    x: float,
    y: float,
    width: float,
    height: float,
    color: str,
    name: str | None = None,
) -> None:
    """Draw an ellipse, shaded whole, to the half or not; a feature's rounded box; an input's square one."""
    from matplotlib.patches import Ellipse, FancyBboxPatch, Polygon, Rectangle

    border: dict[str, Any] = {"edgecolor": color, "linewidth": 1.2}  # Any: keywords of matplotlib
    corner = (x - width / 2, y - height / 2)
    if form == "input":
        axes.add_patch(Rectangle(corner, width, height, facecolor="white", zorder=3, gid=name, **border))
        return
    if form == "feature":
        style = f"round,pad=0,rounding_size={min(width, height) * 0.3:.3f}"
        border["linestyle"] = (0, (3, 1.5))
        box = FancyBboxPatch(corner, width, height, boxstyle=style, facecolor="white", zorder=3, gid=name, **border)
        axes.add_patch(box)
        return
    face = SHADE if shade == "full" else "white"
    axes.add_patch(Ellipse((x, y), width, height, facecolor=face, zorder=3, gid=name, **border))
    if shade == "partial":
        turns = [math.pi / 2 + math.pi * i / 36 for i in range(37)]
        half = [(x + width / 2 * math.cos(turn), y + height / 2 * math.sin(turn)) for turn in turns]
        axes.add_patch(Polygon(half, closed=True, facecolor=SHADE, edgecolor="none", zorder=3.5))
        axes.add_patch(Ellipse((x, y), width, height, fill=False, zorder=4, **border))


def _legend_entries(outline: Outline) -> list[tuple[str, Supervision, str]]:
    """List what the picture holds: form, shade and words."""
    there = [variable.supervision for variable in outline.variables.values()]
    entries: list[tuple[str, Supervision, str]] = [("variable", s, words) for s, words in SHADES.items() if s in there]
    if outline.features:
        entries.append(("feature", "none", "feature (deterministic)"))
    if outline.inputs:
        entries.append(("input", "none", "input (not modelled)"))
    return entries


def _entry_width(entry: tuple[str, Supervision, str]) -> float:
    return 0.7 + len(entry[2]) * LETTER


def _legend_rows(entries: list[tuple[str, Supervision, str]], width: float) -> list[list[tuple[str, Supervision, str]]]:
    rows: list[list[tuple[str, Supervision, str]]] = [[]]
    for entry in entries:
        if rows[-1] and sum(map(_entry_width, [*rows[-1], entry])) > width:
            rows.append([])
        rows[-1].append(entry)
    return rows


def _draw_legend(axes: Axes, entries: list[tuple[str, Supervision, str]], middle: float, y: float) -> None:
    x = middle - sum(map(_entry_width, entries)) / 2
    for entry in entries:
        form, shade, words = entry
        _draw_shape(axes, form, shade, x + 0.12, y, 0.2, 0.2, INK)
        axes.text(x + 0.3, y, words, fontsize=SMALL, color=INK, va="center", ha="left")
        x += _entry_width(entry)


# ---- without matplotlib


def dot_text(outline: Outline) -> str:
    """Write both graphs as DOT, a cluster each, with the places of our own layout: `dot` or `neato -n2` draws it."""
    from sgc.report.pictures.plate_frames import frame

    view = plated(outline)
    framed, outline = frame(view), view.outline
    layout = framed.layout
    lines = [f"digraph {quoted(outline.spec.name)} {{", "  node [fontname=Helvetica, fontsize=11, fixedsize=false];"]
    for i, role in enumerate(ROLES):
        shift = i * (layout.width + GUTTER) - layout.low[0]
        color = COLORS[role]
        label = quoted(f"{role}  {LETTERS[role]}")
        lines.append(f"  subgraph cluster_{role} {{")
        lines.append(f'    label={label}; color="{color}"; fontcolor="{color}"; fontname=Helvetica;')
        for name, spot in layout.spots.items():
            place_ = f"{72 * (spot.x + shift):.1f},{72 * (spot.y - layout.low[1]):.1f}"
            size = f"width={spot.width:.2f}, height={spot.height:.2f}"
            shown = f"label={quoted(''.join(spot.lines))}, {_dot_shape(outline, name)}, {size}"
            lines.append(f'    {quoted(f"{role}.{name}")} [{shown}, pos="{place_}!"];')
        for parent, child in layout.edges[role]:
            ends = f"{quoted(f'{role}.{parent}')} -> {quoted(f'{role}.{child}')}"
            lines.append(f'    {ends} [color="{color}"];')
        for (parent, child), (_, step) in framed.steps.get(role, {}).items():
            ends = f"{quoted(f'{role}.{parent}')} -> {quoted(f'{role}.{child}')}"
            lines.append(f'    {ends} [color="{color}", style=dashed, constraint=false, label="{step:+d}"];')
        lines += [f"    {line}" for line in _dot_frames(framed, role)]
        lines.append("  }")
    return "\n".join([*lines, "}", ""])


def _dot_frames(framed: Framed, role: Role, within: str = "") -> Iterator[str]:
    """Write repeats as clusters in one another, each with its own nodes."""
    inner = [each for each in framed.frames if each.plate.name.startswith(within)]
    names = [each.plate.name for each in inner]
    for each in inner:
        own = f"{each.plate.name}."
        if any(each.plate.name.startswith(f"{name}.") for name in names):
            continue  # it stands in another one
        yield f"subgraph {quoted(f'cluster_{role}.{each.plate.name}')} {{"
        yield f"  label={quoted(each.text)}; style=rounded; labeljust=r; labelloc=b;"
        further = tuple(f"{name}." for name in names if name.startswith(own))
        inside = [name for name in framed.layout.spots if name.startswith(own) and not name.startswith(further)]
        yield f"  {' '.join(quoted(f'{role}.{name}') + ';' for name in inside)}"
        yield from (f"  {line}" for line in _dot_frames(framed, role, own))
        yield "}"


def _dot_shape(outline: Outline, name: str) -> str:
    form = _form(outline, name)
    if form == "feature":
        return 'shape=box, style="rounded,dashed"'
    if form == "input":
        return "shape=box"
    supervision = outline.variables[name].supervision
    if supervision == "full":
        return f'shape=ellipse, style=filled, fillcolor="{SHADE}"'
    return f'shape=ellipse, style=wedged, fillcolor="{SHADE}:white"' if supervision == "partial" else "shape=ellipse"


def page_text(outline: Outline) -> str:
    """Write one page that needs nothing else: the picture and the report. Raises: UsageError without matplotlib."""
    return page(outline.spec, picture(outline, "svg"), inspect_text(outline))
