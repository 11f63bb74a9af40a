"""Log-densities and divergences on the positive half-line.

Formulas take a member's parameters and values of one type that broadcast, and give one number for each element, in
nats. log_x: the log of a draw, whose value may be too small or too large for a float; the density is then that of the
log, see `Point`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sgc.distributions.densities.log_gamma import (
    LOG_2PI,
    deviance,
    gamma_shape_kl,
    log_beta_kernel,
    log_gamma_kernel,
)
from sgc.distributions.log_scale import log_one_plus_square

if TYPE_CHECKING:
    from torch import Tensor

    from sgc.distributions.densities.members import Member


def log_normal(member: Member, value: Tensor, log_x: Tensor | None = None) -> Tensor:
    """Normal's of log x, less log x."""
    if log_x is None:
        log_x = value.log()
        return log_normal(member, value, log_x) - log_x
    z = (log_x - member.loc) / member.scale
    return -0.5 * (z * z + LOG_2PI) - member.scale.log()


def half_normal(member: Member, value: Tensor) -> Tensor:
    """½ log(2/π) − log σ − ½ (x/σ)²."""
    z = value / member.scale
    return _from(0, value, 0.5 * (math.log(2 / math.pi) - z * z) - member.scale.log())


def half_normal_kl(q: Member, p: Member) -> Tensor:
    """log(σ'/σ) + σ² / 2σ'² − ½."""
    ratio = q.scale / p.scale
    return 0.5 * (ratio * ratio - 1) - ratio.log()


def half_cauchy(member: Member, value: Tensor) -> Tensor:
    """log(2/π) − log γ − log(1 + (x/γ)²)."""
    log_density = math.log(2 / math.pi) - log_one_plus_square(value, member.scale) - member.scale.log()
    return _from(0, value, log_density)


def half_cauchy_kl(q: Member, p: Member) -> Tensor:
    """log(1 + (γ − γ')² / 4γγ')."""
    return ((q.scale - p.scale) / q.scale * ((q.scale - p.scale) / p.scale) / 4).log1p()


def exponential(member: Member, value: Tensor) -> Tensor:
    """log λ − λx."""
    return member.rate.log() - member.rate * value


def exponential_kl(q: Member, p: Member) -> Tensor:
    """log(λ/λ') + λ'/λ − 1."""
    return _scale_kl(q.rate, p.rate)


def gamma(member: Member, value: Tensor, log_x: Tensor | None = None) -> Tensor:
    """α log β − log Γ(α) + (α − 1) log x − βx."""
    return _gamma(member.concentration, member.rate, value, log_x)


def gamma_kl(q: Member, p: Member) -> Tensor:
    return _gamma_kl(q.concentration, q.rate, p.concentration, p.rate)


def chi2(member: Member, value: Tensor, log_x: Tensor | None = None) -> Tensor:
    """Gamma(df/2, 1/2)'s."""
    return _gamma(member.df / 2, value.new_tensor(0.5), value, log_x)


def chi2_kl(q: Member, p: Member) -> Tensor:
    half = q.df.new_tensor(0.5)
    return _gamma_kl(q.df / 2, half, p.df / 2, half)


def inverse_gamma(member: Member, value: Tensor, log_x: Tensor | None = None) -> Tensor:
    """α log β − log Γ(α) − (α + 1) log x − β/x."""
    if log_x is not None:
        return log_gamma_kernel(member.concentration, member.rate.log() - log_x)
    log_x = value.log()
    return log_gamma_kernel(member.concentration, member.rate.log() - log_x, member.rate / value) - log_x


def weibull(member: Member, value: Tensor, log_x: Tensor | None = None) -> Tensor:
    """log k − log x + w − e^w, w = k (log x − log λ)."""
    if log_x is None:
        log_x = value.log()
        return weibull(member, value, log_x) - log_x
    w = member.concentration * (log_x - member.scale.log())
    return member.concentration.log() + w - w.exp()


def fisher_snedecor(member: Member, value: Tensor, log_x: Tensor | None = None) -> Tensor:
    """Beta(d₁/2, d₂/2)'s of p, where logit p = log(d₁x/d₂), less log x."""
    from torch.nn.functional import logsigmoid

    if log_x is None:
        log_x = value.log()
        return fisher_snedecor(member, value, log_x) - log_x
    logit = member.df1.log() - member.df2.log() + log_x
    return log_beta_kernel(member.df1 / 2, member.df2 / 2, logsigmoid(logit), logsigmoid(-logit))


def pareto(member: Member, value: Tensor, log_ratio: Tensor | None = None) -> Tensor:
    """log α − log x − α log(x/s), and −∞ below the scale s. log_ratio: log(x/s) of a draw, whose density is given."""
    if log_ratio is not None:
        return member.alpha.log() - member.alpha * log_ratio
    log_x = value.log()
    return _from(member.scale, value, member.alpha.log() - log_x - member.alpha * (log_x - member.scale.log()))


def pareto_kl(q: Member, p: Member) -> Tensor:
    """log(α/α') + α'/α − 1: the scale is the family's."""
    return _scale_kl(q.alpha, p.alpha)


def _from(lowest: Tensor | float, value: Tensor, log_density: Tensor) -> Tensor:
    import torch

    return torch.where(value >= lowest, log_density, -math.inf)


def _gamma(concentration: Tensor, rate: Tensor, value: Tensor, log_x: Tensor | None) -> Tensor:
    if log_x is not None:
        return log_gamma_kernel(concentration, rate.log() + log_x)
    log_x = value.log()
    return log_gamma_kernel(concentration, rate.log() + log_x, rate * value) - log_x


def _gamma_kl(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """KL(Gamma(a, b)‖Gamma(c, d)): of the shapes, and of c from the mean ad/b."""
    return deviance(c, a.log() + d.log() - b.log(), a * (d / b)) + gamma_shape_kl(a, c)


def _scale_kl(a: Tensor, b: Tensor) -> Tensor:
    ratio = b / a
    return ratio - 1 - ratio.log()
