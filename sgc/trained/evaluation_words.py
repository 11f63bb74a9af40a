"""The words of `sgc evaluate`: errors and calibration of each way to predict, bounds, and confusion tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan

import numpy as np

from sgc.errors import printable
from sgc.evaluation.calibration import BINS, Calibration
from sgc.evaluation.collapse import COLLAPSED
from sgc.evaluation.confusion import Clustering, Confusion
from sgc.evaluation.diagnosis import Diagnosis
from sgc.evaluation.mean_terms import NO_LABELS
from sgc.evaluation.prediction_scores import Error
from sgc.trained.run_evaluation import Report

LARGEST = 20  # categories of a table; for more, only the largest errors and the most frequent confusions
LISTED = 10  # of these
LETTERS = 12  # of a category's name in a matrix


def evaluation_text(report: Report) -> str:
    """Write an evaluation as aligned lines."""
    evaluation = report.evaluation
    rows_used = f"{evaluation.rows} of {evaluation.total}" if evaluation.rows < evaluation.total else evaluation.rows
    labels = ", ".join(f"{count} labels of {name}" for name, count in report.labels.items())
    lines = [
        f"{report.run} ({report.checkpoint}), {rows_used} {report.split} rows"
        + (f", trained with {labels}" if labels else "")
    ]

    rows: list[tuple[str, str]] = []
    ways = {"q directly": evaluation.from_q, "weighted posterior": evaluation.from_posterior}
    ways["classifier alone"] = {} if report.classifier is None else report.classifier.from_q
    for name in evaluation.from_q:
        errors = {way: by_name[name] for way, by_name in ways.items() if name in by_name}
        for way, error in errors.items():
            rows.append(
                (f"{error.metric.title} of {name}, {way}", error_text(error) + labelled_text(error, evaluation.rows))
            )
        for way, error in errors.items():
            if text := given_count_text(error):
                rows.append((f"{error.metric.title} of {name}, {way}, count right", text))
        for way, error in errors.items():
            if error.confusion is not None and (error.confusion.labels > 0).sum() > 1:
                rows.append((f"balanced error of {name}, {way}", f"{100 * error.confusion.balanced_error:.2f} %"))
        for way, error in errors.items():
            if text := clusters_text(error):
                rows.append((f"clusters of {name}, {way}", text))
        for way, error in errors.items():
            if error.calibration is not None:
                rows.append((f"calibration of {name}, {way}", calibration_text(error.calibration)))
            if error.coverage is not None:
                rows.append((f"coverage of {name}, {way}", coverage_text(error.coverage)))
    if evaluation.bounds is not None:
        bounds = evaluation.bounds
        rows.append(("ELBO (Eq. 8, no labels)", f"{bounds.elbo:.3f} ± {bounds.elbo_error:.3f} nats"))
        evidence = f"{bounds.log_evidence:.3f} ± {bounds.log_evidence_error:.3f} nats"
        if evaluation.exact:
            rows.append(("log p(x), summed exactly", evidence))
        else:
            rows.append(("log p(x), importance-sampled", f"{evidence} ({evaluation.samples} samples)"))
            rows.append(("effective samples", f"{bounds.effective_samples:.1f} of {evaluation.samples}"))
    if evaluation.diagnosis is not None:
        rows += _diagnosis_rows(evaluation.diagnosis, evaluation.samples)
    width = max((len(label) for label, _ in rows), default=0) + 2
    lines += [f"  {label:<{width}}{text}" for label, text in rows]
    for name in evaluation.from_q:
        counted = {way: by_name[name].confusion for way, by_name in ways.items() if name in by_name}
        lines += [f"  {line}" for line in confusion_lines(name, {w: c for w, c in counted.items() if c is not None})]
    return "\n".join(lines)


def _diagnosis_rows(diagnosis: Diagnosis, samples: int) -> list[tuple[str, str]]:
    """Write each term of the ELBO, without and with labels, and what may be wrong."""
    kinds = [kind for kind in ("unlabelled", "labelled") if kind in diagnosis.terms]
    rows = [("terms of the ELBO, nats", "".join(f"{kind:>12}" for kind in kinds))]
    for (node, role), words in diagnosis.words.items():
        means = [diagnosis.terms[kind].get(node, {}).get(role) for kind in kinds]
        texts = [" " * 12 if mean is None else f"{mean:12.3f}" for mean in means]
        rows.append((f"  {words}", "".join(texts).rstrip()))
    for pattern, count in diagnosis.effective_samples.items():
        if pattern != NO_LABELS and count < samples:  # those without labels have a line above
            rows.append((f"effective samples, {pattern} labelled", f"{count:.1f} of {samples}"))
    for name, count in diagnosis.active_units.items():
        rows.append((f"active units of {name}", f"{count} of {diagnosis.units[name]}"))
    if diagnosis.collapsed:
        rows.append(("collapsed", f"{', '.join(diagnosis.collapsed)} (less than {COLLAPSED} nats)"))
    return rows


def error_text(error: Error) -> str:
    """Write an error with its standard error over rows: 9.87 ± 0.30 %; of none in 100 rows 0.00 % (at most 3.70 %)."""
    more = error.metric.aside(error.value)
    more += f" ({error.more['steps']:.0f} steps of {error.rows} rows)" if "steps" in error.more else ""
    return error.metric.write(error.value, error.standard_error, error.rows) + more


def labelled_text(error: Error, rows: int) -> str:
    """Say on how many rows an error rests where some have no label to compare with."""
    if error.rows >= rows or "steps" in error.more:
        return ""
    return f" (the {error.rows} rows that have a label)" if error.rows > 1 else " (the 1 row that has a label)"


def given_count_text(error: Error) -> str:
    """Write the error of a counted repeat's steps in the rows whose count is predicted right, if it is known."""
    value = error.given_count
    if value is None:
        return ""
    return f"{error.metric.write(value)} ({error.more['rows_given_count']:.0f} rows)"


