"""The words of an objective that shape a plan; numbers such as α stay with the model."""

from __future__ import annotations

from dataclasses import dataclass, field

from sgc.objectives.bound import Bound, BoundWords
from sgc.objectives.gradient import TOTAL, Gradient


@dataclass(frozen=True)
class ObjectiveWords(BoundWords):
    """The bound, what changes its formula, and how its terms and its gradient are come by."""

    bound: Bound = field(kw_only=True)
    kl: str = "auto"
    gradient: Gradient = TOTAL
