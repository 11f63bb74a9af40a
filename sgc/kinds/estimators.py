"""Estimators: how a proposed node hands on values, and what its gradient is. One final class each.

Each turns q(v | parents) into particles with a mass (the table of the derivation): the S samples carry 1/S once, and
the masses of all particles of a row sum to one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sgc.distributions.families import Family
from sgc.kinds.base import Maybe, Named, tagged
from sgc.kinds.schedules import Number, number

ENUMERABLE_BY_DEFAULT = 64  # a support up to this size is enumerated unless the spec says otherwise
ENUMERABLE = 4096  # a larger one is refused

if TYPE_CHECKING:
    Temperature = Number
    Decay = Number
else:
    Temperature = number(gt=0)
    Decay = number(ge=0, lt=1)


class Pathwise(Named):
    """One reparameterised draw for each sample; the gradient goes through the value (Kingma and Welling 2014)."""

    name: ClassVar[str] = "pathwise"
    tag: ClassVar[str] = "sampled"

    @staticmethod
    def refuse(family: Family, event: tuple[int, ...]) -> str:
        """Say why the family cannot have this estimator; an empty string where it can."""
        return "" if family.pathwise else f"{family.name} has no reparameterised draw"


class Enumerate(Named):
    """The whole finite support on a dimension of its own, each value with its mass q(v); the gradient is exact."""

    name: ClassVar[str] = "enumerate"
    tag: ClassVar[str] = "enumerated"

    @staticmethod
    def refuse(family: Family, event: tuple[int, ...]) -> str:
        """Say why the family cannot have this estimator; an empty string where it can."""
        size = family.support_size(event)
        if size is None:
            return f"the support of {family.name} is not finite"
        return "" if size <= ENUMERABLE else f"its support has {size} values, at most {ENUMERABLE} are enumerated"


class GumbelSoftmax(Named):
    """A relaxed draw at a temperature (Jang et al. 2017; Maddison et al. 2017): biased.

    `density` says what scores the draw y. `linear`: Σ_k y_k log π_k in both graphs (or the closed KL divergence), whose
    gradient of KL(q‖p) is the true one. `concrete`: the relaxation's own density in both graphs, as Maddison et al.
    train it, where the node is not labelled; that of the logs, which is finite at every temperature.
    """

    name: ClassVar[str] = "gumbel_softmax"
    tag: ClassVar[str] = "biased"

    temperature: Temperature = 0.66  # above 0; the hard draw is its limit at 0
    density: Literal["linear", "concrete"] = "linear"

    @staticmethod
    def refuse(family: Family, event: tuple[int, ...]) -> str:
        """Say why the family cannot have this estimator; an empty string where it can."""
        return "" if family.relaxable else f"{family.name} has no relaxed draw, only Bernoulli and Categorical have"


class StraightThrough(Named):
    """A hard draw forward, its relaxation at a temperature backward (Bengio et al. 2013; Jang et al. 2017).

    The bound's value is right, its gradient biased.
    """

    name: ClassVar[str] = "straight_through"
    tag: ClassVar[str] = "biased"

    temperature: Temperature = 0.66  # of the relaxation that the gradient goes through

    @staticmethod
    def refuse(family: Family, event: tuple[int, ...]) -> str:
        """Say why the family cannot have this estimator; an empty string where it can."""
        return "" if family.relaxable else f"{family.name} has no relaxed draw, only Bernoulli and Categorical have"


class ScoreFunction(Named):
    """A draw without a gradient of its own; ∇ log q times what the draw costs stands in for it (Williams 1992).

    The cost is restricted to what the node can influence (Schulman et al. 2015). `leave_one_out` subtracts the bound
    of the other samples (Mnih and Rezende 2016), `running_mean` an average over earlier steps, `none` nothing.
    """

    name: ClassVar[str] = "score_function"
    tag: ClassVar[str] = "sampled"

    baseline: Maybe[Literal["leave_one_out", "running_mean", "none"]] = None  # by the number of samples where absent
    decay: Decay = 0.9  # of the running mean, for each step

    @staticmethod
    def refuse(family: Family, event: tuple[int, ...]) -> str:
        """Say why the family cannot have this estimator: every family can be drawn from."""
        return ""

    def with_baseline(self, samples: int) -> ScoreFunction:
        """Fill in the baseline: the other samples where there are any, else a running mean."""
        chosen = self.baseline or ("leave_one_out" if samples > 1 else "running_mean")
        return ScoreFunction(baseline=chosen, decay=self.decay)


class Mean(Named):
    """The mean of q in place of a draw, scored by its expectations under q: deterministic and biased."""

    name: ClassVar[str] = "mean"
    tag: ClassVar[str] = "biased"

    @staticmethod
    def refuse(family: Family, event: tuple[int, ...]) -> str:
        """Say why the family cannot have this estimator; an empty string where it can."""
        return "" if family.closed_kl else f"{family.name} has no closed form for its entropy and cross-entropy"


Estimator = Pathwise | Enumerate | GumbelSoftmax | StraightThrough | ScoreFunction | Mean

ESTIMATORS: dict[str, type[Estimator]] = {
    "pathwise": Pathwise,
    "enumerate": Enumerate,
    "gumbel_softmax": GumbelSoftmax,
    "straight_through": StraightThrough,
    "score_function": ScoreFunction,
    "mean": Mean,
}


def possible(family: Family, event: tuple[int, ...]) -> list[str]:
    """Name the estimators that a family can have for an event."""
    return [name for name, kind in ESTIMATORS.items() if not kind.refuse(family, event)]


def default(family: Family, event: tuple[int, ...]) -> Estimator:
    """Choose the estimator of a node that names none: pathwise, else enumerate up to 64 values, else score_function."""
    if family.pathwise:
        return Pathwise()
    size = family.support_size(event)
    return Enumerate() if size is not None and size <= ENUMERABLE_BY_DEFAULT else ScoreFunction()


def _tag(value: Any) -> str | None:  # Any: whatever YAML can say
    if isinstance(value, str):
        return value if value in ESTIMATORS else None
    if isinstance(value, dict) and len(value) == 1:
        return next((key for key in value if key in ESTIMATORS), None)
    return getattr(value, "name", None)


EstimatorChoice = tagged(dict(ESTIMATORS), "estimator", _tag, key=True)
