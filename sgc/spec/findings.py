"""What is known to be wrong with a document, so that no fault is reported that merely follows from another."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sgc.errors import LONGEST, Fault, Path, nearest, suggest
from sgc.spec.document import Document, Plain

COMPARED = 10_000_000  # pairs of letters, in looking for what was meant: a spec may have a thousand wrong names
PREPARED = 30  # letters that a name which is compared costs besides


class Findings:
    """The faults of a document, and the places that they make unusable.

    within: of a document that another was rewritten to, the findings of that one. They collect the faults of both.

    A place is `lost` where it lies in something broken, and `hurt` where, besides, something in it is broken. What is
    missing counts as broken where it should stand.
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
        """Note that what stands at a path, or should, cannot be used."""
        self._broken.add(path)
        self._above.update(path[:n] for n in range(len(path)))

    @property
    def broken(self) -> frozenset[Path]:
        """The places that cannot be used."""
        return frozenset(self._broken)

    def lost(self, *path: str | int) -> bool:
        """Tell whether a place lies in something broken."""
        return any(path[:n] in self._broken for n in range(len(path) + 1))

    def hurt(self, *path: str | int) -> bool:
        """Tell whether a place lies in something broken, or holds it."""
        return path in self._above or self.lost(*path)

    def add(self, path: Path, message: str, hint: str = "", *, at: str = "value", about: Path | None = None) -> None:
        """Report a fault at a path, unless what it is about (the path itself, or what is missing below) is lost."""
        about = path if about is None else about
        if not self.lost(*about):
            self.faults.append(self.document.fault(path, message, hint, at=at, about=about))
            self.breaks(about)

    def suggest(self, word: str, allowed: Callable[[], Iterable[str]]) -> str:
        """Offer what was probably meant, as `errors.suggest`; nothing after `COMPARED` in one document.

        allowed: gives the names of the spec that could stand there.
        """
        words = self._comparable(word, allowed)
        return suggest(word, words) if words else ""

    def nearest(self, word: str, allowed: Callable[[], Iterable[str]]) -> str:
        """Give the name most like a word, as `errors.nearest`; an empty string after `COMPARED`."""
        return nearest(word, self._comparable(word, allowed))

    def _comparable(self, word: str, allowed: Callable[[], Iterable[str]]) -> list[str]:
        """Give what a word may be compared with."""
        if self._compared > COMPARED:
            return []
        words = list(allowed())
        self._compared += sum(min(len(word), LONGEST) * min(len(each), LONGEST) + PREPARED for each in words)
        return words if self._compared <= COMPARED else []

    def at(self, *path: str | int) -> Plain:
        """Return what is written at a path and can be used; None where nothing is."""
        return self.document.get(path) if not self.lost(*path) and self.document.has(path) else None

    def keys(self, *path: str | int) -> list[str]:
        """List the keys written in the mapping at a path; none where there is no mapping."""
        found = self.at(*path)
        return list(found) if isinstance(found, dict) else []

    def words(self, *path: str | int) -> list[tuple[Path, str]]:
        """List the strings written in the list at a path, with their places; none where there is no list."""
        found = self.at(*path)
        places = [((*path, i), each) for i, each in enumerate(found)] if isinstance(found, list) else []
        return [(place, each) for place, each in places if isinstance(each, str) and not self.lost(*place)]
