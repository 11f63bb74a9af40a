"""The whole support of a node in place of a draw."""

from __future__ import annotations

from typing import ClassVar

from sgc.distributions.family import MOST_VALUES, Family
from sgc.distributions.points import Point
from sgc.objectives.estimator import Draw, Estimator

ENUMERABLE = 4096  # a larger support is refused


class Enumerate(Estimator):
    """The whole finite support on a dimension of its own, each value with its mass q(v); the gradient is exact."""

    name: ClassVar[str] = "enumerate"
    tag: ClassVar[str] = "enumerated"
    enumerates: ClassVar[bool] = True
    over_samples: ClassVar[bool] = False
    exact: ClassVar[bool] = True

    @staticmethod
    def refuse(family: Family, event: tuple[int, ...]) -> str:
        """Say why the family cannot have this estimator; an empty string where it can."""
        size = family.support_size(event)
        if size is None:
            return f"the support of {family.name} is not finite"
        count = f"{MOST_VALUES:.0e} values or more" if size == MOST_VALUES else f"{size} values"
        return "" if size <= ENUMERABLE else f"its support has {count}, at most {ENUMERABLE} are enumerated"

    def draw(self, given: Draw) -> Point:
        """Give the whole support, [K, *event]; the runtime lays it out on the node's dimension."""
        like = given.family.mean(given.q)
        return Point(given.family.enumerate(tuple(given.q.event_shape), like.dtype, like.device))
