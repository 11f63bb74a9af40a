"""Log-densities of draws by their logs, in nats: a value that is rounded or clamped at an edge is not the draw."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from sgc.distributions.densities import element_of
from sgc.distributions.log_scale import log1mexp, log_minus_log1mexp, stirling_rest
from sgc.distributions.points import Point

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributions import Distribution


def _sum_event(terms: Tensor, distribution: Distribution) -> Tensor:
    dims = len(distribution.event_shape)
    return terms.sum(tuple(range(-dims, 0))) if dims else terms


def _log_gamma_density(concentration: Tensor, log: Tensor) -> Tensor:
    """Score the log of G ~ Gamma(a, 1): ½ log a − ½ log 2π − rest(a) + a (d − expm1 d), d = log G − log a.

    The mode is at d = 0, where nothing large cancels, and a tiny a leaves a d of moderate size.
    """
    apart = log - concentration.log()
    mode = 0.5 * concentration.log() - 0.5 * math.log(2 * math.pi) - stirling_rest(concentration)
    return mode + concentration * (apart - apart.expm1())


def _log_simplex_density(concentration: Tensor, logs: Tensor) -> Tensor:
    """Score the logs of a Dirichlet's entries, [*batch, K], in K − 1 of them: its density times the product of all.

    That of K Gammas given their sum, about which the terms are of second order: exact though Σ exp(logs) is rounded.
    """
    total = concentration.sum(-1)
    apart = logs - concentration.log() + total.log().unsqueeze(-1)
    terms = 0.5 * concentration.log() - stirling_rest(concentration) + concentration * (apart - apart.expm1())
    mode = stirling_rest(total) - 0.5 * total.log() - 0.5 * (concentration.shape[-1] - 1) * math.log(2 * math.pi)
    return mode + terms.sum(-1)


def _gamma(distribution: Distribution, point: Point) -> Tensor:
    gamma = element_of(distribution)
    (log,) = point.logs
    return _sum_event(_log_gamma_density(gamma.concentration, log + gamma.rate.log()) - log, distribution)


def _inverse_gamma(distribution: Distribution, point: Point) -> Tensor:
    """That of 1/x, on the log scale."""
    inverse = element_of(distribution)
    (log,) = point.logs
    return _sum_event(_log_gamma_density(inverse.concentration, inverse.rate.log() - log) - log, distribution)


def _fisher_snedecor(distribution: Distribution, point: Point) -> Tensor:
    """x / (x + d₂/d₁) is a Beta(d₁/2, d₂/2), whose logit is log x + log(d₁/d₂)."""
    import torch
    from torch.nn.functional import logsigmoid

    ratio = element_of(distribution)
    (log,) = point.logs
    logit = log + ratio.df1.log() - ratio.df2.log()
    halves = torch.stack([ratio.df1, ratio.df2], -1) / 2
    logs = torch.stack([logsigmoid(logit), logsigmoid(-logit)], -1)
    return _sum_event(_log_simplex_density(halves, logs) - log, distribution)


def _beta(distribution: Distribution, point: Point) -> Tensor:
    import torch

    beta = element_of(distribution)
    logs = torch.stack(point.logs, -1)
    both = torch.stack([beta.concentration1, beta.concentration0], -1)
    return _sum_event(_log_simplex_density(both, logs) - logs.sum(-1), distribution)


def _dirichlet(distribution: Distribution, point: Point) -> Tensor:
    simplex, (logs,) = element_of(distribution), point.logs
    terms = _log_simplex_density(simplex.concentration, logs) - logs.sum(-1)
    dims = len(distribution.event_shape) - 1
    return terms.sum(tuple(range(-dims, 0))) if dims else terms


def _kumaraswamy(distribution: Distribution, point: Point) -> Tensor:
    """log a + log b + (a − 1) log x + (b − 1) log(1 − x^a)."""
    import torch

    element = element_of(distribution)
    a, b = element.concentration1, element.concentration0
    log, log_rest = point.logs
    near = log > -1  # where log x itself may be rounded to 0
    from_rest = log_minus_log1mexp(-torch.where(near, log_rest, -1.0))
    log_minus_log = torch.where(near, from_rest, (-torch.where(near, -1.0, log)).log())
    terms = a.log() + b.log() + (a - 1) * log + (b - 1) * log1mexp(a.log() + log_minus_log)
    return _sum_event(terms, distribution)


def _weibull(distribution: Distribution, point: Point) -> Tensor:
    """log k + k s − e^{k s} − log x, s = log x − log scale."""
    weibull, (log,) = element_of(distribution), point.logs
    stretched = weibull.concentration * (log - weibull.scale.log())
    return _sum_event(weibull.concentration.log() + stretched - stretched.exp() - log, distribution)


def _log_normal(distribution: Distribution, point: Point) -> Tensor:
    normal, (log,) = element_of(distribution).base_dist, point.logs
    z = (log - normal.loc) / normal.scale
    terms = -0.5 * z * z - normal.scale.log() - 0.5 * math.log(2 * math.pi)
    return _sum_event(terms - log, distribution)


def _pareto(distribution: Distribution, point: Point) -> Tensor:
    """log α − log scale − (α + 1) log(x / scale), from the scale on."""
    pareto, (log,) = element_of(distribution), point.logs
    terms = pareto.alpha.log() - pareto.scale.log() - (pareto.alpha + 1) * log
    return _sum_event(terms, distribution)


def _student_t(distribution: Distribution, point: Point) -> Tensor:
    """−½ (df + 1) log(1 + z²/df) less the normaliser, z = (x − loc) / scale, by log |x| where x is huge."""
    import torch
    from torch.nn.functional import softplus

    student = element_of(distribution)
    (df, half), number, (log,) = (student.df, student.df / 2), point.value, point.logs
    huge = number.abs() > math.sqrt(torch.finfo(number.dtype).max)
    apart = torch.where(huge, 1.0, number - student.loc)
    z = apart / student.scale
    far = huge | (z.abs() > 1e9)
    log_z = torch.where(huge, log, 0.0) + torch.where(far, apart, 1.0).abs().log() - student.scale.log()
    close = (torch.where(far, 1.0, z).square() / df).log1p()
    spread = torch.where(far, softplus(2 * log_z - df.log()), close)
    constant = half * (0.5 / half).log1p() - 0.5 + stirling_rest(half + 0.5) - stirling_rest(half)
    terms = constant - 0.5 * math.log(2 * math.pi) - student.scale.log() - 0.5 * (df + 1) * spread
    return _sum_event(terms, distribution)


EDGES: Mapping[str, Callable[[Distribution, Point], Tensor]] = {
    "Gamma": _gamma,
    "Chi2": _gamma,
    "InverseGamma": _inverse_gamma,
    "FisherSnedecor": _fisher_snedecor,
    "Beta": _beta,
    "Dirichlet": _dirichlet,
    "Kumaraswamy": _kumaraswamy,
    "Weibull": _weibull,
    "LogNormal": _log_normal,
    "Pareto": _pareto,
    "StudentT": _student_t,
}
