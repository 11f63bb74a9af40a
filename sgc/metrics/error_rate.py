"""The share of values that are predicted wrong: of categories, of 0 and 1, of counts, of names."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, final

from sgc.metrics.metric import MeasuredNode, Metric, Pairs

if TYPE_CHECKING:
    from torch import Tensor


@final
class ErrorRate(Metric):
    """The share of wrong predictions: the most probable category, or the nearest whole number, against the label."""

    name: ClassVar[str] = "error"
    title: ClassVar[str] = "error"
    unit: ClassVar[str] = "%"
    scale: ClassVar[float] = 100.0
    share: ClassVar[bool] = True

    def refuse(self, node: MeasuredNode) -> str:
        if node.nominal or node.named or node.support.integers:
            return ""
        return "its values are real numbers, and no prediction equals one exactly"

    def distances(self, pairs: Pairs) -> Tensor:
        if pairs.node.categories is not None:
            return (pairs.predicted.argmax(-1) != pairs.label).double()
        return (pairs.predicted.round() != pairs.label.round()).double()
