"""A repeat's nodes in runs: errors over steps, predictions, terms, samples and pictures, all by one name."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_outer_names import NAMES, STEPS, chain, counted, table

import sgc
from sgc.errors import UsageError
from sgc.evaluation.measurement import evaluate
from sgc.evaluation.prediction_scores import Error, _spread_by_row
from sgc.metrics.metrics import METRICS
from sgc.runs.run_folder import RunFolder
from sgc.samples.panels import shades
from sgc.spec.resolver import outline
from sgc.trained.evaluation_words import error_text, given_count_text
from sgc.trained.predictions import predict_run
from sgc.trained.run_evaluation import evaluate_run
from sgc.trained.sampler import sample_run
from sgc.training.trainer import train

NAN = float("nan")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train the chain for two epochs on sequences that are labelled in part."""
    folder = tmp_path_factory.mktemp("outer")
    draw = np.random.default_rng(4)
    state = draw.integers(0, 3, (60, STEPS))
    names = np.array(NAMES)[state].astype("<U4")
    names[draw.random((60, STEPS)) < 0.3] = ""
    np.savez(folder / "rows.npz", s=names, x=draw.normal(size=(60, STEPS, 2)) + 3 * state[..., None])
    data = {
        "source": "npz",
        "file": "rows.npz",
        "columns": {"t.s": {"column": "s"}, "t.x": {"column": "x", "transforms": ["standardize"]}},
        "split": {"test": 15, "validation": 10, "seed": 0},
        "labels": {"t.s": {"count": 12}},
    }
    spec = sgc.load(chain(data=data, evaluate={"samples": 5}))
    train(spec, output=folder / "run", beside=str(folder))
    return folder / "run"


def test_a_run_keeps_labels_terms_and_errors_by_outer_name(run: Path) -> None:
    assert {name: len(ids) for name, ids in RunFolder(run).labelled_rows().items()} == {"t.s": 12}
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        assert set(line["terms"]["unlabelled"]) == {"t.s", "t.x"}
        assert set(line["validation_error"]) == {"t.s"}
        assert set(line["effective_samples"]) <= {"none", "t.s", "t.s in part"}
    report = evaluate_run(run)
    assert report.labels == {"t.s": 12}
    found = report.evaluation
    assert found.diagnosis is not None
    total = sum(term for roles in found.diagnosis.terms["unlabelled"].values() for term in roles.values())
    assert found.bounds is not None
    assert total == pytest.approx(found.bounds.elbo, rel=1e-4)
    words = found.diagnosis.words["t.x", "generative"]
    assert words == "sum_{t=1..3} log p(t.x | s)"
    assert found.exact  # every state is enumerated
    assert set(found.diagnosis.words) == {(node, role) for node, role in found.diagnosis.words if "@" not in node}


def test_an_error_is_over_all_labelled_steps(run: Path) -> None:
    found = evaluate_run(run).evaluation.from_posterior["t.s"]
    model = sgc.open(run)
    rows = np.load(run.parent / "rows.npz")
    split = sgc.trained.run_evaluation.run_data(RunFolder(run), model).test  # type: ignore[attr-defined]
    signal = torch.from_numpy(np.asarray(split.values["t.x"]))
    guess = model.infer({"t.x": signal}, samples=3)["t.s"].mean.argmax(-1).numpy()  # enumerated: nothing is drawn
    truth = rows["s"][split.rows]
    there = truth != ""
    wrong = np.array(NAMES)[guess] != truth
    assert found.value == pytest.approx(wrong[there].mean())
    assert found.rows == there.any(1).sum()
    assert found.more == {"steps": there.sum()}
    assert found.calibration is not None
    assert sum(each.rows for each in found.calibration.bins) == there.sum()
    assert error_text(found).endswith(f"({there.sum()} steps of {found.rows} rows)")


@pytest.mark.parametrize("steps", [1, 4])
def test_a_standard_error_is_over_rows(steps: int) -> None:
    each = torch.from_numpy(np.random.default_rng(0).random((30, steps)))
    owners = torch.arange(30).unsqueeze(1).expand(30, steps)
    order = torch.randperm(30 * steps)
    rows, spread = _spread_by_row(each.reshape(-1)[order], owners.reshape(-1)[order])
    means = each.mean(1)
    assert rows == 30
    assert spread == pytest.approx(float(means.std()) / 30**0.5)


def test_a_prediction_has_a_column_for_each_step(run: Path, tmp_path: Path) -> None:
    for name in ("p.csv", "p.npz"):
        predict_run(run, run.parent / "rows.npz", tmp_path / name, given=["t.s"])
    given, found = np.load(run.parent / "rows.npz"), np.load(tmp_path / "p.npz")
    assert found["t.s"].shape == (60, STEPS)
    assert found["t.s.probability"].shape == (60, STEPS, 3)
    labelled = given["s"] != ""
    np.testing.assert_array_equal(found["t.s"][labelled], given["s"][labelled])
    with open(tmp_path / "p.csv", newline="") as file:
        header, first, *rest = csv.reader(file)
    names = [f"t.s@{i}" for i in (1, 2, 3)]
    kinds = ["rest", "walk", "run"]
    assert header == ["row", "given", *names, *(f"{name}.probability[{k}]" for name in names for k in kinds)]
    assert first[2:5] == found["t.s"][0].tolist()
    assert len(rest) == 59


