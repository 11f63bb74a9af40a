"""The picture of a sweep: a measure against a key of the spec, with error bars over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sgc.errors import UsageError
from sgc.report.pictures.canvas import rendered
from sgc.sweeps.cells import short_names, value_text
from sgc.sweeps.outcomes import WAYS
from sgc.sweeps.results_table import WAY_WORDS, Column, Row, Table, column_of
from sgc.sweeps.sweep_file import Published, SweepFile, Value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDINGS = (".svg", ".png", ".pdf")
COLORS = ("#1f5fa8", "#d9730d", "#2e8b57", "#8e44ad", "#b3261e", "#5f6b7a", "#a67c00", "#008b9a")  # told apart by all
MARKS = "osD^vPX*"


@dataclass(frozen=True)
class Line:
    """A line of the picture: places on the axis, means and standard deviations (NaN of one run)."""

    title: str
    at: tuple[float, ...]
    mean: tuple[float, ...]
    sd: tuple[float, ...]


@dataclass(frozen=True)
class Chart:
    """What the picture shows, as data: places that are no numbers are 0, 1, …, with their words."""

    x: str
    y: str
    lines: tuple[Line, ...]
    ticks: dict[float, str]
    log: bool


def chart_of(sweep: SweepFile, table: Table) -> Chart:
    """Choose what is drawn: the file's `picture`, or the first measure against the first key with numbers.

    A measure of q is drawn beside that of the posterior and of the classifier alone, where no second key varies.

    Raises: UsageError where nothing has ended, or a key or measure is not there.
    """
    rows = [row for row in table.rows if row.measures]
    if not rows or not table.keys:
        raise UsageError("nothing to draw: " + ("no run has ended" if table.keys else "no key varies"))
    key = _axis(sweep, table)
    measure = sweep.picture.measure or table.columns[0].name
    if not any(measure in row.measures for row in rows):
        raise UsageError(f"picture.measure: no run has '{measure}': {', '.join(sorted(rows[0].measures))}")
    values = list(dict.fromkeys(_word(row, key) for row in rows))
    numbers = {word: _number(dict(row.settings).get(key)) for row in rows for word in (_word(row, key),)}
    numeric = all(number is not None for number in numbers.values())
    places = {word: float(i) for i, word in enumerate(values)}
    if numeric:
        places = {word: number for word, number in numbers.items() if number is not None}
    others = [other for other in table.keys if other != key]
    names = short_names(table.keys)
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(", ".join(f"{names[other]} {_word(row, other)}" for other in others), []).append(row)
    lines = []
    for title, members in groups.items():
        for column in _ways(measure, members, alone=len(groups) == 1):
            words = ", ".join(
                filter(None, [title, WAY_WORDS.get(column.name.split(".")[0], "") if len(groups) == 1 else ""])
            )
            lines.append(_line(words or column.title, column, members, key, places))
    lines += [_published(name, results) for name, results in sweep.published.items()]
    column = column_of(measure)
    heading = column.title if len(groups) > 1 else column.title.rpartition(", ")[0] or column.title
    y = f"{heading}, {column.unit}" if column.unit else heading
    return Chart(
        key, y, tuple(lines), {} if numeric else {place: word for word, place in places.items()}, sweep.picture.log
    )


def draw(chart: Chart, path: Path) -> None:
    """Draw into a file: .svg, .png or .pdf. Raises: UsageError."""
    from sgc.data.outputs import Inputs, check_output, write_output

    check_output(path, ENDINGS, Inputs())
    write_output(path, rendered(partial(_figure, chart), path.suffix[1:]))


def _figure(chart: Chart) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for index, line in enumerate(chart.lines):
        color, mark = COLORS[index % len(COLORS)], MARKS[index % len(MARKS)]
        sd = [0.0 if math.isnan(value) else value for value in line.sd]
        axes.errorbar(line.at, line.mean, yerr=sd, color=color, marker=mark, capsize=3, linewidth=1.5, label=line.title)
    if chart.log:
        axes.set_xscale("log")
    places = sorted({place for line in chart.lines for place in line.at})
    if chart.ticks or len(places) <= 8:
        axes.set_xticks(places, [chart.ticks.get(place, f"{place:g}") for place in places])
        axes.minorticks_off()
    axes.set_xlabel(chart.x)
    axes.set_ylabel(f"{chart.y}   (mean ± standard deviation)")
    axes.grid(color="#d8dce2", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def _axis(sweep: SweepFile, table: Table) -> str:
    key = sweep.picture.x
    if key is not None and key not in table.keys:
        raise UsageError(f"picture.x: '{key}' does not vary in this sweep: {', '.join(table.keys)}")
    numeric = (k for k in table.keys if all(_number(dict(row.settings).get(k)) is not None for row in table.rows))
    return key or next(numeric, table.keys[0])


def _ways(measure: str, rows: Sequence[Row], *, alone: bool) -> list[Column]:
    way, dot, rest = measure.partition(".")
    names = [f"{other}.{rest}" for other in WAYS] if alone and dot and way in WAYS else [measure]
    return [column_of(name) for name in names if any(name in row.measures for row in rows)]


def _line(title: str, column: Column, rows: Sequence[Row], key: str, places: dict[str, float]) -> Line:
    points = sorted((places[_word(row, key)], row.measures[column.name]) for row in rows if column.name in row.measures)
    scale = column.scale
    return Line(
        title,
        tuple(place for place, _ in points),
        tuple(scale * spread.mean for _, spread in points),
        tuple(scale * spread.sd for _, spread in points),
    )


def _published(name: str, results: Sequence[Published]) -> Line:
    sd = tuple(math.nan if result.sd is None else result.sd for result in results)
    return Line(name, tuple(result.at for result in results), tuple(result.mean for result in results), sd)


def _word(row: Row, key: str) -> str:
    settings = dict(row.settings)
    return value_text(settings[key]) if key in settings else "as in the spec"


def _number(value: Value) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
