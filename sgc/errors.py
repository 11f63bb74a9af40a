"""Faults and errors in words: where it is, what was found, what is allowed, and the likely fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path as FilePath
from stat import S_IFBLK, S_IFCHR, S_IFIFO, S_IFMT, S_IFSOCK
from unicodedata import east_asian_width

Path = tuple[str | int, ...]

WINDOW = 400  # letters of a source line that are shown
LONGEST = 100  # letters of a word that are compared
LISTED = 12  # allowed words are listed up to this many; of more, the nearest is offered


def path_text(path: Path) -> str:
    """Write a path as users do.

    >>> path_text(("nodes", "z", "recognition", "parents", 1))
    'nodes.z.recognition.parents[1]'
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def nearest(word: str, allowed: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Give the allowed word most like `word`, upper and lower case alike; an empty string where none is.

    >>> nearest("yy", ["x", "y", "z"]), nearest("foo", ["elbo", "iwae"])
    ('y', '')
    """
    folded = {candidate[:LONGEST].lower(): candidate for candidate in sorted(set(allowed), reverse=True)}
    matches = difflib.get_close_matches(word[:LONGEST].lower(), sorted(folded), n=1, cutoff=cutoff)
    return folded[matches[0]] if matches else ""


def suggest(word: str, allowed: Iterable[str]) -> str:
    """Offer what the user probably meant, from what is valid at that spot.

    >>> suggest("yy", ["x", "y", "z"])
    "did you mean 'y'?"
    >>> suggest("foo", ["elbo", "iwae"])
    'allowed: elbo, iwae'
    """
    words = sorted(set(allowed), key=lambda candidate: (candidate.lower(), candidate))
    near = nearest(word, words)
    if near:
        return f"did you mean '{near}'?"
    if len(words) <= LISTED:
        return "allowed: " + ", ".join(words) if words else ""
    by_start = {candidate[:LONGEST]: candidate for candidate in reversed(words)}
    return "nearest: " + ", ".join(
        by_start[candidate] for candidate in difflib.get_close_matches(word[:LONGEST], by_start, 3, 0.0)
    )


_IN_SHELL: ContextVar[bool] = ContextVar("in_shell", default=False)


@contextmanager
def in_shell() -> Iterator[None]:
    """Word options as flags while inside, for a reader at the command line."""
    before = _IN_SHELL.set(True)
    try:
        yield
    finally:
        _IN_SHELL.reset(before)


def is_shell() -> bool:
    """Tell whether options are worded as flags here."""
    return _IN_SHELL.get()


def option(name: str, value: str = "", *, python: str = "") -> str:
    """Name an option as the reader would give it: a flag in the shell, an argument in Python.

    value: what it is set to; `-` for a flag without a value. python: all of it in Python, where that differs.

    >>> option("force", "-"), option("split", "test"), option("given")
    ('force=True', "split='test'", 'given')
    >>> with in_shell():
    ...     option("force", "-"), option("split", "test"), option("given")
    ('--force', '--split test', '--given')
    """
    if _IN_SHELL.get():
        return f"--{name} {value}".removesuffix(" -").rstrip()
    return python or (f"{name}={'True' if value == '-' else repr(value)}" if value else name)


@contextmanager
def writing(path: object) -> Iterator[None]:
    """Name the file in an error of the disk: a write to a full one fails without naming its file."""
    try:
        yield
    except OSError as problem:
        problem.filename = str(path)
        raise


def printable(text: str) -> str:
    """Escape what would break a line, command the terminal or have no encoding: a byte of a file name, by itself.

    >>> printable("a\\nb"), printable("a\\udcffb")
    ('a\\\\nb', 'a\\\\xffb')
    """
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":  # how Python carries a byte of a name that is no UTF-8
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode()


@dataclass(frozen=True)
class Fault:
    """One fault of a spec: its place, what is wrong in words, and a hint beside the caret.

    `line` and `column` count from 1; `width` is how many characters the caret underlines. `flag` names the command-line
    override that brought the value in, where it did not come from the file. Line 0: no place in a text is known.
    """

    path: Path
    message: str
    hint: str = ""
    file: str = "spec"
    line: int = 0
    column: int = 0
    width: int = 1
    source: str = ""
    flag: str = ""

    @property
    def place(self) -> str:
        if self.flag:
            return self.flag
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    def __str__(self) -> str:
        return "".join(text for _, text in self.pieces())

    def pieces(self) -> list[tuple[str, str]]:
        """Give the text in pieces, each with its role: the head, the source line with its gutter, and the caret."""
        path = path_text(self.path)
        head = printable(f"{self.place}: {path}: {self.message}" if path else f"{self.place}: {self.message}")
        hint = printable(self.hint)
        if not self.line or self.flag:
            return [("head", f"{head} ({hint})" if hint else head)]
        source, start = self.source, self.column - 1
        if len(source) > WINDOW:  # a wall of brackets helps nobody
            cut = max(0, start - WINDOW // 4)
            source, start = source[cut : cut + WINDOW], start - cut
        source = "".join(c if c.isprintable() or c == "\t" else "?" for c in source)
        gutter = f"{self.line:5d} | "
        # a tab stays a tab above the caret, so that both lines move alike in a terminal; wide letters fill two cells
        lead = "".join("\t" if c == "\t" else "  " if east_asian_width(c) in "WF" else " " for c in source[:start])
        caret = "^" * max(1, min(self.width, len(source) - start))
        below = "\n" + " " * (len(gutter) - 2) + "| "
        return [
            ("head", head),
            ("source", f"\n{gutter}{source}{below}"),
            ("caret", lead + caret + (f" {hint}" if hint else "")),
        ]


class SpecError(Exception):
    """A spec that cannot be used; `faults` holds everything that is wrong with it, in the order of the file."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class OutlineFault(Exception):
    """What cannot be resolved: the keys below the name at which it is, in words, with a hint.

    `missing` is the key that should be there.
    """

    def __init__(
        self, below: tuple[str | int, ...], message: str, hint: str = "", *, at: str = "value", missing: str = ""
    ) -> None:
        super().__init__(message)
        self.below, self.message, self.hint, self.at, self.missing = below, message, hint, at, missing


class DataError(Exception):
    """Data that cannot be used: the file and the row where they are known, and what is wrong.

    >>> print(DataError("found 12, wanted a category from 0 to 9", file="train.npz", row=3))
    train.npz: row 3: found 12, wanted a category from 0 to 9
    """

    def __init__(self, message: str, file: str | None = None, row: int | None = None) -> None:
        self.message, self.file, self.row = message, file, row
        place = [part for part in (file, None if row is None else f"row {row}") if part]
        super().__init__(": ".join([*place, message]))


def special_file(path: FilePath) -> str:
    """Name the kind of special file at a path, such as a pipe, which is never opened; '' for any other path."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # opening it says why
        return ""
    kinds = {S_IFIFO: "a named pipe", S_IFSOCK: "a socket", S_IFCHR: "a device", S_IFBLK: "a device"}
    return kinds.get(S_IFMT(mode), "")


def check_regular(path: FilePath) -> None:
    """Check that a file of data is no special file. Raises: DataError."""
    if kind := special_file(path):
        raise DataError(f"is {kind}, wanted a regular file", file=str(path))


def check_run_file(path: FilePath) -> None:
    """Check that a file of a run is no special file. Raises: UsageError."""
    if kind := special_file(path):
        raise UsageError(f"{path}: is {kind}, wanted a file of a run")


def check_text(name: str) -> None:
    """Check that the name of a file is text, so that a spec or a record of a run can hold it.

    Raises:
        DataError: it has bytes that are no UTF-8, which Python carries as surrogates.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError("its name is not text in UTF-8: rename it", file=name) from None


class UsageError(Exception):
    """A command or call that cannot be carried out as given: a wrong flag, a run folder that is not one."""


class RunError(Exception):
    """A run that failed while running: a term that is not a number, at a named node and step."""


class ProcessLost(RunError):
    """Another process of this training does not answer any more."""


class Interrupted(Exception):
    """The run was asked to stop, and its checkpoint is written."""


class ParameterError(RunError):
    """A parameter of a value that no distribution can have; `of` names the distribution it belongs to.

    >>> print(ParameterError("'rate' is nan in row 3, wanted a number above 0", of="p(x | z)"))
    p(x | z): 'rate' is nan in row 3, wanted a number above 0
    """

    def __init__(self, message: str, of: str = "") -> None:
        self.message, self.of = message, of
        super().__init__(f"{of}: {message}" if of else message)


def is_about_memory(problem: BaseException) -> bool:
    """Tell whether an error says, in one of torch's many ways, that memory has run out."""
    words = ("out of memory", "not enough memory", "can't allocate memory")
    matches = isinstance(problem, RuntimeError) and any(phrase in str(problem) for phrase in words)
    return matches or isinstance(problem, MemoryError)
