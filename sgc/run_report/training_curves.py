"""The part of a report's page on training: curves of bounds, terms, errors, samples and gradients."""

from __future__ import annotations

from sgc.evaluation.measurement import Evaluation
from sgc.report.pages.html_document import escaped
from sgc.run_report.html_parts import (
    Figures,
    folded,
    grid,
    heading,
    paragraph,
    table,
)
from sgc.run_report.report_charts import (
    lines,
)
from sgc.run_report.run_report import RunReport
from sgc.run_report.training_history import ALL, Curves, History, last

TERMS = 18  # curves of terms that are drawn
KINDS = {"unlabelled": "rows without labels", "labelled": "rows with labels", "validation": "validation rows"}
ROLES = {"generative": "log p({})", "recognition": "−log q({})", "kl": "−KL of {}", "label": "label of {}"}


def training_section(report: RunReport, figures: Figures) -> str:
    history = report.history
    if not history.done:
        return paragraph("The log of this run has no epochs.")
    best, bounds = history.best, history.bounds
    outside = {KINDS[kind]: bounds[kind] for kind in ("unlabelled", "validation") if kind in bounds}
    inside = {KINDS["labelled"]: bounds["labelled"]} if "labelled" in bounds else {}
    mark = " The dashed line is the best epoch." if best else ""
    beside = ": training beside validation. Validation below training is overfitting" if "validation" in bounds else ""
    first = grid(
        "small-charts",
        figures.chart(
            lines(outside, "bound, nats a row", best=best),
            f"The bound without labels{beside}.{mark}",
            f"The bound of {' and of '.join(outside)} over the epochs.",
        ),
        figures.chart(
            lines(inside, "bound, nats a row", best=best),
            "The bound of labelled rows, the weighted label term in it.",
            "The bound of labelled rows over the epochs.",
        ),
        *(
            figures.chart(
                lines({name: points}, f"error of {name}", best=best),
                f"The validation error of {name} by q.",
                f"The validation error of {name} over the epochs.",
            )
            for name, points in history.errors.items()
        ),
    )
    return "".join(
        (
            first,
            heading("Terms of the bound"),
            paragraph("Means over the rows of every eighth step of an epoch; a label's term has its α in it.", "soft"),
            _terms(report, figures),
            heading("Samples and gradients"),
            _noise(report, figures),
            _warnings(report),
        )
    )


def _terms(report: RunReport, figures: Figures) -> str:
    diagnosis = None if report.evaluation is None else report.evaluation.diagnosis
    words = {} if diagnosis is None else diagnosis.words
    charts = []
    for node, by_role in report.history.terms.items():
        for role, by_kind in by_role.items():
            term = words.get((node, role)) or ROLES.get(role, f"{role} of {{}}").format(node)
            curves: Curves = {KINDS[kind]: points for kind, points in by_kind.items() if kind in KINDS}
            charts.append((lines(curves, "nats a row", best=report.history.best, height=130), term))
    drawn = [figures.chart(spec, term, f"{term} over the epochs.") for spec, term in charts[:TERMS]]
    more = paragraph(f"{len(charts) - TERMS} more terms are in sgc report --json.") if len(charts) > TERMS else ""
    return grid("small-charts", *drawn) + more + _terms_table(report.evaluation)


def _terms_table(evaluation: Evaluation | None) -> str:
    if evaluation is None or evaluation.diagnosis is None:
        return ""
    diagnosis = evaluation.diagnosis
    kinds = [kind for kind in ("unlabelled", "labelled") if kind in diagnosis.terms]
    rows = []
    for (node, role), term in diagnosis.words.items():
        means = [diagnosis.terms[kind].get(node, {}).get(role) for kind in kinds]
        rows.append([term, *("" if mean is None else f"{mean:.3f}" for mean in means)])
    held = table("Terms of the ELBO on held-out rows, nats a row", ["term", *(KINDS[kind] for kind in kinds)], rows)
    return folded("The same on held-out rows, as numbers", held)


def _noise(report: RunReport, figures: Figures) -> str:
    history, samples = report.history, report.facts.samples
    effective = {
        f"rows with {key} labelled" if key != "none" else KINDS["unlabelled"]: p for key, p in history.effective.items()
    }
    noise = {owner: points for owner, points in history.noise.items() if any(value for _, value in points)}
    alike = all(value is None or value > samples - 1e-6 for points in effective.values() for _, value in points)
    one = "The objective takes one sample, whose weight is always 1."
    constant = f"The weights are constant: all {samples} samples of a row always count alike."
    probed = max((len(points) for points in history.norm.values()), default=0)
    return (paragraph(one if samples == 1 else constant, "soft") if alike else "") + grid(
        "small-charts",
        figures.chart(
            None if alike else lines(effective, "effective samples"),
            f"How many of the {samples} samples of a training row count. Near 1: the weights are degenerate.",
            "The effective samples over the epochs, by pattern of labels.",
        ),
        figures.chart(
            lines(history.active, "active units"),
            "Units whose posterior mean varies over validation rows by more than 0.01 (Burda et al. 2016).",
            "The active units of each latent node over the epochs.",
        ),
        figures.chart(
            lines(_first(history.norm), "norm", log=True) if probed > 1 else None,
            "The norm of the gradient of one batch, with the weights as they are after an epoch.",
            "The norm of the gradient over the epochs, by what the parameters belong to.",
        ),
        figures.chart(
            lines(_first(noise), "variance / norm²", log=True) if probed > 1 else None,
            "Gradient noise: the variance that the draws of estimators give, over the squared norm. Above 1 it is the "
            "greater part of a step.",
            "The variance of the gradient over its squared norm over the epochs, by what the parameters belong to.",
        ),
        _one_probe(history) if probed == 1 else "",
    )


def _one_probe(history: History) -> str:
    """Write the gradient as a table, where it was probed once."""
    rows = [
        [owner, _power(points[0][1]), _power(last(history.noise.get(owner, ())))]
        for owner, points in history.norm.items()
        if len(points) == 1
    ]
    epoch = next((points[0][0] for points in history.norm.values() if points), 0)
    caption = f"The gradient of one batch after epoch {epoch}: its norm, and what draws add to it"
    return table(caption, ["parameters of", "norm", "variance / norm²"], rows)


def _power(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _first(curves: Curves, most: int = 8) -> Curves:
    """Take all parameters together and the first owners."""
    return {
        name: curves[name] for name in [ALL, *(name for name in curves if name != ALL)][: most + 1] if name in curves
    }


def _warnings(report: RunReport) -> str:
    items = "".join(f"<li>epoch {epoch}: {escaped(text)}</li>" for epoch, text in report.history.warnings)
    return f'<div class="warning"><p>Training warned:</p><ul>{items}</ul></div>' if items else ""
