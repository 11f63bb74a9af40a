"""The name of a node or feature: its name in the file, and its step of each repeat around it."""

from __future__ import annotations

from dataclasses import dataclass

Index = tuple[int, ...]  # a step of each repeat around a name, outermost first, from 0; -1: before the first one


@dataclass(frozen=True, order=True)
class NodeId:
    """A name in the file and a step of it; outside repeats there is no index."""

    name: str
    index: Index = ()

    @property
    def flat(self) -> str:
        """Its name in graphs and plans, one word: steps count from 1, before the first one is 0.

        Nothing takes it apart again: what makes it keeps the `NodeId` as well.

        >>> NodeId("digit.size", (1,)).flat, NodeId("a.b.x", (0, 2)).flat, NodeId("x").flat
        ('digit.size@2', 'a.b.x@1.3', 'x')
        """
        return f"{self.name}@{self.step}" if self.index else self.name

    @property
    def step(self) -> str:
        """Its step as a reader counts it, empty outside repeats: `2`, `1.3`."""
        return ".".join(str(i + 1) for i in self.index)
