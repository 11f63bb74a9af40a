"""What rows count: every way of taking batches has the gradient of the weighted Eq. (2), through every door."""

from __future__ import annotations

import itertools
import math
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from small_runs import NPZ, At, changed, finished_files, small, small_arrays
from torch import Tensor

import sgc
from sgc.data.dataset import Rows
from sgc.errors import DataError, Interrupted, SpecError, UsageError
from sgc.evaluation.measurement import validate
from sgc.runs.run_folder import RunFolder
from sgc.runtime.data_variables import open_data
from sgc.runtime.model import Model
from sgc.runtime.streams import Streams, TensorRows
from sgc.runtime.training_weights import RowWeights, balanced, row_weights
from sgc.spec.resolver import outline

# Nothing is drawn, so that the bound of a row has no noise; one node of categories, one of 0 and 1.
EXACT: dict[str, Any] = {
    "version": 1,
    "nodes": {
        "x": {
            "distribution": "Normal",
            "shape": [2],
            "supervision": "full",
            "generative": {"parents": ["y", "s"], "network": {"mlp": [3]}},
        },
        "y": {
            "distribution": "Categorical",
            "categories": 3,
            "supervision": "partial",
            "recognition": {"parents": ["x"], "network": {"mlp": [3]}},
        },
        "s": {
            "distribution": "Bernoulli",
            "supervision": "partial",
            "recognition": {"parents": ["x", "y"], "network": {"mlp": [3]}, "estimator": "enumerate"},
        },
    },
    "objective": {"alpha": 2.5},
}


class Case:
    """A few rows with weights, some of them with labels, and a model of them in float64."""

    def __init__(self, unlabelled: int, labelled: int, *, zeros: bool = False) -> None:
        draw = np.random.default_rng(unlabelled + 10 * labelled)
        count = unlabelled + labelled
        y, s = draw.integers(0, 3, count), draw.integers(0, 2, count).astype(np.float32)
        which = draw.integers(1, 4, count)  # which of the labels a row carries
        which[labelled:] = 0
        order = draw.permutation(count)
        y, s = np.where(which & 1, y, -1)[order], np.where(which & 2, s, np.nan)[order].astype(np.float32)
        self.weights = draw.uniform(0.2, 3, count)
        if zeros:
            self.weights[::3] = 0
        self.values = {"x": draw.normal(size=(count, 2)).astype(np.float32), "y": y, "s": s}
        made = outline(sgc.load(EXACT))
        rows = Rows(self.values, np.arange(count), weights=self.weights)
        self.rows = TensorRows(rows, made, torch.zeros((), dtype=torch.float64))
        chosen: dict[str, Any] = {"y": [0.5, 2.0, 3.0]}
        found = row_weights(count, self.weights, {"y": y}, chosen)
        assert found is not None
        self.row_weights: RowWeights = found
        torch.manual_seed(0)
        self.model: Model = sgc.compile(sgc.load(EXACT)).double()
        self.carries = ~((y < 0) & np.isnan(s))
        # written again from the definition
        category = np.where(y < 0, 1.0, np.array([0.5, 2.0, 3.0])[y])
        self.by_hand = np.where(self.carries, self.weights * category, self.weights)

    def batch(self, index: Any = slice(None)) -> dict[str, Tensor]:
        return {name: torch.as_tensor(value[index]) for name, value in self.values.items()}

    def gradient(self, value: Tensor) -> Tensor:
        parameters = list(self.model.parameters())
        found = torch.autograd.grad(value, parameters, allow_unused=True)
        whole = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
        return torch.cat([each.reshape(-1) for each in whole])

    def effective_rows(self, gamma: float) -> float:
        """T = Σ_unlabelled w + γ Σ_labelled v."""
        return float(self.by_hand[~self.carries].sum() + gamma * self.by_hand[self.carries].sum())

    def wanted(self, gamma: float) -> Tensor:
        """The gradient of −J/T, row by row."""
        bounds = self.model.objective(self.batch()).bound
        c = torch.from_numpy(np.where(self.carries, gamma, 1.0) * self.by_hand)
        return self.gradient(-(c * bounds).sum() / self.effective_rows(gamma))

    def streams(self, batch: tuple[int, int], **words: Any) -> Streams:
        words = {"gamma": None, "rate": None, "seed": 0, **words}
        return Streams(self.rows, batch=batch, weights=self.row_weights, **words)


