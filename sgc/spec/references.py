"""What a name in a parents list becomes at one step of a repeat: a flat name, and features that compute its value.

No file has these features: the steps of a name side by side, whether a step exists, the zeros before the first step.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from sgc.derivation.node_id import Index, NodeId
from sgc.errors import Path
from sgc.networks.repeat_entries import Collect, Exists, Zeros
from sgc.spec.composition import Composition
from sgc.spec.document import Document, Plain
from sgc.spec.expanded import Written
from sgc.spec.findings import Findings
from sgc.spec.pieces import Feature
from sgc.spec.scopes import EXISTS, Plate, Reference, Scope, Template, named_after_parent


@dataclass
class Expansion:
    """The nodes, features and networks that are written out so far, and where they come from."""

    nodes: dict[str, Plain] = field(default_factory=dict)
    features: dict[str, Plain] = field(default_factory=dict)
    networks: dict[str, Plain] = field(default_factory=dict)
    written: dict[Path, Written] = field(default_factory=dict)
    steps: dict[str, dict[str, list[str]]] = field(default_factory=lambda: {"nodes": {}, "features": {}})
    sizes: dict[str, Index] = field(default_factory=dict)
    around: dict[str, tuple[Plate, ...]] = field(default_factory=dict)
    exists: dict[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    hidden: dict[str, None] = field(default_factory=dict)
    called: dict[str, str] = field(default_factory=dict)  # by flat name, the words for a feature that no file names
    ids: dict[str, NodeId] = field(default_factory=dict)  # by flat name, for everything at a step

    def flat(self, name: str, index: Index) -> str:
        """Return the flat name of a name at a step."""
        node = NodeId(name, index)
        if index:
            self.ids[node.flat] = node
        return node.flat

    def feature(self, name: str, flat: str, raw: Plain, plates: Sequence[Plate], *, hidden: bool = True) -> None:
        """Write a feature out. name: that of all its steps; hidden: no file has it."""
        self.features[flat] = raw
        if hidden:
            self.hidden[flat] = None
        self.note("features", name, flat, plates)

    def helper(self, flat: str, raw: Plain, place: Written) -> None:
        """Write out a feature that no file has and that belongs to no step. place: what it is made from."""
        self.features[flat] = raw
        self.hidden[flat] = None
        self.written.setdefault(("features", flat), place)

    def note(self, section: str, name: str, flat: str, plates: Sequence[Plate]) -> None:
        """Note the name that a step belongs to."""
        if plates:
            self.steps[section].setdefault(name, []).append(flat)
            self.sizes[name] = tuple(plate.size for plate in plates)
            self.around[name] = tuple(plates)


@dataclass(frozen=True)
class Reader:
    """A template at one step of each repeat around it, as the reader of a name."""

    template: Template
    index: Index
    carried: str = ""  # of a carry: the flat name of its state before

    @property
    def scope(self) -> Scope:
        return self.template.scope


class References:
    """Turns names into flat names, writing out the features that they need."""

    def __init__(
        self, document: Document, data: Plain, composition: Composition, findings: Findings, expansion: Expansion
    ) -> None:
        self.document, self.data, self.composition, self.findings = document, data, composition, findings
        self.expansion = expansion
        self.wrong: set[Path] = set()  # flat paths of unknown names
        self.unsized: set[Path] = set()  # flat paths of steps side by side whose number is not known

    def flat(self, template: Template, index: Index) -> str:
        if template.kind == "input":
            return template.name
        return self.expansion.flat(template.name, index)

    def exists(self, plates: Sequence[Plate], index: Index) -> str:
        """Name the feature that says whether a step exists, in the innermost repeat counted by a node; empty: none."""
        counted = [i for i, plate in enumerate(plates) if plate.count]
        if not counted:
            return ""
        at = counted[-1]
        plate, own_index = plates[at], index[: at + 1]
        name = f"{plate.name}.{EXISTS}"
        flat = self.expansion.flat(name, own_index)
        if min(own_index) < 0:  # nothing exists before the first step
            self.write_zeros(flat, Zeros(of="", width=1), self.counted(plate))
        elif flat not in self.expansion.features:
            (count, i), *_ = reversed(self.counts(plates[: at + 1], own_index))
            outer = self.exists(plates[:at], index[:at])
            parents = [count, *([outer] if outer else [])]
            self.expansion.feature(
                name, flat, {"parents": parents, "network": Exists(count=count, i=i)}, plates[: at + 1]
            )
            self.expansion.written["features", flat] = self.counted(plate)
        return flat

    def counted(self, plate: Plate) -> Written:
        """Return where the count of a repeat is written."""
        return self._counted[plate]

    @cached_property
    def _counted(self) -> dict[Plate, Written]:
        scopes = [scope for scope in self.composition.root.walk() if scope.plates and not scope.closed]
        return {s.plates[-1]: Written(s.document, (*s.place, "count"), exact=True) for s in reversed(scopes)}

    def counts(self, plates: Sequence[Plate], index: Index) -> tuple[tuple[str, int], ...]:
        """List the counts that say whether a step exists, and the number that each must exceed."""
        counters = [(self.by_name[plate.count], i) for plate, i in zip(plates, index, strict=True) if plate.count]
        return tuple((self.flat(counter, index[: len(counter.plates)]), i) for counter, i in counters)

    @cached_property
    def by_name(self) -> Mapping[str, Template]:
        """Every template by its whole name."""
        return {t.name: t for t in self.composition.root.templates()}

    def parents(
        self, reader: Reader, words: Sequence[Plain], path: Path, place: Path, *, apart: bool, keyed: bool = False
    ) -> tuple[list[Plain], list[str] | None]:
        """Return the flat names for a list of parents, and the names of what says whether they exist.

        apart: steps are listed one by one instead of side by side; the second list is None where there are none.
        keyed: the only parent is the key at `place`, of an expert that is named after it.
        """
        flat: list[Plain] = []
        masks: list[str] = []
        several = False
        for i, word in enumerate(words):
            entry_place, at = (place, "key") if keyed else ((*place, "parents", i), "value")
            flat_path = (*path, "parents", len(flat))
            reference = self.find(reader, word, flat_path, entry_place, at) if isinstance(word, str) else None
            added: list[tuple[str, str]]
            if reference is None:
                added = [(word, "")]
            elif apart and self.beyond(reader, reference):
                several = True
                beyond = self.beyond(reader, reference)
                added = list(self.steps(reference.template, self.index(reader, reference), beyond))
            else:
                added = [(self.value(reader, reference), "")]
                mask = "" if apart else self.mask(reader, reference)
                if mask and mask not in flat:
                    added.append((mask, ""))
            for name, mask in added:
                origin = Written(reader.scope.document, entry_place, exact=keyed)
                self.expansion.written[*path, "parents", len(flat)] = origin
                flat.append(name)
                masks.append(mask)
        return flat, masks if several else None

    def find(self, reader: Reader, word: str, path: Path, place: Path, at: str = "value") -> Reference | None:
        """Resolve a name for a reader; None, and a fault, if it is unknown. A part reports its own faults."""
        reference = reader.scope.find(word)
        if reference is None and reader.scope.document is self.document:
            self.wrong.add(path)
            if reader.scope.surely(word):
                hint = self.findings.suggest(word, lambda: reader.scope.visible(reader.template))
                hint = named_after_parent(hint) if at == "key" else hint
                self.findings.add(place, f"no node, feature or input named '{word}'", hint, at=at)
        return reference

    def shared(self, reader: Reader, template: Template) -> int:
        """Count the repeats around both a reader and what it reads."""
        pairs = zip(reader.scope.plates, template.plates, strict=False)
        return len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))

    def beyond(self, reader: Reader, reference: Reference) -> tuple[Plate, ...]:
        """List the repeats whose steps a reader sees all at once."""
        return reference.template.plates[self.shared(reader, reference.template) :]

    def index(self, reader: Reader, reference: Reference) -> Index:
        """Return the step of each shared repeat at which a reader reads; -1: before the first one."""
        index = reader.index[: self.shared(reader, reference.template)]
        if not reference.previous:
            return index
        at = len(reader.scope.plates) - 1
        return (*index[:at], index[at] - 1, *index[at + 1 :])

    def value(self, reader: Reader, reference: Reference) -> str:
        """Name the one value of a reference: all steps side by side where it means several."""
        template, index = reference.template, self.index(reader, reference)
        if reference.previous and template is reader.template and reader.carried:
            return reader.carried
        beyond = self.beyond(reader, reference)
        flat = self.flat(template, index)
        before = bool(index) and min(index) < 0
        if not beyond:
            if before:
                self.zeros(template, flat, self.flat(template, tuple(0 for _ in template.plates)))
            return flat
        if before:
            self.write_zeros(flat, Zeros(of=self.beside(template, _first(index), beyond)), written_for(template))
            return flat
        return self.beside(template, index, beyond)

    def beside(self, template: Template, index: Index, beyond: Sequence[Plate]) -> str:
        """Name all steps of a name side by side, those at one step of the repeats around."""
        flat = self.flat(template, index)
        if flat not in self.expansion.features:
            steps = list(self.steps(template, index, beyond))
            masks = [mask for _, mask in steps if mask]
            booleans = list(dict.fromkeys(masks))  # steps of a repeat within share that of the step that they are in
            exists = tuple(len(steps) + booleans.index(mask) for mask in masks)
            entry = Collect(steps=tuple(plate.size for plate in beyond), exists=exists)
            parents = [*(name for name, _ in steps), *booleans]
            self.expansion.helper(flat, {"parents": parents, "network": entry}, written_for(template))
            if any(self.is_unsized(plate) for plate in beyond):
                self.unsized.add(("features", flat))
        return flat

    def is_unsized(self, plate: Plate) -> bool:
        """Say whether the count of a repeat is wrong, so that its steps side by side have no known shape."""
        count = self.counted(plate)
        return count.document is self.document and self.findings.lost(*count.path)

    def mask(self, reader: Reader, reference: Reference) -> str:
        """Name what says which of the steps side by side exist; empty where all do."""
        beyond = self.beyond(reader, reference)
        if not any(plate.count for plate in beyond):
            return ""
        plates = reference.template.plates
        shared = self.shared(reader, reference.template)
        at = max(i for i, plate in enumerate(plates) if plate.count)
        index = self.index(reader, reference)
        name = self.expansion.flat(f"{plates[at].name}.{EXISTS}", index)
        if name not in self.expansion.features:
            sizes = [range(plate.size) for plate in plates[shared : at + 1]]
            parents = [self.exists(plates[: at + 1], (*index, *more)) for more in itertools.product(*sizes)]
            entry = Collect(steps=tuple(plate.size for plate in plates[shared : at + 1]))
            self.expansion.helper(name, {"parents": parents, "network": entry}, self.counted(plates[at]))
            self.expansion.called[name] = f"whether each step of '{plates[at].name}' exists"
        return name

    def steps(self, template: Template, index: Index, beyond: Sequence[Plate]) -> Iterator[tuple[str, str]]:
        """List every step of a name at one step of the repeats around, and what says whether it exists."""
        for more in itertools.product(*(range(plate.size) for plate in beyond)):
            full_index = (*index, *more)
            flat = self.flat(template, full_index)
            if min(full_index) < 0:
                self.zeros(template, flat, self.flat(template, _first(full_index)))
            yield flat, self.exists(template.plates, full_index)

    def zeros(self, template: Template, flat: str, of: str) -> None:
        """Write out the zeros before the first step of a name."""
        self.write_zeros(flat, Zeros(of=of, width=self.width(template)), written_for(template))

    def write_zeros(self, flat: str, zeros: Zeros, place: Written) -> None:
        """Write zeros out under a flat name. place: what they are the start of."""
        if flat not in self.expansion.features:
            self.expansion.helper(flat, Feature.model_construct(parents=(), network=zeros), place)

    def width(self, template: Template) -> int | None:
        """Return the width of a feature, if its network alone gives it."""
        if template.kind == "node" or not isinstance(template.written, dict):
            return None
        entries = self.entries(template.scope, template.written.get("network"))
        last = entries[-1] if entries and isinstance(entries[-1], dict) else {}
        for key in ("gru", "mlp", "residual"):
            width = last.get(key)
            width = width[-1] if isinstance(width, list) and width else width
            if isinstance(width, int) and not isinstance(width, bool) and width > 0:
                return width
        return None

    def entries(self, scope: Scope, network: Plain) -> list[Plain]:
        """List the entries of a network, which may be a shared one by its name."""
        if isinstance(network, str):
            root = scope.root
            source = self.data if root.above is None else root.document.data
            network = (source.get("networks") or {}).get(network)
            if isinstance(network, str):
                return []
        return network if isinstance(network, list) else [] if network is None else [network]


def written_for(template: Template) -> Written:
    """Return the place in the file of a name, for a feature that is made from it."""
    return Written(template.scope.document, template.place, exact=True)


def _first(index: Index) -> Index:
    """Return an index, with the first step in place of what is before it."""
    return tuple(max(i, 0) for i in index)
