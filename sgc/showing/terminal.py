"""What a person sees while a command runs: progress on standard error, and only on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column


class TrainingProgress:
    """A bar over all steps of a run: epoch, bound, error on validation rows, time left."""

    def __init__(self, progress: Progress, title: str) -> None:
        self.progress, self.title = progress, title
        self.task: TaskID | None = None
        self.epochs = 0
        self.validation = ""
        self.shown = 0.0

    def begin(self, epochs: int, steps: int, done: int) -> None:
        """Show the bar; a resumed run starts where it stands."""
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
        """Note what validation found, and say above the bar what is to be warned of."""
        parts = []
        if "validation_bound" in line:
            parts.append(f"validation {line['validation_bound']:.2f}")
        parts += [f"error of {name} {value:.4g}" for name, value in line.get("validation_error", {}).items()]
        self.validation = "".join(f"  {part}" for part in parts)
        for warning in line.get("warnings", ()):
            self.progress.console.print(f"warning: {warning}", markup=False, highlight=False, soft_wrap=True)


class _Quiet:
    def begin(self, epochs: int, steps: int, done: int) -> None:
        """Say nothing."""

    def step(self, epoch: int, step: int, steps: int, bound: float) -> None:
        """Say nothing."""

    def epoch(self, line: Mapping[str, Any]) -> None:  # Any: a line of metrics.jsonl
        """Say nothing."""


@contextmanager
def training_progress(title: str) -> Iterator[TrainingProgress | _Quiet]:
    """Show the progress of a training while inside; nothing where standard error is no terminal."""
    if not sys.stderr.isatty():
        yield _Quiet()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        TextColumn("{task.fields[text]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        TimeRemainingColumn(compact=True),
    )
    progress = Progress(*columns, console=Console(stderr=True), transient=True)
    try:
        yield TrainingProgress(progress, title)
    finally:
        progress.stop()


@contextmanager
def rows_progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show how many rows are done; nothing where standard error is no terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return

    def tell(done: int, total: int) -> None:
        end = "\r\033[K" if done >= total else ""
        print(f"\r{title} {done}/{total} rows{end}", end="", file=sys.stderr, flush=True)

    yield tell
