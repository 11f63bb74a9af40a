"""Measuring a model on rows with known labels: bounds, errors from q and from the weighted posterior, log p(x)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgc.errors import RunError
from sgc.running.calibration import Calibration, calibrate, coverage
from sgc.running.collapse import active_units, unit_nodes
from sgc.running.diagnosis import Diagnosis, Diagnostician
from sgc.runtime.batch import PatternRows
from sgc.runtime.execute import Sums, check_finite
from sgc.runtime.layout import reseed
from sgc.runtime.model import Model, numbers_a_row
from sgc.runtime.posterior import Posterior
from sgc.runtime.streams import VALIDATION, TensorRows, seed_for

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
    words = {"generative": "log p", "recognition": "log q", "kl": "the KL", "label": "log q of the label"}
    for each in sums:
        found = check_finite(each.group)
        if found is not None:
            name, role = found
            return f"node '{name}': {words[role]} is not finite, in {each.plan.rows_text()}"
    return "the bound is not finite, though every term is"


@torch.no_grad()
def validate(model: Model, rows: TensorRows, seed: int) -> Validation:
    """Measure the bound without labels; the labels only report. The same draws at every call.

    Raises: RunError, which names the node, where the bound is not finite.
    """
    supervised = model.spec.objective.bound == "supervised"
    bounds: list[Tensor] = []
    means: dict[str, list[Tensor]] = {}
    units = unit_nodes(model)
    with torch.random.fork_rng():
        reseed(seed_for(seed, VALIDATION), model.like.device)
        for index in rows.chunks(chunk_rows(model, model.spec.objective.samples)):
            part = rows.part(index, frozenset())
            (sums,) = model.sums([part], exact=True, bound="elbo" if supervised else None)
            bounds.append(sums.bound())
            if not supervised and not bool(torch.isfinite(bounds[-1]).all()):
                raise RunError(blame([sums]))
            posterior = Posterior(sums, model.outline)
            for name in dict.fromkeys([*rows.partial, *units]):
                means.setdefault(name, []).append(posterior.mean(name, weighted=False))
    errors = {}
    for name in rows.partial:
        error = score(model, name, torch.cat(means[name]), rows, "")
        if error is not None:
            errors[name] = error.value
    active = {name: active_units(torch.cat(means[name])) for name in units}
    return Validation(float(torch.cat(bounds).mean()), errors, active)


@dataclass(frozen=True)
class Error:
    """The error of one node: in which measure, over how many labelled rows, and its standard error over them.

    `calibration` is that of the probabilities, of a node that has them; `coverage`, of numbers, how many of their
    elements lie in the central intervals of q, by level.
    """

    measure: str
    value: float
    rows: int
    standard_error: float
    more: dict[str, float] = field(default_factory=dict)
    calibration: Calibration | None = None
    coverage: dict[str, float] | None = None

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Give it as plain data."""
        spread = known(self.standard_error)
        found: dict[str, Any] = {self.measure: self.value, "standard_error": spread, "rows": self.rows, **self.more}
        found |= {} if self.calibration is None else {"calibration": self.calibration.plain()}
        return found | ({} if self.coverage is None else {"coverage": self.coverage})


def score(model: Model, name: str, predicted: Tensor, rows: TensorRows, measure: str) -> Error | None:
    """Score predictions [N, *event] against the labels that rows carry; None where none does.

    Numbers are compared in the units of the data, its transforms undone, angles by the shorter way around. measure:
    error (share of wrong categories), rmse, mae, angle (degrees between directions); empty: error for categories and
    Bernoulli values, rmse for the rest.
    """
    present = torch.from_numpy(rows.present(name))
    count = int(present.sum())
    if not count:
        return None
    truth = rows.values[name][present]
    guess = predicted.cpu()[present]
    variable = model.outline.variables[name]
    discrete = variable.categories is not None or variable.family.support == "boolean"
    kind = measure or ("error" if discrete else "rmse")
    calibration = _calibration(guess, truth, variable.categories) if discrete else None
    if name in rows.encoders and not discrete:
        encoder, both = rows.encoders[name], (guess.numpy(), truth.numpy())
        if kind == "angle":
            guess, truth = (torch.from_numpy(encoder.decode_to_points(each)) for each in both)
        else:
            guess, truth = (torch.from_numpy(each) for each in encoder.decode_near(*both))
    each, more = _distances(kind, guess, truth, variable.categories)
    value = float(each.mean())
    spread = float(each.std(unbiased=True)) / math.sqrt(count) if count > 1 else math.nan
    if kind == "rmse":
        value, spread = math.sqrt(value), spread / (2 * math.sqrt(value)) if value else 0.0
    share = {"share_of_180": value / 180} if kind == "angle" else {}
    return Error(kind, value, count, spread, {**more, **share}, calibration)


def _calibration(guess: Tensor, truth: Tensor, categories: int | None) -> Calibration | None:
    """Calibrate all elements of a node together; None where a value between 0 and 1 is no label."""
    if categories is not None:
        return calibrate(guess.reshape(-1, categories), truth.reshape(-1))
    if bool(((truth != 0) & (truth != 1)).any()):
        return None
    ones = guess.reshape(-1)
    return calibrate(torch.stack([1 - ones, ones], -1), truth.reshape(-1).long())


