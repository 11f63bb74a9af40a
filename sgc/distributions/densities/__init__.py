"""Log-densities, divergences and means of families, in nats; torch is imported inside the functions.

A family names its formulas in its line of `sgc.distributions.table`. They are stable: nothing huge is subtracted from
something huge. Yet a gradient may be the small difference of two large numbers, (α − 1)/x − β, which float32 has
rounded before. So the score, and only the score, is computed in float64, but for the fast lane (Bernoulli, Categorical,
Normal).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from sgc.distributions.densities import categories, reals
from sgc.distributions.densities.members import Member, widen

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributions import Distribution

# (member, value) -> a number for each element; (member, value, *exact) for a draw with more digits, see `Point`
Formula = Callable[..., "Tensor"]
Divergence = Callable[[Member, Member], "Tensor"]  # (q's member, p's member) -> a number for each element


def _as_they_are(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    return parameters


@final
@dataclass(frozen=True)
class Scoring:
    """How members of a family are made, scored, compared and averaged.

    `log_prob`: (distribution, value, *exact), see `Point` -> the sum over the event. `kl`: the same of KL(q‖p), None
    where there is no closed form. `mean`: of a distribution, None where the class's own is right. `prepare`: the
    parameters that the class is given, from those of the spec. `formula`: the score of one element, where there is one.
    All broadcast over leading dimensions.
    """

    log_prob: Callable[..., Tensor]
    kl: Callable[[Distribution, Distribution], Tensor] | None = None
    mean: Callable[[Distribution], Tensor] | None = None
    prepare: Callable[[dict[str, Tensor]], dict[str, Tensor]] = _as_they_are
    formula: Formula | None = None


def element_of(distribution: Distribution) -> Any:  # Any: the parameters of torch's families are plain attributes
    """Give the distribution of one element of the event."""
    from torch.distributions import Independent

    return distribution.base_dist if isinstance(distribution, Independent) else distribution


def sum_last(terms: Tensor, dims: int) -> Tensor:
    """Sum over so many last dimensions, maybe none."""
    return terms.sum(tuple(range(-dims, 0))) if dims else terms  # torch would sum over all where none is named


def _sum_event(terms: Tensor, distribution: Distribution) -> Tensor:
    return sum_last(terms, len(distribution.event_shape))


def _sum_elements(terms: Tensor, distribution: Distribution) -> Tensor:
    """Sum what has one number for each element, be it a vector or a number itself."""
    return sum_last(terms, len(distribution.event_shape) - len(element_of(distribution).event_shape))


# ---- in float64


def exact(
    formula: Formula,
    kl: Divergence | None = None,
    mean: Callable[[Member], Tensor] | None = None,
    prepare: Callable[[dict[str, Tensor]], dict[str, Tensor]] = _as_they_are,
) -> Scoring:
    """Score by formulas for one element, computed and summed in float64."""

    def log_prob(distribution: Distribution, value: Tensor, *exact: Tensor) -> Tensor:
        element = element_of(distribution)
        if element._validate_args:
            element._validate_sample(value)
        member = Member(element)
        terms = formula(member, widen(value), *map(widen, exact))
        return member.narrow(_sum_elements(terms, distribution))

    def divergence(q: Distribution, p: Distribution) -> Tensor:
        assert kl is not None
        member = Member(element_of(q))
        return member.narrow(_sum_elements(kl(member, Member(element_of(p))), q))

    def average(distribution: Distribution) -> Tensor:
        assert mean is not None
        member = Member(element_of(distribution))
        return member.narrow(mean(member))

    divergence_, average_ = (divergence if kl is not None else None), (average if mean is not None else None)
    return Scoring(log_prob, divergence_, average_, prepare, formula)


# ---- the fast lane


def _own_log_prob(distribution: Distribution, value: Tensor) -> Tensor:
    return distribution.log_prob(value)


def _uniform_log_prob(distribution: Distribution, value: Tensor) -> Tensor:
    """−log(high − low) on the closed interval; torch leaves out its upper end, which data may have."""
    import torch

    uniform = element_of(distribution)
    inside = (value >= uniform.low) & (value <= uniform.high)
    terms = torch.where(inside, -(uniform.high - uniform.low).log(), -torch.inf)
    return _sum_event(terms, distribution)


def _uniform_kl(q: Distribution, p: Distribution) -> Tensor:
    from torch.distributions import kl_divergence

    divergence: Tensor = kl_divergence(q, p)
    return divergence


def _normal_log_prob(distribution: Distribution, value: Tensor, *exact: Tensor) -> Tensor:
    import torch

    normal = element_of(distribution)
    gap = reals.from_location(normal.loc, value, *exact) if exact else value - normal.loc
    z = gap / normal.scale
    summed = _sum_event(torch.addcmul(normal.scale.log(), z, z, value=0.5), distribution)
    return -(0.5 * math.log(2 * math.pi) * distribution.event_shape.numel()) - summed


def _normal_kl(q: Distribution, p: Distribution) -> Tensor:
    return _sum_event(reals.normal_kl(element_of(q), element_of(p)), q)


def _bernoulli_log_prob(distribution: Distribution, value: Tensor) -> Tensor:
    """Σ_i y_i l_i − log(1 + e^{l_i}), linear in y."""
    import torch

    logits = element_of(distribution).logits
    return -_sum_event(torch.addcmul(categories.softplus(logits), value, logits, value=-1), distribution)


def _bernoulli_kl(q: Distribution, p: Distribution) -> Tensor:
    return _sum_event(categories.bernoulli_divergence(element_of(q).logits, element_of(p).logits), q)


def _categorical_log_prob(distribution: Distribution, value: Tensor) -> Tensor:
    """Σ_k y_k log π_k, linear in y."""
    return _sum_event(value * element_of(distribution).logits, distribution)


def _categorical_kl(q: Distribution, p: Distribution) -> Tensor:
    a, b = element_of(q), element_of(p)
    return _sum_event(a.probs * (a.logits - b.logits), q)


OWN = Scoring(_own_log_prob)  # by the class itself
BERNOULLI = Scoring(_bernoulli_log_prob, _bernoulli_kl, prepare=categories.bernoulli_logits)
CATEGORICAL = Scoring(_categorical_log_prob, _categorical_kl, prepare=categories.categorical_logits)
NORMAL = Scoring(_normal_log_prob, _normal_kl)
UNIFORM = Scoring(_uniform_log_prob, _uniform_kl)
