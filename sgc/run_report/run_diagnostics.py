"""What is wrong with a run, and what to do about it under the spec at hand; and what is right.

Each diagnostic compares measures with a limit that stands beside it, and names the guide of the documentation to read.
"""

from __future__ import annotations

from sgc.run_report.diagnostic import LEVELS, Diagnostic, Measured
from sgc.run_report.prediction_diagnostics import prediction_diagnostics
from sgc.run_report.training_diagnostics import training_diagnostics


def diagnostics(measured: Measured) -> tuple[Diagnostic, ...]:
    """Judge a run: what is worst comes first."""
    found = [*prediction_diagnostics(measured), *training_diagnostics(measured)]
    return tuple(sorted(found, key=lambda diagnostic: LEVELS.index(diagnostic.level)))