# ---- the gradient, by enumeration


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize(
    ("unlabelled", "labelled", "batch", "words"),
    [
        (6, 4, (4, 3), {}),
        (7, 3, (2, 5), {"gamma": 2.5}),
        (6, 4, (4, 3), {"rate": 0.7}),
        (6, 0, (4, 3), {}),
        (0, 6, (4, 5), {}),
    ],
)
def test_streams(unlabelled: int, labelled: int, batch: tuple[int, int], words: dict[str, Any], zeros: bool) -> None:
    case = Case(unlabelled, labelled, zeros=zeros)
    made = case.streams(batch, **words)
    case.model.gamma, case.model.rate = made.rates.gamma, made.rates.rate
    sizes = [len(each.rows) for each in (made.unlabelled, made.labelled) if each is not None]
    steps = math.lcm(*sizes)  # both streams have made whole passes then
    total = sum((case.gradient(case.model(*made.take(step))[0]) for step in range(steps)), torch.zeros(()))
    torch.testing.assert_close(total / steps, case.wanted(made.rates.gamma), rtol=1e-9, atol=1e-11)
    if "rate" in words:  # ρ is the share of the labelled rows in what counts
        share = made.rates.gamma * case.by_hand[case.carries].sum() / case.effective_rows(made.rates.gamma)
        assert share == pytest.approx(0.7)


def test_labelled_rows_that_also_stand_among_the_unlabelled_weigh_their_own_there() -> None:
    case = Case(5, 3)
    made = case.streams((4, 3), also_unlabelled=True, gamma=1.5)
    steps = math.lcm(8, 3)
    total = sum((case.gradient(case.model(*made.take(step))[0]) for step in range(steps)), torch.zeros(()))
    bare = case.model.objective({"x": case.batch()["x"]}).bound
    with_labels = case.model.objective(case.batch()).bound
    w, v = torch.from_numpy(case.weights), torch.from_numpy(np.where(case.carries, case.by_hand, 0))
    wanted = -((w * bare).sum() + 1.5 * (v * with_labels).sum()) / (w.sum() + 1.5 * v.sum())
    torch.testing.assert_close(total / steps, case.gradient(wanted), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("gamma", "size"), [(1.0, 2), (2.5, 3)])
def test_one_stream(gamma: float, size: int) -> None:
    """Uniform rows, loss = −((N+M)/T)(1/B) Σ c_i L̂_i, by `objective` with weights: over all batches of so many."""
    case = Case(4, 3)
    scale = 7 / case.effective_rows(gamma)
    c = np.where(case.carries, gamma, 1.0) * case.by_hand
    found = []
    for chosen in itertools.combinations(range(7), size):
        index = list(chosen)
        out = case.model.objective(case.batch(index), weights=torch.from_numpy(scale * c[index]))
        found.append(case.gradient(out.loss))
    torch.testing.assert_close(torch.stack(found).mean(0), case.wanted(gamma), rtol=1e-9, atol=1e-11)


def test_rate() -> None:
    """A batch of one group with its probability, loss = −mean of weights over their mean: over all batches of two."""
    case, gamma = Case(4, 3), 1.7
    rho = gamma * case.by_hand[case.carries].sum() / case.effective_rows(gamma)
    expected = torch.zeros(())
    for carries, probability in ((False, 1 - rho), (True, rho)):
        rows = np.flatnonzero(case.carries == carries)
        relative = case.by_hand / case.by_hand[rows].mean()
        batches = [list(each) for each in itertools.combinations(rows, 2)]
        for index in batches:
            out = case.model.objective(case.batch(index), weights=torch.from_numpy(relative[index]))
            expected = expected + probability / len(batches) * case.gradient(out.loss)
    torch.testing.assert_close(expected, case.wanted(gamma), rtol=1e-9, atol=1e-11)


