"""The importance-weighted bound (Burda et al. 2016; Siddharth et al. 2017, Eq. 9)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, final

from sgc.objectives.bound import Bound, BoundWords, Ingredients, alpha_of
from sgc.objectives.expressions import Expression, LogMean, Product, Scaled, telescoped


@final
class Iwae(Bound):
    """log E_r[ p / r ] + α log E_r[ w ]; with an α for each label each ratio of two means has its own."""

    name: ClassVar[str] = "iwae"
    source: ClassVar[str] = "Eq. (9), Siddharth et al. 2017; Burda et al. 2016"
    refused: ClassVar[Mapping[str, str]] = {"kl_weight": "the iwae bound has no kl_weight"}
    idle: ClassVar[Mapping[str, str]] = {"kl": "the iwae bound has no KL"}
    importance_weighted: ClassVar[bool] = True
    closed_kl_refusal: ClassVar[str] = "iwae takes no closed form"

    def expression(self, given: Ingredients, words: BoundWords) -> Expression:
        """Write the bound of one row, in nats."""
        labels, main = given.labels, Scaled(LogMean(Product(given.scores, "p / r")))
        if words.alpha_by_node and len(labels) > 1:
            return Expression((main, *telescoped(labels, tuple(map(alpha_of, labels)))))
        parts = [Scaled(LogMean(Product(labels, "w"), name=f"label {label.node}"), alpha_of(label)) for label in labels]
        return Expression((main, *parts[-1:]))

    def warnings(self, given: Ingredients, words: BoundWords) -> Iterator[str]:
        """Warn of rows that do not train q."""
        if given.enumerated:
            trained = "they train it through alpha alone" if given.labels else "they do not train it"
            yield f"every proposed node is enumerated, so iwae does not contain q: {trained}"
