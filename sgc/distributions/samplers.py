"""Draws of families whose values crowd at an edge of their support, lie far out, or are drawn wrongly there by torch.

They are made in float64 and mostly on the log scale. So a draw keeps its place though it is below the smallest float,
nearer to 1 than floats are, or too near to a location for them: see `points.Point`. Where a parameter is not finite,
the draw is NaN. torch is imported inside the functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sgc.distributions.densities import integers
from sgc.distributions.densities.members import Member
from sgc.distributions.log_scale import log_from_zero, log_minus_log_one_less_exp
from sgc.distributions.negative_binomial import MOST
from sgc.distributions.points import Point

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MOST_COUNTED = 1e15  # a Poisson rate above it is drawn as a normal: torch's integers end at 9e18

# from the member of one element, expanded to the shape of the draw; `draw` converts the value to the member's type
Sampler = Callable[[Member], Point]


def _empty(like: Tensor) -> Tensor:
    import torch

    return torch.empty_like(like, memory_format=torch.contiguous_format)


def _exponential(like: Tensor) -> Tensor:
    """Draw standard exponentials, of a tensor's shape; they come nearer to 0 than torch's uniforms."""
    return _empty(like).exponential_()


def _over(positive: Tensor, divisor: Tensor) -> Tensor:
    """Give a ratio of positive numbers by their logs, so that neither it nor its gradient overflows."""
    import torch

    highest = math.log(torch.finfo(divisor.dtype).max) - 10
    return (positive.log() - divisor.log()).clamp(max=highest).exp()


def _log_gamma(concentration: Tensor) -> Tensor:
    """Draw log G, G ~ Gamma(concentration, 1): G(a) = G(a + 1) U^{1/a} below 1 (Marsaglia and Tsang 2000, section 6).

    The gradient is pathwise, through both factors.
    """
    import torch

    small = concentration < 1
    log = torch._standard_gamma(torch.where(small, concentration + 1, concentration)).log()
    return torch.where(small, log - _over(_exponential(concentration), torch.where(small, concentration, 1.0)), log)


def _exp(log: Tensor, kind: torch.finfo | None = None) -> Tensor:
    """Give the exponential of a log, within the range of a kind of floats; None: of its own kind."""
    import torch

    kind = torch.finfo(log.dtype) if kind is None else kind
    # clamped before `exp`: an infinite value would have the gradient 0 · ∞
    return log.clamp(math.log(kind.tiny), math.log(kind.max) - 1e-3).exp()


def _positive(member: Member, log: Tensor) -> Point:
    """Give a positive value by its log; the value itself stays within the range of floats."""
    return Point(_exp(log, member.floats), (log,))


def _between(member: Member, logit: Tensor) -> Point:
    """Give a value of the unit interval by its logit."""
    from torch.nn.functional import logsigmoid

    return Point(_inside_unit(member, logit.sigmoid()), (logsigmoid(logit), logsigmoid(-logit)))


def _inside_unit(member: Member, value: Tensor) -> Tensor:
    kind = member.floats
    return value.clamp(kind.tiny, 1 - kind.eps / 2)


def _apart(member: Member, offset: Tensor, *more: Tensor) -> Point:
    """Give a value by its member's location and its offset from there."""
    highest = member.floats.max
    return Point((member.loc + offset).clamp(-highest, highest), (member.loc, offset, *more))


def gamma(member: Member) -> Point:
    return _positive(member, _log_gamma(member.concentration) - member.rate.log())


def inverse_gamma(member: Member) -> Point:
    return _positive(member, member.rate.log() - _log_gamma(member.concentration))


def fisher_snedecor(member: Member) -> Point:
    """Draw a ratio of two Chi2, each over its degrees of freedom."""
    first, second = member.df1 / 2, member.df2 / 2
    return _positive(member, _log_gamma(first) - first.log() - _log_gamma(second) + second.log())


def beta(member: Member) -> Point:
    return _between(member, _log_gamma(member.concentration1) - _log_gamma(member.concentration0))


def dirichlet(member: Member) -> Point:
    log = _log_gamma(member.concentration).log_softmax(-1)
    return Point(_exp(log, member.floats), (log,))


def kumaraswamy(member: Member) -> Point:
    """Draw by 1 − v^a = e^{−E/b}, E a standard exponential."""
    a, b = member.concentration1, member.concentration0
    far = _over(_exponential(a), b)
    log_minus_log = log_minus_log_one_less_exp(far) - a.log()  # log(−log v)
    log = -_exp(log_minus_log)
    return Point(_inside_unit(member, log.exp()), (log, log_minus_log))


