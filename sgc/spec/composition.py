"""The scopes of a spec with repeats and parts: parts are read, bound and included, and steps are counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from os.path import realpath  # `resolve` fails at links that lead to themselves
from pathlib import Path as FilePath
from re import fullmatch
from typing import TypeVar

from sgc.errors import Path, SpecError
from sgc.spec.document import Document, Plain, read
from sgc.spec.expanded import elsewhere
from sgc.spec.findings import Findings
from sgc.spec.scopes import EXISTS, NAME, NO_NAME, OF_REPEAT, OF_SPEC, PREVIOUS, Kind, Plate, Scope, Template
from sgc.spec.spec import Spec
from sgc.spec.unrolled import UNROLLED
from sgc.spec.written_nodes import EVENT, event, largest_count

MAX_STEPS = 10_000  # nodes and features, all steps counted
MAX_NESTED = 20  # parts in parts
TOO_MANY = f"more than {MAX_STEPS} nodes and features, all steps counted"
MODEL = ("inputs", "networks", "features", "nodes", "repeat", "use")  # the sections of a part that count


@dataclass(eq=False)
class Included:
    """A part as it was read, with its scope and weights. host, place: the document that uses it, and where."""

    name: str
    host: Document
    place: Path
    scope: Scope
    spec: Spec
    weights: FilePath | None
    freeze: bool
    bound: dict[str, Template] = field(default_factory=dict)  # nodes only, by their names in the part


@dataclass(eq=False)
class Composition:
    """The scopes of a whole spec, its parts, and the part's node that gives p to each bound node of a host."""

    root: Scope
    parts: list[Included] = field(default_factory=list)
    givers: dict[str, Template] = field(default_factory=dict)  # the part's node, by whole name of the host's


Check = Callable[[Document, tuple[FilePath, ...]], Spec]
K = TypeVar("K")
T = TypeVar("T")


class Parts:
    """The parts of a spec, each read and validated once, however often and wherever it is used.

    check: validates one, given the files that it is a part of.
    """

    def __init__(self, check: Check) -> None:
        self.check = check
        self._read: dict[FilePath, Document | SpecError] = {}
        self._checked: dict[int, Spec | SpecError] = {}  # by the identity of a part's data
        self._documents: list[Document] = []  # whose data are known by their identity

    def read(self, file: FilePath) -> Document:
        """Read a file. Raises: SpecError."""
        return _once(self._read, file, lambda: read(file))

    def spec(self, document: Document, within: tuple[FilePath, ...]) -> Spec:
        """Validate a part. Raises: SpecError."""
        self._documents.append(document)
        return _once(self._checked, id(document.data), lambda: self.check(document, within))


def _once(results: dict[K, T | SpecError], key: K, compute: Callable[[], T]) -> T:
    """Compute what is not known by its key yet, an error too. Raises: SpecError."""
    if key not in results:
        try:
            results[key] = compute()
        except SpecError as problem:
            results[key] = problem
    result = results[key]
    if isinstance(result, SpecError):
        raise result
    return result


def compose(
    document: Document, written: Plain, findings: Findings, parts: Parts, within: tuple[FilePath, ...] = ()
) -> Composition:
    """Lay out the scopes of a spec; their faults are added to the findings.

    written: the document's data without its wrong pieces. within: the files that this one is a part of.
    """
    root = Scope(document, (), "")
    composing = _Composing(Composition(root), findings, parts, (*within, FilePath(realpath(document.file))))
    composing.level(root, written, OF_SPEC)
    return composing.composition


