"""The part of a report's page on latent nodes: maps, and what their units say of labels."""

from __future__ import annotations

from sgc.evaluation.disentanglement import CHOICES, FEW, Disentanglement
from sgc.run_report.category_maps import CategoryMap
from sgc.run_report.html_parts import (
    Figures,
    grid,
    heading,
    paragraph,
    table,
)
from sgc.run_report.latent_maps import LatentMap
from sgc.run_report.map_charts import map_chart, mass_chart
from sgc.run_report.report_charts import (
    information_chart,
)
from sgc.run_report.run_report import RunReport

POINTS = 12_000  # of all maps together, so that a page stays small


def latent_section(report: RunReport, figures: Figures) -> str:
    charts = sum(max(1, len(latent.labels)) for latent in report.maps)
    most = max(300, POINTS // max(1, charts))
    parts = [_map(latent, most, figures) for latent in report.maps]
    parts += [_categories(latent, figures) for latent in report.category_maps]
    for steps, measured in report.codes.items():
        parts.append(_disentanglement(steps, measured, figures))
    return "".join(parts)


def _map(latent: LatentMap, most: int, figures: Figures) -> str:
    how = "its two units" if len(latent.axes) == 2 else "its unit"
    if latent.explained:
        how = f"the first two principal components of its {latent.units} units"
    by = "coloured by" if len(latent.axes) == 2 else "beside"
    drawn = f", {most} of them drawn" if len(latent.points) > most else ""
    charts = [
        figures.chart(
            map_chart(latent, label, most),
            f"{latent.node}, {by} {label.name}." if label else f"{latent.node}.",
            f"Rows by q's mean of {latent.node}" + (f", {by} {label.name}." if label else "."),
        )
        for label in (latent.labels or (None,))
    ]
    text = f"Each point is a row by q's mean of {latent.node}: {how}; {latent.rows}{drawn}."
    return heading(f"Map of {latent.node}") + paragraph(text) + grid("maps", *charts)


def _categories(latent: CategoryMap, figures: Figures) -> str:
    by = f" by {latent.label}" if latent.label else ""
    text = (
        f"q's probabilities of the categories of {latent.title}, averaged over the rows of "
        f"{f'each {latent.label}' if latent.label else 'the split'}, so that a column sums to 1; {latent.rows}. In use "
        f"are {latent.used:.1f} of {len(latent.categories)} categories (the exponential of their entropy)."
    )
    drawn = figures.chart(
        mass_chart(latent),
        f"{latent.title}{by}: darker is more of q's mass.",
        f"The mean of q's probabilities of {latent.title}{by}.",
    )
    return heading(f"Map of {latent.title}{by}") + paragraph(text) + grid("columns", drawn)


def _disentanglement(steps: str, measured: Disentanglement | str, figures: Figures) -> str:
    title = heading("Disentanglement" + (f", steps of {steps}" if steps else ""))
    if isinstance(measured, str):
        return title + paragraph(f"Not measured: {measured}.")
    scores = {
        "MIG (Chen et al. 2018, Eq. 6)": measured.mig,
        "DCI disentanglement (Eastwood and Williams 2018)": measured.disentanglement,
        "DCI completeness": measured.completeness,
        "SAP (Kumar et al. 2018)": measured.sap,
    }
    known = [[name, f"{value:.3f}"] for name, value in scores.items() if value is not None]
    read = [
        [
            readout.factor,
            f"{readout.rows}",
            f"{100 * readout.error:.1f} %" if readout.categorical else f"{readout.error:.3f}",
            f"{100 * readout.chance:.1f} %" if readout.categorical else f"{readout.chance:.3f}",
        ]
        for readout in measured.readouts
    ]
    head = ["factor", "rows", "error of a forest", "without the latents"]
    few = f" Some factor has fewer than {FEW} rows: take the numbers as rough, and high." if measured.few else ""
    meaning = (
        "Latent units against labelled nodes. Where a label has a node of its own, its factor should be there, and low "
        "numbers say that the latents are free of it."
    )
    return "".join(
        (
            title,
            paragraph(meaning),
            paragraph(f"{measured.reason}.") if measured.reason else "",
            grid(
                "columns",
                table("Scores from 0 to 1", ["measure", "score"], known)
                + table("What the latents say of each factor (DCI's informativeness)", head, read),
                figures.chart(
                    information_chart(measured),
                    "The share of a factor's entropy that each unit tells, I(z; v) / H(v).",
                    "The information of each latent unit on each factor.",
                ),
            ),
            paragraph(CHOICES + few, "soft"),
        )
    )
