"""A bound or an estimator of the user's own: its class by import path, and its options.

`bound: {python: module:Class, options: {order: 0.5}}`, `estimator: {python: module:Class}`
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, final

from pydantic import ValidationError

from sgc.errors import UsageError
from sgc.kinds.own_code import OwnCode, OwnPiece, raised
from sgc.objectives.bound import Bound
from sgc.objectives.bounds import BOUNDS
from sgc.objectives.estimator import Estimator
from sgc.objectives.holding import check_bound, check_estimator


@final
class OwnBound(OwnPiece):
    """A bound of the user's own, derived from `sgc.objectives.Bound`; `options` are the keywords of its constructor."""

    options: dict[str, Any] = {}  # noqa: RUF012 - a frozen pydantic default; Any: whatever YAML can say

    def load(self, code: OwnCode) -> Bound:
        """Import and make it. Raises: UsageError, where it is not trusted, or is none."""
        kind = code.load(Bound)
        try:
            made: Bound = kind(**self.options)
        except Exception as problem:  # whatever the user's class may do
            raise UsageError(f"'{self.python}' cannot be made: {raised(problem)}") from None
        _check_words(self.python, made, ("name", "source"))
        check_bound(self.python, made)
        if made.name in BOUNDS:
            raise UsageError(f"'{self.python}': '{made.name}' is the name of another bound; give its class another one")
        return made


@final
class OwnEstimator(OwnPiece):
    """An estimator of the user's own, derived from `sgc.objectives.Estimator`; `options` are its fields."""

    options: dict[str, Any] = {}  # noqa: RUF012 - a frozen pydantic default; Any: whatever YAML can say

    def load(self, code: OwnCode, names: Collection[str] = ()) -> Estimator:
        """Import and make it. names: of other estimators. Raises: UsageError, where it is not trusted, or is none."""
        kind = code.load(Estimator)
        try:
            made: Estimator = kind(**self.options)
        except ValidationError as problem:
            first = problem.errors()[0]
            where = ".".join(map(str, first["loc"])) or "options"
            raise UsageError(f"'{self.python}': {where}: {first['msg']}") from None
        except Exception as problem:  # whatever the user's class may do
            raise UsageError(f"'{self.python}' cannot be made: {raised(problem)}") from None
        _check_words(self.python, made, ("name", "tag"))
        check_estimator(self.python, made, names)
        made._written = self
        return made


def _check_words(path: str, made: Bound | Estimator, words: tuple[str, ...]) -> None:
    """Hold a class to the words that it has to say of itself."""
    for word in words:
        if not isinstance(getattr(made, word, None), str):
            raise UsageError(f"'{path}': its class says no '{word}', a text")
    tags = ("sampled", "enumerated", "biased")
    if isinstance(made, Estimator) and made.tag not in tags:
        raise UsageError(f"'{path}': its tag is '{made.tag}', wanted one of {', '.join(tags)}")
