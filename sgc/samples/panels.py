"""Panels: titled grids of pictures with labels and boxes, drawn into one file; and which events are pictures.

The smallest value is black and the largest white, as in the data.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgc.data.outputs import write_output
from sgc.report.pictures.matplotlib_defaults import own_defaults
from sgc.spec.outline import Variable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CELL = 0.62  # the width of a picture in inches
BESIDE, ABOVE = (18, 2), (11, 3)  # letters per line, and lines, in the labels of rows and of columns
COLORS = ("#ff5a4f", "#38b6ff", "#ffc928", "#4fd66a", "#ff7ae0", "#b58cff", "#ff9a3c", "#2fe0d0")  # visible on black


@dataclass(frozen=True)
class Box:
    """A box on the picture of a row and column, edges as shares of its sides, with a word in its upper left corner."""

    row: int
    column: int
    edges: Sequence[float]  # left, top, right, bottom
    color: str
    word: str = ""
    dashed: bool = False


def color_of(step: int) -> str:
    """Give the color of a step, counted from 0; colors repeat after eight."""
    return COLORS[step % len(COLORS)]


@dataclass(frozen=True)
class Panel:
    """A titled grid of pictures, [rows, columns, height, width] or [..., 3] in colour, with labels for both sides.

    `apart`: the number of columns before a gap, those of the row's own picture. `cell`: the width of a picture in
    inches. NaN is left blank.
    """

    title: str
    pictures: np.ndarray
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    apart: int = 0
    boxes: tuple[Box, ...] = ()
    cell: float = CELL


def whole_picture(event: Sequence[int], steps: Sequence[int] = ()) -> tuple[int, ...] | None:
    """Give the shape of an event, with its steps first, as one picture: its steps side by side, or else all of it.

    >>> whole_picture([3, 1, 28, 28], [3]), whole_picture([8, 8], [8]), whole_picture([3, 2], [3])
    ((28, 84), (8, 8), None)
    """
    inner = picture_shape(event[len(steps) :]) if steps else None
    return picture_shape(event) if inner is None else (*inner[:-1], prod(steps) * inner[-1])


def picture_shape(event: Sequence[int]) -> tuple[int, ...] | None:
    """Give the shape of an event as a picture: of [H, W], [1, H, W], [3, H, W] or a square vector; None for others.

    >>> picture_shape([1, 28, 28]), picture_shape([784]), picture_shape([5])
    ((28, 28), (28, 28), None)
    """
    shape = tuple(event)
    if len(shape) == 3 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) == 3 and shape[0] == 3 and min(shape[1:]) >= 4:
        return shape
    if len(shape) == 2 and min(shape) >= 4:
        return shape
    side = isqrt(prod(shape)) if len(shape) == 1 else 0
    return (side, side) if side >= 4 and side * side == shape[0] else None


def shades(values: np.ndarray, variable: Variable, rows: int, steps: Sequence[int] = ()) -> np.ndarray:
    """Arrange values of a node as a grid of so many rows of pictures, in [0, 1]; missing values are black.

    steps: the first axes of an event, whose pictures are put side by side.
    """
    shape, inner = whole_picture(variable.event, steps), picture_shape(variable.event[len(steps) :])
    assert shape is not None
    array = values.astype(np.float64)
    if steps and inner is not None:
        array = np.moveaxis(array.reshape(-1, prod(steps), *inner), 1, -2)
    array = array.reshape(-1, *shape)
    if len(shape) == 3:
        array = array.transpose(0, 2, 3, 1)
    ends = variable.family.support.shades
    array = stretched(array) if ends is None else (array - ends[0]) / (ends[1] - ends[0])
    grid: np.ndarray = np.nan_to_num(np.clip(array, 0, 1)).reshape(rows, -1, *array.shape[1:])
    return grid


def stretched(array: np.ndarray) -> np.ndarray:
    """Scale unbounded numbers so that all but the smallest and the largest half percent lie between 0 and 1."""
    known = array[np.isfinite(array)]
    low, high = np.quantile(known, (0.005, 0.995)) if known.size else (0.0, 1.0)
    return np.asarray((array - low) / max(high - low, 1e-12))


def draw_panels(panels: Sequence[Panel], output: Path, title: str) -> None:
    """Draw panels below each other into a png. Raises: UsageError if matplotlib is not installed."""
    write_output(output, panels_png(panels, title))


def panels_png(panels: Sequence[Panel], title: str) -> bytes:
    """Draw panels below each other as a png, with a title unless it is empty. Raises: UsageError, as `draw_panels`."""
    with own_defaults():
        return _drawn(panels, title)


def _drawn(panels: Sequence[Panel], title: str) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    laid = [_Laid(panel) for panel in panels]
    left = 1.15 if any(panel.rows for panel in panels) else 0.15
    width = max(max(panel.wide for panel in laid) + left + 0.15, 4.5)
    titles = [textwrap.fill(panel.title, int((width - left) * 18)) for panel in panels]
    heads = [0.22 + 0.14 * (1 + text.count("\n")) + panel.above for text, panel in zip(titles, laid, strict=True)]
    crown = 0.4 if title else 0.05
    total = sum(heads) + sum(panel.high for panel in laid) + crown + 0.1
    figure = Figure(figsize=(width, total), dpi=120)
    FigureCanvasAgg(figure)
    plain: dict[str, Any] = {"parse_math": False}  # a dollar in a name is not math; Any: options of matplotlib
    figure.text(0.5, 1 - 0.22 / total, title, ha="center", va="center", fontsize=10, **plain)
    top = total - crown
    for panel, text, head in zip(laid, titles, heads, strict=True):
        top -= head
        figure.text(left / width, (top + panel.above + 0.06) / total, text, fontsize=8, va="bottom", **plain)
        top -= panel.high
        axes = figure.add_axes((left / width, top / total, panel.wide / width, panel.high / total))
        axes.imshow(panel.picture, cmap="gray" if panel.picture.ndim == 2 else None, vmin=0, vmax=1, aspect="auto")
        axes.set_axis_off()
        panel.draw_boxes(axes)
        words = plain | {"fontsize": 6.5, "transform": axes.transAxes}
        for word, y in zip(panel.rows, panel.middles, strict=False):
            axes.text(-0.06 / panel.wide, 1 - y, word, ha="right", va="center", **words)
        for word, x in zip(panel.columns, panel.centers, strict=False):
            axes.text(x, 1 + 0.05 / panel.high, word, ha="center", va="baseline", linespacing=1, **words)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


class _Laid:
    """A panel laid out for a file: its picture, its labels broken into lines, and its sizes in inches."""

    def __init__(self, panel: Panel) -> None:
        self.picture, self.middles, self.centers = tile(panel.pictures, panel.apart)
        self.rows = [fitted(word, BESIDE) for word in panel.rows]
        self.columns = [fitted(word, ABOVE) for word in panel.columns]
        self.above = 0.13 * max((1 + word.count("\n") for word in self.columns), default=0)
        self.size, self.boxes = (panel.pictures.shape[2], panel.pictures.shape[3]), panel.boxes
        scale = panel.cell / self.size[1]
        self.wide, self.high = self.picture.shape[1] * scale, self.picture.shape[0] * scale

    def draw_boxes(self, axes: Axes) -> None:
        """Draw boxes into axes that hold the whole picture, each cut off at the edges of its own picture."""
        from matplotlib.patches import Rectangle

        limits = axes.get_xlim(), axes.get_ylim()
        high, wide = self.size
        for box in self.boxes:
            x = self.centers[box.column] * self.picture.shape[1] - wide / 2 - 0.5  # the first pixel is centred on 0
            y = self.middles[box.row] * self.picture.shape[0] - high / 2 - 0.5
            left, top, right, bottom = (edge * side for edge, side in zip(box.edges, (wide, high) * 2, strict=True))
            if right <= 0 or bottom <= 0 or left >= wide or top >= high:
                continue
            rectangle = Rectangle(
                (x + left, y + top),
                right - left,
                bottom - top,
                fill=False,
                edgecolor=box.color,
                linewidth=0.8 if box.dashed else 1.1,
                linestyle=(0, (2.5, 2)) if box.dashed else "-",
            )
            axes.add_patch(rectangle)
            rectangle.set_clip_path(Rectangle((x, y), wide, high, transform=axes.transData))
            if box.word:
                place = x + max(left, 0) + wide / 32, y + max(top, 0) + high / 48
                axes.text(*place, box.word, color=box.color, fontsize=6, ha="left", va="top", parse_math=False)
        axes.set_xlim(limits[0])
        axes.set_ylim(limits[1])


def fitted(word: str, room: tuple[int, int]) -> str:
    """Break text into lines for its room, letters per line and number of lines, and cut off the rest.

    >>> fitted("king penguin", (8, 2)), fitted("king penguin", (8, 1)), fitted("0.1\\n0.2", (8, 1))
    ('king\\npenguin', 'king…', '0.1\\n0.2')
    """
    letters, lines = room
    broken = (textwrap.fill(line, letters, max_lines=lines, placeholder="…") for line in word.split("\n"))
    return "\n".join(broken)


def tile(pictures: np.ndarray, apart: int = 0) -> tuple[np.ndarray, list[float], list[float]]:
    """Join a grid [rows, columns, H, W, ...] into one picture, with white gaps and a wider one after `apart` columns.

    Returns the picture, and the middles of the rows and of the columns, from 0 to 1.
    """
    rows, columns, high, wide = pictures.shape[:4]
    gap = max(1, round(wide / 16))
    starts = [j * (wide + gap) + (2 * gap if apart and j >= apart else 0) for j in range(columns)]
    grid = np.ones((rows * (high + gap) - gap, starts[-1] + wide, *pictures.shape[4:]))
    for i in range(rows):
        for j, start in enumerate(starts):
            cell = np.nan_to_num(pictures[i, j], nan=1.0)
            grid[i * (high + gap) : i * (high + gap) + high, start : start + wide] = cell
    middles = [(i * (high + gap) + high / 2) / grid.shape[0] for i in range(rows)]
    return grid, middles, [(start + wide / 2) / grid.shape[1] for start in starts]