def test_samples_have_the_steps_first_and_one_step_alone_is_turned(run: Path, tmp_path: Path) -> None:
    sample_run(run, tmp_path / "s.npz", count=4, given={"t.s": "walk"})
    found = np.load(tmp_path / "s.npz")
    assert found["t.x"].shape == (4, STEPS, 2)
    assert (found["t.s"] == "walk").all()
    sample_run(run, tmp_path / "a.npz", analogies="t.s@2")
    found = np.load(tmp_path / "a.npz")
    rows = len(found["t.x.row"])
    assert found["t.x"].shape == (rows, 3, STEPS, 2)
    assert (found["t.s"][:, :, 1] == [0, 1, 2]).all()
    assert (found["t.s"][:, :, 0] == found["t.s"][:, :1, 0]).all()
    with pytest.raises(UsageError) as caught:
        sample_run(run, tmp_path / "a.npz", analogies="t.s")
    assert str(caught.value) == (
        "analogies: 't.s' is a node of a repeat, and one step alone can be turned: t.s@1, t.s@2, t.s@3"
    )
    with pytest.raises(UsageError) as caught:
        sample_run(run, tmp_path / "a.npz", analogies="t.s@2", given={"t.s": "run"})
    assert str(caught.value) == "given t.s@2 beside analogies t.s@2: hold a node or turn it, not both"


def test_pictures_of_steps_stand_side_by_side() -> None:
    spec = chain()
    spec["repeat"]["t"]["nodes"]["x"] |= {"shape": [1, 4, 5], "distribution": "Bernoulli"}
    made = outline(sgc.load(spec))
    values = np.random.default_rng(0).random((6, STEPS, 1, 4, 5))
    found = shades(values, made.outer["t.x"], 2, (STEPS,))
    each = [shades(values[:, i], made.variables[f"t.x@{i + 1}"], 2) for i in range(STEPS)]
    np.testing.assert_allclose(found, np.concatenate(each, -1))


# ---- counts


def rows_with_counts() -> dict[str, Any]:
    draw = np.random.default_rng(6)
    k = draw.integers(1, 4, 40)
    v = draw.lognormal(size=(40, 3, 2))
    v[np.arange(3) >= k[:, None]] = -1  # no value of a LogNormal
    k[:4] = -1
    v[:4] = np.abs(v[:4])
    return {"w": draw.normal(size=(40, 2)), "k": k, "a.v": v}


def test_an_error_is_also_told_where_the_count_is_right() -> None:
    torch.manual_seed(3)
    model, given = sgc.compile(sgc.load(counted("partial"))), rows_with_counts()
    rows = table(model, given)
    found = evaluate(model, rows, 4, 0).from_q["a.v"]
    q = model.conditional("k", "recognition", {"w": torch.from_numpy(given["w"])}).mean.argmax(-1).numpy() + 1
    there = (np.arange(3) < given["k"][:, None]) | (given["k"] < 0)[:, None]
    mean = model.conditional("a.v@1", "recognition", {"w": torch.from_numpy(given["w"])}).mean.detach().numpy()
    apart = ((mean[:, None] - given["a.v"]) ** 2).mean(-1)
    right = there & (q == given["k"])[:, None]
    assert 0 < right.sum() < there.sum()
    assert found.value == pytest.approx(apart[there].mean() ** 0.5, rel=1e-4)
    assert found.rows == 40
    assert found.more == {
        "steps": there.sum(),
        "rmse_given_count": pytest.approx(apart[right].mean() ** 0.5, rel=1e-4),
        "rows_given_count": (q == given["k"]).sum(),
    }
    assert given_count_text(
        Error(METRICS["error"], 0.5, 9, 0.1, {"error_given_count": 0.25, "rows_given_count": 7})
    ) == ("25.00 % (7 rows)")


def test_steps_beyond_the_most_probable_count_are_predicted_empty(tmp_path: Path) -> None:
    given = rows_with_counts()
    np.savez(tmp_path / "rows.npz", **{name.replace(".", ""): value for name, value in given.items()})
    data = {
        "source": "npz",
        "file": "rows.npz",
        "columns": {"w": {"column": "w"}, "k": {"column": "k"}, "a.v": {"column": "av"}},
        "split": {"test": 5, "validation": 5},
        "labels": {"k": {"count": 10}, "a.v": {"same_rows_as": "k"}},
    }
    spec = sgc.load({**counted("partial"), "data": data, "evaluate": {"samples": 40}})
    train(spec, output=tmp_path / "run", beside=str(tmp_path))
    np.savez(tmp_path / "new.npz", w=given["w"])
    for source in ("new.npz", "rows.npz"):
        predict_run(tmp_path / "run", tmp_path / source, tmp_path / "p.npz")
        predict_run(tmp_path / "run", tmp_path / source, tmp_path / "p.csv")
        found = np.load(tmp_path / "p.npz")
        beyond = np.arange(3) >= found["k"][:, None]
        assert beyond.any()
        for column in ("a.v", "a.v.sd"):
            np.testing.assert_array_equal(np.isnan(found[column]), beyond[..., None] & np.ones(2, dtype=bool))
        with open(tmp_path / "p.csv", newline="") as file:
            table_of = list(csv.DictReader(file))
        assert [[row[f"a.v@{i}[0]"] == "" for i in (1, 2, 3)] for row in table_of] == beyond.tolist()
