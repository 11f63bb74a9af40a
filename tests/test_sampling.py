"""Pictures and numbers of a run: which rows and values are taken, and whole files of rows that are turned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import changed, face_arrays, faces, small, small_arrays

import sgc
from sgc.errors import DataError, UsageError
from sgc.runs.run_folder import RunFolder, open_run
from sgc.runtime.model import Model
from sgc.samples.overview import Overview
from sgc.samples.shown_rows import HeldOut, along_axis, spread
from sgc.samples.traversal import generated_mean, infer_centers
from sgc.trained.run_evaluation import run_data
from sgc.trained.sampler import sample_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the small faces."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("faces")
    np.savez(folder / "rows.npz", **face_arrays())
    sgc.train(sgc.load(faces()), output=folder / "run", beside=folder)
    return folder / "run"


def rows_of(run: Path, seed: int = 0) -> tuple[Model, HeldOut]:
    model = open_run(run)
    return model, HeldOut(run_data(RunFolder(run), model), model, seed)


# ---- which rows and which values


def test_values_are_evenly_spaced_quantiles_that_occur() -> None:
    draw = np.random.default_rng(0)
    numbers = draw.normal(size=101)
    taken = numbers[along_axis(numbers, 9)]
    np.testing.assert_array_equal(taken, np.quantile(numbers, np.linspace(0, 1, 9), method="nearest"))
    vectors = draw.normal(size=(101, 3)) * [1, 10, 1]
    np.testing.assert_array_equal(np.diff(vectors[along_axis(vectors, 9)][:, 1]) > 0, True)
    turn, _ = np.linalg.qr(draw.normal(size=(3, 3)))
    places, moved = along_axis(vectors, 9), along_axis(vectors @ turn + 7, 9)
    assert places.tolist() in (moved.tolist(), moved.tolist()[::-1])
    assert sorted(np.array([5, 5, 5, 2, 5])[along_axis(np.array([5, 5, 5, 2, 5]), 9)]) == [2, 5]
    assert spread(10, 38).tolist() == [0, 4, 8, 12, 16, 21, 25, 29, 33, 37]


def test_rows_are_of_the_test_split_one_for_each_category(run: Path) -> None:
    _, held_out = rows_of(run)
    chosen = held_out.choose("x", 10)
    rows = face_arrays()
    assert chosen.split == "test"
    assert set(chosen.ids) <= set(held_out.dataset.test.rows.tolist())
    kinds = np.unique(rows["i"][held_out.dataset.test.rows])
    wanted = kinds[spread(10, len(kinds))]
    assert rows["i"][list(chosen.ids)].tolist() == wanted.tolist()
    assert chosen.words == tuple(f"i = {kind}" for kind in wanted)
    assert set(chosen.batch) == {"x"}  # no label is shown to the model
    np.testing.assert_allclose(chosen.batch["x"], rows["x"][list(chosen.ids)], rtol=1e-6)
    assert rows_of(run)[1].choose("x", 10).ids == chosen.ids
    assert rows_of(run, seed=1)[1].choose("x", 10).ids != chosen.ids
    many = held_out.choose("x", 30)
    assert len(set(many.ids)) == 30
    assert sorted(rows["i"][list(many.ids)]) == rows["i"][list(many.ids)].tolist()


def test_rows_come_from_elsewhere_where_there_is_no_test_split(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", **face_arrays())
    for split in ({"validation": 10}, {}):
        raw = faces(data__split={**split, "seed": 0})
        sgc.train(sgc.load(raw), output=tmp_path / "run", beside=tmp_path, force=True)
        _, held_out = rows_of(tmp_path / "run")
        chosen = held_out.choose("x", 3)
        assert (chosen.split, chosen.kind) == (("validation", "held-out rows") if split else ("train", "training rows"))
    rows = face_arrays()
    nothing = {**rows, "l": np.full((80, 3), np.nan)}
    spec = sgc.load(changed(faces(), data=None))
    sgc.train(spec, {**rows, "i": np.full(80, -1)}, output=tmp_path / "arrays")
    with pytest.raises(DataError, match=r"^no row has a label of 'l' to turn it through$"):
        sample_run(tmp_path / "arrays", tmp_path / "l.npz", traverse="l", arrays=nothing)
    told = sample_run(tmp_path / "arrays", tmp_path / "i.npz", analogies="i", arrays={**rows, "i": np.full(80, -1)})
    assert told["held_out"]["split"] == "train"


# ---- whole files


def archive(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as found:
        return dict(found)


def test_a_light_is_turned_through_those_of_the_data(run: Path, tmp_path: Path) -> None:
    told = sample_run(run, tmp_path / "l.npz", traverse="l")
    found = archive(tmp_path / "l.npz")
    count, wide = found["x"].shape[:2]
    assert found["x"].shape[1:] == (9, 1, 4, 4)
    assert told["arrays"]["l"] == [count, 9, 3]
    assert told["held_out"] == {"split": "test", "rows": found["x.row"].tolist()}
    for kept in ("i", "r"):  # to the bit
        assert (found[kept] == found[kept][:, :1]).all()
    assert (found["l"] == found["l"][:1]).all()
    assert (np.abs(np.diff(found["s"], axis=1)).max((1, 2)) > 1e-6).all()
    model, held_out = rows_of(run)
    data = face_arrays()["l"]
    cells = held_out.dataset.encoders["l"].decode(found["l"][0])
    assert (np.abs(cells[:, None] - data[held_out.dataset.test.rows]).max(-1).min(1) < 1e-3).all()
    rows = data[found["x.row"]]
    assert rows.shape == (count, 3)
    _, texts, _ = held_out.range_of("l", 9)
    assert [[float(word) for word in words.split("\n")] for words in texts] == pytest.approx(cells, abs=0.51)
    own = torch.as_tensor(found["x.data"])
    torch.testing.assert_close(
        torch.as_tensor(found["x.model"]), generated_mean(model, infer_centers(model, {"x": own}), "x")
    )
    again = archive(tmp_path / "l.npz")
    sample_run(run, tmp_path / "l.npz", traverse="l")
    assert all(np.array_equal(value, again[name]) for name, value in archive(tmp_path / "l.npz").items())
    sample_run(run, tmp_path / "l.npz", traverse="l", seed=5)
    assert archive(tmp_path / "l.npz")["x.row"].tolist() != found["x.row"].tolist()
    assert wide == 9


def test_a_person_is_changed_under_one_light(run: Path, tmp_path: Path) -> None:
    told = sample_run(run, tmp_path / "i.npz", analogies="i", given={"l": [0, 0, 1]})
    found = archive(tmp_path / "i.npz")
    assert told["arrays"]["i"] == [len(found["x"]), 10]
    assert found["i"][0].tolist() == spread(10, 12).tolist()
    assert (found["l"] == [0, 0, 1]).all()
    assert (found["r"] == found["r"][:, :1]).all()
    assert not (found["s"] == found["s"][:, :1]).all()
    pytest.importorskip("matplotlib")
    told = sample_run(run, tmp_path / "i.png", analogies="i", given={"l": [0, 0, 1]})
    title = "i turned through its categories (10 of 12); l = [0, 0, 1], s proposed anew, the rest as inferred"
    assert told["panels"] == [title]
    told = sample_run(run, tmp_path / "l.png", traverse="l")
    words = "l turned through its values in the test rows, along their first principal axis"
    assert told["panels"] == [f"{words}; s proposed anew, the rest as inferred"]
    told = sample_run(run, tmp_path / "r.png", traverse="r")
    assert told["panels"] == ["each dimension of r from -3 to 3; the rest as inferred"]
    assert len(told["held_out"]["rows"]) == 1
    told = sample_run(run, tmp_path / "all.png")
    assert "each i (10 of 12), the rest alike down a column" in told["panels"]


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"analogies": "s"}, "analogies: 's' is not a node with categories (allowed: i)"),
    (
        {"traverse": "i"},
        "traverse: 'i' is not a node of numbers that can be turned (analogies='i' turns its categories)",
    ),
    ({"traverse": "x"}, "traverse: 'x' is not a node of numbers that can be turned (allowed: l, r, s)"),
    ({"analogies": "i", "given": {"i": 3}}, "given i beside analogies i: hold a node or turn it, not both"),
    ({"traverse": "l", "given": {"x": 0}}, "given x: it is what is shown, and cannot be held beside traverse"),
    ({"traverse": "l", "given": {"i": 12}}, "given: 'i' has category 12 in row 0, wanted 0 to 11 (−1: missing)"),
]


@pytest.mark.parametrize(("words", "told"), REFUSALS, ids=lambda each: json.dumps(each))
def test_what_cannot_be_turned(words: dict[str, Any], told: str, run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refusal:
        sample_run(run, tmp_path / "p.npz", **words)
    assert str(refusal.value) == told
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_pictures_gives_numbers_and_its_inputs_come_from_the_rows(tmp_path: Path) -> None:
    spec = small(
        inputs={"c": {"shape": [2]}},
        nodes__x__generative__parents=["y", "z", "c"],
        nodes__w={
            "distribution": "Poisson",
            "supervision": "partial",
            "generative": {"parents": ["x"], "network": {"mlp": []}},
            "recognition": {"parents": ["x"], "network": {"mlp": []}},
        },
    )
    arrays = {**small_arrays(), "c": np.random.default_rng(1).normal(size=(60, 2)), "w": np.arange(60) % 4}
    sgc.train(sgc.load(spec), arrays, output=tmp_path / "run")
    told = sample_run(tmp_path / "run", tmp_path / "y.npz", analogies="y", arrays=arrays)
    assert told["arrays"]["x"] == [10, 3, 3]
    found = archive(tmp_path / "y.npz")
    np.testing.assert_allclose(found["c"], np.repeat(arrays["c"][found["x.row"]][:, None], 3, 1), rtol=1e-6)
    assert (found["z"] == found["z"][:, :1]).all()
    with pytest.raises(UsageError) as refusal:
        sample_run(tmp_path / "run", tmp_path / "y.png", analogies="y", arrays=arrays)
    assert str(refusal.value) == "no observed node is a picture: write numbers with -o FILE.npz"
    with pytest.raises(UsageError) as refusal:
        sample_run(tmp_path / "run", tmp_path / "w.npz", traverse="w", arrays=arrays)
    words = "traverse: 'x' does not depend on 'w': its pictures would all be the same"
    assert str(refusal.value) == words


def test_a_picture_that_is_inferred_itself_is_turned_all_the_same(tmp_path: Path) -> None:
    raw = changed(
        faces(),
        data=None,
        nodes__i__recognition__parents=["v"],
        nodes__l__recognition__parents=["v"],
        nodes__r__recognition__parents=["v"],
        nodes__x__supervision="partial",
        nodes__x__recognition={"parents": ["v"], "network": {"mlp": []}},
        nodes__v={
            "distribution": "Normal",
            "shape": [5],
            "supervision": "full",
            "generative": {"parents": ["r"], "network": {"mlp": [4]}},
        },
        features=None,
    )
    rows = face_arrays()
    rows["v"] = np.random.default_rng(0).normal(size=(80, 5))
    sgc.train(sgc.load(raw), rows, output=tmp_path / "run")
    sample_run(tmp_path / "run", tmp_path / "l.npz", traverse="l", arrays=rows)
    assert "x.data" not in archive(tmp_path / "l.npz")
    pytest.importorskip("matplotlib")
    assert sample_run(tmp_path / "run", tmp_path / "l.png", traverse="l", arrays=rows)["node"] == "x"


def test_reconstructions_are_of_q_and_with_several_samples_of_the_posterior_too(run: Path) -> None:
    model, held_out = rows_of(run)
    (panel,) = Overview(model, "x", {}).reconstructions(lambda: held_out)
    assert panel.rows == ("data", "from q")
    x = torch.as_tensor(face_arrays()["x"][list(held_out.taken()["held_out"]["rows"])])
    np.testing.assert_allclose(panel.pictures[0], x[:, 0], atol=1e-6)
    with torch.no_grad():
        again = generated_mean(model, infer_centers(model, {"x": x}), "x")
    np.testing.assert_allclose(panel.pictures[1], again[:, 0], atol=1e-6)
    assert panel.columns == rows_of(run)[1].choose("x", 10).words
    several = sgc.compile(faces(objective__samples=3)).double()
    (panel,) = Overview(several, "x", {}).reconstructions(lambda: HeldOut(held_out.dataset, several, 0))
    assert panel.rows == ("data", "from q", "posterior")


def test_a_node_of_several_categories_is_not_turned(tmp_path: Path) -> None:
    arrays = small_arrays()
    arrays["y"] = np.stack([arrays["y"], arrays["y"]], 1)
    sgc.train(sgc.load(small(nodes__y__shape=[2], train__epochs=1)), data=arrays, output=tmp_path / "run")
    with pytest.raises(UsageError) as problem:
        sample_run(tmp_path / "run", tmp_path / "y.npz", analogies="y", arrays=arrays)
    assert str(problem.value) == "analogies: 'y' has several categories in a row, and one alone can be turned"
