"""Watchers, which receive the progress of training: a terminal, a log, or none."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from sgc.errors import UsageError, printable
from sgc.notebook import in_notebook


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
        warnings.warn(text, stacklevel=_calls_to_user())

    def begin(self, epochs: int, steps: int, done: int) -> None:
        """Take note of what there is to do."""

    def step(self, epoch: int, step: int, steps: int, bound: float) -> None:
        """Take note of a step."""

    def epoch(self, line: Mapping[str, Any]) -> None:  # Any: a line of metrics.jsonl
        """Take note of an epoch."""


def _calls_to_user() -> int:
    """Count the calls from the one that asks to the line of a user that called `train`."""
    frame, calls = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("sgc", "contextlib"):
        frame, calls = frame.f_back, calls + 1
    return calls


class Muted(Silent):
    """A watcher that reports nothing: of a process that another one speaks for."""

    def note(self, text: str) -> None:
        """Leave it to the other."""


@contextmanager
def watching(watcher: Watcher | None, title: str) -> Iterator[Watcher]:
    """Give the watcher of a training. None: one line of progress in a notebook, and elsewhere nothing."""
    if watcher is not None or not in_notebook():
        yield Silent() if watcher is None else watcher
        return
    line = NotebookLine(title)
    try:
        yield line
    finally:
        line.end()


class NotebookLine(Silent):
    """One line of plain text under a cell of a notebook, which is written anew: no widget, no line for each epoch."""

    EVERY = 0.5  # s between two changes

    def __init__(self, title: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.title, self.clock = title, clock
        self.epochs, self.steps, self.done = 0, 0, 0
        self.began = self.written = clock()
        self.handle: Any = None  # of the output, once there is one; Any: IPython's
        self.validation = ""
        self.last: Mapping[str, Any] = {}  # the line of the last epoch; Any: as in `epoch`

    def begin(self, epochs: int, steps: int, done: int) -> None:
        """Note how many epochs and steps there are, and how many steps are done."""
        self.epochs, self.steps, self.done = epochs, steps, done
        self.began = self.clock()

    def step(self, epoch: int, step: int, steps: int, bound: float) -> None:
        """Show the progress, twice a second at most."""
        now = self.clock()
        if now - self.written >= self.EVERY:
            self.written = now
            done = (epoch - 1) * steps + step
            rest = (now - self.began) * (self.epochs * steps - done) / max(1, done - self.done)
            self._show(f"epoch {epoch}/{self.epochs}  bound {bound:.2f}{self.validation}  {_duration(rest)} left")

    def epoch(self, line: Mapping[str, Any]) -> None:  # Any: a line of metrics.jsonl
        """Note the validation of an epoch, and warn as it does; the first one is shown."""
        from sgc.report.terminal import validation_words

        self.validation = validation_words(line)
        for text in line.get("warnings", ()):
            warnings.warn(text, stacklevel=2)
        self.last = line
        if self.handle is None:
            self.end()

    def end(self) -> None:
        """Show the last epoch, which stays: also where training stopped early, or was interrupted."""
        if self.last:
            bounds = ", ".join(f"{kind} {value:.2f}" for kind, value in self.last["bound"].items())
            spent = _duration(self.clock() - self.began)
            place = f"epoch {self.last['epoch']}/{self.epochs}"
            self._show(f"{place}  bound {bounds}{self.validation}  after {spent}")

    def _show(self, text: str) -> None:
        from IPython.display import display

        shown = {"text/plain": printable(f"{self.title}: {text}")}
        if self.handle is None:
            self.handle = display(shown, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self.handle.update(shown, raw=True)


def _duration(seconds: float) -> str:
    from sgc.report.row_progress import duration

    return duration(seconds)
