"""A spec whose repeats and parts are written out, and where each piece of it was written before."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from sgc.errors import Fault, Path
from sgc.language.document import Document
from sgc.language.findings import Findings

_STEP = re.compile(r"@[\d.]+")
_QUOTED = re.compile(r"'([^']*)'")
_LISTED = re.compile(r"^(allowed|nearest|written): (.*)$")


@dataclass(frozen=True)
class Written:
    """A place in a file: of the spec itself, or of a part's. exact: what stands below was written nowhere."""

    document: Document
    path: Path
    exact: bool = False


@dataclass
class Expanded(Document):
    """Plain data of nodes and features alone; a fault in it is told at what was written.

    written: by path, where a piece and all below it come from; what has no entry stands where it stood. emptied: what
    was taken out for its faults, or is not known for those of others, which are told already. called: in words, by flat
    name, what nobody gave that name.
    """

    source: Document = field(default_factory=lambda: Document("spec", []))
    written: dict[Path, Written] = field(default_factory=dict)
    emptied: set[Path] = field(default_factory=set)
    called: dict[str, str] = field(default_factory=dict)

    def origin(self, path: Path) -> Written:
        """Find where a piece was written."""
        for n in range(len(path), 0, -1):
            found = self.written.get(path[:n])
            if found is not None:
                return found if found.exact else Written(found.document, (*found.path, *path[n:]))
        return Written(self.source, path)

    def fault(self, path: Path, message: str, hint: str = "", *, at: str = "value", about: Path | None = None) -> Fault:
        place = self.origin(path)
        told = None if about is None else self.origin(about).path
        words = without_steps(_QUOTED.sub(lambda quoted: self.called.get(quoted[1], quoted[0]), message))
        return place.document.fault(place.path, words, plain_hint(hint), at=at, about=told)

    def order(self, path: Path) -> tuple[int, int]:
        place = self.origin(path)
        return place.document.order(place.path)

    def broken(self, findings: Findings) -> Iterable[Path]:
        """List what cannot be used because of what was written for it."""
        yield from self.emptied
        below: dict[Path, list[Path]] = {}
        for broken in findings.broken:
            for n in range(len(broken) + 1):
                below.setdefault(broken[:n], []).append(broken[n:])
        for path, place in self.written.items():
            if place.document is findings.document and not place.exact:
                for rest in below.get(place.path, ()):
                    yield (*path, *rest)


def without_steps(text: str) -> str:
    """Take the marks of steps out of names, which no file has.

    >>> without_steps("'digit.z@2' reads 'digit.z@1'")
    "'digit.z' reads 'digit.z'"
    """
    return _STEP.sub("", text)


def plain_hint(hint: str) -> str:
    """Take the marks of steps out of a hint, and each word that then stands twice.

    >>> plain_hint("allowed: k, digit.z@1, digit.z@2")
    'allowed: k, digit.z'
    """
    listed = _LISTED.match(hint)
    if not listed:
        return without_steps(hint)
    words = dict.fromkeys(without_steps(word) for word in listed[2].split(", "))
    return f"{listed[1]}: {', '.join(words)}"


def elsewhere(faults: Iterable[Fault], path: Path, *, inside: bool) -> list[Fault]:
    """Put the faults of a part under the key that names it; they keep their own file and line.

    inside: it stands in the same file, where that key is above it.
    """
    return [replace(fault, path=(*path, *fault.path)) if inside or not fault.line else fault for fault in faults]
