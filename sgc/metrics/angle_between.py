"""The angle between the direction that is predicted and that of the label, in degrees."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, final

from sgc.metrics.metric import MeasuredNode, Metric, Pairs

if TYPE_CHECKING:
    from torch import Tensor


@final
class AngleBetween(Metric):
    """The mean angle between directions, from 0 to 180°: of angles, of unit vectors, or of a node's whole value."""

    name: ClassVar[str] = "angle"
    title: ClassVar[str] = "angle"
    unit: ClassVar[str] = "°"
    directions: ClassVar[bool] = True

    def refuse(self, node: MeasuredNode) -> str:
        if node.nominal:
            return "categories have no direction"
        if node.points or node.periodic or math.prod(node.event) > 1:
            return ""
        return "one number has no direction, unless it is an angle: a transform {angle: degrees}, or VonMises"

    def distances(self, pairs: Pairs) -> Tensor:
        import torch

        cosine = torch.nn.functional.cosine_similarity(pairs.predicted, pairs.label, dim=-1)
        return cosine.clamp(-1, 1).arccos() * 180 / math.pi

    def more(self, value: float) -> dict[str, float]:
        return {"share_of_180": value / 180}

    def aside(self, value: float) -> str:
        return f" ({100 * value / 180:.1f}% of 180°)"
