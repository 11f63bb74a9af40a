"""Log-densities and divergences of families, in nats; torch is imported inside the functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributions import Distribution


@dataclass(frozen=True)
class Scoring:
    """How members of a family are made, scored and compared.

    `prepare`: the parameters that torch's class is given, from those of the spec. `log_prob`: (distribution, value) ->
    the sum over the event. `kl`: the same of KL(q‖p). All broadcast over leading dimensions.
    """

    prepare: Callable[[dict[str, Tensor]], dict[str, Tensor]]
    log_prob: Callable[[Distribution, Tensor], Tensor]
    kl: Callable[[Distribution, Distribution], Tensor]


def element_of(distribution: Distribution) -> Any:  # Any: the parameters of torch's families are plain attributes
    """Give the distribution of one element of the event."""
    from torch.distributions import Independent

    return distribution.base_dist if isinstance(distribution, Independent) else distribution


def _sum_event(terms: Tensor, distribution: Distribution) -> Tensor:
    dims = len(distribution.event_shape)
    return terms.sum(tuple(range(-dims, 0))) if dims else terms  # a sum over no dims would be one over all


def _as_they_are(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    return parameters


def _torch_log_prob(distribution: Distribution, value: Tensor) -> Tensor:
    return distribution.log_prob(value)


def _torch_kl(q: Distribution, p: Distribution) -> Tensor:
    from torch.distributions import kl_divergence

    return kl_divergence(q, p)


def _base_kl(q: Distribution, p: Distribution) -> Tensor:
    """KL under a fixed bijection is that of the bases. torch compares the bijections by value, which waits on a GPU."""
    from torch.distributions import kl_divergence

    return _sum_event(kl_divergence(element_of(q).base_dist, element_of(p).base_dist), q)


def _normal_log_prob(distribution: Distribution, value: Tensor) -> Tensor:
    import torch

    normal = element_of(distribution)
    z = (value - normal.loc) / normal.scale
    summed = _sum_event(torch.addcmul(normal.scale.log(), z, z, value=0.5), distribution)
    return -(0.5 * math.log(2 * math.pi) * distribution.event_shape.numel()) - summed


def _inverse_gamma_log_prob(distribution: Distribution, value: Tensor) -> Tensor:
    """α log β − log Γ(α) − (α+1) log x − β/x; torch's way through 1/x is infinite in float32 from x = 1e19."""
    inverse = element_of(distribution)
    alpha, beta = inverse.concentration, inverse.rate
    return _sum_event(alpha * beta.log() - alpha.lgamma() - (alpha + 1) * value.log() - beta / value, distribution)


def _von_mises_log_prob(distribution: Distribution, value: Tensor) -> Tensor:
    """κ (cos(x−μ) − 1) − log(2π e^{−κ} I₀(κ)); torch's series has seven digits and no gradient at small κ."""
    import torch

    circular = element_of(distribution)
    log_bessel = torch.special.i0e(circular.concentration).log()
    terms = circular.concentration * ((value - circular.loc).cos() - 1) - log_bessel - math.log(2 * math.pi)
    return _sum_event(terms, distribution)


def _uniform_log_prob(distribution: Distribution, value: Tensor) -> Tensor:
    """−log(high − low) on the closed interval; torch leaves its upper end out, which data may well have."""
    import torch

    uniform = element_of(distribution)
    inside = (value >= uniform.low) & (value <= uniform.high)
    terms = torch.where(inside, -(uniform.high - uniform.low).log(), -torch.inf)
    return _sum_event(terms, distribution)


def _bounded_logits(parameters: dict[str, Tensor], log_odds: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
    """Give logits that are finite, so that 0 · log 0 is 0: an impossible value scores about the type's minimum."""
    import torch

    logits = parameters["logits"] if "logits" in parameters else log_odds(parameters["probs"])
    largest = torch.finfo(logits.dtype).max
    return {"logits": logits.clamp(-largest, largest)}


def _bernoulli_logits(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    # Logits that were given are finite by their constraint, and this is the largest tensor there is: not copied.
    return parameters if "logits" in parameters else _bounded_logits(parameters, lambda probs: probs.logit())


def _categorical_logits(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    return _bounded_logits(parameters, lambda probs: probs.log())


def _softplus(logits: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.softplus(logits, threshold=40.0)  # beyond torch's 20 the linear branch is off by 2e-9


def _bernoulli_log_prob(distribution: Distribution, value: Tensor) -> Tensor:
    """Σ_i y_i l_i − log(1 + e^{l_i}), linear in y."""
    import torch

    logits = element_of(distribution).logits
    return -_sum_event(torch.addcmul(_softplus(logits), value, logits, value=-1), distribution)


def _bernoulli_kl(q: Distribution, p: Distribution) -> Tensor:
    a, b = element_of(q).logits, element_of(p).logits
    one = a.sigmoid() * (_softplus(-b) - _softplus(-a))
    zero = (-a).sigmoid() * (_softplus(b) - _softplus(a))
    return _sum_event(one + zero, q)


def _categorical_log_prob(distribution: Distribution, value: Tensor) -> Tensor:
    """Σ_k y_k log π_k, linear in y; torch has normalised the logits when the distribution was made."""
    return _sum_event(value * element_of(distribution).logits, distribution)


def _categorical_kl(q: Distribution, p: Distribution) -> Tensor:
    a, b = element_of(q), element_of(p)
    return _sum_event(a.probs * (a.logits - b.logits), q)


SCORINGS: Mapping[str, Scoring] = {
    "torch": Scoring(_as_they_are, _torch_log_prob, _torch_kl),
    "log_normal": Scoring(_as_they_are, _torch_log_prob, _base_kl),
    "inverse_gamma": Scoring(_as_they_are, _inverse_gamma_log_prob, _base_kl),
    "von_mises": Scoring(_as_they_are, _von_mises_log_prob, _torch_kl),
    "normal": Scoring(_as_they_are, _normal_log_prob, _torch_kl),
    "uniform": Scoring(_as_they_are, _uniform_log_prob, _torch_kl),
    "bernoulli": Scoring(_bernoulli_logits, _bernoulli_log_prob, _bernoulli_kl),
    "categorical": Scoring(_categorical_logits, _categorical_log_prob, _categorical_kl),
}
