"""A spec whose repeats and parts are written out, and the place of each piece in the file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from sgc.errors import Fault, Path
from sgc.spec.document import Document
from sgc.spec.findings import Findings


@dataclass(frozen=True)
class Written:
    """A place in the file of the spec or of a part. exact: what lies below it in the expanded spec is in no file."""

    document: Document
    path: Path
    exact: bool = False


@dataclass
class Expanded(Document):
    """Plain data of nodes and features alone; a fault in it is reported at what was written.

    written: by path, the origin of a piece and of all below it; what has no entry was not moved. emptied: what was
    taken out, or is not known, because of faults that are reported already.
    """

    source: Document = field(default_factory=lambda: Document("spec", []))
    written: dict[Path, Written] = field(default_factory=dict)
    emptied: set[Path] = field(default_factory=set)

    def origin(self, path: Path) -> Written:
        """Find where a piece was written."""
        for n in range(len(path), 0, -1):
            origin = self.written.get(path[:n])
            if origin is not None:
                return origin if origin.exact else Written(origin.document, (*origin.path, *path[n:]))
        return Written(self.source, path)

    def fault(self, path: Path, message: str, hint: str = "", *, at: str = "value", about: Path | None = None) -> Fault:
        place = self.origin(path)
        missing = None if about is None else self.origin(about).path
        return place.document.fault(place.path, message, hint, at=at, about=missing)

    def order(self, path: Path) -> tuple[int, int]:
        place = self.origin(path)
        return place.document.order(place.path)

    def broken(self, findings: Findings) -> Iterable[Path]:
        """List the pieces whose origin is broken."""
        yield from self.emptied
        below: dict[Path, list[Path]] = {}
        for broken in findings.broken:
            for n in range(len(broken) + 1):
                below.setdefault(broken[:n], []).append(broken[n:])
        for path, place in self.written.items():
            if place.document is findings.document and not place.exact:
                for suffix in below.get(place.path, ()):
                    yield (*path, *suffix)


def elsewhere(faults: Iterable[Fault], path: Path, *, inside: bool) -> list[Fault]:
    """Put the faults of a part under the key that names it; they keep their own file and line.

    inside: the part is written in the same file, below that key.
    """
    return [replace(fault, path=(*path, *fault.path)) if inside or not fault.line else fault for fault in faults]
