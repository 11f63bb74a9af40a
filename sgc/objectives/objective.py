"""Objectives: the bound that is trained, and the words that change it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from sgc.objectives.bounds import BOUNDS
from sgc.objectives.gradient import GRADIENTS
from sgc.objectives.own_objectives import OwnBound
from sgc.piece import Maybe, Piece, tagged
from sgc.schedules import Number, is_schedule, number

if TYPE_CHECKING:
    BoundName = str
    GradientName = str
else:
    BoundName = Literal[tuple(BOUNDS)]
    GradientName = Literal[tuple(GRADIENTS)]


def _bound_tag(value: Any) -> str:  # Any: whatever YAML can say
    return "own" if isinstance(value, OwnBound) or (isinstance(value, dict) and "python" in value) else "name"


if TYPE_CHECKING:
    BoundChoice = BoundName | OwnBound
else:
    BoundChoice = tagged({"name": BoundName, "own": OwnBound}, "bound", _bound_tag)


class OverRate(Piece):
    """α = over_rate / ρ: a constant weight for each effective row, whatever the share of labelled rows."""

    over_rate: number(ge=0) = Field(  # type: ignore[valid-type]
        description="α of each labelled row is this number over ρ, the share of labelled rows.",
        examples=[0.1],
    )


def _alpha_tag(value: Any) -> str:  # Any: whatever YAML can say
    if isinstance(value, OverRate) or (isinstance(value, dict) and "over_rate" in value):
        return "over_rate"
    if is_schedule(value):
        return "number"
    return "by_node" if isinstance(value, Mapping) else "number"


if TYPE_CHECKING:
    Alpha = Number | OverRate | Mapping[str, Number]
else:
    Alpha = tagged(
        {"number": number(ge=0), "over_rate": OverRate, "by_node": dict[str, number(ge=0)]},
        "alpha",
        _alpha_tag,
    )


class Objective(Piece):
    """What is maximised: the bound, how many samples, and the weights of its parts."""

    bound: BoundChoice = Field(
        "elbo",
        description=(
            "What is maximised: `elbo` (Eq. 8 of Siddharth et al. 2017), `iwae` (Eq. 9), `density` (Eq. 4 "
            "of its earlier form), `supervised` (the classifier alone), or a class of your own."
        ),
        examples=["elbo", "iwae"],
    )
    samples: Annotated[int, Field(ge=1, le=100_000)] = Field(
        1,
        description="Draws of each row in a step, beside what is enumerated.",
        examples=[8],
    )
    alpha: Maybe[Alpha] = Field(
        None,
        description=(
            "α: what log q(label) weighs in the bound of a labelled row. A number, one for each node, or "
            "`{over_rate: 0.1}`. Absent: 1."
        ),
        examples=[30, {"over_rate": 0.1}],
    )
    gamma: Maybe[number(ge=0)] = Field(  # type: ignore[valid-type]
        None,
        description=("γ: what a labelled row weighs beside an unlabelled one. Absent, without `supervision_rate`: 1."),
        examples=[10],
    )
    supervision_rate: Maybe[number(gt=0, lt=1)] = Field(  # type: ignore[valid-type]
        None,
        description=(
            "ρ: the share that labelled rows have in the loss; γ follows from it once the data are known. "
            "Not beside `gamma`."
        ),
        examples=[0.25],
    )
    weights: Literal["normalized", "none"] = Field(
        "normalized",
        description=(
            "Whether weights of the labels are normalised over the particles of a row; `none` takes q for "
            "the posterior."
        ),
        examples=["none"],
    )
    label_term: Literal["mean_log", "log_mean"] = Field(
        "mean_log",
        description=(
            "How a label that depends on draws is scored: the mean of log q(label) over them, or the log of the mean."
        ),
        examples=["log_mean"],
    )
    kl: Literal["auto", "sampled"] = Field(
        "auto",
        description="`auto`: in closed form where there is one; `sampled`: never.",
        examples=["sampled"],
    )
    kl_weight: number(ge=0) = Field(  # type: ignore[valid-type]
        1.0,
        description=("What the KL terms of latent nodes weigh; other than 1 it is no bound, and `inspect` says so."),
        examples=[{"from": 5, "to": 1, "epochs": 20}],
    )
    gradient: GradientName = Field(
        "total",
        description="Where the gradient comes from: the bound's own, or an estimator of it.",
        examples=["stl"],
    )

    @model_validator(mode="before")
    @classmethod
    def _exclusive(cls, value: Any) -> Any:  # Any: whatever YAML can say
        if isinstance(value, dict):
            both = [key for key in value if key in ("gamma", "supervision_rate")]
            if len(both) == 2:
                message = f"'{both[1]}' beside '{both[0]}': the rate becomes gamma, give one of them"
                raise PydanticCustomError("excludes", message, {"key": both[1]})
        return value

    @property
    def follows_rate(self) -> bool:
        """Whether some alpha is over the rate of labelled rows."""
        every = self.alpha.values() if isinstance(self.alpha, Mapping) else [self.alpha]
        return any(isinstance(alpha, OverRate) for alpha in every)

    def alpha_of(self, node: str) -> Number | OverRate:
        """Return the α of a node's label, as written; 1 where nothing is."""
        if isinstance(self.alpha, Mapping):
            alpha: Number = self.alpha.get(node, 1.0)
            return alpha
        return 1.0 if self.alpha is None else self.alpha
