"""Maps of latent nodes with categories: how much of q's mass the rows of each label give to each category."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgc.run_report.inferred_rows import Numbers
from sgc.run_report.latent_maps import CodeTable, rounded
from sgc.run_report.row_labels import ELEMENTS, RowLabel
from sgc.runtime.steps import nodes_of
from sgc.spec.outline import Outline

BINS = 8  # of a label that is a number, with as many rows each
ALL = "all rows"


@dataclass(frozen=True)
class CategoryMap:
    """The mean of q's probabilities of a node over the rows of each label: mass [categories, groups].

    element: of the node's value, empty where it has one. label: whose groups they are; empty: all rows are one. groups:
    their names. counts [groups]: their rows. A column of mass sums to 1; rows: which they are, in words.
    """

    node: str
    element: str
    categories: tuple[str, ...]
    label: str
    groups: tuple[str, ...]
    counts: tuple[int, ...]
    mass: Numbers
    rows: str

    @property
    def title(self) -> str:
        """Name the node, and the element of its value."""
        return f"{self.node}{self.element}"

    @property
    def used(self) -> float:
        """How many categories are in use: exp of the entropy of the mass of all rows, from 1 to their number."""
        shares = self.mass @ (np.array(self.counts) / sum(self.counts))
        known = shares[shares > 0]
        return float(np.exp(-(known * np.log(known)).sum()))

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Give it as plain data."""
        return {
            "node": self.title,
            "rows": self.rows,
            "categories": list(self.categories),
            "label": self.label or None,
            "groups": [{"name": name, "rows": count} for name, count in zip(self.groups, self.counts, strict=True)],
            "mass": [[rounded(share) for share in shares] for shares in self.mass.tolist()],
        }


def category_maps(table: CodeTable, outline: Outline) -> list[CategoryMap]:
    """Map each node with categories of a table, against each label that its rows have, or over all rows without one."""
    maps = []
    for node, masses in table.masses.items():
        if not len(masses):
            continue
        values = outline.variables[nodes_of(outline, node)[0]].values or range(masses.shape[2])
        names = tuple(str(value).lower() if isinstance(value, bool) else str(value) for value in values)
        for place in range(min(masses.shape[1], ELEMENTS)):
            element = f"[{place}]" if masses.shape[1] > 1 else ""
            for label in table.labels or (None,):
                groups = {ALL: np.ones(len(masses), bool)} if label is None else _groups(label)
                mass = np.stack([masses[rows, place].mean(0) for rows in groups.values()], 1)
                counts = tuple(int(rows.sum()) for rows in groups.values())
                title = "" if label is None else label.name
                maps.append(CategoryMap(node, element, names, title, tuple(groups), counts, mass, table.rows))
    return maps


def _groups(label: RowLabel) -> dict[str, np.ndarray]:
    """Put rows into groups by their label: its categories, or ranges of a number with as many rows each."""
    values, known = label.values, label.values[~np.isnan(label.values)]
    if label.categorical:
        return {label.names[int(place)]: values == place for place in np.unique(known)}
    if len(np.unique(known)) <= BINS:
        return {f"{value:.4g}": values == value for value in np.unique(known)}
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)))
    ends = [*edges[1:-1], math.inf]
    return {
        f"{low:.3g} to {high:.3g}": (values >= low) & (values < end)
        for low, high, end in zip(edges[:-1], edges[1:], ends, strict=True)
    }
