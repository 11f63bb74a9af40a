"""The repeats and parts of a spec whose nodes and features are written out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sgc.derivation.node_id import NodeId
from sgc.spec.scopes import Plate

UNROLLED = ("repeat", "use")  # the sections that are written out
Steps = Mapping[str, tuple[str, ...]]  # by name in the file, the flat name of each step, row-major


@dataclass(frozen=True)
class PartOf:
    """A part of a spec: where its weights are, and what its names are called here.

    where: its place in the file. names: by the part's own name, that of the node or feature here, one for all steps;
    bound: those of its nodes that are bound to a node of the host, which has its own q.
    """

    name: str
    where: str
    weights: Path | None
    freeze: bool
    names: Mapping[str, str]
    bound: Mapping[str, str]
    own: Mapping[str, Any]  # Any: plain data; the part's own spec
    file: Path | None = field(default=None, compare=False)  # that it was read from


@dataclass(frozen=True)
class Unrolled:
    """The repeats and parts of a spec, by the names in the file and the flat names that they became.

    sizes: by name in the file, the number of steps of each repeat around it. exists: by flat name of a node, the counts
    that say whether it exists, and the step (from 0) that each must exceed. optional: nodes of parts that need no
    column. hidden: features that no file has. written: the sections as they were written, parts in full. ids: by flat
    name, the name and step of everything in a repeat, hidden or not. called: words for hidden features.
    """

    nodes: Steps = field(default_factory=dict)
    features: Steps = field(default_factory=dict)
    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    around: Mapping[str, tuple[Plate, ...]] = field(default_factory=dict)
    exists: Mapping[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    parts: tuple[PartOf, ...] = ()
    optional: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    written: Mapping[str, Any] = field(default_factory=dict)  # Any: plain data
    ids: Mapping[str, NodeId] = field(default_factory=dict)
    called: Mapping[str, str] = field(default_factory=dict)

    def id(self, flat: str) -> NodeId:
        """Return the name in the file and the step of a flat name; outside repeats the two names are the same."""
        return self.ids.get(flat) or NodeId(flat)

    def name(self, flat: str) -> str:
        """Return the name in the file of a flat name."""
        return self.id(flat).name

    def word(self, flat: str) -> str:
        """Write a flat name for a message to users: its name in the file, in quotes, without its step."""
        return self.called.get(flat) or f"'{self.id(flat).name}'"

    @cached_property
    def template(self) -> Mapping[str, str]:
        """The name in the file, by the flat name of each step; only what is in a repeat."""
        return {flat: name for steps in (self.nodes, self.features) for name, flats in steps.items() for flat in flats}

    def owner(self, flat: str) -> str:
        """Return the first step of a name, whose networks the others share; outside repeats the name itself."""
        name = self.template.get(flat)
        return flat if name is None else (self.nodes.get(name) or self.features[name])[0]

    @property
    def plates(self) -> tuple[Plate, ...]:
        """Every repeat, outer ones first."""
        return tuple(dict.fromkeys(plate for around in self.around.values() for plate in around))
