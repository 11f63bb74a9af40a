"""Progress over rows on standard error: one line that changes on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sgc.report.standard_streams import say, styled

EVERY = 10.0  # s between two lines


class RowLines:
    """Lines for a file or a pipe: how many rows are done, at most one in so many seconds."""

    def __init__(self, title: str, every: float = EVERY, clock: Callable[[], float] = time.monotonic) -> None:
        self.title, self.every, self.clock = title, every, clock
        self.began = self.written = clock()

    def show(self, done: int, total: int) -> None:
        """Print how many rows are done and how long the rest may take; once all are done, nothing."""
        now = self.clock()
        if done < total and now - self.written >= self.every:
            self.written = now
            rest = (now - self.began) * (total - done) / max(1, done)
            say(f"{self.title}: {done} of {total} rows  {duration(rest)} left")


def duration(seconds: float) -> str:
    """Write a time roughly.

    >>> duration(3.2), duration(200), duration(7300)
    ('3 s', '3 min', '2 h 2 min')
    """
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


@contextmanager
def rows_progress(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show how many rows are done, by lines where standard error is no terminal."""
    if not sys.stderr.isatty():
        yield RowLines(title).show
        return

    def show(done: int, total: int) -> None:
        end = "\r\033[K" if done >= total else ""
        print(f"\r{title} {done}/{total} rows{end}", end="", file=styled(sys.stderr), flush=True)

    yield show


class RowRate:
    """Progress over very many rows, with how many a second: those that are checked, then those that are predicted."""

    def __init__(self, every: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin. every: seconds between two lines; None: a tenth on a terminal, ten elsewhere."""
        self.live = sys.stderr.isatty()
        self.every = (0.1 if self.live else EVERY) if every is None else every
        self.clock = clock
        self.began = self.written = clock()
        self.before: int | None = None  # rows that were predicted before
        self.done = 0  # since then
        self.shown = False

    def note(self, text: str) -> None:
        """Print a note on a line of its own."""
        self.clear()
        say(f"note: {text}")

    def checked(self, rows: int) -> None:
        """Show how many rows are read and checked."""
        if self._due():
            self._show(f"checking: {rows:,} rows  {rows / self._spent():,.0f} rows/s")

    def predicted(self, done: int, total: int) -> None:
        """Show how many rows are done, and how long the rest may take; the first call says what was done before."""
        if self.before is None:
            self.before, self.began = done, self.clock()
        self.done = done - self.before
        if done >= total:
            self.clear()
        elif self.done and self._due():
            rate = self.done / self._spent()
            rest = duration((total - done) / rate)
            self._show(f"predicting: {done:,} of {total:,} rows  {rate:,.0f} rows/s  {rest} left")

    def ended(self, seconds: float) -> None:
        """Say how fast it was, if it took longer than one cares to wait. seconds: that this process predicted."""
        if seconds >= EVERY and self.done:
            say(f"predicted {self.done:,} rows in {duration(seconds)}, {self.done / seconds:,.0f} rows/s")

    def clear(self) -> None:
        """Take away the line that changes."""
        if self.shown and self.live:
            print("\r\033[K", end="", file=styled(sys.stderr), flush=True)
        self.shown = False

    def _spent(self) -> float:
        return max(1e-9, self.clock() - self.began)

    def _due(self) -> bool:
        due = self.clock() - self.written >= self.every
        if due:
            self.written = self.clock()
        return due

    def _show(self, text: str) -> None:
        self.shown = True
        if self.live:
            print(f"\r{text}\033[K", end="", file=styled(sys.stderr), flush=True)
        else:
            say(text)
