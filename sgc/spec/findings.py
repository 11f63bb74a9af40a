"""The faults of a document so far, so that none is reported that merely follows from another."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sgc.errors import LONGEST, Fault, Path, nearest, suggest
from sgc.spec.document import Document, Plain

COMPARED = 10_000_000  # pairs of letters, in looking for what was meant: a spec may have a thousand wrong names
PREPARED = 30  # letters that comparing with a name costs besides


class Findings:
    """The faults of a document, and the places that they make unusable.

    within: the findings of the document that this one was made from, which collect the faults of both.

    A place is `lost` if it lies in something broken, and `hurt` if it is lost or holds something broken. A missing key
    is broken.
    """

    def __init__(self, document: Document, within: Findings | None = None) -> None:
        self.document = document
        self.faults: list[Fault] = [] if within is None else within.faults
        self._compared = 0
        self.faults += document.faults
        self._broken: set[Path] = set()
        self._above: set[Path] = set()  # every path with something broken below it
        for path in document.unread:
            self.breaks(path)

    def breaks(self, path: Path) -> None:
        """Note that the value at a path is wrong or missing."""
        self._broken.add(path)
        self._above.update(path[:n] for n in range(len(path)))

    @property
    def broken(self) -> frozenset[Path]:
        """The places that cannot be used."""
        return frozenset(self._broken)

    def lost(self, *path: str | int) -> bool:
        """Say whether a place lies in something broken."""
        return any(path[:n] in self._broken for n in range(len(path) + 1))

    def hurt(self, *path: str | int) -> bool:
        """Say whether a place lies in something broken, or holds it."""
        return path in self._above or self.lost(*path)

    def add(self, path: Path, message: str, hint: str = "", *, at: str = "value", about: Path | None = None) -> None:
        """Report a fault at a path, unless what it is about (the path itself, or what is missing below) is lost."""
        about = path if about is None else about
        if not self.lost(*about):
            self.faults.append(self.document.fault(path, message, hint, at=at, about=about))
            self.breaks(about)

    def suggest(self, word: str, allowed: Callable[[], Iterable[str]]) -> str:
        """Suggest what was probably meant, as `errors.suggest`; nothing after `COMPARED` in one document.

        allowed: gives the names that are allowed there.
        """
        words = self._comparable(word, allowed)
        return suggest(word, words) if words else ""

    def nearest(self, word: str, allowed: Callable[[], Iterable[str]]) -> str:
        """Return the name most like a word, as `errors.nearest`; an empty string after `COMPARED`."""
        return nearest(word, self._comparable(word, allowed))

    def _comparable(self, word: str, allowed: Callable[[], Iterable[str]]) -> list[str]:
        """Return the names with which a word may be compared."""
        if self._compared > COMPARED:
            return []
        words = list(allowed())
        self._compared += sum(min(len(word), LONGEST) * min(len(name), LONGEST) + PREPARED for name in words)
        return words if self._compared <= COMPARED else []

    def at(self, *path: str | int) -> Plain:
        """Return what is written at a path and can be used; None if there is nothing."""
        return self.document.get(path) if not self.lost(*path) and self.document.has(path) else None

    def keys(self, *path: str | int) -> list[str]:
        """List the keys written in the mapping at a path; none if there is no mapping."""
        written = self.at(*path)
        return list(written) if isinstance(written, dict) else []

    def words(self, *path: str | int) -> list[tuple[Path, str]]:
        """List the strings in the list at a path, with their places; none if there is no list."""
        written = self.at(*path)
        places = [((*path, i), word) for i, word in enumerate(written)] if isinstance(written, list) else []
        return [(place, word) for place, word in places if isinstance(word, str) and not self.lost(*place)]
