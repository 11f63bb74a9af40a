"""Measuring a model on rows with known labels: bounds, errors from q and from the weighted posterior, log p(x)."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sgc.errors import RunError
from sgc.evaluation.collapse import active_units, unit_nodes
from sgc.evaluation.diagnosis import Diagnosis, Diagnostician
from sgc.evaluation.passes import Reasons, finite_passes, not_finite
from sgc.evaluation.prediction_scores import Error, Score, known, known_errors
from sgc.objectives.bounds import ELBO, IWAE
from sgc.randomness import Generators, drawing_from
from sgc.runtime.batch import PatternRows
from sgc.runtime.collectives import gathered_rows
from sgc.runtime.exact_estimators import numbers_a_row
from sgc.runtime.finiteness import WORDS, check_finite, rows_words, term_text
from sgc.runtime.inference import mean_of
from sgc.runtime.model import Model
from sgc.runtime.posterior import Posterior
from sgc.runtime.streams import VALIDATION, TensorRows, seed_for
from sgc.runtime.sums import Sums

ROWS = 1000  # in a pass, before samples and categories multiply them
NUMBERS = 50_000_000  # in one tensor


@dataclass(frozen=True)
class Validation:
    """The mean bound of rows without their labels, the error of q for each labelled node, and the active units."""

    bound: float
    errors: dict[str, float]
    active_units: dict[str, int]


def blame(sums: Sequence[Sums]) -> str:
    """Say which node's term makes a bound that is not finite."""
    for group_sums in sums:
        term = check_finite(group_sums.group)
        if term is not None:
            return f"{term_text(*term)}, in {group_sums.plan.rows_text()}"
    terms = [
        (float(term.detach().abs().max()), node, role, group_sums)
        for group_sums in sums
        for node, roles in group_sums.terms().items()
        for role, term in roles.items()
    ]
    size, node, role, group_sums = max(terms, key=lambda term: term[0])
    problem = f"{WORDS[role]} is as large as {size:.2g} nats, too large to add up"
    return f"node '{node}': {problem}, in {group_sums.plan.rows_text()}"


@torch.no_grad()
def validate(model: Model, rows: TensorRows, seed: int) -> Validation:
    """Measure the mean bound of rows without their labels, by the rows' weights, and the errors against the labels.

    The draws are the same every time. Raises: RunError, which names the node, if the bound is not finite.
    """
    supervised = not model.spec.maximised.generative
    bounds: list[Tensor] = []
    scores = {name: Score(model, name, rows) for name in rows.labelled_names}
    means: dict[str, list[Tensor]] = {name: [] for name in unit_nodes(model)}
    with drawing_from(Generators(seed_for(seed, VALIDATION))):
        for index in rows.chunks(chunk_rows(model, model.spec.objective.samples)):
            part = rows.part(index, frozenset())
            (sums,) = model.sums([part], exact=True, bound=ELBO if supervised else None)
            value = sums.value()
            if not supervised and not bool(torch.isfinite(value).all()):
                raise RunError(blame([sums]))
            every = rows_of_all(part)
            bounds.append(every(value))
            posterior = Posterior(sums, model.outline)
            for score in scores.values():
                if part.share is None:
                    score.add_means(index, posterior, weighted=False)
                else:
                    score.add_shared_means(index, posterior, every)
            for name, unit_means in means.items():
                unit_means.append(every(mean_of(posterior, name, weighted=False)))
    errors = {name: error.value for name, error in known_errors(scores).items()}
    active = {name: active_units(torch.cat(unit_means)) for name, unit_means in means.items()}
    all_bounds = torch.cat(bounds)
    if rows.weights is None:
        mean = all_bounds.mean()
    else:  # only ratios of weights matter: weights far from 1 could leave the range of the model's precision
        weights = torch.from_numpy(rows.weights / rows.weights.max()).to(all_bounds)
        mean = (weights * all_bounds).sum() / weights.sum()
    return Validation(float(mean), errors, active)


def rows_of_all(part: PatternRows) -> Callable[[Tensor], Tensor]:
    """Give what makes values by row, [B, ...], those of the rows of all processes that share them out."""
    share = part.share
    if share is None:
        return lambda values: values
    return lambda values: gathered_rows(values.contiguous(), share.count)


@dataclass(frozen=True)
class Bounds:
    """Means over rows in nats, with standard errors (NaN for one row), and the effective samples of p/r."""

    elbo: float
    elbo_error: float
    log_evidence: float
    log_evidence_error: float
    effective_samples: float

    @classmethod
    def of(cls, elbo: Tensor, evidence: Tensor, effective: Tensor) -> Bounds:
        """Average over rows, [N] each."""
        return cls(*_mean(elbo), *_mean(evidence), float(effective.mean()))

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Give them as plain data."""
        return {
            "elbo": self.elbo,
            "elbo_standard_error": known(self.elbo_error),
            "log_p": self.log_evidence,
            "log_p_standard_error": known(self.log_evidence_error),
            "effective_samples": self.effective_samples,
        }


def _mean(rows: Tensor) -> tuple[float, float]:
    return float(rows.mean()), float(rows.std()) / math.sqrt(len(rows)) if len(rows) > 1 else math.nan


@dataclass(frozen=True)
class Evaluation:
    """The measures of a model on a split: errors by node from q and from the weighted posterior, bounds, diagnosis.

    exact: nothing is drawn, so that log p(x) is a sum over all hidden values. broken: rows that are left out because
    one of their scores is not finite, by id, with the reason.
    """

    rows: int
    samples: int
    from_q: dict[str, Error]
    from_posterior: dict[str, Error]
    bounds: Bounds | None  # None: a classifier alone has no generative model to measure
    diagnosis: Diagnosis | None  # likewise
    exact: bool = False
    total: int = 0  # rows of the split
    broken: Mapping[int, str] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Give it as plain data."""
        data: dict[str, Any] = {  # Any: as above
            "rows": self.rows,
            "samples": self.samples,
            "broken": {str(row): reason for row, reason in self.broken.items()},
            "q": {name: error.plain() for name, error in self.from_q.items()},
            "posterior": {name: error.plain() for name, error in self.from_posterior.items()},
        }
        for part in (self.bounds, self.diagnosis):
            data |= {} if part is None else part.plain()
        return data