def test_a_weight_of_three_is_the_row_three_times() -> None:
    draw = np.random.default_rng(1)
    case = Case(5, 4)
    times = draw.integers(1, 4, 9)
    again = np.repeat(np.arange(9), times)
    repeated = case.model.objective(case.batch(again))
    as_often = RowWeights(times * 1.0, times * 1.0)
    counts = Streams(case.rows, batch=(5, 4), gamma=2.0, rate=None, seed=0, weights=as_often)
    steps = math.lcm(5, 4)
    total = sum((case.gradient(case.model(*counts.take(step))[0]) for step in range(steps)), torch.zeros(()))
    c = torch.from_numpy(np.where(case.carries[again], 2.0, 1.0))
    wanted = case.gradient(-(c * repeated.bound).sum() / c.sum())
    torch.testing.assert_close(total / steps, wanted, rtol=1e-9, atol=1e-11)


def test_only_the_ratios_of_weights_count() -> None:
    case = Case(6, 4)
    made = case.streams((3, 2), gamma=2.0)
    case.row_weights = RowWeights(1e3 * case.row_weights.bare, 1e3 * case.row_weights.labelled)
    scaled = case.streams((3, 2), gamma=2.0)
    for step in range(4):
        for one, other in zip(made.take(step)[1], scaled.take(step)[1], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=0)
    assert scaled.rates.rate == pytest.approx(made.rates.rate)


# ---- balanced categories


def test_balanced_categories_add_up_to_the_same() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        category = draw.choice([-1, 0, 1, 2, 4], 40, p=[0.2, 0.5, 0.1, 0.15, 0.05])  # 3 is never met
        weights = draw.uniform(0, 2, 40)
        found = row_weights(40, weights, {"y": category}, {"y": "balanced"})
        assert found is not None
        totals = [found.labelled[category == each].sum() for each in np.unique(category[category >= 0])]
        assert totals == pytest.approx([totals[0]] * len(totals))
        there = category >= 0
        assert found.labelled[there].sum() == pytest.approx(weights[there].sum())
        assert np.array_equal(found.labelled[~there], weights[~there])


def test_balanced_is_what_scikit_learn_means_by_it() -> None:
    utilities = pytest.importorskip("sklearn.utils.class_weight", reason="needs scikit-learn")
    category = np.random.default_rng(3).choice(4, 200, p=[0.6, 0.25, 0.1, 0.05])
    wanted = utilities.compute_class_weight("balanced", classes=np.arange(4), y=category)
    np.testing.assert_allclose(balanced(category, np.ones(200)), wanted, rtol=1e-12)


def test_weights_of_several_nodes_multiply() -> None:
    labels = {"y": np.array([0, 1, -1, 1]), "s": np.array([1, -1, 0, 1])}
    found = row_weights(4, None, labels, {"y": [2.0, 3.0], "s": [5.0, 7.0]})
    assert found is not None
    assert found.labelled.tolist() == [14, 3, 5, 21]
    assert found.bare.tolist() == [1, 1, 1, 1]
    assert row_weights(4, None, labels, {}) is None


def test_balanced_labels_teach_a_rare_category(tmp_path: Path) -> None:
    """Of 300 labels 15 are of the second category, and the two overlap: alone they are hardly ever predicted."""
    draw = np.random.default_rng(0)
    y = (np.arange(300) < 15).astype(int)
    arrays = {"x": draw.normal(1.2 * y[:, None], 1, (300, 3)), "y": y}
    spec = small(
        nodes__y__categories=2,
        objective={"bound": "supervised"},
        train={"epochs": 30, "batch_size": 300, "optimizer": {"lr": 0.1}},
    )
    found = []
    for name, more in (("plain", None), ("balanced", "balanced")):
        run = sgc.train(changed(spec, train__category_weights=more), data=arrays, output=tmp_path / name)
        guess = run.model.conditional("y", "recognition", {"x": torch.as_tensor(arrays["x"]).float()}).probs.argmax(-1)
        found.append(float((guess.numpy()[y == 1] == 1).mean()))
    assert found[0] < 0.6 < 0.8 < found[1]


