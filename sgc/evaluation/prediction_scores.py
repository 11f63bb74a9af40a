"""Scores of the predictions of a node against the labels of rows, pass by pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgc.distributions.category_names import CategoryName
from sgc.evaluation.calibration import Calibrating, Calibration, coverage
from sgc.evaluation.confusion import Clustering, Confusion, clustering, confusion
from sgc.metrics.metric import Metric, Pairs
from sgc.runtime.inference import mean_of, share_below
from sgc.runtime.model import Model
from sgc.runtime.posterior import Posterior
from sgc.runtime.steps import nodes_of
from sgc.runtime.streams import TensorRows
from sgc.spec.measured_nodes import measured, metric_of


@dataclass(frozen=True)
class Error:
    """The error of one node: its metric, value, number of labelled rows, and standard error over these.

    `calibration`: of a node with probabilities. `coverage`: of a node of numbers, the share of elements in the central
    intervals of q, by level. `confusion`: of categories, the counts of labels by prediction. `clusters`: of a node
    without labels in training. For a node of a repeat they are means over all labelled steps, whose number is in
    `more`; if the steps are counted, `more` also has the error in rows whose count is predicted right, and the number
    of such rows. The prediction for a step is conditioned on its existence.
    """

    metric: Metric
    value: float
    rows: int
    standard_error: float
    more: dict[str, float] = field(default_factory=dict)
    calibration: Calibration | None = None
    coverage: dict[str, float] | None = None
    confusion: Confusion | None = None
    clusters: Clustering | str | None = None  # text: why they are not known

    @property
    def given_count(self) -> float | None:
        """The error in the rows whose count is predicted right; None if that is not known."""
        return self.more.get(_given_count(self.metric))

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Give it as plain data."""
        spread = known(self.standard_error)
        data: dict[str, Any] = {self.metric.name: self.value, "standard_error": spread, "rows": self.rows, **self.more}
        data |= {} if self.calibration is None else {"calibration": self.calibration.plain()}
        data |= {} if self.coverage is None else {"coverage": self.coverage}
        data |= {} if self.confusion is None else self.confusion.plain()
        if self.clusters is not None:
            data["clusters"] = self.clusters.plain() if isinstance(self.clusters, Clustering) else None
        return data


def _given_count(metric: Metric) -> str:
    return f"{metric.name}_given_count"