@torch.no_grad()
def evaluate(
    model: Model,
    rows: TensorRows,
    samples: int,
    seed: int,
    watch: Callable[[int], None] | None = None,
    clusters: Collection[str] = (),
) -> Evaluation:
    """Measure a model on rows without showing it their labels.

    The ELBO is Eq. (8) without labels at one sample per row, log p(x) is importance-sampled with `samples`; both are
    means over rows, in nats. Effective samples are 1 / Σ_s ŵ_s², from 1 to `samples`, for the normalised weights of p/r
    with enumerated nodes summed out. The diagnosis is of the same rows, also with their labels. Rows whose scores are
    not finite are left out and reported.

    watch: called after each pass with the number of finished rows. clusters: nodes without labels in training, by outer
    name, whose categories are then matched with the labels.

    Raises: RunError, which names the terms, if no row has finite scores.
    """
    direct = {name: Score(model, name, rows) for name in rows.labelled_names}
    weighted = {name: Score(model, name, rows) for name in rows.labelled_names}
    elbo: list[Tensor] = []
    evidence: list[Tensor] = []
    effective: list[Tensor] = []
    alone = not model.spec.maximised.generative
    diagnostician = Diagnostician(model, samples, seed)
    broken: Reasons = {}
    count = 0

    def hidden(part: PatternRows) -> tuple[tuple[Posterior, tuple[Sums, Sums, Tensor] | None], Reasons]:
        """Give the posterior without labels; unless q is alone, also the sums of ELBO and log p(x), and the ELBO."""
        if alone:
            (sums,) = model.sums([part], exact=True, bound=ELBO, samples=samples)
            return (Posterior(sums, model.outline), None), {}
        (bound,) = model.sums([part], exact=True, bound=ELBO, samples=1)
        (sums,) = model.sums([part], exact=True, bound=IWAE, samples=samples)
        posterior, values = Posterior(sums, model.outline), bound.value()
        wrong = not_finite(sums, posterior.log_evidence) | not_finite(bound, values)
        return (posterior, (bound, sums, values)), wrong

    with drawing_from(Generators(seed_for(seed, VALIDATION, 1))):
        for chunk in rows.chunks(chunk_rows(model, samples)):
            parts = [rows.part(chunk, frozenset())]
            for index, part, (posterior, generative) in finite_passes(hidden, parts, chunk, broken):
                count += len(index)
                for score in direct.values():
                    score.add_means(index, posterior, weighted=False)
                if generative is None:
                    continue
                bound, sums, values = generative
                elbo.append(values)
                evidence.append(posterior.log_evidence)
                effective.append(1 / (posterior.sample_weights() ** 2).sum(0))
                for score in weighted.values():
                    score.add_means(index, posterior, weighted=True)
                diagnostician.hidden(bound, posterior, sums)
                diagnostician.labelled(rows.labelled(part, index), index)
            if watch is not None:
                watch(int(chunk[-1]) + 1)

    for lost in (diagnostician.broken, *(score.broken for score in (*direct.values(), *weighted.values()))):
        broken = lost | broken
    reasons = {int(rows.row_ids[place]): broken[place] for place in sorted(broken)}
    if not count:
        raise RunError(f"no row has finite scores: {rows_words(reasons)}")
    return Evaluation(
        rows=count,
        samples=samples,
        from_q=known_errors(direct, clusters),
        from_posterior=known_errors(weighted, clusters),
        bounds=None if alone else Bounds.of(torch.cat(elbo), torch.cat(evidence), torch.cat(effective)),
        diagnosis=None if alone else diagnostician.diagnosis(),
        exact=all(p.estimator.enumerates for p in model.plan((), exact=True).proposals),
        total=rows.count,
        broken=reasons,
    )


def chunk_rows(model: Model, samples: int) -> int:
    """Choose how many rows to take in a pass, so that all particles fit in memory easily.

    If a dropped node is filled in, every particle holds a whole event of it.
    """
    plan = model.plan((), exact=True, bound=ELBO, samples=1)
    filled = max((math.prod(model.outline.variables[name].event) for name in model.outline.graphs.dropped), default=1)
    numbers = max(numbers_a_row(model.outline, plan), plan.largest * filled)
    return max(1, min(ROWS, 60_000 // (samples * plan.largest), NUMBERS // (samples * numbers)))
