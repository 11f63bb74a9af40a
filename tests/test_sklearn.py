"""scikit-learn's estimators: its own checks, labels that are missing, tables with holes, specs, and searches."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from sgc.sklearn import SemiSupervisedClassifier, SemiSupervisedRegressor, SemiSupervisedTransformer

FEW: dict[str, Any] = {"train.epochs": 2}
X, Y = make_blobs(60, 4, centers=3, random_state=0)

# what scikit-learn checks and these do not do, and why
UNLABELLED = "−1 says that a row has no label, as for scikit-learn's own semi-supervised classifiers, exempt by name"
MISSING = "NaN says that a row has no label: rows beside it are learned from"
DRAWN = "rows come in batches that are drawn: a row of weight 2 is met in one step, and two rows of weight 1 in two"
WEIGHED = {f"check_sample_weight_equivalence_on_{kind}_data": DRAWN for kind in ("dense", "sparse")}
EXPECTED: dict[type, dict[str, str]] = {
    SemiSupervisedClassifier: {"check_classifiers_classes": UNLABELLED, **WEIGHED},
    SemiSupervisedRegressor: WEIGHED,
    SemiSupervisedTransformer: WEIGHED,
}


@pytest.mark.parametrize("kind", EXPECTED, ids=lambda kind: kind.__name__)
def test_scikit_learn_finds_it_to_be_one_of_its_own(kind: type) -> None:
    settings = FEW if kind is SemiSupervisedTransformer else {"train.epochs": 5, "train.optimizer.lr": 0.05}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(
            kind(settings=settings), expected_failed_checks=EXPECTED[kind], on_skip=None, on_fail="raise"
        )
    failed = {result["check_name"] for result in results if result["status"] == "xfail"}
    assert failed == set(EXPECTED[kind])  # one that passes is no longer listed


def test_a_row_without_a_label_has_minus_one_nan_or_none() -> None:
    hidden = np.arange(60) % 3 == 0
    names = np.array(["ant", "bee", "cow"])[Y]
    forms = {
        "integers": np.where(hidden, -1, Y),
        "floats": np.where(hidden, np.nan, Y),
        "objects": np.where(hidden, None, Y.astype(object)),
        "names": np.where(hidden, None, names.astype(object)),
        "series": pd.Series(np.where(hidden, None, names)),
        "whole numbers of pandas": pd.Series(np.where(hidden, None, Y), dtype="Int64"),
        "list": [-1 if gone else str(name) for gone, name in zip(hidden, names, strict=True)],
    }
    models = {
        form: SemiSupervisedClassifier(random_state=0, settings=FEW).fit(X, labels) for form, labels in forms.items()
    }
    chances = models["integers"].predict_proba(X)
    for form, model in models.items():
        np.testing.assert_array_equal(model.predict_proba(X), chances, err_msg=form)
    assert models["names"].classes_.tolist() == ["ant", "bee", "cow"]
    assert models["whole numbers of pandas"].classes_.dtype == models["whole numbers of pandas"].predict(X).dtype == int
    assert set(models["names"].predict(X)) <= {"ant", "bee", "cow"}
    # hidden rows are learned from, and their labels are not
    other = SemiSupervisedClassifier(random_state=0, settings=FEW).fit(X[~hidden], Y[~hidden])
    assert not np.allclose(other.predict_proba(X), chances)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.full(60, -1), "y holds no label: every row has −1, NaN or None; wanted some of two classes or more"),
        (np.zeros(60, dtype=int), "y holds one class alone, 0: wanted labels of two classes or more"),
        (None, "requires y to be passed, but the target y is None"),
        (
            np.array(["-1", "ant", "bee"])[Y],
            "y holds the text '-1' beside names, which numpy makes of a number beside text: in a row without a label "
            "write None, as np.where(hidden, None, names) does; or make y an array of objects, if it is a class",
        ),
    ],
)
def test_labels_that_teach_nothing_are_refused_in_words(labels: Any, words: str) -> None:
    with pytest.raises(ValueError, match="y") as caught:
        SemiSupervisedClassifier().fit(X, labels)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"answer": "p"}, "answer is 'p', wanted 'posterior' or 'q'"),
        ({"samples": 0}, "samples is 0, wanted at least 1"),
        ({"validation_fraction": 2}, "validation_fraction is 2, wanted a share from 0 up, below 1"),
        ({"settings": {"train.epochs": object()}}, "settings hold a value of the type 'object'"),
    ],
)
def test_parameters_that_mean_nothing_are_refused_in_words(parameters: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SemiSupervisedClassifier(**parameters).fit(X, Y)


def mixed() -> Any:
    """Give a frame of numbers, words, categories and booleans with holes, and names that tell nothing."""
    frame = pd.DataFrame(X.copy(), columns=list("abcd"))
    frame["word"] = np.where(Y == 0, "low", "high")
    frame["kind"] = pd.Categorical(np.where(Y == 2, "k2", "k"))
    frame["flag"] = Y == 1
    frame.loc[::5, "b"] = np.nan
    frame.loc[1::7, "word"] = None
    frame["name"] = [f"row {i}" for i in range(len(frame))]
    return frame


def test_a_frame_of_mixed_columns_with_holes_is_learned_from() -> None:
    frame, labels = mixed(), np.where(np.arange(60) % 2, -1, Y)
    with pytest.warns(UserWarning, match="left out, of more than 30 categories: 'name'"):
        model = SemiSupervisedClassifier(random_state=0, settings={"train.epochs": 60}).fit(frame, labels)
    assert model.score(frame, Y) > 0.9
    assert model.feature_names_in_.tolist() == list(frame.columns)
    strange = frame.assign(word="never seen")  # counts as an empty cell
    np.testing.assert_array_equal(model.predict_proba(strange), model.predict_proba(frame.assign(word=None)))
    with pytest.raises(ValueError, match="column 'a' of X: found text, wanted numbers, as in fit"):
        model.predict(frame.assign(a="text"))
    full = SemiSupervisedClassifier(random_state=0, settings=FEW).fit(X, Y)
    with pytest.raises(ValueError, match="Input X contains NaN: column 'x1', row 3; no cell was empty in fit"):
        full.predict(np.where((np.arange(60)[:, None] == 3) & (np.arange(4) == 1), np.nan, X))


def test_a_sparse_matrix_is_the_dense_one() -> None:
    thin = np.where(np.abs(X) > 3, X, 0)
    thin[:, 2] = 7  # of one value: left out
    labels = np.where(np.arange(60) % 2, -1, Y)
    dense, sparse = (
        SemiSupervisedClassifier(random_state=0, settings=FEW).fit(form, labels) for form in (thin, csr_array(thin))
    )
    assert dense.features_.numbers == sparse.features_.numbers == (0, 1, 3)
    np.testing.assert_array_equal(sparse.predict_proba(csr_array(thin)), dense.predict_proba(thin))
    frame = pd.DataFrame.sparse.from_spmatrix(csr_array(thin), columns=list("abcd"))
    with pytest.warns(UserWarning, match="left out, of one value: 'c'"):
        of_frame = SemiSupervisedClassifier(random_state=0, settings=FEW).fit(frame, labels)
    np.testing.assert_array_equal(of_frame.predict_proba(frame), dense.predict_proba(thin))
    of_spec = SemiSupervisedTransformer(SPEC, random_state=0).fit(csr_array(thin))
    np.testing.assert_array_equal(of_spec.transform(csr_array(thin)), of_spec.transform(thin))


def test_it_is_searched_cloned_piped_and_pickled() -> None:
    labels = np.where(np.arange(60) % 2, -1, Y)
    pipe = make_pipeline(StandardScaler(), SemiSupervisedClassifier(random_state=1, settings=FEW))
    name = "semisupervisedclassifier__spec__train__epochs"
    search = GridSearchCV(pipe, {name: np.array([1, 3])}, cv=2, scoring="accuracy", error_score="raise").fit(X, Y)
    assert search.best_params_[name] in (1, 3)
    assert search.best_estimator_[-1].n_iter_ == search.best_params_[name]
    assert len(cross_val_score(pipe, X, Y, cv=2)) == 2
    first = clone(pipe).set_params(**{name: 4}).fit(X, labels)[-1]
    assert (first.n_iter_, first.get_params()["spec__train__epochs"], first.settings) == (4, 4, {"train.epochs": 4})
    again = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(again.predict_proba(X), first.predict_proba(X))
    with pytest.raises(NotFittedError):
        clone(first).predict(X)


SPEC: dict[str, Any] = {
    "version": 1,
    "name": "blobs",
    "data": {
        "source": "table",
        "file": "blobs.csv",
        "columns": {"image": {"column": ["a", "b", "c", "d"], "transforms": ["standardize"]}, "kind": {"column": "k"}},
        "split": {"test": 0.5},
        "labels": {"kind": {"count": 3}},
    },
    "nodes": {
        "image": {
            "distribution": "Normal",
            "shape": [4],
            "supervision": "full",
            "generative": {"parents": ["kind", "style"], "network": {"mlp": [8]}},
        },
        "kind": {
            "distribution": "Categorical",
            "values": ["cow", "ant", "bee"],
            "supervision": "partial",
            "recognition": {"parents": ["image"], "network": {"mlp": [8]}, "estimator": "enumerate"},
        },
        "style": {
            "distribution": "Normal",
            "shape": [2],
            "supervision": "none",
            "recognition": {"parents": ["image", "kind"], "network": {"mlp": [8]}},
        },
    },
    "train": {"epochs": 3, "batch_size": 30},
}


def test_a_spec_of_ones_own_is_fitted_with_all_rows_and_labels() -> None:
    names = np.array(["ant", "bee", "cow"])[Y]
    model = SemiSupervisedClassifier(SPEC, random_state=0, validation_fraction=0.2).fit(X, names)
    assert model.classes_.tolist() == ["cow", "ant", "bee"]  # the order of the spec
    assert model.model_.spec.data.labels == {}
    assert model.metrics_[-1]["validation_error"]["kind"] is not None
    assert model.predict(X).shape == (60,)
    frame = pd.DataFrame(X, columns=list("abcd")).assign(k=names)  # y stands in no way for its own column
    of_frame = SemiSupervisedClassifier(SPEC, random_state=0, validation_fraction=0.2).fit(frame, names)
    np.testing.assert_array_equal(of_frame.predict_proba(frame.assign(k="cow")), model.predict_proba(X))
    plain = {**SPEC, "nodes": {**SPEC["nodes"], "kind": {**SPEC["nodes"]["kind"], "categories": 3}}}
    del plain["nodes"]["kind"]["values"]
    few = SemiSupervisedClassifier(plain, random_state=0).fit(X, np.where(Y == 1, np.nan, Y))  # floats beside NaN
    assert few.classes_.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="y holds 'dog', wanted the categories of node 'kind': 'cow', 'ant', 'bee'"):
        SemiSupervisedClassifier(SPEC).fit(X, np.where(Y == 0, "dog", names))
    with pytest.raises(ValueError, match=r"found X of 3 features, wanted 4: node 'image' has the shape \[4\]"):
        SemiSupervisedClassifier(SPEC).fit(X[:, :3], names)


def test_latents_are_their_means_under_q_summed_over_the_label() -> None:
    names = np.array(["ant", "bee", "cow"])[Y]
    latents = SemiSupervisedTransformer(SPEC, random_state=0).fit(X, names)
    model = latents.model_
    batch = model.encode({"image": X})
    with torch.no_grad():
        chances = model.conditional("kind", "recognition", batch).probs
        wanted = sum(
            chances[:, [k]] * model.conditional("style", "recognition", {**batch, "kind": torch.full((60,), k)}).mean
            for k in range(3)
        )
    np.testing.assert_allclose(latents.transform(X), wanted.numpy(), rtol=1e-5, atol=1e-6)
    assert latents.get_feature_names_out().tolist() == ["style0", "style1"]


def test_the_posterior_answers_too_and_a_number_may_be_the_label() -> None:
    half = {"train.epochs": 40}
    model = SemiSupervisedClassifier(answer="posterior", samples=20, random_state=0, settings=half)
    assert model.fit(X, np.where(np.arange(60) % 2, -1, Y)).score(X, Y) > 0.9
    numbers = 100 + 10 * X[:, 0]
    known = np.where(np.arange(60) % 2, np.nan, numbers)
    regressor = SemiSupervisedRegressor(random_state=0, settings={"train.epochs": 200}).fit(X, known)
    assert regressor.score(X, numbers) > 0.8


# ---- weights of rows


@pytest.mark.parametrize("form", ["array", "sparse", "frame", "spec"])
def test_a_row_of_weight_0_is_as_if_it_were_not_there(form: str) -> None:
    weights, labels = np.arange(60) % 3 / 2, np.where(np.arange(60) % 5, Y, -1)
    kept = np.flatnonzero(weights)
    rows: Any = {"sparse": csr_array(X), "frame": mixed().drop(columns="name")}.get(form, X)
    some = rows.iloc[kept] if form == "frame" else rows[kept]
    settings = {"spec": {**SPEC, "train": {"epochs": 2}}} if form == "spec" else {"settings": FEW}
    names = np.where(labels == -1, None, np.array(["cow", "ant", "bee"])[labels])
    y: Any = pd.Series(names, dtype=object) if form == "frame" else names
    models = [SemiSupervisedClassifier(**settings, random_state=0, validation_fraction=0.1) for _ in range(3)]
    models[0].fit(rows, y, sample_weight=weights)
    models[1].fit(some, y[kept], weights[kept])
    models[2].fit(some, y[kept])
    chances = [model.predict_proba(rows) for model in models]
    np.testing.assert_array_equal(chances[0], chances[1])
    assert not np.allclose(chances[0], chances[2])


def test_rows_count_what_they_weigh() -> None:
    """Half of the rows of one place have another label, and a tenth of the weight: q comes to a tenth."""
    place = np.arange(200) % 2
    flipped = np.arange(200) % 4 >= 2
    rows = np.where(place[:, None] == 1, 3.0, -3.0) + np.random.default_rng(0).normal(0, 0.1, (200, 2))
    labels, weights = np.where(flipped, 1 - place, place), np.where(flipped, 1, 9)
    model = SemiSupervisedClassifier(random_state=0, settings={"train.epochs": 100}).fit(rows, labels, weights)
    np.testing.assert_allclose(model.predict_proba(rows)[place == 0, 1].mean(), 0.1, atol=0.05)
    np.testing.assert_allclose(model.predict_proba(rows)[place == 1, 0].mean(), 0.1, atol=0.05)


def test_weights_that_mean_nothing_are_refused_in_words() -> None:
    weighed = {**SPEC, "train": {"epochs": 1, "weight": "w"}}
    with pytest.raises(ValueError, match=r"sample_weight beside train\.weight: 'w' of the spec"):
        SemiSupervisedTransformer(weighed).fit(X, sample_weight=np.ones(60))
    with pytest.raises(ValueError, match=r"sample_weight is 0 in every row|at least one non-zero"):
        SemiSupervisedRegressor().fit(X, X[:, 0], np.zeros(60))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        SemiSupervisedRegressor().fit(X, X[:9, 0], np.arange(60) % 2)
    with pytest.raises(ValueError, match="Negative values"):
        SemiSupervisedRegressor().fit(X, X[:, 0], -np.ones(60))


# ---- scores of features


def test_a_score_is_the_mean_of_log_p_of_the_features() -> None:
    """Of a linear model: log N(x; b, WWᵀ + I) of the standardised rows, bounded from below by 500 samples."""
    latents = SemiSupervisedTransformer(random_state=0, samples=500, settings={"train.epochs": 20})
    linear = {"nodes.x.generative.network": {"mlp": []}, "nodes.z.shape": [2]}
    latents.set_params(settings={**latents.settings, **linear}).fit(X)
    model, batch = latents.model_, latents.model_.encode({"x": X})["x"].double()
    with torch.no_grad():
        ends = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        means = model.conditional("x", "generative", {"z": ends}).mean.double()
    factors = (means[1:] - means[0]).T
    exact = torch.distributions.MultivariateNormal(means[0], factors @ factors.T + torch.eye(4, dtype=torch.float64))
    wanted = float(exact.log_prob(batch).mean())
    assert wanted - 0.1 < latents.score(X) < wanted + 0.02
    assert latents.score(X, Y) == latents.score(X)  # of the features alone, with the same draws
    search = GridSearchCV(latents.set_params(samples=5), {"spec__train__epochs": [1, 20]}, cv=2).fit(X)
    assert search.best_params_ == {"spec__train__epochs": 20}
    names = np.array(["cow", "ant", "bee"])[Y]
    supervised = SemiSupervisedTransformer({**SPEC, "objective": {"bound": "supervised"}}, random_state=0).fit(X, names)
    with pytest.raises(ValueError, match="the bound 'supervised' trains no p of the features to score by"):
        supervised.score(X)
