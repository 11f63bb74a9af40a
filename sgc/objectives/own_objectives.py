"""A bound or an estimator of the user's own: its class by import path, and its options.

`bound: {python: module:Class, options: {order: 0.5}}`, `estimator: {python: module:Class}`
"""

from __future__ import annotations

from collections.abc import Collection
from typing import final

from sgc.errors import UsageError
from sgc.objectives.bound import Bound
from sgc.objectives.bounds import BOUNDS
from sgc.objectives.estimator import Estimator
from sgc.objectives.expression_check import check_bound, check_estimator
from sgc.own_code import OwnCode, OwnObject


@final
class OwnBound(OwnObject):
    """A bound of the user's own, derived from `sgc.objectives.Bound`; `options` are the keywords of its constructor."""

    def load(self, code: OwnCode) -> Bound:
        """Import and make it. Raises: UsageError, if it is not trusted or is none."""
        bound: Bound = self.make(code, Bound, ("name", "source"))
        check_bound(self.python, bound)
        if bound.name in BOUNDS:
            raise UsageError(
                f"'{self.python}': '{bound.name}' is the name of another bound; give its class another one"
            )
        return bound


@final
class OwnEstimator(OwnObject):
    """An estimator of the user's own, derived from `sgc.objectives.Estimator`; `options` are its fields."""

    def load(self, code: OwnCode, names: Collection[str] = ()) -> Estimator:
        """Import and make it. names: of other estimators. Raises: UsageError, if it is not trusted or is none."""
        estimator: Estimator = self.make(code, Estimator, ("name", "tag"))
        check_estimator(self.python, estimator, names)
        estimator._written = self
        return estimator
