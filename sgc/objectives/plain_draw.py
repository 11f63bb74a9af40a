"""Draws that nothing is learned from: how evaluation proposes a node that it cannot enumerate. No spec names it."""

from __future__ import annotations

from typing import ClassVar, final

from sgc.distributions.family import Family
from sgc.distributions.points import Point
from sgc.objectives.estimator import Draw, Estimator


@final
class PlainDraw(Estimator):
    """A draw without a gradient."""

    name: ClassVar[str] = "draw"
    tag: ClassVar[str] = "sampled"

    @staticmethod
    def refuse(family: Family, event: tuple[int, ...]) -> str:
        """Say why the family cannot have this estimator: every family can be drawn from."""
        return ""

    def draw(self, given: Draw) -> Point:
        """Draw without a gradient."""
        return given.family.draw(given.q, given.leading)
