"""The words of `sgc evaluate`: errors and calibration side by side, bounds, and what they were measured on."""

from __future__ import annotations

from sgc.evaluation.calibration import BINS, Calibration
from sgc.evaluation.collapse import COLLAPSED
from sgc.evaluation.confusion import Clustering
from sgc.evaluation.confusion_tables import confusion_lines
from sgc.evaluation.diagnosis import Diagnosis
from sgc.evaluation.mean_terms import NO_LABELS
from sgc.evaluation.prediction_scores import Error
from sgc.trained.run_evaluation import Report


def evaluation_text(report: Report) -> str:
    """Write an evaluation as aligned lines."""
    found = report.evaluation
    rows_left = f"{found.rows} of {found.total}" if found.rows < found.total else found.rows
    labels = ", ".join(f"{count} labels of {name}" for name, count in report.labels.items())
    lines = [
        f"{report.run} ({report.checkpoint}), {rows_left} {report.split} rows"
        + (f", trained with {labels}" if labels else "")
    ]

    rows: list[tuple[str, str]] = []
    ways = {"q directly": found.from_q, "weighted posterior": found.from_posterior}
    ways["classifier alone"] = {} if report.classifier is None else report.classifier.from_q
    for name in found.from_q:
        errors = {way: by_name[name] for way, by_name in ways.items() if name in by_name}
        rows += [(f"{each.metric.title} of {name}, {way}", error_text(each)) for way, each in errors.items()]
        rows += [
            (f"{each.metric.title} of {name}, {way}, count right", text)
            for way, each in errors.items()
            if (text := given_count_text(each))
        ]
        for way, each in errors.items():
            if each.confusion is not None and (each.confusion.labels > 0).sum() > 1:
                rows.append((f"balanced error of {name}, {way}", f"{100 * each.confusion.balanced_error:.2f} %"))
        rows += [(f"clusters of {name}, {way}", text) for way, each in errors.items() if (text := clusters_text(each))]
        for way, each in errors.items():
            if each.calibration is not None:
                rows.append((f"calibration of {name}, {way}", calibration_text(each.calibration)))
            if each.coverage is not None:
                rows.append((f"coverage of {name}, {way}", coverage_text(each.coverage)))
    if found.bounds is not None:
        bounds = found.bounds
        rows.append(("ELBO (Eq. 8, no labels)", f"{bounds.elbo:.3f} ± {bounds.elbo_error:.3f} nats"))
        evidence = f"{bounds.log_evidence:.3f} ± {bounds.log_evidence_error:.3f} nats"
        if found.exact:
            rows.append(("log p(x), summed exactly", evidence))
        else:
            rows.append(("log p(x), importance-sampled", f"{evidence} ({found.samples} samples)"))
            rows.append(("effective samples", f"{bounds.effective_samples:.1f} of {found.samples}"))
    if found.diagnosis is not None:
        rows += _diagnosis_rows(found.diagnosis, found.samples)
    width = max((len(label) for label, _ in rows), default=0) + 2
    lines += [f"  {label:<{width}}{text}" for label, text in rows]
    for name in found.from_q:
        counted = {way: by_name[name].confusion for way, by_name in ways.items() if name in by_name}
        lines += [f"  {line}" for line in confusion_lines(name, {w: c for w, c in counted.items() if c is not None})]
    return "\n".join(lines)


def _diagnosis_rows(found: Diagnosis, samples: int) -> list[tuple[str, str]]:
    """Write each term of the ELBO, without and with labels, and what is wrong or may be."""
    kinds = [kind for kind in ("unlabelled", "labelled") if kind in found.terms]
    rows = [("terms of the ELBO, nats", "".join(f"{kind:>12}" for kind in kinds))]
    for (node, role), words in found.words.items():
        means = [found.terms[kind].get(node, {}).get(role) for kind in kinds]
        texts = [" " * 12 if mean is None else f"{mean:12.3f}" for mean in means]
        rows.append((f"  {words}", "".join(texts).rstrip()))
    for pattern, count in found.effective_samples.items():
        if pattern != NO_LABELS and count < samples:  # of those without labels it stands above
            rows.append((f"effective samples, {pattern} labelled", f"{count:.1f} of {samples}"))
    rows += [(f"active units of {name}", f"{n} of {found.units[name]}") for name, n in found.active_units.items()]
    if found.collapsed:
        rows.append(("collapsed", f"{', '.join(found.collapsed)} (less than {COLLAPSED} nats)"))
    return rows


def error_text(error: Error) -> str:
    """Write an error with its standard error over rows: 9.87 ± 0.30 %."""
    more = error.metric.aside(error.value)
    more += f" ({error.more['steps']:.0f} steps of {error.rows} rows)" if "steps" in error.more else ""
    return error.metric.write(error.value, error.standard_error) + more


def given_count_text(error: Error) -> str:
    """Write the error of a counted repeat's steps in the rows whose count is predicted right, where it is known."""
    value = error.given_count
    if value is None:
        return ""
    return f"{error.metric.write(value)} ({error.more['rows_given_count']:.0f} rows)"


def clusters_text(error: Error) -> str:
    """Write what predictions are worth as clusters, of a node that training had no label of."""
    found = error.clusters
    if not isinstance(found, Clustering):
        return found or ""
    return f"error {100 * found.error:.2f} % up to a permutation, NMI {found.nmi:.3f}, ARI {found.ari:.3f}"


def calibration_text(found: Calibration) -> str:
    """Write how far probabilities can be trusted.

    >>> calibration_text(Calibration(0.0213, 0.3, 0.15, ()))
    'ECE 2.13 % (15 bins), NLL 0.300 nats, Brier 0.150'
    """
    loss = f"{found.log_loss:.3f} nats" if not found.impossible else f"infinite ({found.impossible} labels have p = 0)"
    scores = f"NLL {loss}, Brier {found.brier:.3f}"
    return f"ECE {100 * found.error:.2f} % ({BINS} bins), {scores}"


def coverage_text(found: dict[str, float]) -> str:
    """Write how often intervals hold the label.

    >>> coverage_text({"50%": 0.471, "90%": 0.9})
    '47.1 % in the central 50%, 90.0 % in the central 90%'
    """
    return ", ".join(f"{100 * share:.1f} % in the central {level}" for level, share in found.items())
