"""The sums of one epoch: the loss, and the bounds, their terms and the effective samples of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sgc.evaluation.mean_terms import TermMeans, Terms
from sgc.runs.run_records import EpochSums
from sgc.runtime.sums import patterns_in
from sgc.spec.outline import Outline
from sgc.training.processes import Processes
from sgc.training.step_results import PartResult

# Terms are those of every eighth step of an epoch, from its first: with small networks and much that is enumerated,
# taking them apart costs up to half a step.
STRIDE = 8


@dataclass(frozen=True)
class PartSums:
    """What totals take in of the rows of one pattern in a step, still on the device.

    bound: the sum over the rows. terms: the sums over the rows, [terms + 1]; those of each row, [terms + 1, B], where
    the rows differ in their labels.
    """

    rows: int
    observed: frozenset[str]
    labelled: Mapping[str, Tensor]
    bound: Tensor
    terms: Terms | None

    @property
    def tensors(self) -> list[Tensor]:
        """The sums, in their order."""
        return [self.bound] if self.terms is None or self.labelled else [self.bound, self.terms.values]


@dataclass(frozen=True)
class StepSums:
    """What totals take in of a step."""

    parts: list[PartSums]

    @property
    def tensors(self) -> list[Tensor]:
        """The sums, in their order."""
        return [tensor for part in self.parts for tensor in part.tensors]

    def numbers(self) -> list[float]:
        """Read the sums from the device."""
        return [number for tensor in self.tensors for number in (tensor.tolist() if tensor.ndim else [float(tensor)])]


def sums_of(parts: Sequence[PartResult]) -> StepSums:
    """Sum over rows what a step leaves of each part; nothing is read, and nothing of it is needed any more."""
    sums: list[PartSums] = []
    for result in parts:
        part, bound, terms, labelled = result.part, result.bound, result.terms, result.part.labelled
        rows = part.size
        if part.share is not None:  # the rows of this process, without copies
            rows = part.share.real
            bound, labelled = bound[:rows], {name: carried[:rows] for name, carried in labelled.items()}
            terms = None if terms is None else Terms(terms.names, terms.values[:, :rows])
        if terms is not None:
            terms = Terms(terms.names, terms.values.clone() if labelled else terms.values.sum(1))
        sums.append(PartSums(rows, part.observed, labelled, bound.sum(), terms))
    return StepSums(sums)


class EpochTotals:
    """The totals of an epoch in progress; the state of a run that is stopped holds them."""

    def __init__(self, outline: Outline) -> None:
        self.loss, self.steps = 0.0, 0
        self.bounds = {"unlabelled": 0.0, "labelled": 0.0}
        self.rows = {"unlabelled": 0, "labelled": 0}
        self.terms = TermMeans(outline)
        self.order = outline.graphs.order("recognition")

    def wants_terms(self, *, ahead: int = 0) -> bool:
        """Tell whether the terms of the next step are to be taken in. ahead: steps that are not taken in yet."""
        return (self.steps + ahead) % STRIDE == 0

    def add(self, loss: float, sums: StepSums, numbers: Sequence[float]) -> None:
        """Take in a step. numbers: those of its sums."""
        rest = iter(numbers)
        for part in sums.parts:
            kind = "labelled" if part.observed or part.labelled else "unlabelled"
            self.bounds[kind] += next(rest)
            self.rows[kind] += part.rows
            if part.terms is None:
                continue
            if part.labelled:
                self.terms.take(patterns_in(part.observed, part.labelled, self.order), part.terms)
            else:
                [(labels, _)] = patterns_in(part.observed, {}, self.order)
                self.terms.add_totals(labels, part.terms.names, [next(rest) for _ in part.terms.values], part.rows)
        self.loss, self.steps = self.loss + loss, self.steps + 1

    def means(self) -> dict[str, Any]:  # Any: numbers
        """Average over steps and rows, as a line of the log says it; terms over the rows of every eighth step."""
        line: dict[str, Any] = {"loss": self.loss / max(1, self.steps)}
        line["bound"] = {kind: self.bounds[kind] / self.rows[kind] for kind in self.bounds if self.rows[kind]}
        return line | {"terms": self.terms.means(), "effective_samples": self.terms.effective_samples()}

    def state(self) -> dict[str, Any]:  # Any: numbers
        sums = {"loss": self.loss, "steps": self.steps, "bounds": dict(self.bounds), "rows": dict(self.rows)}
        return sums | {"terms": self.terms.state()}

    def over(self, processes: Processes, outline: Outline) -> EpochTotals:
        """Give the totals of all processes; the loss and the steps are those of all in each."""
        if processes.alone:
            return self
        whole = EpochTotals(outline)
        whole.loss, whole.steps = self.loss, self.steps
        for state in processes.of_all(self.state()):
            for kind in whole.bounds:
                whole.bounds[kind] += state["bounds"][kind]
                whole.rows[kind] += state["rows"][kind]
            whole.terms.add_state(state["terms"])
        return whole

    def emptied(self) -> None:
        """Forget the sums over rows, which another process holds."""
        self.bounds, self.rows = dict.fromkeys(self.bounds, 0.0), dict.fromkeys(self.rows, 0)
        self.terms.clear()

    @classmethod
    def of(cls, state: EpochSums, outline: Outline) -> EpochTotals:
        """Go on from a saved state."""
        totals = cls(outline)
        totals.loss, totals.steps = state.loss, state.steps
        totals.bounds, totals.rows = state.bounds.model_dump(), state.rows.model_dump()
        if state.terms is not None:
            totals.terms = TermMeans.of(state.terms, outline)
        return totals
