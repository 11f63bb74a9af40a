"""The lines of a text file, of which none is so long that it fills the memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from sgc.errors import DataError

LONGEST = 1 << 26  # letters of a line: a million numbers take a quarter of it


def text_lines(text: io.TextIOWrapper, path: Path) -> Iterator[str]:
    """Give the lines of a file; a few kilobytes of gzip may hold one that fills the memory. Raises: DataError."""
    while line := text.readline(LONGEST):
        if len(line) == LONGEST:
            raise DataError(f"a line of {LONGEST:,} letters or more, which is not read: not a csv file", file=str(path))
        yield line
