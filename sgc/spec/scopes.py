"""The names of a spec by the repeat or part that they are in, and what a name means to its reader.

A repeat sees what is around it; a part sees only itself, and what is bound to its names. From outside, a name of a
repeat means all its steps; inside, the reader's own step, and `prev.NAME` means the step before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from re import fullmatch
from typing import Literal

from sgc.errors import Path, nearest
from sgc.spec.document import Document, Plain

Kind = Literal["input", "feature", "carry", "node"]
# the sections of a whole spec, and of a repeat, that give names
OF_SPEC: dict[str, Kind] = {"inputs": "input", "features": "feature", "nodes": "node"}
OF_REPEAT: dict[str, Kind] = {"features": "feature", "carry": "carry", "nodes": "node"}
NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"
NO_NAME = "is not a name: a letter, then letters, digits, '_' or '-'"
EXISTS = "exists"  # the name, in a repeat whose count is a node, of whether a step exists
PREVIOUS = "prev"


def hides(unread: Collection[str], word: str) -> bool:
    """Say whether a word may mean something that could not be read: it holds its name, or a name like a malformed one.

    unread: the names that could not be read; '' stands for any name.

    >>> hides({"digit", "9a"}, "digit.size"), hides({"9a"}, "a"), hides({"9a"}, "size"), hides({""}, "size")
    (True, True, False, True)
    """
    malformed = [name for name in unread if not fullmatch(NAME, name)]
    parts = word.removeprefix(f"{PREVIOUS}.").split(".")
    return "" in unread or any(part in unread or nearest(part, malformed) for part in parts)


def named_after_parent(hint: str) -> str:
    """Give the hint for an expert whose name is no parent's."""
    return f"an expert without 'parents' is named after its parent; {hint}".removesuffix("; ")


@dataclass(frozen=True)
class Plate:
    """A repeat: its whole name, how many steps it has at most, and the node that counts them ('' for a number)."""

    name: str
    size: int
    count: str = ""


@dataclass(eq=False)
class Template:
    """A name that is written once, and means one thing at each step of the repeats around it."""

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
    closed: bool = False  # a part, which does not see what is around it
    names: dict[str, Template] = field(default_factory=dict)
    children: dict[str, Scope] = field(default_factory=dict)
    bound: dict[str, Template] = field(default_factory=dict)  # of a part: what its own names are bound to
    handed: dict[str, Template] = field(default_factory=dict)  # of a part: its own nodes that give p to others
    unread: set[str] = field(default_factory=set)  # names that could not be read; '' stands for any name

    @property
    def root(self) -> Scope:
        """The scope of the spec whose file this is: the host's or the part's."""
        scope = self
        while scope.above is not None and not scope.closed:
            scope = scope.above
        return scope

    @property
    def in_repeat(self) -> bool:
        """Whether `prev` means something here."""
        return len(self.plates) > len(self.root.plates)

    def surely(self, word: str) -> bool:
        """Say whether a name that is not found here is unknown, and is not one that could not be read."""
        return not any(hides(scope.unread, word) for scope in self.root.walk())

    def take(
        self, written: Mapping[str, Plain], sections: Mapping[str, Kind], raw: Mapping[str, Plain] | None = None
    ) -> None:
        """Take in the names of the sections of one level.

        given: the level with its wrong pieces, whose names count too.
        """
        for section, kind in sections.items():
            right, raw_section = written.get(section), (raw or {}).get(section)
            pieces: dict[str, Plain] = {name: {} for name in raw_section} if isinstance(raw_section, dict) else {}
            for name, piece in (pieces | (right if isinstance(right, dict) else {})).items():
                place = (*self.place, section, name)
                self.names.setdefault(name, Template(f"{self.prefix}{name}", kind, self, place, piece))

    def find(self, word: str) -> Reference | None:
        """Return what a name means here; None if it is unknown."""
        first, _, inner_word = word.partition(".")
        if first == PREVIOUS and inner_word and self.in_repeat:
            reference = self.find(inner_word)
            inner = self.plates[-1]
            return Reference(reference.template, True) if reference and inner in reference.template.plates else None
        scope: Scope | None = self
        while scope is not None:
            template = scope.below(word)
            if template is not None:
                return Reference(template)
            scope = None if scope.closed else scope.above
        return None

    def below(self, word: str) -> Template | None:
        """Find a name of this level, or of a repeat or part in it: with dots between."""
        first, _, inner_word = word.partition(".")
        if inner_word:
            return self.children[first].below(inner_word) if first in self.children else None
        return self.bound.get(word) or self.names.get(word)

    def visible(self, reader: Template | None = None) -> list[str]:
        """List what may be read here, each by its shortest name; of the reader itself only the step before."""
        names: dict[Template, str] = {}
        scope: Scope | None = self
        while scope is not None:
            for name in scope.listed():
                reference = self.find(name)
                if reference is not None:
                    names.setdefault(reference.template, name)
            scope = None if scope.closed else scope.above
        own = self.plates[-1] if self.in_repeat else None
        before = [f"{PREVIOUS}.{name}" for template, name in names.items() if own in template.plates]
        if reader is not None:
            names.pop(reader, None)
        return [*names.values(), *before]

    def listed(self) -> Iterator[str]:
        """List the names of this level and of the levels in it."""
        yield from self.names
        for name, child in self.children.items():
            yield from (f"{name}.{below}" for below in child.listed())

    def walk(self) -> Iterator[Scope]:
        """Give this scope and those in it."""
        yield self
        for child in self.children.values():
            yield from child.walk()

    def templates(self) -> Iterator[Template]:
        """List every template, level by level."""
        for scope in self.walk():
            yield from scope.names.values()
