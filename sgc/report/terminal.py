"""Progress of a command on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

from sgc.errors import printable
from sgc.report.row_progress import EVERY, duration
from sgc.report.standard_streams import say, styled


class TrainingProgress:
    """A bar over all steps of a run: epoch, bound, error on validation rows, time left."""

    def __init__(self, progress: Progress, title: str) -> None:
        self.progress, self.title = progress, title
        self.task: TaskID | None = None
        self.epochs = 0
        self.validation = ""
        self.shown = 0.0

    def note(self, text: str) -> None:
        """Print a note above the bar."""
        self.progress.console.print(printable(f"note: {text}"), markup=False, highlight=False, soft_wrap=True)

    def begin(self, epochs: int, steps: int, done: int) -> None:
        """Show the bar; that of a resumed run starts at its step."""
        self.epochs = epochs
        self.progress.start()
        self.task = self.progress.add_task(self.title, total=epochs * steps, completed=done, text="")

    def step(self, epoch: int, step: int, steps: int, bound: float) -> None:
        """Move the bar, ten times a second at most."""
        now = time.monotonic()
        if now - self.shown < 0.1 or self.task is None:
            return
        self.shown = now
        text = f"epoch {epoch}/{self.epochs}  bound {bound:.2f}{self.validation}"
        self.progress.update(self.task, completed=(epoch - 1) * steps + step, text=text)

    def epoch(self, line: Mapping[str, Any]) -> None:  # Any: a line of metrics.jsonl
        """Note the validation of an epoch, and print its warnings above the bar."""
        self.validation = validation_words(line)
        for warning in line.get("warnings", ()):
            self.progress.console.print(printable(f"warning: {warning}"), markup=False, highlight=False, soft_wrap=True)


class TrainingLines:
    """Lines for a file or a pipe: the result of an epoch, or the progress of a long one.

    There is at most one line in so many seconds, besides those of the first and the last epoch and the warnings.
    """

    def __init__(self, title: str, every: float = EVERY, clock: Callable[[], float] = time.monotonic) -> None:
        self.title, self.every, self.clock = title, every, clock
        self.epochs, self.steps, self.began, self.done = 0, 0, 0.0, 0
        self.written = 0.0
        self.first = True

    def note(self, text: str) -> None:
        """Print a note."""
        say(f"note: {text}")

    def begin(self, epochs: int, steps: int, done: int) -> None:
        """Note how many epochs and steps there are, and how many steps are done."""
        self.epochs, self.steps, self.done = epochs, steps, done
        self.began = self.written = self.clock()

    def step(self, epoch: int, step: int, steps: int, bound: float) -> None:
        """Print the progress of a long epoch."""
        if self.clock() - self.written >= self.every:
            self._line(epoch, f"step {step}/{steps}  bound {bound:.2f}", (epoch - 1) * steps + step)

    def epoch(self, line: Mapping[str, Any]) -> None:  # Any: a line of metrics.jsonl
        """Print the result of an epoch, and its warnings."""
        for warning in line.get("warnings", ()):
            say(f"warning: {warning}")
        epoch = int(line["epoch"])
        if self.first or epoch == self.epochs or self.clock() - self.written >= self.every:
            self.first = False
            bounds = ", ".join(f"{kind} {value:.2f}" for kind, value in line["bound"].items())
            self._line(epoch, f"bound {bounds}{validation_words(line)}", epoch * self.steps)

    def _line(self, epoch: int, text: str, done: int) -> None:
        self.written = self.clock()
        spent, left = self.written - self.began, self.epochs * self.steps - done
        rest = spent * left / max(1, done - self.done)
        say(f"{self.title}: epoch {epoch}/{self.epochs}  {text}" + (f"  {duration(rest)} left" if left else ""))


def validation_words(line: Mapping[str, Any]) -> str:  # Any: a line of metrics.jsonl
    """Say what validation found."""
    parts = []
    if "validation_bound" in line:
        parts.append(f"validation {line['validation_bound']:.2f}")
    parts += [f"error of {name} {value:.4g}" for name, value in line.get("validation_error", {}).items()]
    return "".join(f"  {part}" for part in parts)


@contextmanager
def training_progress(title: str) -> Iterator[TrainingProgress | TrainingLines]:
    """Show the progress of a training while inside, by lines where standard error is no terminal."""
    if not sys.stderr.isatty():
        yield TrainingLines(title)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        TextColumn("{task.fields[text]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        TimeRemainingColumn(compact=True),
    )
    progress = Progress(*columns, console=Console(file=styled(sys.stderr)), transient=True)
    try:
        yield TrainingProgress(progress, title)
    finally:
        progress.stop()