def continuous_bernoulli(member: Member) -> Point:
    """Draw how far from its likelier end a value lies, −log(1 + u (e^{−|l|} − 1)) / |l|; near l = 0 by a series."""
    import torch

    logits = member.logits
    uniform = (1 - torch.rand_like(logits)).clamp(max=1 - torch.finfo(logits.dtype).eps / 2)
    flat = logits.abs() < 1e-4
    slope = torch.where(flat, 1.0, -logits.abs())
    from_end = (uniform * slope.expm1()).log1p() / slope
    from_zero = uniform + logits * uniform * (1 - uniform) / 2
    up = ~flat & (logits > 0)
    apart = torch.where(flat, from_zero, from_end)
    log, log_rest = apart.log(), (-apart).log1p()
    return Point(torch.where(up, 1 - apart, apart), (torch.where(up, log_rest, log), torch.where(up, log, log_rest)))


def weibull(member: Member) -> Point:
    """Draw v = scale · E^{1/k}."""
    log = _exponential(member.scale).log()
    return _positive(member, member.scale.log() + log.sign() * _over(log.abs(), member.concentration))


def log_normal(member: Member) -> Point:
    return _positive(member, member.loc + member.scale * _empty(member.loc).normal_())


def pareto(member: Member) -> Point:
    """Draw v = scale · e^{E/α}."""
    log = _over(_exponential(member.alpha), member.alpha)
    return Point(_exp(log + member.scale.log(), member.floats).maximum(member.scale), (log,))


def normal(member: Member) -> Point:
    """Draw as torch does, in the type of the parameters; of these families, only Normal is scored in it too."""
    own: Any = member.own  # Any: torch's parameters are plain attributes
    loc, scale = own.loc, own.scale
    offset = _empty(loc).normal_() * scale
    return Point(loc + offset, (loc, offset))


def multivariate_normal(member: Member) -> Point:
    return _apart(member, (member.scale_tril @ _empty(member.loc).normal_().unsqueeze(-1)).squeeze(-1))


def laplace(member: Member) -> Point:
    """Draw an exponential, and its sign."""
    import torch

    side = torch.where(torch.rand_like(member.loc) < 0.5, -1.0, 1.0)
    return _apart(member, member.scale * (side * _exponential(member.loc)))


def cauchy(member: Member) -> Point:
    return _apart(member, member.scale * _empty(member.loc).cauchy_())


def student_t(member: Member) -> Point:
    """Draw loc + scale · N / √(chi² / df)."""
    half = member.df / 2
    normal = _empty(member.loc).normal_()
    log = normal.abs().log() + member.scale.log() + (half.log() - _log_gamma(half)) / 2
    return _apart(member, normal.sign() * _exp(log), log)


def gumbel(member: Member) -> Point:
    """Draw loc − scale · log E; torch's uniforms give the smallest float in one draw of ten million."""
    return _apart(member, -member.scale * _exponential(member.loc).log())


def geometric(member: Member) -> Point:
    """Draw ⌊E / −log(1 − p)⌋; torch repeats a smallest float, see `gumbel`, and clamps probs at its epsilon."""
    log_rest = integers.log_odds(member)[1]
    return Point((_exponential(log_rest) / -log_rest).floor())


def poisson(member: Member) -> Point:
    return Point(_counts(member.rate))


def negative_binomial(member: Member) -> Point:
    log = _log_gamma(member.total_count) + member.logits
    return Point(_counts(_exp(log, member.floats)))


def negative_binomial_by_mean(member: Member) -> Point:
    if member.has("inverse_dispersion"):
        theta = member.inverse_dispersion.clamp(max=MOST)
    else:
        theta = member.dispersion.clamp(min=1 / MOST).reciprocal()
    log = _log_gamma(theta) - theta.log() + log_from_zero(member.mean)
    return Point(_counts(_exp(log, member.floats)))


def _counts(rate: Tensor) -> Tensor:
    """Draw counts of a Poisson; torch refuses a NaN rate, and gives negative counts from a rate of 9e18 on."""
    import torch

    few = rate < MOST_COUNTED
    counts = torch.poisson(torch.where(few, rate, 1.0))
    many = (rate + rate.sqrt() * torch.randn_like(rate)).round()
    return torch.where(few, counts, many)


def draw(sampler: Sampler, element: Any) -> Point:  # Any: torch's parameters are plain attributes
    """Draw from a member; NaN where a parameter is not finite."""
    import torch

    member = Member(element)
    point = sampler(member)
    named = [name for name in element.arg_constraints if name in vars(element)] or list(element.arg_constraints)
    rank = len(element.batch_shape)
    zeros = [getattr(element, name).detach() * 0 for name in named]  # NaN where it is not finite
    first, *others = (zero.flatten(rank).sum(-1) if zero.dim() > rank else zero for zero in zeros)
    finite = sum(others, start=first) == 0
    finite = finite.reshape(*finite.shape, *(1,) * len(element.event_shape))
    value, *exact = (torch.where(finite, tensor, math.nan) for tensor in (point.value, *point.exact))
    return Point(member.narrow(value), tuple(exact))
