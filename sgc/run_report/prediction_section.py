"""The part of a report's page on labels: errors, confusions, calibration, scatter, residuals, coverage."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sgc.evaluation.measurement import Evaluation
from sgc.evaluation.prediction_scores import Error
from sgc.run_report.chart_parts import word
from sgc.run_report.html_parts import (
    Figures,
    folded,
    grid,
    heading,
    paragraph,
    table,
)
from sgc.run_report.number_predictions import NumberPredictions
from sgc.run_report.report_charts import (
    calibration_chart,
    category_errors,
    confusion_chart,
    coverage_chart,
    histogram,
    scatter,
)
from sgc.run_report.run_report import RunReport
from sgc.trained.evaluation_words import (
    calibration_text,
    clusters_text,
    coverage_text,
    error_text,
    given_count_text,
    labelled_text,
)


def prediction_section(report: RunReport, figures: Figures) -> str:
    evaluation = report.evaluation
    if evaluation is None:
        return ""
    by_node = {prediction.node: prediction for prediction in report.predictions}
    counts = {counted.node: dict(zip(counted.names, counted.counts, strict=True)) for counted in report.counts}
    parts = [_errors(evaluation)]
    for name, error in evaluation.from_q.items():
        ways = {"q": error}
        if name in evaluation.from_posterior:
            ways["weighted posterior"] = evaluation.from_posterior[name]
        parts += [heading(name), _categories(ways, counts.get(name, {}), figures), _numbers(by_node.get(name), figures)]
    if not evaluation.from_q:
        parts.append(paragraph(f"No node has labels in the {report.split} rows."))
    return "".join(parts)


def _errors(evaluation: Evaluation) -> str:
    rows = []
    for name, direct in evaluation.from_q.items():
        ways = {"q": direct, "weighted posterior": evaluation.from_posterior.get(name)}
        for way, error in ways.items():
            if error is not None:
                rows.append([f"{name}, {way}", error.metric.title, error_text(error), _more(error, evaluation.rows)])
    head = ["answer", "measure", "value ± standard error", "beside it"]
    return table("Errors on held-out rows, whose labels the model does not see", head, rows, numbers=False)


def _more(error: Error, rows: int) -> str:
    parts = [labelled_text(error, rows).strip(" ()"), clusters_text(error)]
    if error.confusion is not None and (error.confusion.labels > 0).sum() > 1:
        parts.append(f"balanced error {100 * error.confusion.balanced_error:.2f} %")
    if error.calibration is not None:
        parts.append(calibration_text(error.calibration))
    if error.coverage is not None:
        parts.append(coverage_text(error.coverage))
    if text := given_count_text(error):
        parts.append(f"{text} where the count is right")
    return "; ".join(part for part in parts if part)


def _categories(ways: Mapping[str, Error], labels: Mapping[str, int], figures: Figures) -> str:
    confusions = {way: error.confusion for way, error in ways.items() if error.confusion is not None}
    if not confusions:
        return ""
    first = next(iter(confusions.values()))
    calibrations = {way: error.calibration for way, error in ways.items() if error.calibration is not None}
    drawn = [
        figures.chart(
            confusion_chart(confusion),
            f"Confusion, {way}: a row for each label, a column for each prediction, blue where they agree.",
            f"The confusion matrix of the answers of {way}.",
        )
        for way, confusion in confusions.items()
    ]
    drawn.append(
        figures.chart(
            calibration_chart(calibrations) if calibrations else None,
            "Calibration: how often the most probable category is right, by its probability; larger points are more "
            "rows. Below the diagonal the model is too sure.",
            "The share of right predictions by their probability.",
        )
    )
    drawn.append(
        figures.chart(
            category_errors(confusions) if any((c.errors > 0).any() for c in confusions.values()) else None,
            "The error of each category, the largest first.",
            "The error of each category by each answer.",
        )
    )
    names = [word(name) for name in first.names]
    rows = [
        [names[i], f"{labels.get(names[i], 0)}" if labels else "", f"{first.labels[i]}"]
        + [f"{100 * confusion.errors[i]:.2f} %" if confusion.labels[i] else "" for confusion in confusions.values()]
        for i in np.flatnonzero(first.labels).tolist()
    ]
    head = ["category", "labels in training", "labels here", *(f"error, {way}" for way in confusions)]
    return grid("columns", *drawn) + folded("Errors by category, as numbers", table("Errors by category", head, rows))


def _numbers(prediction: NumberPredictions | None, figures: Figures) -> str:
    if prediction is None:
        return ""
    drawn = []
    for element in prediction.elements:
        explained = (
            "" if element.explained is None else f" It explains {100 * element.explained:.0f} % of the variance."
        )
        turned = " An angle is drawn in the turn nearest to its label." if element.turn else ""
        drawn += [
            figures.chart(
                scatter(element),
                f"{element.name}: q's prediction over the label, {prediction.rows}.{explained}{turned}",
                f"Predictions of {element.name} over their labels.",
            ),
            figures.chart(
                histogram(element.residuals, f"{element.name}, prediction − label"),
                f"Residuals of {element.name}: mean {element.residuals.mean():.3g}, root mean square "
                f"{float(np.sqrt((element.residuals**2).mean())):.3g}.",
                f"How often the prediction of {element.name} is off by how much.",
            ),
        ]
    if len(prediction.angles):
        drawn.append(
            figures.chart(
                histogram(prediction.angles, "angle between prediction and label, °"),
                f"Angles between the predicted and the labelled direction: median {np.median(prediction.angles):.2f}°.",
                "How often the predicted direction is off by which angle.",
            )
        )
    if prediction.coverage:
        drawn.append(
            figures.chart(
                coverage_chart(prediction.coverage),
                "Coverage: how many labels lie in q's central intervals. Below the diagonal they are too narrow.",
                "The share of labels in q's central intervals, by their level.",
            )
        )
    more = paragraph(f"{prediction.more} more elements of {prediction.node} are not drawn.") if prediction.more else ""
    return grid("columns", *drawn) + more
