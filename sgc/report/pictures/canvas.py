"""What every picture of a model shares: its endings and files, an edge with its head, and the page around it."""

from __future__ import annotations

import html
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgc.derivation.graph import Role
from sgc.errors import UsageError
from sgc.report.pictures.matplotlib_defaults import own_defaults
from sgc.spec.spec import Spec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from sgc.report.pictures.edge_routes import Points, Spot

ENDINGS = (".svg", ".png", ".pdf", ".dot", ".html")
COLORS: dict[Role, str] = {"generative": "#1f5fa8", "recognition": "#d9730d"}
INK, SHADE, FAINT = "#222222", "#c4c7cc", "#a0a0a0"
MARGIN = 0.3  # inches
GUTTER = 0.7  # between the panels
SMALL, LARGE = 8.5, 12.0  # points
LETTER = 0.53 * SMALL / 72  # the width of a letter of the small text


def save(path: Path, dot: Callable[[], str], page: Callable[[], str], figure: Callable[[], Figure]) -> None:
    """Write a picture into a file, in the format that its ending names: .svg, .png, .pdf, .dot or .html.

    Raises: UsageError for another ending, or where matplotlib is missing; OSError where the file cannot be written.
    """
    from sgc.data.outputs import write_output  # whose package wants numpy

    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise UsageError(f"'{path.name}': a picture ends in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}")
    if ending == ".dot":
        content = dot().encode()
    elif ending == ".html":
        content = page().encode()
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
    words: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "sgc",
        "pdf.fonttype": 42,
        "font.family": ["DejaVu Sans"],
    }  # Any: matplotlib's own keys
    with own_defaults(words):
        figure().savefig(file, format=form, dpi=160, metadata=metadata[form])
    return file.getvalue()


def draw_edge(axes: Axes, run: Points, color: str, name: str, *, dashed: bool = False) -> None:
    """Draw an edge as a line and a head of its own, which ends at the node's outline."""
    import numpy as np
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path as Outline_

    from sgc.report.pictures.edge_routes import ARROW

    tip = run[-1]
    back = np.linalg.norm(run - tip, axis=1)
    far = np.flatnonzero(back > ARROW * 0.95)
    foot = run[far[-1]] if len(far) else run[0]
    along = (tip - foot) / max(float(np.linalg.norm(tip - foot)), 1e-9)
    across = np.array([-along[1], along[0]]) * ARROW * 0.36
    notch = foot + 0.25 * ARROW * along
    line = np.concatenate([run[: far[-1] + 1 : 4] if len(far) else run[:1], [notch]])
    style: Any = (0, (3, 2)) if dashed else "solid"
    border: dict[str, Any] = {"edgecolor": color, "linewidth": 1.3, "linestyle": style}  # Any: keywords of matplotlib
    axes.add_patch(PathPatch(Outline_(line), fill=False, zorder=1, gid=name, **border))
    corners = [tip, foot + across, notch, foot - across]
    axes.add_patch(Polygon(corners, closed=True, facecolor=color, edgecolor="none", zorder=2))


def draw_frame(axes: Axes, spot: Spot, shift: tuple[float, float], text: str, name: str) -> None:
    """Draw the frame of a repeat, with its name and count in the lower right corner."""
    from matplotlib.patches import FancyBboxPatch

    x, y = spot.x + shift[0], spot.y + shift[1]
    corner = (x - spot.width / 2, y - spot.height / 2)
    border: dict[str, Any] = {"edgecolor": FAINT, "linewidth": 1.2, "fill": False, "zorder": 0.5}  # Any: keywords
    style = "round,pad=0,rounding_size=0.12"
    axes.add_patch(FancyBboxPatch(corner, spot.width, spot.height, boxstyle=style, gid=name, **border))
    place = (x + spot.width / 2 - 0.1, corner[1] + 0.13)
    axes.text(*place, text, fontsize=SMALL, color=INK, va="center", ha="right", zorder=5)


def draw_mark(axes: Axes, run: Points, shift: int, color: str) -> None:
    """Write on an edge from which step it comes: -1 the one before."""
    middle = run[len(run) // 2]
    box: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}  # Any: keywords of matplotlib
    how: dict[str, Any] = {"fontsize": 7.0, "va": "center", "ha": "center", "zorder": 4, "bbox": box}  # Any: the same
    axes.text(float(middle[0]), float(middle[1]), f"{shift:+d}".replace("-", "−"), color=color, **how)


def quoted(text: str) -> str:
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


def page(spec: Spec, svg: bytes, report: str) -> str:
    """Write one page that needs nothing else: the picture and the report."""
    text = svg.decode()
    return PAGE.format(
        title=html.escape(spec.name),
        description=html.escape(spec.description),
        svg=text[text.index("<svg") :],
        report=html.escape(report),
    )
