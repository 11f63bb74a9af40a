"""Whether a step of a repeat exists, what that masks, and which labels are evidence on a count.

Step i exists while its count is above i. A label says that its step exists: with its count unlabelled it is evidence,
the count is proposed from q(k | ·, k > i), q(k > i | ·) joins the weight and p is conditioned on k > i. So nothing
clamped is masked by a count that is not, and what is proposed is masked by every count of its step. Masses are never
masked: the values of absent steps sum out.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from sgc.derivation.graph import Graphs

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Steps = tuple[tuple[str, int], ...]  # (count, i): the step exists while each count is above its i
SHOWN = 4  # groups of steps that a plan lists in full

K = TypeVar("K", bound=Hashable)
A = TypeVar("A", "np.ndarray[Any, np.dtype[Any]]", "Tensor")


def denied(count: A, i: int) -> A:
    """Mark where a count is known and not above i; the one place where they are compared, for arrays and tensors."""
    return count < i + 0.5


def absent(steps: Iterable[tuple[K, int]], counts: Mapping[K, A]) -> A | None:
    """Mark where a step does not exist, by its counts; None where none of them is among `counts`.

    counts: integers, whose shapes broadcast; NaN where a count is not known.
    """
    absences = [denied(counts[count], i) for count, i in steps if count in counts]
    return functools.reduce(operator.or_, absences) if absences else None


@dataclass(frozen=True)
class Existence:
    """What masks steps, and what is evidence on counts, in the rows of one plan.

    maybe_labelled: nodes whose label some of these rows carry.
    """

    graphs: Graphs
    clamped: frozenset[str]
    maybe_labelled: frozenset[str]

    def certain(self, name: str) -> bool:
        """Tell whether every row has the whole value of a node: its step exists if no labelled count rules it out."""
        return name in self.clamped and not self.graphs.nodes[name].dropped

    def masks(self, name: str) -> Steps:
        """Give what masks the scores of a node: labelled counts mask row by row, the others particle by particle."""
        steps = self.graphs.nodes[name].exists
        if self.certain(name):
            return tuple((count, i) for count, i in steps if count in self.clamped or count in self.maybe_labelled)
        return steps

    def counts(self, name: str) -> tuple[str, ...]:
        """Name the proposed counts that the scores of a node vary with."""
        if self.certain(name):
            return ()
        return tuple(count for count in self.graphs.nodes[name].counts if count not in self.clamped)

    @cached_property
    def evidence(self) -> Mapping[str, int | None]:
        """Give the proposed counts with labelled steps, and the last of these steps; None: it differs by row."""
        last: dict[str, int | None] = {}
        for name, node in self.graphs.nodes.items():
            if name in self.clamped or name in self.maybe_labelled:
                for count, i in node.exists:
                    if count not in self.clamped:
                        before = last.get(count, -1)
                        last[count] = max(before, i) if self.certain(name) and before is not None else None
        return last


def masked_text(masks: Mapping[str, Steps]) -> str:
    """Say which nodes are masked by what: those of one step together, and of many steps the first two and the last.

    >>> masked_text({"a1": (("k", 0),), "b1": (("k", 0),), "a2": (("k", 1),)})
    'a1, b1 while k > 0; a2 while k > 1'
    """
    groups: dict[Steps, list[str]] = {}
    for name, steps in masks.items():
        groups.setdefault(steps, []).append(name)
    parts = [
        f"{', '.join(names)} while {' and '.join(f'{count} > {i}' for count, i in steps)}"
        for steps, names in groups.items()
    ]
    return "; ".join(parts if len(parts) <= SHOWN else [*parts[:2], "...", parts[-1]])


def counts_of(graphs: Graphs) -> Collection[str]:
    """Name every node that counts the steps of a repeat, as first met."""
    return dict.fromkeys(count for node in graphs.nodes.values() for count in node.counts)


def read_by_same_steps(graphs: Graphs, name: str) -> bool:
    """Tell whether all that reads a step in q exists only where the step does."""

    def within(inner: Steps) -> bool:
        return all(any(count == other and j >= i for other, j in inner) for count, i in graphs.nodes[name].exists)

    return all(within(graphs.nodes[reader].exists) for reader in graphs.children(name, "recognition"))
