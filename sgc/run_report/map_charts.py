"""Charts of latent nodes: their rows as points on a map or a line, coloured by a label."""

from __future__ import annotations

import math

import numpy as np

from sgc.run_report.category_maps import CategoryMap
from sgc.run_report.chart_parts import (
    BARE,
    BLUE,
    FREE,
    NAMED,
    TOOLTIP,
    Spec,
    by_colour,
    by_shape,
    category,
    number,
    opacity,
)
from sgc.run_report.inferred_rows import Numbers
from sgc.run_report.latent_maps import LatentMap, rounded
from sgc.run_report.report_charts import histogram
from sgc.run_report.row_labels import RowLabel

VIRIDIS = {"name": "viridis", "extent": [0.25, 0.85]}  # without the ends, which are lost on one of the papers
TURN = ("#8a5bc7", "#3f7fd0", "#2a8f95", "#6f8a3a", "#c07a20", "#cf4f5e", "#8a5bc7")  # ends as it begins


def map_chart(latent: LatentMap, label: RowLabel | None, most: int) -> Spec:
    """Draw a latent's rows, coloured by one label; of more than `most` rows, so many, evenly spaced."""
    kept = np.unique(np.linspace(0, len(latent.points) - 1, min(most, len(latent.points))).round().astype(int))
    points = latent.points[kept]
    values = None if label is None else label.take(kept)
    if points.shape[1] == 1:
        return _line_map(points[:, 0], values, latent.axes[0])
    rows = [{"x": rounded(x), "y": rounded(y), **_label_of(values, i)} for i, (x, y) in enumerate(points.tolist())]
    axis: Spec = {"grid": False, "tickCount": 5}
    x, y = (number(field, title, scale=FREE, axis=axis) for field, title in zip("xy", latent.axes, strict=True))
    layers: list[Spec] = [
        {
            "data": {"values": rows},
            "mark": {"type": "point", "filled": True, "size": 24, "opacity": 0.75, "tooltip": TOOLTIP},
            "encoding": {"x": x, "y": y, **_colouring(values)},
        }
    ]
    if values is not None and values.categorical and len(_seen(values)) <= NAMED:
        layers.append(_names(points, values, x, y))
    return {"width": "container", "height": 300, "layer": layers}


def mass_chart(latent: CategoryMap) -> Spec:
    """Draw the mass of each category, a column for each label; written as shares in % where there are few."""
    rows = [
        {"label": group, "category": name, "mass": rounded(float(latent.mass[i, j])), "rows": latent.counts[j]}
        for i, name in enumerate(latent.categories)
        for j, group in enumerate(latent.groups)
    ]
    few = len(latent.categories) <= NAMED and len(latent.groups) <= NAMED
    level = few and max(map(len, latent.groups)) <= 3
    axis: Spec = {**BARE, "labelAngle": 0 if level else -60}
    rectangles: Spec = {
        "mark": {"type": "rect", "tooltip": TOOLTIP, "color": BLUE},
        "encoding": {"fillOpacity": opacity("mass", 0.0)},
    }
    shares: Spec = {
        "mark": {"type": "text", "fontSize": 11},
        "transform": [{"filter": "datum.mass >= 0.005"}],
        "encoding": {"text": {"field": "mass", "type": "quantitative", "format": ".0%"}},
    }
    return {
        "data": {"values": rows},
        "width": "container",
        "height": max(80, min(520, (24 if few else 9) * len(latent.categories))),
        "encoding": {
            "x": category("label", latent.label, scale={"domain": list(latent.groups)}, axis=axis),
            "y": category("category", latent.title, scale={"domain": list(latent.categories)}, axis=BARE),
        },
        "layer": [rectangles, shares] if few else [rectangles],
    }


def _names(points: Numbers, label: RowLabel, x: Spec, y: Spec) -> Spec:
    """Write the name of each category at the median of its rows."""
    rows: list[Spec] = []
    for place in _seen(label):
        middle = np.median(points[label.values == place], 0)
        rows.append({"x": rounded(float(middle[0])), "y": rounded(float(middle[1])), "name": label.names[place]})
    return {
        "data": {"values": rows},
        "mark": {"type": "text", "fontSize": 15, "fontWeight": 700},
        "encoding": {"x": x, "y": y, "text": {"field": "name"}},
    }


def _line_map(points: Numbers, label: RowLabel | None, title: str) -> Spec:
    """Draw a latent of one unit: over a number, as a strip for each category, or as a histogram."""
    if label is None:
        return histogram(points, title)
    rows = [{"x": rounded(x), **_label_of(label, i)} for i, x in enumerate(points.tolist()) if _label_of(label, i)]
    x = number("x", title, scale=FREE)
    mark: Spec = {"type": "point", "filled": True, "size": 22, "opacity": 0.6, "tooltip": TOOLTIP}
    height, y = 240, number("label", label.name, scale=FREE)
    if label.categorical:
        names = [label.names[place] for place in _seen(label)]
        mark = {"type": "tick", "thickness": 1.5, "opacity": 0.5, "tooltip": TOOLTIP}
        height, y = max(60, min(500, 24 * len(names))), category("label", label.name, scale={"domain": names})
    encoding: Spec = {"x": x, "y": y, "color": {"value": BLUE}}
    return {"data": {"values": rows}, "width": "container", "height": height, "mark": mark, "encoding": encoding}


def _seen(label: RowLabel) -> list[int]:
    """List the categories that some row has."""
    return [int(place) for place in np.unique(label.values[~np.isnan(label.values)])]


def _label_of(label: RowLabel | None, place: int) -> Spec:
    """Give a row's label as a field; none where it has none. An angle is taken from 0 to a whole turn."""
    if label is None or math.isnan(label.values[place]):
        return {}
    value = float(label.values[place])
    if label.categorical:
        return {"label": label.names[int(value)]}
    return {"label": rounded(value % label.turn if label.turn else value)}


def _colouring(label: RowLabel | None) -> Spec:
    """Encode a label: categories by colour and shape, numbers by a gradient, angles by one that ends as it begins."""
    if label is None:
        return {"color": {"value": BLUE}}
    if not label.categorical:
        scale: Spec = {"scheme": VIRIDIS}
        if label.turn:
            scale = {"domain": [label.turn * i / (len(TURN) - 1) for i in range(len(TURN))], "range": list(TURN)}
        legend: Spec = {"orient": "bottom", "gradientLength": 180, "titleLimit": 240}
        return {"color": number("label", label.name, scale=scale, legend=legend)}
    names = [label.names[place] for place in _seen(label)]
    own: Spec = {"title": label.name, "legend": None}
    if len(names) <= NAMED:
        own["legend"] = {"orient": "bottom", "columns": 5, "labelLimit": 110, "title": label.name}
    return {"color": by_colour("label", names) | own, "shape": by_shape("label", names) | own}
