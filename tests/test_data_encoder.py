"""Encoders: fitted on training rows only, undone exactly, rebuilt from JSON; and the draws that belong to rows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from data_files import opened
from hypothesis import given, settings
from hypothesis import strategies as st

from sgc.data.encoder import Encoder
from sgc.data.row_draws import stream, uniforms_by_row
from sgc.data.transforms.transforms import Standardize
from sgc.data.variables import Variable
from sgc.distributions.supports import SUPPORTS
from sgc.errors import DataError

DRAW = np.random.default_rng(5)


def column(transforms: str, extra: str = "") -> str:
    return f"{{columns: {{x: {{column: c, transforms: {transforms}}}}}{extra}}}"


def test_standardize_is_fitted_on_training_rows_only() -> None:
    array = DRAW.normal(3, 2, (200, 4))
    array[:, 3] = 7
    variable = Variable("x", (4,))
    data = opened(column("[standardize]", ", split: {test: 50, validation: 50}"), variable, arrays={"x": array})
    train = data.train.values["x"].astype(np.float64)
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(train.std(axis=0), [1, 1, 1, 0], atol=1e-6)
    fit = array[data.train.rows]
    wanted = (array[data.test.rows] - fit.mean(axis=0)) / [*fit.std(axis=0)[:3], 1]
    np.testing.assert_allclose(data.test.values["x"], wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(data.encoders["x"].decode(data.test.values["x"]), array[data.test.rows], rtol=1e-5)


@pytest.mark.parametrize("shape", [(500,), (500, 3), (500, 2, 5)])
@pytest.mark.parametrize("size", [1, 7, 499, 500])
@pytest.mark.parametrize("missing", [0.0, 0.6])
def test_standardize_in_chunks_is_that_of_the_whole(shape: tuple[int, ...], size: int, missing: float) -> None:
    draw = np.random.default_rng(size)
    values = draw.normal(1e4, 3, shape).astype(np.float32)  # far from 0: sums of squares alone would lose all digits
    values[draw.random(shape) < missing] = np.nan
    if len(shape) > 1:
        values[:, 0] = 7
        values[: 3 * size, 1] = np.nan
        values[-1, 1] = 8
    found = Standardize().fit_chunks(values[start : start + size] for start in range(0, 500, size))
    double = values.astype(np.float64)
    np.testing.assert_allclose(found["mean"], np.nanmean(double, axis=0), rtol=1e-14)
    deviation = np.nanstd(double, axis=0)
    np.testing.assert_allclose(found["deviation"], np.where(deviation == 0, 1, deviation), rtol=1e-11)


def test_standardize_never_sees_a_hidden_label() -> None:
    text = "{columns: {x: {column: a}, y: {column: b, transforms: [standardize]}}, labels: {y: {count: 10}}}"
    variables = (Variable("x"), Variable("y", supervision="partial"))
    labels = DRAW.normal(0, 1, 100)
    first = opened(text, *variables, arrays={"x": np.zeros(100), "y": labels})
    hidden = np.setdiff1d(np.arange(100), first.labelled_rows["y"])
    labels[hidden] = 1e6
    second = opened(text, *variables, arrays={"x": np.zeros(100), "y": labels})
    np.testing.assert_array_equal(first.train.values["y"], second.train.values["y"])
    assert first.encoders == second.encoders


def test_nothing_to_be_fitted_on() -> None:
    variables = Variable("x", (2,), supervision="partial")
    with pytest.raises(DataError) as caught:
        opened(column("[standardize]"), variables, arrays={"x": [[1, np.nan], [2, np.nan]]})
    assert str(caught.value) == "node 'x': no training row has a value for 'standardize' to be fitted on"


def test_standardize_keeps_digits_that_float32_has_not() -> None:
    array = 1.7e9 + np.arange(8.0)
    data = opened(column("[standardize]"), Variable("x"), arrays={"x": array})
    np.testing.assert_allclose(data.train.values["x"], (array - array.mean()) / array.std(), rtol=1e-6)


def test_mu_law_keeps_the_ends_and_gives_ratios_one_step() -> None:
    array = np.array([[-1.0, 0.0, 1.0, 0.1, 0.2, 0.4, 0.8, np.nan]])
    variable = Variable("x", (8,), supervision="partial")
    (made,) = opened(column("[{mu_law: 10000}]"), variable, arrays={"x": array}).train.values["x"]
    assert made[:3].tolist() == [-1, 0, 1]  # not a bit beyond, or a grey value would be none
    np.testing.assert_allclose(np.diff(made[3:7]), np.log(2) / np.log(10001), rtol=1e-3)  # an octave, wherever it lies
    assert np.isnan(made[7])


ENCODERS: list[tuple[str, Variable, Any]] = [
    ("[standardize]", Variable("x", (3,)), DRAW.normal(5, 3, (20, 3))),
    (
        "[{divide: 255}]",
        Variable("x", (1, 4, 6), support=SUPPORTS["grey"]),
        DRAW.integers(0, 256, (20, 4, 6), dtype=np.uint8),
    ),
    ("[{divide: 16}, flatten, standardize]", Variable("x", (24,)), DRAW.integers(0, 17, (20, 4, 6))),
    ("[{mu_law: 255}]", Variable("x", (3,)), DRAW.normal(0, 2, (20, 3))),
    ("[{divide: 255}, {mu_law: 100}]", Variable("x", (4,), support=SUPPORTS["grey"]), DRAW.integers(0, 256, (20, 4))),
    ("[flatten]", Variable("x", (4,), 3, ("a", "b", "c")), DRAW.choice(["a", "b", "c"], (20, 2, 2))),
    ("[]", Variable("x", (), 2, (False, True)), DRAW.choice([False, True], 20)),
    ("[]", Variable("x", (), 5), DRAW.integers(0, 5, 20)),
]


@pytest.mark.parametrize(("transforms", "variable", "raw"), ENCODERS)
def test_decoding_undoes_encoding(transforms: str, variable: Variable, raw: Any) -> None:
    data = opened(column(transforms), variable, arrays={"x": raw})
    decoded = data.encoders["x"].decode(data.train.values["x"])
    if variable.values is None:
        np.testing.assert_allclose(decoded, raw, rtol=1e-5, atol=1e-4)
    else:
        np.testing.assert_array_equal(decoded.reshape(raw.shape), raw)


@pytest.mark.parametrize(
    ("transforms", "variable", "raw"),
    [
        *ENCODERS,
        ("[{binarize: static}]", Variable("x", (3,), support=SUPPORTS["grey"]), DRAW.random((20, 3))),
        ("[{binarize: dynamic}]", Variable("x", (3,), support=SUPPORTS["grey"]), DRAW.random((20, 3))),
        ("[{resize: [2, 3]}]", Variable("x", (2, 3)), DRAW.random((20, 4, 6))),
    ],
)
def test_an_encoder_is_rebuilt_from_json(transforms: str, variable: Variable, raw: Any) -> None:
    data = opened(column(transforms), variable, arrays={"x": raw}, seed=4)
    encoder = data.encoders["x"]
    again = Encoder.from_state(json.loads(json.dumps(encoder.state())))
    assert again == encoder
    np.testing.assert_array_equal(again.encode(raw), data.train.values["x"])
    fitted = opened(column(transforms), variable, arrays={"x": raw[::-1]}, seed=9, fitted={"x": again})
    assert fitted.encoders["x"] == encoder


def test_missing_categories_decode_to_none() -> None:
    encoder = opened(None, Variable("x", (), 2, ("a", "b"), supervision="partial"), arrays={"x": ["a"]}).encoders["x"]
    assert encoder.decode(np.array([1, -1])).tolist() == ["b", None]


def test_dynamic_stays_grey_and_static_is_drawn_once_by_row() -> None:
    grey = DRAW.random((500, 6)).astype(np.float32)
    variable = Variable("x", (6,), support=SUPPORTS["grey"])
    dynamic = opened(column("[{binarize: dynamic}]"), variable, arrays={"x": grey})
    np.testing.assert_array_equal(dynamic.train.values["x"], grey)
    assert dynamic.train.dynamic == dynamic.test.dynamic == {"x"}
    text = column("[{binarize: static}]", ", split: {validation: 100}")
    one, same, other = (opened(text, variable, arrays={"x": grey}, seed=seed) for seed in (1, 1, 2))
    assert set(np.unique(one.train.values["x"])) == {0, 1}
    assert not one.train.dynamic
    np.testing.assert_array_equal(one.train.values["x"], same.train.values["x"])
    assert (one.train.values["x"] != other.train.values["x"]).any()
    # 3000 draws: the mean's deviation is below 0.0092, so 0.05 is more than 5 of them; seeded, so no false alarm
    whole = np.concatenate([one.train.values["x"], one.validation.values["x"]])
    assert abs(whole.mean() - grey.mean()) < 0.05


def test_binarize_by_threshold() -> None:
    data = opened(column("[{binarize: 8}]"), Variable("x"), arrays={"x": [7, 8, 9]})
    np.testing.assert_array_equal(data.train.values["x"], [0, 1, 1])


def test_binarize_wants_grey_values() -> None:
    with pytest.raises(DataError) as caught:
        opened(column("[{binarize: dynamic}]"), Variable("x"), arrays={"x": [0, 200]})
    wanted = "wanted a number from 0 to 1; is the transform {divide: 255} missing?"
    assert str(caught.value) == f"row 1: node 'x': found 200, {wanted}"


def test_resize_averages_areas() -> None:
    array = np.arange(24.0).reshape(1, 4, 6)
    data = opened(column("[{resize: [2, 3]}]"), Variable("x", (1, 2, 3)), arrays={"x": array})
    blocks = array.reshape(2, 2, 3, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(data.train.values["x"][0, 0], blocks)
    with pytest.raises(DataError) as caught:
        opened(column("[{resize: [2, 3]}]"), Variable("x", (6,)), arrays={"x": array[0]})
    assert str(caught.value) == "node 'x': 'resize' wants rows and columns, found the shape [6]"


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.integers(0, 3000), min_size=1, max_size=20, unique=True), seed=st.integers(0, 9))
def test_a_row_draws_the_same_whatever_the_others(rows: list[int], seed: int) -> None:
    ids = np.array(rows)
    together = uniforms_by_row(ids, (2,), stream(seed, "a"))
    alone = uniforms_by_row(ids[:1], (2,), stream(seed, "a"))
    np.testing.assert_array_equal(together[:1], alone)
    assert (uniforms_by_row(ids, (2,), stream(seed, "b")) != together).any()


@pytest.mark.parametrize("shape", [(), (3,), (2, 5), (0,)])
def test_draws_of_some_rows_are_those_of_the_whole_stream(shape: tuple[int, ...]) -> None:
    """The stream is drawn from its beginning here, the rows' own numbers taken out of it."""
    whole = stream(4, "a").random((4000, *shape), dtype=np.float32)
    draw = np.random.default_rng(0)
    for rows in (
        np.arange(4000),
        np.arange(17, 2900),
        draw.permutation(4000)[:60],
        np.array([5, 5, 4, 6]),
        draw.integers(0, 0, 0),
    ):
        np.testing.assert_array_equal(uniforms_by_row(rows, shape, stream(4, "a")), whole[rows])
