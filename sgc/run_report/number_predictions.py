"""Predictions of labelled numbers beside their labels: scatter, residuals, how often q's intervals hold, and angles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sgc.metrics.metric import Pairs
from sgc.metrics.metrics import METRICS
from sgc.run_report.inferred_rows import InferredRows, Numbers
from sgc.run_report.latent_maps import rounded
from sgc.run_report.row_labels import ELEMENTS, column_names, labels_of, turns_of
from sgc.runtime.steps import steps_of
from sgc.spec.measured_nodes import measured

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class ElementPredictions:
    """One column of a node, in the units of the data: labels and q's means, [n].

    A prediction of an angle is in the turn nearest to its label, so that the residual is the shorter way around.
    """

    name: str
    truth: Numbers
    predicted: Numbers
    turn: float = 0.0

    @property
    def residuals(self) -> Numbers:
        """Prediction minus label."""
        return self.predicted - self.truth

    @property
    def explained(self) -> float | None:
        """The share of the labels' variance that predictions explain, R²; None for angles and constant labels."""
        spread = float(((self.truth - self.truth.mean()) ** 2).sum())
        return None if self.turn or not spread > 0 else 1 - float((self.residuals**2).sum()) / spread

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Give it as plain data."""
        return {
            "rows": len(self.truth),
            "bias": float(self.residuals.mean()),
            "rmse": float(np.sqrt((self.residuals**2).mean())),
            "r2": self.explained,
            "truth": [rounded(value) for value in self.truth.tolist()],
            "predicted": [rounded(value) for value in self.predicted.tolist()],
        }


@dataclass(frozen=True)
class NumberPredictions:
    """The predictions of one labelled node of numbers.

    more: its columns that are not shown. coverage: for each level the share of labels in q's central interval; empty
    where q has none. angles [n]: between predicted and labelled direction, in degrees; empty where it is no direction.
    """

    node: str
    rows: str  # which they are, in words
    elements: tuple[ElementPredictions, ...]
    more: int
    coverage: tuple[tuple[float, float], ...]
    angles: Numbers

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Give it as plain data."""
        return {
            "rows": self.rows,
            "columns": {element.name: element.plain() for element in self.elements},
            "coverage": {f"{level:.0%}": share for level, share in self.coverage},
            "angles": [rounded(angle) for angle in self.angles.tolist()],
        }


def number_predictions(inferred: InferredRows, name: str) -> NumberPredictions | None:
    """Put q's predictions of a node beside its labels; None for a node of categories, or without a label."""
    outline = inferred.rows.outline
    node = measured(outline, name)
    if node.nominal:
        return None
    truth, _ = labels_of(inferred, name)
    count, steps, columns = truth.shape
    encoder = inferred.rows.encoders.get(name)
    predicted = inferred.predictions[name].reshape(count, *steps_of(outline, name), *node.event)
    raw = inferred.rows.take(name, inferred.index).numpy().reshape(predicted.shape)
    cells = predicted if encoder is None else encoder.decode_near(predicted, raw)[0]
    guess = np.asarray(cells, dtype=np.float64).reshape(count, steps, columns)
    turns = turns_of(inferred, name, columns)
    if encoder is None or not any(step.turns for step in encoder.transforms):
        for place, turn in enumerate(turns):
            if turn:
                apart = guess[..., place] - truth[..., place]
                guess[..., place] -= turn * np.round(np.nan_to_num(apart) / turn)
    names = column_names(inferred, name, columns)
    elements = []
    for place in range(min(columns, ELEMENTS)):
        label, answer = truth[..., place].reshape(-1), guess[..., place].reshape(-1)
        known = np.isfinite(label) & np.isfinite(answer)
        if known.any():
            elements.append(ElementPredictions(names[place], label[known], answer[known], turns[place]))
    if not elements:
        return None
    return NumberPredictions(
        node=name,
        rows=inferred.words,
        elements=tuple(elements),
        more=columns - min(columns, ELEMENTS),
        coverage=_coverage(inferred, name),
        angles=_angles(inferred, name, predicted, raw),
    )


def explained_shares(predictions: Sequence[NumberPredictions]) -> dict[str, float]:
    """Give the share of variance that predictions explain, by node, of those of one number."""
    return {
        prediction.node: explained
        for prediction in predictions
        if len(prediction.elements) == 1 and not prediction.more
        if (explained := prediction.elements[0].explained) is not None
    }


def _coverage(inferred: InferredRows, name: str) -> tuple[tuple[float, float], ...]:
    """Give the share of labels in q's central intervals, for a node of real numbers that are no angles."""
    encoder, node = inferred.rows.encoders.get(name), measured(inferred.rows.outline, name)
    points = encoder is not None and any(step.points for step in encoder.transforms)
    if name not in inferred.below or node.support.discrete or points:
        return ()
    present = inferred.rows.labels_of(name)[inferred.index]
    shares = inferred.below[name].reshape(len(inferred.index), present.shape[1], -1)[present]
    shares = shares[np.isfinite(shares)]
    if not len(shares):
        return ()
    return tuple((level, float((np.abs(shares - 0.5) <= level / 2).mean())) for level in LEVELS)


def _angles(inferred: InferredRows, name: str, predicted: Numbers, raw: Numbers) -> Numbers:
    """Give the angles between directions, where the node's metric or a transform says that its values are some."""
    outline = inferred.rows.outline
    node, encoder = measured(outline, name), inferred.rows.encoders.get(name)
    metric = outline.spec.evaluate.metrics.get(name)
    chosen = isinstance(metric, str) and METRICS[metric].directions
    vectors = node.points and node.event != (2,)  # of two, an angle, which has a scatter of its own
    if not (chosen or vectors):
        return np.zeros(0)
    measure = next(kind for kind in METRICS.values() if kind.directions)
    if measure.refuse(node):
        return np.zeros(0)
    width = node.event[-1] if node.event else 1
    if node.periodic or width == 1:
        return np.zeros(0)
    present = inferred.rows.labels_of(name)[inferred.index].reshape(-1)
    both = [values.reshape(len(present), *node.event) for values in (predicted, raw)]
    if encoder is not None:
        both = [np.asarray(encoder.of_step().decode_to_points(values)) for values in both]
    guess, label = (torch.from_numpy(values.astype(np.float64)).reshape(len(present), -1, width) for values in both)
    angles = measure.of_rows(Pairs(node, guess, label)).numpy()[present]
    return np.asarray(angles[np.isfinite(angles)])
