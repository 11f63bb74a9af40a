"""Comparing numbers with the right ones: exact numbers up to rounding, means of draws by Student's t."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

TOLERANCE = 1e-9  # float64; relative to the largest of the numbers, or to 1
FLOOR = 1e-8  # the rounding error of a mean, likewise
LARGEST_SCORE = 1e9  # stands for all larger ones: those of a wrong mean without noise
FALSE_ALARM = 1e-6  # the probability for all comparisons of means of one proof together


@dataclass(frozen=True)
class Difference:
    """The largest of some differences, and the name of the number that differs so much."""

    size: float
    name: str

    @property
    def small(self) -> bool:
        """Whether it can be rounding; NaN cannot."""
        return self.size <= TOLERANCE


def difference(got: Tensor, wanted: Tensor, names: Sequence[str]) -> Difference:
    """Find the largest difference between numbers of one scale, relative to that scale: [K] each."""
    scale = max(1.0, float(wanted.detach().abs().max()))
    off = (got.detach() - wanted.detach()).abs() / scale
    worst = int(off.nan_to_num(nan=math.inf).argmax())
    return Difference(float(off[worst]), names[worst])


def scores(draws: Tensor, wanted: Tensor) -> Tensor:
    """Give (mean − wanted) / standard error of n independent draws, [n, K] -> [K]; 0 for a difference of rounding."""
    mean, error = draws.mean(0), draws.std(0) / math.sqrt(len(draws))
    off = mean - wanted
    rounding = FLOOR * wanted.abs().clamp(min=1.0)
    score = (off / error.clamp(min=1e-300)).clamp(-LARGEST_SCORE, LARGEST_SCORE)
    return score.where(off.abs() > rounding, 0.0).where(off.isfinite(), math.inf)


def distance(draws: Tensor) -> tuple[float, float]:
    """Estimate the length of the mean of n draws, [n, K], and its standard error, without the bias that noise adds."""
    n, mean = len(draws), draws.mean(0)
    square = float((n * mean.square().sum() - draws.square().sum() / n) / (n - 1))
    along = draws @ (mean / mean.norm().clamp(min=1e-300))
    return math.sqrt(max(square, 0.0)), float(along.std() / math.sqrt(n))


def t_tail(t: float, degrees: int) -> float:
    """Give P(|T| > t) of Student's t with an even number of degrees of freedom (Abramowitz and Stegun 1964, 26.7.4).

    >>> round(t_tail(2.0211, 40), 4)
    0.05
    """
    angle = math.atan(t / math.sqrt(degrees))
    term, total = 1.0, 0.0
    for k in range(degrees // 2):
        total += term
        term *= (2 * k + 1) / (2 * k + 2) * math.cos(angle) ** 2
    return 1 - math.sin(angle) * total


def t_limit(probability: float, degrees: int) -> float:
    """Give the t that |T| exceeds with a given probability, of at least about 1e-13.

    >>> round(t_limit(0.05, 40), 2)
    2.02
    """
    low, high = 0.0, 1000.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if t_tail(middle, degrees) > probability else (low, middle)
    return high
