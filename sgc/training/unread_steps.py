"""Steps whose numbers stay on the device for a while, so that no step waits for it: all are read in one transfer.

A step is replayed on trust that it holds, see `sgc.training.recorded_steps.UnreadStep`. Whether it does is worked out
on the device, and where it does not, neither it nor a later one moves a weight. Once their numbers are read, steps
count up to the first that does not hold, and this one is taken anew, with its numbers read as it goes: so a run has the
same weights, totals and faults as one that reads each step.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from sgc.training.epoch_totals import StepSums
from sgc.training.step_results import UnreadStep

ON_A_GPU = 16  # steps, after which the wait for the device is a small share of them
LONGEST = 1.0  # s, after which numbers should be read: for progress, and for a stop that was asked for


@dataclass(frozen=True)
class ReadStep:
    """The numbers of a step that holds: its loss, its sums, and the numbers of these."""

    loss: float
    sums: StepSums
    numbers: list[float]


class UnreadSteps:
    """The steps of a run that were taken since numbers were last read."""

    def __init__(self, limit: int, device: torch.device) -> None:
        """Let numbers wait for so many steps at most; 1: each step is read as it is taken."""
        self.limit, self.device = limit, device
        self._size = limit  # steps that wait now: fewer where they do not hold, or take long
        self._steps: list[tuple[Tensor, Tensor, StepSums]] = []
        self._holds: Tensor | None = None
        self._began = 0.0

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def full(self) -> bool:
        """Whether numbers are to be read before another step is taken."""
        return len(self._steps) >= self._size

    @property
    def holds(self) -> Tensor:
        """Whether all these steps hold, a boolean scalar on the device."""
        if self._holds is None:
            self._holds = torch.ones((), dtype=torch.bool, device=self.device)
            self._began = time.perf_counter()
        return self._holds

    def add(self, step: UnreadStep, sums: StepSums) -> None:
        """Take in a step that was taken. sums: what totals need of it."""
        self._holds = step.holds
        self._steps.append((step.holds, step.loss.clone(), sums))  # the next replay writes over the loss

    def read(self) -> tuple[list[ReadStep], bool]:
        """Read the numbers of all these steps; give those that hold up to the first that does not, and if all do."""
        steps, self._steps, self._holds = self._steps, [], None
        if not steps:
            return [], True
        tensors = [tensor for holds, loss, sums in steps for tensor in (holds, loss, *sums.tensors)]
        numbers: Iterator[float] = iter(torch.cat([tensor.reshape(-1) for tensor in tensors]).tolist())
        read: list[ReadStep] = []
        for _, _, sums in steps:
            holds, loss = bool(next(numbers)), next(numbers)
            values = [next(numbers) for tensor in sums.tensors for _ in range(tensor.numel())]
            if not holds:
                self._size = max(1, self._size // 2)
                return read, False
            read.append(ReadStep(loss, sums, values))
        slow = time.perf_counter() - self._began > LONGEST
        self._size = max(1, self._size // 2) if slow else min(self.limit, self._size * 2)
        return read, True


def can_wait(optimizer: torch.optim.Optimizer) -> bool:
    """Tell whether an optimiser can be told on the device to leave weights as they are: torch's fused ones can."""
    return all(bool(group.get("fused")) for group in optimizer.param_groups)


@contextmanager
def moving_only_where(optimizer: torch.optim.Optimizer, holds: Tensor) -> Iterator[None]:
    """Let an optimiser's step in the block change nothing unless this boolean scalar holds; nothing is read.

    It is torch's way to skip a step whose scaled gradients overflow (`torch.amp.GradScaler`).
    """
    optimizer.found_inf = holds.logical_not().float()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del optimizer.found_inf  # type: ignore[attr-defined]
