"""The result of an objective for a batch: the loss, each row's bound, its terms by node and role."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from torch import Tensor

from sgc.runtime import steps
from sgc.runtime.batch import PatternRows
from sgc.runtime.sums import Sums
from sgc.spec.outline import Outline


class Outcome:
    """The result of an objective for a batch; everything in nats, rows as in the batch.

    `loss` is the scalar that is minimised, `bound` [B] each row's L̂ for its own pattern (α in, γ not), `terms` the
    parts of it by node and role [B] (0 for rows whose plan lacks the term; of a node of a repeat the sum over steps),
    `ess` [B] the effective sample size.
    """

    def __init__(
        self, loss: Tensor, bound: Tensor, parts: Sequence[tuple[PatternRows, Sums]], outline: Outline
    ) -> None:
        self.loss, self.bound = loss, bound
        self._parts, self._outline = parts, outline

    def _merge(self, parts: Sequence[tuple[PatternRows, Tensor]]) -> Tensor:
        return merge(parts, len(self.bound), self.bound)

    @cached_property
    def terms(self) -> dict[str, dict[str, Tensor]]:
        """The parts of the bound, by node and role (generative, recognition, kl, label); for elbo they add up to it."""
        parts_of: dict[str, dict[str, list[tuple[PatternRows, Tensor]]]] = {}
        for rows, sums in self._parts:
            for name, roles in sums.terms().items():
                for role, term in roles.items():
                    parts_of.setdefault(name, {}).setdefault(role, []).append((rows, term))
        merged = {name: {role: self._merge(parts) for role, parts in roles.items()} for name, roles in parts_of.items()}
        return steps.summed(self._outline, merged)

    @cached_property
    def ess(self) -> Tensor:
        """(Σ m w)² S / Σ m w² of each row, from 1 to the number of samples."""
        return self._merge([(rows, sums.effective_sample_size().detach()) for rows, sums in self._parts])


def merge(parts: Sequence[tuple[PatternRows, Tensor]], size: int, like: Tensor) -> Tensor:
    """Put what was computed for parts of a batch back in the batch's order; rows without a part get 0."""
    if len(parts) == 1 and parts[0][0].rows is None:
        return parts[0][1]
    merged = like.new_zeros((size, *parts[0][1].shape[1:]))
    for rows, part in parts:
        if rows.rows is None:
            return part
        merged = merged.index_copy(0, rows.rows.to(merged.device), part)
    return merged
