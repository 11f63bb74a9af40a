"""Steps that do not exist: what masks the scores of a repeat's step, and which labels are evidence on its count.

Step i exists while its count is above i. A label says that its step is there: with its count unlabelled it is evidence,
the count is proposed from q(k | ·, k > i), q(k > i | ·) joins the weight and p is held to k > i. So nothing that is
clamped is masked by a count that is not, and what is proposed is masked by every count of its step. Masses are never
masked: the values of steps that do not exist sum out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from sgc.derivation.graph import Graphs

Steps = tuple[tuple[str, int], ...]  # (count, i): there while each count is above its i
SHOWN = 4  # groups of steps that a plan lists in full


@dataclass(frozen=True)
class Existence:
    """What masks and what tells of counts in the rows of one plan. either: nodes that some of them carry."""

    graphs: Graphs
    clamped: frozenset[str]
    either: frozenset[str]

    def sure(self, name: str) -> bool:
        """Tell whether every row carries a node whole, so that its step is there unless a labelled count denies it."""
        return name in self.clamped and not self.graphs.nodes[name].dropped

    def masks(self, name: str) -> Steps:
        """Give what the scores of a node hang on; a count that is labelled masks row by row, the others by particle."""
        steps = self.graphs.nodes[name].exists
        if self.sure(name):
            return tuple((count, i) for count, i in steps if count in self.clamped or count in self.either)
        return steps

    def counts(self, name: str) -> tuple[str, ...]:
        """Name the proposed counts that the scores of a node vary with."""
        if self.sure(name):
            return ()
        return tuple(count for count, _ in self.masks(name) if count not in self.clamped)

    @cached_property
    def evidence(self) -> Mapping[str, int | None]:
        """Give the proposed counts that labels tell of, and the last labelled step; None: it differs by row."""
        found: dict[str, int | None] = {}
        for name, node in self.graphs.nodes.items():
            if name in self.clamped or name in self.either:
                for count, i in node.exists:
                    if count not in self.clamped:
                        last = found.get(count, -1)
                        found[count] = max(last, i) if self.sure(name) and last is not None else None
        return found


def masked_text(masks: Mapping[str, Steps]) -> str:
    """Say which nodes are masked by what, those of one step together, and of many steps the first and the last.

    >>> masked_text({"a1": (("k", 0),), "b1": (("k", 0),), "a2": (("k", 1),)})
    'a1, b1 while k > 0; a2 while k > 1'
    """
    groups: dict[Steps, list[str]] = {}
    for name, steps in masks.items():
        groups.setdefault(steps, []).append(name)
    parts = [f"{', '.join(names)} while {_text(steps)}" for steps, names in groups.items()]
    return "; ".join(parts if len(parts) <= SHOWN else [*parts[:2], "...", parts[-1]])


def _text(steps: Iterable[tuple[str, int]]) -> str:
    return " and ".join(f"{count} > {i}" for count, i in steps)


def counts_of(graphs: Graphs) -> Collection[str]:
    """Name every node that a step's existence hangs on, as first met."""
    return dict.fromkeys(count for node in graphs.nodes.values() for count, _ in node.exists)


def read_where_there(graphs: Graphs, name: str) -> bool:
    """Tell whether a step is read, in q, only by nodes that are there only where it is."""
    readers = graphs.children(name, "recognition")
    return all(_within(graphs.nodes[reader].exists, graphs.nodes[name].exists) for reader in readers)


def _within(inner: Steps, outer: Steps) -> bool:
    return all(any(count == other and step >= i for other, step in inner) for count, i in outer)
