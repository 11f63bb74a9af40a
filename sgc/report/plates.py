"""An outline with every repeat once, as a plate: nodes by their names in the file, the step before apart.

The steps of a repeat differ only in their places, so one represents all: the second, which has a step before it.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from sgc.derivation.graph import Graphs, Role
from sgc.derivation.name_sets import members
from sgc.derivation.node_id import Index
from sgc.networks.entries import Combine
from sgc.networks.entry import Entry
from sgc.networks.repeat_entries import Cell, Collect, CombineSteps, Exists, Hold
from sgc.spec.outline import Density, FeatureOutline, Outline
from sgc.spec.scopes import PREVIOUS, Plate

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Relative:
    """A name as it is read from a step: of the same step, of an earlier one (shift below 0) or of a later one."""

    name: str
    shift: int = 0

    def __str__(self) -> str:
        return f"{'later ' if self.shift > 0 else 'earlier ' if self.shift else ''}{self.name}"


@dataclass(frozen=True)
class Carry:
    """A carry of a repeat, and whether it runs from the last step to the first."""

    name: str
    backward: bool


class Names:
    """The names of a spec's file behind those of its steps."""

    def __init__(self, outline: Outline) -> None:
        self.flat = outline
        self.unrolled = outline.spec.unrolled
        self.around = self.unrolled.around
        self.hidden = self.unrolled.hidden
        flat = (name for name in (*outline.variables, *outline.features, *outline.inputs) if name not in self.hidden)
        self.shown = frozenset(self.of(name) for name in flat)

    def of(self, flat: str) -> str:
        """Give the name in the file of a step, or of the state before the first one."""
        return self.unrolled.id(flat).name

    def index(self, flat: str) -> Index:
        """Give the steps that a name is of, from 0; -1 is before the first one."""
        return self.unrolled.id(flat).index

    def plates(self, name: str) -> tuple[Plate, ...]:
        """List the repeats around a name in the file, outermost first."""
        return self.around.get(name, ())

    def middle(self, name: str) -> str:
        """Give the step that represents all: the second one where there is one."""
        steps = self.unrolled.nodes.get(name) or self.unrolled.features.get(name)
        if steps is None:
            return name
        wanted = tuple(min(1, plate.size - 1) for plate in self.plates(name))
        return next(flat for flat in steps if self.index(flat) == wanted)

    def distance(self, reader: str, flat: str) -> int:
        """Say by how many steps a name is before (below 0) or after its reader, in the repeats of both."""
        ours, theirs = self.plates(self.of(reader)), self.plates(self.of(flat))
        pairs = zip(zip(ours, self.index(reader), strict=False), zip(theirs, self.index(flat), strict=False))  # noqa: B905
        for (own, own_step), (other, other_step) in pairs:
            if own != other:
                break
            if own_step != other_step:
                return other_step - own_step
        return 0

    def relatives(self, reader: str, parents: Iterable[str]) -> list[Relative]:
        """List what a step reads by names of the file; features that no file names are seen through."""
        relatives: dict[Relative, None] = {}
        for flat in parents:
            name = self.of(flat)
            if name in self.shown:
                relatives[Relative(name, self.distance(reader, flat))] = None
            elif not self._exists(flat):
                relatives |= dict.fromkeys(self.relatives(reader, self.flat.features[flat].parents))
        return list(relatives)

    def _exists(self, flat: str) -> bool:
        return any(isinstance(entry, Exists) for entry in self.flat.features[flat].entries)

    def behind(self, feature: FeatureOutline) -> FeatureOutline | None:
        """Give the feature in no file that holds the first layers of this one's network, where there is one."""
        for flat in feature.parents:
            if flat in self.hidden and self.of(flat) not in self.shown:
                inner = self.flat.features[flat]
                if not any(isinstance(entry, Exists | Collect) for entry in inner.entries):
                    return inner
        return None

    def short(self, reader: str, name: str) -> str:
        """Write a name as in the file at `reader`: without the repeat around both."""
        prefixes = [f"{plate.name}." for plate in reversed(self.plates(reader))]
        for i, prefix in enumerate(prefixes):
            if name.startswith(prefix):
                cut = name[len(prefix) :]
                hides = any(f"{nearer}{cut}" in self.shown for nearer in prefixes[:i])
                return name if hides else cut
        return name

    def written(self, reader: str, relative: Relative) -> str:
        """Write what is read, `prev.size` where it is of the step before in the direction of a carry."""
        text = self.short(reader, relative.name)
        return f"{PREVIOUS}.{text}" if relative.shift else text

    def placed(self, reader: str, flat: str) -> Relative:
        """Say whether a step is the same as that of a reader, an earlier one (-1) or a later one (1)."""
        distance = self.distance(reader, flat)
        return Relative(self.of(flat), (distance > 0) - (distance < 0))


