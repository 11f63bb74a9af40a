"""The gradient of a step as a sum over processes: one exchange a step, which also says whether all can go on.

The gradients lie one after the other in one piece of memory, with the loss and two flags behind them, and this is
summed over all processes once the backward pass is done. So replayed steps, which know no autograd, are summed as
computed ones are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sgc.training.processes import Processes

FLAGS = 3  # the loss, whether the step holds, whether somebody asks to stop


class SharedGradients:
    """Sums the gradients of one training over its processes."""

    def __init__(self, processes: Processes, parameters: Sequence[Tensor], asked: Callable[[], bool]) -> None:
        """Prepare for these parameters. asked: whether this process is asked to stop."""
        self.processes, self.parameters, self.asked = processes, list(parameters), asked
        self.stop = False  # whether any process was asked to, as all know since the last exchange
        self._buffers: dict[tuple[bool, ...], tuple[Tensor, list[Tensor]]] = {}

    def _buffer(self, there: tuple[bool, ...]) -> tuple[Tensor, list[Tensor]]:
        """Give the memory of a sum, and the gradients in it. there: which parameters have one."""
        if there not in self._buffers:
            with_gradient = [p for p, has in zip(self.parameters, there, strict=True) if has]
            size = sum(p.numel() for p in with_gradient)
            whole = torch.zeros(size + FLAGS, dtype=with_gradient[0].dtype, device=with_gradient[0].device)
            views, start = [], 0
            for p in with_gradient:
                views.append(whole.as_strided(p.shape, _dense(p), start))
                start += p.numel()
            self._buffers = {there: (whole, views)}  # of the last kind of steps alone
        return self._buffers[there]

    @torch.no_grad()
    def add_up(self, loss: float | Tensor, *, holds: bool = True) -> tuple[float, bool]:
        """Put the sum over all processes in place of the gradients; give the loss of all, and whether all hold."""
        gradients = [parameter.grad for parameter in self.parameters]
        whole, views = self._buffer(tuple(gradient is not None for gradient in gradients))
        own = [gradient for gradient in gradients if gradient is not None]
        torch._foreach_copy_(views, own)
        flags = whole[-FLAGS:]
        flags[0] = loss
        flags[1], flags[2] = float(holds), float(self.asked())
        self.processes.sum(whole)
        rest = iter(views)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = None if gradient is None else next(rest)
        total, held, stop = flags.tolist()
        self.stop = stop > 0
        return total, held == self.processes.size

    def agree(self, flag: bool) -> bool:
        """Tell whether a flag is set in all processes."""
        count = self.parameters[0].new_tensor(float(flag)).detach()
        return float(self.processes.sum(count)) == self.processes.size


def _dense(parameter: Tensor) -> Sequence[int]:
    """Give the strides of a gradient: those of its parameter, where these leave no gaps."""
    return torch.empty_like(parameter, device="meta").stride()
