"""Log-probabilities and divergences of Bernoulli and Categorical, linear in the value.

The only ones, with Normal's, that float32 computes as well as float64: they are the fast lane of a step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sgc.distributions.log_scale import log_from_zero, log_to_one

if TYPE_CHECKING:
    from torch import Tensor


def bernoulli_logits(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give finite logits. Those of a network are finite already, and may be the largest tensor: they are not copied."""
    if "logits" in parameters:
        return parameters
    probs = parameters["probs"]
    return {"logits": _bounded(log_from_zero(probs) - log_to_one(probs))}


def categorical_logits(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the logarithms of the probabilities, finite. torch would normalise them only once they are rounded."""
    logits = parameters["logits"] if "logits" in parameters else log_from_zero(parameters["probs"])
    return {"logits": _bounded(_bounded(logits).log_softmax(-1))}


def _bounded(logits: Tensor) -> Tensor:
    """Bound logits, so that 0 · log 0 is 0: an impossible value scores about the type's minimum."""
    import torch

    largest = torch.finfo(logits.dtype).max
    return logits.clamp(-largest, largest)


def softplus(logits: Tensor) -> Tensor:
    """Give log(1 + e^l)."""
    from torch.nn import functional

    return functional.softplus(logits, threshold=40.0)  # beyond torch's 20 the linear branch is off by 2e-9


def bernoulli_divergence(a: Tensor, b: Tensor) -> Tensor:
    """Give KL of one trial of log-odds a from one of log-odds b."""
    one = a.sigmoid() * (softplus(-b) - softplus(-a))
    zero = (-a).sigmoid() * (softplus(b) - softplus(a))
    return one + zero
