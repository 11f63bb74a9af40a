"""The mean of q in place of a draw."""

from __future__ import annotations

from typing import ClassVar

from sgc.distributions.family import Family
from sgc.distributions.points import Point
from sgc.objectives.estimator import Draw, Estimator


class Mean(Estimator):
    """The mean of q in place of a draw, scored by its expectations under q: deterministic and biased."""

    name: ClassVar[str] = "mean"
    tag: ClassVar[str] = "biased"
    over_samples: ClassVar[bool] = False
    averages: ClassVar[bool] = True
    attainable: ClassVar[bool] = False
    count_refusal: ClassVar[str] = "averaged"

    @staticmethod
    def refuse(family: Family, event: tuple[int, ...]) -> str:
        """Say why the family cannot have this estimator; an empty string where it can."""
        return "" if family.closed_kl else f"{family.name} has no closed form for its entropy and cross-entropy"

    def draw(self, given: Draw) -> Point:
        """Give the mean, which varies over what q reads alone."""
        return Point(given.family.mean(given.q))
