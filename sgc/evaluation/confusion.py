"""Predictions of categories: counts of labels by prediction, the error of each, and clusters matched with labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sgc.distributions.category_names import CategoryName

Counts: TypeAlias = NDArray[np.int64]

WHOLE = 100  # categories up to which JSON has the whole matrix; for more, only the pairs that occur


@dataclass(frozen=True)
class Confusion:
    """Counts of labels by prediction.

    `pairs` [P, 3], ascending: a label, a prediction, and how often they occur together. `names`: of all categories.
    """

    names: tuple[CategoryName, ...]
    pairs: Counts

    @property
    def labels(self) -> Counts:
        """The number of labels of each category, [K]."""
        return self._count(self.pairs)

    @property
    def errors(self) -> NDArray[np.float64]:
        """The share of each category's labels that is predicted as another, [K]; NaN without labels."""
        wrong = self._count(self.pairs[self.pairs[:, 0] != self.pairs[:, 1]])
        with np.errstate(invalid="ignore"):
            return np.asarray(wrong / self.labels)

    def _count(self, pairs: Counts) -> Counts:
        return np.bincount(pairs[:, 0], pairs[:, 2], minlength=len(self.names)).astype(np.int64)

    @property
    def balanced_error(self) -> float:
        """The mean error of the categories that have labels: 1 − balanced accuracy (Brodersen et al. 2010)."""
        return float(np.nanmean(self.errors))

    def matrix(self, categories: Sequence[int]) -> Counts:
        """Give the counts of some categories, [k, k], a row for each label and a column for each prediction."""
        place = {category: i for i, category in enumerate(categories)}
        matrix = np.zeros((len(place), len(place)), dtype=np.int64)
        for label, guess, count in self.pairs.tolist():
            if label in place and guess in place:
                matrix[place[label], place[guess]] = count
        return matrix

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Give it as plain data: if there are many categories, only those with labels and the pairs that occur."""
        show_all = len(self.names) <= WHOLE
        by_category = [
            {"category": name, "labels": count, "error": error if count else None}
            for name, count, error in zip(self.names, self.labels.tolist(), self.errors.tolist(), strict=True)
            if show_all or count
        ]
        counts: dict[str, Any]  # Any: as above
        if show_all:
            counts = {"categories": list(self.names), "counts": self.matrix(range(len(self.names))).tolist()}
        else:
            counts = {"pairs": [[self.names[i], self.names[j], count] for i, j, count in self.pairs.tolist()]}
        return {"balanced_error": self.balanced_error, "by_category": by_category, "confusion": counts}


Matched: TypeAlias = tuple[tuple[int, ...], CategoryName, CategoryName]  # place of an element, prediction, label


@dataclass(frozen=True)
class Clustering:
    """Predictions as clusters, compared with labels that training never saw, up to the names of the categories.

    `error`: the share of wrong predictions under the best one-to-one assignment of predicted categories to labels
    (Kuhn 1955); `names`: that assignment, for the categories that occur. `nmi`, the mutual information over the mean of
    both entropies, and `ari`, the adjusted Rand index (Hubert and Arabie 1985), are 1 if the clusters are the labels;
    for unrelated ones the mean of `ari` is 0.

    The elements of a node name their categories independently of each other: each is matched separately, and the
    numbers are means over them. The steps of a repeat share their networks, and so their names.
    """

    error: float
    nmi: float
    ari: float
    names: tuple[Matched, ...]

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Give it as plain data."""
        matched = [
            ({"element": list(place)} if place else {}) | {"predicted": guess, "label": label}
            for place, guess, label in self.names
        ]
        return {"error": self.error, "nmi": self.nmi, "ari": self.ari, "matched": matched}


def confusion(names: Sequence[CategoryName], labels: Tensor, guesses: Tensor) -> Confusion:
    """Count labels by prediction; both are categories, [N]."""
    labels_and_guesses = np.stack([labels.numpy(), guesses.numpy()], 1).astype(np.int64)
    pairs, counts = np.unique(labels_and_guesses, axis=0, return_counts=True)
    return Confusion(tuple(names), np.column_stack([pairs, counts]))


def clustering(elements: Mapping[tuple[int, ...], Confusion]) -> Clustering | str:
    """Match predictions with labels, for each element by its place; without scikit-learn, say that it is needed."""
    try:
        import sklearn.metrics  # noqa: F401 - needed by `_matched`
    except ImportError:
        return "error up to a permutation, NMI and ARI need scikit-learn: pip install 'sgc[metrics]'"
    every = [_matched(place, element) for place, element in elements.items()]
    return Clustering(
        error=fmean(matching.error for matching in every),
        nmi=fmean(matching.nmi for matching in every),
        ari=fmean(matching.ari for matching in every),
        names=tuple(name for matching in every for name in matching.names),
    )


def _matched(place: tuple[int, ...], element: Confusion) -> Clustering:
    """Match the predictions of one element with its labels."""
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    categories = np.unique(element.pairs[:, :2]).tolist()
    counts = element.matrix(categories)
    labels, guesses = linear_sum_assignment(counts, maximize=True)
    sides = [np.repeat(element.pairs[:, i], element.pairs[:, 2]) for i in (0, 1)]
    names = [element.names[category] for category in categories]
    occurring = counts.sum(1)[labels].astype(bool) & counts.sum(0)[guesses].astype(bool)
    return Clustering(
        error=1 - float(counts[labels, guesses].sum()) / float(counts.sum()),
        nmi=float(normalized_mutual_info_score(*sides)),
        ari=float(adjusted_rand_score(*sides)),
        names=tuple((place, names[guesses[i]], names[labels[i]]) for i in np.argsort(guesses) if occurring[i]),
    )
