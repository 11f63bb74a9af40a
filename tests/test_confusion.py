"""Errors by category, confusions and clusters: against scikit-learn, against all permutations, and in words."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import NPZ, changed, small, small_arrays

import sgc
from sgc.data.dataset import Rows
from sgc.evaluation import confusion as confusions
from sgc.evaluation.confusion import Clustering, Confusion, clustering, confusion
from sgc.evaluation.measurement import evaluate
from sgc.runtime.streams import TensorRows
from sgc.trained.evaluation_words import confusion_lines, evaluation_text
from sgc.training.trainer import train

metrics = pytest.importorskip("sklearn.metrics")


def drawn(categories: int, rows: int, seed: int, missing: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw labels and guesses that are right two times in three; the last `missing` categories have no labels."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, categories - missing, rows)
    return labels, np.where(draw.random(rows) < 2 / 3, labels, draw.integers(0, categories, rows))


def matched(labels: np.ndarray, guesses: np.ndarray, categories: int) -> Any:
    return clustering({(): counted(labels, guesses, categories)})


def counted(labels: np.ndarray, guesses: np.ndarray, categories: int) -> Confusion:
    return confusion([f"c{i}" for i in range(categories)], torch.tensor(labels), torch.tensor(guesses))


@pytest.mark.parametrize(
    ("categories", "rows", "missing"), [(2, 30, 0), (5, 200, 0), (6, 90, 2), (9, 4, 0), (120, 300, 7)]
)
def test_errors_by_category_are_those_of_scikit_learn(categories: int, rows: int, missing: int) -> None:
    labels, guesses = drawn(categories, rows, categories, missing)
    found = counted(labels, guesses, categories)
    wanted = metrics.confusion_matrix(labels, guesses, labels=range(categories))
    np.testing.assert_array_equal(found.matrix(range(categories)), wanted)
    there = np.unique(labels)
    recalls = metrics.recall_score(labels, guesses, labels=there, average=None, zero_division=0)
    np.testing.assert_allclose(found.errors[there], 1 - recalls, atol=1e-12)
    assert np.isnan(np.delete(found.errors, there)).all()
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of categories that are predicted and have no label
        assert found.balanced_error == pytest.approx(1 - metrics.balanced_accuracy_score(labels, guesses), abs=1e-12)
    plain = json.loads(json.dumps(found.plain(), allow_nan=False))
    if categories <= 100:
        assert plain["confusion"] == {"categories": list(found.names), "counts": wanted.tolist()}
        assert [each["labels"] for each in plain["by_category"]] == wanted.sum(1).tolist()
    else:
        laid = np.zeros_like(wanted)
        for label, guess, count in plain["confusion"]["pairs"]:
            laid[int(label[1:]), int(guess[1:])] = count
        np.testing.assert_array_equal(laid, wanted)
        assert [each["category"] for each in plain["by_category"]] == [f"c{i}" for i in there]


@pytest.mark.parametrize("seed", range(6))
def test_clusters_are_matched_in_the_best_of_all_ways(seed: int) -> None:
    labels, guesses = drawn(5, 80, seed)
    turned = np.random.default_rng(seed).permutation(5)[guesses]
    found = matched(labels, turned, 5)
    assert isinstance(found, Clustering)
    every = [(np.array(order)[turned] != labels).mean() for order in itertools.permutations(range(5))]
    assert found.error == pytest.approx(min(every), abs=1e-12)
    assert found.error <= (guesses != labels).mean() + 1e-12  # whatever the categories are called
    named = {guess: label for _, guess, label in found.names}
    assert np.mean([named[f"c{guess}"] != f"c{label}" for guess, label in zip(turned, labels, strict=True)]) == min(
        every
    )
    assert found.nmi == pytest.approx(metrics.normalized_mutual_info_score(labels, turned), abs=1e-12)
    assert found.ari == pytest.approx(metrics.adjusted_rand_score(labels, turned), abs=1e-12)


def test_clusters_of_other_sizes_than_the_labels() -> None:
    same = matched(np.array([0, 0, 3, 3]), np.array([2, 2, 1, 1]), 4)
    assert isinstance(same, Clustering)
    assert (same.error, same.nmi, same.ari) == (0, 1, 1)
    assert same.names == (((), "c1", "c3"), ((), "c2", "c0"))  # nothing stands for a label that no row has
    one = matched(np.array([0, 0, 1, 3]), np.array([2, 2, 2, 2]), 4)  # all in one: its largest part is right
    assert isinstance(one, Clustering)
    assert (one.error, one.nmi, one.ari) == (0.5, 0, 0)
    assert one.names == (((), "c2", "c0"),)


def test_without_scikit_learn_it_says_what_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.metrics", None)
    assert matched(np.zeros(3, int), np.zeros(3, int), 2) == (
        "error up to a permutation, NMI and ARI need scikit-learn: pip install 'sgc[metrics]'"
    )


def test_elements_of_a_node_are_matched_each_by_itself(tmp_path: Path) -> None:
    """Labels are what q says, of one attribute of three turned round: perfect clusters, whatever each is called."""
    for way in ({"distribution": "Bernoulli", "categories": None}, {}):
        torch.manual_seed(0)
        made = {f"nodes__y__{key}": value for key, value in way.items()}
        model = sgc.compile(sgc.load(small(nodes__y__shape=[3], **made))).eval()
        x = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
        said = model.conditional("y", "recognition", {"x": 3 * x}).mean.detach().numpy()
        y = said.round() if way else said.argmax(-1)
        y[:, 1] = 1 - y[:, 1] if way else (y[:, 1] + 1) % 3
        table = TensorRows(Rows({"x": 3 * x, "y": y}, np.arange(60)), model.outline, model.like)
        found = evaluate(model, table, 5, 0, clusters=["y"]).from_q["y"]
        assert found.value == pytest.approx(1 / 3)
        assert isinstance(found.clusters, Clustering)
        assert (found.clusters.error, found.clusters.nmi, found.clusters.ari) == pytest.approx((0, 1, 1))
        turned = [each for each in found.clusters.plain()["matched"] if each["predicted"] != each["label"]]
        assert turned
        assert {tuple(each["element"]) for each in turned} == {(1,)}


# ---- evaluations


def measured(y: np.ndarray, **changes: Any) -> tuple[Any, np.ndarray]:
    """Evaluate a small model; also what q says of y in each row."""
    torch.manual_seed(0)
    model = sgc.compile(sgc.load(small(**changes))).eval()
    x = np.random.default_rng(0).normal(size=(len(y), 3)).astype(np.float32)
    table = TensorRows(Rows({"x": x, "y": y}, np.arange(len(y))), model.outline, model.like)
    said = model.conditional("y", "recognition", {"x": x}).mean.detach().numpy()
    return evaluate(model, table, 5, 0, clusters=["y"]).from_q["y"], said


def test_an_evaluation_counts_the_labels_that_are_there() -> None:
    y = np.random.default_rng(1).integers(0, 3, 40)
    y[30:] = -1
    found, said = measured(y)
    wanted = metrics.confusion_matrix(y[:30], said[:30].argmax(1), labels=range(3))
    np.testing.assert_array_equal(found.confusion.matrix(range(3)), wanted)
    assert found.value == pytest.approx(1 - wanted.trace() / 30)
    assert found.clusters.nmi == pytest.approx(metrics.normalized_mutual_info_score(y[:30], said[:30].argmax(1)))


def test_a_bernoulli_label_is_one_of_two_categories_and_numbers_have_none() -> None:
    y = np.random.default_rng(1).integers(0, 2, 40).astype(float)
    found, said = measured(y, nodes__y__distribution="Bernoulli", nodes__y__categories=None)
    np.testing.assert_array_equal(
        found.confusion.matrix(range(2)), metrics.confusion_matrix(y, said.reshape(-1) > 0.5, labels=[0, 1])
    )
    found, _ = measured(y, nodes__y__distribution="Normal", nodes__y__categories=None)
    assert found.confusion is None
    assert found.clusters is None
    assert "confusion" not in found.plain()


def test_a_node_that_was_never_labelled_is_judged_whatever_its_categories_are_called(tmp_path: Path) -> None:
    arrays = small_arrays(rows=120, labels=120)
    np.savez(tmp_path / "rows.npz", **arrays)
    spec = small(
        nodes__y__categories=None,
        nodes__y__values=["ant", "bee", "cat"],
        data=changed(NPZ, file="rows.npz", split__test=60, labels__y__count=0),
        train__epochs=1,
    )
    np.savez(tmp_path / "rows.npz", x=arrays["x"], y=np.array(["ant", "bee", "cat"])[arrays["y"]])
    train(spec, output=tmp_path / "run", beside=tmp_path)
    report = sgc.evaluate(tmp_path / "run")
    plain = json.loads(json.dumps(report.plain()))
    assert plain["labels"] == {"y": 0}
    for way in ("q", "posterior"):
        found = plain[way]["y"]
        counts = np.array(found["confusion"]["counts"])
        every = [1 - counts[range(3), list(order)].sum() / 60 for order in itertools.permutations(range(3))]
        assert found["clusters"]["error"] == pytest.approx(min(every))
        assert 0 <= found["clusters"]["nmi"] <= 1
    text = evaluation_text(report)
    clusters = report.evaluation.from_q["y"].clusters
    assert isinstance(clusters, Clustering)
    assert (
        f"error {100 * clusters.error:.2f} % up to a permutation, NMI {clusters.nmi:.3f}, ARI {clusters.ari:.3f}\n"
        in text
    )
    labelled = changed(spec, data__labels__y__count=5)
    train(labelled, output=tmp_path / "other", beside=tmp_path)
    assert "clusters" not in sgc.evaluate(tmp_path / "other").plain()["q"]["y"]


# ---- words


def test_tables_of_few_categories_whole() -> None:
    names = ["ant", "bee\x1b[2J", True]
    labels, guesses = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 0, 2, 1, 1])
    first, second = confusion(names, labels, guesses), confusion(names, labels, labels)
    assert "\n".join(confusion_lines("y", {"q directly": first, "weighted posterior": second})) == (
        "error by category of y  labels  q directly  weighted posterior\n"
        "  ant                        3     33.33 %              0.00 %\n"
        "  bee\\x1b[2J                 2      0.00 %              0.00 %\n"
        "confusion of y, q directly: a row for each label, a column for each prediction\n"
        "              ant  bee\\x1b[2J  true\n"
        "  ant           2           0     1\n"
        "  bee\\x1b[2J    0           2     0\n"
        "  true          0           0     0\n"
        "confusion of y, weighted posterior: a row for each label, a column for each prediction\n"
        "              ant  bee\\x1b[2J  true\n"
        "  ant           3           0     0\n"
        "  bee\\x1b[2J    0           2     0\n"
        "  true          0           0     0"
    )


def test_of_many_categories_the_worst_and_the_most_frequent() -> None:
    labels = np.repeat(np.arange(30), 4)
    guesses = labels.copy()
    guesses[:3], guesses[8:10] = 7, 9  # three of the first for the eighth, two of the third for the tenth
    lines = confusion_lines("y", {"q directly": counted(labels, guesses, 30)})
    assert lines[:3] == [
        "error by category, the 10 largest of y  labels  q directly",
        "  c0                                         4     75.00 %",
        "  c2                                         4     50.00 %",
    ]
    assert len(lines) == 12
    assert lines[-1] == "most frequent confusions of y, q directly: c0 as c7 3, c2 as c9 2"
    assert math.isclose(counted(labels, guesses, 30).balanced_error, 1.25 / 30)
    assert confusions.WHOLE > 20