class Score:
    """Scores predictions of one node against labels, pass by pass; of each row only its distances are kept.

    Numbers are compared in the units of the data, with transforms undone, and angles by the shorter way around. metric:
    if None, that of the spec, or else the default for such a node.
    """

    def __init__(self, model: Model, name: str, rows: TensorRows, metric: Metric | None = None) -> None:
        self.name, self.rows = name, rows
        self.nodes = nodes_of(model.outline, name)
        self.variable = model.outline.variables[self.nodes[0]]  # of a step
        self.stepped = name in model.outline.stepped
        self.node = measured(model.outline, name)
        self.discrete = self.node.nominal
        self.metric = metric_of(model.outline, name) if metric is None else metric
        self.present = rows.labels_of(name)
        self.distances: list[Tensor] = []
        self.owners: list[Tensor] = []  # for each distance, the place of its row
        self.given_count: list[Tensor] = []  # for each distance, whether the row's counts are predicted right
        nodes = model.outline.graphs.nodes
        exists = dict.fromkeys(count for node in self.nodes for count, _ in nodes[node].exists)
        self.counts = {count: model.outline.variables[count] for count in exists if count in rows.partial}
        self.calibrating: Calibrating | None = Calibrating() if self.discrete else None
        self.log_losses: list[Tensor] = []  # for each distance with a probability, −log p(label) in nats
        self.counted: list[Tensor] = []  # labels and predictions, categories [2, n, elements]
        self.broken: dict[int, str] = {}  # rows, by place, that are left out because their prediction is not finite
        self.below: list[Tensor] = []  # for numbers, q's probability of a value below the label

    def add_means(self, index: np.ndarray, posterior: Posterior, *, weighted: bool) -> None:
        """Take in the predictions of q, with intervals, or of the weighted posterior, for the rows at these places."""
        right = [self._right(index, count, posterior.mean(count, weighted=weighted)) for count in self.counts]
        means = mean_of(posterior, self.name, weighted=weighted)
        if weighted and self.counts:  # q predicts also a step that exists in no weighted particle
            means = torch.where(means.isnan(), mean_of(posterior, self.name, weighted=False), means)
        all_right = torch.stack(right).all(0) if right else None
        self.add(index, means, all_right, self._log_shares(index, posterior, weighted))
        if not weighted:
            self.add_intervals(index, posterior)

    def add_shared_means(self, index: np.ndarray, posterior: Posterior, every: Callable[[Tensor], Tensor]) -> None:
        """Take in the predictions of q for the rows at these places, of which this process has some.

        every: gives the values of all rows from those of this process's.
        """
        right = [self._right(index, count, every(posterior.mean(count, weighted=False))) for count in self.counts]
        means = every(mean_of(posterior, self.name, weighted=False))
        self.add(index, means, torch.stack(right).all(0) if right else None)

    def _log_shares(self, index: np.ndarray, posterior: Posterior, weighted: bool) -> Tensor | None:
        """Give the log of the probability of each row's label, [n] nats, if it is known without underflow."""
        labelled = self.present[index]
        if self.stepped or self.variable.categories is None or not labelled.any():
            return None
        label = self.rows.take(self.name, index).reshape(len(index), -1)[:, 0].clamp(min=0)
        return posterior.log_share(self.name, label.to(self.rows.like.device), weighted=weighted)

    def _right(self, index: np.ndarray, count: str, mean: Tensor) -> Tensor:
        """Tell in which rows a count is labelled and predicted right: [n]."""
        truth, guess = self.rows.take(count, index), mean.cpu()
        guess = guess.round() if self.counts[count].categories is None else guess.argmax(-1)
        return guess.reshape(len(index)) == truth.reshape(len(index))  # missing labels, -1 or NaN, equal no guess

    def add(
        self, index: np.ndarray, predicted: Tensor, right: Tensor | None = None, log_shares: Tensor | None = None
    ) -> None:
        """Take in predictions for the rows at these places, [n, *event]; for a node of a repeat [n, *steps, *event].

        right: whether the row's counts are predicted as labelled, [n]. log_shares: the logs of the labels'
        probabilities, [n], if they are known more precisely than from the probabilities, which underflow.
        """
        labelled = self.present[index]
        if not labelled.any():
            return
        rows = labelled.any(1)
        shown = torch.from_numpy(labelled[rows])
        truth = self._steps(self.rows.take(self.name, index[rows]))[shown]
        guess = self._steps(predicted.cpu()[torch.from_numpy(rows)])[shown]
        owners = torch.from_numpy(index[rows]).unsqueeze(1).expand(shown.shape)[shown]
        count_right = None if right is None else right[torch.from_numpy(rows)].unsqueeze(1).expand(shown.shape)[shown]
        finite = torch.isfinite(guess).reshape(len(guess), -1).all(1)
        reason = f"node '{self.name}': its prediction is not finite"
        self.broken |= dict.fromkeys(owners[~finite].tolist(), reason)
        self.owners.append(owners)
        if count_right is not None:
            self.given_count.append(count_right)
        if self.discrete:
            self._count(guess, truth, finite, None if log_shares is None else log_shares.cpu()[torch.from_numpy(rows)])
        distances = self.metric.of_rows(self._pairs(guess, truth))
        self.distances.append(distances.masked_fill(~finite, torch.nan))

    def _pairs(self, guess: Tensor, truth: Tensor) -> Pairs:
        """Pair predictions and labels, [n, *event], in the units of the data and the layout that metrics take."""
        rows = len(truth)
        if self.discrete:
            label = truth.reshape(rows, -1).double()
            return Pairs(self.node, guess.double().reshape(*label.shape, *guess.shape[truth.dim() :]), label)
        if self.node.periodic and not self.metric.directions:
            turn = 2 * math.pi
            guess = guess - turn * ((guess - truth) / turn).round()
        if self.name in self.rows.encoders:
            encoder, both = self.rows.encoders[self.name].of_step(), (guess.numpy(), truth.numpy())
            if self.metric.directions:
                guess, truth = (torch.from_numpy(encoder.decode_to_points(values)) for values in both)
            else:
                guess, truth = (torch.from_numpy(values) for values in encoder.decode_near(*both))
        predicted, label = (values.double().reshape(rows, -1) for values in (guess, truth))
        if not self.metric.directions:
            inside = ~torch.isnan(label).all(0)  # cropped cells are left out
            return Pairs(self.node, predicted[:, inside], label[:, inside])
        if self.node.points:
            predicted, label = (values.reshape(rows, -1, truth.shape[-1]) for values in (predicted, label))
        elif self.node.periodic:
            predicted, label = (torch.stack([values.cos(), values.sin()], -1) for values in (predicted, label))
        else:
            predicted, label = predicted.unsqueeze(1), label.unsqueeze(1)
        return Pairs(self.node, predicted, label)

    def _steps(self, value: Tensor) -> Tensor:
        """Give values one axis for all steps, [n, *steps, *event] -> [n, steps, *event], of length one without any."""
        event = value.shape[1 + len(self.rows.outline.stepped[self.name].steps) :] if self.stepped else value.shape[1:]
        return value.reshape(len(value), len(self.nodes), *event)

    def _count(self, guess: Tensor, truth: Tensor, finite: Tensor, logs: Tensor | None) -> None:
        """Calibrate and count all elements of a node together; not if labels are shares between 0 and 1."""
        categories = self.variable.categories
        if self.calibrating is None:
            return
        if categories is None and bool(((truth != 0) & (truth != 1)).any()):
            self.calibrating = None
            return
        probabilities, labels = guess[finite], truth[finite].long().reshape(-1)
        if categories is None:
            probabilities = torch.stack([1 - probabilities, probabilities], -1)
        probabilities = probabilities.reshape(len(labels), probabilities.shape[-1])
        losses = self.calibrating.add(probabilities, labels, None if logs is None else logs[finite])
        all_losses = losses.new_full((len(finite),), torch.nan)
        all_losses[finite] = losses.reshape(int(finite.sum()), -1).mean(1)
        self.log_losses.append(all_losses)
        labels_and_guesses = torch.stack([labels, probabilities.argmax(-1)])
        self.counted.append(labels_and_guesses.reshape(2, -1, math.prod(self.variable.shape)))

    def add_intervals(self, index: np.ndarray, posterior: Posterior) -> None:
        """Take in where the labels of these rows lie in q, for a node whose values are numbers."""
        labelled = self.present[index]
        if not labelled.any() or not self._has_intervals():
            return
        below = share_below(posterior, self.name, self.rows.take(self.name, index).to(self.rows.like))
        if below is not None:
            self.below.append(self._steps(below.cpu())[torch.from_numpy(labelled)])

    def _has_intervals(self) -> bool:
        """Tell whether the values are real numbers: not categories, counts or angles."""
        steps = self.rows.encoders[self.name].transforms if self.name in self.rows.encoders else ()
        return not self.variable.family.support.discrete and not any(step.points for step in steps)

    @property
    def is_known(self) -> bool:
        """Tell whether some labelled row has a finite prediction."""
        return any(not bool(distance.isnan().all()) for distance in self.distances)

    def error(self, *, clusters: bool = False) -> Error:
        """Average over the labelled rows, of which there must be some, and all their labelled steps.

        clusters: also match the predictions with the labels.
        """
        distances, owners = torch.cat(self.distances), torch.cat(self.owners)
        finite = ~distances.isnan()
        right = torch.cat(self.given_count)[finite] if self.given_count else torch.zeros(0, dtype=torch.bool)
        distances, owners = distances[finite], owners[finite]
        count, spread = _spread_by_row(distances, owners)
        value, spread = self.metric.average(float(distances.mean()), spread)
        more = self.metric.more(value)
        if self.stepped:
            more["steps"] = len(distances)
        if right.any():
            more[_given_count(self.metric)], _ = self.metric.average(float(distances[right].mean()), math.nan)
            more["rows_given_count"] = len(owners[right].unique())
        below = torch.cat(self.below) if self.below else torch.zeros(0)
        below = below[~below.isnan()]
        counted = None
        if self.calibrating is not None:
            counted = confusion(self._categories, *torch.cat(self.counted, 1).flatten(1))
        return Error(
            metric=self.metric,
            value=value,
            rows=count,
            standard_error=spread,
            more=more,
            calibration=None if self.calibrating is None else self.calibrating.calibration(),
            coverage=coverage(below) if len(below) else None,
            confusion=counted,
            clusters=clustering(self._by_element()) if clusters and counted is not None else None,
        )

    def _by_element(self) -> dict[tuple[int, ...], Confusion]:
        """Count the labels of each element of the node separately, by its place."""
        places = [tuple(map(int, place)) for place in np.ndindex(*self.variable.shape)]
        every = torch.cat(self.counted, 1).unbind(-1)
        return {
            place: confusion(self._categories, *labels_and_guesses)
            for place, labels_and_guesses in zip(places, every, strict=True)
        }

    @property
    def _categories(self) -> Sequence[CategoryName]:
        return self.variable.values or range(self.variable.categories or 2)


def _spread_by_row(distances: Tensor, owners: Tensor) -> tuple[int, float]:
    """Count the rows, and give the standard error over rows of the mean of all distances; NaN for one row.

    The distances of a row are not independent: it is that of a ratio of sums over rows (Cochran 1977, Eq. 2.46).
    """
    _, place = owners.unique(return_inverse=True)
    sizes = torch.bincount(place).double()
    count = len(sizes)
    if count == len(distances):
        return count, float(distances.std(unbiased=True)) / math.sqrt(count) if count > 1 else math.nan
    if count < 2:
        return count, math.nan
    apart = torch.bincount(place, distances.double()) - distances.double().mean() * sizes
    return count, math.sqrt(float((apart**2).sum()) * count / (count - 1)) / float(sizes.sum())


def known_errors(scores: Mapping[str, Score], clusters: Collection[str] = ()) -> dict[str, Error]:
    """Give the errors of the nodes that have labels in some rows.

    clusters: nodes without labels in training, whose categories have no names.
    """
    return {name: score.error(clusters=name in clusters) for name, score in scores.items() if score.is_known}


def known(number: float) -> float | None:
    """Give a number as JSON can hold it: null for NaN."""
    return None if math.isnan(number) else number
