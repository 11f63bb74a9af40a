"""The root of the mean squared difference between predictions and labels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, final

from sgc.metrics.metric import Metric, Pairs

if TYPE_CHECKING:
    from torch import Tensor


@final
class RootMeanSquare(Metric):
    """√ mean (prediction − label)², in the units of the data; of categories, between probabilities and 0 or 1."""

    name: ClassVar[str] = "rmse"
    title: ClassVar[str] = "RMSE"

    def distances(self, pairs: Pairs) -> Tensor:
        predicted, label = pairs.numbers()
        return (predicted - label) ** 2

    def average(self, mean: float, standard_error: float) -> tuple[float, float]:
        """Take the root; its standard error is that of the mean times the slope of the root there, 1 / (2 √mean)."""
        root = math.sqrt(mean)
        return root, standard_error / (2 * root) if root else 0.0
