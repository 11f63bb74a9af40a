"""The charts of reports, as Vega-Lite specifications: curves, confusions, calibration, scatter, information."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sgc.evaluation.calibration import Calibration
from sgc.evaluation.confusion import Confusion
from sgc.evaluation.disentanglement import Disentanglement
from sgc.run_report.chart_parts import (
    BARE,
    BLUE,
    FREE,
    NAMED,
    ORANGE,
    TOOLTIP,
    Spec,
    by_colour,
    by_shape,
    category,
    diagonal,
    number,
    opacity,
    word,
)
from sgc.run_report.inferred_rows import Numbers
from sgc.run_report.latent_maps import rounded
from sgc.run_report.number_predictions import ElementPredictions
from sgc.run_report.training_history import Curves

DASHES = ([1, 0], [6, 3], [2, 2], [8, 2, 2, 2])
BARS = 20  # of the largest errors
UNITS = 30  # of a code, that are shown
BINS = 24  # of a histogram
SETTLED = 0.05  # of the epochs, which do not decide what a curve's axis shows
BY_CHANCE = "by chance"  # beside units: what one that says nothing seems to tell
FEW = 40  # epochs up to which each has a point


def lines(curves: Curves, title: str, *, best: int = 0, log: bool = False, height: int = 180) -> Spec | None:
    """Draw curves over the epochs; None where no curve has a finite point. best: an epoch that is marked."""
    rows = [
        {"epoch": epoch, "value": rounded(value, 6), "curve": name}
        for name, points in curves.items()
        for epoch, value in points
        if value is not None and (value > 0 or not log)
    ]
    if not rows:
        return None
    scale: Spec = dict(FREE)
    axis: Spec = {"format": ".1e", "tickCount": 4} if log else {"tickCount": 5}
    if log:
        scale = {"type": "log"}
    elif limits := _limits(curves):
        scale |= {"domain": limits, "nice": False}
    names, mark = list(curves), {"type": "line", "clip": True, "strokeWidth": 2, "tooltip": TOOLTIP}
    if max(len(points) for points in curves.values()) <= FEW:
        mark["point"] = {"size": 22, "filled": True}
    epoch = number("epoch", "epoch", axis={"tickMinStep": 1, "format": "d"}, scale={"nice": False})
    encoding: Spec = {
        "x": epoch,
        "y": number("value", title, scale=scale, axis=axis),
        "color": by_colour("curve", names),
    }
    if len(names) > 1:
        dashes = [DASHES[i % len(DASHES)] for i in range(len(names))]
        encoding["color"]["legend"] |= {"symbolType": "stroke"}
        legend = encoding["color"]["legend"]
        encoding["strokeDash"] = category("curve", scale={"domain": names, "range": dashes}, legend=legend)
    layers: list[Spec] = [{"mark": mark, "encoding": encoding}]
    if best:
        rule: Spec = {"type": "rule", "strokeDash": [3, 3], "strokeWidth": 1}
        layers.append({"data": {"values": [{"epoch": best}]}, "mark": rule, "encoding": {"x": epoch}})
    return {"data": {"values": rows}, "width": "container", "height": height, "layer": layers}


def _limits(curves: Curves) -> list[float] | None:
    """Leave what the first epochs do out of an axis, where there are many; it is then cut off."""
    end = max((points[-1][0] for points in curves.values() if points), default=0)
    values = [v for points in curves.values() for epoch, v in points if v is not None and epoch > SETTLED * end]
    if end < 2 / SETTLED or not values:
        return None
    low, high = min(values), max(values)
    room = max(0.06 * (high - low), 0.001 * abs(high)) or 1.0
    return [rounded(low - room, 6), rounded(high + room, 6)]


def confusion_chart(confusion: Confusion) -> Spec:
    """Draw counts of labels by prediction, each row of the labels of one category as shares of them."""
    names = [word(name) for name in confusion.names]
    matrix = confusion.matrix(range(len(names)))
    totals = matrix.sum(1)
    rows = [
        {
            "label": names[i],
            "prediction": names[j],
            "rows": int(matrix[i, j]),
            "share": rounded(float(matrix[i, j] / totals[i])),
            "right": "right" if i == j else "wrong",
        }
        for i, j in zip(*np.nonzero(matrix), strict=True)
    ]
    few = len(names) <= NAMED
    level = few and max(map(len, names)) <= 3
    domain: Spec = {"domain": names}
    colour = category("right", scale={"domain": ["right", "wrong"], "range": [BLUE, ORANGE]}, legend=None)
    rectangles: Spec = {
        "mark": {"type": "rect", "tooltip": TOOLTIP},
        "encoding": {"color": colour, "fillOpacity": opacity("share")},
    }
    counts: Spec = {"mark": {"type": "text", "fontSize": 11}, "encoding": {"text": {"field": "rows"}}}
    return {
        "data": {"values": rows},
        "width": "container",
        "height": max(80, min(520, (24 if few else 9) * len(names))),
        "encoding": {
            "x": category("prediction", "prediction", scale=domain, axis={**BARE, "labelAngle": 0 if level else -60}),
            "y": category("label", "label", scale=domain, axis=BARE),
        },
        "layer": [rectangles, counts] if few else [rectangles],
    }


def calibration_chart(ways: Mapping[str, Calibration]) -> Spec:
    """Draw how often the prediction is right, by how sure the model is; on the diagonal it is calibrated."""
    rows = [
        {"sure": rounded(bin_.confidence), "right": rounded(bin_.accuracy), "rows": bin_.rows, "answer": way}
        for way, calibration in ways.items()
        for bin_ in calibration.bins
    ]
    names, scale = list(ways), {"domain": [0, 1]}
    x, y = number("sure", "probability of the prediction", scale=scale), number("right", "share right", scale=scale)
    size = number("rows", scale={"range": [15, 260]}, legend=None)
    colour, shape = by_colour("answer", names), by_shape("answer", names)
    return {
        "width": "container",
        "height": 240,
        "layer": [
            diagonal([0, 1], x, y),
            {
                "data": {"values": rows},
                "mark": {"type": "line", "strokeWidth": 1.5},
                "encoding": {"x": x, "y": y, "color": colour},
            },
            {
                "data": {"values": rows},
                "mark": {"type": "point", "filled": True, "opacity": 0.9, "tooltip": TOOLTIP},
                "encoding": {"x": x, "y": y, "size": size, "color": colour, "shape": shape},
            },
        ],
    }


def category_errors(ways: Mapping[str, Confusion]) -> Spec:
    """Draw the error of each category by each answer, the largest first."""
    first = next(iter(ways.values()))
    places = [int(place) for place in np.flatnonzero(first.labels)]
    order = sorted(places, key=lambda place: (-float(first.errors[place]), place))[:BARS]
    rows = [
        {
            "category": word(first.names[place]),
            "error": rounded(100 * float(confusion.errors[place])),
            "rows": int(confusion.labels[place]),
            "answer": way,
        }
        for place in order
        for way, confusion in ways.items()
        if confusion.labels[place]
    ]
    return {
        "data": {"values": rows},
        "width": "container",
        "height": max(60, 22 * len(order)),
        "mark": {"type": "bar", "tooltip": TOOLTIP},
        "encoding": {
            "y": category("category", axis=BARE),
            "yOffset": {"field": "answer", "type": "nominal", "sort": None},
            "x": number("error", "error, %"),
            "color": by_colour("answer", list(ways)),
        },
    }


def scatter(element: ElementPredictions) -> Spec:
    """Draw predictions over labels; on the diagonal they are right."""
    truth, answers = element.truth.tolist(), element.predicted.tolist()
    rows = [
        {"label": rounded(label), "prediction": rounded(answer)} for label, answer in zip(truth, answers, strict=True)
    ]
    ends = [rounded(min(*truth, *answers)), rounded(max(*truth, *answers))]
    points: Spec = {"type": "point", "filled": True, "opacity": 0.75, "size": 22, "tooltip": TOOLTIP}
    x, y = number("label", f"{element.name}, label", scale=FREE), number("prediction", "prediction", scale=FREE)
    layer: Spec = {
        "data": {"values": rows},
        "mark": points,
        "encoding": {"x": x, "y": y, "color": {"value": BLUE}},
    }
    return {"width": "container", "height": 240, "layer": [layer, diagonal(ends, x, y)]}


def histogram(values: Numbers, title: str) -> Spec:
    """Draw how often numbers occur."""
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    counts, edges = np.histogram(finite, bins=BINS, range=(low, high if high > low else low + 1))
    rows = [
        {"from": rounded(float(edges[i])), "to": rounded(float(edges[i + 1])), "rows": int(count)}
        for i, count in enumerate(counts)
    ]
    return {
        "data": {"values": rows},
        "width": "container",
        "height": 240,
        "mark": {"type": "bar", "binSpacing": 1, "tooltip": TOOLTIP},
        "encoding": {
            "x": number("from", title, bin="binned", axis={"grid": False}),
            "x2": {"field": "to"},
            "y": number("rows", "rows"),
            "color": {"value": BLUE},
        },
    }


def coverage_chart(coverage: Sequence[tuple[float, float]]) -> Spec:
    """Draw how many labels lie in q's central intervals, by how many should; on the diagonal q is calibrated."""
    rows = [{"interval": rounded(100 * level), "labels": rounded(100 * share)} for level, share in coverage]
    scale: Spec = {"domain": [0, 100]}
    x = number("interval", "central interval of q, %", scale=scale)
    y = number("labels", "labels inside, %", scale=scale)
    layer: Spec = {
        "data": {"values": rows},
        "mark": {"type": "line", "point": {"size": 40, "filled": True}, "tooltip": TOOLTIP},
        "encoding": {"x": x, "y": y, "color": {"value": BLUE}},
    }
    return {"width": "container", "height": 240, "layer": [diagonal([0, 100], x, y), layer]}


