"""The builder of multi-MNIST, on scikit-learn's digits: what a canvas shows is what its labels say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_files import opened
from sklearn.datasets import load_digits
from test_cli import call, refused

from sgc.data import multi_mnist
from sgc.data.multi_mnist import OVERLAP, build, columns, write, write_parts
from sgc.data.variables import Variable
from sgc.distributions.supports import SUPPORTS
from sgc.errors import DataError
from sgc.networks.spatial_transformer import Affine

LOADED = load_digits()
IMAGES, LABELS = (LOADED.images * 15).astype(np.uint8), LOADED.target.astype(np.int64)
ROWS = 300


@pytest.fixture(scope="module")
def built() -> dict[str, Any]:
    chunks = list(build(IMAGES, LABELS, ROWS, seed=4))
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def test_counts_and_digits_are_balanced(built: dict[str, Any]) -> None:
    assert np.bincount(built["count"]).tolist() == [0, 100, 100, 100]
    there = built["classes"][built["classes"] >= 0]
    assert np.bincount(there).tolist() == [60] * 10


def test_steps_beyond_the_count_are_missing(built: dict[str, Any]) -> None:
    steps = np.arange(3) < built["count"][:, None]
    assert np.array_equal(built["classes"] >= 0, steps)
    assert np.array_equal(~np.isnan(built["size"][..., 0]), steps)
    assert np.array_equal(~np.isnan(built["at"]).all(-1), steps)
    assert np.array_equal(built["digits"].any((2, 3, 4)), steps)


def test_digits_stand_from_left_to_right_inside_the_canvas_and_apart(built: dict[str, Any]) -> None:
    for row in range(ROWS):
        count = built["count"][row]
        size, at = built["size"][row, :count], built["at"][row, :count]
        assert (np.diff(at[:, 0]) >= 0).all()
        assert (np.abs(at) + size <= 1 + 1e-6).all()
        for i in range(count):
            for j in range(i):
                inner = np.minimum(at[i] + size[i], at[j] + size[j]) - np.maximum(at[i] - size[i], at[j] - size[j])
                shared = np.clip(inner, 0, None).prod()
                assert shared <= OVERLAP * (2 * min(size[i], size[j])) ** 2 + 1e-6


def test_a_canvas_is_its_digits_pasted_by_a_spatial_transformer(built: dict[str, Any]) -> None:
    """Against `affine: {paste: …}` and the maximum, to the rounding of bytes."""
    paste = Affine(way="paste", output=(1, 64, 64)).joining_module([(1, 8, 8), (1,), (2,)])
    digits, size, at = (torch.from_numpy(built[name]).double() for name in ("digits", "size", "at"))
    steps = [paste(digits[:, t], size[:, t].nan_to_num(1), at[:, t].nan_to_num(0)) for t in range(3)]
    whole = torch.stack(steps).amax(0)
    assert float((whole - torch.from_numpy(built["canvas"]).double()).abs().max()) <= 0.51


def test_pictures_and_classes_are_those_of_the_digits(built: dict[str, Any]) -> None:
    known = {picture.tobytes(): label for picture, label in zip(IMAGES, LABELS, strict=True)}
    for row in range(ROWS):
        for step in range(built["count"][row]):
            assert known[built["digits"][row, step, 0].tobytes()] == built["classes"][row, step]


def test_the_same_seed_builds_the_same_and_chunks_leave_no_trace(
    built: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multi_mnist, "CHUNK", 70)
    write(tmp_path / "some.npz", IMAGES, LABELS, ROWS, seed=4)
    write(tmp_path / "again.npz", IMAGES, LABELS, ROWS, seed=4)
    write(tmp_path / "other.npz", IMAGES, LABELS, ROWS, seed=5)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["again.npz", "other.npz", "some.npz"]
    some, again, other = (np.load(tmp_path / f"{name}.npz") for name in ("some", "again", "other"))
    for each in columns((8, 8)):
        assert some[each.name].dtype == np.dtype(each.dtype)
        assert some[each.name].shape == (ROWS, *each.shape)
        assert np.array_equal(some[each.name], built[each.name], equal_nan=each.dtype == "f4")
        assert np.array_equal(some[each.name], again[each.name], equal_nan=each.dtype == "f4")
    assert not np.array_equal(some["canvas"], other["canvas"])


# ---- from the shell, and as a source


def test_the_command_writes_what_the_source_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SGC_DATA", str(tmp_path))
    words = ["data", "multi-mnist", "--digits", "digits", "--train", 60, "--test", 12, "--seed", 3]
    done = call(*words)
    assert (done.status, done.told) == (0, "")
    folder = tmp_path / "multi-mnist"
    assert done.out.splitlines() == [str(folder / "train.npz"), str(folder / "test.npz")]
    assert "exists already; --force overwrites it" in refused(*words)
    assert call(*words, "--force").status == 0
    text = """{source: multi-mnist, columns: {x: {column: canvas, transforms: [{divide: 255}]}, k: {column: count},
      c: {column: classes}}, split: {validation: 6}}"""
    nodes = (
        Variable("x", (1, 64, 64), support=SUPPORTS["unit_interval"]),
        Variable("k", (), 3, values=(1, 2, 3)),
        Variable("c", (3,), 10, supervision="partial"),
    )
    rows = opened(text, *nodes)
    assert (len(rows.train), len(rows.validation), len(rows.test)) == (54, 6, 12)
    built = np.load(folder / "test.npz")
    assert np.array_equal(rows.test.values["k"], built["count"] - 1)
    assert np.array_equal(rows.test.values["c"][built["count"] == 3], built["classes"][built["count"] == 3])
    np.testing.assert_allclose(rows.test.values["x"], built["canvas"] / 255, rtol=1e-6)


def test_train_and_test_are_built_of_digits_of_their_own(tmp_path: Path) -> None:
    write_parts(tmp_path, "digits", (90, 90), seed=0, force=False)
    train, test = (np.load(tmp_path / f"{part}.npz")["digits"].reshape(-1, 64) for part in ("train", "test"))
    seen = {each.tobytes() for each in train if each.any()}
    assert not seen & {each.tobytes() for each in test if each.any()}


def test_what_is_not_built_yet_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SGC_DATA", raising=False)
    with pytest.raises(DataError) as problem:
        opened("{source: multi-mnist, columns: {x: {column: canvas}}}", Variable("x", (1, 64, 64)), beside=tmp_path)
    said = "no such file: 'sgc data multi-mnist' writes it into $SGC_DATA/multi-mnist, or -o FOLDER"
    assert str(problem.value) == f"{Path('multi-mnist', 'train.npz')}: {said}"
    (tmp_path / "file").touch()
    assert "cannot be written: Not a directory" in refused(
        "data", "multi-mnist", "-o", tmp_path / "file" / "below", "--digits", "digits", "--train", 1, "--test", 1
    )
