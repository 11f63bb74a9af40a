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

    over_rate: number(ge=0)  # type: ignore[valid-type]


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

    bound: BoundChoice = "elbo"
    samples: Annotated[int, Field(ge=1, le=100_000)] = 1
    alpha: Maybe[Alpha] = None  # 1 where it is absent; per labelled row
    gamma: Maybe[number(ge=0)] = None  # type: ignore[valid-type]  # 1 where both are absent
    supervision_rate: Maybe[number(gt=0, lt=1)] = None  # type: ignore[valid-type]
    weights: Literal["normalized", "none"] = "normalized"
    label_term: Literal["mean_log", "log_mean"] = "mean_log"
    kl: Literal["auto", "sampled"] = "auto"
    kl_weight: number(ge=0) = 1.0  # type: ignore[valid-type]
    gradient: GradientName = "total"

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
