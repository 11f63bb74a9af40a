"""The page of a comparison: numbers, what differs, and the curves of all runs over each other."""

from __future__ import annotations

from collections.abc import Callable

from sgc.report.pages.charts import chart_scripts
from sgc.report.pages.html_document import document, escaped, page_file
from sgc.run_report.chart_parts import FREE, TOOLTIP, Spec, by_colour, number
from sgc.run_report.comparison_text import number_rows
from sgc.run_report.html_parts import Figures, grid, paragraph, section, table
from sgc.run_report.latent_maps import rounded
from sgc.run_report.run_comparison import RunComparison
from sgc.run_report.training_history import History, Points
from sgc.version import __version__


def comparison_page(comparison: RunComparison) -> str:
    """Write the page of a comparison; the same runs give the same page."""
    figures = Figures()
    names = ", ".join(run.name for run in comparison.runs)
    head, rows = number_rows(comparison)
    whose = f"measured on the {comparison.split} rows" if comparison.split else "as training wrote them down"
    numbers = table(f"Numbers, {whose}; validation numbers are of the best epoch", head, rows)
    letters = [group.letter for group in comparison.groups]
    differing = [[key, *values] for key, values in comparison.differences.items()]
    differences = table("The keys in which the specs differ", ["key", *letters], differing, numbers=False)
    notes = "".join(f"<li>{escaped(note)}</li>" for note in comparison.notes)
    body = (
        f"<header><h1>{len(comparison.runs)} runs compared</h1>{paragraph(names, 'soft')}</header>\n"
        '<main id="main">\n'
        + section("numbers", "What they reach", numbers, f'<div class="note"><ul>{notes}</ul></div>' if notes else "")
        + section("differences", "In what they differ", differences or paragraph("Their specs differ by seeds alone."))
        + section("curves", "Curves", _curves(comparison, figures))
        + section("runs", "The runs", _runs(comparison))
        + f"\n</main>\n<footer>Written by sgc {escaped(__version__)}</footer>"
    )
    scripts = chart_scripts() if figures.count else ()
    return document("Runs compared", body, styles=(page_file("report.css"),), scripts=scripts)


def _curves(comparison: RunComparison, figures: Figures) -> str:
    kinds: list[tuple[str, Callable[[History], Points]]] = [
        ("validation bound, nats a row", lambda past: past.bounds.get("validation", ())),
        ("training bound without labels, nats a row", lambda past: past.bounds.get("unlabelled", ())),
    ]
    for name in dict.fromkeys(node for run in comparison.runs for node in run.history.errors):
        kinds.append((f"validation error of {name}", lambda past, name=name: past.errors.get(name, ())))  # type: ignore[misc]
    return grid(
        "columns",
        *(
            figures.chart(
                _over_each_other(comparison, title, points),
                f"{title}: a line for each run.",
                f"The {title} of all runs.",
            )
            for title, points in kinds
        ),
    )


def _over_each_other(comparison: RunComparison, title: str, points_of: Callable[[History], Points]) -> Spec | None:
    """Draw a curve of all runs, those of a group in one colour; None where no run has it."""
    words = {
        group.letter: f"{group.letter}: {', '.join(run.name for run in group.runs)}" for group in comparison.groups
    }
    rows = [
        {"epoch": epoch, "value": rounded(value, 6), "group": words[group.letter], "run": run.name}
        for group in comparison.groups
        for run in group.runs
        for epoch, value in points_of(run.history)
        if value is not None
    ]
    if not rows:
        return None
    values = sorted(row["value"] for row in rows if isinstance(row["value"], float))
    low, high = values[len(values) // 20], values[-1 - len(values) // 20]
    settled: Spec = {"domain": [low - 0.15 * (high - low), values[-1]], "nice": True} if high > low else dict(FREE)
    if title.startswith("validation error"):
        settled = {"domain": [values[0], high + 0.15 * (high - low)], "nice": True} if high > low else dict(FREE)
    return {
        "data": {"values": rows},
        "width": "container",
        "height": 260,
        "mark": {"type": "line", "clip": True, "strokeWidth": 1.6, "tooltip": TOOLTIP},
        "encoding": {
            "x": number("epoch", "epoch", axis={"tickMinStep": 1, "format": "d"}, scale={"nice": False}),
            "y": number("value", title, scale={**settled, "zero": False}),
            "color": by_colour("group", list(words.values())),
            "detail": {"field": "run"},
        },
    }


def _runs(comparison: RunComparison) -> str:
    rows = []
    for group in comparison.groups:
        for run in group.runs:
            versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
            state = "finished" if run.finished else "unfinished"
            rows.append([f"{group.letter}  {run.name}", run.path, f"{run.seed}", state, versions])
    return table(
        "Where they are and what made them", ["run", "folder", "seed", "state", "versions"], rows, numbers=False
    )
