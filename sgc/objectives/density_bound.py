"""The bound whose weights are not normalised (Siddharth et al. under review at ICLR 2017, Eq. 4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, final

from sgc.objectives.bound import Bound, BoundWords, Ingredients, Message
from sgc.objectives.expressions import ONE, Expression, Mean, Product, Scaled, Value


@final
class Density(Bound):
    """E_r[ w (log p − log r − log w) ]."""

    name: ClassVar[str] = "density"
    source: ClassVar[str] = "Eq. (4), Siddharth et al. under review at ICLR 2017"
    has_alpha: ClassVar[bool] = False
    refused: ClassVar[Mapping[str, str]] = {
        "kl_weight": "the density bound has no kl_weight",
    }

    def expression(self, given: Ingredients, words: BoundWords) -> Expression:
        """Write the bound of one row, in nats."""
        scores = tuple(Value(score) for score in given.scores)
        weight = Product(given.labels, "w") if given.labels else ONE
        values = (*scores, Value(weight, -1)) if given.labels else scores
        return Expression((Scaled(Mean(values, weight, normalised=False)),))

    def warnings(self, given: Ingredients, words: BoundWords) -> Iterator[Message]:
        """Warn of a bound that rises where q of a label falls."""
        for label in given.labels:
            yield Message("the density bound can train {factor} away from the label", label=label)
