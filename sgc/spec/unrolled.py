"""What a spec's repeats and parts were before they were written out as plain nodes and features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sgc.derivation.node_id import NodeId
from sgc.spec.scopes import Plate

Steps = Mapping[str, tuple[str, ...]]  # by name in the file, the flat name of each step, row-major


@dataclass(frozen=True)
class PartOf:
    """A part of a spec: where its weights are, and what its names are called here.

    where: its place in the file. names: by the part's own name, that of the node or feature here, steps all under one;
    bound: those of its nodes that stand for a node of the host, which has a q of its own.
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
    """The repeats and parts of a spec whose nodes and features are all plain.

    sizes: by name in the file, how often it stands for each repeat around it. exists: by flat name of a node,
    the counts that say whether it exists, and the step (from 0) that each must be above. optional: nodes of
    parts that need no column. hidden: features that nobody wrote. written: the sections as they were written,
    parts in full. ids: by flat name, the name and step of all that stands at a step, what nobody wrote too; called:
    of what nobody gave the name that it has, words for it.
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
        """Give the name in the file and the step of a flat name; a name that stands in no repeat is its own."""
        return self.ids.get(flat) or NodeId(flat)

    def name(self, flat: str) -> str:
        """Give the name in the file of a flat name."""
        return self.id(flat).name

    def word(self, flat: str) -> str:
        """Say in a message to users what a flat name stands for: a name of the file in quotes, without its step."""
        return self.called.get(flat) or f"'{self.id(flat).name}'"

    @cached_property
    def template(self) -> Mapping[str, str]:
        """The name in the file, by the flat name of each step; what stands in no repeat is not in it."""
        return {flat: name for steps in (self.nodes, self.features) for name, each in steps.items() for flat in each}

    def owner(self, flat: str) -> str:
        """Give the first step of a name, whose networks the others share; itself where it stands in no repeat."""
        name = self.template.get(flat)
        return flat if name is None else (self.nodes.get(name) or self.features[name])[0]

    @property
    def plates(self) -> tuple[Plate, ...]:
        """Every repeat, outer ones first."""
        return tuple(dict.fromkeys(plate for around in self.around.values() for plate in around))
