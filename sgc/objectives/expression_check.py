"""Checks of a user's own bound or estimator, so that a mistake is reported in words.

Those of the package are checked by types and tests.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Iterator

from sgc.errors import UsageError
from sgc.objectives.bound import Bound, BoundWords, Ingredients
from sgc.objectives.bounds import BOUNDS
from sgc.objectives.estimator import Estimator
from sgc.objectives.expressions import (
    Constant,
    Expression,
    LabelScore,
    Log,
    LogMean,
    Mean,
    Product,
    Scale,
    Scaled,
    Score,
    Value,
)
from sgc.own_code import failure, raised


def expression_of(bound: Bound, given: Ingredients, words: BoundWords) -> Expression:
    """Write the bound of one row. Raises: UsageError if one of the user's own fails or is no expression of `given`."""
    if bound in BOUNDS.values():
        return bound.expression(given, words)
    try:
        expression = bound.expression(given, words)
    except Exception as problem:  # whatever the user's class may do
        raise UsageError(f"the bound '{bound.name}': tried expression: {failure(problem) or raised(problem)}") from None
    fault = next(_faults(expression, given), "")
    if fault:
        raise UsageError(f"the bound '{bound.name}': {fault}")
    return expression


def _faults(expression: object, given: Ingredients) -> Iterator[str]:
    if not isinstance(expression, Expression):
        yield f"its expression() gives {_article(expression)}, wanted an Expression"
        return
    known: set[Log] = {*given.scores, *given.labels}
    for scaled in expression.parts if isinstance(expression.parts, Collection) else ("",):
        if not isinstance(scaled, Scaled) or not isinstance(scaled.part, Mean | LogMean | Constant):
            yield f"a part of its expression is {_article(scaled)}, wanted a Scaled of a Mean, a LogMean or a Constant"
            return
        yield from _faults_of_scale(scaled.scale, given)
        part = scaled.part
        products = [part.weight] if isinstance(part, Mean) else [part.product]
        products += [part.before] if isinstance(part, LogMean) else []
        values = part.values if isinstance(part, Mean) else ()
        if not isinstance(values, tuple) or not all(isinstance(value, Value) for value in values):
            yield "the values of a Mean are not a tuple of Values"
            return
        for product in [*products, *(value.log for value in values if isinstance(value.log, Product))]:
            yield from _faults_of_product(product, known)
        single = [value.log for value in values if not isinstance(value.log, Product)]
        wrong = [log for log in single if log not in known]
        if wrong:
            yield f"{_article(wrong[0])} is averaged, and is not among the factors of these rows"


def _faults_of_scale(scale: Scale, given: Ingredients) -> Iterator[str]:
    if not isinstance(scale, Scale) or not _is_number(scale.constant):
        yield "the scale of a part is not a Scale of a finite number"
    elif scale.alpha and scale.alpha not in {label.node for label in given.labels}:
        rows = ", ".join(label.node for label in given.labels) or "none"
        yield f"a part is weighed by the alpha of '{scale.alpha}', and these rows have the labels: {rows}"


def _faults_of_product(product: Product, known: set[Log]) -> Iterator[str]:
    if not isinstance(product, Product) or not isinstance(product.logs, tuple):
        yield f"{_article(product)} is used as a Product, wanted a Product of a tuple of logs"
        return
    if not _is_number(product.power) or product.power == 0:
        yield f"a Product has the power {product.power!r}, wanted a finite number that is not 0"
    wrong = [log for log in product.logs if not isinstance(log, Score | LabelScore) or log not in known]
    if wrong:
        yield f"{_article(wrong[0])} is in a Product, and is not among the factors of these rows"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _article(value: object) -> str:
    if isinstance(value, Score | LabelScore):
        return f"the log of '{value.node}'"
    return "nothing" if value is None else f"a {type(value).__name__}"


def check_bound(path: str, bound: Bound) -> None:
    """Check that the class of a bound has the right methods. Raises: UsageError."""
    _check_takes(path, "expression", bound.expression, "given, words", 2)
    _check_takes(path, "warnings", bound.warnings, "given, words", 2)


def check_estimator(path: str, estimator: Estimator, names: Collection[str]) -> None:
    """Check that the class of an estimator has the right methods and facts. Raises: UsageError.

    names: those that other estimators have.
    """
    kind, tags = type(estimator), ("sampled", "enumerated", "biased")
    if estimator.tag not in tags:
        raise UsageError(f"'{path}': its tag is '{estimator.tag}', wanted one of {', '.join(tags)}")
    if estimator.name in names:
        raise UsageError(f"'{path}': '{estimator.name}' is the name of another estimator; give its class another one")
    _check_takes(path, "refuse", kind.refuse, "family, event", 2)
    _check_takes(path, "draw", estimator.draw, "given", 1)
    _check_takes(path, "surrogate", estimator.surrogate, "log, given, drawn, charging", 4)
    own = kind.surrogate is not Estimator.surrogate
    if estimator.charged != own:
        slip = (
            "says charged and has no surrogate()"
            if estimator.charged
            else "has a surrogate(), and does not say charged"
        )
        raise UsageError(f"'{path}': it {slip}: the gradient of its draws would be missing")


def _check_takes(path: str, name: str, method: object, wanted: str, count: int) -> None:
    try:
        inspect.signature(method).bind(*range(count))  # type: ignore[arg-type]  # it is a method
    except TypeError:
        static = ", as a static method" if name == "refuse" else ""
        raise UsageError(f"'{path}': its {name}() has to take ({wanted}){static}") from None