class _Composing:
    def __init__(
        self, composition: Composition, findings: Findings, parts: Parts, within: tuple[FilePath, ...]
    ) -> None:
        self.composition, self.findings, self.parts, self.within = composition, findings, parts, within
        self.taken = 0  # names so far, at all their steps, and levels
        self.full = False  # there were too many
        self.using: Path = ()  # the outermost part that is being included

    def add(self, scope: Scope, place: Path, message: str, hint: str = "", *, at: str = "value") -> None:
        """Report a fault of what is written in the document of a scope."""
        if scope.document is self.findings.document:
            self.findings.add(place, message, hint, at=at)

    def level(
        self, scope: Scope, written: Mapping[str, Plain], sections: Mapping[str, Kind], refused: Collection[str] = ()
    ) -> None:
        """Take in the names of a level except those refused, and the repeats and parts in it."""
        own = scope.document is self.findings.document  # else a part, in which nothing is wrong
        raw = scope.document.get(scope.place) if own else written
        scope.take(written, sections, raw)
        for name in refused:
            scope.names.pop(name, None)
        if not self.has_room(scope):
            return
        self.inside(scope, written)
        broken = [path[-1] for path in self.findings.broken if own and path and path[:-1] == scope.place]
        keyless = [path for path in scope.document.unread if own and path[:-2] == scope.place and path[-2] in sections]
        if any(key in MODEL or (scope.place and key != "count") for key in broken):
            scope.unread.add("")
        scope.unread |= {*refused} | {"" for path in keyless if not scope.document.has(path)}
        for section in UNROLLED:
            names = raw.get(section)
            scope.unread |= set(names) - set(scope.children) if isinstance(names, dict) else set()

    def has_room(self, scope: Scope) -> bool:
        """Count the names of a level at all their steps; if there are too many, empty it and report that once."""
        self.taken += 1 + len(scope.names) * math.prod(plate.size for plate in scope.plates)
        if scope.above is None or self.taken <= MAX_STEPS:
            return True
        if not self.full:
            self.full = True
            if scope.in_repeat and scope.document is self.findings.document:
                self.add(scope, (*scope.place, "count"), TOO_MANY)
            else:
                self.findings.add(self.using, TOO_MANY, at="key")
        scope.names.clear()
        scope.unread.add("")
        return False

    def inside(self, scope: Scope, written: Mapping[str, Plain]) -> None:
        """Take in the repeats and parts of a level."""
        for section in ("use", "repeat"):
            pieces = written.get(section)
            for name, piece in pieces.items() if isinstance(pieces, dict) else ():
                place = (*scope.place, section, name)
                if not fullmatch(NAME, name):
                    self.add(scope, place, f"'{name}' {NO_NAME}", at="key")
                elif name == PREVIOUS:
                    self.add(scope, place, f"'{PREVIOUS}' is kept for the step before: take another name", at="key")
                elif name in scope.names or name in scope.children:
                    self.add(scope, place, f"'{name}' is already the name of something else", at="key")
                elif section == "use":
                    self.part(scope, name, place, piece)
                else:
                    self.repeat(scope, name, place, piece)

    def repeat(self, scope: Scope, name: str, place: Path, written: Mapping[str, Plain]) -> None:
        full_name = f"{scope.prefix}{name}"
        size, count = self.count(scope, (*place, "count"), written.get("count"))
        if size * math.prod(plate.size for plate in scope.plates) > MAX_STEPS:
            self.add(scope, (*place, "count"), TOO_MANY)
            size = 1
        inner = Scope(scope.document, place, f"{full_name}.", (*scope.plates, Plate(full_name, size, count)), scope)
        scope.children[name] = inner
        refused = self.check_names(inner, written, counted=bool(count))
        self.level(inner, written, OF_REPEAT, refused)
        if not inner.names and not inner.children and not self.full:
            self.add(scope, place, f"the repeat '{name}' is empty", "give it nodes", at="key")

    def check_names(self, scope: Scope, written: Mapping[str, Plain], *, counted: bool) -> set[str]:
        """Find names of a repeat that are malformed, used twice or reserved; return those that cannot be used."""
        section_of: dict[str, str] = {}
        refused: set[str] = set()
        for section in OF_REPEAT:
            pieces = written.get(section)
            for name in pieces if isinstance(pieces, dict) else ():
                place = (*scope.place, section, name)
                if not fullmatch(NAME, name):
                    self.add(scope, place, f"'{name}' {NO_NAME}", at="key")
                    refused.add(name)
                elif name in section_of:
                    self.add(scope, place, f"'{name}' is already the name of one of the {section_of[name]}", at="key")
                elif name == PREVIOUS or (name == EXISTS and counted):
                    meaning = "the step before" if name == PREVIOUS else "whether a step exists"
                    self.add(scope, place, f"'{name}' is kept for {meaning}: take another name", at="key")
                    refused.add(name)
                section_of.setdefault(name, section)
        return refused

    def count(self, scope: Scope, place: Path, written: Plain) -> tuple[int, str]:
        """Return the largest number of steps, and the node that counts them; 1 step if the count is wrong."""
        if not isinstance(written, str):
            return (written, "") if isinstance(written, int) else (1, "")
        reference = scope.find(written)
        if reference is None or reference.template.kind != "node":
            nodes = [n for n in scope.visible() if (r := scope.find(n)) and r.template.kind == "node"]
            kind = "" if reference is None else reference.template.kind
            message = f"'{written}' is one of the {kind}s, not a node" if kind else f"no node named '{written}'"
            self.add(scope, place, f"{message} to count by", self.findings.suggest(written, lambda: nodes))
            return 1, ""
        counter = reference.template
        if reference.previous or counter.plates != scope.plates[: len(counter.plates)]:
            self.add(scope, place, f"'{written}' is in a repeat: count by a node outside it")
            return 1, ""
        most, why = largest_count(counter.written)
        if why and not self.findings.hurt(*counter.place):
            self.add(scope, place, f"'{written}' cannot count: {why}")
        return most, counter.name

    def part(self, scope: Scope, name: str, place: Path, written: Mapping[str, Plain]) -> None:
        if len(self.within) > MAX_NESTED:
            self.add(scope, place, f"parts are nested more than {MAX_NESTED} deep", at="key")
            return
        document = self.document(scope, place, written)
        if document is None:
            return
        try:
            spec = self.parts.spec(document, self.within)
        except SpecError as problem:
            inside = isinstance(written.get("spec"), dict)
            self.findings.faults += elsewhere(problem.faults, (*place, "spec") if inside else place, inside=inside)
            for own, word in (written.get("bind") or {}).items():
                self.leaves_open(scope, self.host(scope, (*place, "bind", own), word))
            self.findings.breaks(place)
            return
        inner = Scope(document, (), f"{scope.prefix}{name}.", scope.plates, scope, closed=True)
        data = model_sections(document.data, spec)
        inner.take(data, OF_SPEC)
        weights = written.get("weights")
        part = Included(
            f"{scope.prefix}{name}",
            scope.document,
            place,
            inner,
            spec,
            None if weights is None else found_beside(scope.document, weights),
            written.get("freeze") is True,
        )
        scope.children[name] = inner
        self.composition.parts.append(part)
        bind = written.get("bind")
        for own, word in bind.items() if isinstance(bind, dict) else ():
            faults = len(self.findings.faults)
            self.bind(scope, part, (*place, "bind", own), own, word, bind or {})
            if len(self.findings.faults) > faults:  # names that it leaves unbound are no further faults
                for template in inner.names.values():
                    self.findings.breaks(("data", "columns", template.name))
        if scope.document is self.findings.document:
            self.using = place
        for own, template in inner.names.items():
            if template.kind == "input" and own not in inner.bound:
                self.add(scope, place, f"the part's input '{own}' is not bound", "bind: {" + own + ": …}", at="key")
        if self.has_room(inner):
            self.inside(inner, data)

    def document(self, scope: Scope, place: Path, written: Mapping[str, Plain]) -> Document | None:
        """Read the spec of a part: from its own file, from its run, or in place. None, and a fault, if that fails."""
        own_spec, weights = written.get("spec"), written.get("weights")
        if own_spec is None and weights is None:
            self.add(scope, place, "missing key 'spec' (or 'weights', of a run)", at="key")
            return None
        if isinstance(own_spec, dict):
            return inline(scope.document, (*place, "spec"))
        key = "spec" if own_spec is not None else "weights"
        file = found_beside(scope.document, str(weights) if own_spec is None else own_spec)
        if own_spec is None:
            file = file / "spec.yaml"
        if FilePath(realpath(file)) in self.within:
            self.add(scope, (*place, key), f"'{file}' would be a part of itself")
            return None
        try:
            return self.parts.read(file)
        except SpecError as problem:
            self.add(scope, (*place, key), f"'{file}': {problem.faults[0].message}")
            return None

    def bind(self, scope: Scope, part: Included, place: Path, own: str, word: str, beside: Mapping[str, Plain]) -> None:
        """Bind a name of the part to one of the host. beside: all names of the part that are bound."""
        inner = part.scope
        template = inner.names.get(own)
        nodes = [n for n, t in inner.names.items() if t.kind in ("node", "input")]
        if template is None or template.kind not in ("node", "input"):
            problem = f"no node or input named '{own}'" if template is None else f"'{own}' is a {template.kind}"
            self.add(
                scope,
                place,
                f"{problem} of the part '{part.name}'",
                self.findings.suggest(own, lambda: nodes),
                at="key",
            )
            self.leaves_open(scope, reference.template if (reference := scope.find(word)) else None)
            return
        host = self.host(scope, place, word)
        if host is None:
            self.leaves_open(scope, None)
            return
        if template.kind == "input":
            if host.plates != scope.plates[: len(host.plates)]:
                self.add(scope, place, f"'{word}' means all its steps: an input is bound to one value")
            inner.bound[own] = host
            return
        giver = self.composition.givers.get(host.name)
        handed_on = giver is not None and giver is scope.handed.get(word)  # a node of this part is bound itself
        if host.kind != "node" or (host.scope is not scope and not handed_on):
            self.add(scope, place, f"'{word}' is not a node beside the part: it must be at the level of 'use'")
            return
        if giver is not None and not handed_on:
            self.add(scope, place, f"'{word}' is bound already")
            return
        if isinstance(host.written, dict) and "generative" in host.written:
            message = f"forbidden: the part '{part.name}' gives p({word})"
            self.add(scope, (*host.place, "generative"), message, at="key")
        description, wanted = event(host.written), event(template.written, beside)
        unknown = host.scope.document is self.findings.document and any(
            self.findings.hurt(*host.place, key) for key in EVENT
        )
        differ = [] if unknown else [key for key in EVENT if description[key] != wanted[key]]
        if differ:
            own_value, part_value = description[differ[0]], wanted[differ[0]]
            self.add(
                scope, place, f"'{word}' has the {differ[0]} {own_value}, and '{own}' of the part has {part_value}"
            )
        inner.bound[own] = part.bound[own] = host
        inner.handed[own] = self.composition.givers[host.name] = template
        del inner.names[own]

    def leaves_open(self, scope: Scope, host: Template | None) -> None:
        """Keep p of what a faulty part is bound to from being told as missing; None: of anything beside the part."""
        for each in scope.names.values() if host is None else (host,):
            mine = each.kind == "node" and each.scope.document is self.findings.document
            if mine and isinstance(each.written, dict) and "generative" not in each.written:
                self.findings.breaks((*each.place, "generative"))

    def host(self, scope: Scope, place: Path, word: str) -> Template | None:
        """Find what a name of a part is bound to; None, and a fault, if it is unknown."""
        reference = scope.find(word)
        if reference is None or reference.previous:
            hint = self.findings.suggest(word, lambda: scope.names)
            self.add(scope, place, f"no node, feature or input named '{word}'", hint)
            return None
        return reference.template


def model_sections(data: Plain, spec: Spec) -> dict[str, Plain]:
    """Return the sections of a part that its host includes, derived recognition parents written out."""
    sections = {key: data[key] for key in MODEL if key in data}
    if spec.derived:
        plain = spec.plain()["nodes"]
        derived = {n: {**data["nodes"][n], "recognition": plain[n]["recognition"]} for n in spec.derived}
        sections["nodes"] = {**data["nodes"], **derived}
    return sections


def found_beside(document: Document, name: str) -> FilePath:
    """Look for a file beside the spec that names it, then in the current folder."""
    beside = FilePath(document.file).parent / name if document.lines else FilePath(name)
    return beside if beside.exists() else FilePath(name)


def inline(document: Document, place: Path) -> Document:
    """Make a document of a spec that is written in another, with the other's lines."""
    depth, every = len(place), document.below(place)
    keys = {path[depth:]: document.keys[path] for path in every if path in document.keys and len(path) > depth}
    values = {path[depth:]: document.values[path] for path in every if path in document.values}
    return Document(document.file, document.lines, document.get(place), keys, values)
