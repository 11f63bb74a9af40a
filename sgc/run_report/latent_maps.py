"""Maps of latent nodes: each row as a point by q's mean, to be coloured by its labels; and the codes that are measured.

A node of two units is shown as it is, one of more by its first two principal components, one of a single unit along a
line, one with categories by q's probability of each. Steps of a repeat are points of their own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sgc.evaluation.disentanglement import Disentanglement, disentanglement
from sgc.run_report.inferred_rows import ROWS, InferredRows, Numbers
from sgc.run_report.row_labels import RowLabel, row_labels
from sgc.runtime.steps import steps_of
from sgc.runtime.streams import VALIDATION, seed_for
from sgc.spec.outline import Outline

UNITS = 200  # of codes that are measured
PCA_NEEDED = "a map of more than two units needs scikit-learn: pip install 'sgc[metrics]'"


@dataclass(frozen=True)
class LatentMap:
    """A latent node's means as points [n, 2], or [n, 1] of a node with one unit, with the labels of the same rows.

    explained: the shares of variance of two principal components; empty where none are taken. units: of the node.
    """

    node: str
    units: int
    points: Numbers
    explained: tuple[float, ...]
    labels: tuple[RowLabel, ...]
    rows: str  # which they are, in words

    @property
    def axes(self) -> tuple[str, ...]:
        """Name the axes."""
        if not self.explained:
            return tuple(f"{self.node}[{place}]" if self.units > 1 else self.node for place in range(self.units))
        return tuple(
            f"component {place} ({100 * share:.0f} % of the variance)" for place, share in enumerate(self.explained, 1)
        )

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Give it as plain data, a label missing as null, categories by name."""
        return {
            "node": self.node,
            "units": self.units,
            "rows": self.rows,
            "axes": list(self.axes),
            "points": [[rounded(number) for number in point] for point in self.points.tolist()],
            "labels": {label.name: label_words(label) for label in self.labels},
        }


@dataclass(frozen=True)
class CodeTable:
    """Latent nodes with the same steps, as codes [n, units] over the same rows, and the labels of these rows.

    masses: of nodes with categories q's probabilities, [n, elements, categories].
    """

    steps: str  # of what the rows are steps, in words; empty: they are rows of the data
    codes: dict[str, Numbers]
    labels: tuple[RowLabel, ...]
    rows: str
    masses: dict[str, Numbers] = field(default_factory=dict)
    left_out: tuple[str, ...] = field(default=())


def rounded(number: float, digits: int = 4) -> float:
    """Round to significant digits: enough for a picture, and the same on every machine."""
    return float(f"{number:.{digits}g}")


def label_words(label: RowLabel) -> list[str | float | None]:
    """Give labels as data write them."""
    if label.categorical:
        return [None if math.isnan(place) else label.names[int(place)] for place in label.values.tolist()]
    return [None if math.isnan(value) else rounded(value) for value in label.values.tolist()]


def code_tables(inferred: InferredRows) -> list[CodeTable]:
    """Lay out the latent nodes that have the same steps as one table, each with the labels that its rows have."""
    outline = inferred.rows.outline
    by_plates: dict[tuple[str, ...], list[str]] = {}
    for name in [*inferred.latents, *inferred.categories]:
        by_plates.setdefault(_plates(outline, name), []).append(name)
    return [_table(inferred, plates, names) for plates, names in by_plates.items()]


def _plates(outline: Outline, name: str) -> tuple[str, ...]:
    """Name the repeats around a node, by outer name."""
    return tuple(plate.name for plate in outline.spec.unrolled.around.get(name, ())) if name in outline.stepped else ()


def _table(inferred: InferredRows, plates: tuple[str, ...], names: Sequence[str]) -> CodeTable:
    outline, count = inferred.rows.outline, len(inferred.index)
    steps = math.prod(steps_of(outline, names[0]))
    codes = {n: inferred.latents[n].reshape(count * steps, -1) for n in names if n in inferred.latents}
    masses = {
        n: inferred.categories[n].reshape(count * steps, -1, inferred.categories[n].shape[-1])
        for n in names
        if n in inferred.categories
    }
    labels: list[RowLabel] = []
    left_out = []
    for name in inferred.predictions:
        own = _plates(outline, name)
        columns = row_labels(inferred, name) if own in ((), plates) else []
        if not columns:
            why = "it has other steps" if own not in ((), plates) else "it has too many elements"
            left_out.append(f"not coloured by {name}: {why}")
        for label in columns:
            values = label.values if own == plates else np.repeat(label.values, steps)
            labels.append(RowLabel(label.node, label.name, values, label.names, label.turn))
    known = np.ones(count * steps, bool)
    for value in [*codes.values(), *masses.values()]:
        known &= np.isfinite(value).reshape(len(value), -1).all(1)
    places = np.flatnonzero(known)
    words = inferred.words
    if plates:
        words = f"{len(places)} steps of {words}"
        if len(places) > ROWS:
            draw = np.random.default_rng(seed_for(inferred.seed, VALIDATION, 8))
            words = f"{ROWS} of {words}"
            places = np.sort(draw.permutation(places)[:ROWS])
    kept = tuple(label for label in (label.take(places) for label in labels) if not np.isnan(label.values).all())
    return CodeTable(
        " of ".join(reversed(plates)),
        {name: code[places] for name, code in codes.items()},
        kept,
        words,
        {name: mass[places] for name, mass in masses.items()},
        tuple(left_out),
    )


def latent_maps(table: CodeTable) -> list[LatentMap | str]:
    """Map each latent node of a table, or say why it cannot be."""
    maps: list[LatentMap | str] = []
    for node, code in table.codes.items():
        points: Numbers = code
        explained: tuple[float, ...] = ()
        if len(code) < 2:
            maps.append(f"no map of {node}: fewer than two rows have a value of it")
            continue
        if code.shape[1] > 2:
            projected = _principal(code)
            if isinstance(projected, str):
                maps.append(f"no map of {node}: {projected}")
                continue
            points, explained = projected
        maps.append(LatentMap(node, code.shape[1], points, explained, table.labels, table.rows))
    return maps


def _principal(code: Numbers) -> tuple[Numbers, tuple[float, ...]] | str:
    """Project on the first two principal components; give the shares of variance that they explain."""
    try:
        from sklearn.decomposition import PCA
    except ImportError:
        return PCA_NEEDED
    if not code.var(0).sum() > 0:
        return np.zeros((len(code), 2)), (0.0, 0.0)
    fitted = PCA(n_components=2, svd_solver="full").fit(code)
    return fitted.transform(code), tuple(float(share) for share in fitted.explained_variance_ratio_)


def measured_codes(table: CodeTable, seed: int) -> Disentanglement | str:
    """Measure the disentanglement of all latent nodes of a table together, or say why it cannot be."""
    factors = [factor for label in table.labels for factor in label.factors()]
    if not factors:
        return "no labelled node says anything of these rows"
    codes = np.concatenate(list(table.codes.values()), 1)
    units = [
        name if code.shape[1] == 1 else f"{name}[{place}]"
        for name, code in table.codes.items()
        for place in range(code.shape[1])
    ]
    if len(units) > UNITS:
        return f"{len(units)} units, measured are {UNITS} at most"
    return disentanglement(codes, units, factors, seed_for(seed, VALIDATION, 9))