def _distances(kind: str, guess: Tensor, truth: Tensor, categories: int | None) -> tuple[Tensor, dict[str, float]]:
    if kind == "error":
        if categories is not None:
            wrong = guess.argmax(-1) != truth
        else:
            wrong = guess.round() != truth.round()
        return wrong.reshape(len(wrong), -1).double().mean(1), {}
    if categories is not None:
        truth = torch.nn.functional.one_hot(truth, categories)
    flat, wanted = guess.reshape(len(guess), -1).double(), truth.reshape(len(truth), -1).double()
    if kind == "angle":
        cosine = torch.nn.functional.cosine_similarity(flat, wanted, dim=1)
        return cosine.clamp(-1, 1).arccos() * 180 / math.pi, {}
    apart = (flat - wanted)[:, ~torch.isnan(wanted).all(0)]  # not what was cropped away
    return (apart.abs() if kind == "mae" else apart**2).mean(1), {}


def known(number: float) -> float | None:
    """Give a number as JSON can hold it: what is not known is null."""
    return None if math.isnan(number) else number


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
    """What a model is worth on a split: errors by node from q and from the weighted posterior, bound, log p(x)."""

    rows: int
    samples: int
    from_q: dict[str, Error]
    from_posterior: dict[str, Error]
    bounds: Bounds | None  # None: a classifier alone has no generative model to measure
    diagnosis: Diagnosis | None  # likewise

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Give it as plain data."""
        found: dict[str, Any] = {  # Any: as above
            "rows": self.rows,
            "samples": self.samples,
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
    model: Model, rows: TensorRows, samples: int, seed: int, metrics: Mapping[str, str], watch: Any = None
) -> Evaluation:  # Any: told after each pass how many rows are done
    """Measure a model on rows without showing it their labels.

    The ELBO is Eq. (8) without labels at one sample a row, log p(x) importance-sampled with `samples`; both are means
    over rows, in nats. Effective samples are 1 / Σ_s ŵ_s², of the normalised weights of p/r with what is enumerated
    summed out, from 1 to `samples`. What is found inside the model is of the same rows, with their labels too.

    Raises: RunError, which names the node, where a term is no number.
    """
    direct: dict[str, list[Tensor]] = {}
    weighted: dict[str, list[Tensor]] = {}
    below: dict[str, list[Tensor]] = {}
    elbo: list[Tensor] = []
    evidence: list[Tensor] = []
    effective: list[Tensor] = []
    size = chunk_rows(model, samples)
    alone = model.spec.objective.bound == "supervised"
    inside = Diagnostician(model, samples, seed)

    def from_q(posterior: Posterior, index: np.ndarray) -> None:
        for name in rows.partial:
            direct.setdefault(name, []).append(posterior.mean(name, weighted=False))
            if _has_intervals(model, rows, name):
                found = posterior.share_below(name, rows.values[name][torch.from_numpy(index)].to(model.like))
                if found is not None:
                    below.setdefault(name, []).append(found.cpu())

    with torch.random.fork_rng():
        reseed(seed_for(seed, VALIDATION, 1), model.like.device)
        for index in rows.chunks(size):
            part: PatternRows = rows.part(index, frozenset())
            if alone:
                (sums,) = model.sums([part], exact=True, bound="elbo", samples=samples)
                from_q(Posterior(sums, model.outline), index)
                continue
            (bound,) = model.sums([part], exact=True, bound="elbo", samples=1)
            elbo.append(bound.bound())
            if bool(torch.isnan(elbo[-1]).any()):
                raise RunError(blame([bound]))
            (sums,) = model.sums([part], exact=True, bound="iwae", samples=samples)
            posterior = Posterior(sums, model.outline)
            evidence.append(posterior.log_evidence)
            effective.append(1 / (posterior.sample_weights() ** 2).sum(0))
            from_q(posterior, index)
            for name in rows.partial:
                weighted.setdefault(name, []).append(posterior.mean(name, weighted=True))
            inside.hidden(bound, posterior, sums)
            inside.labelled(rows.labelled(part, index))
            if watch is not None:
                watch(int(index[-1]) + 1)

    def errors(found: Mapping[str, Sequence[Tensor]]) -> dict[str, Error]:
        scored = {n: score(model, n, torch.cat(list(f)), rows, metrics.get(n, "")) for n, f in found.items()}
        return {name: each for name, each in scored.items() if each is not None}

    shares = {name: torch.cat(found)[torch.from_numpy(rows.present(name))] for name, found in below.items()}
    covered = {name: coverage(share) for name, share in shares.items() if len(share)}
    return Evaluation(
        rows=rows.count,
        samples=samples,
        from_q={name: replace(each, coverage=covered.get(name)) for name, each in errors(direct).items()},
        from_posterior=errors(weighted),
        bounds=None if alone else Bounds.of(torch.cat(elbo), torch.cat(evidence), torch.cat(effective)),
        diagnosis=None if alone else inside.diagnosis(),
    )


def _has_intervals(model: Model, rows: TensorRows, name: str) -> bool:
    """Tell whether a node's values are numbers, each on a line of its own: no category, no count, no angle."""
    variable = model.outline.variables[name]
    steps = rows.encoders[name].transforms if name in rows.encoders else ()
    support = variable.family.support
    number = variable.categories is None and support != "boolean" and "integer" not in support
    return number and not any(step.points for step in steps)


def chunk_rows(model: Model, samples: int) -> int:
    """Choose how many rows to take at a time, so that all particles of a pass fit in memory easily.

    Of a node that is filled in where it is missing, every particle holds a whole event.
    """
    plan = model.plan((), exact=True, bound="elbo", samples=1)
    filled = max((math.prod(model.outline.variables[name].event) for name in model.outline.graphs.dropped), default=1)
    numbers = max(numbers_a_row(model.outline, plan), plan.largest * filled)
    return max(1, min(ROWS, 60_000 // (samples * plan.largest), NUMBERS // (samples * numbers)))
