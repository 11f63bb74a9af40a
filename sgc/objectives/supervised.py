"""The classifier alone: what q gives a row's labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

from sgc.objectives.bound import Bound, BoundWords, Ingredients
from sgc.objectives.expressions import Constant, Expression, LogMean, Product, Scaled


@final
class Supervised(Bound):
    """log E_r[ w ]: p is not trained, and latents that no label reads are left out."""

    name: ClassVar[str] = "supervised"
    source: ClassVar[str] = "the classifier alone, log q(y | x)"
    has_alpha: ClassVar[bool] = False
    idle: ClassVar[Mapping[str, str]] = {
        "alpha": "the supervised bound has no alpha",
        "kl": "the supervised bound has no KL",
        "kl_weight": "the supervised bound has no KL",
    }
    generative: ClassVar[bool] = False

    def expression(self, given: Ingredients, words: BoundWords) -> Expression:
        """Write the bound of one row, in nats."""
        product = Product(given.labels, "w")
        if not given.varying:
            return Expression((Scaled(Constant(product)),) if given.labels else ())
        return Expression((Scaled(LogMean(product)),))
