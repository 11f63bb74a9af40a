"""A bound of a processor's time, which ends what hangs with the place that it hung at."""

from __future__ import annotations

import contextlib
import signal
import traceback
from collections.abc import Iterator
from types import FrameType

SECONDS = 60  # of a processor, that one command may take


class TooLong(BaseException):
    """Something ran longer than it may; no handler of exceptions takes it for one of its own."""


@contextlib.contextmanager
def bounded(seconds: float = SECONDS) -> Iterator[None]:
    """Stop what runs longer. Raises: TooLong, with the last calls."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLong(f"not done after {seconds} s\n{''.join(traceback.format_stack(frame)[-12:])}")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
