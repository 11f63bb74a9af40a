"""Values set from outside the file, as `--set key=value` does: dots between keys, [i] for entries of lists."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sgc.errors import Fault, Path, SpecError, path_text, suggest
from sgc.language.document import Document, Plain, describe, parse

_ASSIGNMENT = re.compile(r"^\s*([A-Za-z_][^=]*?)\s*=(.*)$", re.DOTALL)
_STEP = re.compile(r"\.|\[|\]\.?")
_INDEX = re.compile(r"^[0-9]{1,9}$")


class _Refused(Exception):
    """Why a value cannot be set."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def override(document: Document, assignments: Sequence[str]) -> None:
    """Set values in a document; what is wrong with an assignment is added to its faults, naming the flag."""
    for text in assignments:
        flag = f"--set {text}"
        match = _ASSIGNMENT.match(text)
        if not match:
            hint = "for example train.epochs=10"
            document.faults.append(Fault((), "expected key=value", hint, document.file, flag=flag))
            continue
        path = tuple(int(part) if _INDEX.match(part) else part for part in _STEP.split(match[1]) if part)
        try:
            value = _value(match[2])
            if isinstance(document.data, dict):  # else the file's own fault is told elsewhere
                _assign(document, path, value, flag)
        except _Refused as problem:
            document.faults.append(Fault(path, str(problem), problem.hint, document.file, flag=flag))


def _value(text: str) -> Plain:
    """Read the value of an assignment, which is YAML; nothing, or only a comment, is the empty value."""
    if not text.partition("#")[0].strip():
        return None
    try:
        document = parse(text, "--set")
    except SpecError as problem:
        raise _Refused(problem.faults[0].message) from None
    if document.faults:
        raise _Refused(document.faults[0].message)
    return document.data


def _assign(document: Document, path: Path, value: Plain, flag: str) -> None:
    """Set a value, making the mappings above it where there are none."""
    here, last = document.data, len(path) - 1
    for depth, part in enumerate(path):
        above = path_text(path[:depth])
        if isinstance(here, list):
            if not isinstance(part, int) or part >= len(here):
                entries = f"{len(here)} {'entry' if len(here) == 1 else 'entries'}"
                raise _Refused(f"'{above}' is a list of {entries}", suggest(str(part), map(str, range(len(here)))))
        elif not isinstance(here, dict):
            raise _Refused(f"'{above}' is {describe(here)}, nothing can be set below it")
        elif isinstance(part, int):
            raise _Refused(f"'{above}' is a mapping, it has no entry {part}")
        elif part not in here:
            document.flags[path[: depth + 1]] = flag
            here[part] = {}
        if depth == last:
            here[part] = value
        else:
            here = here[part]
    document.flags[path] = flag
