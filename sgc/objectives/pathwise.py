"""Reparameterised draws (Kingma and Welling 2014)."""

from __future__ import annotations

from typing import ClassVar

from sgc.distributions.family import Family
from sgc.distributions.points import Point
from sgc.objectives.estimator import Draw, Estimator


class Pathwise(Estimator):
    """One reparameterised draw for each sample; the gradient goes through the value (Kingma and Welling 2014)."""

    name: ClassVar[str] = "pathwise"
    tag: ClassVar[str] = "sampled"
    reparameterised: ClassVar[bool] = True
    exact: ClassVar[bool] = True

    @staticmethod
    def refuse(family: Family, event: tuple[int, ...]) -> str:
        """Say why the family cannot have this estimator; an empty string where it can."""
        return "" if family.pathwise else f"{family.name} has no reparameterised draw"

    def draw(self, given: Draw) -> Point:
        """Draw with a gradient."""
        return given.family.draw(given.q, given.leading, pathwise=True)


PATHWISE = Pathwise()
