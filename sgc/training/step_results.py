"""What a step of training leaves: its loss, its gradient's norm, and the bounds of its rows, read or not yet read."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from sgc.evaluation.mean_terms import Terms
from sgc.runtime.batch import PatternRows


@dataclass(frozen=True)
class PartResult:
    """What a step leaves of the rows of one pattern: their bounds, and the terms of these where they were asked for."""

    part: PatternRows
    bound: Tensor  # [B] nats
    terms: Terms | None


@dataclass(frozen=True)
class StepResult:
    """The loss of a step and what it leaves of each part; its gradients lie at the parameters.

    norm: the Euclidean norm of the gradient, a scalar.
    """

    loss: float
    norm: Tensor
    parts: list[PartResult]


@dataclass(frozen=True)
class UnreadStep:
    """A replayed step of which no number was read; its gradients lie at the parameters.

    holds: whether it and the steps before it hold, a boolean scalar: loss and gradient are finite, and the guards hold.
    loss, norm: scalars. All but `holds` is written over by the next replay.
    """

    holds: Tensor
    loss: Tensor
    norm: Tensor
    parts: list[PartResult]
