"""Whoever is told how a training goes: a terminal, a log, or nobody."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Protocol

from sgc.errors import UsageError


class Watcher(Protocol):
    """What is told of a training while it runs."""

    def note(self, text: str) -> None: ...  # what a user should know, once, before the first step

    def begin(self, epochs: int, steps: int, done: int) -> None: ...  # steps: an epoch's; done: by an earlier start

    def step(self, epoch: int, step: int, steps: int, bound: float) -> None: ...

    def epoch(self, line: Mapping[str, Any]) -> None: ...  # Any: a line of metrics.jsonl


def check_watcher(watcher: object) -> None:
    """Check that something can be told how a training goes, or is None. Raises: UsageError."""
    wanted = ("note", "begin", "step", "epoch")
    if watcher is not None and not all(callable(getattr(watcher, name, None)) for name in wanted):
        kind = type(watcher).__name__
        raise UsageError(f"watcher is of the type '{kind}', wanted one with the methods {', '.join(wanted)}")


class Silent:
    """A watcher that says nothing but what a user should know, as a warning of Python's."""

    def note(self, text: str) -> None:
        """Warn of it."""
        warnings.warn(text, stacklevel=4)  # of the line that called `train`

    def begin(self, epochs: int, steps: int, done: int) -> None:
        """Take note of what there is to do."""

    def step(self, epoch: int, step: int, steps: int, bound: float) -> None:
        """Take note of a step."""

    def epoch(self, line: Mapping[str, Any]) -> None:  # Any: a line of metrics.jsonl
        """Take note of an epoch."""
