"""Weights of training rows: a column of weights, times the weight of the category that a row is labelled with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]  # [N]


@dataclass(frozen=True)
class RowWeights:
    """What each row counts: w of an unlabelled row, v = w·k of one with labels, k the weight of its categories; [N]."""

    bare: Weights
    labelled: Weights


def row_weights(
    count: int,
    column: Weights | None,
    labels: Mapping[str, NDArray[np.int64]],
    chosen: Mapping[str, str | Sequence[float]],
) -> RowWeights | None:
    """Weigh rows; None where all count alike.

    count: of rows. column: w, [N]; 1 each if None. labels: by node the category of each row, -1 where it has none, [N].
    chosen: by node `balanced`, or a weight for each category. The weights of several nodes multiply; a row without a
    label of a node has k = 1 for it.
    """
    if column is None and not chosen:
        return None
    bare = np.ones(count) if column is None else column
    labelled = bare
    for name, category_weights in chosen.items():
        category = labels[name]
        of_category = (
            balanced(category, bare)
            if isinstance(category_weights, str)
            else np.asarray(category_weights, dtype=np.float64)
        )
        labelled = labelled * np.where(category < 0, 1.0, of_category[category])
    return RowWeights(bare, labelled)


def balanced(category: NDArray[np.int64], weights: Weights) -> Weights:
    """Weigh categories so that the rows of each add up to the same, and all of them to what they did.

    k_c = Σ w / (K Σ_{rows of c} w), over the rows with a label; K counts the categories that some of them have.

    category: [N], -1 where a row has none. weights: [N]. Returns: k, one a category up to the last one met; 1 of a
    category that weighs nothing.

    >>> balanced(np.array([0, 0, 0, 1, -1]), np.ones(5)).tolist()
    [0.6666666666666666, 2.0]
    """
    labelled = category >= 0
    totals = np.bincount(category[labelled], weights=weights[labelled], minlength=1)
    weighing = totals > 0
    weight_of: Weights = np.ones(len(totals))
    weight_of[weighing] = totals.sum() / (weighing.sum() * totals[weighing])
    return weight_of
