"""What every picture of a model shares: its files, the shapes of nodes, edges with their heads, and legends."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sgc.derivation.graph import Role
from sgc.errors import UsageError
from sgc.report.pictures.matplotlib_defaults import own_defaults

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sgc.report.pictures.edge_routes import Points, Spot

ENDINGS = (".svg", ".png", ".pdf", ".dot")
PAGE = ".html"  # which is no picture: `sgc/report/pages/model_page.py`
COLORS: dict[Role, str] = {"generative": "#1f5fa8", "recognition": "#d9730d"}
INK, SHADE, FAINT = "#222222", "#c4c7cc", "#a0a0a0"
MARGIN = 0.3  # inches
GUTTER = 0.7  # between the panels
SMALL, LARGE = 8.5, 12.0  # points
LETTER = 0.53 * SMALL / 72  # the width of a letter of the small text
LINE = 1.4 * SMALL / 72  # the height of a line of it
ROW = 0.3  # the height of a row of a legend
DOUBLE = 0.045  # between the two lines of a double outline
DASHES: dict[str, Any] = {"solid": "solid", "dashed": (0, (3, 1.5)), "dotted": (0, (1, 1.2))}  # Any: matplotlib's own

Entry = tuple["Shape | None", str]  # of a legend: a node, or an edge of what draws are charged with, and words


def save(path: Path, dot: Callable[[], str], figure: Callable[[], Figure]) -> None:
    """Write a picture into a file, in the format that its ending names: .svg, .png, .pdf or .dot.

    Raises: UsageError for another ending, or where matplotlib is missing; OSError where the file cannot be written.
    """
    from sgc.data.outputs import write_output  # whose package wants numpy

    ending = path.suffix.lower()
    if ending not in ENDINGS:
        allowed = (*ENDINGS, PAGE)
        raise UsageError(f"'{path.name}': a picture ends in {', '.join(allowed[:-1])} or {allowed[-1]}")
    if ending == ".dot":
        content = dot().encode()
    else:
        content = rendered(figure, ending[1:])
    write_output(path, content)


def rendered(figure: Callable[[], Figure], form: str) -> bytes:
    """Draw with matplotlib: svg, png or pdf. The same model gives the same bytes. Raises: UsageError."""
    metadata: dict[str, dict[str, Any]] = {  # Any: None takes a standard entry out
        "svg": {"Date": None, "Creator": "sgc"},
        "png": {"Software": None},
        "pdf": {"CreationDate": None, "Creator": "sgc", "Producer": None},
    }
    file = io.BytesIO()
    words: Any = {"svg.fonttype": "none", "svg.hashsalt": "sgc", "pdf.fonttype": 42, "font.family": ["DejaVu Sans"]}
    with own_defaults(words):
        figure().savefig(file, format=form, dpi=160, metadata=metadata[form])
    return file.getvalue()


@dataclass(frozen=True)
class Shape:
    """How a node is drawn: its form, how much of it is shaded, and its outline."""

    form: Literal["ellipse", "box", "rounded"]
    shade: Literal["none", "half", "full"] = "none"
    stroke: Literal["solid", "dashed", "dotted"] = "solid"
    color: str = INK
    double: bool = False
    thick: bool = False

    def dot(self) -> str:
        """Write it in the words of DOT."""
        filled = {"none": "", "half": "wedged", "full": "filled"}[self.shade]
        styles = [self.form if self.form == "rounded" else "", self.stroke if self.stroke != "solid" else "", filled]
        style = ",".join(filter(None, styles))
        words = ["shape=ellipse" if self.form == "ellipse" else "shape=box"]
        words += ["peripheries=2"] if self.double else []
        words += [f'style="{style}"' if "," in style else f"style={style}"] if style else []
        words += [f'fillcolor="{SHADE}{":white" if self.shade == "half" else ""}"'] if filled else []
        return ", ".join([*words, *(["penwidth=2"] if self.thick else [])])

    def draw(self, axes: Axes, at: tuple[float, float], size: tuple[float, float], name: str | None = None) -> None:
        """Draw it around a place. name: its id in the picture."""
        from matplotlib.patches import Ellipse, FancyBboxPatch, Polygon, Rectangle

        (x, y), (width, height) = at, size
        corner = (x - width / 2, y - height / 2)
        line = 2.2 if self.thick else 1.2
        outline: dict[str, Any] = {"edgecolor": self.color, "linewidth": line, "linestyle": DASHES[self.stroke]}
        filled: dict[str, Any] = {"facecolor": SHADE if self.shade == "full" else "white", "zorder": 3, "gid": name}
        if self.form == "box":
            axes.add_patch(Rectangle(corner, width, height, **filled, **outline))
        elif self.form == "rounded":
            style = f"round,pad=0,rounding_size={min(width, height) * 0.3:.3f}"
            axes.add_patch(FancyBboxPatch(corner, width, height, boxstyle=style, **filled, **outline))
        else:
            axes.add_patch(Ellipse(at, width, height, **filled, **outline))
            if self.double:
                inner = width - 2 * DOUBLE, height - 2 * DOUBLE
                axes.add_patch(Ellipse(at, *inner, fill=False, zorder=3.5, **outline))
            if self.shade == "half":
                turns = [math.pi / 2 + math.pi * i / 36 for i in range(37)]
                half = [(x + width / 2 * math.cos(turn), y + height / 2 * math.sin(turn)) for turn in turns]
                axes.add_patch(Polygon(half, closed=True, facecolor=SHADE, edgecolor="none", zorder=3.5))
                axes.add_patch(Ellipse(at, width, height, fill=False, zorder=4, **outline))


def sheet(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    """Give an empty figure of a size in inches, its title on top, and axes that count its inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    write_title(axes, width / 2, height - MARGIN, title)
    return figure, axes


