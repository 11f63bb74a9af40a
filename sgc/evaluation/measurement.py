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
from sgc.evaluation.passes import Classified, Hidden, Scored, finite_passes
from sgc.evaluation.prediction_scores import Error, Score, known, known_errors
from sgc.objectives.bounds import ELBO, IWAE
from sgc.randomness import Generators, drawing_from
from sgc.runtime.batch import PatternRows
from sgc.runtime.exact_estimators import numbers_a_row
from sgc.runtime.finiteness import WORDS, check_finite, rows_words, term_text
from sgc.runtime.inference import mean_of
from sgc.runtime.model import Model
from sgc.runtime.posterior import Posterior
from sgc.runtime.streams import VALIDATION, TensorRows, seed_for
from sgc.runtime.sums import Sums

ROWS = 1000  # rows a pass, before samples and categories multiply them
NUMBERS = 50_000_000  # of one tensor


@dataclass(frozen=True)
class Validation:
    """The mean bound of rows without their labels, the error of each labelled node from q, and the active units."""

    bound: float
    errors: dict[str, float]
    active_units: dict[str, int]


def blame(sums: Sequence[Sums]) -> str:
    """Say which node's term made a bound that is not finite."""
    for each in sums:
        found = check_finite(each.group)
        if found is not None:
            return f"{term_text(*found)}, in {each.plan.rows_text()}"
    terms = [
        (float(term.detach().abs().max()), node, role, each)
        for each in sums
        for node, roles in each.terms().items()
        for role, term in roles.items()
    ]
    size, node, role, each = max(terms, key=lambda term: term[0])
    much = f"{WORDS[role]} is as large as {size:.2g} nats, too large to add up"
    return f"node '{node}': {much}, in {each.plan.rows_text()}"


@torch.no_grad()
def validate(model: Model, rows: TensorRows, seed: int) -> Validation:
    """Measure the bound without labels, its mean by what rows count; the labels only report. The same draws every time.

    Raises: RunError, which names the node, where the bound is not finite.
    """
    supervised = not model.spec.maximised.generative
    bounds: list[Tensor] = []
    scores = {name: Score(model, name, rows) for name in rows.labelled_names}
    means: dict[str, list[Tensor]] = {name: [] for name in unit_nodes(model)}
    with drawing_from(Generators(seed_for(seed, VALIDATION))):
        for index in rows.chunks(chunk_rows(model, model.spec.objective.samples)):
            part = rows.part(index, frozenset())
            (sums,) = model.sums([part], exact=True, bound=ELBO if supervised else None)
            bounds.append(sums.value())
            if not supervised and not bool(torch.isfinite(bounds[-1]).all()):
                raise RunError(blame([sums]))
            posterior = Posterior(sums, model.outline)
            for score in scores.values():
                score.add_means(index, posterior, weighted=False)
            for name, found in means.items():
                found.append(mean_of(posterior, name, weighted=False))
    errors = {name: each.value for name, each in known_errors(scores).items()}
    active = {name: active_units(torch.cat(found)) for name, found in means.items()}
    whole = torch.cat(bounds)
    if rows.weights is None:
        mean = whole.mean()
    else:
        # only their ratios count: what is far from 1 would leave the precision of the model
        weights = torch.from_numpy(rows.weights / rows.weights.max()).to(whole)
        mean = (weights * whole).sum() / weights.sum()
    return Validation(float(mean), errors, active)


@dataclass(frozen=True)
class Bounds:
    """Means over rows in nats, with their standard errors (NaN of one row), and the effective samples of p/r."""

    elbo: float
    elbo_error: float
    log_evidence: float
    log_evidence_error: float
    effective_samples: float

    @classmethod
    def of(cls, elbo: Tensor, evidence: Tensor, effective: Tensor) -> Bounds:
        """Average what was found for each row, [N]."""
        return cls(*_mean(elbo), *_mean(evidence), float(effective.mean()))


def _mean(rows: Tensor) -> tuple[float, float]:
    return float(rows.mean()), float(rows.std()) / math.sqrt(len(rows)) if len(rows) > 1 else math.nan


