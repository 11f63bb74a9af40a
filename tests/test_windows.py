"""Windows: a box is where `affine` pastes and what it crops, and held-out pictures are taken apart by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

import sgc
from sgc.data.multi_mnist import write_parts
from sgc.errors import UsageError
from sgc.networks.spatial_transformer import Affine
from sgc.runs.run_folder import RunFolder, open_run
from sgc.runtime.model import Model
from sgc.samples.decomposition import Window, decompositions, windows_on
from sgc.samples.overview import Overview
from sgc.samples.panels import COLORS, color_of
from sgc.samples.shown_rows import HeldOut
from sgc.spec.outline import Outline
from sgc.spec.resolver import outline
from sgc.trained.run_evaluation import run_data
from sgc.trained.sampler import sample_run

SPEC = Path(__file__).parents[1] / "specs" / "multi-mnist-count.yaml"
RAW = dict[str, Any]  # Any: a spec as plain data


def small_canvases(root: str = "none") -> RAW:
    """Write the shipped spec with small networks."""
    raw: RAW = yaml.safe_load(SPEC.read_text())
    conv = {"conv": {"channels": [4, 4, 4], "kernel": 4, "stride": 2}}
    raw["data"] |= {"root": root, "split": {"validation": 10}}
    raw["data"]["labels"]["k"] = {"fraction": 0.5, "balanced": True}
    raw["features"]["h"]["network"] = [conv, {"mlp": [16]}]
    raw["nodes"]["k"]["recognition"]["network"] = [conv, {"mlp": [16]}]
    raw["repeat"]["digit"]["carry"]["state"]["network"] = {"gru": 16}
    raw["train"] = {"epochs": 1, "batch_size": {"unlabelled": 50, "labelled": 50}}
    return raw


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train for one epoch on small canvases of scikit-learn's digits."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("windows")
    (folder / "rows").mkdir()
    write_parts(folder / "rows", "digits", (200, 40), seed=0, force=False)
    sgc.train(sgc.load(small_canvases(str(folder / "rows"))), output=folder / "run")
    return folder / "run"


def rows_of(run: Path) -> tuple[Model, HeldOut]:
    model = open_run(run)
    return model, HeldOut(run_data(RunFolder(run), model), model, 0)


def drawn(numbers: int, rows: int = 40) -> tuple[Tensor, Tensor]:
    """Draw sizes [rows, 1 or 2] and middles [rows, 2], many of windows that reach beyond the canvas."""
    torch.manual_seed(3)
    return torch.rand(rows, numbers) * 0.9 + 0.08, torch.rand(rows, 2) * 2 - 1


def window_of(canvas: tuple[int, int]) -> Window:
    return Window("w", ("image",), (("size", "at"),), ((),), (1, 5, 7), canvas)


# ---- where a box is


@pytest.mark.parametrize("numbers", [1, 2])
def test_a_box_is_where_a_constant_image_is_pasted(numbers: int) -> None:
    """To a pixel: bilinear, ink fades around the edge of the window, on which half of it is left."""
    high, wide = 48, 64
    size, at = drawn(numbers)
    paste = Affine(way="paste", output=(1, high, wide)).joining_module([(1, 5, 7), (numbers,), (2,)])
    ink = paste(torch.ones(len(size), 1, 5, 7), size, at)[:, 0] > 0.5
    edges = window_of((high, wide)).boxes({"size": size, "at": at})[:, 0]
    pixels = (edges.clamp(0, 1) * torch.tensor([wide, high, wide, high])).tolist()
    looked_at = 0
    for canvas, wanted in zip(ink, pixels, strict=True):
        rows, columns = canvas.any(1).nonzero().flatten().tolist(), canvas.any(0).nonzero().flatten().tolist()
        if rows:
            found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            assert np.abs(np.subtract(found, wanted)).max() <= 1
            looked_at += 1
    assert looked_at > 30


def test_a_box_is_what_is_cropped() -> None:
    """Against the coordinates that a crop of coordinates holds, at the middles of its pixels."""
    high, wide = 48, 64
    size, at = drawn(1)
    inside = (at.abs() + size < 0.95).all(1)
    size, at = size[inside], at[inside]
    assert len(size) > 5
    across, down = (torch.arange(wide) + 0.5) / wide, (torch.arange(high) + 0.5) / high
    image = torch.stack(torch.meshgrid(down, across, indexing="ij")).expand(len(size), 2, high, wide)
    crop = Affine(way="crop", output=(2, 6, 8)).joining_module([(2, high, wide), (1,), (2,)])
    y, x = crop(image, size, at).unbind(1)
    left, top, right, bottom = window_of((high, wide)).boxes({"size": size, "at": at})[:, 0].unbind(1)
    torch.testing.assert_close(x[:, 0, 0], left + (right - left) / 16)
    torch.testing.assert_close(x[:, 0, 7], right - (right - left) / 16)
    torch.testing.assert_close(y[:, 0, 0], top + (bottom - top) / 12)
    torch.testing.assert_close(y[:, 5, 0], bottom - (bottom - top) / 12)


def test_a_box_keeps_to_what_affine_keeps_to() -> None:
    values = {"size": torch.tensor([[1e-9], [9.0], [torch.nan]]), "at": torch.tensor([[0.0, 0], [-7, 0], [0, 0]])}
    found = window_of((32, 64)).boxes(values)[:, 0]
    assert found[0].tolist() == pytest.approx([0.5 - 1 / 128, 0.5 - 1 / 64, 0.5 + 1 / 128, 0.5 + 1 / 64])
    assert found[1].tolist() == [-2.5, -1.5, 1.5, 2.5]
    assert found[2].isnan().all()


# ---- which windows there are


def made(raw: RAW) -> Outline:
    return outline(sgc.load(raw))


def test_a_paste_on_the_way_to_the_picture_is_a_window_and_its_crop_is_the_same() -> None:
    (found,) = windows_on(made(small_canvases()), "x")
    assert (found.name, found.shape, found.canvas, found.count) == ("digit.placed", (1, 28, 28), (64, 64), "k")
    assert found.images == ("digit.ink@1", "digit.ink@2", "digit.ink@3")
    assert found.numbers[1] == ("digit.size@2", "digit.at@2")
    assert found.exists == ((("k", 0),), (("k", 1),), (("k", 2),))


def test_a_crop_is_a_window_where_nothing_is_pasted() -> None:
    raw = small_canvases()
    inside = raw["repeat"]["digit"]
    inside["features"]["placed"] = {"parents": ["ink"], "network": [{"mlp": [4]}, {"layers": [{"Linear": 4096}]}]}
    raw["features"]["canvas"] = {
        "parents": ["digit.placed"],
        "network": [{"combine": "max"}, {"layers": [{"Unflatten": [1, 64, 64]}]}],
    }
    (found,) = windows_on(made(raw), "x")
    assert (found.name, found.images[0]) == ("digit.glimpse", "digit.glimpse@1")
    assert windows_on(made(raw), "digit.z") == []


# ---- held-out rows taken apart


def test_rows_are_taken_apart_with_blanks_where_there_is_no_step(run: Path) -> None:
    model, held_out = rows_of(run)
    chosen = held_out.choose("x", 10)
    with torch.no_grad():
        (panel,) = decompositions(model, "x", held_out, chosen)
    assert panel.pictures.shape == (5, 10, 64, 64)
    assert panel.rows == ("data", "posterior", "digit.ink@1", "digit.ink@2", "digit.ink@3")
    assert np.corrcoef(panel.pictures[0].ravel(), chosen.batch["x"].numpy().ravel())[0, 1] > 0.999
    counts = [int(word.rpartition(" ")[2]) for word in panel.columns]
    assert [word.partition("\n")[0] for word in panel.columns] == list(chosen.words)
    for row, count in enumerate(counts):
        blank = np.isnan(panel.pictures[2:, row]).all((1, 2))
        assert blank.tolist() == [step >= count for step in range(3)]
        solid = [box for box in panel.boxes if (box.row, box.column) == (0, row) and not box.dashed]
        assert [box.word for box in solid] == ["1", "2", "3"][:count]
        assert [box.color for box in solid] == list(COLORS[:count])
    assert not np.isnan(panel.pictures[:2]).any()
    told = np.load(run.parent / "rows" / "test.npz")
    for column, row in enumerate(chosen.ids):
        dashed = [box for box in panel.boxes if box.dashed and box.column == column]
        size, at = told["size"][row], told["at"][row]
        wanted = np.concatenate([(at - size + 1) / 2, (at + size + 1) / 2], 1)[: told["count"][row]]
        np.testing.assert_allclose([box.edges for box in dashed], wanted, atol=1e-5)


def test_boxes_are_named_by_a_category_of_their_steps(run: Path) -> None:
    raw = small_canvases()
    inside = raw["repeat"]["digit"]
    inside["nodes"]["y"] = {
        "distribution": "Categorical",
        "values": ["round", "straight"],
        "supervision": "none",
        "recognition": {"parents": ["glimpse"], "network": {"mlp": [4]}},
    }
    inside["features"]["ink"]["parents"] = ["y", "z"]
    _, held_out = rows_of(run)
    torch.manual_seed(0)
    with torch.no_grad():
        (panel,) = decompositions(sgc.compile(sgc.load(raw)), "x", held_out, held_out.choose("x", 5))
    beside = {(box.column, box.color): box.word for box in panel.boxes if box.row == 0 and not box.dashed}
    framed = {(box.column, box.color): box.word for box in panel.boxes if box.row > 1}
    assert beside == framed
    assert set(beside.values()) <= {"round", "straight"}
    assert "(digit.y beside it; dashed: where the labels say it is)" in panel.title


def test_all_pictures_of_steps_are_drawn(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = sample_run(run, tmp_path / "a.png", count=10)
    assert found["panels"][-1] == (
        "held-out rows decomposed: the inferred box of each digit (the step beside it; dashed: where the labels say "
        "it is), the picture generated from the posterior (64 weighted samples; k at its most probable value, "
        "the rest at its mean), and each digit by itself"
    )
    assert (tmp_path / "a.png").stat().st_size > 10000


def test_a_step_is_alike_in_all_rows_that_have_it(run: Path) -> None:
    """The canvas is the maximum of its steps: with all else alike, one step more makes no pixel darker."""
    model, _ = rows_of(run)
    torch.manual_seed(0)
    with torch.no_grad():
        (panel,) = Overview(model, "x", {}).categories()
    assert panel.rows == ("k = 1", "k = 2", "k = 3")
    steps = np.diff(panel.pictures, axis=0)
    assert steps.min() > -1e-6
    assert (steps > 0.01).any((2, 3)).all()


def test_a_step_is_turned_in_rows_that_have_it(run: Path, tmp_path: Path) -> None:
    for words in ({"traverse": "digit.at@1"}, {"traverse": "digit.z@3", "given": {"k": 3}}):
        sample_run(run, tmp_path / "t.npz", **words)  # type: ignore[arg-type]
        found = np.load(tmp_path / "t.npz")
        assert (np.abs(np.diff(found["x"], axis=1)).max((1, 2, 3, 4)) > 0).any()
    with pytest.raises(UsageError) as caught:
        sample_run(run, tmp_path / "t.npz", traverse="digit.at@2", given={"k": 1})
    assert str(caught.value) == (
        "traverse: 'digit.at@2' exists in none of 40 held-out rows by what is inferred of them: "
        "hold its count with given"
    )


def test_colors_come_again() -> None:
    assert len(set(COLORS)) == len(COLORS)
    assert color_of(len(COLORS) + 1) == COLORS[1]
