"""What a user should know of the labels that training rows keep: rare categories, and those that no row has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from sgc.data.columns import Array, Rows, show
from sgc.data.label_fields import LabelRule
from sgc.data.large_columns import EncodedColumn
from sgc.data.variables import Variable
from sgc.errors import LISTED


def label_notes(
    rules: Mapping[str, LabelRule], values: Mapping[str, Array | EncodedColumn], variables: Mapping[str, Variable]
) -> tuple[str, ...]:
    """Say where `per_category` takes all of a category that is too rare, and which categories no training row has.

    values: of the training rows, the labels that training may not see gone. Of a node without any label nothing is
    said: it is not meant to have some.
    """
    found: list[str] = []
    for name, variable in variables.items():
        if variable.categories is None or variable.supervision != "partial":
            continue
        counts = category_counts(values[name], variable.categories)
        if not counts.any():
            continue
        wanted = rules[name].per_category if name in rules else None
        rare = [i for i in range(len(counts)) if wanted and 0 < counts[i] < wanted]
        if rare:
            those = _listed(f"{counts[i]} of {_named(variable, i)}" for i in rare)
            few = f"per_category is {wanted}, and there are only {those}"
            found.append(f"labels of '{name}': {few}: all of them are kept")
        never = [i for i in range(len(counts)) if not counts[i]]
        if never and wanted != 0:
            those = _listed(_named(variable, i) for i in never)
            is_declared = "is a category" if len(never) == 1 else "are categories"
            found.append(f"labels of '{name}': no training row is labelled {those}, which {is_declared} of it")
    return tuple(found)


def category_counts(values: Array | EncodedColumn, categories: int) -> Rows:
    """Count how often each category stands among values `(N, *event)`, where -1 is none: `(categories,)`."""
    chunks = values.chunks() if isinstance(values, EncodedColumn) else [values]
    total = np.zeros(categories, dtype=np.int64)
    for chunk in chunks:
        total += np.bincount(chunk[chunk >= 0].ravel(), minlength=categories)
    return total


def _named(variable: Variable, category: int) -> str:
    return show(category if variable.values is None else variable.values[category])


def _listed(words: Iterator[str]) -> str:
    """List words; of many, the first twelve."""
    every = list(words)
    more = len(every) - LISTED
    shown = every if more <= 0 else [*every[:LISTED], f"{more} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