def clusters_text(error: Error) -> str:
    """Write how well predictions match labels as clusters, for a node without labels in training."""
    clusters = error.clusters
    if not isinstance(clusters, Clustering):
        return clusters or ""
    return f"error {100 * clusters.error:.2f} % up to a permutation, NMI {clusters.nmi:.3f}, ARI {clusters.ari:.3f}"


def calibration_text(calibration: Calibration) -> str:
    """Write the calibration and the proper scores of probabilities.

    >>> calibration_text(Calibration(0.0213, 0.3, 0.15, ()))
    'ECE 2.13 % (15 bins), NLL 0.300 nats, Brier 0.150'
    """
    loss = f"{calibration.log_loss:.3f} nats"
    if calibration.impossible:
        loss = f"infinite ({calibration.impossible} labels have p = 0)"
    return f"ECE {100 * calibration.error:.2f} % ({BINS} bins), NLL {loss}, Brier {calibration.brier:.3f}"


def coverage_text(coverage: dict[str, float]) -> str:
    """Write how often intervals contain the label.

    >>> coverage_text({"50%": 0.471, "90%": 0.9})
    '47.1 % in the central 50%, 90.0 % in the central 90%'
    """
    return ", ".join(f"{100 * share:.1f} % in the central {level}" for level, share in coverage.items())


def confusion_lines(node: str, ways: Mapping[str, Confusion]) -> list[str]:
    """Write the errors by category for all ways to predict, side by side, and then the confusions of each way."""
    if not ways:
        return []
    first = next(iter(ways.values()))
    places = np.flatnonzero(first.labels)
    few = len(first.names) <= LARGEST
    if not few:
        worst = np.argsort(-np.nan_to_num(first.errors[places]), kind="stable")[:LISTED]
        places = places[worst]
    head = ["error by category" if few else f"error by category, the {len(places)} largest", "labels", *ways]
    table = [[f"{head[0]} of {node}", *head[1:]]]
    for place in places.tolist():
        errors = [_percent(confusion.errors[place]) for confusion in ways.values()]
        table.append([f"  {_name(first, place)}", str(first.labels[place]), *errors])
    lines = _aligned(table)
    for way, confusion in ways.items():
        lines += _matrix(node, way, confusion) if few else [_most_frequent(node, way, confusion)]
    return lines


def _matrix(node: str, way: str, confusion: Confusion) -> list[str]:
    names = [_name(confusion, place)[:LETTERS] for place in range(len(confusion.names))]
    table = [["", *names]]
    for name, row in zip(names, confusion.matrix(range(len(names))).tolist(), strict=True):
        table.append([f"  {name}", *map(str, row)])
    return [f"confusion of {node}, {way}: a row for each label, a column for each prediction", *_aligned(table)]


def _most_frequent(node: str, way: str, confusion: Confusion) -> str:
    wrong = confusion.pairs[confusion.pairs[:, 0] != confusion.pairs[:, 1]]
    order = np.argsort(-wrong[:, 2], kind="stable")[:LISTED]
    words = [f"{_name(confusion, i)} as {_name(confusion, j)} {count}" for i, j, count in wrong[order].tolist()]
    return f"most frequent confusions of {node}, {way}: {', '.join(words) or 'none'}"


def _name(confusion: Confusion, place: int) -> str:
    name = confusion.names[place]
    return printable(str(name).lower() if isinstance(name, bool) else str(name))


def _percent(share: float) -> str:
    return "" if isnan(share) else f"{100 * share:.2f} %"


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Align the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        row[0].ljust(widths[0]) + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in table
    ]
