"""Whether q or the weighted posterior predicts better on validation rows: advice if effective samples are few."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgc.errors import DataError, RunError, SpecError, UsageError, option
from sgc.evaluation.measurement import chunk_rows
from sgc.evaluation.prediction_scores import Score
from sgc.objectives.bounds import IWAE
from sgc.randomness import Generators, drawing_from
from sgc.runs.run_folder import RunFolder, open_run
from sgc.runtime.finiteness import sums_without_failures
from sgc.runtime.inference import Answer
from sgc.runtime.model import Model
from sgc.runtime.modes import as_a_run
from sgc.runtime.posterior import Posterior
from sgc.runtime.steps import nodes_of
from sgc.runtime.streams import VALIDATION, TensorRows, seed_for
from sgc.trained.run_evaluation import held_out, run_data

ROWS = 500  # measured at most, evenly spaced: enough for a difference that matters
CLEAR = 2.0  # standard errors of a clear difference


@dataclass(frozen=True)
class Comparison:
    """The quality of both answers for one node, over the same labels.

    `measure`: NLL in nats for a node with probabilities, else its metric. `better` is empty if the mean difference by
    row is less than two of its standard errors. In words, both numbers are multiplied by `scale`, and `unit` follows.
    """

    node: str
    measure: str
    q: float
    posterior: float
    labels: int
    better: Answer | str
    unit: str = ""
    scale: float = 1.0

    @property
    def words(self) -> str:
        """Say which answer is better, with the numbers."""
        q, posterior = self.q * self.scale, self.posterior * self.scale
        numbers = f"{self.measure} {q:.4g} of q, {posterior:.4g}{self.unit} of the posterior"
        verdicts = {"q": "q is the better answer", "posterior": "the weighted posterior is still the better answer"}
        return f"{verdicts.get(self.better, 'neither answer is clearly better')} for {self.node} ({numbers})"


@dataclass(frozen=True)
class Advice:
    """The comparisons and the number of validation rows, or the reason why there are none."""

    comparisons: tuple[Comparison, ...] = ()
    rows: int = 0
    reason: str = ""

    def words(self) -> str:
        """Give the advice as a sentence."""
        flag = option("from", "q", python="from_='q'")
        if not self.comparisons:
            return f"validation cannot tell whether {flag} is better: {self.reason}"
        compared = "; ".join(comparison.words for comparison in self.comparisons)
        advice = f": {flag}" if any(comparison.better == "q" for comparison in self.comparisons) else ""
        return f"on {self.rows} validation rows {compared}{advice}"

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Give it as plain data."""
        if not self.comparisons:
            return {"reason": self.reason}
        nodes = {
            comparison.node: {
                "measure": comparison.measure,
                "q": comparison.q,
                "posterior": comparison.posterior,
                "better": comparison.better,
            }
            for comparison in self.comparisons
        }
        return {"rows": self.rows, "nodes": nodes}


def advise(folder: RunFolder, model: Model, samples: int, given: Collection[str] = ()) -> Advice:
    """Compare both answers on the validation rows of a run.

    given: nodes by outer name whose labels are evidence in both answers; only rows that have them all are compared. If
    the data of the run cannot be opened, the advice gives the reason.
    """
    try:
        with as_a_run():
            rows = held_out(model, run_data(folder, model), "validation")
            return compare(model, rows, samples, given)
    except (DataError, RunError, SpecError, UsageError) as problem:
        return Advice(reason=str(problem))


@torch.no_grad()
def compare(model: Model, rows: TensorRows, samples: int, given: Collection[str] = ()) -> Advice:
    """Compare q's answer with that of so many weighted samples, on at most 500 rows; see `Comparison`."""
    names = [name for name in rows.labelled_names if name not in given]
    observed = frozenset(node for name in given for node in nodes_of(model.outline, name))
    index = np.arange(rows.count)
    for name in given:
        index = index[rows.labels_of(name)[index].all(1)] if name in rows.labelled_names else index[:0]
    index = index[np.unique(np.linspace(0, len(index) - 1, min(ROWS, len(index))).astype(int))]
    scores = {name: [Score(model, name, rows) for _ in range(2)] for name in names}
    size = chunk_rows(model, samples)
    with drawing_from(Generators(seed_for(model.spec.train.seed, VALIDATION, 4))):
        for start in range(0, len(index), size):
            chunk = index[start : start + size]
            finished, _ = sums_without_failures(
                lambda group: model.sums(group, samples=samples, exact=True, bound=IWAE), [rows.part(chunk, observed)]
            )
            for part, sums in finished:
                posterior, places = Posterior(sums, model.outline), chunk[part.places]
                for by_q, by_posterior in scores.values():
                    by_q.add_means(places, posterior, weighted=False)
                    by_posterior.add_means(places, posterior, weighted=True)
    compared = tuple(_compared(name, *both) for name, both in scores.items() if all(score.is_known for score in both))
    if compared:
        return Advice(compared, len(index))
    missing = " and ".join(f"'{name}'" for name in names) or "other nodes"
    return Advice(reason=f"no validation row has a label of {missing}" if names else "no other node has labels")


def _compared(node: str, by_q: Score, by_posterior: Score) -> Comparison:
    """Compare the losses of the same labels, paired by row."""
    probable = bool(by_q.log_losses) and by_q.calibrating is not None
    first, second = (torch.cat(score.log_losses if probable else score.distances) for score in (by_q, by_posterior))
    owners = torch.cat(by_q.owners)
    known = ~(first.isnan() | second.isnan())  # NaN: rows without finite scores
    first, second, owners = first[known], second[known], owners[known]
    q, posterior = float(first.mean()), float(second.mean())
    metric = by_q.metric
    if probable:
        return Comparison(node, "NLL", q, posterior, len(first), _better(first, second, owners), " nats")
    if not metric.lower_is_better:
        first, second = -first, -second
    better = _better(first, second, owners)
    q, posterior = (metric.average(mean, math.nan)[0] for mean in (q, posterior))
    return Comparison(node, metric.short, q, posterior, len(first), better, metric.short_unit, metric.scale)


def _better(first: Tensor, second: Tensor, owners: Tensor) -> str:
    """Say whose losses are clearly lower over rows; those of a row are not independent, and are summed."""
    if math.isinf(float(first.sum())) != math.isinf(float(second.sum())):
        return "q" if math.isinf(float(second.sum())) else "posterior"
    _, place = owners.unique(return_inverse=True)
    apart = torch.bincount(place, torch.nan_to_num(first.double() - second.double()))
    spread = float(apart.std()) * math.sqrt(len(apart)) if len(apart) > 1 else math.inf
    total = float(apart.sum())
    return "" if abs(total) <= CLEAR * spread else "q" if total < 0 else "posterior"


def open_advised(path: str | Path, checkpoint: str = "best", *, trust: bool = False) -> Model:
    """Open a trained model, in evaluation mode, whose `infer` can say which of its answers validation finds better.

    path: a run folder. checkpoint: `best`, by validation bound, or `last`. trust: allow own code that its spec names
    to be imported; a run does not remember it.

    Raises: SpecError for own code without trust; UsageError where there is no run, its weights do not fit its spec, or
    own code cannot be used.
    """
    model = open_run(path, checkpoint, trust=trust)
    model.adviser = partial(_advice_text, Path(path))  # a lambda could not be pickled with the model
    return model


def _advice_text(path: Path, model: Model, samples: int) -> str:
    return advise(RunFolder(path), model, samples).words()
