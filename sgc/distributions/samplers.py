"""Draws of families whose values crowd at an edge of their support, or that torch draws wrongly there.

They are made on the log scale, so that a draw below the smallest float, or nearer to 1 than floats are, keeps its
place: see `points.Point`. Where a parameter is not finite the draw is none. torch is imported inside the functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sgc.distributions.densities import counts
from sgc.distributions.densities.members import Member
from sgc.distributions.log_scale import log_minus_log_one_less_exp, log_one_less_exp_by_log
from sgc.distributions.points import Point

if TYPE_CHECKING:
    from torch import Tensor

MOST_COUNTED = 1e15  # a Poisson rate above it is drawn as a normal: torch's integers end at 9e18

# Any: the distribution of one element, expanded to the shape of the draw; torch's parameters are plain attributes
Sampler = Callable[[Any], Point]


def _exponential(like: Tensor) -> Tensor:
    """Draw standard exponentials, of a tensor's shape; their logs go down further than those of torch's uniforms."""
    import torch

    return torch.empty_like(like, memory_format=torch.contiguous_format).exponential_()


def _log_gamma(concentration: Tensor) -> Tensor:
    """Draw log G, G ~ Gamma(concentration, 1): G(a) = G(a + 1) U^{1/a} below 1 (Marsaglia and Tsang 2000, section 6).

    The gradient is pathwise, through both factors.
    """
    import torch

    small = concentration < 1
    log = torch._standard_gamma(torch.where(small, concentration + 1, concentration)).log()
    return torch.where(small, log - _exponential(concentration) / torch.where(small, concentration, 1.0), log)


def _positive(log: Tensor) -> Point:
    """Give a positive value by its log; the value itself stays inside the floats."""
    import torch

    kind = torch.finfo(log.dtype)
    # clamped before `exp`: an infinite value would have the gradient 0 · ∞
    return Point(log.clamp(math.log(kind.tiny), math.log(kind.max) - 1e-3).exp(), (log,))


def _between(logit: Tensor) -> Point:
    """Give a value of the unit interval by its logit."""
    from torch.nn.functional import logsigmoid

    return Point(_inside_unit(logit.sigmoid()), (logsigmoid(logit), logsigmoid(-logit)))


def _inside_unit(value: Tensor) -> Tensor:
    import torch

    kind = torch.finfo(value.dtype)
    return value.clamp(kind.tiny, 1 - kind.eps / 2)


def _gamma(element: Any) -> Point:
    return _positive(_log_gamma(element.concentration) - element.rate.log())


def _inverse_gamma(element: Any) -> Point:
    return _positive(element.rate.log() - _log_gamma(element.concentration))


def _fisher_snedecor(element: Any) -> Point:
    """Draw a ratio of two Chi2, each over its degrees of freedom."""
    one, other = element.df1 / 2, element.df2 / 2
    return _positive(_log_gamma(one) - one.log() - _log_gamma(other) + other.log())


def _beta(element: Any) -> Point:
    return _between(_log_gamma(element.concentration1) - _log_gamma(element.concentration0))


def _dirichlet(element: Any) -> Point:
    import torch

    log = _log_gamma(element.concentration).log_softmax(-1)
    return Point(log.clamp(min=math.log(torch.finfo(log.dtype).tiny)).exp(), (log,))


def _kumaraswamy(element: Any) -> Point:
    """Draw by 1 − v^a = e^{−E/b}, E a standard exponential."""
    a, b = element.concentration1, element.concentration0
    far = _exponential(a) / b
    log_minus_log = log_minus_log_one_less_exp(far) - a.log()  # log(−log v)
    log = -log_minus_log.exp()
    return Point(_inside_unit(log.exp()), (log, log_one_less_exp_by_log(log_minus_log)))


def _continuous_bernoulli(element: Any) -> Point:
    """Draw how far from its likelier end a value lies, −log(1 + u (e^{−|l|} − 1)) / |l|; near l = 0 by a series."""
    import torch

    logits = element.logits
    uniform = (1 - torch.rand_like(logits)).clamp(max=1 - torch.finfo(logits.dtype).eps / 2)
    flat = logits.abs() < 1e-4
    slope = torch.where(flat, 1.0, -logits.abs())
    from_end = (uniform * slope.expm1()).log1p() / slope
    from_zero = uniform + logits * uniform * (1 - uniform) / 2
    up = ~flat & (logits > 0)
    apart = torch.where(flat, from_zero, from_end)
    log, log_rest = apart.log(), (-apart).log1p()
    return Point(torch.where(up, 1 - apart, apart), (torch.where(up, log_rest, log), torch.where(up, log, log_rest)))


def _weibull(element: Any) -> Point:
    return _positive(element.scale.log() + _exponential(element.scale).log() / element.concentration)


def _log_normal(element: Any) -> Point:
    import torch

    normal = element.base_dist
    return _positive(normal.loc + normal.scale * torch.randn_like(normal.loc))


def _pareto(element: Any) -> Point:
    """Draw v = scale · e^{E/α}."""
    import torch

    log = _exponential(element.alpha) / element.alpha
    highest = math.log(torch.finfo(log.dtype).max) - 1e-3
    return Point((log + element.scale.log()).clamp(max=highest).exp().maximum(element.scale), (log,))


def _student_t(element: Any) -> Point:
    """Draw loc + scale · N / √(chi² / df)."""
    import torch

    half = element.df / 2
    normal = torch.randn_like(element.loc, memory_format=torch.contiguous_format)
    log = normal.abs().log() + element.scale.log() + (half.log() - _log_gamma(half)) / 2
    return Point(element.loc + normal.sign() * _positive(log).value, (log,))


def _gumbel(element: Any) -> Point:
    """Draw loc − scale · log E; torch's uniforms have an atom at the smallest float, of one draw in ten millions."""
    return Point(element.loc - element.scale * _exponential(element.loc).log())


