"""The tables of faults in `tests/faults/`: broken specs and the whole message of each, one file a section of it.

A case begins with `=` and its title; then come the edits of the valid spec of `test_faults` (`<` what is taken out,
`>` what is put in; `@` another text instead) and flags (`!`), with backslash escapes; the rest is the message, whole.
People write the edits, `pytest tests/test_faults.py --update-faults` the messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "faults"
MARKS = ("< ", "> ", "@ ", "! ", ">", "@")  # a bare `>` or `@` puts nothing there


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the flag that writes the messages; `conftest` hands it on."""
    words = "write into tests/faults what the faults of specs are told now, then read git diff tests/faults"
    parser.addoption("--update-faults", action="store_true", help=words)


@dataclass(frozen=True)
class Case:
    """One broken spec: where it is written, what is changed in the valid spec, and the message that it has to get."""

    file: Path
    title: str
    edits: tuple[str, ...]  # the marked lines, as they stand in the file
    message: str

    @property
    def place(self) -> str:
        """Name the case in the words of its file."""
        return f"{self.file.stem}: {self.title}"

    @property
    def flags(self) -> tuple[str, ...]:
        return tuple(line[2:] for line in self.edits if line[:1] == "!")

    def broken(self, valid: str) -> str:
        """Make the broken text out of the valid one."""
        text, taken = valid, ""
        for line in self.edits:
            mark, words = line[:1], unescaped(line[2:])
            if mark == "<":
                taken = words
                assert taken in text, f"{self.place}: {taken!r} does not stand in the spec"
            elif mark == ">":
                text = text.replace(taken, words, 1)
            elif mark == "@":
                text = words
        return text


def unescaped(text: str) -> str:
    return re.sub(r"\\(x..|.)", lambda m: {"n": "\n", "t": "\t", "r": "\r"}.get(m[1]) or letter(m[1]), text)


def letter(code: str) -> str:
    return chr(int(code[1:], 16)) if len(code) == 3 else code


def read(folder: Path = FOLDER) -> list[Case]:
    """List the cases of all tables, by file."""
    return [case for file in sorted(folder.glob("*.txt")) for case in cases(file)]


def cases(file: Path) -> Iterator[Case]:
    for block in re.split(r"\n?^= ", file.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title, *lines = block.rstrip("\n").split("\n")
        end = next((i for i, line in enumerate(lines) if line[:2] not in MARKS), len(lines))
        yield Case(file, title, tuple(lines[:end]), "\n".join(lines[end:]))


def written(table: Sequence[Case]) -> str:
    """Write the cases of one file as its text."""
    blocks = (["= " + case.title, *case.edits, *([case.message] if case.message else [])] for case in table)
    return "\n".join("\n".join(block) + "\n" for block in blocks)


def update(changed: Case, message: str) -> None:
    """Put a new message into the file of a case; every other case there stays as it is."""
    table = [
        Case(c.file, c.title, c.edits, message if c.title == changed.title else c.message) for c in cases(changed.file)
    ]
    changed.file.write_text(written(table), encoding="utf-8")
