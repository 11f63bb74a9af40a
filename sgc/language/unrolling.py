"""Repeats and parts -> plain nodes and features: a pure rewrite, before anything is checked or derived.

Every node and feature of a repeat stands there once for each step, as `digit.size@2`; a carry becomes a feature, the
step before the first one zeros, and what is read from outside all steps side by side, or, under `combine`, one by one.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sgc.derivation.graph import find_cycles
from sgc.errors import Path, suggest
from sgc.kinds.stepping import Cell, Collect, CombineSteps, Exists, Hold, Zeros
from sgc.language.composing import MAX_STEPS, MODEL, TOO_MANY, Composition
from sgc.language.document import Document, Plain
from sgc.language.expanded import Expanded, Written
from sgc.language.findings import Findings
from sgc.language.scopes import EXISTS, Plate, Reference, Scope, Template
from sgc.language.spec import Feature
from sgc.language.unrolled import PartOf, Unrolled

Index = tuple[int, ...]
ROLES = ("generative", "recognition")


def unroll(
    document: Document, written: Plain, composition: Composition, findings: Findings
) -> tuple[Expanded, Unrolled]:
    """Write repeats and parts out as nodes and features; unknown names in them are added to the findings.

    written: the document's data without what is wrong in itself.
    """
    return _Unrolling(document, written, composition, findings).unrolled()


@dataclass
class _Made:
    """What is written out so far."""

    nodes: dict[str, Plain] = field(default_factory=dict)
    features: dict[str, Plain] = field(default_factory=dict)
    networks: dict[str, Plain] = field(default_factory=dict)
    written: dict[Path, Written] = field(default_factory=dict)
    steps: dict[str, dict[str, list[str]]] = field(default_factory=lambda: {"nodes": {}, "features": {}})
    sizes: dict[str, Index] = field(default_factory=dict)
    around: dict[str, tuple[Plate, ...]] = field(default_factory=dict)
    exists: dict[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    hidden: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True)
class _Reader:
    """Who reads: in which scope, at which step of each repeat around it."""

    template: Template
    index: Index
    carried: str = ""  # of a carry: the flat name of its state before

    @property
    def scope(self) -> Scope:
        return self.template.scope


class _Unrolling:
    def __init__(self, document: Document, written: Plain, composition: Composition, findings: Findings) -> None:
        self.document, self.data, self.composition, self.findings = document, written, composition, findings
        self.made = _Made()
        self.wrong: set[Path] = set()  # flat paths of what means nothing

    def unrolled(self) -> tuple[Expanded, Unrolled]:
        templates = list(self.composition.root.templates())
        count = sum(_product(plate.size for plate in template.plates) for template in templates)
        if count > MAX_STEPS:
            place = next(t.scope.place for t in templates if t.plates)
            self.findings.add((*place, "count"), TOO_MANY)
            self.composition.root.whole = False
            templates = [template for template in templates if not template.plates]
        self._networks()
        self._check_starts(templates)
        for template in templates:
            for index in itertools.product(*(range(plate.size) for plate in template.plates)):
                self._write(template, index)
        data = {key: each for key, each in self.data.items() if key not in MODEL or key == "inputs"}
        for key in ("networks", "features", "nodes"):
            if getattr(self.made, key) or key == "nodes":
                data[key] = getattr(self.made, key)
        expanded = Expanded(
            self.document.file, self.document.lines, data, source=self.document, written=self.made.written
        )
        expanded.unread |= {path for path in self.document.unread if not self._inside(path)} | self.wrong
        if not self.composition.root.surely:  # names are missing
            expanded.unread.add(("nodes", ""))
        return expanded, self._facts()

    def _inside(self, path: Path) -> bool:
        return bool(path) and path[0] in ("repeat", "use")

    def _facts(self) -> Unrolled:
        made, parts = self.made, self.composition.parts
        optional = {
            name
            for part in parts
            for template in part.scope.templates()
            if template.kind == "node" and template.written.get("supervision") == "partial"
            for name in [template.name]
        }
        return Unrolled(
            nodes={name: tuple(each) for name, each in made.steps["nodes"].items()},
            features={name: tuple(each) for name, each in made.steps["features"].items()},
            sizes=made.sizes,
            around=made.around,
            exists=made.exists,
            parts=tuple(self._part(part) for part in parts),
            optional=frozenset(optional),
            hidden=frozenset(made.hidden),
        )

    def _part(self, part: Any) -> PartOf:  # Any: an included part
        own = {t.name[len(part.name) + 1 :]: t.name for t in part.scope.templates() if t.kind != "input"}
        bound = {name: template.name for name, template in part.bound.items()}
        return PartOf(part.name, part.weights, part.freeze, own, bound, part.spec.plain())

    # names

    def _flat(self, template: Template, index: Index) -> str:
        if template.kind == "input":
            return template.name
        return step_name(template.name, index)

    def _networks(self) -> None:
        for scope in self.composition.root.walk():
            if scope.above is not None and not scope.closed:
                continue
            source = self.data if scope.above is None else scope.document.data
            for name, network in (source.get("networks") or {}).items():
                flat = f"{scope.prefix}{name}"
                self.made.networks[flat] = copy.deepcopy(network)
                self.made.written["networks", flat] = Written(scope.document, ("networks", name))

    def _exists(self, plates: Sequence[Plate], index: Index) -> str:
        """Name the feature that says whether a step exists, of the innermost repeat that a node counts; empty: none."""
        counted = [i for i, plate in enumerate(plates) if plate.count]
        if not counted:
            return ""
        at = counted[-1]
        plate, here = plates[at], index[: at + 1]
        name = f"{plate.name}.{EXISTS}"
        flat = step_name(name, here)
        if flat not in self.made.features:
            (count, i), *_ = reversed(self._counts(plates[: at + 1], here))
            outer = self._exists(plates[:at], index[:at])
            parents = [count, *([outer] if outer else [])]
            self._feature(name, flat, {"parents": parents, "network": Exists(count=count, i=i)}, plates[: at + 1])
            self.made.written["features", flat] = self._counted(plate)
        return flat

    def _counted(self, plate: Plate) -> Written:
        """Say where the count of a repeat is written."""
        scope = next(s for s in self.composition.root.walk() if s.plates[-1:] == (plate,) and not s.closed)
        return Written(scope.document, (*scope.place, "count"), exact=True)

    def _counts(self, plates: Sequence[Plate], index: Index) -> tuple[tuple[str, int], ...]:
        """List the counts that say whether a step exists, and what each must be above."""
        found = []
        for plate, i in zip(plates, index, strict=True):
            if plate.count:
                counter = self.by_name[plate.count]
                found.append((self._flat(counter, index[: len(counter.plates)]), i))
        return tuple(found)

    @property
    def by_name(self) -> Mapping[str, Template]:
        if not hasattr(self, "_by_name"):
            self._by_name = {t.name: t for t in self.composition.root.templates()}
        return self._by_name

    # writing

    def _feature(self, name: str, flat: str, raw: Plain, plates: Sequence[Plate], *, hidden: bool = True) -> None:
        self.made.features[flat] = raw
        if hidden:
            self.made.hidden[flat] = None
        self._note("features", name, flat, plates)

    def _note(self, section: str, name: str, flat: str, plates: Sequence[Plate]) -> None:
        if plates:
            self.made.steps[section].setdefault(name, []).append(flat)
            self.made.sizes[name] = tuple(plate.size for plate in plates)
            self.made.around[name] = tuple(plates)

    def _write(self, template: Template, index: Index) -> None:
        if template.kind == "input" or not isinstance(template.written, dict):
            return
        flat, scope = self._flat(template, index), template.scope
        section = "nodes" if template.kind == "node" else "features"
        place = Written(scope.document, template.place)
        self.made.written[section, flat] = place
        self.made.written.setdefault((section, template.name), place)
        if template.kind == "node":
            self._node(template, index, flat)
        elif template.kind == "feature":
            raw = self._piece(_Reader(template, index), template.written, (section, flat), template.place)
            self._feature(template.name, flat, raw, template.plates, hidden=False)
        else:
            self._carry(template, index, flat)

    def _node(self, template: Template, index: Index, flat: str) -> None:
        raw = {key: each for key, each in template.written.items() if key not in ROLES}
        readers = dict.fromkeys((key for key in ROLES if key in template.written), template)
        given = self.composition.given.get(template.name)
        if given is not None:
            readers.pop("generative", None)
            if "generative" in given.written:
                readers["generative"] = given
            self.made.written["nodes", flat, "generative"] = Written(given.scope.document, (*given.place, "generative"))
        for role, source in readers.items():
            written = source.written[role]
            if isinstance(written, dict):
                reader = _Reader(source, index)
                raw[role] = self._piece(reader, written, ("nodes", flat, role), (*source.place, role))
            else:
                raw[role] = written
        self.made.nodes[flat] = raw
        self._note("nodes", template.name, flat, template.plates)
        counts = self._counts(template.plates, index)
        if counts:
            self.made.exists[flat] = counts

    def _carry(self, template: Template, index: Index, flat: str) -> None:
        """Write a carry as a feature of each step, which reads the state of the step before it in its direction."""
        written, plates = template.written, template.plates
        backward = written.get("direction") == "backward"
        last = plates[-1].size - 1
        *outer, step = index
        edge = step == (last if backward else 0)
        network = self._entries(template.scope, written.get("network"))
        cell = network[-1] if network and isinstance(network[-1], dict) and "gru" in network[-1] else None
        counted = backward and bool(self._exists(plates, index))
        new = f"{template.name}.new" if counted else template.name
        made = step_name(new, index) if counted else flat
        before = step_name(template.name, (*outer, step + 1 if backward else step - 1))
        if edge:
            before = step_name(template.name, (*outer, last + 1 if backward else -1))
            self._zeros(template, before, made)
        reader = _Reader(template, index, before)
        path: Path = ("features", made)
        if made != flat:
            self.made.written[path] = Written(template.scope.document, template.place)
        raw = self._piece(reader, {k: written[k] for k in ("parents", "network") if k in written}, path, template.place)
        if cell is not None:
            raw = self._cell(template, index, raw, network, cell["gru"], before)
        if cell is not None or counted:
            self.made.written[*path, "network"] = Written(template.scope.document, (*template.place, "network"))
        self._feature(new, made, raw, plates, hidden=counted)
        if counted:
            parents = [made, before, self._exists(plates, index)]
            self._feature(template.name, flat, {"parents": parents, "network": Hold()}, plates, hidden=False)

    def _cell(
        self, template: Template, index: Index, raw: Plain, network: Sequence[Plain], width: int, before: str
    ) -> Plain:
        """Put one step of a recurrent unit behind what stands before it in the network."""
        parents = raw.get("parents", [])
        if len(network) > 1:
            name = f"{template.name}.in"
            flat = step_name(name, index)
            entries = self._piece(
                _Reader(template, index, before),
                {**template.written, "network": list(network[:-1])},
                ("features", flat),
                template.place,
            )
            entries.pop("direction", None)
            self.made.written["features", flat] = Written(template.scope.document, template.place)
            self._feature(name, flat, entries, template.plates)
            parents = [flat]
        return {"parents": [*parents, before], "network": Cell(gru=width) if isinstance(width, int) else {"gru": width}}

    def _zeros(self, template: Template, flat: str, of: str) -> None:
        """Write the zeros that stand before the first step of a name."""
        if flat not in self.made.features:
            width = self._width(template)
            zeros = Zeros(of=of, width=width)
            self.made.features[flat] = Feature.model_construct(parents=(), network=zeros)
            self.made.hidden[flat] = None
            self.made.written.setdefault(
                ("features", flat), Written(template.scope.document, template.place, exact=True)
            )

    def _width(self, template: Template) -> int | None:
        """Say how wide a feature is, where its network says so by itself."""
        if template.kind == "node" or not isinstance(template.written, dict):
            return None
        entries = self._entries(template.scope, template.written.get("network"))
        last = entries[-1] if entries and isinstance(entries[-1], dict) else {}
        for key in ("gru", "mlp", "residual"):
            width = last.get(key)
            width = width[-1] if isinstance(width, list) and width else width
            if isinstance(width, int) and not isinstance(width, bool) and width > 0:
                return width
        return None

    def _entries(self, scope: Scope, network: Plain) -> list[Plain]:
        """List the entries of a network, that of a shared one by its name."""
        if isinstance(network, str):
            root = scope.root
            source = self.data if root.above is None else root.document.data
            network = (source.get("networks") or {}).get(network)
            if isinstance(network, str):
                return []
        return network if isinstance(network, list) else [] if network is None else [network]

    def _piece(self, reader: _Reader, written: Plain, path: Path, place: Path) -> dict[str, Plain]:
        """Rewrite a feature or a conditional: its parents, the names its parameters take, its network."""
        raw = {key: copy.deepcopy(each) for key, each in written.items() if key not in ("parents", "network")}
        network = copy.deepcopy(written.get("network"))
        parents = written.get("parents")
        entries = self._entries(reader.scope, network)
        first: Any = entries[0] if entries else None  # Any: whatever YAML can say
        combine = first.get("combine") if isinstance(first, dict) else None
        if isinstance(parents, list):
            raw["parents"], masks = self._parents(reader, parents, path, place, apart=combine is not None)
            if masks is not None:
                values = len(raw["parents"])
                booleans = list(dict.fromkeys(mask for mask in masks if mask))
                exists = tuple(booleans.index(mask) + values if mask else None for mask in masks)
                raw["parents"] += booleans
                network = [CombineSteps(way=first["combine"], exists=exists), *copy.deepcopy(entries[1:])]
        elif "parents" in written:
            raw["parents"] = parents
        if isinstance(network, str) and reader.scope.root.prefix:
            network = f"{reader.scope.root.prefix}{network}"
        if "network" in written:
            raw["network"] = network
        constants: Any = raw.get("parameters")  # Any: whatever YAML can say
        for key, value in constants.items() if isinstance(constants, dict) else ():
            if isinstance(value, str):
                found = self._find(reader, value, (*path, "parameters", key), (*place, "parameters", key))
                if found is not None:
                    constants[key] = self._value(reader, found)
        return raw

    def _parents(
        self, reader: _Reader, words: Sequence[Plain], path: Path, place: Path, *, apart: bool
    ) -> tuple[list[Plain], list[str] | None]:
        """Give what stands for a list of parents; `apart`, steps one by one, each with what says whether it exists."""
        found: list[Plain] = []
        masks: list[str] = []
        several = False
        for i, word in enumerate(words):
            here = (*place, "parents", i)
            reference = (
                self._find(reader, word, (*path, "parents", len(found)), here) if isinstance(word, str) else None
            )
            added: list[tuple[str, str]]
            if reference is None:
                added = [(word, "")]
            elif apart and self._beyond(reader, reference):
                several = True
                added = list(self._steps(reader, reference))
            else:
                added = [(self._value(reader, reference), "")]
                mask = "" if apart else self._mask(reader, reference)
                if mask and mask not in found:
                    added.append((mask, ""))
            for name, mask in added:
                self.made.written[*path, "parents", len(found)] = Written(reader.scope.document, here)
                found.append(name)
                masks.append(mask)
        return found, masks if several else None

    def _find(self, reader: _Reader, word: str, path: Path, place: Path) -> Reference | None:
        """Say what a name means to a reader; one that means nothing in a repeat is a fault, else it is told later."""
        found = reader.scope.find(word)
        if found is None and reader.scope.document is self.document:
            self.wrong.add(path)
            if reader.scope.surely:
                hint = suggest(word, reader.scope.visible())
                self.findings.add(place, f"no node, feature or input named '{word}'", hint)
        return found

    def _shared(self, reader: _Reader, template: Template) -> int:
        """Count the repeats that a reader and what it reads stand in together."""
        pairs = zip(reader.scope.plates, template.plates, strict=False)
        return len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))

    def _beyond(self, reader: _Reader, reference: Reference) -> tuple[Plate, ...]:
        """List the repeats whose steps a reader sees all at once."""
        return reference.template.plates[self._shared(reader, reference.template) :]

    def _index(self, reader: _Reader, reference: Reference) -> Index:
        """Give the step of each shared repeat at which a reader reads; -1: before the first one."""
        index = reader.index[: self._shared(reader, reference.template)]
        if not reference.previous:
            return index
        at = len(reader.scope.plates) - 1
        return (*index[:at], index[at] - 1, *index[at + 1 :])

    def _value(self, reader: _Reader, reference: Reference) -> str:
        """Name the one value that a reference stands for, all steps side by side where it stands for several."""
        template, index = reference.template, self._index(reader, reference)
        if reference.previous and template is reader.template and reader.carried:
            return reader.carried
        flat = self._flat(template, index)
        beyond = self._beyond(reader, reference)
        if reference.previous and index[len(reader.scope.plates) - 1] < 0:
            of = self._flat(template, tuple(0 for _ in template.plates))
            if not beyond:
                self._zeros(template, flat, of)
                return flat
        if not beyond:
            return flat
        if flat not in self.made.features:
            steps = list(self._steps(reader, reference))
            masks = [mask for _, mask in steps if mask]
            booleans = list(dict.fromkeys(masks))  # steps of a repeat within share that of the step that they are in
            exists = tuple(len(steps) + booleans.index(mask) for mask in masks)
            entry = Collect(steps=tuple(plate.size for plate in beyond), exists=exists)
            parents = [*(name for name, _ in steps), *booleans]
            self.made.features[flat] = {"parents": parents, "network": entry}
            self.made.hidden[flat] = None
            self.made.written.setdefault(
                ("features", flat), Written(template.scope.document, template.place, exact=True)
            )
        return flat

    def _mask(self, reader: _Reader, reference: Reference) -> str:
        """Name what says which of the steps side by side exist; empty where all do."""
        beyond = self._beyond(reader, reference)
        if not any(plate.count for plate in beyond):
            return ""
        plates = reference.template.plates
        shared = self._shared(reader, reference.template)
        at = max(i for i, plate in enumerate(plates) if plate.count)
        index = self._index(reader, reference)
        name = step_name(f"{plates[at].name}.{EXISTS}", index)
        if name not in self.made.features:
            sizes = [range(plate.size) for plate in plates[shared : at + 1]]
            parents = [self._exists(plates[: at + 1], (*index, *more)) for more in itertools.product(*sizes)]
            entry = Collect(steps=tuple(plate.size for plate in plates[shared : at + 1]))
            self.made.features[name] = {"parents": parents, "network": entry}
            self.made.hidden[name] = None
            self.made.written["features", name] = self._counted(plates[at])
        return name

    def _steps(self, reader: _Reader, reference: Reference) -> Iterator[tuple[str, str]]:
        """Give every step that a reader sees, and what says whether it exists."""
        template, index = reference.template, self._index(reader, reference)
        for more in itertools.product(*(range(plate.size) for plate in self._beyond(reader, reference))):
            whole = (*index, *more)
            yield self._flat(template, whole), self._exists(template.plates, whole)

    # what stands before the first step

    def _check_starts(self, templates: Sequence[Template]) -> None:
        """Find features that read themselves of the step before, and whose network does not say how wide they are."""
        edges: list[tuple[str, str]] = []
        places: dict[tuple[str, str], tuple[Template, Path]] = {}
        for template in templates:
            written = template.written if isinstance(template.written, dict) else {}
            words = written.get("parents") if template.kind in ("feature", "carry") else None
            for i, word in enumerate(words if isinstance(words, list) else ()):
                found = template.scope.find(word) if isinstance(word, str) else None
                if found is None or found.template.kind not in ("feature", "carry"):
                    continue
                if not found.previous or self._width(found.template) is None:
                    edges.append((found.template.name, template.name))
                if found.previous:
                    places[found.template.name, template.name] = (template, (*template.place, "parents", i))
        for cycle in find_cycles(edges):
            for pair in itertools.pairwise(cycle):
                if pair in places:
                    template, place = places[pair]
                    message = "what stands before the first step has no shape: let its network end in mlp or gru"
                    if template.scope.document is self.document:
                        self.findings.add(place, message)
                    break


def step_name(name: str, index: Index) -> str:
    """Name one step of a name; the steps of a repeat count from 1, what stands before the first one is 0.

    >>> step_name("digit.size", (1,)), step_name("a.b.x", (0, 2)), step_name("x", ())
    ('digit.size@2', 'a.b.x@1.3', 'x')
    """
    return f"{name}@{'.'.join(str(i + 1) for i in index)}" if index else name


def _product(sizes: Iterator[int]) -> int:
    total = 1
    for size in sizes:
        total = min(total * size, MAX_STEPS + 1)
    return total
