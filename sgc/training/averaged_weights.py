"""Weights averaged over the steps of training: exponentially (EMA), or every step alike (SWA).

After step t of those that count, with the decay d,

    θ̄_t = θ̄_{t−1} + w_t (θ_t − θ̄_{t−1}),  w_t = (1 − d) / (1 − d^t),  or w_t = 1 / t, to which it goes as d goes to 1.

So θ̄_t is Σ_s d^(t−s) θ_s / Σ_s d^(t−s), the exponential average without the bias of where it starts (Kingma & Ba 2015,
Adam, section 7.2), or the mean of all θ_s (Polyak & Juditsky 1992; Izmailov et al. 2018, SWA). Numbers that layers keep
of themselves, such as the running means of batch norms, are averaged with the weights, as
`torch.optim.swa_utils.AveragedModel(use_buffers=True)` does; whole numbers stay as the last step left them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from sgc.spec.training_section import Average


class AveragedWeights:
    """The average of tensors that training changes, of the same types and on the same device as these."""

    def __init__(self, average: Average, moved: Callable[[], Mapping[str, Tensor]]) -> None:
        """Average no step yet. moved: gives the tensors that training changes, by name, as they are now."""
        self.decay, self.start, self.moved = average.decay, average.start, moved
        self.count = 0  # steps that are averaged
        self.means: dict[str, Tensor] = {}  # none before the first step

    def begun(self, epoch: float) -> bool:
        """Tell whether a step at an epoch, which may be a fraction, counts."""
        return epoch >= self.start

    def share(self) -> float:
        """Give the share that the last step has in the average: 1 of the first."""
        if self.decay is None or self.count == 1:
            return 1 / self.count
        return (1 - self.decay) / -math.expm1(self.count * math.log(self.decay))

    @torch.no_grad()
    def add(self, holds: Tensor | None = None) -> None:
        """Take in what a step has left. holds: a boolean scalar; where it does not hold, the step changed nothing."""
        self.count += 1
        moved = self.moved()
        if self.count == 1:
            self.means = {name: tensor.detach().clone() for name, tensor in moved.items() if has_a_mean(tensor)}
            return
        means = list(self.means.values())
        # a tensor, so that nothing is read on a GPU, and steps that are read have the same bits as those that are not
        share = torch.full((), self.share(), dtype=means[0].dtype, device=means[0].device)
        if holds is not None:
            share = share * holds
        torch._foreach_lerp_(means, [moved[name] for name in self.means], [share.to(mean.dtype) for mean in means])

    def take_back(self, steps: int) -> None:
        """Count so many steps fewer, if any, which did not hold."""
        self.count = max(0, self.count - steps)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Lay the average where the weights are, in the block; after it these are as before, to the bit."""
        if not self.count:
            yield
            return
        moved = self.moved()
        now = [moved[name].detach() for name in self.means]
        before = [tensor.clone() for tensor in now]
        for tensor, mean in zip(now, self.means.values(), strict=True):
            tensor.copy_(mean)
        try:
            yield
        finally:
            for tensor, old in zip(now, before, strict=True):
                tensor.copy_(old)


def has_a_mean(tensor: Tensor) -> bool:
    """Tell whether a tensor holds numbers of which there is a mean."""
    return tensor.is_floating_point() and bool(torch.isfinite(tensor).all())
