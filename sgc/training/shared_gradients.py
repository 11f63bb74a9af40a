"""The gradient of a step as a sum over processes: one exchange a step, which also says whether all can go on.

The gradients lie one after the other in one vector, with the loss and two flags behind them, and this is summed over
all processes once the backward pass is done. So replayed steps, which know no autograd, are summed as computed ones
are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sgc.training.gradient_check import gradient_norm
from sgc.training.process_sums import ProcessSum, process_sum
from sgc.training.processes import Processes

if TYPE_CHECKING:
    from sgc.training.weight_shards import WeightShards

FLAGS = 3  # the loss, whether the step holds, whether somebody asks to stop


@dataclass(frozen=True)
class Vector:
    """The gradients of a kind of steps one after the other: where this process writes each, and where each sum is.

    size: how many numbers they are, with those behind them.
    """

    size: int
    own: list[Tensor]
    total: list[Tensor]


class SharedGradients:
    """Sums the gradients of one training over its processes."""

    def __init__(self, processes: Processes, parameters: Sequence[Tensor], asked: Callable[[], bool]) -> None:
        """Prepare for these parameters. asked: whether this process is asked to stop."""
        self.processes, self.parameters, self.asked = processes, list(parameters), asked
        self._like = self.parameters[0].detach().new_zeros(())
        self.shards: WeightShards | None = None  # of the weights that are not among these parameters
        self.stop = False  # whether any process was asked to, as all know since the last exchange
        self._vectors: dict[tuple[bool, ...], Vector] = {}

    @cached_property
    def _sum(self) -> ProcessSum:
        return process_sum(self.processes, sum(p.numel() for p in self.parameters) + FLAGS, self._like)

    def _vector(self, there: tuple[bool, ...]) -> Vector:
        """Give the vector of a kind of steps. there: which parameters have a gradient, the same in all processes."""
        if there not in self._vectors:
            with_gradient = [p for p, has in zip(self.parameters, there, strict=True) if has]
            size = sum(p.numel() for p in with_gradient) + FLAGS
            own, total = (_gradients(vector, with_gradient) for vector in (self._sum.own, self._sum.total))
            self._vectors = {there: Vector(size, own, total)}  # of the last kind of steps alone
        return self._vectors[there]

    @torch.no_grad()
    def add_up(self, loss: float | Tensor, *, holds: bool = True) -> tuple[float, bool]:
        """Put the sum over all processes in place of the gradients; give the loss of all, and whether all hold."""
        if self.shards is not None:
            self.shards.take_gradients()
        gradients = [parameter.grad for parameter in self.parameters]
        vector = self._vector(tuple(gradient is not None for gradient in gradients))
        if vector.own:  # there is none where all are shared out
            torch._foreach_copy_(vector.own, [gradient for gradient in gradients if gradient is not None])
        flags = self._sum.own[vector.size - FLAGS : vector.size]
        flags[0] = loss
        flags[1], flags[2] = float(holds), float(self.asked())
        self._sum.add_up(vector.size)
        rest = iter(vector.total)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = None if gradient is None else next(rest)
        total, held, stop = self._sum.total[vector.size - FLAGS : vector.size].tolist()
        self.stop = stop > 0
        return total, held == self.processes.size

    def share_out(self, shards: WeightShards) -> None:
        """Leave to others the parameters of which each process has some rows."""
        whole = {id(shard.whole) for shard in shards.by_name.values()}
        self.shards, self._like = shards, shards.model.like.new_zeros(())  # the weights were elsewhere before
        self.parameters = [p for p in shards.model.parameters() if p.requires_grad and id(p) not in whole]

    def norm(self, gradients: Sequence[Tensor]) -> Tensor:
        """Give the norm of the gradients that are whole here together with those of all shards."""
        if self.shards is None:
            return gradient_norm(gradients)
        return self.shards.norm(gradient_norm([p.grad for p in self.parameters if p.grad is not None]).to(self._like))

    def agree(self, flag: bool) -> bool:
        """Tell whether a flag is set in all processes."""
        count = self._like.new_tensor(float(flag))
        return float(self.processes.sum(count)) == self.processes.size


def _gradients(vector: Tensor, parameters: Sequence[Tensor]) -> list[Tensor]:
    """Give where the gradient of each parameter lies in a vector."""
    starts = itertools.accumulate((parameter.numel() for parameter in parameters), initial=0)
    first = vector.storage_offset()
    return [vector.as_strided(p.shape, _dense(p), first + start) for p, start in zip(parameters, starts, strict=False)]


def _dense(parameter: Tensor) -> Sequence[int]:
    """Give the strides of a gradient: those of its parameter, where these leave no gaps."""
    return torch.empty_like(parameter, device="meta").stride()