# ---- through every door

WEIGHTED = {"train__weight": "w", "train__category_weights": "balanced", "train__epochs": 2}


def columns(rows: int = 60) -> dict[str, np.ndarray]:
    return {**small_arrays(rows, labels=40), "w": np.random.default_rng(5).uniform(0, 3, rows)}


def test_files_frames_and_arrays_weigh_alike(tmp_path: Path) -> None:
    found = columns()
    wide = {f"x{i}": found["x"][:, i] for i in range(3)} | {"y": found["y"], "w": found["w"]}
    np.savez(tmp_path / "rows.npz", **wide)
    pd.DataFrame(wide).to_csv(tmp_path / "rows.csv", index=False, float_format="%.17g")
    section = {
        **NPZ,
        "file": "rows.npz",
        "columns": {"x": {"column": ["x0", "x1", "x2"]}, "y": {"column": "y"}},
        "labels": {"y": {"count": 15}},
    }
    spec = small(data=section, **WEIGHTED)
    in_table = changed(spec, data__source="table", data__file="rows.csv")
    sgc.train(spec, output=tmp_path / "npz", beside=tmp_path)
    sgc.train(in_table, output=tmp_path / "csv", beside=tmp_path)
    sgc.train(spec, data=found, output=tmp_path / "arrays")
    sgc.train(in_table, data=pd.DataFrame(wide, index=range(7, 67)), output=tmp_path / "frame")
    unweighted = changed(spec, train__weight=None, train__category_weights=None)
    sgc.train(unweighted, output=tmp_path / "unweighted", beside=tmp_path)
    whole = finished_files(tmp_path / "npz")
    for name in ("csv", "arrays", "frame"):
        assert finished_files(tmp_path / name) == whole, name
    assert finished_files(tmp_path / "unweighted") != whole


def test_arrays_without_a_data_section_weigh_too(tmp_path: Path) -> None:
    found = columns()
    run = sgc.train(small(**WEIGHTED), data=found, output=tmp_path / "run")
    sgc.train(small(**WEIGHTED), data={**found, "w": list(7 * found["w"])}, output=tmp_path / "scaled")
    one, other = (sgc.open(tmp_path / name).state_dict() for name in ("run", "scaled"))
    assert all(torch.allclose(one[name], other[name], atol=1e-5) for name in one)
    # new rows to evaluate need no weights, and may have some
    for rows in (found, {"x": found["x"], "y": found["y"]}):
        with pytest.warns(UserWarning, match="was trained on"):
            sgc.evaluate(run.folder, data=rows, samples=2)


def test_rows_that_weigh_nothing_teach_nothing(tmp_path: Path) -> None:
    found = columns()
    found["w"][::4] = 0
    other = {**found, "x": np.where(found["w"][:, None] > 0, found["x"], 1e3)}
    for name, arrays in (("one", found), ("other", other)):
        sgc.train(small(**WEIGHTED), data=arrays, output=tmp_path / name)
    assert finished_files(tmp_path / "one") == finished_files(tmp_path / "other")
    rows = RunFolder(tmp_path / "one").record().rows.model_dump()
    assert rows["unlabelled"] + rows["labelled"] == 45


def test_weights_of_one_change_nothing(tmp_path: Path) -> None:
    arrays = {**columns(), "w": np.ones(60)}
    sgc.train(small(train__weight="w"), data=arrays, output=tmp_path / "ones")
    sgc.train(small(), data={name: arrays[name] for name in ("x", "y")}, output=tmp_path / "none")
    one, other = (sgc.open(tmp_path / name).state_dict() for name in ("ones", "none"))
    assert all(torch.allclose(one[name], other[name], atol=1e-5) for name in one)


