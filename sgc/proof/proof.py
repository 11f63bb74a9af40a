"""What a proof found: each comparison, exact or of means, the bias of what is biased, and whether all of it holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sgc.objectives.estimator import Estimator
from sgc.proof.comparison import Difference


@dataclass(frozen=True)
class Exact:
    """What the exact comparison of the rows of a pattern found."""

    rows: str
    epoch: int
    found: Difference | None
    problem: str = ""  # how the compiled objective broke, where nothing was found
    pattern: bool = True  # False: rows of several patterns in one batch

    @property
    def passed(self) -> bool:
        return self.found is not None and self.found.small


@dataclass(frozen=True)
class Sampled:
    """What the comparison of a mean found: the largest |z| of how many numbers, after how many estimates of a row."""

    rows: str
    epoch: int
    samples: int
    estimates: int
    numbers: int
    score: float
    name: str
    problem: str = ""
    limit: float = math.inf  # on |z|; known once all numbers are counted

    @property
    def passed(self) -> bool:
        return not self.problem and self.score <= self.limit


@dataclass(frozen=True)
class Bias:
    """How far off a biased estimator is at the twin, on rows without labels: the gradient by a share, the loss in nats.

    Each with its standard error.
    """

    node: str
    estimator: Any  # Any: plain data
    gradient: tuple[float, float]
    loss: tuple[float, float]


@dataclass(frozen=True)
class Cooled:
    """How far off the gradient of a relaxed node is once it is cold, where it has to come close to that of hard draws.

    That it does not would mean that the relaxed value is scored as another one than it is.
    """

    node: str
    estimator: Any  # Any: plain data
    gradient: tuple[float, float]  # a share, and its standard error

    @property
    def passed(self) -> bool:
        off, error = self.gradient
        return off - 5 * error <= WARM

    @property
    def rows(self) -> str:
        return f"{self.node} when cold"


WARM = 0.2  # a cold relaxation is off by a few percent, one that is scored at its largest entry by most of the gradient


@dataclass(frozen=True)
class Proof:
    """All that was compared, in the order in which it was."""

    name: str
    nodes: tuple[str, ...]
    exact: tuple[Exact, ...]
    sampled: tuple[Sampled, ...]
    biases: tuple[Bias, ...]
    cooled: tuple[Cooled, ...]
    notes: tuple[str, ...]
    seed: int
    estimators: Mapping[str, Estimator]  # by node, as in the spec

    @property
    def lines(self) -> tuple[Exact | Sampled | Cooled, ...]:
        return (*self.exact, *self.sampled, *self.cooled)

    @property
    def passed(self) -> bool:
        return all(line.passed for line in self.lines)
