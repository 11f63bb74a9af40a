"""What a user is told when something is wrong: where it stands, what was found, what was allowed, the likely fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

Path = tuple[str | int, ...]

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


def suggest(word: str, allowed: Iterable[str]) -> str:
    """Offer what the user probably meant, from what is valid at that spot.

    >>> suggest("yy", ["x", "y", "z"])
    "did you mean 'y'?"
    >>> suggest("foo", ["elbo", "iwae"])
    'allowed: elbo, iwae'
    """
    words = sorted({str(each) for each in allowed}, key=lambda each: (each.lower(), each))
    folded = {each.lower(): each for each in reversed(words)}
    near = difflib.get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    if not near and len(word) == 1:
        near = []
    if near:
        return f"did you mean '{folded[near[0]]}'?"
    if not words:
        return ""
    if len(words) <= LISTED:
        return "allowed: " + ", ".join(words)
    nearest = difflib.get_close_matches(word.lower(), folded, n=3, cutoff=0.0)
    return "nearest: " + ", ".join(folded[each] for each in nearest)


@dataclass(frozen=True)
class Fault:
    """One fault of a spec: its place, what is wrong in words, and a hint that stands beside the caret.

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
        path = path_text(self.path)
        head = f"{self.place}: {path}: {self.message}" if path else f"{self.place}: {self.message}"
        if not self.line or self.flag:
            return f"{head} ({self.hint})" if self.hint else head
        gutter = f"{self.line:5d} | "
        # a tab stays a tab above the caret, so that both lines move alike in a terminal
        lead = "".join("\t" if letter == "\t" else " " for letter in self.source[: self.column - 1])
        caret = " " * (len(gutter) - 2) + "| " + lead + "^" * max(1, self.width)
        return "\n".join([head, gutter + self.source, caret + (f" {self.hint}" if self.hint else "")])


class SpecError(Exception):
    """A spec that cannot be used; `faults` holds everything that is wrong with it, in the order of the file."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


class DataError(Exception):
    """Data that cannot be used: the file and the row where they are known, and what is wrong.

    >>> print(DataError("found 12, wanted a category from 0 to 9", file="train.npz", row=3))
    train.npz: row 3: found 12, wanted a category from 0 to 9
    """

    def __init__(self, message: str, file: str | None = None, row: int | None = None) -> None:
        self.message, self.file, self.row = message, file, row
        where = [part for part in (file, None if row is None else f"row {row}") if part]
        super().__init__(": ".join([*where, message]))


class UsageError(Exception):
    """A command or call that cannot be carried out as given: a wrong flag, a run folder that is not one."""


class RunError(Exception):
    """A run that failed while running: a term that is not a number, at a named node and step."""


@dataclass
class FaultList:
    """Collects faults and remembers which places are already known to be wrong, so that none is reported twice over."""

    faults: list[Fault] = field(default_factory=list)
    tainted: set[Path] = field(default_factory=set)

    def taint(self, path: Path) -> None:
        self.tainted.add(path)

    def is_tainted(self, path: Path) -> bool:
        """Tell whether something at, above or below this place is wrong already."""
        size = len(path)
        return any(path[: len(each)] == each or each[:size] == path for each in self.tainted)
