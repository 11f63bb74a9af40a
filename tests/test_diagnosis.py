"""What `sgc evaluate` finds inside a model: terms that add up to the ELBO, weights, active units, what collapsed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import rich, small_arrays, write_rich, z_then_y
from test_cli import call

import sgc
from sgc.runtime.data_variables import open_data
from sgc.spec.resolver import outline
from sgc.trained.run_evaluation import evaluate_run, held_out
from sgc.training.trainer import train


def test_the_terms_add_up_to_the_elbo_of_the_same_rows(tmp_path: Path) -> None:
    write_rich(tmp_path)
    spec = sgc.load(rich(train__precision="64-true", objective={"samples": 2}))
    train(spec, output=tmp_path / "run", beside=tmp_path)
    report = evaluate_run(tmp_path / "run").plain()
    assert sum(value for roles in report["terms"]["unlabelled"].values() for value in roles.values()) == pytest.approx(
        report["elbo"], abs=1e-9
    )
    assert set(report["terms"]["labelled"]["y"]) == {"generative", "label"}
    assert set(report["effective_samples_by_pattern"]) == {"none", "y,w"}
    assert report["units"] == {"w": 1, "z": 2}
    assert evaluate_run(tmp_path / "run").plain() == report  # the same draws every time


def test_rows_get_their_labels_by_pattern_and_keep_what_was_drawn(tmp_path: Path) -> None:
    write_rich(tmp_path)
    made = outline(sgc.load(rich(data__split={"test": 20, "seed": 1})))
    model, dataset = sgc.compile(made.spec), open_data(made, tmp_path)
    rows = held_out(model, dataset, "test")
    rows.values["y"][:5] = -1
    rows.values["w"][3:9] = float("nan")
    rows.labels[:] = True
    rows.labels[:5, rows.partial.index("y")] = False
    rows.labels[3:9, rows.partial.index("w")] = False
    index = np.arange(2, 16)
    part = rows.part(index, frozenset())
    found = {each.observed: each for each in rows.labelled(part, index)}
    places = {names: (each.rows + 2).tolist() for names, each in found.items() if each.rows is not None}
    assert places == {frozenset("w"): [2], frozenset("y"): [5, 6, 7, 8], frozenset("yw"): list(range(9, 16))}
    for names, each in found.items():
        assert each.rows is not None
        assert each.size == len(each.rows)
        assert torch.equal(each.values["x"], part.values["x"][each.rows])
        assert set(each.values) == {"x", *names}
        whole = rows.part(index[each.rows.numpy()], names)
        assert all(torch.equal(each.values[name], whole.values[name]) for name in names)


def test_evaluate_shows_what_it_found_inside(tmp_path: Path) -> None:
    np.savez(tmp_path / "none.npz", **small_arrays(rows=100, labels=100))
    spec = z_then_y(objective={"samples": 3}, nodes__x__generative__parents=["y"], evaluate={"samples": 20})
    (tmp_path / "spec.yaml").write_text(json.dumps(spec))
    done = call(
        "train",
        tmp_path / "spec.yaml",
        "-o",
        tmp_path / "run",
        "--set",
        "train.optimizer.lr=0.03",
        "--set",
        "train.epochs=30",
    )
    assert done.out.splitlines()[-1] == "collapsed  z: q carries almost no information about the rows"
    found = call("evaluate", tmp_path / "run", "--json").json
    assert set(found["terms"]) == {"unlabelled", "labelled"}
    assert found["effective_samples_by_pattern"]["none"] == 20
    assert 1 <= found["effective_samples_by_pattern"]["y"] < 20
    assert (found["units"], found["active_units"], found["collapsed"]) == ({"z": 2}, {"z": 0}, ["z"])
    lines = call("evaluate", tmp_path / "run").out.splitlines()
    start = next(i for i, line in enumerate(lines) if "terms of the ELBO" in line)
    assert lines[start].endswith("  unlabelled    labelled")
    number = found["terms"]["labelled"]["x"]["generative"]
    (row,) = [line for line in lines if line.strip().startswith("log p(x | y) ")]
    assert row.endswith(f"{number:12.3f}")
    assert len(row) == len(lines[start])
    assert any(line.startswith("  effective samples, y labelled") for line in lines)
    assert any(line.split() == ["active", "units", "of", "z", "0", "of", "2"] for line in lines)
    assert ["collapsed", "z", "(less", "than", "0.05", "nats)"] in map(str.split, lines)
