"""Values set from outside the file, as by `--set key=value`: dots between keys, [i] for entries of lists.

`--set key=` takes a key out, as if it had not been written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sgc.errors import Fault, Path, SpecError, nearest, option, path_text, suggest
from sgc.spec.document import Document, Plain, parse
from sgc.value_words import describe

_ASSIGNMENT = re.compile(r"^\s*([A-Za-z_][^=]*?)\s*=(.*)$", re.DOTALL)
_STEP = re.compile(r"\.|\[|\]\.?")
_INDEX = re.compile(r"^[0-9]{1,9}$")


class _Refused(Exception):
    """Why a value cannot be set."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def override(document: Document, assignments: Sequence[str]) -> None:
    """Set values in a document, or take them out; faults name the flag and are added to the document's."""
    for text in assignments:
        flag = option("set", text, python=f"overrides: {text}")
        match = _ASSIGNMENT.match(text)
        if not match:
            hint = "for example train.epochs=10"
            document.faults.append(Fault((), "expected key=value", hint, document.file, flag=flag))
            continue
        path = tuple(int(part) if _INDEX.match(part) else part for part in _STEP.split(match[1]) if part)
        try:
            taken_out = not match[2].strip()
            value = None if taken_out else _value(match[2])
            if not isinstance(document.data, dict):  # the fault of the file is reported elsewhere
                continue
            if taken_out:
                _take_out(document, path, flag)
            else:
                _assign(document, path, value, flag)
        except _Refused as problem:
            document.faults.append(Fault(path, str(problem), problem.hint, document.file, flag=flag))


def _value(text: str) -> Plain:
    """Read the value of an assignment, which is YAML; a comment alone is an empty value."""
    if not text.partition("#")[0].strip():
        return None
    try:
        document = parse(text, option("set", python="overrides"))
    except SpecError as problem:
        raise _Refused(problem.faults[0].message) from None
    if document.faults:
        raise _Refused(document.faults[0].message)
    return document.data


def _take_out(document: Document, path: Path, flag: str) -> None:
    """Take a key and all below it out of its mapping; mappings that were made for it alone go, too."""
    set_before = document.flags.get(path)
    value = document.data
    for depth, part in enumerate(path):
        above = path_text(path[:depth])
        kind, last = type(value), depth == len(path) - 1
        if kind is list and last:
            raise _Refused(f"'{above}' is a list: set the whole of it to leave an entry out")
        if kind not in (dict, list):
            raise _Refused(f"'{above}' is {describe(value)}, there is nothing below it")
        keys: list[str | int] = list(value) if kind is dict else list(range(len(value)))
        if part not in keys:
            parent, written = f"'{above}'" if above else "the spec", [str(key) for key in keys]
            near = nearest(str(part), written)
            hint = f"did you mean '{near}'?" if near else f"written: {', '.join(written)}" if written else ""
            raise _Refused(f"nothing to take out: {parent} has no '{part}'", hint)
        if last:
            del value[part]
        else:
            value = value[part]
    for flagged in [flagged for flagged in document.flags if flagged[: len(path)] == path]:
        del document.flags[flagged]  # of what was set before
    document.flags[path] = flag
    for depth in range(len(path) - 1, 0, -1):
        if (
            set_before is None
            or document.flags.get(path[:depth]) != set_before
            or not _drop_empty(document, path[:depth])
        ):
            return
        document.flags[path[:depth]] = flag


def _drop_empty(document: Document, path: Path) -> bool:
    """Take a mapping out if nothing is left in it; say whether it was."""
    holder = document.data
    for step in path[:-1]:
        holder = holder[step]
    if holder[path[-1]]:
        return False
    del holder[path[-1]]
    return True


def _assign(document: Document, path: Path, value: Plain, flag: str) -> None:
    """Set a value, and make the mappings above it that do not exist."""
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
