"""The calibration of predicted probabilities, and their proper scores against the labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

BINS = 15
LEVELS = (0.5, 0.9)


@dataclass(frozen=True)
class Bin:
    """Labels with a top probability in (`low`, `high`]: their number, its mean, and how often the category is right."""

    low: float
    high: float
    rows: int
    confidence: float
    accuracy: float

    def plain(self) -> dict[str, float]:
        """Give it as plain data."""
        shares = {"confidence": self.confidence, "accuracy": self.accuracy}
        return {"from": self.low, "to": self.high, "rows": self.rows, **shares}


@dataclass(frozen=True)
class Calibration:
    """The calibration and the proper scores of probabilities.

    `error` is the expected calibration error: Σ_m |B_m|/n · |accuracy(B_m) − confidence(B_m)| over 15 bins of equal
    width by the probability of the most probable category, from 0 (calibrated) to 1 (Guo et al. 2017, Eq. 3).
    `log_loss` is the mean −log probability of the label in nats, infinite if one has probability 0; `brier` the mean
    Σ_k (p_k − [label is k])², from 0 to 2 (Brier 1950). `bins` are the bins that are not empty; `impossible` is the
    number of labels that have probability 0.
    """

    error: float
    log_loss: float
    brier: float
    bins: tuple[Bin, ...]
    impossible: int = 0

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Give it as plain data; an infinite loss is null."""
        return {
            "ece": self.error,
            "nll": self.log_loss if math.isfinite(self.log_loss) else None,
            "impossible": self.impossible,
            "brier": self.brier,
            "bins": [bin_.plain() for bin_ in self.bins],
        }


def coverage(below: Tensor) -> dict[str, float]:
    """Give the share of labels in central intervals, by level; it equals the level if q is calibrated.

    below: q's probability of a value below the label, any shape, in [0, 1]. The central interval of level c contains
    the label if that is within c/2 of 1/2.
    """
    return {f"{level:.0%}": float(((below - 0.5).abs() <= level / 2).double().mean()) for level in LEVELS}


class Calibrating:
    """Accumulates a calibration, pass by pass."""

    def __init__(self) -> None:
        self.edges = torch.linspace(0, 1, BINS + 1, dtype=torch.float64)
        self.sums = torch.zeros(3, BINS, dtype=torch.float64)  # labels, top probabilities and right guesses, by bin
        self.log_loss = self.brier = 0.0
        self.impossible = 0

    def add(self, probabilities: Tensor, labels: Tensor, log_of_label: Tensor | None = None) -> Tensor:
        """Take in probabilities [N, K] and their labels [N], integers from 0 to K - 1; give −log p(label), [N].

        log_of_label: log p(label), [N], if it is known more precisely than from the probabilities, which underflow.
        """
        probabilities = probabilities.double()
        top, guess = probabilities.max(-1)
        place = torch.bucketize(top, self.edges[1:-1])  # an edge belongs to the bin on its left
        for sums, values in zip(self.sums, (torch.ones_like(top), top, (guess == labels).double()), strict=True):
            sums += torch.bincount(place, values, minlength=BINS)
        of_label = probabilities.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
        losses = -(of_label.log() if log_of_label is None else log_of_label.double().clamp(max=0))
        self.log_loss += float(losses.sum())
        self.impossible += int(losses.isinf().sum())
        self.brier += float(((probabilities**2).sum(-1) - 2 * of_label + 1).sum())
        return losses

    def calibration(self) -> Calibration:
        """Give the calibration over all labels, of which there must be at least one."""
        counts = self.sums[0]
        total = float(counts.sum())
        bins = tuple(
            Bin(float(self.edges[m]), float(self.edges[m + 1]), int(count), float(top / count), float(right / count))
            for m, (count, top, right) in enumerate(self.sums.T)
            if count
        )
        error = sum(bin_.rows * abs(bin_.accuracy - bin_.confidence) for bin_ in bins) / total
        return Calibration(error, self.log_loss / total, self.brier / total, bins, self.impossible)