def write_title(axes: Axes, x: float, y: float, text: str, color: str = INK) -> None:
    axes.text(x, y, text, color=color, fontsize=LARGE, fontweight="bold", va="center", ha="center")


def write_lines(axes: Axes, x: float, y: float, lines: Sequence[str], color: str = INK) -> None:
    """Write lines of small text below each other, from the left."""
    for i, text in enumerate(lines):
        axes.text(x, y - i * LINE, text, fontsize=SMALL, color=color, va="center", ha="left")


def legend_rows(entries: Sequence[Entry], width: float) -> list[list[Entry]]:
    """Break a legend into rows that fit a width."""
    rows: list[list[Entry]] = [[]]
    for entry in entries:
        if rows[-1] and sum(map(_entry_width, [*rows[-1], entry])) > width:
            rows.append([])
        rows[-1].append(entry)
    return rows


def _entry_width(entry: Entry) -> float:
    return 0.7 + len(entry[1]) * LETTER


def draw_legend(axes: Axes, rows: Sequence[Sequence[Entry]], middle: float, top: float, charge: str = INK) -> None:
    """Draw the rows of a legend below each other, each in the middle. charge: the colour of an edge of charges."""
    import numpy as np

    for i, row in enumerate(rows):
        x, y = middle - sum(map(_entry_width, row)) / 2, top - ROW * (i + 0.5)
        for shape, words in row:
            if shape is None:
                draw_edge(axes, np.linspace([x, y], [x + 0.26, y], 20), charge, "legend-charge", dashed=True)
            else:
                shape.draw(axes, (x + 0.12, y), (0.22, 0.2))
            axes.text(x + 0.34, y, words, fontsize=SMALL, color=INK, va="center", ha="left")
            x += _entry_width((shape, words))


def draw_edge(axes: Axes, run: Points, color: str, name: str, *, dashed: bool = False) -> None:
    """Draw an edge as a line and a head of its own, which ends at the node's outline."""
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path as Outline_

    from sgc.report.pictures.edge_routes import arrow

    line, head = arrow(run)
    style: Any = (0, (3, 2)) if dashed else "solid"
    border: dict[str, Any] = {"edgecolor": color, "linewidth": 1.3, "linestyle": style}  # Any: keywords of matplotlib
    axes.add_patch(PathPatch(Outline_(line), fill=False, zorder=1, gid=name, **border))
    axes.add_patch(Polygon(head, closed=True, facecolor=color, edgecolor="none", zorder=2))


def quoted(text: str) -> str:
    """Write a string of DOT."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def dot_node(name: str, label: str, words: str, spot: Spot, shift: tuple[float, float]) -> str:
    """Write a node in DOT. label, words: as DOT has them; shift: of its place, in inches."""
    place = f"{72 * (spot.x + shift[0]):.1f},{72 * (spot.y + shift[1]):.1f}"
    size = f"width={spot.width:.2f}, height={spot.height:.2f}"
    return f'{quoted(name)} [label={label}, {words}, {size}, pos="{place}!"];'
