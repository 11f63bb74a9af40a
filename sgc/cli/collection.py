"""When python searches memory for garbage: seldom while a command starts, as what is imported stays."""

from __future__ import annotations

import atexit
import contextlib
import gc
from collections.abc import Iterator

USUAL = gc.get_threshold()
STARTING = 100_000  # new objects before a search; with the usual 700 searches take a quarter of the time of `sgc check`


@contextlib.contextmanager
def collecting_seldom() -> Iterator[None]:
    """Search seldom while a command runs, or until it asks for `collect_as_usual`; and not at all when python ends."""
    atexit.register(gc.freeze)
    gc.set_threshold(STARTING)
    try:
        yield
    finally:
        collect_as_usual()


def collect_as_usual() -> None:
    """Search as python does: said by a command that has imported what it needs and now works for long."""
    gc.freeze()
    gc.unfreeze()  # what is there counts as old, or else all of it would be searched at once
    gc.set_threshold(*USUAL)
