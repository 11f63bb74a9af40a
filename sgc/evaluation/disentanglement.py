"""Disentanglement: how the units of a latent code share the factors that labels say, by MIG, DCI and SAP.

A code is a vector of units for each row, here q's means; a factor is a labelled quantity, a category or a number.
Each factor is measured over the rows that have its label. scikit-learn does the estimating.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.float64]

BINS = 20  # of equal width over the range of a unit or of a factor of numbers, as Locatello et al. 2019 take
TREES, LEAF = 60, 4  # of a random forest: how many trees, and the fewest rows of a leaf
FEW = 1000  # rows: below, histograms of 20 bins find information where there is none
FEWEST = 50  # rows of a factor: below, nothing is measured
CHOICES = (
    f"Information is that of histograms: {BINS} bins of equal width for a unit and for a factor of numbers (Locatello "
    f"et al. 2019). DCI takes the importances of a random forest ({TREES} trees, at least {LEAF} rows a leaf), fitted "
    "on half of the rows and judged on the other half. SAP takes the squared correlation with a factor of numbers, and "
    "the balanced accuracy of thresholds on one unit for categories; with K categories a unit that says nothing has "
    "1/K."
)
NEEDED = "disentanglement needs scikit-learn: pip install 'sgc[metrics]'"


@dataclass(frozen=True)
class Factor:
    """What rows are labelled with: numbers [N], NaN where a row has none; of categories whole numbers from 0."""

    name: str
    values: Numbers
    categorical: bool


@dataclass(frozen=True)
class Readout:
    """How well a forest reads a factor from the whole code, on rows that it was not fitted on: DCI's informativeness.

    error: of categories the share of wrong ones; of numbers the root mean square error over the standard deviation.
    chance: the error of whoever does not see the code, and always says the commonest category, or the mean.
    """

    factor: str
    rows: int
    error: float
    chance: float
    categorical: bool

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Give it as plain data."""
        return {"rows": self.rows, "error": self.error, "chance": self.chance}


@dataclass(frozen=True)
class Disentanglement:
    """The measures of a code against factors.

    information [units, factors]: I(z_j; v_k) / H(v_k), from 0 to 1; chance [factors]: what the units seem to tell of
    each factor when its rows are shuffled, on average, which is the error of histograms of few rows. `mig`,
    `disentanglement`, `completeness` and `sap` are from 0 to 1, and None where they have no meaning, for the `reason`.
    """

    units: tuple[str, ...]
    information: Numbers
    chance: Numbers
    readouts: tuple[Readout, ...]
    mig: float | None = None
    disentanglement: float | None = None
    completeness: float | None = None
    sap: float | None = None
    reason: str = ""

    @property
    def few(self) -> bool:
        """Whether some factor has too few rows to be measured well."""
        return any(readout.rows < FEW for readout in self.readouts)

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Give it as plain data."""
        factors = {readout.factor: readout.plain() for readout in self.readouts}
        table = {
            unit: dict(zip(factors, row, strict=True))
            for unit, row in zip(self.units, self.information.tolist(), strict=True)
        }
        scores = {"mig": self.mig, "dci_disentanglement": self.disentanglement, "dci_completeness": self.completeness}
        return {
            **scores,
            "sap": self.sap,
            "factors": factors,
            "information": table,
            "information_by_chance": dict(zip(factors, self.chance.tolist(), strict=True)),
            **({"reason": self.reason} if self.reason else {}),
        }


def disentanglement(
    codes: Numbers, units: Sequence[str], factors: Sequence[Factor], seed: int
) -> Disentanglement | str:
    """Measure a code against factors, or say why nothing can be measured. codes: [N, units], finite."""
    try:
        import sklearn  # noqa: F401 - needed by all measures
    except ImportError:
        return NEEDED
    known = [factor for factor in factors if _varies(factor)]
    if not known:
        return f"no factor has labels of two kinds in at least {FEWEST} rows"
    columns = [_measured(codes, factor, seed) for factor in known]
    information = np.stack([column[0] for column in columns], 1)
    chance = np.array([_by_chance(codes, factor, seed) for factor in known])
    readouts = tuple(column[2] for column in columns)
    if len(known) < 2 or codes.shape[1] < 2:
        lack = f"one factor alone, {known[0].name}" if len(known) < 2 else "one unit alone"
        reason = f"MIG, DCI and SAP compare several units over several factors: there is {lack}"
        return Disentanglement(tuple(units), information, chance, readouts, reason=reason)
    importances = np.stack([column[1] for column in columns], 1)
    apart, complete = dci_scores(importances)
    separated = np.stack([sap_column(*_labelled(codes, factor), categorical=factor.categorical) for factor in known], 1)
    return Disentanglement(
        units=tuple(units),
        information=information,
        chance=chance,
        readouts=readouts,
        mig=mean_gap(information),
        disentanglement=apart,
        completeness=complete,
        sap=mean_gap(separated),
    )


def _varies(factor: Factor) -> bool:
    values = factor.values[~np.isnan(factor.values)]
    return len(values) >= FEWEST and len(np.unique(values)) > 1


def _labelled(codes: Numbers, factor: Factor) -> tuple[Numbers, Numbers]:
    rows = ~np.isnan(factor.values)
    return codes[rows], factor.values[rows]


def _measured(codes: Numbers, factor: Factor, seed: int) -> tuple[Numbers, Numbers, Readout]:
    """Give the information of each unit, its importance for a forest, and what the forest reads."""
    inside, values = _labelled(codes, factor)
    importance, error, chance = forest(inside, values, categorical=factor.categorical, seed=seed)
    readout = Readout(factor.name, len(values), error, chance, factor.categorical)
    return information_column(inside, values, categorical=factor.categorical), importance, readout


def _by_chance(codes: Numbers, factor: Factor, seed: int) -> float:
    """Give the mean information of all units on a factor whose rows are shuffled."""
    inside, values = _labelled(codes, factor)
    shuffled = np.random.default_rng([seed, 1]).permutation(values)
    return float(information_column(inside, shuffled, categorical=factor.categorical).mean())


def mean_gap(scores: Numbers) -> float:
    """Average over factors how far the best unit is above the second best. scores: [units, factors].

    With I(z_j; v_k) / H(v_k) it is the mutual information gap (Chen et al. 2018, Eq. 6); with the scores of
    `sap_column` the separated attribute predictability (Kumar et al. 2018, Section 3).
    """
    ordered = np.sort(scores, 0)
    return float((ordered[-1] - ordered[-2]).mean())


def information_column(codes: Numbers, values: Numbers, *, categorical: bool) -> Numbers:
    """Give I(z_j; v) / H(v) of each unit, [units]: the share of a factor's entropy that the unit tells."""
    from sklearn.metrics import mutual_info_score

    factor = values.astype(np.int64) if categorical else _binned(values)
    entropy = mutual_info_score(factor, factor)
    if entropy <= 0:  # one bin holds all
        return np.zeros(codes.shape[1])
    return np.array([mutual_info_score(_binned(unit), factor) / entropy for unit in codes.T])


