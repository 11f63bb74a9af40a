"""Watchers, which receive the progress of training: a terminal, a log, or none."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Protocol

from sgc.errors import UsageError


class Watcher(Protocol):
    """Receives notes and progress during training."""

    def note(self, text: str) -> None: ...  # something a user should know, most often before the first step

    def begin(self, epochs: int, steps: int, done: int) -> None: ...  # steps: per epoch; done: steps before

    def step(self, epoch: int, step: int, steps: int, bound: float) -> None: ...

    def epoch(self, line: Mapping[str, Any]) -> None: ...  # Any: a line of metrics.jsonl


def check_watcher(watcher: object) -> None:
    """Check that an object has the methods of a watcher, or is None. Raises: UsageError."""
    wanted = ("note", "begin", "step", "epoch")
    if watcher is not None and not all(callable(getattr(watcher, name, None)) for name in wanted):
        kind = type(watcher).__name__
        raise UsageError(f"watcher is of the type '{kind}', wanted one with the methods {', '.join(wanted)}")


class Silent:
    """A watcher that reports only notes, as Python warnings."""

    def note(self, text: str) -> None:
        """Warn of it."""
        warnings.warn(text, stacklevel=4)  # the line that called `train`

    def begin(self, epochs: int, steps: int, done: int) -> None:
        """Take note of what there is to do."""

    def step(self, epoch: int, step: int, steps: int, bound: float) -> None:
        """Take note of a step."""

    def epoch(self, line: Mapping[str, Any]) -> None:  # Any: a line of metrics.jsonl
        """Take note of an epoch."""
