"""Coins drawn in antithetic pairs (DisARM: Dong, Mnih and Tucker 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sgc.distributions.densities import element_of
from sgc.distributions.families import FAMILIES
from sgc.distributions.family import Family
from sgc.distributions.points import Point
from sgc.errors import UsageError
from sgc.objectives.estimator import Charging, Draw, Estimator

if TYPE_CHECKING:
    from torch import Tensor


class Disarm(Estimator):
    """Samples in antithetic pairs b = [u < σ(φ)], b̃ = [1 − u < σ(φ)], u uniform, of which each draws as q does.

    g = ½ (f(b) − f(b̃)) (−1)^b̃ [b ≠ b̃] σ(|φ|) for each element, without bias. Source: Dong et al. 2020, Eq. 9.
    """

    name: ClassVar[str] = "disarm"
    tag: ClassVar[str] = "sampled"
    charged: ClassVar[bool] = True
    own_costs: ClassVar[bool] = True
    one_q: ClassVar[bool] = True
    count_refusal: ClassVar[str] = "drawn in pairs"

    @staticmethod
    def refuse(family: Family, event: tuple[int, ...]) -> str:
        """Say why the family cannot have this estimator; an empty string where it can."""
        return "" if family == FAMILIES["Bernoulli"] else "only Bernoulli has antithetic pairs of this kind"

    def refuse_samples(self, samples: int) -> tuple[str, str, str]:
        """Say that samples come in pairs."""
        if samples % 2 == 0:
            return "", "", ""
        return "", f"'disarm' draws in pairs, and objective.samples is {samples}", "allowed: an even number"

    def draw(self, given: Draw) -> Point:
        """Draw the first half of the samples, and to each its partner in the second half: [*leading, *event].

        Raises: UsageError where the samples are no pairs.
        """
        import torch

        event = tuple(given.q.event_shape)
        *_, samples, _ = given.leading
        if samples % 2:
            raise UsageError(f"'disarm' draws in pairs, and there are {samples} samples")
        chance = torch.sigmoid(element_of(given.q).logits.detach()).expand(*given.leading, *event)
        axis = chance.dim() - len(event) - 2
        uniform = torch.rand_like(chance.narrow(axis, 0, samples // 2), memory_format=torch.contiguous_format)
        return Point((torch.cat([uniform, 1 - uniform], axis) < chance).to(chance))

    def surrogate(self, log: Tensor, given: Draw, drawn: Point, charging: Charging) -> Tensor:
        """Give Σ over pairs of (c(b) − c(b̃)) g φ, [B], whose value is 0; the costs c hold the pairs' 1/S."""
        import torch

        event, logits = len(given.q.event_shape), element_of(given.q).logits
        logits = logits.expand(*given.leading, *given.q.event_shape)
        costs = charging.costs().expand(given.leading)
        here, partner = costs.tensor_split(2, -2)
        apart = (here - partner).reshape(*here.shape, *(1,) * event)
        axis = logits.dim() - event - 2
        first, second = drawn.value.tensor_split(2, axis)
        half = logits.narrow(axis, 0, first.shape[axis])
        slope = (1 - 2 * second) * (first != second) * torch.sigmoid(half.detach().abs())
        parts = (half - half.detach()) * (apart * slope).detach()
        rows = axis + 1
        added: Tensor = parts.sum([dim for dim in range(parts.dim()) if dim != rows])
        return added