def _binned(values: Numbers) -> NDArray[np.int64]:
    """Put numbers into bins of equal width over their range."""
    edges = np.linspace(values.min(), values.max(), BINS + 1)[1:-1]
    return np.digitize(values, edges).astype(np.int64)


def dci_scores(importance: Numbers) -> tuple[float, float]:
    """Give disentanglement and completeness of importances R, [units, factors] (Eastwood and Williams 2018, Section 2).

    D = Σ_j ρ_j (1 − H_K(P_j)), with P_jk = R_jk / Σ_k R_jk and ρ_j = Σ_k R_jk / Σ R: whether a unit serves one factor.
    C is the mean over factors of 1 − H_D(P̃_k), with P̃_jk = R_jk / Σ_j R_jk: whether one unit serves a factor. H_K is
    the entropy to the base of K.
    """
    total = importance.sum()
    if total <= 0:
        return 0.0, 0.0
    of_units = importance.sum(1)
    apart = np.array([_purity(row) for row in importance])
    complete = np.array([_purity(column) for column in importance.T])
    return float((of_units / total * apart).sum()), float(complete.mean())


def _purity(parts: Numbers) -> float:
    """Give 1 − H(parts / Σ parts) to the base of their number; 0 if they are all 0."""
    total = parts.sum()
    if total <= 0:
        return 0.0
    shares = parts[parts > 0] / total
    return 1 + float((shares * np.log(shares)).sum()) / math.log(len(parts))


def forest(codes: Numbers, values: Numbers, *, categorical: bool, seed: int) -> tuple[Numbers, float, float]:
    """Fit a random forest on half of the rows: each unit's importance, its error on the other half, and chance's."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    order = np.random.default_rng(seed).permutation(len(values))
    fit, judge = np.array_split(order, 2)
    kind = RandomForestClassifier if categorical else RandomForestRegressor
    # all units compete for each split: with some left out at random, units that say nothing get a part
    trees = kind(n_estimators=TREES, min_samples_leaf=LEAF, max_features=1.0, random_state=seed % 2**32, n_jobs=1)
    trees.fit(codes[fit], values[fit])
    guess, truth = trees.predict(codes[judge]), values[judge]
    importance = np.asarray(trees.feature_importances_, dtype=np.float64)
    if categorical:
        kinds, counts = np.unique(values[fit], return_counts=True)
        return importance, float((guess != truth).mean()), float((truth != kinds[counts.argmax()]).mean())
    spread = float(truth.std()) or 1.0
    return importance, float(np.sqrt(((guess - truth) ** 2).mean())) / spread, 1.0


def sap_column(codes: Numbers, values: Numbers, *, categorical: bool) -> Numbers:
    """Score how well each unit alone says a factor, [units] (Kumar et al. 2018, Section 3).

    Of numbers: the squared correlation, that of a linear regression. Of categories: the balanced accuracy of thresholds
    on the unit, one fewer than categories, fitted on the same rows. A constant unit says nothing: 0, or 1/K.
    """
    if not categorical:
        centred, factor = codes - codes.mean(0), values - values.mean()
        scale = (centred**2).sum(0) * (factor**2).sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(scale > 0, (centred * factor[:, None]).sum(0) ** 2 / scale, 0.0)
    from sklearn.tree import DecisionTreeClassifier

    kinds = np.unique(values)
    scores = []
    for unit in codes.T:
        tree = DecisionTreeClassifier(max_leaf_nodes=len(kinds), class_weight="balanced", random_state=0)
        guess = tree.fit(unit[:, None], values).predict(unit[:, None])
        scores.append(np.mean([(guess[values == kind] == kind).mean() for kind in kinds]))
    return np.array(scores)
