"""The mean size of the difference between predictions and labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, final

from sgc.metrics.metric import Metric, Pairs

if TYPE_CHECKING:
    from torch import Tensor


@final
class MeanAbsolute(Metric):
    """Mean |prediction − label|, in the units of the data; of categories, between probabilities and 0 or 1."""

    name: ClassVar[str] = "mae"
    title: ClassVar[str] = "mean abs. error"
    abbreviation: ClassVar[str] = "MAE"

    def distances(self, pairs: Pairs) -> Tensor:
        predicted, label = pairs.numbers()
        return (predicted - label).abs()
