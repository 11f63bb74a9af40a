"""The names of a spec by the repeat or part that they stand in, and what a name means to whoever reads it.

A repeat sees what is around it; a part sees itself alone, and what is bound to its names. From outside, a name of a
repeat stands for all its steps; inside, for the reader's own step, and `prev.NAME` for the step before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from re import fullmatch
from typing import Literal

from sgc.errors import Path, nearest
from sgc.spec.document import Document, Plain

Kind = Literal["input", "feature", "carry", "node"]
# what a level may have that gives names: a whole spec, and a repeat
OF_SPEC: dict[str, Kind] = {"inputs": "input", "features": "feature", "nodes": "node"}
OF_REPEAT: dict[str, Kind] = {"features": "feature", "carry": "carry", "nodes": "node"}
NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"
NO_NAME = "is not a name: a letter, then letters, digits, '_' or '-'"
EXISTS = "exists"  # the name, in a repeat whose count is a node, of whether a step exists
PREVIOUS = "prev"


def hides(unread: Collection[str], word: str) -> bool:
    """Tell whether what cannot be read may hold what a word means: by a name in it, or one like what is no name.

    unread: what stands there; '': any name may.

    >>> hides({"digit", "9a"}, "digit.size"), hides({"9a"}, "a"), hides({"9a"}, "size"), hides({""}, "size")
    (True, True, False, True)
    """
    no_names = [each for each in unread if not fullmatch(NAME, each)]
    parts = word.removeprefix(f"{PREVIOUS}.").split(".")
    return "" in unread or any(part in unread or nearest(part, no_names) for part in parts)


@dataclass(frozen=True)
class Plate:
    """A repeat: its whole name, how many steps it has at most, and the node that counts them ('' for a number)."""

    name: str
    size: int
    count: str = ""


@dataclass(eq=False)
class Template:
    """What stands once in the file, and once for each step of the repeats around it when it is unrolled."""

    name: str  # with the names of the repeats and parts around it, and dots between
    kind: Kind
    scope: Scope
    place: Path  # in the document of the scope
    written: Plain

    @property
    def plates(self) -> tuple[Plate, ...]:
        """The repeats around it, outermost first."""
        return self.scope.plates


@dataclass(frozen=True)
class Reference:
    """What a name in a parents list means: a template, and whether of the step before."""

    template: Template
    previous: bool = False


@dataclass(eq=False)
class Scope:
    """The names of one level: the spec itself, a repeat, or a part."""

    document: Document
    place: Path  # of what holds the sections
    prefix: str  # of its names: empty, or ending in a dot
    plates: tuple[Plate, ...] = ()
    above: Scope | None = None
    closed: bool = False  # a part: what is around it is not seen
    names: dict[str, Template] = field(default_factory=dict)
    children: dict[str, Scope] = field(default_factory=dict)
    bound: dict[str, Template] = field(default_factory=dict)  # of a part: its own names that stand for others
    handed: dict[str, Template] = field(default_factory=dict)  # of a part: its own nodes that give p to others
    unread: set[str] = field(
        default_factory=set
    )  # names, of repeats and parts too, that cannot be read; '': any may be

    @property
    def root(self) -> Scope:
        """The scope of the spec whose file this is: the host's or the part's."""
        here = self
        while here.above is not None and not here.closed:
            here = here.above
        return here

    @property
    def in_repeat(self) -> bool:
        """Whether `prev` means something here."""
        return len(self.plates) > len(self.root.plates)

    def surely(self, word: str) -> bool:
        """Tell whether a name that is not found here stands for nothing that cannot be read either."""
        return not any(hides(scope.unread, word) for scope in self.root.walk())

    def take(
        self, written: Mapping[str, Plain], sections: Mapping[str, Kind], given: Mapping[str, Plain] | None = None
    ) -> None:
        """Take in the names of the sections of one level.

        given: the level with what is wrong in itself, which has its name all the same.
        """
        for section, kind in sections.items():
            found, wrong = written.get(section), (given or {}).get(section)
            pieces: dict[str, Plain] = {name: {} for name in wrong} if isinstance(wrong, dict) else {}
            for name, each in (pieces | (found if isinstance(found, dict) else {})).items():
                place = (*self.place, section, name)
                self.names.setdefault(name, Template(f"{self.prefix}{name}", kind, self, place, each))

    def find(self, word: str) -> Reference | None:
        """Say what a name means here; None where it means nothing."""
        first, _, rest = word.partition(".")
        if first == PREVIOUS and rest and self.in_repeat:
            found = self.find(rest)
            inner = self.plates[-1]
            return Reference(found.template, True) if found and inner in found.template.plates else None
        here: Scope | None = self
        while here is not None:
            found_here = here.below(word)
            if found_here is not None:
                return Reference(found_here)
            here = None if here.closed else here.above
        return None

    def below(self, word: str) -> Template | None:
        """Find a name of this level, or of a repeat or part in it: with dots between."""
        first, _, rest = word.partition(".")
        if rest:
            return self.children[first].below(rest) if first in self.children else None
        return self.bound.get(word) or self.names.get(word)

    def visible(self, reader: Template | None = None) -> list[str]:
        """List what may be read here, each by its shortest name; of the reader itself only the step before."""
        found: dict[Template, str] = {}
        here: Scope | None = self
        while here is not None:
            for name in here.listed():
                reference = self.find(name)
                if reference is not None:
                    found.setdefault(reference.template, name)
            here = None if here.closed else here.above
        own = self.plates[-1] if self.in_repeat else None
        before = [f"{PREVIOUS}.{name}" for template, name in found.items() if own in template.plates]
        if reader is not None:
            found.pop(reader, None)
        return [*found.values(), *before]

    def listed(self) -> Iterator[str]:
        """List the names of this level and of those in it."""
        yield from self.names
        for name, child in self.children.items():
            yield from (f"{name}.{each}" for each in child.listed())

    def walk(self) -> Iterator[Scope]:
        """Give this scope and those in it."""
        yield self
        for child in self.children.values():
            yield from child.walk()

    def templates(self) -> Iterator[Template]:
        """List everything that stands once in the file and is unrolled, level by level."""
        for scope in self.walk():
            yield from scope.names.values()