def information_chart(measured: Disentanglement) -> Spec:
    """Draw what share of each factor's entropy each unit tells; of many units those that tell most."""
    best = np.argsort(-measured.information.max(1), kind="stable")[:UNITS]
    factors = [readout.factor for readout in measured.readouts]
    shown = [(measured.units[j], measured.information[j]) for j in sorted(int(place) for place in best)]
    rows = [
        {"unit": unit, "factor": factor, "share": rounded(float(shares[k]), 3)}
        for unit, shares in [*shown, (BY_CHANCE, measured.chance)]
        for k, factor in enumerate(factors)
    ]
    level = max(map(len, factors)) <= 9
    rectangles: Spec = {
        "mark": {"type": "rect", "tooltip": TOOLTIP},
        "encoding": {"color": {"value": BLUE}, "fillOpacity": opacity("share")},
    }
    numbers: Spec = {"mark": {"type": "text", "fontSize": 11}, "encoding": {"text": number("share", format=".2f")}}
    return {
        "data": {"values": rows},
        "width": {"step": 74},
        "height": {"step": 20},
        "encoding": {
            "x": category("factor", axis={**BARE, "labelAngle": 0 if level else -30, "orient": "top"}),
            "y": category("unit", axis=BARE),
        },
        "layer": [rectangles, numbers],
    }