class StepSets:
    """Sets of steps as bits, by their places in a list of names, divided by names of the file."""

    def __init__(self, names: Names, flat: Sequence[str]) -> None:
        self.names, self.flat = names, flat
        self._places = places_of(map(names.of, flat))
        self._divided: dict[tuple[str, int], Mapping[Index, tuple[int, int]]] = {}

    def placed(self, reader: str, bits: int) -> dict[Relative, int]:
        """Divide a set by `Names.placed` of a reader, in the order of the list."""
        by_relative: dict[Relative, int] = {}
        ours = self.names.plates(self.names.of(reader))
        while bits:
            name = self.names.of(self.flat[next(members(bits))])
            steps_of_name = bits & self._places[name]
            bits &= ~steps_of_name
            pairs = zip(ours, self.names.plates(name), strict=False)
            common = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
            earlier, same = self._around(name, common)[self.names.index(reader)[:common]]
            ways = ((-1, steps_of_name & earlier), (0, steps_of_name & same), (1, steps_of_name & ~earlier & ~same))
            by_relative |= {Relative(name, shift): steps for shift, steps in ways if steps}
        return dict(sorted(by_relative.items(), key=lambda item: item[1] & -item[1]))

    def _around(self, name: str, common: int) -> Mapping[Index, tuple[int, int]]:
        """Give, for each step of the outer repeats, the steps of a name that are earlier, and those of the same."""
        if (name, common) not in self._divided:
            own: dict[Index, int] = {}
            for i in members(self._places[name]):
                index = self.names.index(self.flat[i])[:common]
                own[index] = own.get(index, 0) | 1 << i
            around: dict[Index, tuple[int, int]] = {}
            earlier = 0
            for index in sorted(own):
                around[index] = earlier, own[index]
                earlier |= own[index]
            self._divided[name, common] = around
        return self._divided[name, common]


def places_of(keys: Iterable[K]) -> dict[K, int]:
    """Give the places of each key in a list, as bits."""
    places: dict[K, int] = {}
    for i, key in enumerate(keys):
        places[key] = places.get(key, 0) | 1 << i
    return places


@dataclass(frozen=True)
class Plated:
    """A model with each repeat once.

    outline: its nodes and features by their names in the file; parents are worded as their readers write them, but in
    `outline.graphs` they are names, and the step before is left out. flat: the model it was made of.
    """

    outline: Outline
    flat: Outline
    names: Names

    @property
    def plates(self) -> tuple[Plate, ...]:
        """Every repeat, outer ones first."""
        return self.names.unrolled.plates

    @cached_property
    def steps(self) -> Mapping[str, tuple[str, ...]]:
        """The flat nodes by their names in the file."""
        steps: dict[str, list[str]] = {}
        for flat in self.flat.variables:
            steps.setdefault(self.names.of(flat), []).append(flat)
        return {name: tuple(nodes) for name, nodes in steps.items()}

    @cached_property
    def carries(self) -> tuple[Carry, ...]:
        """Every carry that some repeat has."""
        return tuple(_carries(self.names.unrolled.written, ""))

    def links(self, role: Role) -> list[tuple[Relative, str]]:
        """List what the nodes and features of one graph read, those of the step before and after too."""
        links: dict[tuple[Relative, str], None] = {}
        for name in (*self.outline.features, *self.outline.variables):
            flat = self.names.middle(name)
            for relative in self.names.relatives(flat, self.flat.graphs.parents(flat, role)):
                links[relative, name] = None
        return list(links)

    def spread(self, observed: Iterable[str]) -> frozenset[str]:
        """Give the flat nodes of a pattern of names in the file; a single step gives its own node."""
        return frozenset(flat for name in observed for flat in self.steps.get(name, (name,)))


def plated(outline: Outline) -> Plated:
    """Fold the steps of every repeat into one. A model without repeats stays as it is."""
    names = Names(outline)
    if not names.around:
        return Plated(outline, outline, names)

    def keys(pieces: Mapping[str, T]) -> dict[str, T]:
        shown = dict.fromkeys(names.of(flat) for flat in pieces if flat not in names.hidden)
        return {name: pieces[names.middle(name)] for name in shown}

    variables = {name: replace(variable, name=name) for name, variable in keys(outline.variables).items()}
    features = {name: _feature(names, name, feature) for name, feature in keys(outline.features).items()}
    generative = {name: _density(names, name, density) for name, density in keys(outline.generative).items()}
    recognition = {name: _density(names, name, density) for name, density in keys(outline.recognition).items()}
    folded = Outline(
        outline.spec, variables, features, outline.inputs, generative, recognition, _graphs(names, outline, features)
    )
    return Plated(folded, outline, names)


