"""Draws without a gradient of their own, charged with what they can influence (Williams 1992)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from sgc.distributions.family import Family
from sgc.distributions.points import Point
from sgc.objectives.estimator import Charging, Draw, Estimator
from sgc.piece import Maybe
from sgc.schedules import Number, number, number_at

if TYPE_CHECKING:
    from torch import Tensor

    Decay = Number
else:
    Decay = number(ge=0, lt=1)


class ScoreFunction(Estimator):
    """A draw without a gradient of its own; in its place ∇ log q times the cost of the draw: REINFORCE (Williams 1992).

    The cost is restricted to what the node can influence (Schulman et al. 2015). `leave_one_out` subtracts the bound
    of the other samples (Mnih and Rezende 2016), `running_mean` an average over earlier steps, `none` nothing.
    """

    name: ClassVar[str] = "score_function"
    tag: ClassVar[str] = "sampled"
    charged: ClassVar[bool] = True
    wanted_samples: ClassVar[int] = 2  # the others are the baseline

    baseline: Maybe[Literal["leave_one_out", "running_mean", "none"]] = Field(
        None,
        description=(
            "What is taken off the cost of a draw. Absent: `leave_one_out` with several samples, else `running_mean`."
        ),
        examples=["running_mean"],
    )
    decay: Decay = Field(
        0.9,
        description="How much of the running mean is kept at each step.",
        examples=[0.99],
    )

    @staticmethod
    def refuse(family: Family, event: tuple[int, ...]) -> str:
        """Say why the family cannot have this estimator: every family can be drawn from."""
        return ""

    @property
    def baseline_word(self) -> str:
        """Which baseline it takes off what its draws are charged with."""
        return self.baseline or "none"

    def decay_at(self, epoch: float) -> float:
        """Give what the running mean keeps of itself in a step."""
        decay: float = number_at(self.decay, epoch)
        return decay

    def at_samples(self, samples: int) -> ScoreFunction:
        """Fill in the baseline: the other samples where there are any, else a running mean."""
        chosen = self.baseline or ("leave_one_out" if samples > 1 else "running_mean")
        return ScoreFunction(baseline=chosen, decay=self.decay)

    def refuse_samples(self, samples: int) -> tuple[str, str, str]:
        """Say that one sample has no others."""
        if self.baseline != "leave_one_out" or samples > 1:
            return "", "", ""
        message = "'leave_one_out' needs another sample to compare with, and objective.samples is 1"
        return "baseline", message, "allowed: running_mean, none"

    def draw(self, given: Draw) -> Point:
        """Draw without a gradient."""
        return given.family.draw(given.q, given.leading)

    def surrogate(self, log: Tensor, given: Draw, drawn: Point, charging: Charging) -> Tensor:
        """Give (log q − stop(log q)) · stop(signal), [B] (Williams 1992; Schulman et al. 2015)."""
        return ((log - log.detach()) * charging.signal().detach()).sum(tuple(range(log.dim() - 1)))
