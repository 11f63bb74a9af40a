"""The page of a report: one HTML file that opens by a double click and asks nothing of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sgc.arguments import path_of
from sgc.data.outputs import write_output
from sgc.evaluation.prediction_scores import Error
from sgc.report.pages.charts import chart_scripts
from sgc.report.pages.html_document import document, escaped, page_file
from sgc.run_report.html_parts import (
    Figures,
    code_block,
    contents,
    findings,
    folded,
    paragraph,
    picture,
    section,
    table,
    tiles,
)
from sgc.run_report.latent_section import latent_section
from sgc.run_report.prediction_diagnostics import commonest
from sgc.run_report.prediction_section import prediction_section
from sgc.run_report.run_report import RunReport, report_run
from sgc.run_report.training_curves import training_section
from sgc.trained.evaluation_words import labelled_text
from sgc.version import __version__


def write_report(
    path: str | Path, output: str | Path = "report.html", **how: Any
) -> RunReport:  # Any: as `report_run` says
    """Measure a run and write its page: curves, errors, calibration, maps of latents, pictures, and what to do.

    path: the run's folder. output: the file, which ends in .html. how: `checkpoint`, `split`, `samples`, `seed` and
    `trust` as of `sgc report`; `data`, for a run that was trained on arrays, the same arrays or data frame.

    Raises: SpecError, UsageError, DataError, OSError.
    """
    goal = path_of("output", output)
    report = report_run(path, output=goal, **how)
    write_output(goal, report_page(report).encode())
    return report


def report_page(report: RunReport) -> str:
    """Write the page of a report; the same report gives the same page."""
    figures = Figures()
    parts = [
        ("training", "Training", training_section(report, figures)),
        ("labels", "Labels and predictions", prediction_section(report, figures)),
        ("latents", "Latents", latent_section(report, figures)),
        ("pictures", "Pictures", "".join(picture(p.png, p.caption, p.alternative) for p in report.pictures)),
        ("run", "Spec, versions, command", _run(report)),
    ]
    facts = report.facts
    body = (
        f"<header><h1>{escaped(facts.name)}</h1>\n{_subtitle(report)}\n</header>\n"
        f'<main id="main">\n{tiles(_tiles(report))}\n'
        f"{section('findings', 'How good it is, and what to do', findings(report.diagnostics), _left_out(report))}\n"
        f"{contents(parts)}\n"
        + "\n".join(section(name, title, content) for name, title, content in parts)
        + f"\n</main>\n<footer>Written by sgc {escaped(__version__)} with {escaped(report.command)}</footer>"
    )
    scripts = chart_scripts() if figures.count else ()
    return document(f"{facts.name}: report", body, styles=(page_file("report.css"),), scripts=scripts)


def _subtitle(report: RunReport) -> str:
    facts, evaluation = report.facts, report.evaluation
    weights = f"weights of epoch {facts.epoch:g} ({facts.checkpoint})"
    measured = "" if evaluation is None else f", measured on {evaluation.rows} {report.split} rows"
    labels = ", ".join(f"{count} labels of {name}" for name, count in facts.labels.items())
    rows = sum(facts.rows.values())
    trained = f"trained on {rows} rows" + (f" with {labels}" if labels else "")
    text = f"Run {facts.run}: {weights}{measured}; {trained}."
    return (paragraph(facts.description) if facts.description else "") + paragraph(text, "soft")


def _tiles(report: RunReport) -> list[tuple[str, str, str]]:
    """Choose the numbers that say most, for the top of the page."""
    evaluation, history = report.evaluation, report.history
    entries: list[tuple[str, str, str]] = []
    if evaluation is not None:
        for name, error in evaluation.from_q.items():
            weighted = evaluation.from_posterior.get(name)
            more = "by q" if weighted is None else f"by q; {weighted.metric.write(weighted.value)} by the posterior"
            more += _beside(report, name, error) + labelled_text(error, evaluation.rows)
            entries.append(
                (
                    f"{error.metric.title} of {name}",
                    error.metric.write(error.value, error.standard_error, error.rows),
                    more,
                )
            )
        if evaluation.bounds is not None:
            bounds = evaluation.bounds
            exact = "exact" if evaluation.exact else f"{evaluation.samples} samples"
            entries.append(("log p(x)", f"{bounds.log_evidence:.2f} nats", f"{exact}; ELBO {bounds.elbo:.2f}"))
            if not evaluation.exact:
                share = f"of {evaluation.samples}"
                entries.append(("effective samples", f"{bounds.effective_samples:.1f}", share))
        if evaluation.diagnosis is not None:
            for name, active in evaluation.diagnosis.active_units.items():
                entries.append((f"active units of {name}", f"{active} of {evaluation.diagnosis.units[name]}", ""))
    else:
        for name, points in history.errors.items():
            known = [value for _, value in points if value is not None]
            if known:
                entries.append((f"validation error of {name}", f"{known[-1]:.4g}", f"epoch {points[-1][0]}, by q"))
    best = f"best in epoch {history.best}" if history.best else ""
    entries.append(("epochs", f"{history.done} of {history.planned}", best))
    entries.append(("time of training", _time(history.seconds), f"{report.facts.parameters:,} parameters"))
    return entries


def _beside(report: RunReport, name: str, error: Error) -> str:
    """Say what an error is to be held against: always the commonest category, or the mean."""
    explained = report.explained.get(name)
    if explained is not None:
        return f"; explains {100 * explained:.0f} % of the variance"
    shares = commonest(error)
    return "" if shares is None else f"; {100 * (1 - shares):.0f} % by always the commonest"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _left_out(report: RunReport) -> str:
    if not report.left_out:
        return ""
    items = "".join(f"<li>{escaped(text)}</li>" for text in report.left_out)
    return f'<div class="note"><p>Not on this page:</p><ul>{items}</ul></div>'


def _run(report: RunReport) -> str:
    facts = report.facts
    versions = ", ".join(f"{name} {version}" for name, version in facts.versions.items())
    rows = [
        ["bound", f"{facts.bound}, {facts.samples} samples" if facts.samples > 1 else f"{facts.bound}, 1 sample"],
        ["parameters", f"{facts.parameters:,}"],
        ["seed", f"{facts.seed}"],
        ["made with", f"{versions}"],
        ["on", facts.platform + (f", {facts.threads} threads" if facts.threads else "")],
        ["seeds of this page", f"{report.seed}"],
        ["this page", report.command],
    ]
    return table("The run", ["fact", "value"], rows, numbers=False) + folded(
        "The spec, with every default", code_block(facts.spec, "The spec")
    )
