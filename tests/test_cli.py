"""The shell interface, command by command: results, exit status, one line a fault, and never a traceback."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from small_runs import changed, finished_files, rich, small, small_arrays, write_rich

import sgc
from sgc import cli
from sgc.training.trainer import train

DIGITS: dict[str, Any] = {
    "version": 1,
    "name": "tiny",
    "data": {
        "source": "digits",
        "columns": {
            "x": {"column": "image", "transforms": [{"divide": 16}, {"binarize": "dynamic"}]},
            "y": {"column": "label"},
        },
        "split": {"test": 0.2, "validation": 0.1, "stratify": "label", "seed": 0},
        "labels": {"y": {"count": 50, "balanced": True}},
    },
    "nodes": {
        "x": {
            "distribution": "Bernoulli",
            "shape": [1, 8, 8],
            "supervision": "full",
            "generative": {"parents": ["y", "z"], "network": {"mlp": [8]}},
        },
        "y": {
            "distribution": "Categorical",
            "categories": 10,
            "supervision": "partial",
            "recognition": {"parents": ["x"], "network": {"mlp": [8]}},
        },
        "z": {
            "distribution": "Normal",
            "shape": [2],
            "supervision": "none",
            "recognition": {"parents": ["x", "y"], "network": {"mlp": [8]}},
        },
    },
    "objective": {"alpha": 5},
    "train": {"epochs": 2, "batch_size": 100},
    "evaluate": {"samples": 5},
}


@dataclass(frozen=True)
class Done:
    """What a command did: its exit status, its standard output and its standard error."""

    status: int
    out: str
    told: str

    @property
    def json(self) -> Any:  # Any: what JSON can say
        return json.loads(self.out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def call(*words: object) -> Done:
    """Run a command in this process; a traceback is a failure of the test."""
    out, told = io.StringIO(), io.StringIO()
    status = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(told):
        try:
            cli.app([str(word) for word in words])
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    return Done(status, out.getvalue(), told.getvalue())


def refused(*words: object, status: int = 2) -> str:
    """Run a command that is to be refused; give the words of its one line."""
    done = call(*words)
    assert done.status == status, done
    assert done.out == ""
    lines = [line for line in done.told.splitlines() if not line.startswith(("warning: ", "note: "))]
    assert len(lines) == 1, done.told
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the digits' spec, its finished run, and new rows."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("digits")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(DIGITS, sort_keys=False))
    done = call("train", folder / "tiny.yaml", "-o", folder / "run")
    assert done.status == 0, done
    assert [line.split("  ")[0] for line in done.told.splitlines()] == ["tiny: epoch 1/2", "tiny: epoch 2/2"]
    assert done.out.splitlines()[0] == f"run        {folder / 'run'}"
    from sklearn.datasets import load_digits

    digits = load_digits()
    labels = np.where(np.arange(30) < 12, digits.target[:30], -1)
    np.savez(folder / "mixed.npz", image=digits.images[:30], label=labels)
    np.savez(folder / "bare.npz", image=digits.images[:30])
    return folder


@pytest.fixture(scope="module")
def cats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run whose label has names and whose rows carry a number on a scale of its own."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("cats")
    arrays = small_arrays(rows=90, labels=90)
    names = np.array(["cat", "dog", "eel"])[arrays["y"]]
    lines = [
        "length,weight,kind",
        *(f"{300 + 25 * a:.4f},{50 + 9 * b:.4f},{k}" for (a, b, _), k in zip(arrays["x"], names, strict=True)),
    ]
    (folder / "cats.csv").write_text("\n".join(lines) + "\n")
    spec = small(
        name="cats",
        nodes__x__shape=[],
        nodes__x__generative__parents=["y"],
        nodes__z=None,
        nodes__y__categories=None,
        nodes__y__values=["cat", "dog", "eel"],
        nodes__w={
            "distribution": "Normal",
            "supervision": "partial",
            "generative": {"parents": ["y"], "network": {"mlp": [4]}},
            "recognition": {"parents": ["x", "y"], "network": {"mlp": [6]}},
        },
        data={
            "source": "table",
            "file": "cats.csv",
            "columns": {
                "x": {"column": "length", "transforms": ["standardize"]},
                "y": {"column": "kind"},
                "w": {"column": "weight", "transforms": ["standardize"]},
            },
            "split": {"validation": 10, "test": 20, "seed": 0},
            "labels": {"y": {"count": 40}, "w": {"count": 30}},
        },
        train={"epochs": 150, "batch_size": 15, "optimizer": {"lr": 0.02}},
        evaluate={"samples": 100},
        objective={"alpha": 5},
    )
    (folder / "cats.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    assert call("train", folder / "cats.yaml", "-o", folder / "run").status == 0
    return folder


# ---- check and train


def test_check_opens_the_data_where_asked(place: Path) -> None:
    done = call("check", place / "tiny.yaml")
    assert (done.status, done.told) == (0, "")
    assert done.out.endswith(": valid, 3 nodes, 1,926 parameters\n")
    done = call("check", place / "tiny.yaml", "--data")
    assert done.out.endswith("; rows: 1258 train, 180 validation, 359 test, 50 labelled y\n")


def test_a_starting_spec_is_valid_and_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("init", "first").out == "first.yaml\n"
    assert call("check", "first.yaml", "--data").status == 0
    assert refused("init", "first") == "first.yaml: exists already; --force overwrites it"
    assert call("init", "first", "--force").status == 0
    assert refused("init", "nowhere/first").startswith("nowhere/first.yaml: the folder nowhere does not exist")
    done = call("train", "first.yaml", "--dry-run")
    assert done.status == 0
    assert len(done.out.splitlines()) == 2
    assert not Path("runs").exists()


def test_train_says_its_result_on_standard_output_alone(place: Path, tmp_path: Path) -> None:
    spec = place / "tiny.yaml"
    done = call("train", spec, "-o", tmp_path / "run", "--json", "--set", "train.epochs=1")
    assert [line.split("  ")[0] for line in done.told.splitlines()] == ["tiny: epoch 1/1"]
    assert done.json["run"] == str(tmp_path / "run")
    assert done.json["epochs"] == 1
    assert done.json["best"]["epoch"] == 1
    before = finished_files(tmp_path / "run")
    assert (
        refused("train", spec, "-o", tmp_path / "run")
        == f"{tmp_path / 'run'}: holds a finished run; --force starts over"
    )
    other = refused("train", spec, "-o", tmp_path / "run", "--resume", "--set", "train.seed=7")
    assert "differs at train.epochs, train.seed" in other
    assert finished_files(tmp_path / "run") == before
    again = call("train", spec, "-o", tmp_path / "run", "--resume", "--set", "train.epochs=1")
    assert again.status == 0
    assert finished_files(tmp_path / "run") == before
    assert refused("train", spec, "--resume", "--force") == "--resume beside --force: go on, or start over"


def test_a_dry_run_takes_one_step_of_each_pattern_and_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rich(tmp_path)
    Path("spec.yaml").write_text(yaml.safe_dump(rich()))
    found = call("train", "spec.yaml", "--dry-run", "--json").json
    assert len(found) == 4
    assert {"rows", "count", "bound", "seconds"} == set(found[0])
    done = call("train", "spec.yaml", "--dry-run")
    assert len(done.out.splitlines()) == 4
    assert sorted(each.name for each in tmp_path.iterdir()) == ["rows.npz", "spec.yaml"]


# ---- evaluate


def test_evaluate_measures_and_compares_with_the_classifier_alone(place: Path) -> None:
    done = call("evaluate", place / "run", "--classifier", "--json")
    assert done.status == 0, done
    found = done.json
    assert (found["rows"], found["samples"], found["split"], found["labels"]) == (359, 5, "test", {"y": 50})
    for way in ("q", "posterior", "classifier"):
        assert 0 <= found[way]["y"]["error"] <= 1
        assert found[way]["y"]["rows"] == 359
        assert set(found[way]["y"]["calibration"]) == {"ece", "nll", "impossible", "brier", "bins"}
        assert sum(each["rows"] for each in found[way]["y"]["calibration"]["bins"]) == 359
    assert found["elbo"] < found["log_p"] < 0
    assert 1 <= found["effective_samples"] <= 5
    kept = (place / "run" / "classifier" / "last.safetensors").stat().st_mtime_ns
    again = call("evaluate", place / "run", "--classifier")
    assert (place / "run" / "classifier" / "last.safetensors").stat().st_mtime_ns == kept  # trained once
    words = again.out
    assert "error of y, q directly" in words
    assert "error of y, weighted posterior" in words
    assert "error of y, classifier alone" in words
    ways = (("q", "q directly"), ("posterior", "weighted posterior"), ("classifier", "classifier alone"))
    for way, name in ways:
        made = found[way]["y"]["calibration"]
        scores = f"NLL {made['nll']:.3f} nats, Brier {made['brier']:.3f}"
        line = next(line for line in words.splitlines() if line.startswith(f"  calibration of y, {name}  "))
        assert line.endswith(f"  ECE {100 * made['ece']:.2f} % (15 bins), {scores}")
    assert "(5 samples)" in words
    assert call("evaluate", place / "run", "--classifier", "--json").json == found  # the same draws every time


def test_evaluation_sees_the_same_binarised_rows_whatever_is_asked(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    from sgc.runtime.streams import TensorRows

    take = TensorRows.part

    def part(rows: TensorRows, *words: Any) -> Any:
        found = take(rows, *words)
        seen.append(found.values["x"])
        return found

    monkeypatch.setattr(TensorRows, "part", part)
    for samples, checkpoint in ((1, "best"), (700, "last")):
        call("evaluate", place / "run", "--samples", samples, "--checkpoint", checkpoint)
        seen.append(torch.empty(0, 1, 8, 8))
    cut = next(i for i, each in enumerate(seen) if not len(each))
    assert torch.equal(torch.cat(seen[:cut]), torch.cat(seen[cut:]))
    assert len(torch.cat(seen[:cut])) == 359
    assert set(torch.cat(seen).unique().tolist()) == {0.0, 1.0}


def test_evaluate_takes_the_validation_rows_too(place: Path, cats: Path) -> None:
    assert call("evaluate", place / "run", "--split", "validation", "--json").json["rows"] == 180
    found = call("evaluate", cats / "run", "--json").json
    assert set(found["q"]) == {"y", "w"}
    assert "rmse" in found["q"]["w"]


# ---- predict


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("data", ["mixed.npz", "bare.npz"])
def test_predictions_are_alike_in_every_format(data: str, place: Path, tmp_path: Path) -> None:
    given = ("--given", "y") if data == "mixed.npz" else ()
    for ending in ("csv", "npz", "json"):
        path = tmp_path / f"p.{ending}"
        done = call("predict", place / "run", place / data, "-o", path, "--samples", 10, *given)
        assert done.status == 0
        assert done.out == (
            f"{path}: 30 rows, y, z\nfrom     the posterior (10 samples weighed by p/r)\n"
            f"given    {'y in 12 rows' if given else 'no labels'}\n"
        )
    lines = read_csv(tmp_path / "p.csv")
    with np.load(tmp_path / "p.npz", allow_pickle=False) as archive:
        arrays = dict(archive)
    columns = json.loads((tmp_path / "p.json").read_text())
    assert [int(line["row"]) for line in lines] == list(range(30)) == columns["row"]
    assert [int(line["y"]) for line in lines] == arrays["y"].tolist() == columns["y"]
    assert set(arrays) == {"row", "given", "y", "y.probability", "z", "z.sd"} == set(columns)
    assert arrays["given"].tolist() == columns["given"] == [line["given"] for line in lines]
    assert arrays["given"].tolist() == ["y"] * (12 if given else 0) + [""] * (18 if given else 30)
    assert arrays["y.probability"].shape == (30, 10)
    assert np.allclose(arrays["y.probability"].sum(1), 1)
    assert np.allclose(
        [[float(line[f"z[{i}]"]) for i in range(2)] for line in lines], arrays["z"], rtol=1e-4, atol=1e-5
    )
    assert np.array_equal(columns["z.sd"], arrays["z.sd"])
    assert (arrays["z.sd"] >= 0).all()
    if data == "mixed.npz":  # what is known comes back as it is
        with np.load(place / data) as given:
            assert arrays["y"][:12].tolist() == given["label"][:12].tolist()
        assert (arrays["y.probability"][:12].max(1) == 1).all()
        assert (arrays["y.probability"][12:].max(1) < 1).all()
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["p.csv", "p.json", "p.npz"]


def test_predictions_speak_the_words_and_units_of_the_data(cats: Path, tmp_path: Path) -> None:
    given = ("--given", "y", "--given", "w")
    (tmp_path / "new.csv").write_text("length,kind,weight\n290,,\n310,dog,\n400,,95\n,,\n")
    assert "row 3" in refused("predict", cats / "run", tmp_path / "new.csv", "-o", tmp_path / "p.csv")
    (tmp_path / "new.csv").write_text("length,kind,weight\n290,,\n310,dog,\n400,,95\n")
    for ending in ("csv", "npz", "json"):
        assert call("predict", cats / "run", tmp_path / "new.csv", "-o", tmp_path / f"p.{ending}", *given).status == 0
    lines = read_csv(tmp_path / "p.csv")
    assert {line["y"] for line in lines} <= {"cat", "dog", "eel"}
    assert (lines[0]["y"], lines[1]["y"], lines[2]["y"]) == ("cat", "dog", "eel")
    for line in lines:
        assert sum(float(line[f"y.probability[{kind}]"]) for kind in ("cat", "dog", "eel")) == pytest.approx(
            1, abs=1e-4
        )
        assert 20 < float(line["w"]) < 130  # about 50, 68, 86: the scale of the file
    assert float(lines[2]["w"]) == pytest.approx(95, rel=1e-5)
    assert float(lines[2]["w.sd"]) == 0
    assert 3 < float(lines[0]["w.sd"]) < 30
    with np.load(tmp_path / "p.npz", allow_pickle=False) as archive:  # no Python objects, which only a pickle holds
        assert archive["y"].tolist() == [line["y"] for line in lines]
        assert archive["y.categories"].tolist() == ["cat", "dog", "eel"]
    told = json.loads((tmp_path / "p.json").read_text())
    assert told["y"] == [line["y"] for line in lines]
    assert told["y.categories"] == ["cat", "dog", "eel"]


# ---- sample


def png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG\r\n")


def test_sample_draws_pictures_and_numbers(place: Path, tmp_path: Path) -> None:
    run = place / "run"
    done = call("sample", run, "-o", tmp_path / "s.png", "--json")
    assert png(tmp_path / "s.png")
    held_out = done.json["held_out"]
    assert held_out["split"] == "test"
    assert len(set(held_out["rows"])) == 10
    assert done.json == {
        "file": str(tmp_path / "s.png"),
        "node": "x",
        "panels": ["samples", "each y, the rest alike down a column", "held-out rows, and their reconstructions"],
        "held_out": held_out,
    }
    assert call("sample", run, "-o", tmp_path / "a.png", "--analogies", "y").out == f"{tmp_path / 'a.png'}\n"
    assert call("sample", run, "-o", tmp_path / "t.png", "--traverse", "z").status == 0
    assert call("sample", run, "-o", tmp_path / "g.png", "--given", "y=3", "--count", 7).status == 0
    assert png(tmp_path / "a.png")
    assert png(tmp_path / "t.png")
    drawn = []
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        path = tmp_path / f"{name}.npz"
        found = call("sample", run, "-o", path, "--count", 9, "--given", "y=3", "--seed", seed, "--json").json
        assert found["arrays"] == {"y": [9], "z": [9, 2], "x": [9, 1, 8, 8]}
        with np.load(path, allow_pickle=False) as archive:
            drawn.append(dict(archive))
    assert drawn[0]["y"].tolist() == [3] * 9
    assert np.array_equal(drawn[0]["z"], drawn[1]["z"])
    assert not np.array_equal(drawn[0]["z"], drawn[2]["z"])


def test_sample_says_what_it_leaves_out(tmp_path: Path) -> None:
    spec = small(nodes__x__shape=[16], nodes__x__distribution="Bernoulli", train__epochs=1)
    draw = np.random.default_rng(0)
    train(sgc.load(spec), {"x": draw.integers(0, 2, (40, 16)), "y": draw.integers(-1, 3, 40)}, output=tmp_path / "run")
    done = call("sample", tmp_path / "run", "-o", tmp_path / "s.png")
    assert done.status == 0
    assert done.told.startswith("note: no reconstructions: ")
    assert "was trained on arrays from Python" in done.told
    assert "was trained on arrays from Python" in refused("evaluate", tmp_path / "run")


# ---- what is refused

RUN, SPEC, OUT, NEW = "RUN", "SPEC", "OUT", "NEW"
REFUSALS: list[tuple[list[str], str]] = [
    (["evaluate", "nowhere"], "nowhere: no such folder"),
    (["evaluate", SPEC], "is not a run folder: it holds no spec.yaml"),
    (["evaluate", RUN, "--checkpoint", "worst"], "unknown checkpoint 'worst': best or last"),
    (["evaluate", RUN, "--split", "train"], "unknown split 'train': test or validation"),
    (["predict", RUN, "nowhere.npz", "-o", "OUT/p.csv"], "nowhere.npz: no such file"),
    (["predict", RUN, SPEC, "-o", "OUT/p.csv"], "cannot tell the format of 'tiny.yaml'"),
    (["predict", RUN, NEW, "-o", "OUT/p.txt"], "cannot write '.txt': .csv, .csv.gz, .parquet, .npz, .json"),
    (["predict", RUN, NEW, "-o", "OUT/p"], "cannot write 'a file without an ending'"),
    (["predict", RUN, NEW, "-o", "OUT/nowhere/p.csv"], "nowhere does not exist"),
    (["predict", "nowhere", NEW, "-o", "OUT/p.csv"], "nowhere: no such folder"),
    (["predict", RUN, NEW, "-o", "OUT/p.csv", "--checkpoint", "worst"], "unknown checkpoint 'worst'"),
    (["sample", RUN, "-o", "OUT/s.jpg"], "cannot write '.jpg': .png, .npz"),
    (["sample", RUN, "-o", "OUT/nowhere/s.png"], "nowhere does not exist"),
    (
        ["sample", RUN, "-o", "OUT/s.png", "--analogies", "z"],
        "--analogies: 'z' is not a node with categories (allowed: y)",
    ),
    (
        ["sample", RUN, "-o", "OUT/s.png", "--traverse", "y"],
        "--traverse: 'y' is not a node of numbers that can be turned (--analogies y turns its categories)",
    ),
    (["sample", RUN, "-o", "OUT/s.png", "--analogies", "y", "--traverse", "z"], "--analogies beside --traverse"),
    (["sample", RUN, "-o", "OUT/s.png", "--given", "y"], "--given y: expected NODE=VALUE"),
    (["sample", RUN, "-o", "OUT/s.png", "--given", "v=1"], "--given: no node or input named 'v'"),
    (["sample", RUN, "-o", "OUT/s.png", "--given", "y=11"], "--given: 'y' has category 11 in row 0, wanted 0 to 9"),
    (["sample", RUN, "-o", "OUT/s.png", "--given", "y=much"], "--given: 'y' is held at 'much', wanted numbers"),
    (["sample", RUN, "-o", "OUT/s.png", "--given", "y="], "--given: 'y' is held at 'None', wanted numbers"),
    (["sample", RUN, "-o", "OUT/s.png", "--given", "y=[1"], "--given y: "),
    (["sample", RUN, "-o", "OUT/s.png", "--given", "y={a: 1, a: 2}"], "--given y: "),
    (["sample", RUN, "-o", "OUT/s.png", "--given", "z=[1, 2, 3]"], "--given: 'z' got shape"),
    (
        ["sample", RUN, "-o", "OUT/s.png", "--given", "z=1" + 40 * "0"],
        "--given: 'z': found 1e+40 in row 0 at [0], wanted a number that 32 bits hold",
    ),
    (["train", SPEC, "-o", SPEC], "is a file, wanted a folder for the run"),
    (["train", SPEC, "-o", RUN], "holds a finished run; --force starts over"),
    (["train", SPEC, "-o", "OUT/run", "--set", "train.device=abacus"], "train.device is 'abacus'"),
]


@pytest.mark.parametrize(
    ("words", "told"), REFUSALS, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_wrong_use_is_told_in_one_line_with_status_2(words: list[str], told: str, place: Path, tmp_path: Path) -> None:
    stand_for = {RUN: place / "run", SPEC: place / "tiny.yaml", NEW: place / "bare.npz"}
    given = [str(stand_for.get(word, word)).replace("OUT/", f"{tmp_path}/") for word in words]
    assert told in refused(*given)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ["traim"],
        ["train"],
        ["train", SPEC, "--no-such-flag"],
        ["evaluate", RUN, "--samples", "0"],
        ["evaluate", RUN, "--samples", "many"],
        ["predict", RUN, NEW],
        ["sample", RUN, "-o", "s.png", "--count", "0"],
        ["sample", RUN, "-o", "s.png", "--seed", "-1"],
        [],
    ],
    ids=" ".join,
)
def test_wrong_flags_exit_with_status_2(words: list[str], place: Path) -> None:
    done = call(*[{RUN: place / "run", SPEC: place / "tiny.yaml", NEW: place / "bare.npz"}.get(w, w) for w in words])
    assert done.status == 2
    assert done.out == "" or not words


def test_faults_of_a_spec_come_with_their_place_and_status_2(tmp_path: Path) -> None:
    for command in ("check", "train", "inspect"):
        done = call(command, tmp_path / "nowhere.yaml")
        assert (done.status, done.out) == (2, "")
        assert done.told == f"{tmp_path / 'nowhere.yaml'}: no such file\n"
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(changed(DIGITS, nodes__x__supervision="often")))
    done = call("train", tmp_path / "bad.yaml", "-o", tmp_path / "run")
    assert (done.status, done.out) == (2, "")
    assert "nodes.x.supervision: unknown supervision 'often'" in done.told
    assert not (tmp_path / "run").exists()
    (tmp_path / "bare.yaml").write_text(yaml.safe_dump(small()))
    assert "has no data section" in refused("train", tmp_path / "bare.yaml")
    assert "has no data section" in refused("check", tmp_path / "bare.yaml", "--data")


def _text(path: Path, text: str) -> None:
    path.write_text(text)


DAMAGED: list[tuple[str, Callable[[Path], object]]] = [
    ("rows.npz", lambda path: path.unlink()),
    ("rows.npz", lambda path: path.write_bytes(path.read_bytes()[:300])),
    ("rows.npz", lambda path: np.savez(path, image=np.zeros((9, 4, 4)))),
    ("rows.npz", lambda path: np.savez(path, image=np.full((9, 4, 4), np.nan), label=np.zeros(9), size=np.zeros(9))),
    ("rows.npz", lambda path: np.savez(path, image=np.zeros((9, 4, 4)), label=np.full(9, 7), size=np.zeros(9))),
    ("rows.npz", lambda path: np.savez(path, image=np.zeros((9, 4, 5)), label=np.zeros(9), size=np.zeros(9))),
    ("rows.npz", lambda path: np.savez(path, image=np.zeros((9, 4, 4)), label=np.zeros(8), size=np.zeros(9))),
]


@pytest.mark.parametrize("case", range(len(DAMAGED)))
def test_faults_of_the_data_are_told_before_the_first_step(case: int, tmp_path: Path) -> None:
    write_rich(tmp_path)
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(rich()))
    name, damage = DAMAGED[case]
    damage(tmp_path / name)
    for words in (
        ["train", tmp_path / "spec.yaml", "-o", tmp_path / "run"],
        ["check", tmp_path / "spec.yaml", "--data"],
    ):
        assert refused(*words)
    assert not (tmp_path / "run").exists()


def test_a_damaged_run_is_told_in_one_line(place: Path, tmp_path: Path) -> None:
    import shutil

    for name in ("run.json", "columns.json", "labels.npz", "best.safetensors"):
        folder = tmp_path / name.partition(".")[0]
        shutil.copytree(place / "run", folder)
        (folder / name).write_text("[]")
        assert name in refused("evaluate", folder)
        (folder / name).unlink()
        assert name in refused("evaluate", folder)
    shutil.copytree(place / "run", tmp_path / "spec")
    (tmp_path / "spec" / "spec.yaml").write_text("{")
    done = call("evaluate", tmp_path / "spec")
    assert (done.status, done.out) == (2, "")
    shutil.copytree(place / "run", tmp_path / "metrics")
    (tmp_path / "metrics" / "metrics.jsonl").write_bytes(b"\xff[1]\n3\n{}\n")
    done = call("train", place / "tiny.yaml", "-o", tmp_path / "metrics", "--resume")
    assert done.status == 0
    assert done.out.splitlines()[1] == "epochs     2"
    assert [line.partition(" is left out")[0] for line in done.told.splitlines()] == [
        f"warning: {tmp_path / 'metrics' / 'metrics.jsonl'}: line {number}" for number in (1, 2, 3)
    ]


def test_a_model_too_large_for_memory_is_no_traceback(tmp_path: Path) -> None:
    write_rich(tmp_path)
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(rich()))
    words = ["train", tmp_path / "spec.yaml", "-o", tmp_path / "run"]
    told = refused(*words, "--set", "nodes.z.recognition.network={mlp: [1000000, 1000000]}", status=1)
    assert told.startswith("not enough memory")


# ---- the process


def test_the_module_and_the_command_are_the_same_and_keep_their_streams_apart(place: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    script = Path(sys.executable).with_name("sgc")
    found = []
    for command in ([sys.executable, "-m", "sgc"], [str(script)]):
        done = subprocess.run(
            [*command, "evaluate", str(place / "run"), "--json"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        found.append(json.loads(done.stdout))
    assert found[0] == found[1]
    done = subprocess.run(
        [sys.executable, "-m", "sgc", "evaluate", "nowhere"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "error: nowhere: no such folder\n")


def test_progress_is_shown_on_a_terminal_alone(place: Path, tmp_path: Path) -> None:
    import pty

    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "sgc", "train", str(place / "tiny.yaml"), "-o", str(tmp_path / "run")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100", "TERM": "xterm"}
    child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=terminal)
    os.close(terminal)
    shown = b""
    while True:
        try:
            part = os.read(controller, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    assert child.stdout is not None
    out = child.stdout.read().decode()
    assert child.wait() == 0
    os.close(controller)
    for word in ("epoch 1/2", "bound -"):
        assert word in shown.decode()
    assert out.splitlines()[0] == f"run        {tmp_path / 'run'}"
    assert "\x1b" not in out
