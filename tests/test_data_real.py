"""The real files, where they are: MNIST as its publishers count it, and as the specs use it."""

from __future__ import annotations

import numpy as np
import pytest
from data_files import CLASS, REAL_DATA, opened

from sgc.data.variables import Variable
from sgc.distributions.supports import SUPPORTS

pytestmark = pytest.mark.real

TRAIN = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
TEST = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SGC_DATA", str(REAL_DATA))
    text = (
        "{source: idx, root: mnist, columns: {x: {column: image, transforms: [{divide: 255}, {binarize: dynamic}]}, "
        "y: {column: label}}, split: {validation: 10000}, labels: {y: {count: 100, balanced: true}}}"
    )
    data = opened(text, Variable("x", (1, 28, 28), support=SUPPORTS["grey"]), CLASS)
    assert (len(data.train), len(data.validation), len(data.test)) == (50000, 10000, 10000)
    assert np.bincount(data.test.values["y"]).tolist() == TEST
    assert np.bincount(data.train.values["y"] + 1).tolist() == [49900, *([10] * 10)]
    assert (np.bincount(data.validation.values["y"]) < TRAIN).all()
    assert data.test.values["y"][:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    first = {0: 5, 1: 0, 2: 4, 3: 1, 4: 9, 5: 2, 6: 1, 7: 3, 8: 1, 9: 4}
    seen = {
        row: label for row, label in zip(data.validation.rows, data.validation.values["y"], strict=True) if row < 10
    }
    assert all(first[row] == label for row, label in seen.items())
    assert data.train.values["x"].max() == 1


def test_azimuth_and_elevation_are_the_direction_that_the_faces_come_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SGC_DATA", str(REAL_DATA))
    text = (
        "{source: npz, root: yaleb, file: yaleb_cropped_96x84.npz, columns: {l: {column: light_dir}, "
        "a: {column: [azimuth, elevation], transforms: [{direction: degrees}]}}}"
    )
    data = opened(text, Variable("l", (3,)), Variable("a", (3,)))
    values = data.train.values
    np.testing.assert_allclose(values["a"], values["l"], atol=1e-6)
    cells = data.encoders["a"].decode(values["l"])
    wanted = opened(text.replace(", transforms: [{direction: degrees}]", ""), Variable("l", (3,)), Variable("a", (2,)))
    np.testing.assert_allclose(cells, wanted.train.values["a"], atol=1e-3)
