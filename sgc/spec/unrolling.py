"""Repeats and parts -> plain nodes and features: a pure rewrite, before anything is checked or derived.

Every node and feature of a repeat stands there once for each step, as `digit.size@2`; a carry becomes a feature, the
step before the first one zeros, and what is read from outside all steps side by side, or, under `combine`, one by one.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any

from sgc.derivation.graph import find_cycles
from sgc.derivation.node_id import Index
from sgc.distributions.row_totals import OWN_SUM, TOTAL
from sgc.errors import Path, path_text
from sgc.networks.repeat_entries import Cell, CombineSteps, Hold
from sgc.spec.composition import MODEL, Composition
from sgc.spec.document import Document, Plain
from sgc.spec.expanded import Expanded, Written
from sgc.spec.findings import Findings
from sgc.spec.references import Made, Reader, Referring
from sgc.spec.scopes import Template
from sgc.spec.unrolled import PartOf, Unrolled
from sgc.spec.written_nodes import options_place

ROLES = ("generative", "recognition")


def unroll(
    document: Document, written: Plain, composition: Composition, findings: Findings
) -> tuple[Expanded, Unrolled]:
    """Write repeats and parts out as nodes and features; unknown names in them are added to the findings.

    written: the document's data without what is wrong in itself.
    """
    return _Unrolling(document, written, composition, findings).unrolled()


class _Unrolling:
    def __init__(self, document: Document, written: Plain, composition: Composition, findings: Findings) -> None:
        self.document, self.data, self.composition, self.findings = document, written, composition, findings
        self.made = Made()
        self.refer = Referring(document, written, composition, findings, self.made)
        self.emptied: set[Path] = set()  # flat paths of what was taken out for its faults, told already

    def unrolled(self) -> tuple[Expanded, Unrolled]:
        templates = list(self.composition.root.templates())
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
            self.document.file,
            self.document.lines,
            data,
            source=self.document,
            written=self.made.written,
        )
        expanded.emptied |= self.emptied | self.refer.unsized
        expanded.unread |= {path for path in self.document.unread if not self._inside(path)} | self.refer.wrong
        for scope in self.composition.root.walk():
            expanded.unread |= {("use", name) for name in scope.unread}
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
            ids=made.ids,
            called=made.called,
        )

    def _part(self, part: Any) -> PartOf:  # Any: an included part
        prefix = f"{part.name}."
        names = [template.name for template in part.scope.templates() if template.kind != "input"]
        names += [name for name in self.made.steps["features"] if name.startswith(prefix)]  # what carries are made of
        own = {name[len(prefix) :]: name for name in names}
        bound = {name: template.name for name, template in part.bound.items()}
        where, plain = path_text(part.place), part.spec.plain()
        file = None if part.scope.document.file == part.host.file else FilePath(part.scope.document.file)
        return PartOf(part.name, where, part.weights, part.freeze, own, bound, plain, file)

    # names

    def _networks(self) -> None:
        for scope in self.composition.root.walk():
            if scope.above is not None and not scope.closed:
                continue
            source = self.data if scope.above is None else scope.document.data
            for name, network in (source.get("networks") or {}).items():
                flat = f"{scope.prefix}{name}"
                self.made.networks[flat] = copy.deepcopy(network)
                self.made.written["networks", flat] = Written(scope.document, ("networks", name))

    # writing

    def _write(self, template: Template, index: Index) -> None:
        if template.kind == "input" or not isinstance(template.written, dict):
            return
        flat, scope = self.refer.flat(template, index), template.scope
        section = "nodes" if template.kind == "node" else "features"
        place = Written(scope.document, template.place)
        if not template.written and scope.document is self.document and self.findings.hurt(*template.place):
            self.emptied.add((section, flat))
        self.made.written[section, flat] = place
        self.made.written.setdefault((section, template.name), place)
        if template.kind == "node":
            self._node(template, index, flat)
        elif template.kind == "feature":
            raw = self._piece(Reader(template, index), template.written, (section, flat), template.place)
            self.made.feature(template.name, flat, raw, template.plates, hidden=False)
        else:
            self._carry(template, index, flat)

    def _node(self, template: Template, index: Index, flat: str) -> None:
        raw = {key: each for key, each in template.written.items() if key not in ROLES}
        self._total(template, raw)
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
                reader = Reader(source, index)
                raw[role] = self._piece(reader, written, ("nodes", flat, role), (*source.place, role))
            else:
                raw[role] = written
        self.made.nodes[flat] = raw
        self.made.note("nodes", template.name, flat, template.plates)
        counts = self.refer.counts(template.plates, index)
        if counts:
            self.made.exists[flat] = counts

    def _total(self, template: Template, raw: dict[str, Plain]) -> None:
        """Write the total of a family by the whole name of the input that gives it; what is none is told later."""
        place = options_place(raw)
        word = raw[place[0]][place[1]].get(TOTAL) if place is not None else None
        found = template.scope.find(word) if isinstance(word, str) and word != OWN_SUM else None
        if place is not None and found is not None:
            key, inner = place
            name = self.refer.flat(found.template, tuple(0 for _ in found.template.plates))
            raw[key] = {**raw[key], inner: {**raw[key][inner], TOTAL: name}}

    def _carry(self, template: Template, index: Index, flat: str) -> None:
        """Write a carry as a feature of each step, which reads the state of the step before it in its direction."""
        written, plates = template.written, template.plates
        backward = written.get("direction") == "backward"
        last = plates[-1].size - 1
        *outer, step = index
        edge = step == (last if backward else 0)
        network = self.refer.entries(template.scope, written.get("network"))
        cell = network[-1] if network and isinstance(network[-1], dict) and "gru" in network[-1] else None
        counted = backward and bool(self.refer.exists(plates, index))
        new = f"{template.name}.new" if counted else template.name
        made = self.made.flat(new, index) if counted else flat
        before = self.made.flat(template.name, (*outer, step + 1 if backward else step - 1))
        if edge:
            before = self.made.flat(template.name, (*outer, last + 1 if backward else -1))
            self.refer.zeros(template, before, made)
        reader = Reader(template, index, before)
        path: Path = ("features", made)
        if made != flat:
            self.made.written[path] = Written(template.scope.document, template.place)
            self.made.called[made] = f"'{template.name}'"
        raw = self._piece(reader, {k: written[k] for k in ("parents", "network") if k in written}, path, template.place)
        if cell is not None:
            raw = self._cell(template, index, raw, network, cell["gru"], before)
        if cell is not None or counted:
            self.made.written[*path, "network"] = Written(template.scope.document, (*template.place, "network"))
        self.made.feature(new, made, raw, plates, hidden=counted)
        if counted:
            parents = [made, before, self.refer.exists(plates, index)]
            self.made.feature(template.name, flat, {"parents": parents, "network": Hold()}, plates, hidden=False)

    def _cell(
        self, template: Template, index: Index, raw: Plain, network: Sequence[Plain], width: int, before: str
    ) -> Plain:
        """Put one step of a recurrent unit behind what stands before it in the network."""
        parents = raw.get("parents", [])
        if len(network) > 1:
            name = f"{template.name}.in"
            flat = self.made.flat(name, index)
            entries = self._piece(
                Reader(template, index, before),
                {**template.written, "network": list(network[:-1])},
                ("features", flat),
                template.place,
            )
            entries.pop("direction", None)
            self.made.written["features", flat] = Written(template.scope.document, template.place)
            self.made.called[flat] = f"'{template.name}'"
            self.made.feature(name, flat, entries, template.plates)
            parents = [flat]
        elif before in parents:
            self._read_twice(template)
            parents = [parent for parent in parents if parent != before]
        return {"parents": [*parents, before], "network": Cell(gru=width) if isinstance(width, int) else {"gru": width}}

    def _read_twice(self, template: Template) -> None:
        """Report a state that is written beside the recurrent unit which reads it as its own."""
        for i, word in enumerate(template.written["parents"]):
            found = template.scope.find(word) if isinstance(word, str) else None
            if found is not None and found.previous and found.template is template:
                place = (*template.place, "parents", i)
                if template.scope.document is self.document:  # else it was told in the part's own file
                    self.findings.add(place, f"'{word}' is read already: a gru has its state before", "leave it out")

    def _piece(self, reader: Reader, written: Plain, path: Path, place: Path) -> dict[str, Plain]:
        """Rewrite a feature or a conditional: its parents, the names its parameters take, its network."""
        raw = {key: copy.deepcopy(each) for key, each in written.items() if key not in ("parents", "network")}
        network = copy.deepcopy(written.get("network"))
        parents = written.get("parents")
        entries = self.refer.entries(reader.scope, network)
        first: Any = entries[0] if entries else None  # Any: whatever YAML can say
        combine = first.get("combine") if isinstance(first, dict) else None
        if isinstance(parents, list):
            raw["parents"], masks = self.refer.parents(reader, parents, path, place, apart=combine is not None)
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
                found = self.refer.find(reader, value, (*path, "parameters", key), (*place, "parameters", key))
                if found is not None:
                    constants[key] = self.refer.value(reader, found)
        return raw

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
                if not found.previous or self.refer.width(found.template) is None:
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
