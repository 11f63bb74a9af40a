"""Log-densities and divergences on the real line, in space and on the circle.

Formulas take a member's parameters and values of one type that broadcast, and give one number for each element, in
nats. start, offset: a draw in two parts, whose sum may be rounded to the first; see `Point`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sgc.distributions.densities.log_gamma import LOG_2PI, log_peak
from sgc.distributions.log_scale import log_one_plus_square

if TYPE_CHECKING:
    from torch import Tensor

    from sgc.distributions.densities.members import Member

EULER = 0.57721566490153286  # γ


def normal_kl(q: Member, p: Member) -> Tensor:
    """log(σ'/σ) + (σ² + (μ − μ')²) / 2σ'² − ½. Ratios are squared, not scales, which would overflow sooner."""
    ratio, gap = q.scale / p.scale, (q.loc - p.loc) / p.scale
    return 0.5 * (ratio * ratio + gap * gap - 1) - ratio.log()


def from_location(loc: Tensor, value: Tensor, start: Tensor | None, offset: Tensor | None) -> Tensor:
    """Give how far a value lies from a location; of a draw in two parts with all digits."""
    return value - loc if start is None or offset is None else (start - loc) + offset


def multivariate_normal(
    member: Member, value: Tensor, start: Tensor | None = None, offset: Tensor | None = None
) -> Tensor:
    """−½ |L⁻¹ (x − μ)|² − Σ log L_ii − n/2 log 2π: [*batch, n] -> [*batch]."""
    import torch

    gap = from_location(member.loc, value, start, offset)
    zero = torch.zeros_like(member.loc)
    normal = torch.distributions.MultivariateNormal(zero, scale_tril=member.scale_tril, validate_args=False)
    score: Tensor = normal.log_prob(gap)
    return score


def multivariate_normal_kl(q: Member, p: Member) -> Tensor:
    import torch

    kind = torch.distributions.MultivariateNormal
    members = [kind(member.loc, scale_tril=member.scale_tril, validate_args=False) for member in (q, p)]
    divergence: Tensor = torch.distributions.kl_divergence(*members)
    return divergence


def laplace(member: Member, value: Tensor, start: Tensor | None = None, offset: Tensor | None = None) -> Tensor:
    """−log 2b − |x − μ| / b."""
    gap = from_location(member.loc, value, start, offset)
    return -(gap.abs() / member.scale) - member.scale.log() - math.log(2)


def laplace_kl(q: Member, p: Member) -> Tensor:
    """log(b'/b) + |μ − μ'|/b' + b/b' exp(−|μ − μ'|/b) − 1."""
    gap, ratio = (q.loc - p.loc).abs(), q.scale / p.scale
    return gap / p.scale - ratio.log() + ratio * (-gap / q.scale).exp() - 1


def gumbel(member: Member, value: Tensor, start: Tensor | None = None, offset: Tensor | None = None) -> Tensor:
    """−z − e^{−z} − log β, z = (x − μ)/β."""
    z = from_location(member.loc, value, start, offset) / member.scale
    return -z - (-z).exp() - member.scale.log()


def gumbel_kl(q: Member, p: Member) -> Tensor:
    """With r = β/β': γ (r − 1) − log r − 1 + d + e^{−d} Γ(1 + r), where d = (μ − μ')/β'."""
    ratio, gap = q.scale / p.scale, (q.loc - p.loc) / p.scale
    return EULER * (ratio - 1) - ratio.log() - 1 + gap + ((1 + ratio).lgamma() - gap).exp()


def cauchy(member: Member, value: Tensor, start: Tensor | None = None, offset: Tensor | None = None) -> Tensor:
    """−log πγ − log(1 + z²), z = (x − μ)/γ."""
    gap = from_location(member.loc, value, start, offset)
    return -log_one_plus_square(gap, member.scale) - member.scale.log() - math.log(math.pi)


def cauchy_kl(q: Member, p: Member) -> Tensor:
    """log(1 + ((γ − γ')² + (μ − μ')²) / 4γγ'). Source: Chyzak and Nielsen 2019, Theorem 1."""
    apart = (q.scale - p.scale) / q.scale * ((q.scale - p.scale) / p.scale)
    gap = (q.loc - p.loc) / q.scale * ((q.loc - p.loc) / p.scale)
    return ((apart + gap) / 4).log1p()


def student_t(
    member: Member,
    value: Tensor,
    start: Tensor | None = None,
    offset: Tensor | None = None,
    log_offset: Tensor | None = None,
) -> Tensor:
    """log Γ(a + ½) − log Γ(a) − ½ log 2πa − log σ − (a + ½) log(1 + z²/2a), where 2a are the degrees of freedom.

    log_offset: the log of the size of a draw's offset, which may be too large for a float. The density of a draw is
    that of sign(o) log(1 + |o|), o the offset; beside an offset whose square overflows, the location is negligible.
    """
    import torch
    from torch.nn.functional import softplus

    a = member.df / 2
    gap = from_location(member.loc, value, start, offset)
    more: Tensor | float = 0.0
    if log_offset is None:
        spread = log_one_plus_square(gap, member.scale * (2 * a).sqrt())
    else:
        huge = log_offset > math.log(torch.finfo(gap.dtype).max) / 2
        far = torch.where(huge, log_offset, 0.0) - member.scale.log()
        near = log_one_plus_square(torch.where(huge, 0.0, gap), member.scale * (2 * a).sqrt())
        spread = torch.where(huge, softplus(2 * far - (2 * a).log()), near)
        more = softplus(log_offset)
    ratio = (a - 1) * (0.5 / a).log1p() + 0.5 * ((a + 0.5).log() - a.log()) + log_peak(a) - log_peak(a + 0.5)
    return ratio - 0.5 * (1 + LOG_2PI) - member.scale.log() - (a + 0.5) * spread + more


def von_mises(member: Member, value: Tensor) -> Tensor:
    """κ (cos(x − μ) − 1) − log(2π e^{−κ} I₀(κ)); the first by a sine, which keeps its digits at small angles."""
    import torch

    half = ((value - member.loc) / 2).sin()
    log_bessel: Tensor = torch.special.i0e(member.concentration).log()
    return -2 * member.concentration * half * half - log_bessel - LOG_2PI