def test_a_file_of_test_rows_needs_no_weights(tmp_path: Path) -> None:
    found = columns()
    frame = pd.DataFrame({"x": found["x"][:, 0], "y": found["y"], "w": found["w"]})
    frame.to_csv(tmp_path / "train.csv", index=False)
    frame[["x", "y"]].to_csv(tmp_path / "test.csv", index=False)
    section = {
        "source": "table",
        "files": {"train": "train.csv", "test": "test.csv"},
        "columns": {"x": {"column": "x"}, "y": {"column": "y"}},
    }
    run = sgc.train(small(nodes__x__shape=[], data=section, **WEIGHTED), output=tmp_path / "run", beside=tmp_path)
    assert sgc.evaluate(run.folder, samples=2).evaluation.rows == 60


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([1, -2.5, 3], "found -2.5, wanted a number of at least 0 in every row"),
        ([1, np.nan, 3], "found no value, wanted a number of at least 0 in every row"),
        (["1", "much", "3"], "found 'much', wanted a number; is it a mark for an empty cell (missing_values)?"),
        ([1, None, 3], "found no value, wanted a number of at least 0 in every row"),
    ],
)
def test_a_weight_that_is_none_names_its_row(values: list[Any], told: str, tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"x": np.zeros((3, 3)), "y": [0, 1, -1], "w": values}
    with pytest.raises(DataError) as caught:
        sgc.train(small(train__weight="w"), data=arrays, output=tmp_path / "run")
    assert str(caught.value) == f"row 1: train.weight: column 'w': {told}"