def _geometric(element: Any) -> Point:
    """Draw ⌊E / −log(1 − p)⌋; torch's uniforms have an atom as above, and its logits of probs end at the epsilon."""
    member = Member(element)
    log_rest = counts.log_odds(member)[1]
    return Point(member.narrow((_exponential(log_rest) / -log_rest).floor()))


def _poisson(element: Any) -> Point:
    return Point(_counts(element.rate))


def _negative_binomial(element: Any) -> Point:
    return Point(_counts(_positive(_log_gamma(element.total_count) + element.logits).value))


def _counts(rate: Tensor) -> Tensor:
    """Draw counts of a Poisson; torch refuses a rate that is no number, and counts below 0 from a rate of 9e18 on."""
    import torch

    few = rate < MOST_COUNTED
    counts = torch.poisson(torch.where(few, rate, 1.0))
    many = (rate + rate.sqrt() * torch.randn_like(rate)).round()
    return torch.where(few, counts, many)


SAMPLERS: Mapping[str, Sampler] = {
    "Gamma": _gamma,
    "Chi2": _gamma,
    "InverseGamma": _inverse_gamma,
    "FisherSnedecor": _fisher_snedecor,
    "Beta": _beta,
    "Dirichlet": _dirichlet,
    "Kumaraswamy": _kumaraswamy,
    "ContinuousBernoulli": _continuous_bernoulli,
    "Weibull": _weibull,
    "LogNormal": _log_normal,
    "Pareto": _pareto,
    "StudentT": _student_t,
    "Gumbel": _gumbel,
    "Geometric": _geometric,
    "Poisson": _poisson,
    "NegativeBinomial": _negative_binomial,
}


def draw(family: str, element: Any) -> Point:
    """Draw from a family of `SAMPLERS`; no number where a parameter is not finite."""
    import torch

    point = SAMPLERS[family](element)
    named = [name for name in element.arg_constraints if name in vars(element)] or list(element.arg_constraints)
    given = torch.stack([getattr(element, name).isfinite() for name in named]).all(0)
    if element.event_shape:
        given = given.all(-1, keepdim=True)
    value, *logs = (torch.where(given, each, math.nan) for each in (point.value, *point.logs))
    return Point(value, tuple(logs))