@dataclass(frozen=True)
class Evaluation:
    """What a model is worth on a split: errors by node from q and from the weighted posterior, bound, log p(x).

    exact: nothing is drawn, so that log p(x) is a sum over all that is hidden. broken: rows, by id, that are left out
    since one of their scores is not finite, and which.
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
        found: dict[str, Any] = {  # Any: as above
            "rows": self.rows,
            "samples": self.samples,
            "broken": {str(row): reason for row, reason in self.broken.items()},
            "q": {name: each.plain() for name, each in self.from_q.items()},
            "posterior": {name: each.plain() for name, each in self.from_posterior.items()},
        }
        if self.bounds is not None:
            found |= {
                "elbo": self.bounds.elbo,
                "elbo_standard_error": known(self.bounds.elbo_error),
                "log_p": self.bounds.log_evidence,
                "log_p_standard_error": known(self.bounds.log_evidence_error),
                "effective_samples": self.bounds.effective_samples,
            }
        return found | ({} if self.diagnosis is None else self.diagnosis.plain())


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

    The ELBO is Eq. (8) without labels at one sample a row, log p(x) importance-sampled with `samples`; both are means
    over rows, in nats. Effective samples are 1 / Σ_s ŵ_s², of the normalised weights of p/r with what is enumerated
    summed out, from 1 to `samples`. What is found inside the model is of the same rows, with their labels too. Rows
    whose scores are not finite are left out and told.

    watch: told after each pass how many rows are done. clusters: the nodes that training had no label of, by outer
    name, whose categories are then matched with the labels.

    Raises: RunError, which names the terms, where no row has finite scores.
    """
    direct = {name: Score(model, name, rows) for name in rows.labelled_names}
    weighted = {name: Score(model, name, rows) for name in rows.labelled_names}
    elbo: list[Tensor] = []
    evidence: list[Tensor] = []
    effective: list[Tensor] = []
    alone = not model.spec.maximised.generative
    inside = Diagnostician(model, samples, seed)
    broken: dict[int, str] = {}
    count = 0

    def hidden(part: PatternRows) -> Hidden | Classified:
        if alone:
            (sums,) = model.sums([part], exact=True, bound=ELBO, samples=samples)
            return Classified(Posterior(sums, model.outline))
        (bound,) = model.sums([part], exact=True, bound=ELBO, samples=1)
        (sums,) = model.sums([part], exact=True, bound=IWAE, samples=samples)
        posterior = Posterior(sums, model.outline)
        return Hidden(Scored(bound, bound.value()), Scored(sums, posterior.log_evidence), posterior)

    with drawing_from(Generators(seed_for(seed, VALIDATION, 1))):
        for chunk in rows.chunks(chunk_rows(model, samples)):
            for index, part, found in finite_passes(hidden, [rows.part(chunk, frozenset())], chunk, broken):
                count += len(index)
                for score in direct.values():
                    score.add_means(index, found.posterior, weighted=False)
                if isinstance(found, Classified):
                    continue
                elbo.append(found.elbo.bound)
                evidence.append(found.evidence.bound)
                effective.append(1 / (found.posterior.sample_weights() ** 2).sum(0))
                for score in weighted.values():
                    score.add_means(index, found.posterior, weighted=True)
                inside.hidden(found.elbo.sums, found.posterior, found.evidence.sums)
                inside.labelled(rows.labelled(part, index), index)
            if watch is not None:
                watch(int(chunk[-1]) + 1)

    for lost in (inside.broken, *(score.broken for score in (*direct.values(), *weighted.values()))):
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
        diagnosis=None if alone else inside.diagnosis(),
        exact=all(p.estimator.enumerates for p in model.plan((), exact=True).proposals),
        total=rows.count,
        broken=reasons,
    )


def chunk_rows(model: Model, samples: int) -> int:
    """Choose how many rows to take at a time, so that all particles of a pass fit in memory easily.

    Of a node that is filled in where it is missing, every particle holds a whole event.
    """
    plan = model.plan((), exact=True, bound=ELBO, samples=1)
    filled = max((math.prod(model.outline.variables[name].event) for name in model.outline.graphs.dropped), default=1)
    numbers = max(numbers_a_row(model.outline, plan), plan.largest * filled)
    return max(1, min(ROWS, 60_000 // (samples * plan.largest), NUMBERS // (samples * numbers)))
