"""New rows for a run come in each of the formats, and are read as its own were; a run on pictures, end to end."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import scipy.io
import yaml
from data_files import opened, section
from test_cli import call
from test_sources import save

from sgc.data.dataset import Rows
from sgc.data.new_rows import read_rows
from sgc.data.variables import Variable
from sgc.distributions.supports import SUPPORTS
from sgc.errors import DataError

PICTURES = np.random.default_rng(2).integers(0, 256, (30, 4, 5), dtype=np.uint8)
LABELS = np.arange(30) % 3
IMAGE = Variable("x", (1, 4, 5), support=SUPPORTS["unit_interval"])
CLASS = Variable("y", (), 3, ("ant", "bee", "cow"), supervision="partial")
COLUMNS = "columns: {x: {column: image, transforms: [{divide: 255}]}, y: {column: label}}"
IMAGES = f"{{source: images, root: d, mode: grey, {COLUMNS}}}"


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SGC_DATA", raising=False)


def write_folders(folder: Path) -> None:
    for row, picture in enumerate(PICTURES):
        save(folder / "d" / ("ant", "bee", "cow")[LABELS[row]] / f"{row:02d}.png", picture)


def new_rows(text: str, folder: Path, name: str) -> Rows:
    variables = {"x": IMAGE, "y": CLASS}
    encoders = opened(text, IMAGE, CLASS, beside=folder).encoders
    return read_rows(section(text), variables, encoders, folder / name).rows


def shows(rows: Rows, pictures: np.ndarray, labels: list[int]) -> None:
    np.testing.assert_allclose(rows.values["x"], pictures[:, None] / np.float32(255))
    np.testing.assert_array_equal(rows.values["y"], labels)


def test_new_pictures(tmp_path: Path) -> None:
    write_folders(tmp_path)
    for row in range(3):
        save(tmp_path / "flat" / f"{row}.png", PICTURES[row])
        save(tmp_path / "classes" / ("cow", "ant", "cow")[row] / f"{row}.png", PICTURES[row])
    (tmp_path / "new.csv").write_text("path,label\nflat/2.png,bee\nflat/0.png,\n")
    (tmp_path / "bare.csv").write_text("path\nflat/2.png\n")
    np.savez(tmp_path / "new.npz", image=PICTURES[:2])
    shows(new_rows(IMAGES, tmp_path, "flat"), PICTURES[:3], [-1] * 3)
    shows(new_rows(IMAGES, tmp_path, "classes"), PICTURES[[1, 0, 2]], [0, 2, 2])
    shows(new_rows(IMAGES, tmp_path, "flat/1.png"), PICTURES[[1]], [-1])
    shows(new_rows(IMAGES, tmp_path, "new.csv"), PICTURES[[2, 0]], [1, -1])
    shows(new_rows(IMAGES, tmp_path, "bare.csv"), PICTURES[[2]], [-1])
    shows(new_rows(IMAGES, tmp_path, "new.npz"), PICTURES[:2], [-1] * 2)
    encoders = opened(IMAGES, IMAGE, CLASS, beside=tmp_path).encoders
    for name, said in (("new.csv", ["flat/2.png", "flat/0.png"]), ("flat", ["0.png", "1.png", "2.png"])):
        found = read_rows(section(IMAGES), {"x": IMAGE, "y": CLASS}, encoders, tmp_path / name)
        assert found.paths is not None
        assert found.paths.tolist() == said


def test_new_rows_of_other_formats(tmp_path: Path) -> None:
    write_folders(tmp_path)
    scipy.io.savemat(tmp_path / "new.mat", {"image": PICTURES[:4], "label": ["ant", "cow", "bee", "ant"]})
    lists = pyarrow.array(PICTURES[:2].tolist())
    pyarrow.parquet.write_table(pyarrow.table({"image": lists}), tmp_path / "new.parquet")
    text = "{source: npz, file: d.npz, %s}".replace("%s", COLUMNS)
    np.savez(tmp_path / "d.npz", image=PICTURES, label=np.array(["ant", "bee", "cow"])[LABELS])
    shows(new_rows(text, tmp_path, "new.mat"), PICTURES[:4], [0, 2, 1, 0])
    shows(new_rows(text, tmp_path, "new.parquet"), PICTURES[:2], [-1] * 2)
    with pytest.raises(DataError) as caught:
        new_rows(text, tmp_path, "d")
    assert str(caught.value) == f"{tmp_path / 'd'}: is a folder: a run on 'source: images' reads one of pictures"


def test_a_matlab_run_reads_new_rows_as_its_own(tmp_path: Path) -> None:
    names = np.array(["ant", "bee", "cow"])[LABELS]
    scipy.io.savemat(tmp_path / "d.mat", {"image": PICTURES.transpose(1, 2, 0), "label": names})
    scipy.io.savemat(tmp_path / "new.mat", {"image": PICTURES[:2].transpose(1, 2, 0)})
    text = f"{{source: mat, file: d.mat, rows: last, {COLUMNS}}}"
    shows(opened(text, IMAGE, CLASS, beside=tmp_path).train, PICTURES, LABELS.tolist())
    shows(new_rows(text, tmp_path, "new.mat"), PICTURES[:2], [-1] * 2)


SPEC: dict[str, Any] = {
    "version": 1,
    "data": {**yaml.safe_load(IMAGES), "split": {"validation": 3, "test": 3}, "labels": {"y": {"count": 6}}},
    "nodes": {
        "x": {
            "distribution": "Bernoulli",
            "shape": [1, 4, 5],
            "supervision": "full",
            "generative": {"parents": ["y"], "network": {"mlp": [4]}},
        },
        "y": {
            "distribution": "Categorical",
            "values": ["ant", "bee", "cow"],
            "supervision": "partial",
            "recognition": {"parents": ["x"], "network": {"mlp": [4]}, "estimator": "enumerate"},
        },
    },
    "train": {"epochs": 1, "batch_size": 10},
}


def test_a_run_on_pictures_predicts_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_folders(tmp_path)
    Path("spec.yaml").write_text(yaml.safe_dump(SPEC))
    assert call("check", "spec.yaml", "--data").out.endswith("rows: 24 train, 3 validation, 3 test, 6 labelled y\n")
    assert call("train", "spec.yaml", "-o", "run").status == 0
    assert call("evaluate", "run", "--samples", "2").status == 0
    save(Path("new/a.png"), PICTURES[0])
    save(Path("new/b.png"), PICTURES[1])
    assert call("predict", "run", "new", "-o", "p.csv").status == 0
    with open("p.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == ["a.png", "b.png"]
    assert {row["y"] for row in rows} <= {"ant", "bee", "cow"}
    Path("new/b.png").write_bytes(Path("new/b.png").read_bytes()[:45])
    done = call("predict", "run", "new", "-o", "p.csv")
    assert (done.status, done.out) == (2, "")
    assert done.told == "error: new/b.png: row 1: the picture is cut short or damaged\n"
