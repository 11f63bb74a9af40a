"""Counts of a repeat: their values as numbers, and their conditionals truncated to what labels of steps leave."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution

from sgc.distributions.step_counts import count_values
from sgc.runtime.layout import Layout
from sgc.spec.outline import Variable

# the log of no probability: finite, since sums over other nodes' values meet it alone, and far below any score
IMPOSSIBLE = -1e30


def values_of(variable: Variable) -> tuple[int, ...]:
    """Give the integers that a count may be, in the order of its support."""
    return count_values(variable.family, variable.event, variable.values)


def counted(variable: Variable, value: Tensor) -> Tensor:
    """Read a count's value as a number: [*leading, *event] -> [*leading]."""
    if variable.categories is None:
        return value
    numbers = torch.tensor(values_of(variable), dtype=value.dtype, device=value.device)
    return (value * numbers).sum(-1)


def above(number: Tensor, step: int) -> Tensor:
    """Tell where a count reaches a step, counted from 0; nowhere where it is NaN."""
    return number > step + 0.5


def restrict(log: Tensor, allowed: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Hold log q over a whole support to its allowed values: log q(k | allowed), and log q(allowed) of size 1 there.

    log, allowed: shapes that broadcast. What is not allowed is left at IMPOSSIBLE.
    """
    whole = torch.where(allowed, log, -torch.inf).logsumexp(axis, keepdim=True)
    return torch.where(allowed, log - whole, IMPOSSIBLE), whole


def on_axis(allowed: Tensor, layout: Layout, node: str) -> Tensor:
    """Lay allowed values out over their node's dimension and the rows: [B, K] -> [1, .., K, .., 1, B]."""
    shape = [1] * layout.rank
    shape[layout.axes[node]], shape[-1] = allowed.shape[1], allowed.shape[0]
    return allowed.T.reshape(shape)


def truncated(variable: Variable, q: Distribution, allowed: Tensor, rank: int) -> tuple[Categorical, Tensor, Tensor]:
    """Hold a drawn count to its allowed values, [B, K].

    Returns: the law over places in its support, batch shape [*leading]; the support, [K, *event]; and log q(allowed),
    [*leading].
    """
    like = variable.family.mean(q)
    support = variable.family.enumerate(variable.event, like.dtype, like.device)
    spread = support.reshape(len(support), *(1,) * rank, *variable.event)
    log = variable.family.log_prob(q, spread)  # [K, *leading]
    inside, whole = restrict(log, allowed.T.reshape(len(support), *(1,) * (rank - 1), -1), 0)
    return Categorical(logits=inside.movedim(0, -1), validate_args=False), support, whole.squeeze(0)
