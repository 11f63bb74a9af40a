"""Log-probabilities and divergences of counts: Binomial, Multinomial, Poisson, Geometric, NegativeBinomial.

Each is written by peaks and deviances, see log_gamma.py. Formulas take a member's parameters and values of one type
that broadcast, and give one number for each element, in nats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgc.distributions.densities.categories import categorical_logits
from sgc.distributions.densities.log_gamma import deviance, log_peak
from sgc.distributions.log_scale import log_from_zero, log_to_one
from sgc.distributions.negative_binomial import MOST

if TYPE_CHECKING:
    from torch import Tensor

    from sgc.distributions.densities.members import Member


def log_odds(member: Member) -> tuple[Tensor, Tensor, Tensor]:
    """Give log p, log (1 − p) and their difference, from probs or logits, whichever the member was made of.

    Members have the other one too, but torch clamps probs near 0 or 1 first.
    """
    from torch.nn.functional import logsigmoid

    if member.has("logits"):
        logits = member.logits
        return logsigmoid(logits), logsigmoid(-logits), logits
    probs = member.probs
    log_p, log_q = log_from_zero(probs), log_to_one(probs)
    return log_p, log_q, log_p - log_q


def binomial(member: Member, value: Tensor) -> Tensor:
    """log C(n, k) + k log p + (n − k) log (1 − p); 0 where n is 0."""
    log_p, log_q, _ = log_odds(member)
    n, failures = member.total_count, member.total_count - value
    log_n = n.log()
    apart = deviance(value, log_n + log_p) + deviance(failures, log_n + log_q)
    return log_peak(value) + log_peak(failures) - log_peak(n) - apart


def binomial_kl(q: Member, p: Member) -> Tensor:
    """n times that of one trial."""
    return q.total_count * _trial_kl(q, p)


def binomial_mean(member: Member) -> Tensor:
    return member.total_count * log_odds(member)[0].exp()


def _trial_kl(q: Member, p: Member) -> Tensor:
    """p log(p/p') + (1 − p) log((1 − p)/(1 − p'))."""
    (log_q, log_not_q, _), (log_p, log_not_p, _) = log_odds(q), log_odds(p)
    return deviance(log_q.exp(), log_p) + deviance(log_not_q.exp(), log_not_p)


def multinomial(member: Member, value: Tensor) -> Tensor:
    """log n! + Σ_i [k_i log π_i − log k_i!], n the sum of the value: [*batch, K] -> [*batch]; 0 where it is 0."""
    parameters = {"logits": member.given_logits} if member.has("given_logits") else {"probs": member.given_probs}
    log_p = categorical_logits(parameters)["logits"]
    n = value.sum(-1, keepdim=True)
    terms = log_peak(value) - deviance(value, n.log() + log_p)
    return terms.sum(-1) - log_peak(n).squeeze(-1)


def poisson(member: Member, value: Tensor) -> Tensor:
    """k log λ − λ − log k!."""
    return log_peak(value) - deviance(value, log_from_zero(member.rate), member.rate)


def poisson_kl(q: Member, p: Member) -> Tensor:
    """λ log(λ/λ') + λ' − λ."""
    return deviance(q.rate, p.rate.log(), p.rate)


def geometric(member: Member, value: Tensor) -> Tensor:
    """log p + k log (1 − p)."""
    log_p, log_q, _ = log_odds(member)
    import torch

    return log_p + torch.where(value == 0, 0.0, value * log_q)


def geometric_kl(q: Member, p: Member) -> Tensor:
    """1/p times that of one trial: 1/p is the mean number of trials, the last one included."""
    return _trial_kl(q, p) * (-log_odds(q)[0]).exp()


def geometric_mean(member: Member) -> Tensor:
    return (-log_odds(member)[2]).exp()


def negative_binomial(member: Member, value: Tensor) -> Tensor:
    """log Γ(k + r) − log Γ(r) − log k! + k log p + r log (1 − p)."""
    import torch

    log_p, log_q, _ = log_odds(member)
    none = value == 0
    k, r = torch.where(none, 1.0, value), torch.where(none, 1.0, member.total_count)
    n = k + r
    log_n = n.log()
    apart = deviance(k, log_n + log_p) + deviance(r, log_n + log_q)
    some = r.log() - log_n + log_peak(k) + log_peak(r) - log_peak(n) - apart
    return torch.where(none, member.total_count * log_q, some)


def negative_binomial_by_mean(member: Member, value: Tensor) -> Tensor:
    """log Γ(k + θ) − log Γ(θ) − log k! + k log (m / (m + θ)) + θ log (θ / (m + θ)); θ by itself, or as 1/α.

    With d = (k − m) / (m + θ) the counts that m and θ expect of k + θ are m (1 + d) and θ (1 + d): the distance of θ
    from its own, θ (d − log (1 + d)), has all its digits even where θ is so large that only a Poisson is left.
    """
    import torch

    mean = member.mean
    if member.has("inverse_dispersion"):
        theta = member.inverse_dispersion.clamp(max=MOST)
    else:
        theta = member.dispersion.clamp(min=1 / MOST).reciprocal()
    none = value == 0
    k = torch.where(none, 1.0, value)
    n, both = k + theta, mean + theta
    gap = (k - mean) / both
    expected = mean * (n / both)
    log_expected = log_from_zero(mean) + n.log() - both.log()
    far = theta * (gap - gap.log1p())
    some = (
        theta.log() - n.log() + log_peak(k) + log_peak(theta) - log_peak(n) - deviance(k, log_expected, expected) - far
    )
    return torch.where(none, -theta * (mean / theta).log1p(), some)


def negative_binomial_mean(member: Member) -> Tensor:
    return member.total_count * log_odds(member)[2].exp()
