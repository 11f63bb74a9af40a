"""What `predict` takes as evidence, whose answer it gives, which rows it writes and how it names them."""

from __future__ import annotations

import csv
import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from small_runs import changed, small
from test_cli import call, refused

import sgc
from sgc.metrics.metrics import METRICS
from sgc.runs.run_folder import RunFolder
from sgc.trained.answer_advice import CLEAR, Comparison, compare
from sgc.trained.predictions import predict_run
from sgc.trained.run_evaluation import held_out, run_data

NAMES = ("ant", "bee", "cow, brown")
COLUMNS = ["g0", "g1", "g2"]


def animals(rows: int, seed: int) -> tuple[np.ndarray, list[str], np.ndarray]:
    draw = np.random.default_rng(seed)
    kind = draw.integers(0, 3, rows)
    return (
        draw.normal(3.0 * kind[:, None], 1, (rows, 3)),
        [NAMES[k] for k in kind],
        50 + 5 * kind + draw.normal(size=rows),
    )


def write_table(path: Path, x: np.ndarray, **more: Any) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        before = {name: column for name, column in more.items() if name in ("", "barcode")}
        after = {name: column for name, column in more.items() if name not in before}
        writer.writerow([*before, *COLUMNS, *after])
        for i, row in enumerate(x):
            writer.writerow([*(c[i] for c in before.values()), *row, *(c[i] for c in after.values())])
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a table, whose partial nodes are a category by name and a number; and new rows with their labels."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("animals")
    x, kind, weight = animals(150, 0)
    write_table(folder / "animals.csv", x, kind=kind, weight=weight)
    data = {
        "source": "table",
        "file": "animals.csv",
        "columns": {
            "x": {"column": COLUMNS, "transforms": ["standardize"]},
            "y": {"column": "kind"},
            "w": {"column": "weight", "transforms": ["standardize"]},
        },
        "split": {"validation": 40, "test": 10, "seed": 0},
    }
    partial = {"supervision": "partial", "recognition": {"parents": ["x"], "network": {"mlp": [6]}}}
    spec = changed(small(), data=data, train__epochs=4, evaluate__samples=20)
    del spec["nodes"]["y"]["categories"]
    spec["nodes"]["y"]["values"] = [*NAMES]
    spec["nodes"]["w"] = {"distribution": "Normal", **partial}
    spec["nodes"]["x"]["generative"]["parents"] = ["y", "w", "z"]
    (folder / "animals.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    assert call("train", folder / "animals.yaml", "-o", folder / "run").status == 0
    x, kind, weight = animals(40, 1)
    write_table(folder / "new.csv", x, kind=kind, weight=weight)
    write_table(folder / "bare.csv", x)
    return folder


def predicted(place: Path, data: Path, output: Path, *more: object) -> Any:
    done = call("predict", place / "run", data, "-o", output, "--json", *more)
    assert done.status == 0, done
    return done.json


# ---- evidence


@pytest.mark.parametrize("more", [[], ["--from", "q"], ["--latents"]], ids=" ".join)
def test_labels_of_a_file_change_nothing_unless_they_are_given(more: list[str], place: Path, tmp_path: Path) -> None:
    x, kind, weight = animals(40, 1)
    permuted = np.random.default_rng(0).permutation(kind)
    others = {
        "right.csv": {"kind": kind, "weight": weight},
        "permuted.csv": {"kind": permuted, "weight": weight[::-1]},
        "unknown.csv": {"kind": ["fox"] * 40, "weight": ["heavy"] * 40},
        "none.csv": {},
    }
    found = {}
    for name, columns in others.items():
        data = write_table(tmp_path / name, x, **columns)
        told = predicted(place, data, tmp_path / "p.csv", *more)
        assert told["given"] == {"y": 0, "w": 0} or told["given"] == {}
        assert told["ignored"] == dict.fromkeys(("y", "w") if columns else (), 40)
        assert all(row["given"] == "" for row in read(tmp_path / "p.csv"))
        found[name] = (tmp_path / "p.csv").read_bytes()
    assert len(set(found.values())) == 1


def test_given_labels_are_evidence_and_are_counted(place: Path, tmp_path: Path) -> None:
    x, kind, weight = animals(40, 1)
    some = [name if i % 4 == 0 else "" for i, name in enumerate(kind)]
    data = write_table(tmp_path / "some.csv", x, kind=some, weight=weight)
    done = call("predict", place / "run", data, "-o", tmp_path / "p.csv", "--given", "y", "--from", "q")
    assert done.out == (
        f"{tmp_path / 'p.csv'}: 40 rows, y, z, w\nfrom     q\ngiven    y in 10 rows\n"
        "ignored  w in 40 rows (--given w takes these values as evidence)\n"
    )
    rows = read(tmp_path / "p.csv")
    assert [row["given"] for row in rows] == ["y" if each else "" for each in some]
    model = sgc.open(place / "run")
    encoded = torch.from_numpy(RunFolder(place / "run").encoders()["x"].encode(x))
    known = torch.tensor([NAMES.index(each) if each else -1 for each in some])
    post = model.infer({"x": encoded, "y": known}, from_="q")
    z = [[float(row[f"z[{i}]"]) for i in range(2)] for row in rows]
    sd = [[float(row[f"z.sd[{i}]"]) for i in range(2)] for row in rows]
    np.testing.assert_allclose(z, post["z"].mean, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(sd, post["z"].sd, rtol=1e-4, atol=1e-4)
    shares = [[float(row[f"y.probability[{name}]"]) for name in NAMES] for row in rows]
    np.testing.assert_allclose(shares, post["y"].mean, atol=1e-5)
    assert all(row["y"] == each for row, each in zip(rows, some, strict=True) if each)


GIVEN = [
    ("v", "--given v: no partially labelled node named 'v' (allowed: w, y)"),
    ("z", "--given z: 'z' is never observed, so a file has no values of it"),
    ("x", "--given x: 'x' has a value in every row, which is always evidence"),
    ("y", "--given y: {place}/bare.csv has no column of 'y'"),
]


@pytest.mark.parametrize(("name", "words"), GIVEN)
def test_evidence_that_cannot_be_is_refused(name: str, words: str, place: Path, tmp_path: Path) -> None:
    told = refused("predict", place / "run", place / "bare.csv", "-o", tmp_path / "p.csv", "--given", name)
    assert told == words.format(place=place)
    assert not (tmp_path / "p.csv").exists()


# ---- whose answer


def test_latents_are_of_q_and_alone(place: Path, tmp_path: Path) -> None:
    told = predicted(place, place / "new.csv", tmp_path / "z.csv", "--latents")
    assert (told["from"], told["nodes"]) == ("q", ["z"])
    rows = read(tmp_path / "z.csv")
    assert list(rows[0]) == ["row", "given", "z[0]", "z[1]", "z.sd[0]", "z.sd[1]"]
    predicted(place, place / "new.csv", tmp_path / "q.csv", "--from", "q")
    whole = read(tmp_path / "q.csv")
    assert [[row[name] for name in rows[0]] for row in whole] == [[*row.values()] for row in rows]
    told = predicted(place, place / "new.csv", tmp_path / "z.csv", "--latents", "--from", "posterior")
    assert told["from"] == "posterior"
    assert "--from" in call("predict", place / "run", place / "new.csv", "-o", tmp_path / "p.csv", "--from", "p").told


def test_few_effective_samples_are_told_with_the_better_answer(place: Path, tmp_path: Path) -> None:
    done = call("predict", place / "run", place / "bare.csv", "-o", tmp_path / "p.csv", "--samples", 6)
    head = re.fullmatch(
        r"warning: 40 of 40 rows rest on fewer than 10 effective samples of 6 \(median [\d.]+\), so that the weighted "
        r"posterior is known roughly; on 40 validation rows (.*) for y \(NLL (\S+) of q, (\S+) nats of the "
        r"posterior\); (.*) for w \(RMSE (\S+) of q, (\S+) of the posterior\)(: --from q)?\n",
        done.told,
    )
    assert head is not None, done.told
    own = sgc.evaluate(place / "run", split="validation", samples=6).evaluation.from_q
    assert own["y"].calibration is not None
    assert float(head[2]) == pytest.approx(own["y"].calibration.log_loss, rel=1e-3)
    assert float(head[5]) == pytest.approx(own["w"].value, rel=1e-3)
    assert (
        "effective"
        not in call("predict", place / "run", place / "bare.csv", "-o", tmp_path / "p.csv", "--from", "q").told
    )


def test_the_better_answer_is_that_of_the_lower_loss_beyond_its_error(place: Path) -> None:
    """Against both losses by row, computed from the model alone, where the posterior is drawn from the same seed."""
    folder = RunFolder(place / "run")
    model = sgc.open(place / "run")
    rows = held_out(model, run_data(folder, model), "validation")
    index = np.arange(rows.count)
    found = {each.node: each for each in compare(model, rows, 2).comparisons}
    x, labels = rows.take("x", index), rows.take("y", index)
    q = model.conditional("y", "recognition", {"x": x}).mean
    losses = -q.detach().gather(1, labels.unsqueeze(1)).log().squeeze(1)
    assert found["y"].q == pytest.approx(float(losses.mean()), rel=1e-5)
    assert found["y"].labels == 40
    assert found["y"].measure == "NLL"
    assert CLEAR == 2
    assert {each.better for each in found.values()} <= {"q", "posterior", ""}


def test_the_words_of_a_comparison() -> None:
    assert Comparison("y", "NLL", 1.09, 1.82, 40, "q", " nats").words == (
        "q is the better answer for y (NLL 1.09 of q, 1.82 nats of the posterior)"
    )
    assert Comparison("w", "RMSE", 3.0, 2.5, 40, "posterior").words == (
        "the weighted posterior is still the better answer for w (RMSE 3 of q, 2.5 of the posterior)"
    )
    assert Comparison("l", "angle", 10.0, 10.1, 40, "", METRICS["angle"].short_unit).words == (
        "neither answer is clearly better for l (angle 10 of q, 10.1° of the posterior)"
    )


def test_a_model_of_a_run_says_in_python_which_answer_is_better(place: Path) -> None:
    model = sgc.open(place / "run")
    for _ in range(2):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.infer({"x": torch.zeros(2, 3)}, samples=3)
        (told,) = (str(each.message) for each in caught)
        assert told.startswith("2 of 2 rows rest on fewer than 10 effective samples of 3 (median ")
        assert "; on 40 validation rows " in told
        assert "--" not in told


def test_where_validation_cannot_tell_it_is_said_why(place: Path, tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(place / "run")
    folder = RunFolder(tmp_path / "run")
    info = json.loads(folder.info_path.read_text())
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in (place / "run").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "run.json").write_text(json.dumps({**info, "beside": str(tmp_path / "nowhere")}))
    told = call("predict", copy, place / "bare.csv", "-o", tmp_path / "p.csv", "--samples", 3).told
    assert "validation cannot tell whether --from q is better: animals.csv: no such file; looked in" in told


def test_a_file_of_a_store_is_told_to_be_far_away(place: Path, tmp_path: Path) -> None:
    told = call("predict", place / "run", "s3://bucket/rows.parquet", "-o", tmp_path / "p.csv").told
    assert "s3://bucket/rows.parquet: is far away: new rows are read from this machine, so fetch the file first" in told


# ---- rows and their names


def test_columns_are_named_by_the_categories_and_rows_by_their_own_ids(place: Path, tmp_path: Path) -> None:
    x, kind, _ = animals(4, 1)
    ids = ["AAAC-1", "AAAG-1", "", "007"]
    header = [f"y.probability[{name}]" for name in NAMES]
    index = write_table(tmp_path / "index.csv", x, **{"": ids})
    named = write_table(tmp_path / "named.csv", x, barcode=ids, kind=kind)
    for data, name, more in ((index, "id", []), (named, "barcode", ["--id", "barcode"])):
        predicted(place, data, tmp_path / "p.csv", *more)
        rows = read(tmp_path / "p.csv")
        assert [*rows[0]][:7] == ["row", name, "given", "y", *header]
        assert [row[name] for row in rows] == ids
        assert [row["row"] for row in rows] == ["0", "1", "2", "3"]
        for ending in ("json", "npz"):
            predicted(place, data, tmp_path / f"p.{ending}", *more)
        arrays = dict(np.load(tmp_path / "p.npz", allow_pickle=False))
        lists = json.loads((tmp_path / "p.json").read_text())
        assert arrays[name].tolist() == ids
        assert lists[name] == [each or None for each in ids]
        assert arrays["y.categories"].tolist() == lists["y.categories"] == [*NAMES]
        assert arrays["y.probability"].shape == (4, 3)
    told = refused("predict", place / "run", named, "-o", tmp_path / "p.csv", "--id", "code")
    assert told == f"{named}: no column named 'code'; did you mean 'barcode'?"


def test_ids_of_other_formats(place: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    x, _, _ = animals(3, 1)
    frame = pandas.DataFrame(x, columns=COLUMNS)
    frame.index = pandas.Index(["a", "b", "c"])
    frame.to_parquet(tmp_path / "bare.parquet")
    frame.rename_axis("cell").to_parquet(tmp_path / "named.parquet")
    frame.to_csv(tmp_path / "index.csv")
    frame.reset_index(drop=True).to_parquet(tmp_path / "numbered.parquet")
    for name, column in (("bare.parquet", "id"), ("named.parquet", "cell"), ("index.csv", "id")):
        predicted(place, tmp_path / name, tmp_path / "p.csv")
        assert [row[column] for row in read(tmp_path / "p.csv")] == ["a", "b", "c"]
    predicted(place, tmp_path / "numbered.parquet", tmp_path / "p.csv")
    assert [*read(tmp_path / "p.csv")[0]][:3] == ["row", "given", "y"]
    numbers = {name: x[:, i] for i, name in enumerate(COLUMNS)}
    np.savez(tmp_path / "new.npz", key=np.array([10.0**9 + 1, 2, 3]), row=np.array([7, 8, 9]), x=x, **numbers)
    predicted(place, tmp_path / "new.npz", tmp_path / "p.csv", "--id", "key")
    assert [row["key"] for row in read(tmp_path / "p.csv")] == ["1000000001", "2", "3"]
    predicted(place, tmp_path / "new.npz", tmp_path / "p.csv", "--id", "row")
    assert [row["row_"] for row in read(tmp_path / "p.csv")] == ["7", "8", "9"]  # 'row' says which it is in the file
    told = refused("predict", place / "run", tmp_path / "new.npz", "-o", tmp_path / "p.csv", "--id", "x")
    assert told == "--id x: found rows of the shape [3], wanted one value a row"


@pytest.mark.parametrize("more", [[], ["--latents", "--from", "posterior"]], ids=" ".join)
def test_a_row_without_finite_scores_is_left_out_and_told(more: list[str], place: Path, tmp_path: Path) -> None:
    x, kind, _ = animals(6, 1)
    x[2] = 1e25
    data = write_table(tmp_path / "big.csv", x, barcode=[f"cell-{i}" for i in range(6)], kind=kind)
    words = ["predict", place / "run", data, "-o", tmp_path / "p.csv", "--id", "barcode", *more]
    done = call(*words)
    assert done.status == 1
    told = done.told.splitlines()[-1]
    assert re.fullmatch(
        rf"error: {tmp_path}/p\.csv: 1 of 6 rows has no finite scores and is left out: row 2 \('cell-2'\): "
        r"node '\w': .*not finite",
        told,
    )
    rows = read(tmp_path / "p.csv")
    assert [row["row"] for row in rows] == ["0", "1", "3", "4", "5"]
    assert all(np.isfinite(float(row["z[0]"])) for row in rows)
    found = call(*words, "--json").json
    assert list(found["left_out"]) == ["2"]
    assert found["rows"] == 5
    data = write_table(tmp_path / "big.csv", x[[2, 2]])
    told = refused(*words[:3], "-o", tmp_path / "none.csv", status=1)
    assert told.startswith("no row has finite scores, so nothing is written: rows 0 and 1: node '")
    assert not (tmp_path / "none.csv").exists()


def test_names_of_nodes_and_of_rows_do_not_clash(tmp_path: Path) -> None:
    spec = small(train__epochs=1)
    nodes = spec["nodes"]
    spec["nodes"] = {{"y": "row", "z": "given"}.get(name, name): node for name, node in nodes.items()}
    for name, key in (("x", "generative"), ("given", "recognition")):
        parents = spec["nodes"][name][key]["parents"]
        spec["nodes"][name][key]["parents"] = [{"y": "row", "z": "given"}.get(each, each) for each in parents]
    draw = np.random.default_rng(0)
    x = draw.normal(size=(30, 3))
    sgc.train(sgc.load(spec), {"x": x, "row": draw.integers(-1, 3, 30)}, output=tmp_path / "run")
    np.savez(tmp_path / "new.npz", x=x)
    predict_run(tmp_path / "run", tmp_path / "new.npz", tmp_path / "p.csv")
    rows = read(tmp_path / "p.csv")
    assert [*rows[0]][:3] == ["row_", "given_", "row"]
    assert [row["row_"] for row in rows] == [str(i) for i in range(30)]
    assert "given[0]" in rows[0]


# ---- somebody's own files


def test_no_output_overwrites_an_input(place: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for path in (place / "run").iterdir():
        (run / path.name).write_bytes(path.read_bytes())
    data = tmp_path / "new.csv"
    data.write_bytes((place / "new.csv").read_bytes())
    (tmp_path / "link.csv").symlink_to(data)
    (tmp_path / "hard.csv").hardlink_to(data)
    trained = place / "animals.csv"
    own, run_file = "the rows to predict", "a file of the run"
    cases = [
        *(("predict", path, own) for path in (data, tmp_path / "run" / ".." / "new.csv", tmp_path / "link.csv")),
        ("predict", tmp_path / "hard.csv", own),
        ("predict", trained, "data that the run was trained on"),
        *(("predict", run / name, run_file) for name in ("run.json", "columns.json", "labels.npz")),
        ("sample", run / "labels.npz", run_file),
    ]
    spec = tmp_path / "model.svg"  # a spec may have any ending
    spec.write_bytes((place / "animals.yaml").read_bytes())
    cases += [("inspect", spec, "the spec")]
    before = {path: path.read_bytes() for path in [*tmp_path.rglob("*"), trained] if path.is_file()}
    for command, output, what in cases:
        words = [command, spec if command == "inspect" else run, *([data] if command == "predict" else [])]
        told = refused(*words, "-o", output)
        assert told == f"{output}: holds {what}, which would be overwritten: write another file"
    assert {path: path.read_bytes() for path in before} == before
    assert call("predict", run, data, "-o", run / "p.csv").status == 0
