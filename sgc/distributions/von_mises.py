"""VonMises with draws for any concentration: torch's never return where it is huge, 0 or NaN."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

MOST_ROUNDS = 100  # at least two of three proposals are accepted: one in 1e47 draws is not accepted by then


@functools.cache
def von_mises() -> Any:  # Any: the base class is torch's, which is not imported before it is needed
    """Define the class, once."""
    import torch

    class VonMises(torch.distributions.VonMises):
        """torch's own, but its draws always return: NaN where a parameter is not finite."""

        @torch.no_grad()
        def sample(self, sample_shape: Any = ()) -> Tensor:
            """Draw angles in [−π, π): [*sample_shape, *batch]."""
            shape = self._extended_shape(torch.Size(sample_shape))
            loc, concentration = self.loc.double().expand(shape), self.concentration.double().expand(shape)
            around = torch.remainder(loc + math.pi, 2 * math.pi) - math.pi
            angle = torch.where(around.abs() == loc.abs(), loc, around) + turns(concentration)
            angle = torch.where(angle >= math.pi, angle - 2 * math.pi, angle)
            return torch.where(angle < -math.pi, angle + 2 * math.pi, angle).to(self.loc.dtype)

    return VonMises


def turns(concentration: Tensor) -> Tensor:
    """Draw angles around 0, of the shape of the concentration, in float64.

    Rejection from a wrapped Cauchy (Best and Fisher 1979), with every difference written so that nothing cancels:
    ρ = κ g, r − 1 = (1 − ρ)² / 2ρ, and the half angle in place of the cosine.
    """
    import torch

    from sgc.shared_rows import everywhere

    finite = concentration.isfinite()
    kappa = torch.where(finite, concentration, 1.0).clamp(1e-300, 1e300)  # beyond, all angles or one in any precision
    root = torch.hypot(2 * kappa, torch.ones_like(kappa))
    tau = 1 + root
    rho = 2 * kappa / (1 + root) / (1 + (2 / tau).sqrt())
    rest = torch.where(kappa > 1, ((2 * tau).sqrt() - 1 - 1 / (2 * kappa + root)) / (2 * kappa), 1 - rho)
    above = rest**2 / (2 * rho)  # r − 1
    angle, accepted_before = torch.full_like(kappa, math.nan), ~finite
    for _ in range(MOST_ROUNDS):
        half, height, side = torch.rand((3, *kappa.shape), dtype=kappa.dtype, device=kappa.device).unbind()
        less = above * 2 * (math.pi / 2 * half).sin() ** 2 / (above + 2 * (math.pi / 2 * half).cos() ** 2)  # 1 − f
        c = kappa * (above + less)
        accepted = (c * (2 - c) > height) | ((c / height).log() + 1 - c >= 0)
        turn = 2 * (less / 2).clamp(max=1).sqrt().asin()
        angle = torch.where(accepted & ~accepted_before, torch.where(side < 0.5, -turn, turn), angle)
        accepted_before = accepted_before | accepted
        if everywhere(accepted_before):
            break
    return angle
