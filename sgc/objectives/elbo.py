"""The evidence lower bound with normalised importance weights (Siddharth et al. 2017, Eq. 8)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, final

from sgc.objectives.bound import Bound, BoundWords, Ingredients, Message, alpha_of
from sgc.objectives.expressions import ONE, Constant, Expression, Mean, Product, Scaled, Value, telescoped


@final
class Elbo(Bound):
    """E_r[ w/Z (log p − log r − log w) ] + Σ_v (1 + α_v) E_r[ log w_v ], Z = E_r[w].

    Factors of w that do not vary cancel in w/Z; of these α_v log w_v is left. weights: `none` takes q for the
    posterior: w/Z is 1 and labels have α alone. label_term: `log_mean` takes the log of a label's mean.
    """

    name: ClassVar[str] = "elbo"
    source: ClassVar[str] = "Eq. (8), Siddharth et al. 2017"
    own_words: ClassVar[frozenset[str]] = frozenset({"weights", "label_term"})
    without_score: ClassVar[bool] = True

    def expression(self, given: Ingredients, words: BoundWords) -> Expression:
        """Write the bound of one row, in nats."""
        varying = given.varying
        weight = Product(varying, "w") if varying and self.normalises(words) else ONE
        values = [Value(score) for score in given.scores]
        values += [Value(log, -1) for log in weight.logs]
        parts = [Scaled(Mean(tuple(values), weight))]
        for label in given.labels:
            if not label.varies:
                parts.append(Scaled(Constant(Product((label,))), alpha_of(label)))
        scales = tuple(alpha_of(label, 1.0 if weight.logs else 0.0) for label in varying)
        if words.label_term == "log_mean":
            return Expression((*parts, *telescoped(varying, scales)))
        means = (Mean((Value(label),), name="label") for label in varying)
        return Expression((*parts, *map(Scaled, means, scales)))

    def normalises(self, words: BoundWords) -> bool:
        """Tell whether w is divided by its mean."""
        return words.weights == "normalized"

    def warnings(self, given: Ingredients, words: BoundWords) -> Iterator[Message]:
        """Warn of weights that are all 1 with one sample."""
        if not self.normalises(words) or words.samples > 1:
            return
        for label in given.varying:
            if label.enumerated:
                continue
            message = (
                "the weight {factor} varies with {carriers}, but with 1 sample the normalised weights are all 1 and "
                "do nothing: set objective.samples above 1"
            )
            yield Message(message, label=label)
