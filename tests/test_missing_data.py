"""Empty cells and absent modalities, from the data to training, predictions and pictures."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from small_runs import Raw, changed

import sgc
from sgc import cli
from sgc.data.dataset import open_dataset
from sgc.data.transforms.image_transforms import Resize
from sgc.errors import DataError
from sgc.runtime.data_variables import data_variables, open_data
from sgc.runtime.streams import TensorRows
from sgc.spec.loader import load
from sgc.spec.resolver import outline
from sgc.trained.sampler import sample_run

NAN = np.nan


def network(*parents: str, **more: Any) -> Raw:
    return {"parents": list(parents), "network": {"mlp": [6]}, **more}


def two_modalities(**changes: Any) -> Raw:
    """Write pictures and tags, either of which may be missing, each by element."""
    part = {"distribution": "Bernoulli", "supervision": "partial", "missing": "drop", "generative": network("z")}
    spec: Raw = {
        "version": 1,
        "name": "two",
        "nodes": {
            "image": {**part, "shape": [1, 4, 4]},
            "tags": {**part, "shape": [3]},
            "kind": {**part, "distribution": "Categorical", "values": ["a", "b"]},
            "z": {
                "distribution": "Normal",
                "shape": [2],
                "supervision": "none",
                "recognition": network("image", "tags", "kind"),
            },
        },
        "train": {"epochs": 2, "batch_size": 20},
        "evaluate": {"samples": 4},
    }
    return changed(spec, **changes)


def two_arrays(rows: int = 60) -> dict[str, np.ndarray]:
    """Draw pictures and tags of two kinds; a third of the rows lacks each, a few lack both."""
    draw = np.random.default_rng(0)
    kind = draw.integers(0, 2, rows)
    image = (draw.random((rows, 1, 4, 4)) < np.where(kind, 0.8, 0.2)[:, None, None, None]).astype(float)
    tags = (draw.random((rows, 3)) < np.where(kind, 0.7, 0.3)[:, None]).astype(float)
    image[: rows // 3] = NAN
    tags[rows // 4 : rows // 2] = NAN
    image[-5:, 0, 0] = NAN
    return {"image": image, "tags": tags, "kind": np.where(draw.random(rows) < 0.3, "", np.array(["a", "b"])[kind])}


def shell(*words: object) -> str:
    """Run a command that must end well; give what it printed."""
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors), pytest.raises(SystemExit) as end:
        cli.app([str(word) for word in words])
    assert not end.value.code, errors.getvalue()
    return out.getvalue()


def test_two_modalities_from_arrays_to_predictions(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", **two_arrays())
    columns = {name: {"column": name} for name in ("image", "tags", "kind")}
    data = {"source": "npz", "file": "rows.npz", "columns": columns, "split": {"test": 15, "validation": 10}}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(two_modalities(data=data), sort_keys=False))
    run = tmp_path / "run"
    assert "dropped where" in shell("inspect", tmp_path / "two.yaml")
    nodes = json.loads(shell("inspect", tmp_path / "two.yaml", "--json"))["nodes"]
    assert {node["name"]: node["missing"] for node in nodes} == {
        "image": "drop",
        "tags": "drop",
        "kind": "drop",
        "z": None,
    }
    assert "labelled" not in shell("check", tmp_path / "two.yaml", "--data")
    shell("train", tmp_path / "two.yaml", "-o", run)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(np.isfinite(line["loss"]) and line["validation_error"] == {} for line in lines)
    found = json.loads(shell("evaluate", run, "--json"))
    assert found["labels"] == {}
    assert found["q"] == found["posterior"] == {}
    assert np.isfinite(found["log_p"])

    np.savez(tmp_path / "new.npz", **{name: value[:40] for name, value in two_arrays().items()})
    shell("predict", run, tmp_path / "new.npz", "-o", tmp_path / "all.npz")
    np.savez(tmp_path / "tags.npz", tags=two_arrays()["tags"][:40])
    shell("predict", run, tmp_path / "tags.npz", "-o", tmp_path / "some.npz")
    with np.load(tmp_path / "all.npz") as every, np.load(tmp_path / "some.npz") as some:
        given = two_arrays()
        there = ~np.isnan(given["image"][:40])
        np.testing.assert_array_equal(every["image"][there], given["image"][:40][there])
        assert ((every["image"][~there] > 0) & (every["image"][~there] < 1)).all()
        assert (every["image.sd"][there] == 0).all()
        known = given["kind"][:40] != ""
        assert (every["kind"][known] == given["kind"][:40][known]).all()
        assert set(every["kind"][~known]) <= {"a", "b"}
        assert every["z"].shape == (40, 2)
        assert some["image"].shape == (40, 1, 4, 4)
        assert not np.isnan(some["image"]).any()
    shell("sample", run, "-o", tmp_path / "some.npz")
    pytest.importorskip("matplotlib")
    for more in ([], ["--traverse", "z"]):
        told = json.loads(shell("sample", run, "-o", tmp_path / "p.png", "--json", *more))
        assert told["node"] == "image"
        assert "left_out" not in told
    blind = {**two_arrays(), "image": np.full((60, 1, 4, 4), NAN)}
    told = sample_run(run, tmp_path / "p.png", arrays=blind)
    assert "the data are not those the run was started on: other values of 'image'" in told["left_out"]
    never = sgc.train(sgc.load(two_modalities()), data=blind, output=tmp_path / "never").folder
    told = sample_run(never, tmp_path / "p.png", arrays=blind)
    assert told["left_out"] == "no reconstructions: no held-out row has a value of 'image'"


def test_training_on_arrays_and_going_on_with_the_model(tmp_path: Path) -> None:
    run = sgc.train(sgc.load(two_modalities()), data=two_arrays(), output=tmp_path / "run")
    model = sgc.open(run.folder)
    rows = two_arrays()
    batch = {"image": torch.tensor(rows["image"]), "tags": torch.tensor(rows["tags"])}  # no row has its kind
    post = model.infer(batch, samples=8)
    assert set(post) == {"image", "tags", "kind", "z"}
    assert torch.isfinite(post["image"].mean).all()
    torch.testing.assert_close(post["kind"].mean.sum(-1), torch.ones(60))
    drawn = model.generate(5, given={"image": torch.ones(1, 4, 4)})
    assert drawn["tags"].shape == (5, 3)
    assert (drawn["image"] == 1).all()


def test_rows_hidden_by_a_rule_are_gone_from_memory_and_others_keep_their_holes() -> None:
    columns = {name: {"column": name} for name in ("image", "tags", "kind")}
    rule = {"tags": {"fraction": 0.25, "seed": 3}, "kind": {"same_rows_as": "tags"}}
    spec = load(two_modalities(data={"source": "npz", "file": "none.npz", "columns": columns, "labels": rule}))
    arrays = two_arrays()
    dataset = open_data(outline(spec), Path(), arrays)
    assert set(dataset.labelled_rows) == {"tags", "kind"}
    kept = dataset.labelled_rows["tags"]
    assert len(kept) == 15
    hidden = np.setdiff1d(np.arange(60), kept)
    assert np.isnan(dataset.train.values["tags"][hidden]).all()
    assert (dataset.train.values["kind"][hidden] == -1).all()
    np.testing.assert_array_equal(dataset.train.values["tags"][kept], arrays["tags"][kept].astype(np.float32))
    np.testing.assert_array_equal(dataset.train.values["image"], arrays["image"].astype(np.float32))


# ---- tables

TABLE: Raw = {
    "version": 1,
    "name": "table",
    "data": {
        "source": "table",
        "file": "t.csv",
        "missing_values": ["", "NA", "?"],
        "columns": {
            "v": {"column": ["age", "blood"], "transforms": ["standardize"]},
            "c": {"column": "pain"},
            "w": {"column": "dose"},
        },
    },
    "nodes": {
        "v": {
            "distribution": "Normal",
            "shape": [2],
            "supervision": "partial",
            "missing": "drop",
            "generative": network("z"),
        },
        "c": {
            "distribution": "Categorical",
            "values": ["low", "high"],
            "supervision": "partial",
            "missing": "drop",
            "generative": network("z"),
        },
        "w": {"distribution": "Normal", "supervision": "full", "generative": network("z")},
        "z": {"distribution": "Normal", "supervision": "none", "recognition": network("v", "c", "w")},
    },
    "train": {"epochs": 1, "batch_size": 4},
    "evaluate": {"samples": 4},
}
CELLS = [
    ("30", "120", "low", "1"),
    ("50", "NA", "?", "2"),
    ("", "140", "high", "3"),
    ("?", "", "low", "4"),
    ("40", "100", "", "5"),
]


def write(folder: Path, cells: list[tuple[str, ...]], name: str = "t.csv") -> Path:
    with (folder / name).open("w", newline="") as file:
        csv.writer(file).writerows([("age", "blood", "pain", "dose"), *cells])
    return folder / name


def test_empty_cells_of_a_table_are_missing_one_by_one(tmp_path: Path) -> None:
    write(tmp_path, CELLS)
    dataset = open_data(outline(load(TABLE)), tmp_path)
    (fitted,) = dataset.encoders["v"].fitted
    np.testing.assert_allclose(fitted["mean"], [40, 120])
    np.testing.assert_allclose(fitted["deviation"], [np.std([30, 50, 40]), np.std([120, 140, 100])])
    values = dataset.train.values["v"]
    np.testing.assert_array_equal(
        np.isnan(values), [[False, False], [False, True], [True, False], [True, True], [False, False]]
    )
    np.testing.assert_array_equal(dataset.train.values["c"], [0, -1, 1, 0, -1])
    wanted = [[30, 120], [50, NAN], [NAN, 140], [NAN, NAN], [40, 100]]
    np.testing.assert_allclose(dataset.encoders["v"].decode(values), wanted, rtol=1e-6)
    assert dataset.labelled_rows == {}


def test_a_table_with_empty_cells_is_learned_and_filled_in(tmp_path: Path) -> None:
    write(tmp_path, CELLS * 4)
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(TABLE, sort_keys=False))
    shell("train", tmp_path / "t.yaml", "-o", tmp_path / "run")
    shell("predict", tmp_path / "run", write(tmp_path, CELLS, "new.csv"), "-o", tmp_path / "p.csv")
    with (tmp_path / "p.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[1]["v[0]"]) == pytest.approx(50, rel=1e-5)
    assert float(rows[1]["v.sd[0]"]) == pytest.approx(0, abs=1e-3)
    assert 60 < float(rows[1]["v[1]"]) < 180  # in the units of the data, beside their mean
    assert 2 < float(rows[1]["v.sd[1]"]) < 200
    assert [row["c"] for row in rows if row["row"] in "023"] == ["low", "high", "low"]
    assert sum(float(rows[1][f"c.probability[{name}]"]) for name in ("low", "high")) == pytest.approx(1, rel=1e-4)
    assert [row["given"] for row in rows] == ["v c", "v", "v c", "c", "v"]


def test_a_label_of_which_a_cell_is_empty_is_none(tmp_path: Path) -> None:
    """With a recognition, several columns are one label: rows with an empty cell are unlabelled, and not counted."""
    write(tmp_path, CELLS)
    node = {"distribution": "Normal", "shape": [2], "supervision": "partial", "recognition": network("w")}
    spec = changed(TABLE, nodes__v=node, data__labels={"v": {"count": 2}})
    made = outline(load(spec))
    dataset = open_data(made, tmp_path)
    np.testing.assert_array_equal(dataset.labelled_rows["v"], [0, 4])
    np.testing.assert_array_equal(np.isnan(dataset.train.values["v"]).all(1), [False, True, True, True, False])
    np.testing.assert_allclose(dataset.encoders["v"].fitted[0]["mean"], [35, 110])  # of the labels alone
    rows = TensorRows(dataset.train, made, torch.zeros(()))
    np.testing.assert_array_equal(rows.present("v"), [True, False, False, False, True])
    with pytest.raises(DataError, match="labels: node 'v': found 2 training rows with a label, wanted 3"):
        open_data(outline(load(changed(spec, data__labels={"v": {"count": 3}}))), tmp_path)


def test_an_empty_cell_of_a_full_node_names_its_place_and_the_way_out(tmp_path: Path) -> None:
    path = write(tmp_path, [*CELLS, ("1", "2", "low", "NA")])
    made = outline(load(TABLE))
    with pytest.raises(DataError) as problem:
        open_dataset(made.spec.data, data_variables(made), beside=tmp_path, seed=0)
    assert str(problem.value) == (
        f"{path}: row 5: node 'w', column 'dose': found no value (NaN or empty): a node with supervision 'full' has a "
        "value in every row; with 'supervision: partial' and 'missing: drop' cells may be empty (line 7 of the file)"
    )


def test_a_modality_that_q_proposes_from_a_table_to_predictions(tmp_path: Path) -> None:
    write(tmp_path, CELLS * 4)
    node = {
        "distribution": "Normal",
        "shape": [2],
        "supervision": "partial",
        "generative": network("z"),
        "recognition": network("w"),
    }
    spec = changed(TABLE, nodes__v=node, data__split={"validation": 4, "test": 4})
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    shell("train", tmp_path / "t.yaml", "-o", tmp_path / "run")
    found = json.loads(shell("evaluate", tmp_path / "run", "--json"))
    assert found["q"].keys() == {"v"}
    new = write(tmp_path, CELLS, "new.csv")
    shell("predict", tmp_path / "run", new, "-o", tmp_path / "p.csv", "--given", "v")
    with (tmp_path / "p.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["given"] for row in rows] == ["v c", "", "c", "c", "v"]
    assert [float(rows[0][f"v[{i}]"]) for i in (0, 1)] == pytest.approx([30, 120], rel=1e-5)
    assert all(float(row["v.sd[1]"]) > 1 for row in rows[1:4])
    assert all(float(row["v.sd[1]"]) < 1e-3 for row in (rows[0], rows[4]))


def test_resizing_averages_what_is_there() -> None:
    values = np.array([[[1.0, 3.0, 5.0, NAN], [1.0, NAN, NAN, NAN]], [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]])
    step = Resize(resize=(1, 2))
    small = step.apply(values.copy(), {}, lambda shape: np.zeros(shape))
    np.testing.assert_allclose(small, [[[5 / 3, 5.0]], [[3.5, 5.5]]])
    values[0, :, 2:] = NAN
    assert np.isnan(step.apply(values, {}, lambda shape: np.zeros(shape))[0, 0, 1])
