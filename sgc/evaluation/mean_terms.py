"""Means over rows of each term of the bound, by node and role, and of the effective samples, by pattern of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sgc.runs.run_records import TermSums
from sgc.runtime.sums import Sums
from sgc.spec.outline import Outline, Stepped

Means = dict[str, dict[str, float]]  # by node and role, nats a row
SHOWN = 16  # patterns that are listed by themselves; the rarer ones are averaged together
NO_LABELS, OTHERS = "none", "others"


def pattern_name(observed: str) -> str:
    """Name a pattern by its labels: 'y', 'y,s', 'none'."""
    return observed or NO_LABELS


def effective_samples(sums: Sums) -> Tensor:
    """Give 1 / Σ_s ŵ_s² of each row, [B]: from 1 to S, for the normalised weights of the bound.

    What is enumerated is summed out first; where nothing of the weights is, this is `out.ess`, (Σ w)² / Σ w².
    Source: Kong 1992.
    """
    layout, pairs = sums.group.layout, sums.weight_pairs
    log = sums.eliminate(pairs).samples if pairs else None
    if log is None:  # all samples weigh alike
        return sums.group.like.new_full((layout.rows,), float(layout.samples))
    weights = log.reshape(log.shape[-2:]).expand(layout.samples, layout.rows).softmax(0)
    return 1 / (weights**2).sum(0)


@dataclass(frozen=True)
class Terms:
    """The terms of a bound by row, and the effective samples at last: [terms + 1, B]."""

    names: tuple[tuple[str, str], ...]  # node and role
    values: Tensor


def terms_of(sums: Sums, effective: Tensor | None = None) -> Terms:
    """Take a bound apart, row by row. effective: the effective samples [B], those of these sums if None."""
    terms = {(node, role): term for node, roles in sums.terms().items() for role, term in roles.items()}
    last = effective_samples(sums) if effective is None else effective
    return Terms(tuple(terms), torch.stack([*terms.values(), last]))


class TermMeans:
    """The terms summed over rows, by pattern; for elbo the means of the terms add up to that of the bound.

    Of a node of a repeat, the terms of all steps add up to one, and labels of some of its steps to one pattern.
    """

    def __init__(self, outline: Outline | None = None) -> None:
        self.stepped: Mapping[str, Stepped] = {} if outline is None else outline.stepped
        self.outer: Mapping[str, str] = {} if outline is None else outline.outer_name
        self.rows: dict[str, int] = {}  # by pattern, as its labels with commas between
        self.terms: dict[str, Means] = {}
        self.effective: dict[str, float] = {}

    @torch.no_grad()
    def add(self, sums: Sums, effective: Tensor | None = None) -> None:
        """Take in rows of one plan. effective: their effective samples [B], those of these sums if None."""
        self.take(sums.patterns(), terms_of(sums, effective))

    def take(self, patterns: Sequence[tuple[str, Tensor | None]], terms: Terms) -> None:
        """Take in the terms of rows. patterns: the labels of some, with commas between, and their places; None: all."""
        for labels, places in patterns:
            values = terms.values if places is None else terms.values[:, places]
            self.add_totals(labels, terms.names, values.sum(1).tolist(), values.shape[1])  # one transfer from a GPU

    def add_totals(self, labels: str, names: Sequence[tuple[str, str]], numbers: Sequence[float], count: int) -> None:
        """Take in sums over so many rows with these labels: of their terms, and of their effective samples at last."""
        pattern = self._pattern(labels)
        *totals, effective = numbers
        by_node = self.terms.setdefault(pattern, {})
        for (node, role), total in zip(names, totals, strict=True):
            roles = by_node.setdefault(self.outer.get(node, node), {})
            roles[role] = roles.get(role, 0.0) + total
        self.rows[pattern] = self.rows.get(pattern, 0) + count
        self.effective[pattern] = self.effective.get(pattern, 0.0) + effective

    def add_state(self, state: Mapping[str, Any]) -> None:  # Any: as `state` gives it
        """Take in the rows of another process."""
        for pattern, by_node in state["terms"].items():
            for node, roles in by_node.items():
                mine = self.terms.setdefault(pattern, {}).setdefault(node, {})
                for role, total in roles.items():
                    mine[role] = mine.get(role, 0.0) + total
            self.rows[pattern] = self.rows.get(pattern, 0) + state["rows"][pattern]
            self.effective[pattern] = self.effective.get(pattern, 0.0) + state["effective"][pattern]

    def clear(self) -> None:
        """Forget all rows."""
        self.rows, self.terms, self.effective = {}, {}, {}

    def _pattern(self, labels: str) -> str:
        """Name a pattern by outer names; of labels with commas between."""
        if not self.outer:
            return labels
        nodes = labels.split(",")
        parts: dict[str, str] = {}
        for node in nodes:
            name = self.outer.get(node, node)
            all_steps = name == node or all(step in nodes for step in self.stepped[name].nodes)
            parts[name] = name if all_steps else f"{name} in part"
        return ",".join(parts.values())

    def means(self) -> dict[str, Means]:
        """Average over the rows without labels and over those with some; a term that a pattern lacks counts as 0."""
        means: dict[str, Means] = {}
        for kind, labelled in (("unlabelled", False), ("labelled", True)):
            patterns = [pattern for pattern in sorted(self.rows) if bool(pattern) is labelled]
            rows = sum(self.rows[pattern] for pattern in patterns)
            for pattern in patterns:
                for node, roles in self.terms[pattern].items():
                    mean = means.setdefault(kind, {}).setdefault(node, {})
                    for role, total in roles.items():
                        mean[role] = mean.get(role, 0.0) + total / rows
        return means

    def effective_samples(self) -> dict[str, float]:
        """Average the effective samples over the rows of each pattern; the rarest of many are averaged together."""
        by_count = sorted(self.rows, key=lambda pattern: (-self.rows[pattern], pattern))
        effective = {pattern_name(p): self.effective[p] / self.rows[p] for p in by_count[:SHOWN]}
        rare = by_count[SHOWN:]
        if rare:
            effective[OTHERS] = sum(self.effective[p] for p in rare) / sum(self.rows[p] for p in rare)
        return effective

    def state(self) -> dict[str, Any]:  # Any: numbers
        return {"rows": self.rows, "terms": self.terms, "effective": self.effective}

    @classmethod
    def of(cls, state: TermSums, outline: Outline | None = None) -> TermMeans:
        """Go on from a saved state."""
        means = cls(outline)
        means.rows, means.effective = dict(state.rows), dict(state.effective)
        means.terms = {
            pattern: {node: dict(roles) for node, roles in by_node.items()} for pattern, by_node in state.terms.items()
        }
        return means
