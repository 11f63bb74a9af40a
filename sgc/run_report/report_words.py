"""The words of `sgc report` on a terminal: where the page is, and what to look at."""

from __future__ import annotations

from sgc.run_report.run_report import RunReport


def report_text(report: RunReport, file: str) -> str:
    """Say where the page is, what was measured, and what was found, the worst first."""
    facts, evaluation = report.facts, report.evaluation
    rows = "no rows" if evaluation is None else f"{evaluation.rows} {report.split} rows"
    lines = [f"{file}: {facts.run} ({facts.checkpoint}, epoch {facts.epoch:g}), {rows}"]
    if evaluation is not None:
        for name, error in evaluation.from_q.items():
            words = f"{error.metric.title} of {name}"
            ways = [f"{error.metric.write(error.value, error.standard_error, error.rows)} by q"]
            if (weighted := evaluation.from_posterior.get(name)) is not None:
                text = weighted.metric.write(weighted.value, weighted.standard_error, weighted.rows)
                ways.append(f"{text} by the posterior")
            lines.append(f"  {words}: {', '.join(ways)}")
    for diagnostic in report.diagnostics:
        lines.append(f"  {diagnostic.level:<8} {diagnostic.text}")
        if diagnostic.advice:
            lines.append(f"  {'':<8} {diagnostic.advice}")
    lines += [f"  left out {text}" for text in report.left_out]
    return "\n".join(lines)
