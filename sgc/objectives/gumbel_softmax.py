"""Relaxed draws at a temperature (Jang et al. 2017; Maddison et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from sgc.distributions.family import Family
from sgc.distributions.points import Point
from sgc.objectives.estimator import Draw, Estimator
from sgc.schedules import Number, number, number_at

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributions import Distribution

    Temperature = Number
else:
    Temperature = number(gt=0)


class GumbelSoftmax(Estimator):
    """A relaxed draw at a temperature (Jang et al. 2017; Maddison et al. 2017): biased.

    `density` says what scores the draw y. `linear`: Σ_k y_k log π_k in both graphs (or the closed KL divergence), whose
    gradient of KL(q‖p) is the true one. `concrete`: the relaxation's own density in both graphs, as Maddison et al.
    train it, where the node is not labelled; that of the logs, which is finite at every temperature.
    """

    name: ClassVar[str] = "gumbel_softmax"
    tag: ClassVar[str] = "biased"
    attainable: ClassVar[bool] = False
    count_refusal: ClassVar[str] = "relaxed"

    temperature: Temperature = Field(
        0.66,
        description="How soft a draw is, above 0; near 0 it is a category, and its gradient varies more.",
        examples=[0.5],
    )
    density: Literal["linear", "concrete"] = Field(
        "linear",
        description=(
            "What scores a relaxed draw: `linear`, as the value that it is a mixture of; `concrete`, the "
            "density of the relaxation."
        ),
        examples=["concrete"],
    )

    @staticmethod
    def refuse(family: Family, event: tuple[int, ...]) -> str:
        """Say why the family cannot have this estimator; an empty string where it can."""
        return "" if family.relaxation else f"{family.name} has no relaxed draw, only Bernoulli and Categorical have"

    @property
    def scores_itself(self) -> bool:
        """Whether the relaxation's own density scores it."""
        return self.density == "concrete"

    @property
    def kl_refusal(self) -> str:
        """Why no KL divergence is taken in closed form; an empty string where one may be."""
        return "density: concrete" if self.scores_itself else ""

    def draw(self, given: Draw) -> Point:
        """Draw from the relaxation."""
        return given.family.relaxed(given.q, number_at(self.temperature, given.epoch), given.leading)

    def log_prob(self, family: Family, conditional: Distribution, drawn: Point, epoch: float) -> Tensor:
        """Score a draw by the Concrete density, in nats, [*leading]."""
        return family.concrete_log_prob(conditional, drawn, number_at(self.temperature, epoch))
