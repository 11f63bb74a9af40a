"""The best epoch of a run, from the lines of its metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def best_line(lines: Iterable[dict[str, Any]]) -> dict[str, Any] | None:  # Any: what JSON can say
    """Give the last line that was the best so far; None where there is none."""
    return max((line for line in lines if line.get("best")), key=lambda line: int(line["epoch"]), default=None)
