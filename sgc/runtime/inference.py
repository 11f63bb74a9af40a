"""Inference of every node that rows have not observed, under the model's posterior or under q."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from sgc.errors import RunError
from sgc.objectives.bounds import IWAE
from sgc.runtime import steps
from sgc.runtime.batch import PatternRows, prepare
from sgc.runtime.finiteness import explain_rows, rows_words, sums_without_failures
from sgc.runtime.outcome import merge
from sgc.runtime.plan_runner import PlanRunner
from sgc.runtime.posterior import NodePosterior, Posterior
from sgc.runtime.sums import Sums
from sgc.spec.outline import Outline

Answer: TypeAlias = Literal["posterior", "q"]
ANSWERS: tuple[Answer, ...] = get_args(Answer)
FEW = 10.0  # effective samples: below, a mean is off by more than 1/√10, a third of a posterior standard deviation


@dataclass(frozen=True)
class Inference:
    """What was inferred of rows: by node, the effective samples of each row, and rows for which there is no answer.

    `effective` [B] is infinite where nothing weighs the samples. `broken`, by row, says which score is not finite; all
    values of such a row are NaN; if all rows are broken there are no nodes.
    """

    nodes: Mapping[str, NodePosterior]
    effective: Tensor
    broken: Mapping[int, str]

    def checked(self) -> Inference:
        """Give it where some row has an answer. Raises: RunError."""
        if len(self.broken) == len(self.effective):
            raise RunError(f"no row has finite scores: {rows_words(self.broken)}")
        return self

    @property
    def few(self) -> Tensor:
        """The rows that rest on fewer than `FEW` effective samples: [B] booleans."""
        return self.effective < FEW


def few_words(effective: Tensor, samples: int) -> str:
    """Say how many rows rest on few effective samples; nothing where none does.

    effective: [B], as in `Inference`.
    """
    known = effective[effective.isfinite()]
    few = int((known < FEW).sum())
    return few_rows_words(few, len(effective), float(known.median()), samples) if few else ""


def few_rows_words(few: int, rows: int, median: float, samples: int) -> str:
    """Say that so many of the rows rest on few effective samples, of which all rows have this median."""
    return (
        f"{few} of {rows} rows rest on fewer than {FEW:g} effective samples of {samples} "
        f"(median {median:.1f}), so that the weighted posterior is known roughly"
    )


def infer(
    model: PlanRunner, batch: Mapping[str, Any], samples: int, from_: Answer
) -> Inference:  # Any: as for objective
    """Infer the nodes that are not observed; see `Model.infer`. A row without finite scores does not affect the others.

    Raises: ValueError or KeyError for a batch that does not fit the model.
    """
    parts, size = prepare(model.outline, batch, model.like)
    weighted = from_ == "posterior"
    finished, broken = sums_without_failures(
        lambda group: model.sums(group, samples=samples, exact=True, bound=IWAE), parts
    )
    by_node: dict[str, list[tuple[PatternRows, NodePosterior]]] = {}
    effective: list[tuple[PatternRows, Tensor]] = []
    for part, sums in finished:
        posterior = Posterior(sums, model.outline)
        for name, answer in _of_part(part, sums, posterior, weighted).items():
            by_node.setdefault(name, []).append((part, answer))
        effective.append((part, posterior.effective_samples(weighted=weighted)))
        reasons = explain_rows(sums.group, ~posterior.sound_rows(weighted=weighted))
        broken |= {part.places[place]: reason for place, reason in reasons.items()}
    broken = dict(sorted(broken.items()))
    if len(broken) == size:
        return Inference({}, model.like.new_full((size,), torch.nan), broken)
    merged = {name: _merged(by_node[name], size) for name in _hidden(model, parts)}
    known = merge(effective, size, effective[0][1])
    if broken:
        gone = torch.zeros(size, dtype=torch.bool, device=known.device)
        gone[list(broken)] = True
        known = known.masked_fill(gone, torch.nan)
        merged = {name: _without(answer, gone) for name, answer in merged.items()}
    return Inference(joined(merged, model.outline), known, broken)


def _of_part(part: PatternRows, sums: Sums, posterior: Posterior, weighted: bool) -> dict[str, NodePosterior]:
    """Give the posterior of every node of one part that some row could lack."""
    chosen, weights = posterior.choose(weighted=weighted), posterior.sample_weights(weighted=weighted)
    by_node: dict[str, NodePosterior] = {}
    for name in sums.plan.proposed:
        answer = posterior.node(name, chosen, weights, weighted=weighted)
        if name in part.labelled:
            answer = answer.observed_in(part.values[name], part.labelled[name])
        by_node[name] = answer
    by_node |= {name: NodePosterior.at(part.values[name], weights) for name in sums.plan.observed}
    for name in posterior.outline.graphs.dropped:
        by_node[name] = posterior.filled(name, part.values[name], chosen, weights, weighted=weighted)
    return {name: posterior.of_steps(name, answer) for name, answer in by_node.items()}


def _hidden(model: PlanRunner, parts: list[PatternRows]) -> list[str]:
    """Name the nodes that some row lacks, all steps of those that it lacks a step of."""
    outline = model.outline
    plans = [model.plan(part.observed, exact=True, bound=IWAE, maybe_labelled=part.labelled) for part in parts]
    hidden = {name for plan in plans for name in plan.proposed}
    hidden |= {n for n in outline.graphs.dropped if any(bool(part.values[n].isnan().any()) for part in parts)}
    wanted = steps.outer_names(outline, [name for name in outline.variables if name in hidden])
    return [node for outer in wanted for node in steps.nodes_of(outline, outer)]


def _merged(rows: list[tuple[PatternRows, NodePosterior]], size: int) -> NodePosterior:
    """Put the answers for the rows of all parts in the order of the batch."""
    like = rows[0][1].mean
    mean, sd = (merge([(p, getattr(answer, key)) for p, answer in rows], size, like) for key in ("mean", "sd"))
    samples, weights = (
        merge([(p, getattr(answer, key).transpose(0, 1)) for p, answer in rows], size, like).transpose(0, 1)
        for key in ("samples", "weights")
    )
    return NodePosterior(mean, samples, weights, sd)


def _without(known: NodePosterior, gone: Tensor) -> NodePosterior:
    """Give NaN for rows that are gone: [B] booleans."""
    return replace(known.only(~gone), weights=known.weights.masked_fill(gone, torch.nan))


# all steps of a node of a repeat, by its outer name


def joined(answers: Mapping[str, NodePosterior], outline: Outline) -> dict[str, NodePosterior]:
    """Join the steps of each node: means and deviations [B, *steps, *event], samples [S, B, *steps, *event]."""
    means = steps.join(outline, {name: answer.mean for name, answer in answers.items()})
    spreads = steps.join(outline, {name: answer.sd for name, answer in answers.items()})
    samples = steps.join(outline, {name: answer.samples for name, answer in answers.items()}, axis=2)
    weights = {outline.outer_name.get(name, name): answer.weights for name, answer in answers.items()}
    return {name: NodePosterior(means[name], samples[name], weights[name], spreads[name]) for name in means}


def mean_of(posterior: Posterior, name: str, *, weighted: bool) -> Tensor:
    """Average a node over all particles, as `Posterior.mean` does: [B, *steps, *event]."""
    means = {n: posterior.mean(n, weighted=weighted) for n in steps.nodes_of(posterior.outline, name)}
    return steps.join(posterior.outline, means)[name]


def share_below(posterior: Posterior, name: str, value: Tensor) -> Tensor | None:
    """Give q's probability of at most `value`, as `Posterior.share_below` does, both [B, *steps, *event]."""
    shares: dict[str, Tensor] = {}
    for node, step_value in steps.apart(posterior.outline, name, value).items():
        below = posterior.share_below(node, step_value)
        if below is None:
            return None
        shares[node] = below
    return steps.join(posterior.outline, shares)[name]


# in words


def warn(inference: Inference, samples: int, advice: str) -> None:
    """Warn of rows without finite scores, and of few effective samples; advice: which answer is better."""
    if inference.broken:
        warnings.warn(f"no answer for rows without finite scores: {rows_words(inference.broken)}", stacklevel=4)
    words = few_words(inference.effective, samples)
    if words:
        warnings.warn(f"{words}; {advice}", stacklevel=4)
