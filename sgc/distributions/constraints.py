"""The sets that parameters lie in, by word, and the maps from unconstrained numbers into them and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from sgc.distributions.supports import SUPPORTS, Support

if TYPE_CHECKING:
    from torch import Tensor


WORD_DIMS: Mapping[str, int] = {  # the words a parameter may have, and how many dimensions one parameter value has
    "real": 0,
    "positive": 0,
    "nonnegative": 0,
    "unit_interval": 0,
    "half_open_unit_interval": 0,
    "nonnegative_integer": 0,  # taken from a name alone: no network gives it, and nothing learns it
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


_HALF_OPEN = replace(SUPPORTS["unit_interval"], open_high=True)
SETS: Mapping[str, Support] = {  # where each number of a parameter lies; of matrices no number by itself can say it
    "real": SUPPORTS["real"],
    "positive": SUPPORTS["positive"],
    "nonnegative": SUPPORTS["nonnegative"],
    "unit_interval": SUPPORTS["unit_interval"],
    "half_open_unit_interval": _HALF_OPEN,
    "nonnegative_integer": SUPPORTS["nonnegative_integer"],
    "real_vector": SUPPORTS["real"],
    "positive_vector": SUPPORTS["positive"],
    "simplex": SUPPORTS["simplex"],
}


def floored(word: str, value: Tensor) -> Tensor:
    """Keep computed numbers that lie in a set inside it, where rounding has brought them to an end that it has not.

    Of what is positive, to the least normal number of the type; of what is below 1, to the largest below it.
    """
    import torch

    kind = torch.finfo(value.dtype)
    if word in ("positive", "positive_vector"):
        return value.clamp(min=kind.tiny)
    if word == "nonnegative":
        return value.clamp(min=0)
    if word in ("unit_interval", "half_open_unit_interval"):
        return value.clamp(0, 1 if word == "unit_interval" else 1 - kind.eps / 2)
    return value


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
