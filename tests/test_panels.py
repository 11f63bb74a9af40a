"""Panels: which shade a value gets, how pictures are laid out, and what a file shows."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from small_runs import changed, small

import sgc
from sgc.samples.panels import CELL, Panel, draw_panels, shades, tile
from sgc.spec.outline import Variable
from sgc.spec.resolver import outline


def variable(distribution: object, shape: list[int]) -> Variable:
    raw = changed(small(), nodes__x__distribution=distribution, nodes__x__shape=shape)
    return outline(sgc.load(raw)).variables["x"]


def test_levels_and_colours_keep_their_shades() -> None:
    node = variable({"DiscretizedLogistic": {"levels": 256}}, [3, 4, 5])
    values = np.zeros((2, 3, 4, 5))
    values[0, 0] = 255  # all red
    values[1, :, 1, 2] = [51, 102, 204]
    found = shades(values, node, 2)
    assert found.shape == (2, 1, 4, 5, 3)
    assert (found[0, 0] == [1, 0, 0]).all()
    np.testing.assert_allclose(found[1, 0, 1, 2], [0.2, 0.4, 0.8])
    assert found[1, 0].sum() == pytest.approx(1.4)
    grey = shades(np.array([0.0, 128, 255, np.nan]).repeat(4).reshape(1, 16), variable(
        {"DiscretizedLogistic": {"levels": 256}}, [16]), 1)  # fmt: skip
    np.testing.assert_allclose(grey[0, 0], np.array([0, 128 / 255, 1, 0]).repeat(4).reshape(4, 4))


def test_numbers_without_bounds_fill_the_range() -> None:
    values = np.random.default_rng(0).normal(50, 7, (6, 1, 8, 8))
    found = shades(values, variable("Normal", [1, 8, 8]), 2)
    assert found.shape == (2, 3, 8, 8)
    assert (found.min(), found.max()) == (0, 1)
    flat, wanted = found.ravel(), values.ravel()
    inside = (flat > 0) & (flat < 1)
    assert inside.mean() > 0.98
    assert np.corrcoef(flat[inside], wanted[inside])[0, 1] == pytest.approx(1)


def test_what_is_missing_is_black_and_moves_no_other_shade() -> None:
    node = variable("Normal", [1, 8, 8])
    values = np.random.default_rng(0).normal(50, 7, (6, 1, 8, 8))
    holes = values.copy()
    holes[:, :, :2] = np.nan
    found = shades(holes, node, 2)
    assert (found[:, :, :2] == 0).all()
    np.testing.assert_array_equal(found[:, :, 2:], shades(values[:, :, 2:], variable("Normal", [1, 6, 8]), 2))
    assert (shades(np.full((2, 1, 8, 8), np.nan), node, 1) == 0).all()


def test_pictures_are_laid_out_where_their_words_stand() -> None:
    pictures = np.arange(6).reshape(2, 3, 1, 1, 1) / 10 * np.ones((2, 3, 16, 16, 1))
    whole, rows, columns = tile(pictures[..., 0], apart=1)
    assert whole.shape == (33, 3 * 16 + 2 + 2)
    for i, middle in enumerate(rows):
        for j, center in enumerate(columns):
            assert whole[int(middle * 33), int(center * whole.shape[1])] == pytest.approx((3 * i + j) / 10)
    assert (whole[:, 16:19] == 1).all()  # the gap behind the first column, three times as wide as the others
    assert (whole[:, 35] == 1).all()


def test_a_file_shows_black_as_black_and_colours_as_they_are(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.image import imread

    shown = np.zeros((1, 3, 8, 8))
    shown[0, 1], shown[0, 2] = 1, 0.6
    red = np.zeros((1, 1, 8, 8, 3))
    red[..., 0] = 1
    words = tuple(f"{word}\nand more" for word in ("Chinstrap penguins", "b", "c"))
    panels = [Panel("grey", shown, ("row",), words), Panel("a long title of many words " * 9, red)]
    draw_panels(panels, tmp_path / "p.png", "title")
    pixels = (imread(tmp_path / "p.png")[..., :3] * 255).round().astype(int).reshape(-1, 3)
    area = (CELL * 120 - 2) ** 2  # of one picture, in pixels, less its edge
    assert area < (pixels == 0).all(1).sum() < 2 * area
    assert area < (np.abs(pixels - 153) <= 1).all(1).sum() < 1.2 * area
    assert area < (pixels == [255, 0, 0]).all(1).sum() < 1.2 * area
    assert os.listdir(tmp_path) == ["p.png"]
