"""Standard output and error: text that their encoding lacks is spelled in ASCII, and none of it commands a terminal.

Whatever a command prints may come from a stranger's spec, data or file names. So each character that is not printable
is written as its escape; only what we style ourselves, and have made printable before, reaches the stream as it is.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, cast

from sgc.errors import printable
from sgc.report.ascii_forms import ascii_form

SPELLED = "sgc.ascii_forms"  # the handler of errors for letters that an encoding lacks


def visible(text: str) -> str:
    """Escape what would command a terminal or has no encoding; lines and tabs stay.

    >>> print(visible("a\\x1b[31mb"))
    a\\x1b[31mb
    """
    return re.sub(r"[^\n\t -~]", lambda match: printable(match[0]), text)


def say(text: str) -> None:
    """Write a message on one line of standard error: a name in it that has line breaks shows them as their escapes."""
    print(printable(text), file=sys.stderr, flush=True)


def visible_json(text: str, encoding: str | None) -> str:
    """Escape, as JSON does, what an encoding lacks or a terminal would obey; the value stays the same.

    >>> visible_json('"Σ"', "ascii"), visible_json('"Σ"', "utf-8")
    ('"\\\\u03a3"', '"Σ"')
    """

    def shown(match: re.Match[str]) -> str:
        letter = match[0]
        with contextlib.suppress(UnicodeEncodeError):
            letter.encode(encoding or "utf-8")
            if letter.isprintable():
                return letter
        return json.dumps(letter)[1:-1]

    return re.sub(r"[^\n -~]", shown, text)


class StandardStream:
    """A standard stream that writes everything visibly.

    styled: what is written was made visible before, and carries our own escape sequences. needed: a command whose
    stream can no longer be written ends, as its result is lost; without it, messages are dropped.
    """

    def __init__(self, stream: TextIO, name: str, *, needed: bool, styled: bool = False) -> None:
        self.stream, self.name, self.needed, self.styled = stream, name, needed, styled

    def write(self, text: str) -> int:
        """Write a text; give its length, as a stream does. Raises: OSError, of a needed stream."""
        if not isinstance(text, str):
            raise TypeError(f"found {type(text).__name__}, wanted a str")
        with self._writing():
            self.stream.write(text if self.styled else visible(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with self._writing():
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:  # Any: whatever else a stream has
        if name == "buffer":  # writing bytes there would bypass this
            raise AttributeError(name)
        return getattr(self.stream, name)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.stream.fileno())  # what waits in its buffer goes there, now or at the end
            os.close(null)
            if self.needed:
                problem.filename = self.name
                raise


def styled(stream: TextIO) -> TextIO:
    """Give the stream for text with escape sequences of our own, of which the rest was made visible before."""
    if not isinstance(stream, StandardStream):
        return stream
    return cast(TextIO, StandardStream(stream.stream, stream.name, needed=stream.needed, styled=True))


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """Write standard output and error visibly while inside; one that is closed takes everything and keeps nothing."""
    codecs.register_error(SPELLED, _spell)
    for descriptor in range(3):
        _open_closed(descriptor)
    before = sys.stdout, sys.stderr
    out, err = (_nowhere() if stream is None or stream.closed else stream for stream in before)
    for stream in (out, err):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=SPELLED)
    sys.stdout = cast(TextIO, StandardStream(out, "standard output", needed=True))
    sys.stderr = cast(TextIO, StandardStream(err, "standard error", needed=False))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # reported already, when it was written
            sys.stdout.flush()
        sys.stdout, sys.stderr = before


def _spell(problem: UnicodeError) -> tuple[str, int]:
    if not isinstance(problem, UnicodeEncodeError):
        raise problem
    return ascii_form(problem.object[problem.start : problem.end]), problem.end


def _open_closed(descriptor: int) -> None:
    """Let a closed standard descriptor lead nowhere, or else the next file that is opened takes its place."""
    try:
        os.fstat(descriptor)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # it takes the lowest that is free


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")
