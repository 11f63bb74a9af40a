"""Running means: baselines of what draws are charged with, kept from step to step in the state of a run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class RunningMeans:
    """The running means that are taken off what draws are charged with, by node, pattern and part of the bound."""

    means: dict[str, float] = field(default_factory=dict)
    learning: bool = True

    def take(self, key: str, charged: Tensor, decay: float) -> float:
        """Give the mean of the steps before this one, 0 at the first, and move it on by what is charged now."""
        before = self.means.get(key)
        if self.learning:
            now = float(charged.mean())
            if math.isfinite(now):
                self.means[key] = now if before is None else decay * before + (1 - decay) * now
        return 0.0 if before is None else before

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
        return dict(self.means)

    def restore(self, state: dict[str, Any]) -> None:  # Any: numbers
        """Go on from a saved state."""
        self.means = {str(key): float(value) for key, value in state.items()}
