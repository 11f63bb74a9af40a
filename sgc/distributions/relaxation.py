"""The Concrete relaxations of Categorical and Bernoulli: draws, densities, and the nearest value of the support."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


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
