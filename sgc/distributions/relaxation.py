"""The Concrete relaxations of Categorical and Bernoulli: draws, densities, and the nearest value of the support.

At a low temperature a draw is rounded to a corner, where its density is infinite. So it is drawn and scored by its
logs, whose density is finite at every temperature. The same change of variable in p and q leaves their ratio, every
bound and the divergence as they are (Maddison et al. 2017, Appendix C.3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from sgc.distributions.points import Point

if TYPE_CHECKING:
    from torch import Tensor


def relaxed_one_hot(logits: Tensor, temperature: Tensor | float) -> Point:
    """Draw from the Concrete distribution: log softmax((log π + g) / τ), g standard Gumbel, and its exponential.

    logits: (*batch, K) -> a value (*batch, K) in the simplex, and its log. Sources: Maddison et al. 2017, Eq. 10; Jang
    et al. 2017, Eq. 2.
    """
    import torch

    exponential = torch.empty_like(logits, memory_format=torch.contiguous_format).exponential_()
    gumbel = -exponential.clamp_min_(torch.finfo(logits.dtype).tiny).log()
    log = torch.log_softmax((logits + gumbel) / temperature, -1)
    return Point(log.exp(), (log,))


def relaxed_bit(logits: Tensor, temperature: Tensor | float) -> Point:
    """Draw from the binary Concrete distribution: (l + log u − log(1−u)) / τ, u uniform, and its sigmoid.

    logits: (*batch,) -> a value (*batch,) in [0, 1], and its log-odds. Source: Maddison et al. 2017, Appendix B.
    """
    import torch

    kind = torch.finfo(logits.dtype)
    uniform = torch.rand_like(logits, memory_format=torch.contiguous_format).clamp_(kind.tiny, 1 - kind.eps)
    log_odds = (logits + uniform.logit()) / temperature
    return Point(torch.sigmoid(log_odds), (log_odds,))


def nearest_one_hot(relaxed: Tensor) -> Tensor:
    """Set the largest entry to 1, the others to 0: (*batch, K) -> (*batch, K)."""
    import torch

    return torch.zeros_like(relaxed).scatter_(-1, relaxed.argmax(-1, keepdim=True), 1.0)


def nearest_bit(relaxed: Tensor) -> Tensor:
    """Set what is above one half to 1, the rest to 0: the shape stays."""
    return (relaxed > 0.5).to(relaxed)


def score_one_hot(logits: Tensor, log_value: Tensor, temperature: Tensor | float) -> Tensor:
    """Give the log-density of the log x of a Concrete draw, in nats.

    log (K−1)! + (K−1) log τ + Σ_k (l_k − τ x_k) − K log Σ_k exp(l_k − τ x_k)

    logits, log_value: (*batch, K) -> (*batch,). Source: Maddison et al. 2017, Appendix C.3 (ExpConcrete).
    """
    count = log_value.shape[-1]
    tilted = logits - temperature * log_value
    constant = math.lgamma(count) + (count - 1) * _log(temperature)
    return constant + tilted.sum(-1) - count * tilted.logsumexp(-1)


def score_bit(logits: Tensor, log_odds: Tensor, temperature: Tensor | float) -> Tensor:
    """Give the log-density of the log-odds x of a binary Concrete draw, in nats.

    log τ + d − 2 log(1 + e^d), d = l − τx

    logits, log_odds: (*batch,) -> (*batch,). Source: Maddison et al. 2017, Appendix C.3.
    """
    from torch.nn.functional import softplus

    apart = logits - temperature * log_odds
    return _log(temperature) + apart - 2 * softplus(apart, threshold=40.0)


def _log(number: Tensor | float) -> Tensor | float:
    return math.log(number) if isinstance(number, float) else number.log()


@final
@dataclass(frozen=True)
class Relaxation:
    """How values of a family are relaxed: drawn, rounded to the nearest value, and scored by `Point.exact`."""

    draw: Callable[[Tensor, Tensor | float], Point]
    nearest: Callable[[Tensor], Tensor]
    score: Callable[[Tensor, Tensor, Tensor | float], Tensor]


ONE_HOT = Relaxation(relaxed_one_hot, nearest_one_hot, score_one_hot)
BIT = Relaxation(relaxed_bit, nearest_bit, score_bit)
