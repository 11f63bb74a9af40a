"""Pictures of a model: the generative and the recognition graph side by side, with every node at the same place."""

from __future__ import annotations

import html
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgc.derivation.graph import Role, Supervision
from sgc.errors import UsageError
from sgc.language.outline import Outline
from sgc.showing.products import product
from sgc.showing.report import fold, inspect_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sgc.showing.placing import Layout, Points, Spot

ENDINGS = (".svg", ".png", ".pdf", ".dot", ".html")
ROLES: tuple[Role, Role] = ("generative", "recognition")
COLORS: dict[Role, str] = {"generative": "#1f5fa8", "recognition": "#d9730d"}
LETTERS: dict[Role, str] = {"generative": "p", "recognition": "q"}
INK, SHADE, FAINT = "#222222", "#c4c7cc", "#a0a0a0"
MARGIN = 0.3  # inches
GUTTER = 0.7  # between the panels
NARROWEST = 3.3  # a panel's width, for its title and its product
SMALL, LARGE = 8.5, 12.0  # points
LETTER = 0.53 * SMALL / 72  # the width of a letter of the small text
SHADES: dict[Supervision, str] = {"full": "observed", "partial": "partially observed", "none": "latent"}


def draw(outline: Outline, path: Path) -> None:
    """Draw both graphs into a file, in the format that its ending names: .svg, .png, .pdf, .dot or .html.

    Raises: UsageError for another ending, where matplotlib is missing, or where the file cannot be written.
    """
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise UsageError(f"'{path.name}': a picture ends in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
    if ending == ".dot":
        content = dot_text(outline).encode()
    elif ending == ".html":
        content = page_text(outline).encode()
    else:
        content = picture(outline, ending[1:])
    try:
        path.write_bytes(content)
    except OSError as problem:
        raise UsageError(f"'{path}' cannot be written: {problem.strerror or problem}") from None


def picture(outline: Outline, form: str) -> bytes:
    """Draw with matplotlib: svg, png or pdf. The same model gives the same bytes. Raises: UsageError."""
    try:
        import matplotlib
    except ImportError:
        raise UsageError("drawing pictures needs matplotlib: pip install 'sgc[plots]'") from None
    metadata: dict[str, dict[str, Any]] = {  # Any: None takes a standard entry out
        "svg": {"Date": None, "Creator": "sgc"},
        "png": {"Software": None},
        "pdf": {"CreationDate": None, "Creator": "sgc", "Producer": None},
    }
    file = io.BytesIO()
    words: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "sgc",
        "pdf.fonttype": 42,
        "font.family": ["DejaVu Sans"],
    }  # Any: matplotlib's own keys
    with matplotlib.rc_context(words):
        _figure(outline).savefig(file, format=form, dpi=160, metadata=metadata[form])
    return file.getvalue()


@dataclass(frozen=True)
class _Panel:
    """One panel: the graph, and where the origin of the layout lies in the figure, in inches."""

    role: Role
    left: float
    width: float
    x: float
    y: float


def _figure(outline: Outline) -> Figure:
    from matplotlib.figure import Figure

    from sgc.showing.placing import place

    layout = place(outline.graphs)
    width = max(layout.width, NARROWEST)
    products = [fold(product(outline, role), int(width / LETTER), "    ") for role in ROLES]
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
        for edge, run in layout.edges[role].items():
            _draw_edge(axes, panel, edge, run)
        for spot in layout.spots.values():
            _draw_node(axes, panel, outline, layout, spot)
        for j, text in enumerate(products[i]):
            y = bottom - 0.35 - j * line
            axes.text(left, y, text, fontsize=SMALL, color=COLORS[role], va="center", ha="left")
    for j, row in enumerate(rows):
        _draw_legend(axes, row, size[0] / 2, MARGIN + legend_height - 0.3 * (j + 0.9))
    return figure


def _draw_edge(axes: Axes, panel: _Panel, edge: tuple[str, str], run: Points) -> None:
    """Draw an edge as a line and a head of its own, which ends at the node's outline."""
    import numpy as np
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path as Outline_

    from sgc.showing.placing import ARROW

    run = run + np.array([panel.x, panel.y])
    tip = run[-1]
    back = np.linalg.norm(run - tip, axis=1)
    far = np.flatnonzero(back > ARROW * 0.95)
    foot = run[far[-1]] if len(far) else run[0]
    along = (tip - foot) / max(float(np.linalg.norm(tip - foot)), 1e-9)
    across = np.array([-along[1], along[0]]) * ARROW * 0.36
    color = COLORS[panel.role]
    notch = foot + 0.25 * ARROW * along
    line = np.concatenate([run[: far[-1] + 1 : 4] if len(far) else run[:1], [notch]])
    name = f"{panel.role}-edge-{edge[0]}-{edge[1]}"
    axes.add_patch(PathPatch(Outline_(line), fill=False, edgecolor=color, linewidth=1.3, zorder=1, gid=name))
    corners = [tip, foot + across, notch, foot - across]
    axes.add_patch(Polygon(corners, closed=True, facecolor=color, edgecolor="none", zorder=2))


def _draw_node(axes: Axes, panel: _Panel, outline: Outline, layout: Layout, spot: Spot) -> None:
    from sgc.showing.placing import FONT, LINE

    x, y = spot.x + panel.x, spot.y + panel.y
    idle = spot.name not in outline.variables and not any(spot.name in edge for edge in layout.edges[panel.role])
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
    from sgc.showing.placing import place

    layout = place(outline.graphs)
    lines = [f"digraph {_quoted(outline.spec.name)} {{", "  node [fontname=Helvetica, fontsize=11, fixedsize=false];"]
    for i, role in enumerate(ROLES):
        shift = i * (layout.width + GUTTER) - layout.low[0]
        color = COLORS[role]
        label = _quoted(f"{role}  {LETTERS[role]}")
        lines.append(f"  subgraph cluster_{role} {{")
        lines.append(f'    label={label}; color="{color}"; fontcolor="{color}"; fontname=Helvetica;')
        for name, spot in layout.spots.items():
            place_ = f"{72 * (spot.x + shift):.1f},{72 * (spot.y - layout.low[1]):.1f}"
            size = f"width={spot.width:.2f}, height={spot.height:.2f}"
            shown = f"label={_quoted(name)}, {_dot_shape(outline, name)}, {size}"
            lines.append(f'    {_quoted(f"{role}.{name}")} [{shown}, pos="{place_}!"];')
        for parent, child in layout.edges[role]:
            ends = f"{_quoted(f'{role}.{parent}')} -> {_quoted(f'{role}.{child}')}"
            lines.append(f'    {ends} [color="{color}"];')
        lines.append("  }")
    return "\n".join([*lines, "}", ""])


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


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font-family: sans-serif; color: #222; margin: 2em auto; max-width: 75em; padding: 0 1em; }}
figure {{ margin: 0; overflow-x: auto; }}
svg {{ max-width: 100%; height: auto; }}
pre {{ background: #f6f7f8; padding: 1em; overflow-x: auto; font-size: 13px; line-height: 1.4; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{description}</p>
<figure>
{svg}</figure>
<pre>{report}</pre>
</body>
</html>
"""


def page_text(outline: Outline) -> str:
    """Write one page that needs nothing else: the picture and the report. Raises: UsageError without matplotlib."""
    svg = picture(outline, "svg").decode()
    svg = svg[svg.index("<svg") :]
    return PAGE.format(
        title=html.escape(outline.spec.name),
        description=html.escape(outline.spec.description),
        svg=svg,
        report=html.escape(inspect_text(outline)),
    )
