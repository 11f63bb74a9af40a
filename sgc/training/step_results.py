"""What a step of training leaves: its loss, its gradient's norm, and the bounds of its rows, read or not yet read."""

from __future__ import annotations

from collections.abc import Sequence
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


def values_of(result: StepResult) -> list[Tensor | None]:
    """List what a step leaves of its rows."""
    bounds: list[Tensor | None] = [part.bound for part in result.parts]
    return [*bounds, *(part.terms.values for part in result.parts if part.terms is not None)]


def alike(one: Sequence[Tensor | None], other: Sequence[Tensor | None]) -> bool:
    """Tell whether tensors are the same to the bit; what is not a number is alike."""
    return all(
        (a is None and b is None)
        or (a is not None and b is not None and a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all()))
        for a, b in zip(one, other, strict=True)
    )
