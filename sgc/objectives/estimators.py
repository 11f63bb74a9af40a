"""The estimators that specs name, and the default one of a node."""

from __future__ import annotations

from typing import Any

from sgc.distributions.family import Family
from sgc.objectives.disarm import Disarm
from sgc.objectives.enumerate import Enumerate
from sgc.objectives.estimator import Estimator
from sgc.objectives.gumbel_softmax import GumbelSoftmax
from sgc.objectives.mean_estimator import Mean
from sgc.objectives.own_objectives import OwnEstimator
from sgc.objectives.pathwise import Pathwise
from sgc.objectives.score_function import ScoreFunction
from sgc.objectives.straight_through import StraightThrough
from sgc.objectives.without_replacement import WithoutReplacement
from sgc.piece import tagged

ENUMERABLE_BY_DEFAULT = 64  # a support up to this size is enumerated unless the spec says otherwise

_KINDS: tuple[type[Estimator], ...] = (
    Pathwise,
    Enumerate,
    GumbelSoftmax,
    StraightThrough,
    ScoreFunction,
    Disarm,
    WithoutReplacement,
    Mean,
)
ESTIMATORS: dict[str, type[Estimator]] = {kind.name: kind for kind in _KINDS}
INSTEAD_OF_ENUMERATING: tuple[type[Estimator], ...] = (ScoreFunction, GumbelSoftmax)  # where that costs too much


def possible(family: Family, event: tuple[int, ...]) -> list[str]:
    """Name the estimators that a family can have for an event."""
    return [name for name, kind in ESTIMATORS.items() if not kind.refuse(family, event)]


def default(family: Family, event: tuple[int, ...]) -> Estimator:
    """Choose the estimator of a node that names none: pathwise, else enumerate up to 64 values, else score_function."""
    if family.pathwise:
        return Pathwise()
    size = family.support_size(event)
    return Enumerate() if size is not None and size <= ENUMERABLE_BY_DEFAULT else ScoreFunction()


def refuse_count(family: Family, estimator: Estimator | None) -> str:
    """Say why a count cannot be proposed like this; an empty string where it can, or where it never is (None).

    A relaxed or averaged count is between two numbers of steps, but a step exists or not. Draws that depend on each
    other, with a gradient of their own, cannot be restricted to the values that labels of steps leave to a row.
    """
    if estimator is None or not estimator.count_refusal:
        return ""
    how = estimator.count_refusal
    why = "labels of its steps can leave it some values alone" if estimator.charged else "a step is there or it is not"
    allowed = "enumerate or score_function" if family.finite else "score_function"
    return f"a count is never {how} ({estimator.name}): {why}; wanted {allowed}"


def _tag(value: Any) -> str | None:  # Any: whatever YAML can say
    if isinstance(value, str):
        return value if value in ESTIMATORS else None
    if isinstance(value, dict) and len(value) == 1:
        return next((key for key in value if key in ESTIMATORS), None)
    return getattr(value, "name", None)


def _origin(value: Any) -> str:  # Any: whatever YAML can say
    own = isinstance(value, OwnEstimator) or (isinstance(value, dict) and "python" in value)
    return "own" if own else "named"


_NamedEstimator = tagged(dict(ESTIMATORS), "estimator", _tag, key=True)
EstimatorChoice = tagged({"named": _NamedEstimator, "own": OwnEstimator}, "estimator", _origin)
