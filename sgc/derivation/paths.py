"""Which features a plan computes once its draws are weighed on their way to the scores, and which of them twice."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sgc.derivation.graph import Graphs


@dataclass(frozen=True)
class Paths:
    """The draws of a plan, and the features below them by who reads these."""

    drawn: tuple[str, ...]
    again: frozenset[str]  # that q of draws reads: computed to draw, and once more to score
    scored: frozenset[str]  # that p reads
    proposing: frozenset[str]  # that any q reads

    @classmethod
    def of(cls, graphs: Graphs, drawn: Collection[str], asked: Iterable[str], scored: Iterable[str]) -> Paths:
        """Find the features below draws. asked: the nodes of which q is computed; scored: those of which p is."""

        def below(names: frozenset[str]) -> frozenset[str]:
            return frozenset(name for name in names if not graphs.sources([name]).isdisjoint(drawn))

        return cls(
            tuple(drawn),
            below(graphs.features_of(drawn, "recognition")),
            below(graphs.features_of(scored, "generative")),
            below(graphs.features_of(asked, "recognition")),
        )

    def early(self, feature: str) -> bool:
        """Tell whether a feature is computed as values are proposed: not one that p alone reads of them."""
        return feature in self.proposing or feature not in self.scored