def _graphs(names: Names, outline: Outline, features: Iterable[str]) -> Graphs:
    def read(flat: str, parents: Iterable[str]) -> tuple[str, ...]:
        return tuple(relative.name for relative in names.relatives(flat, parents) if not relative.shift)

    nodes = {}
    for name in dict.fromkeys(map(names.of, outline.variables)):
        flat = names.middle(name)
        node = outline.graphs.nodes[flat]
        q = None if node.recognition is None else read(flat, node.recognition)
        nodes[name] = replace(node, name=name, generative=read(flat, node.generative), recognition=q, exists=())
    feature_parents = {
        name: read(names.middle(name), outline.features[names.middle(name)].parents) for name in features
    }
    return Graphs(nodes, feature_parents, outline.graphs.inputs)


def _density(names: Names, name: str, density: Density) -> Density:
    def words(flat: Iterable[str]) -> tuple[str, ...]:
        return tuple(names.written(name, relative) for relative in names.relatives(density.node, flat))

    constants = {
        key: replace(constant, value=words([constant.value])[0]) if isinstance(constant.value, str) else constant
        for key, constant in density.constants.items()
    }
    parents = _aligned(names, density.node, density.parents)
    of_experts = tuple(_density(names, name, part) for part in density.of_experts)
    experts = density.experts
    if experts is not None:
        members = [
            replace(
                member, parents=part.parents, needs=tuple(tuple(dict.fromkeys(map(names.of, n))) for n in member.needs)
            )
            for member, part in zip(experts.members, of_experts, strict=True)
        ]
        experts = replace(experts, members=tuple(members))
    stack = density.stack
    if stack is not None:
        stack = replace(stack, parents=tuple(stack.parents[i] for i in parents))
    return replace(
        density,
        node=name,
        parents=words(density.parents[i] for i in parents),
        reads=words(density.reads),
        entries=_written(density.entries),
        stack=stack,
        constants=constants,
        experts=experts,
        of_experts=of_experts,
    )


def _feature(names: Names, name: str, feature: FeatureOutline) -> FeatureOutline:
    chain = [feature]
    while (behind := names.behind(chain[-1])) is not None:
        chain.append(behind)
    front = chain[-1]
    implied = any(isinstance(entry, Cell) for link in chain for entry in link.entries)  # no file names its state
    aligned = _aligned(names, feature.name, front.parents)
    parents = [i for i in aligned if not implied or names.of(front.parents[i]) != name]
    count = sum(link.stack.parameters for link in chain)
    shapes = tuple(front.stack.parents[i] for i in parents)
    stack = replace(feature.stack, parents=shapes, first=front.stack.first, parameters=count)
    relatives = names.relatives(feature.name, (front.parents[i] for i in parents))
    entries = tuple(entry for link in reversed(chain) for entry in _written(link.entries))
    trunk = next((link.trunk for link in chain if link.trunk), "")
    written = tuple(names.written(name, relative) for relative in relatives)
    return FeatureOutline(name, written, entries, trunk, stack, feature.weight_decay)


def _aligned(names: Names, reader: str, parents: Iterable[str]) -> list[int]:
    """Choose of a list of parents the first of each that is shown."""
    places: dict[Relative, int] = {}
    for i, flat in enumerate(parents):
        for relative in names.relatives(reader, [flat]):
            places.setdefault(relative, i)
    return sorted(set(places.values()))


def _written(entries: Iterable[Entry]) -> tuple[Any, ...]:  # Any: entries are a union of kinds
    shown = [entry for entry in entries if not isinstance(entry, Hold)]
    return tuple(Combine(combine=entry.way) if isinstance(entry, CombineSteps) else entry for entry in shown)


def _carries(written: Mapping[str, Any], prefix: str) -> Iterator[Carry]:  # Any: plain data
    for name, body in (written.get("repeat") or {}).items():
        for own, carry in (body.get("carry") or {}).items():
            yield Carry(f"{prefix}{name}.{own}", carry.get("direction") == "backward")
        yield from _carries(body, f"{prefix}{name}.")
    for name, part in (written.get("use") or {}).items():
        yield from _carries(part.get("spec") or {}, f"{prefix}{name}.")
