"""What a contender has to be able to do, and what those that are written in PyTorch have in common."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from benchmarks.contenders import ENTRIES
from benchmarks.problem import Problem


class Cannot(Exception):
    """The library has no way to take the step; says why."""


class Contender(ABC):
    """One way to take the steps of a problem, from the weights and on the rows that the problem gives.

    The loss is the mean of both batches' negative bounds, in nats a row: −(Σ_unlabelled L + Σ_labelled L) / 2B.
    """

    settles: ClassVar[int] = 3  # steps until one is like the next
    period: ClassVar[int] = 1  # steps among which one may differ from the others

    @abstractmethod
    def step(self) -> None:
        """Take the next step of training: rows, loss, gradient, Adam."""

    @abstractmethod
    def loss(self) -> float:
        """Give the loss of the first rows with new draws, and learn nothing."""

    def exact(self) -> dict[str, float]:
        """Give those terms of the loss of the first rows that no draw reaches, in nats a row, by name."""
        return {}

    def finish(self) -> None:
        """Wait until all steps are done; here they are, where `step` comes back."""
        return

    def operators(self) -> int | None:
        """Count the operators of a step, see `count_operators`; None where the library has no such count."""
        return None


def make(name: str, problem: Problem) -> Contender:
    """Make a contender. Raises: Cannot; whatever its library raises where it is not there or does not work."""
    entry = ENTRIES[name]
    module: Any = importlib.import_module(entry.module)  # Any: each has `make`
    made: Contender = module.make(problem, entry.way)
    return made
