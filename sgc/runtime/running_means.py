"""Running means: baselines of the charges of draws, kept from step to step in the state of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class RunningMeans:
    """The running means that are subtracted from the charges of draws, by node, pattern and part of the bound."""

    means: dict[str, Tensor] = field(default_factory=dict)  # float64, NaN before the first step
    learning: bool = True

    def take(self, key: str, charged: Tensor, decay: float, of_all: Callable[[Tensor], Tensor] = torch.mean) -> Tensor:
        """Give the mean of the steps before this one, 0 at the first, and move it on by what is charged now.

        Nothing is read, so that no step waits for a device. of_all: the mean of what all processes charge.
        """
        if key not in self.means:
            if not self.learning:
                return charged.new_zeros(())
            self.means[key] = torch.full((), math.nan, dtype=torch.float64, device=charged.device)
        mean = self.means[key] = self.means[key].to(charged.device)
        before = mean.nan_to_num(0.0).to(charged.dtype)
        if self.learning:
            current = of_all(charged.detach()).double()
            moved = torch.where(mean.isnan(), current, decay * mean + (1 - decay) * current)
            with torch.no_grad():
                mean.copy_(torch.where(current.isfinite(), moved, mean))
        return before

    @contextmanager
    def still(self, hold: bool) -> Iterator[None]:
        """Keep the means as they are, if `hold`."""
        before = self.learning
        self.learning = before and not hold
        try:
            yield
        finally:
            self.learning = before

    def state(self) -> dict[str, Any]:  # Any: numbers
        """Give the means as plain data."""
        return {key: float(mean) for key, mean in self.means.items() if not mean.isnan()}

    def restore(self, state: dict[str, Any]) -> None:  # Any: numbers
        """Go on from a saved state."""
        self.means = {str(key): torch.tensor(float(value), dtype=torch.float64) for key, value in state.items()}
