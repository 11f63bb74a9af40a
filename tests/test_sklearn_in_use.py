"""scikit-learn's estimators as its users use them: in others, with any seed, on columns as pandas has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_blobs
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - as scikit-learn wants it
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, cross_val_score
from small_runs import changed
from test_sklearn import SPEC

from sgc.errors import RunError
from sgc.sklearn import SemiSupervisedClassifier, SemiSupervisedRegressor, SemiSupervisedTransformer

FEW: dict[str, Any] = {"train.epochs": 2}  # Any: plain data
X, Y = make_blobs(60, 4, centers=3, random_state=0)
SOME = np.where(np.arange(60) % 2, -1, Y)
NAMES = np.array(["ant", "bee", "cow"])[Y]


def model(**given: Any) -> SemiSupervisedClassifier:  # Any: parameters
    return SemiSupervisedClassifier(**{"random_state": 0, "settings": FEW, **given})


def test_it_stands_in_scikit_learns_own_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.chdir(tmp_path)
    two = [("one", model()), ("other", model(random_state=1))]
    for whole in (
        VotingClassifier(two, voting="soft"),
        StackingClassifier(two, cv=2),
        CalibratedClassifierCV(model(), cv=2),
    ):
        assert set(whole.fit(X, NAMES).predict(X)) <= {"ant", "bee", "cow"}
    frame = pd.DataFrame(X, columns=list("abcd"))
    assert permutation_importance(model().fit(frame, NAMES), frame, NAMES, n_repeats=1).importances.shape == (4, 1)
    rates = {"spec__train__optimizer__lr": [0.01, 0.001]}
    halving = HalvingGridSearchCV(
        model(), rates, cv=2, resource="spec__train__epochs", min_resources=2, max_resources=2, error_score="raise"
    )
    assert halving.fit(X, NAMES).best_estimator_.n_iter_ == 2
    with joblib.parallel_backend("threading"):
        side_by_side = cross_val_score(model(), X, NAMES, cv=2, n_jobs=2, error_score="raise")
    np.testing.assert_array_equal(side_by_side, cross_val_score(model(), X, NAMES, cv=2))
    assert [*tmp_path.iterdir()] == []
    assert capfd.readouterr() == ("", "")
    assert [each.message for each in recwarn if issubclass(each.category, UserWarning)] == []


def test_a_warning_of_fit_stands_at_its_call() -> None:
    frame = pd.DataFrame({"a": X[:, 0], "same": "word"})
    for kind, y in (
        (SemiSupervisedClassifier, SOME),
        (SemiSupervisedRegressor, X[:, 1]),
        (SemiSupervisedTransformer, None),
    ):
        with pytest.warns(UserWarning, match="left out, of one value: 'same'") as told:
            kind(settings=FEW, random_state=0).fit(frame, y)
        assert [warning.filename for warning in told] == [__file__]


def test_a_fit_that_failed_has_fitted_nothing() -> None:
    failed = model()
    with pytest.raises(ValueError, match="y holds no label"):
        failed.fit(X, np.full(60, -1))
    with pytest.raises(NotFittedError):
        failed.predict(X)
    with pytest.raises(NotFittedError):
        SemiSupervisedTransformer().get_feature_names_out()


# ---- parameters


@pytest.mark.parametrize(
    "seed", [0, 2**31 - 1, 2**31, 2**32 - 1, np.uint32(2**32 - 1), np.random.RandomState(3)], ids=str
)
def test_each_seed_that_scikit_learn_takes_is_taken_and_repeats(seed: Any) -> None:
    one, other = (model(random_state=seed) for seed in (seed, clone(model(random_state=seed)).random_state))
    np.testing.assert_array_equal(one.fit(X, SOME).predict_proba(X), other.fit(X, SOME).predict_proba(X))


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"random_state": -1}, "Seed must be between 0"),
        ({"random_state": "x"}, "cannot be used to seed"),
        ({"spec": 3}, "path is 3, wanted a path"),
        ({"spec": {"version": 1}, "trust": "yes"}, "trust is 'yes', wanted True or False"),
        ({"settings": {"train.stop.patience": 2}}, r"train\.stop waits for a better validation bound"),
        ({"settings": {"train.loggers": ["tensorboard"]}}, r"train\.loggers: a model that is trained in memory"),
        ({"settings": {"train.device": "nowhere"}}, r"train\.device is 'nowhere', which cannot be used here"),
        ({"settings": {"objective.alpha": np.inf}}, r"settings: objective\.alpha is inf, wanted finite numbers"),
        ({"settings": {"train.seed": 3}}, r"settings hold train\.seed: the seed is random_state"),
        ({"settings": {"train": {"seed": 3}}}, r"settings hold train\.seed: the seed is random_state"),
    ],
    ids=str,
)
def test_what_a_parameter_cannot_be_is_a_value_error(parameters: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SemiSupervisedClassifier(**parameters).fit(X, SOME)


def test_none_leaves_a_key_of_the_spec_out() -> None:
    """One that the default spec writes, or one that it does not: a search may try a key and its absence."""
    without = model().fit(X, SOME).predict_proba(X)
    absent = model().set_params(spec__train__clip_norm=None).fit(X, SOME)
    np.testing.assert_array_equal(absent.predict_proba(X), without)
    written = model().set_params(spec__train__optimizer=None).fit(X, SOME)
    assert written.model_.spec.train.optimizer.lr == 0.001
    grid = {"spec__train__average": [None, 0.5, {"from": 1}], "spec__train__clip_norm": [None, 1.0]}
    search = GridSearchCV(model(), grid, cv=2, error_score="raise").fit(X, Y)
    assert len(search.cv_results_["params"]) == 6


def test_a_training_that_diverges_tells_of_no_checkpoint_as_there_is_none() -> None:
    with pytest.raises(RunError) as caught:
        model(settings={"train.epochs": 4, "train.optimizer.lr": 1e30}).fit(X, SOME)
    assert "checkpoint" not in str(caught.value)


# ---- columns and labels, as pandas has them


def test_numbers_that_pandas_keeps_as_objects_are_numbers() -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    frame.loc[::4, "b"] = np.nan
    objects = frame.astype(object).where(frame.notna(), None)
    assert set(objects.dtypes) == {np.dtype(object)}
    models = [model().fit(each, SOME) for each in (frame, objects)]
    assert models[1].features_.numbers == (0, 1, 2, 3)
    np.testing.assert_array_equal(models[1].predict_proba(objects), models[0].predict_proba(frame))
    truths = frame.assign(a=np.where(np.arange(60) % 3, Y == 0, None))  # booleans are categories, also as objects
    assert [*model().fit(truths, SOME).features_.categories] == [0]


@pytest.mark.parametrize("kind", ["ranges", "dates", "numbers", "periods"])
def test_pandas_categories_are_categories_whatever_they_are(kind: str) -> None:
    of = {
        "ranges": pd.IntervalIndex.from_breaks([0.0, 1.0, 2.0, 3.0]),
        "dates": pd.date_range("2020-01-01", periods=3),
        "numbers": pd.Index([0.5, 1.0, 7.0]),
        "periods": pd.period_range("2020-01", periods=3, freq="M"),
    }[kind]
    codes = np.where(np.arange(60) % 7, Y, -1)
    frame = pd.DataFrame({"a": X[:, 0], "kind": pd.Categorical.from_codes(codes, categories=of)})
    words = frame.assign(kind=pd.Series([*NAMES]).where(codes >= 0, None))
    models = [model().fit(each, SOME) for each in (frame, words)]
    assert models[0].features_.node(1) in models[0].model_.outline.variables
    np.testing.assert_array_equal(models[0].predict_proba(frame), models[1].predict_proba(words))


def test_labels_that_are_neither_classes_nor_numbers_are_refused_in_words() -> None:
    mixed = np.array([1, "a", None] * 20, dtype=object)
    with pytest.raises(ValueError, match="y mixes text with other labels, as 'a' and 1: wanted classes of one kind"):
        model().fit(X, mixed)
    with pytest.raises(ValueError, match="y mixes text"):
        SemiSupervisedTransformer().fit(X, mixed)
    with pytest.raises(ValueError, match="y holds dates or times, wanted numbers"):
        SemiSupervisedRegressor().fit(X, pd.Series(pd.date_range("2020", periods=60)))


# ---- a spec with a second node that only some rows have


def test_a_second_label_may_be_missing_in_rows_that_are_asked_of() -> None:
    """The q of the first does not read it; that of the latents does, and where it is missing it is summed or drawn."""
    network = {"mlp": [4]}
    other = {"distribution": "Categorical", "values": ["u", "v"], "supervision": "partial"}
    spec = changed(
        SPEC,
        nodes__other={**other, "recognition": {"parents": ["image"], "network": network, "estimator": "enumerate"}},
        nodes__image__generative__parents=["kind", "style", "other"],
        nodes__style__recognition__parents=["image", "kind", "other"],
        data__columns__other={"column": "o"},
        train={"epochs": 2},
    )
    frame = pd.DataFrame(X, columns=list("abcd")).assign(o=np.where(Y == 0, "u", "v"))
    some = frame.assign(o=frame["o"].where(np.arange(60) % 2 == 0, None))
    labels = np.where(np.arange(60) % 3, None, NAMES.astype(object))
    fitted = SemiSupervisedClassifier(spec, label="kind", random_state=0).fit(some, labels)
    wanted = fitted.predict_proba(frame)
    for asked in (some, frame.assign(o=None)):
        np.testing.assert_array_equal(fitted.predict_proba(asked), wanted)
    latents = SemiSupervisedTransformer(spec, label="kind", random_state=0, samples=200).fit(some, labels)
    known, drawn = latents.transform(frame), latents.transform(some)
    assert np.isfinite(drawn).all()
    np.testing.assert_allclose(drawn[::2], known[::2], atol=0.5)
