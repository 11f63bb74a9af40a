"""The estimators of `sgc.sklearn` beside those of scikit-learn on small tables with few labels: errors on other rows.

    python -m benchmarks.small_tables --draws 3 --first 0 > errors.md

A third of the rows is held out to measure the error on, and of the others a few keep their label, as many of each
class. Draws from 1000 on chose the settings of the default spec; those from 0 on are reported.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Draw:
    """Rows to learn from, −1 where the label is hidden, and rows to measure the error on."""

    table: Any  # Any: of pandas, which mypy does not know
    labels: NDArray[np.int64]
    held_out: Any  # Any: as above
    truth: NDArray[np.int64]


def load(name: str) -> tuple[Any, NDArray[np.int64]]:  # Any: as above
    """Load a table of scikit-learn. `holes`: wine, two columns as words, a fifth of all cells empty."""
    from sklearn import datasets

    kind = {"breast cancer": "breast_cancer", "wine": "wine", "digits": "digits", "wine, mixed, with holes": "wine"}
    bunch = getattr(datasets, f"load_{kind[name]}")(as_frame=True)
    table, labels = bunch.data, bunch.target.to_numpy().astype(np.int64)
    if name.endswith("holes"):
        generator = np.random.default_rng(0)
        for column in ("alcohol", "hue"):
            words = np.array(["low", "medium", "high", "very high"], dtype=object)
            edges = np.quantile(table[column], [0.25, 0.5, 0.75])
            table[column] = words[np.searchsorted(edges, table[column])]
        table = table.mask(generator.random(table.shape) < 0.2)
    return table, labels


def drawn(name: str, each: int, seed: int) -> Draw:
    """Hold a third of the rows out, and keep the labels of `each` rows of each class among the others."""
    table, labels = load(name)
    order = np.random.default_rng(seed).permutation(len(labels))
    test, train = order[: len(order) // 3], order[len(order) // 3 :]
    hidden = np.full(len(train), -1, dtype=np.int64)
    for category in np.unique(labels):
        hidden[np.flatnonzero(labels[train] == category)[:each]] = category
    return Draw(table.iloc[train], hidden, table.iloc[test], labels[test])


def numeric(estimator: Any) -> Any:  # Any: of scikit-learn, which mypy does not know
    """Put what a table of numbers and words with holes needs before an estimator of numbers."""
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), make_column_selector(dtype_exclude="number")),
    )
    return make_pipeline(columns, estimator)


def boosted(draw: Draw) -> Any:  # Any: as above
    """Fit a boosted tree to the rows with a label: it takes no others."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    words = draw.table.select_dtypes(exclude="number").columns
    known = draw.labels >= 0
    table = draw.table.astype(dict.fromkeys(words, "category"))
    model = HistGradientBoostingClassifier(random_state=0, categorical_features="from_dtype", min_samples_leaf=2)
    return model.fit(table[known], draw.labels[known])


def contenders() -> Iterator[tuple[str, Callable[[Draw, int], Any]]]:  # Any: as above
    """Name what is compared, each with a function that fits it."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier

    from sgc.sklearn import SemiSupervisedClassifier

    def supervised(draw: Draw, seed: int) -> Any:  # Any: as above
        known = draw.labels >= 0
        return numeric(LogisticRegression(max_iter=1000)).fit(draw.table[known], draw.labels[known])

    def trained_by_itself(draw: Draw, seed: int) -> Any:  # Any: as above
        return numeric(SelfTrainingClassifier(LogisticRegression(max_iter=1000))).fit(draw.table, draw.labels)

    def spread(draw: Draw, seed: int) -> Any:  # Any: as above
        return numeric(LabelSpreading(kernel="knn", n_neighbors=7)).fit(draw.table, draw.labels)

    yield "sgc", lambda draw, seed: SemiSupervisedClassifier(random_state=seed).fit(draw.table, draw.labels)
    yield "logistic regression", supervised
    yield "self-training", trained_by_itself
    yield "LabelSpreading", spread
    yield "boosted tree", lambda draw, seed: boosted(draw)


def error(model: Any, draw: Draw) -> float:  # Any: as above
    """Measure the share of wrong classes, in percent."""
    table = draw.held_out
    if type(model).__name__.startswith("HistGradient"):
        table = table.astype(dict.fromkeys(table.select_dtypes(exclude="number").columns, "category"))
    return float(100 * np.mean(model.predict(table) != draw.truth))


CASES = (
    ("breast cancer", 5), ("breast cancer", 25), ("wine", 3), ("wine", 10), ("digits", 1), ("digits", 5),
    ("wine, mixed, with holes", 3), ("wine, mixed, with holes", 10),
)  # fmt: skip


def main() -> None:
    """Print a table of errors in percent, mean ± standard deviation over the draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", default="", help="one contender")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    fits = {name: fit for name, fit in contenders() if options.only in ("", name)}
    print(f"| table | labels | {' | '.join(fits)} |\n|---|---|{'---|' * len(fits)}")
    seconds: list[float] = []
    for name, each in CASES:
        seeds = range(options.first, options.first + options.draws)
        draws = [drawn(name, each, seed) for seed in seeds]
        cells = []
        for contender, fit in fits.items():
            errors = []
            for seed, draw in zip(seeds, draws, strict=True):
                began = time.process_time()
                errors.append(error(fit(draw, seed), draw))
                seconds += [time.process_time() - began] if contender == "sgc" else []
            cells.append(f"{np.mean(errors):.1f} ± {np.std(errors, ddof=1) if len(errors) > 1 else 0:.1f}")
        print(f"| {name} | {int((draws[0].labels >= 0).sum())} | {' | '.join(cells)} |", flush=True)
    if seconds:
        print(f"\nA fit of sgc took {np.median(seconds):.1f} s of a processor, {max(seconds):.1f} s at most.")


if __name__ == "__main__":
    main()
