"""Log-densities and divergences on an interval and on the simplex.

Formulas take a member's parameters and values of one type that broadcast, and give one number for each element, in
nats. log_x, log_rest: the logs of a draw x and of 1 − x, whose value may be rounded to 0 or 1; where values crowd there
the density is that of the log-odds, on the simplex of the logs, see `Point`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgc.distributions.densities.integers import log_odds
from sgc.distributions.densities.log_gamma import deviance, gamma_shape_kl, log_beta_kernel, log_peak
from sgc.distributions.log_scale import log_one_less_exp, log_one_less_exp_by_log

if TYPE_CHECKING:
    from torch import Tensor

    from sgc.distributions.densities.members import Member


def beta(member: Member, value: Tensor, log_x: Tensor | None = None, log_rest: Tensor | None = None) -> Tensor:
    """(a − 1) log x + (b − 1) log(1 − x) − log B(a, b)."""
    a, b = member.concentration1, member.concentration0
    if log_x is None or log_rest is None:
        log_x, log_rest = value.log(), (-value).log1p()
        return log_beta_kernel(a, b, log_x, log_rest, value, 1 - value) - log_x - log_rest
    return log_beta_kernel(a, b, log_x, log_rest)


def beta_kl(q: Member, p: Member) -> Tensor:
    import torch

    a, c = (torch.stack([member.concentration1, member.concentration0], -1) for member in (q, p))
    return _dirichlet_kl(a, c)


def dirichlet(member: Member, value: Tensor, log_x: Tensor | None = None) -> Tensor:
    """log Γ(Σ a) − Σ_i log Γ(a_i) + Σ_i (a_i − 1) log x_i: [*batch, K] -> [*batch]."""
    a = member.concentration
    total = a.sum(-1, keepdim=True)
    means = total * value if log_x is None else None
    # the deviances take the means for a sum of `total`; float32 has rounded shares, and a draw is meant to sum to 1
    rounding = total.squeeze(-1) * (value.sum(-1) - 1) if log_x is None else 0.0
    rest, log_x = (value.log(), value.log()) if log_x is None else (0.0, log_x)
    terms = a.log() + log_peak(a) - deviance(a, total.log() + log_x, means) - rest
    total = total.squeeze(-1)
    return terms.sum(-1) + rounding - total.log() - log_peak(total)


def dirichlet_kl(q: Member, p: Member) -> Tensor:
    return _dirichlet_kl(q.concentration, p.concentration)


def _dirichlet_kl(a: Tensor, c: Tensor) -> Tensor:
    """KL(Dirichlet(a)‖Dirichlet(c)): of independent Gammas of these shapes, less that of their sums."""
    total_a, total_c = a.sum(-1, keepdim=True), c.sum(-1, keepdim=True)
    elements = deviance(c, a.log() + total_c.log() - total_a.log(), a * (total_c / total_a)) + gamma_shape_kl(a, c)
    return elements.sum(-1) - gamma_shape_kl(total_a, total_c).squeeze(-1)


def kumaraswamy(
    member: Member, value: Tensor, log_x: Tensor | None = None, log_minus_log: Tensor | None = None
) -> Tensor:
    """log ab + (a − 1) log x + (b − 1) log(1 − x^a).

    log_minus_log: log(−log x) of a draw, whose density is given: log b + a log x + b log(1 − x^a) − log((1 − x^a) / y),
    where y = −a log x.
    """
    a, b = member.concentration1, member.concentration0
    if log_x is None or log_minus_log is None:
        log_x = value.log()
        return a.log() + b.log() + (a - 1) * log_x + (b - 1) * log_one_less_exp(a * log_x)
    log_rest, beyond = log_one_less_exp_by_log(a.log() + log_minus_log)
    return b.log() + a * log_x + b * log_rest - beyond


def kumaraswamy_mean(member: Member) -> Tensor:
    """b B(1 + 1/a, b)."""
    a, b = member.concentration1, member.concentration0
    more = 1 + a.reciprocal()
    total = more + b
    # log B(c, b) = log Γ(c) − [log Γ(b + c) − log Γ(b)], each log Γ(x) being x log x − x − log_peak(x) − log x
    ratio = (b - 1) * (more / b).log1p() + more * total.log() - more + log_peak(b) - log_peak(total)
    return (b.log() + more.lgamma() - ratio).exp()


SERIES_TO = 0.2  # up to here four terms of the series in the logits are right to 1e-14


def continuous_bernoulli(
    member: Member, value: Tensor, log_x: Tensor | None = None, log_rest: Tensor | None = None
) -> Tensor:
    """lx − log ∫ e^{lx}, from the nearer end: −|l| (1 − x or x) + log |l| − log(1 − e^{−|l|}).

    Source: Loaiza-Ganem and Cunningham 2019, Eq. 1, in the logits l.
    """
    import torch

    logits = log_odds(member)[2]
    centred = logits * (value - 0.5) - _log_mean_cosh(logits.clamp(-SERIES_TO, SERIES_TO))
    steep = torch.where(logits.abs() < SERIES_TO, 1.0, logits.abs())
    if log_x is None or log_rest is None:
        apart = torch.where(logits > 0, 1 - value, value)
    else:
        apart = torch.where(logits > 0, log_rest, log_x).exp()
    return torch.where(logits.abs() < SERIES_TO, centred, steep.log() - log_one_less_exp(-steep) - steep * apart)


def continuous_bernoulli_kl(q: Member, p: Member) -> Tensor:
    """The mean times l − l', less the difference of the log-masses."""
    a, b = log_odds(q)[2], log_odds(p)[2]
    return (_mean(a) - 0.5) * (a - b) - _centred_log_mass(a) + _centred_log_mass(b)


def continuous_bernoulli_mean(member: Member) -> Tensor:
    """1/(1 − e^{−l}) − 1/l."""
    return _mean(log_odds(member)[2])


def _log_mean_cosh(logits: Tensor) -> Tensor:
    """Give log ∫ e^{l (x − ½)} at small l: l²/24 − l⁴/2880 + l⁶/181440 − l⁸/9676800."""
    square = logits * logits
    return square * (1 / 24 - square * (1 / 2880 - square * (1 / 181440 - square / 9676800)))


def _centred_log_mass(logits: Tensor) -> Tensor:
    """Give log ∫ e^{l (x − ½)} over the unit interval."""
    import torch

    small = logits.abs() < SERIES_TO
    steep = torch.where(small, 1.0, logits.abs())
    series = _log_mean_cosh(logits.clamp(-SERIES_TO, SERIES_TO))
    return torch.where(small, series, steep / 2 + log_one_less_exp(-steep) - steep.log())


def _mean(logits: Tensor) -> Tensor:
    import torch

    small = logits.abs() < SERIES_TO
    little = logits.clamp(-SERIES_TO, SERIES_TO)
    square = little * little
    series = 0.5 + little * (1 / 12 - square * (1 / 720 - square * (1 / 30240 - square / 1209600)))
    steep = torch.where(small, 1.0, logits.abs())
    from_end = steep.reciprocal() + (-steep).exp() / (-steep).expm1()
    return torch.where(small, series, torch.where(logits > 0, 1 - from_end, from_end))
