"""Parts that charts share: colours, shapes, and how a column is drawn.

Colours have a contrast of at least 3 to 1 with the paper of the light and of the dark page, and categories differ by
shape or stand beside their name as well, so that no chart is read by colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

Spec: TypeAlias = dict[str, Any]  # Any: JSON, as Vega-Lite defines it

COLOURS = (
    *("#2f7fd6", "#c4650f", "#1b8f72", "#a55ac8", "#d4486a", "#7f8420", "#1f8aa5", "#a86b47", "#7a7f88", "#c24aa0"),
)
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-left")
BLUE, ORANGE, GREY = COLOURS[0], COLOURS[1], COLOURS[8]
NAMED = 20  # categories that are written into a chart
TOOLTIP: Spec = {"content": "data"}
BARE: Spec = {"ticks": False, "domain": False, "grid": False, "labelOverlap": True, "labelLimit": 110}
FREE: Spec = {"zero": False, "nice": True}


def number(field: str, title: str | None = None, **more: Any) -> Spec:  # Any: as above
    """Draw a column of numbers. more: its scale or axis."""
    return {"field": field, "type": "quantitative", "title": title, **more}


def category(field: str, title: str | None = None, **more: Any) -> Spec:  # Any: as above
    """Draw a column of names, in the order of the rows. more: its scale or axis."""
    return {"field": field, "type": "nominal", "sort": None, "title": title, **more}


def by_colour(field: str, names: Sequence[str]) -> Spec:
    """Colour a column of names."""
    scale = {"domain": list(names), "range": [COLOURS[i % len(COLOURS)] for i in range(len(names))]}
    return category(field, scale=scale, legend=_legend(names))


def by_shape(field: str, names: Sequence[str]) -> Spec:
    """Give each name a shape; the numbers of shapes and colours share no divisor, so that few pairs are alike."""
    scale = {"domain": list(names), "range": [SHAPES[i % len(SHAPES)] for i in range(len(names))]}
    return category(field, scale=scale, legend=_legend(names))


def _legend(names: Sequence[str]) -> Spec | None:
    return {"orient": "bottom", "labelLimit": 200, "columns": 2} if len(names) > 1 else None


def opacity(field: str, low: float = 0.05) -> Spec:
    """Fill by a share from 0 to 1; the ink stays readable on the fullest."""
    return number(field, scale={"domain": [0, 1], "range": [low, 0.6]}, legend=None)


def diagonal(ends: Sequence[float], x: Spec, y: Spec) -> Spec:
    """Draw where two columns are equal. x, y: how they are drawn, as in the other layers."""
    return {
        "data": {"values": [{x["field"]: end, y["field"]: end} for end in ends]},
        "mark": {"type": "line", "strokeDash": [4, 4], "strokeWidth": 1, "color": GREY},
        "encoding": {"x": x, "y": y},
    }


def word(name: object) -> str:
    """Write the name of a category."""
    return str(name).lower() if isinstance(name, bool) else str(name)
