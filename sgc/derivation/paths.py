"""Which features a plan computes once its draws are weighed on their way to the scores, and which of them twice."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sgc.derivation.graph import Graphs


@dataclass(frozen=True)
class Paths:
    """The draws of a plan, and the features below them by what reads these features."""

    drawn: tuple[str, ...]
    again: frozenset[str]  # that q of draws reads: computed to draw, and once more to score
    scored: frozenset[str]  # that p reads
    proposing: frozenset[str]  # that any q reads

    @classmethod
    def of(cls, graphs: Graphs, drawn: Collection[str], proposing: Iterable[str], scored: Iterable[str]) -> Paths:
        """Find the features below draws. proposing: the nodes whose q is computed; scored: those whose p is."""

        def below(names: frozenset[str]) -> frozenset[str]:
            return frozenset(name for name in names if not graphs.sources([name]).isdisjoint(drawn))

        return cls(
            tuple(drawn),
            below(graphs.features_of(drawn, "recognition")),
            below(graphs.features_of(scored, "generative")),
            below(graphs.features_of(proposing, "recognition")),
        )

    def early(self, feature: str) -> bool:
        """Tell whether a feature is computed while values are proposed: one that p alone reads is not."""
        return feature in self.proposing or feature not in self.scored
