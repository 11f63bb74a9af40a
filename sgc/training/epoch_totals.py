"""The sums of one epoch: the loss, and the bounds, their terms and the effective samples of its rows."""

from __future__ import annotations

from typing import Any

from sgc.evaluation.mean_terms import TermMeans
from sgc.runs.run_records import EpochSums
from sgc.runtime.sums import patterns_in
from sgc.spec.outline import Outline
from sgc.training.recorded_steps import StepResult

# Terms are those of every eighth step of an epoch, from its first: with small networks and much that is enumerated,
# taking them apart costs up to half a step.
STRIDE = 8


class EpochTotals:
    """The totals of an epoch in progress; the state of a run that is stopped holds them."""

    def __init__(self, outline: Outline) -> None:
        self.loss, self.steps = 0.0, 0
        self.bounds = {"unlabelled": 0.0, "labelled": 0.0}
        self.rows = {"unlabelled": 0, "labelled": 0}
        self.terms = TermMeans(outline)
        self.order = outline.graphs.order("recognition")

    @property
    def wants_terms(self) -> bool:
        """Whether the terms of the next step are to be taken in."""
        return self.steps % STRIDE == 0

    def add(self, step: StepResult) -> None:
        """Take in a step."""
        for result in step.parts:
            kind = "labelled" if result.part.has_labels else "unlabelled"
            self.bounds[kind] += float(result.bound.sum())
            self.rows[kind] += result.part.size
            if result.terms is not None:
                self.terms.take(patterns_in(result.part.observed, result.part.labelled, self.order), result.terms)
        self.loss, self.steps = self.loss + step.loss, self.steps + 1

    def means(self) -> dict[str, Any]:  # Any: numbers
        """Average over steps and rows, as a line of the log says it; terms over the rows of every eighth step."""
        line: dict[str, Any] = {"loss": self.loss / max(1, self.steps)}
        line["bound"] = {kind: self.bounds[kind] / self.rows[kind] for kind in self.bounds if self.rows[kind]}
        return line | {"terms": self.terms.means(), "effective_samples": self.terms.effective_samples()}

    def state(self) -> dict[str, Any]:  # Any: numbers
        sums = {"loss": self.loss, "steps": self.steps, "bounds": dict(self.bounds), "rows": dict(self.rows)}
        return sums | {"terms": self.terms.state()}

    @classmethod
    def of(cls, state: EpochSums, outline: Outline) -> EpochTotals:
        """Go on from a saved state."""
        totals = cls(outline)
        totals.loss, totals.steps = state.loss, state.steps
        totals.bounds, totals.rows = state.bounds.model_dump(), state.rows.model_dump()
        if state.terms is not None:
            totals.terms = TermMeans.of(state.terms, outline)
        return totals
