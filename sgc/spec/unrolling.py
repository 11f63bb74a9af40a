"""Repeats and parts -> plain nodes and features: a pure rewrite, before anything is checked or derived.

A node or feature of a repeat becomes one for each step, as `digit.size@2`; a carry becomes a feature; the step before
the first one becomes zeros. Read from outside, the steps are side by side, or, under `combine`, one by one.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any

from sgc.derivation.graph import find_cycles
from sgc.derivation.node_id import Index
from sgc.distributions.row_totals import OWN_SUM
from sgc.errors import Path, path_text
from sgc.networks.repeat_entries import Cell, CombineSteps, Hold
from sgc.spec.composition import MODEL, Composition, Included
from sgc.spec.document import Document, Plain
from sgc.spec.expanded import Expanded, Written
from sgc.spec.findings import Findings
from sgc.spec.references import Expansion, Reader, References
from sgc.spec.scopes import Template
from sgc.spec.unrolled import PartOf, Unrolled
from sgc.spec.written_nodes import total_of, with_total

ROLES = ("generative", "recognition")
REWRITTEN = ("parents", "network", "experts")  # of a piece


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
        self.expansion = Expansion()
        self.references = References(document, written, composition, findings, self.expansion)
        self.emptied: set[Path] = set()  # flat paths of what was taken out for faults that are reported already

    def unrolled(self) -> tuple[Expanded, Unrolled]:
        templates = list(self.composition.root.templates())
        self._networks()
        self._check_starts(templates)
        for template in templates:
            for index in itertools.product(*(range(plate.size) for plate in template.plates)):
                self._write(template, index)
        data = {key: value for key, value in self.data.items() if key not in MODEL or key == "inputs"}
        for key in ("networks", "features", "nodes"):
            if getattr(self.expansion, key) or key == "nodes":
                data[key] = getattr(self.expansion, key)
        document, written = self.document, self.expansion.written
        expanded = Expanded(document.file, document.lines, data, source=document, written=written)
        expanded.emptied |= self.emptied | self.references.unsized
        expanded.unread |= {path for path in document.unread if path[:1] not in (("repeat",), ("use",))}
        expanded.unread |= self.references.wrong
        for scope in self.composition.root.walk():
            expanded.unread |= {("use", name) for name in scope.unread}
        return expanded, self._facts()

    def _facts(self) -> Unrolled:
        expansion, parts = self.expansion, self.composition.parts
        optional = {
            template.name
            for part in parts
            for template in part.scope.templates()
            if template.kind == "node" and template.written.get("supervision") == "partial"
        }
        return Unrolled(
            nodes={name: tuple(steps) for name, steps in expansion.steps["nodes"].items()},
            features={name: tuple(steps) for name, steps in expansion.steps["features"].items()},
            sizes=expansion.sizes,
            around=expansion.around,
            exists=expansion.exists,
            parts=tuple(map(self._part, parts)),
            optional=frozenset(optional),
            hidden=frozenset(expansion.hidden),
            ids=expansion.ids,
            called=expansion.called,
        )

    def _part(self, part: Included) -> PartOf:
        prefix = f"{part.name}."
        names = [template.name for template in part.scope.templates() if template.kind != "input"]
        names += [
            name for name in self.expansion.steps["features"] if name.startswith(prefix)
        ]  # features that carries became
        own = {name[len(prefix) :]: name for name in names}
        bound = {name: template.name for name, template in part.bound.items()}
        place, plain = path_text(part.place), part.spec.plain()
        file = None if part.scope.document.file == part.host.file else FilePath(part.scope.document.file)
        return PartOf(part.name, place, part.weights, part.freeze, own, bound, plain, file)

    # names

    def _networks(self) -> None:
        for scope in self.composition.root.walk():
            if scope.above is not None and not scope.closed:
                continue
            source = self.data if scope.above is None else scope.document.data
            for name, network in (source.get("networks") or {}).items():
                flat = f"{scope.prefix}{name}"
                self.expansion.networks[flat] = copy.deepcopy(network)
                self.expansion.written["networks", flat] = Written(scope.document, ("networks", name))

    # writing

    def _write(self, template: Template, index: Index) -> None:
        if template.kind == "input" or not isinstance(template.written, dict):
            return
        flat, scope = self.references.flat(template, index), template.scope
        section = "nodes" if template.kind == "node" else "features"
        place = Written(scope.document, template.place)
        if not template.written and scope.document is self.document and self.findings.hurt(*template.place):
            self.emptied.add((section, flat))
        self.expansion.written[section, flat] = place
        self.expansion.written.setdefault((section, template.name), place)
        if template.kind == "node":
            self._node(template, index, flat)
        elif template.kind == "feature":
            raw = self._piece(Reader(template, index), template.written, (section, flat), template.place)
            self.expansion.feature(template.name, flat, raw, template.plates, hidden=False)
        else:
            self._carry(template, index, flat)

    def _node(self, template: Template, index: Index, flat: str) -> None:
        raw = {key: value for key, value in template.written.items() if key not in ROLES}
        self._total(template, raw)
        readers = dict.fromkeys((key for key in ROLES if key in template.written), template)
        giver = self.composition.givers.get(template.name)
        if giver is not None:
            readers.pop("generative", None)
            if "generative" in giver.written:
                readers["generative"] = giver
            self.expansion.written["nodes", flat, "generative"] = Written(
                giver.scope.document, (*giver.place, "generative")
            )
        for role, source in readers.items():
            raw[role] = source.written[role]
            if isinstance(raw[role], dict):
                raw[role] = self._piece(Reader(source, index), raw[role], ("nodes", flat, role), (*source.place, role))
        self.expansion.nodes[flat] = raw
        self.expansion.note("nodes", template.name, flat, template.plates)
        counts = self.references.counts(template.plates, index)
        if counts:
            self.expansion.exists[flat] = counts

    def _total(self, template: Template, raw: dict[str, Plain]) -> None:
        """Write the total of a family by the whole name of the input that gives it; others are reported later."""
        word = total_of(raw)
        reference = template.scope.find(word) if isinstance(word, str) and word != OWN_SUM else None
        if reference is not None:
            name = self.references.flat(reference.template, tuple(0 for _ in reference.template.plates))
            raw |= with_total(raw, name)

    def _carry(self, template: Template, index: Index, flat: str) -> None:
        """Write a carry as a feature of each step, which reads the state of the step before it in its direction."""
        written, plates = template.written, template.plates
        backward = written.get("direction") == "backward"
        last = plates[-1].size - 1
        *outer, step = index
        edge = step == (last if backward else 0)
        network = self.references.entries(template.scope, written.get("network"))
        cell = network[-1] if network and isinstance(network[-1], dict) and "gru" in network[-1] else None
        counted = backward and bool(self.references.exists(plates, index))
        new = f"{template.name}.new" if counted else template.name
        state = self.expansion.flat(new, index) if counted else flat
        before = self.expansion.flat(template.name, (*outer, step + 1 if backward else step - 1))
        if edge:
            before = self.expansion.flat(template.name, (*outer, last + 1 if backward else -1))
            self.references.zeros(template, before, state)
        reader = Reader(template, index, before)
        path: Path = ("features", state)
        if state != flat:
            self.expansion.written[path] = Written(template.scope.document, template.place)
            self.expansion.called[state] = f"'{template.name}'"
        own = {key: value for key, value in written.items() if key != "direction"}
        raw = self._piece(reader, own, path, template.place)
        if cell is not None:
            raw = self._cell(template, index, raw, network, cell["gru"], before)
        if cell is not None or counted:
            self.expansion.written[*path, "network"] = Written(template.scope.document, (*template.place, "network"))
        self.expansion.feature(new, state, raw, plates, hidden=counted)
        if counted:
            parents = [state, before, self.references.exists(plates, index)]
            self.expansion.feature(template.name, flat, {"parents": parents, "network": Hold()}, plates, hidden=False)

    def _cell(
        self, template: Template, index: Index, raw: Plain, network: Sequence[Plain], width: int, before: str
    ) -> Plain:
        """Put one step of a recurrent unit behind the entries before it in the network."""
        parents = raw.get("parents", [])
        if len(network) > 1:
            name = f"{template.name}.in"
            flat = self.expansion.flat(name, index)
            front = {**template.written, "network": list(network[:-1])}
            front.pop("direction", None)
            entries = self._piece(Reader(template, index, before), front, ("features", flat), template.place)
            self.expansion.written["features", flat] = Written(template.scope.document, template.place)
            self.expansion.called[flat] = f"'{template.name}'"
            self.expansion.feature(name, flat, entries, template.plates)
            parents = [flat]
        elif before in parents:
            self._read_twice(template)
            parents = [parent for parent in parents if parent != before]
        unit = Cell(gru=width) if isinstance(width, int) else {"gru": width}
        return {**raw, "parents": [*parents, before], "network": unit}

    def _read_twice(self, template: Template) -> None:
        """Report a parent that is the state which the recurrent unit reads anyway."""
        for i, word in enumerate(template.written["parents"]):
            reference = template.scope.find(word) if isinstance(word, str) else None
            if reference is not None and reference.previous and reference.template is template:
                place = (*template.place, "parents", i)
                if template.scope.document is self.document:  # else it was reported in the part's own file
                    self.findings.add(place, f"'{word}' is read already: a gru has its state before", "leave it out")

    def _piece(
        self, reader: Reader, written: Plain, path: Path, place: Path, *, keyed: bool = False
    ) -> dict[str, Plain]:
        """Rewrite a feature or a conditional: its parents, the names in its parameters, its network, its experts.

        keyed: an expert that is named after its parent, see `References.parents`.
        """
        raw = {key: copy.deepcopy(value) for key, value in written.items() if key not in REWRITTEN}
        network = copy.deepcopy(written.get("network"))
        parents = written.get("parents")
        entries = self.references.entries(reader.scope, network)
        first: Any = entries[0] if entries else None  # Any: whatever YAML can say
        combine = first.get("combine") if isinstance(first, dict) else None
        if isinstance(parents, list):
            apart = combine is not None
            raw["parents"], masks = self.references.parents(reader, parents, path, place, apart=apart, keyed=keyed)
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
        if "experts" in written:
            raw["experts"] = self._experts(reader, written["experts"], (*path, "experts"), (*place, "experts"))
        constants: Any = raw.get("parameters")  # Any: whatever YAML can say
        for key, value in constants.items() if isinstance(constants, dict) else ():
            if isinstance(value, str):
                below = ("parameters", key)
                reference = self.references.find(reader, value, (*path, *below), (*place, *below))
                if reference is not None:
                    constants[key] = self.references.value(reader, reference)
        return raw

    def _experts(self, reader: Reader, written: Plain, path: Path, place: Path) -> Plain:
        """Rewrite experts, the parents of each written out."""
        if not isinstance(written, dict):
            return written
        experts: dict[str, Plain] = {}
        for name, expert in written.items():
            below = (*path, name), (*place, name)
            wrong = reader.scope.document.has((*below[1], "parents"))  # what is not there was taken out
            keyed = isinstance(expert, dict) and "parents" not in expert and not wrong
            whole = {"parents": [name], **expert} if keyed else expert
            experts[name] = self._piece(reader, whole, *below, keyed=keyed) if isinstance(whole, dict) else whole
        return experts

    def _check_starts(self, templates: Sequence[Template]) -> None:
        """Find features that read their own step before, and whose network does not give their width."""
        edges: list[tuple[str, str]] = []
        places: dict[tuple[str, str], tuple[Template, Path]] = {}
        for template in templates:
            written = template.written if isinstance(template.written, dict) else {}
            words = written.get("parents") if template.kind in ("feature", "carry") else None
            for i, word in enumerate(words if isinstance(words, list) else ()):
                reference = template.scope.find(word) if isinstance(word, str) else None
                if reference is None or reference.template.kind not in ("feature", "carry"):
                    continue
                if not reference.previous or self.references.width(reference.template) is None:
                    edges.append((reference.template.name, template.name))
                if reference.previous:
                    places[reference.template.name, template.name] = (template, (*template.place, "parents", i))
        for cycle in find_cycles(edges):
            for pair in itertools.pairwise(cycle):
                if pair in places:
                    template, place = places[pair]
                    message = "the state before the first step has no shape: let its network end in mlp or gru"
                    if template.scope.document is self.document:
                        self.findings.add(place, message)
                    break