def test_weights_that_are_no_column_of_numbers_are_refused(tmp_path: Path) -> None:
    arrays = small_arrays(6, labels=3)
    cases = [
        (np.full(6, np.inf), "row 0: train.weight: column 'w': found inf"),
        (np.zeros(6), "train.weight: column 'w': every training row has the weight 0: wanted some above 0"),
        (np.full(6, 1e308), "train.weight: column 'w': the weights of the training rows add up to more than a number"),
        (np.ones((6, 2)), "train.weight: column 'w': found rows of the shape [2], wanted one number a row"),
        (np.ones(5), "column 'w': found 5 rows, wanted 6, as in column 'x'"),
    ]
    for weights, told in cases:
        with pytest.raises(DataError) as caught:
            sgc.train(small(train__weight="w"), data={**arrays, "w": weights}, output=tmp_path / "run")
        assert str(caught.value).startswith(told)
    with pytest.raises(DataError, match="no column named 'w'; allowed: x, y"):
        sgc.train(small(train__weight="w"), data=arrays, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_with_its_weights_and_refuses_others(tmp_path: Path) -> None:
    found, spec = columns(), small(**WEIGHTED)
    sgc.train(spec, data=found, output=tmp_path / "whole")
    with pytest.raises(Interrupted):
        sgc.train(spec, data=found, output=tmp_path / "run", watcher=At(2, signal.SIGINT))
    with pytest.raises(UsageError, match=r"not those the run was started on: other values of 'train\.weight'"):
        sgc.train(spec, data={**found, "w": found["w"] + 1}, output=tmp_path / "run", resume=True)
    sgc.train(spec, data=found, output=tmp_path / "run", resume=True)
    assert finished_files(tmp_path / "run") == finished_files(tmp_path / "whole")


def test_the_validation_bound_is_the_mean_by_weight(tmp_path: Path) -> None:
    found = columns()
    spec = sgc.load(small(data={**NPZ, "labels": {}}, train__precision="64-true", **WEIGHTED))
    model = sgc.train(spec, data=found, output=tmp_path / "run").model
    rows = open_data(model.outline, tmp_path, found).validation
    held_out = TensorRows(rows, model.outline, model.like)
    each = []
    for weights in np.eye(len(rows)):
        held_out.weights = weights  # of one row alone
        each.append(validate(model, held_out, 0).bound)
    assert np.std(each) > 0.1
    held_out.weights = rows.weights
    assert validate(model, held_out, 0).bound == pytest.approx(np.average(each, weights=found["w"][rows.rows]))


# ---- in the spec


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"y": [1, 2]}, "train.category_weights.y: 2 weights, and 'y' has 3 categories"),
        ({"z": "balanced"}, "train.category_weights.z: 'z' is not labelled with one category a row (allowed: y)"),
        ({"yy": "balanced"}, "train.category_weights.yy: no node named 'yy' (did you mean 'y'?)"),
        ({"y": [1, -2, 3]}, "train.category_weights.y[1]: expected a number at least 0, got integer -2"),
        ("equal", "train.category_weights: unknown category_weights 'equal' (allowed: balanced)"),
    ],
)
def test_weights_of_categories_that_cannot_be(given: Any, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        sgc.load(small(train__category_weights=given))
    assert [str(fault).split(": ", 1)[1] for fault in caught.value.faults] == [told]


def test_balanced_needs_a_label_to_balance() -> None:
    spec = small(nodes__y__distribution="Normal", nodes__y__categories=None, train__category_weights="balanced")
    with pytest.raises(SpecError, match="weighs rows by their label, and no node is labelled with one category a row"):
        sgc.load(spec)


def test_the_schema_knows_what_the_loader_takes() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    from sgc.report.json_schema import json_schema

    check = jsonschema.Draft202012Validator(json_schema())
    for given in ("balanced", {"y": "balanced"}, {"y": [1, 2.5, 0]}):
        spec = small(train__weight="w", train__category_weights=given)
        assert check.is_valid(spec)
        assert yaml.safe_load(yaml.safe_dump(sgc.load(spec).plain()))["train"]["category_weights"] == given
        assert sgc.load(sgc.load(spec).plain()) == sgc.load(spec)
    assert not check.is_valid(small(train__category_weights="equal"))


@pytest.mark.parametrize("scale", [1e-60, 1e-300, 1e38, 1e300])
def test_weights_of_any_size_choose_the_same_epoch(scale: float, tmp_path: Path) -> None:
    found, spec = columns(), small(train__weight="w", data={**NPZ, "labels": {}})
    found["w"] = np.where(np.arange(60) % 3, 1.0, 2.0)
    bounds = []
    for name, weights in (("one", found["w"]), ("scaled", scale * found["w"])):
        run = sgc.train(spec, data={**found, "w": weights}, output=tmp_path / name)
        bounds.append([line["validation_bound"] for line in run.lines])
    assert np.allclose(*bounds, rtol=1e-5, atol=0)


def test_weights_that_leave_nothing_to_count_are_refused(tmp_path: Path) -> None:
    found, spec = columns(), small(train__weight="w", data={**NPZ, "labels": {}})
    rows = open_data(outline(sgc.load(spec)), tmp_path, found)
    held = np.isin(np.arange(60), rows.validation.rows)
    labelled = np.isin(np.arange(60), rows.labelled_rows["y"])
    by_category = {"y": [0, 0, 0]}
    of_labels = "every row with a label has the weight 0, by train.weight or train.category_weights: "
    for weights, told in (
        (~held, "train.weight: column 'w': every validation row has the weight 0: wanted some above 0"),
        (~labelled, of_labels + "leave such labels out (data.labels), or give some of them a weight"),
    ):
        with pytest.raises((DataError, UsageError)) as caught:
            sgc.train(spec, data={**found, "w": weights.astype(float)}, output=tmp_path / "run")
        assert str(caught.value) == told
    with pytest.raises(SpecError) as problem:
        sgc.load(small(train__category_weights=by_category))
    assert problem.value.faults[0].message == "every weight is 0: no row with a label of 'y' would count"
