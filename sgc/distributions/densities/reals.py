"""Log-densities and divergences on the real line, in space and on the circle.

Formulas take a member's parameters and values of one type that broadcast, and give one number for each element, in
nats.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sgc.distributions.densities.log_gamma import LOG_2PI, log_peak

if TYPE_CHECKING:
    from torch import Tensor

    from sgc.distributions.densities.members import Member

EULER = 0.57721566490153286  # γ


def normal_kl(q: Member, p: Member) -> Tensor:
    """log(σ'/σ) + (σ² + (μ − μ')²) / 2σ'² − ½. Ratios are squared, not scales: these leave float32 sooner."""
    ratio, gap = q.scale / p.scale, (q.loc - p.loc) / p.scale
    return 0.5 * (ratio * ratio + gap * gap - 1) - ratio.log()


def multivariate_normal(member: Member, value: Tensor) -> Tensor:
    """−½ |L⁻¹ (x − μ)|² − Σ log L_ii − n/2 log 2π: [*batch, n] -> [*batch]."""
    import torch

    made = torch.distributions.MultivariateNormal(member.loc, scale_tril=member.scale_tril, validate_args=False)
    score: Tensor = made.log_prob(value)
    return score


def multivariate_normal_kl(q: Member, p: Member) -> Tensor:
    import torch

    kind = torch.distributions.MultivariateNormal
    made = [kind(each.loc, scale_tril=each.scale_tril, validate_args=False) for each in (q, p)]
    divergence: Tensor = torch.distributions.kl_divergence(*made)
    return divergence


def laplace(member: Member, value: Tensor) -> Tensor:
    """−log 2b − |x − μ| / b."""
    return -((value - member.loc).abs() / member.scale) - member.scale.log() - math.log(2)


def laplace_kl(q: Member, p: Member) -> Tensor:
    """log(b'/b) + |μ − μ'|/b' + b/b' exp(−|μ − μ'|/b) − 1."""
    gap, ratio = (q.loc - p.loc).abs(), q.scale / p.scale
    return gap / p.scale - ratio.log() + ratio * (-gap / q.scale).exp() - 1


def gumbel(member: Member, value: Tensor) -> Tensor:
    """−z − e^{−z} − log β, z = (x − μ)/β."""
    z = (value - member.loc) / member.scale
    return -z - (-z).exp() - member.scale.log()


def gumbel_kl(q: Member, p: Member) -> Tensor:
    """With r = β/β': γ (r − 1) − log r − 1 + d + e^{−d} Γ(1 + r), where d = (μ − μ')/β'."""
    ratio, gap = q.scale / p.scale, (q.loc - p.loc) / p.scale
    return EULER * (ratio - 1) - ratio.log() - 1 + gap + ((1 + ratio).lgamma() - gap).exp()


def cauchy(member: Member, value: Tensor) -> Tensor:
    """−log πγ − log(1 + z²), z = (x − μ)/γ."""
    z = (value - member.loc) / member.scale
    return -(z * z).log1p() - member.scale.log() - math.log(math.pi)


def cauchy_kl(q: Member, p: Member) -> Tensor:
    """log(1 + ((γ − γ')² + (μ − μ')²) / 4γγ'). Source: Chyzak and Nielsen 2019, Theorem 1."""
    apart = (q.scale - p.scale) / q.scale * ((q.scale - p.scale) / p.scale)
    gap = (q.loc - p.loc) / q.scale * ((q.loc - p.loc) / p.scale)
    return ((apart + gap) / 4).log1p()


HUGE = 40.0  # the log of a size beside which a location is nothing


def student_t(member: Member, value: Tensor, log_size: Tensor | None = None) -> Tensor:
    """log Γ(a + ½) − log Γ(a) − ½ log 2πa − log σ − (a + ½) log(1 + z²/2a), where 2a are the degrees of freedom.

    log_size: log |x| of a draw, which its value may have been too large to say.
    """
    import torch
    from torch.nn.functional import softplus

    a = member.df / 2
    if log_size is None:
        z = (value - member.loc) / member.scale
        spread = (z * z / (2 * a)).log1p()
    else:
        huge = log_size > HUGE
        z = torch.where(huge, 0.0, value - member.loc) / member.scale
        far = torch.where(huge, log_size, HUGE) - member.scale.log()
        spread = torch.where(huge, softplus(2 * far - (2 * a).log()), (z * z / (2 * a)).log1p())
    ratio = (a - 1) * (0.5 / a).log1p() + 0.5 * ((a + 0.5).log() - a.log()) + log_peak(a) - log_peak(a + 0.5)
    return ratio - 0.5 * (1 + LOG_2PI) - member.scale.log() - (a + 0.5) * spread


def von_mises(member: Member, value: Tensor) -> Tensor:
    """κ (cos(x − μ) − 1) − log(2π e^{−κ} I₀(κ)); the first by a sine, which keeps its digits at small angles."""
    import torch

    half = ((value - member.loc) / 2).sin()
    log_bessel: Tensor = torch.special.i0e(member.concentration).log()
    return -2 * member.concentration * half * half - log_bessel - LOG_2PI
