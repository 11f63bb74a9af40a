"""The mathematics of families: constraints and their inverses, log-densities, divergences, supports, relaxed draws.

torch is imported inside the functions, so that the facts beside them can be read without it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributions import Distribution


# ---- constraints ----------------------------------------------------------------------------------------------------

WORD_DIMS: Mapping[str, int] = {  # the words a parameter may have, and how many dimensions one parameter value has
    "real": 0,
    "positive": 0,
    "nonnegative": 0,
    "unit_interval": 0,
    "half_open_unit_interval": 0,
    "real_vector": 1,
    "positive_vector": 1,
    "simplex": 1,
    "lower_cholesky": 2,
    "positive_definite": 2,
}

NEUTRAL: Mapping[str, float] = {  # where a parameter stands that nothing else is known of; of a simplex, the middle
    "real": 0.0,
    "positive": 1.0,
    "nonnegative": 1.0,
    "unit_interval": 0.5,
    "half_open_unit_interval": 0.5,
    "real_vector": 0.0,
    "positive_vector": 1.0,
    "lower_cholesky": 1.0,
    "positive_definite": 1.0,
}


def constrain(word: str, raw: Tensor) -> Tensor:
    """Map unconstrained numbers into the set a word names, off its boundary by the type's epsilon.

    positive: softplus(x) + ε; unit interval: ε + (1−2ε) σ(x); simplex: (softmax(x) + ε) / (1 + Kε); lower_cholesky:
    the n(n+1)/2 entries row by row, the diagonal made positive; positive_definite: L Lᵀ of that.

    raw: (*leading, n(n+1)/2) -> (*leading, n, n) for the two matrix words, otherwise the shape stays.
    """
    import torch
    from torch.nn import functional

    tiny = torch.finfo(raw.dtype).eps
    if word in ("real", "real_vector"):
        return raw
    if word in ("positive", "nonnegative", "positive_vector"):
        return functional.softplus(raw) + tiny
    if word in ("unit_interval", "half_open_unit_interval"):
        return tiny + (1 - 2 * tiny) * torch.sigmoid(raw)
    if word == "simplex":
        return (torch.softmax(raw, -1) + tiny) / (1 + raw.shape[-1] * tiny)
    size = (math.isqrt(1 + 8 * raw.shape[-1]) - 1) // 2
    row, column = torch.tril_indices(size, size, device=raw.device)
    packed = torch.where(row == column, functional.softplus(raw) + tiny, raw)
    lower = raw.new_zeros(*raw.shape[:-1], size, size)
    lower[..., row, column] = packed
    return lower if word == "lower_cholesky" else lower @ lower.mT


def unconstrain(word: str, value: Tensor) -> Tensor:
    """Invert `constrain`; infinite or not a number where a value lies outside what `constrain` can give."""
    import torch

    tiny = torch.finfo(value.dtype).eps
    if word in ("real", "real_vector"):
        return value
    if word in ("positive", "nonnegative", "positive_vector"):
        return _inverse_softplus(value - tiny)
    if word in ("unit_interval", "half_open_unit_interval"):
        return torch.logit((value - tiny) / (1 - 2 * tiny))
    if word == "simplex":
        return (value * (1 + value.shape[-1] * tiny) - tiny).log()
    lower = value if word == "lower_cholesky" else torch.linalg.cholesky(value)
    row, column = torch.tril_indices(value.shape[-1], value.shape[-1], device=value.device)
    packed = lower[..., row, column]
    # The unused branch of a `where` may be nan: no gradient runs through start values.
    return torch.where(row == column, _inverse_softplus(packed - tiny), packed)


def _inverse_softplus(positive: Tensor) -> Tensor:
    return positive + (-(-positive).expm1()).log()


# ---- log-densities and divergences ----------------------------------------------------------------------------------


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
    "bernoulli": Scoring(_bernoulli_logits, _bernoulli_log_prob, _bernoulli_kl),
    "categorical": Scoring(_categorical_logits, _categorical_log_prob, _categorical_kl),
}


# ---- supports and relaxed draws -------------------------------------------------------------------------------------


def enumerate_product(values: Tensor, event: tuple[int, ...]) -> Tensor:
    """Give every assignment of elementary values to the elements of an event, the last element running fastest.

    values: (k, *elementary) -> (k^n, *event), where event is n elements of the elementary shape.
    """
    import torch

    elementary = values.shape[1:]
    elements = math.prod(event[: len(event) - len(elementary)])
    size = values.shape[0]
    place = size ** torch.arange(elements - 1, -1, -1, device=values.device)
    digits = torch.arange(size**elements, device=values.device)[:, None] // place % size
    return values[digits].reshape(-1, *event)


def relaxed_one_hot(logits: Tensor, temperature: Tensor | float) -> Tensor:
    """Draw from the Concrete distribution: softmax((log π + g) / τ), g standard Gumbel.

    logits: (*batch, K) -> (*batch, K) in the simplex. Sources: Maddison et al. 2017, Eq. 10; Jang et al. 2017, Eq. 2.
    """
    import torch

    exponential = torch.empty_like(logits, memory_format=torch.contiguous_format).exponential_()
    gumbel = -exponential.clamp_min_(torch.finfo(logits.dtype).tiny).log()
    return torch.softmax((logits + gumbel) / temperature, -1)


def relaxed_bit(logits: Tensor, temperature: Tensor | float) -> Tensor:
    """Draw from the binary Concrete distribution: σ((l + log u − log(1−u)) / τ), u uniform.

    logits: (*batch,) -> (*batch,) in [0, 1]. Source: Maddison et al. 2017, Appendix B.
    """
    import torch

    kind = torch.finfo(logits.dtype)
    uniform = torch.rand_like(logits, memory_format=torch.contiguous_format).clamp_(kind.tiny, 1 - kind.eps)
    return torch.sigmoid((logits + uniform.logit()) / temperature)


def nearest_one_hot(relaxed: Tensor) -> Tensor:
    """Set the largest entry to 1, the others to 0: (*batch, K) -> (*batch, K)."""
    import torch

    return torch.zeros_like(relaxed).scatter_(-1, relaxed.argmax(-1, keepdim=True), 1.0)


def score_one_hot(logits: Tensor, value: Tensor, temperature: float) -> Tensor:
    """Give the log-density of the Concrete distribution, in nats.

    log (K−1)! + (K−1) log τ + Σ_k [l_k − (τ+1) log y_k] − K log Σ_k exp(l_k − τ log y_k)

    logits, value: (*batch, K) -> (*batch,). Source: Maddison et al. 2017, Eq. 10.
    """
    import torch

    log_y = value.clamp(min=torch.finfo(value.dtype).tiny).log()
    count = value.shape[-1]
    tilted = logits - temperature * log_y
    constant = math.lgamma(count) + (count - 1) * math.log(temperature)
    return constant + (tilted - log_y).sum(-1) - count * tilted.logsumexp(-1)


def score_bit(logits: Tensor, value: Tensor, temperature: float) -> Tensor:
    """Give the log-density of the binary Concrete distribution, in nats; logits, value: (*batch,) -> (*batch,).

    Source: Maddison et al. 2017, Appendix B, Eq. 23.
    """
    import torch

    kind = torch.finfo(value.dtype)
    log_y, log_rest = value.clamp(min=kind.tiny).log(), (1 - value).clamp(min=kind.tiny).log()
    one, other = logits - temperature * log_y, -temperature * log_rest
    return math.log(temperature) + one - log_y + other - log_rest - 2 * torch.logaddexp(one, other)
