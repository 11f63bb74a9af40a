"""Hard draws forward, relaxed ones backward (Bengio et al. 2013; Jang et al. 2017)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from sgc.distributions.family import Family
from sgc.distributions.points import Point
from sgc.objectives.estimator import Draw, Estimator
from sgc.objectives.gumbel_softmax import GumbelSoftmax, Temperature
from sgc.schedules import number_at


class StraightThrough(Estimator):
    """A hard draw forward, its relaxation at a temperature backward (Bengio et al. 2013; Jang et al. 2017).

    The bound's value is right, its gradient biased.
    """

    name: ClassVar[str] = "straight_through"
    tag: ClassVar[str] = "biased"
    gradient_note: ClassVar[str] = "a hard draw forward, its relaxation backward"
    count_refusal: ClassVar[str] = "relaxed backward"

    temperature: Temperature = Field(
        0.66,
        description="How soft the draw is that lends its gradient, above 0; near 0 the gradient varies more.",
        examples=[0.5],
    )

    @staticmethod
    def refuse(family: Family, event: tuple[int, ...]) -> str:
        """Say why the family cannot have this estimator; an empty string where it can."""
        return GumbelSoftmax.refuse(family, event)

    def draw(self, given: Draw) -> Point:
        """Draw from the relaxation and round; the gradient is the relaxation's."""
        relaxed = given.family.relaxed(given.q, number_at(self.temperature, given.epoch), given.leading).value
        return Point(given.family.harden(relaxed.detach()) + (relaxed - relaxed.detach()))
