"""Boxes drawn on the pictures of a panel, each cut off where its picture ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = ("#ff5a4f", "#38b6ff", "#ffc928", "#4fd66a", "#ff7ae0", "#b58cff", "#ff9a3c", "#2fe0d0")  # seen on black


@dataclass(frozen=True)
class Box:
    """A box on the picture of one row and column, edges as shares of its sides, and a word in its upper left corner."""

    row: int
    column: int
    edges: tuple[float, float, float, float]  # left, top, right, bottom
    color: str
    word: str = ""
    dashed: bool = False


def color_of(step: int) -> str:
    """Give the color of a step, counted from 0; they come again after eight."""
    return COLORS[step % len(COLORS)]


def draw_boxes(
    axes: Axes, boxes: Iterable[Box], corners: Callable[[int, int], tuple[float, float]], size: tuple[int, int]
) -> None:
    """Draw boxes into axes that hold one image of all pictures.

    corners: of the picture of a row and a column, its left and upper edge in pixels; size: its height and width.
    """
    from matplotlib.patches import Rectangle

    limits = axes.get_xlim(), axes.get_ylim()
    high, wide = size
    for box in boxes:
        x, y = corners(box.row, box.column)
        left, top, right, bottom = (edge * side for edge, side in zip(box.edges, (wide, high) * 2, strict=True))
        if right <= 0 or bottom <= 0 or left >= wide or top >= high:
            continue
        drawn = Rectangle(
            (x + left, y + top),
            right - left,
            bottom - top,
            fill=False,
            edgecolor=box.color,
            linewidth=0.8 if box.dashed else 1.1,
            linestyle=(0, (2.5, 2)) if box.dashed else "-",
        )
        axes.add_patch(drawn)
        drawn.set_clip_path(Rectangle((x, y), wide, high, transform=axes.transData))
        if box.word:
            place = x + max(left, 0) + wide / 32, y + max(top, 0) + high / 48
            axes.text(*place, box.word, color=box.color, fontsize=6, ha="left", va="top", parse_math=False)
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])
