"""What contenders written in PyTorch have in common: rows as tensors, networks, densities, the count of operators."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from benchmarks.contender import Contender
from benchmarks.problem import Layers, Problem


class TorchContender(Contender):
    """A contender whose steps are made of torch's operators."""

    def operators(self) -> int | None:
        return round(count_operators(self.step, self.period) / self.period)


class ByHand(TorchContender):
    """A contender that takes its batches from tensors in memory."""

    def __init__(self, problem: Problem) -> None:
        torch.manual_seed(problem.seed)
        self.problem, rows = problem, problem.rows()
        self.x, self.labels = torch.from_numpy(rows.x), torch.from_numpy(rows.labels)
        self._batches, self._first = rows.batches(), rows.first()

    def batch(self, *, first: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Give x without labels [B, X], x with labels [B, X], and these, [B] integers."""
        bare, labelled = map(torch.from_numpy, self._first if first else next(self._batches))
        return self.x[bare], self.x[labelled], self.labels[labelled]


class Network(nn.Module):
    """Linear, ReLU, linear, ReLU, linear, on the parents side by side."""

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        self.layers = nn.Sequential()
        for i, (weight, bias) in enumerate(layers):
            if i:
                self.layers.append(nn.ReLU())
            layer = nn.Linear(weight.shape[1], weight.shape[0])
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(weight))
                layer.bias.copy_(torch.from_numpy(bias))
            self.layers.append(layer)

    def forward(self, *parents: Tensor) -> Tensor:
        """Map parents [*leading, size], whose leading dimensions broadcast, to [*leading, output]."""
        if len(parents) > 1:
            leading = torch.broadcast_shapes(*(parent.shape[:-1] for parent in parents))
            parents = tuple(parent.expand(*leading, parent.shape[-1]) for parent in parents)
            return self.layers(torch.cat(parents, -1))  # type: ignore[no-any-return]
        return self.layers(parents[0])  # type: ignore[no-any-return]

    def normal(self, *parents: Tensor) -> tuple[Tensor, Tensor]:
        """Give location and scale."""
        loc, raw = self(*parents).chunk(2, -1)
        return loc, functional.softplus(raw)


def log_bernoulli(logits: Tensor, x: Tensor) -> Tensor:
    """log p(x) of bits, [*leading, X] -> [*leading]."""
    return -functional.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)


def log_normal(value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """log N(value; loc, scale), summed over the last axis."""
    return (-0.5 * ((value - loc) / scale) ** 2 - scale.log() - 0.5 * math.log(2 * math.pi)).sum(-1)


def log_standard_normal(value: Tensor) -> Tensor:
    """log N(value; 0, 1), summed over the last axis."""
    return (-0.5 * value**2 - 0.5 * math.log(2 * math.pi)).sum(-1)


def normal_kl(loc: Tensor, scale: Tensor) -> Tensor:
    """KL(N(loc, scale) ‖ N(0, 1)), summed over the last axis."""
    return (0.5 * (loc**2 + scale**2 - 1) - scale.log()).sum(-1)


def categorical_kl(log_q: Tensor) -> Tensor:
    """KL(q ‖ uniform) of log-probabilities, summed over the last axis."""
    return (log_q.exp() * (log_q + math.log(log_q.shape[-1]))).sum(-1)


def count_operators(step: Callable[[], object], steps: int) -> int:
    """Count torch's operators in so many steps: those `aten::` that no other `aten::` operator has called.

    So an operator that Python calls counts as one, whatever it is made of, and so does each one that autograd or the
    optimiser calls.
    """
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        for _ in range(steps):
            step()
    count = 0
    for event in recorded.events() or ():
        if not event.name.startswith("aten::"):
            continue
        above = event.cpu_parent
        while above is not None and not above.name.startswith("aten::"):
            above = above.cpu_parent
        count += above is None
    return count
