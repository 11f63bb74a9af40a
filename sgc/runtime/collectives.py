"""What processes exchange while a step is computed, as operations of torch: they are recorded and replayed like others.

`sgc::summed` adds a tensor up over all processes, `sgc::gathered` lays those of all side by side. Every process calls
them in the same order: what decides the order is the same everywhere.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as processes
from torch import Tensor

from sgc.errors import ProcessLost

_LIBRARY = torch.library.Library("sgc", "DEF")
_LIBRARY.define("summed(Tensor x) -> Tensor")
_LIBRARY.define("gathered(Tensor x) -> Tensor")


def _summed(x: Tensor) -> Tensor:
    total = x.detach().clone(memory_format=torch.contiguous_format)
    all_sum(total)
    return total


def _gathered(x: Tensor) -> Tensor:
    x = x.detach().contiguous()
    every = x.new_empty((processes.get_world_size(), *x.shape))
    try:
        processes.all_gather(list(every.unbind(0)), x)
    except RuntimeError as problem:
        raise ProcessLost(str(problem)) from None
    return every


_LIBRARY.impl("summed", _summed, "CompositeExplicitAutograd")
_LIBRARY.impl("gathered", _gathered, "CompositeExplicitAutograd")


def all_sum(tensor: Tensor) -> None:
    """Add a tensor up over all processes, in place. Raises: ProcessLost."""
    try:
        processes.all_reduce(tensor)
    except RuntimeError as problem:
        raise ProcessLost(str(problem)) from None


class _Sum(torch.autograd.Function):
    """Σ over processes, whose gradient is the sum of the gradients of all: the loss is a sum over processes, too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # Any: torch's
        total: Tensor = torch.ops.sgc.summed(x)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:  # Any: torch's
        return torch.ops.sgc.summed(gradients[0])


def summed(x: Tensor) -> Tensor:
    """Add a tensor up over all processes, with its gradient."""
    total: Tensor = _Sum.apply(x)  # type: ignore[no-untyped-call]
    return total


def gathered_rows(values: Tensor, count: int) -> Tensor:
    """Give the rows of all processes, [count, ...], of which this one has `values`, copies of the last row included."""
    every: Tensor = torch.ops.sgc.gathered(values)
    return every.flatten(0, 1)[:count]
