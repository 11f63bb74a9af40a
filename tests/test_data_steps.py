"""Columns of a repeat: all steps of a node are one column, and what a row's count leaves out is no value of any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import opened

from sgc.data import encoder, large_columns
from sgc.data.encoder import Encoder
from sgc.data.large_columns import EncodedColumn
from sgc.data.variables import Existence, Variable
from sgc.distributions.supports import SUPPORTS
from sgc.errors import DataError

NAN = float("nan")
STEPS = 4
DRAW = np.random.default_rng(11)
X = Variable("t.x", (3,), steps=(STEPS,))
S = Variable("t.s", (), 3, ("rest", "walk", "run"), supervision="partial", whole=True, steps=(STEPS,))
SIGNAL = DRAW.normal(100, 15, (40, STEPS, 3))
COUNTED = tuple((Existence("k", 0, i),) for i in range(STEPS))
K = Variable("k", (), 4, (1, 2, 3, 4), supervision="partial")
V = Variable("t.v", (2,), supervision="partial", whole=True, steps=(STEPS,), exists=COUNTED)


def columns(more: str = "", **named: str) -> str:
    inner = ", ".join(f"{name.replace('_', '.')}: {column}" for name, column in named.items())
    return f"{{columns: {{{inner}}}{more}}}"


def fails(text: str | None, *variables: Variable, arrays: Any = None, beside: Path = Path()) -> str:
    with pytest.raises(DataError) as caught:
        opened(text, *variables, arrays=arrays, beside=beside)
    return str(caught.value)


def test_a_transform_takes_every_step_for_a_row() -> None:
    signal = SIGNAL.copy()
    signal[DRAW.random((40, STEPS)) < 0.3] = NAN
    partial = Variable("t.x", (3,), supervision="partial", whole=True, steps=(STEPS,))
    text = columns(", split: {test: 8}", t_x="{column: c, transforms: [standardize]}")
    data = opened(text, partial, arrays={"t.x": signal})
    shown = signal[data.train.rows].reshape(-1, 3)
    mean, deviation = np.nanmean(shown, axis=0), np.nanstd(shown, axis=0)
    for rows in (data.train, data.test):
        assert np.shape(rows.values["t.x"]) == (len(rows), STEPS, 3)
        np.testing.assert_allclose(rows.values["t.x"], (signal[rows.rows] - mean) / deviation, atol=1e-5)
    made = data.encoders["t.x"]
    again = Encoder.from_state(json.loads(json.dumps(made.state())))
    assert again == made
    np.testing.assert_allclose(again.decode(data.test.values["t.x"]), signal[data.test.rows], rtol=1e-5)
    np.testing.assert_allclose(again.decode_to_points(data.test.values["t.x"]), signal[data.test.rows], rtol=1e-5)
    np.testing.assert_allclose(
        again.of_step().decode(data.test.values["t.x"][:, 2]), signal[data.test.rows, 2], rtol=1e-5
    )


def test_nested_steps_and_names_of_categories_come_back_as_they_were() -> None:
    nested = Variable("a.b", (2,), 3, ("ant", "bee", "cow"), supervision="partial", steps=(2, 3))
    names = np.array(["ant", "bee", "cow", ""])[DRAW.integers(0, 4, (10, 2, 3, 2))]
    data = opened(None, nested, arrays={"a.b": names})
    values = data.train.values["a.b"]
    assert np.shape(values) == (10, 2, 3, 2)
    np.testing.assert_array_equal(data.encoders["a.b"].decode(values), np.where(names == "", None, names))


def test_a_partial_node_is_missing_step_by_step() -> None:
    values = SIGNAL[..., :2].copy()
    values[3, 1, 0] = NAN
    free = Variable("t.v", (2,), supervision="partial", whole=True, steps=(STEPS,))
    read = opened(None, free, arrays={"t.v": values}).train.values["t.v"]
    assert isinstance(read, np.ndarray)
    missing = np.isnan(read)
    assert missing[3, 1].all()
    assert missing.sum() == 2


def test_a_column_for_each_step_will_do(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,c,d\n1,2,,4\n5,6,7,8\n")
    node = Variable("t.v", (), supervision="partial", steps=(STEPS,))
    text = "{source: table, file: t.csv, columns: {t.v: {column: [a, b, c, d]}}}"
    np.testing.assert_array_equal(
        opened(text, node, beside=tmp_path).train.values["t.v"], [[1, 2, NAN, 4], [5, 6, 7, 8]]
    )
    text = text.replace("[a, b, c, d]", "[a, b, c]")
    assert fails(text, node, beside=tmp_path) == (
        f"{tmp_path / 't.csv'}: node 't.v', column 'a': found a list of 3 columns, wanted 4 steps, a column for each"
    )


def test_what_is_left_in_its_file_is_what_would_be_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "CHUNK", 100)
    k = DRAW.integers(1, 5, 60)
    bytes_ = DRAW.integers(0, 9, (60, STEPS, 2), dtype=np.uint8)
    np.savez(tmp_path / "r.npz", v=bytes_, k=k, u=bytes_)
    text = (
        "{source: npz, file: r.npz, split: {test: 10}, labels: {t.v: {count: 20}}, columns: {k: {column: k}, "
        "t.v: {column: v, transforms: [standardize]}, t.u: {column: u, transforms: [{divide: 9}, {binarize: static}]}}}"
    )
    u = Variable("t.u", (2,), support=SUPPORTS["grey"], steps=(STEPS,))
    found = {}
    for limit in (1 << 30, 0):
        monkeypatch.setattr(large_columns, "LIMIT", limit)
        data = opened(text, K, V, u, beside=tmp_path)
        found[limit] = data
        for name in ("t.v", "t.u"):
            assert isinstance(data.train.values[name], EncodedColumn) == (not limit)
    held, left = found[1 << 30], found[0]
    assert held.encoders == left.encoders
    for name in ("t.v", "t.u"):
        for part in ("train", "test"):
            column = getattr(left, part).values[name]
            whole = np.asarray(getattr(held, part).values[name])
            assert column.shape == whole.shape
            np.testing.assert_array_equal(column.take(np.arange(len(column))), whole)
    ones = np.asarray(held.train.values["t.u"])
    assert not (ones == ones[:, :1]).all(), "every step has draws of its own"
    np.testing.assert_array_equal(held.labelled_rows["t.v"], left.labelled_rows["t.v"])


def test_labels_are_kept_and_hidden_by_row() -> None:
    labels = np.full((40, STEPS), "", dtype="<U4")
    labels[:25, 2] = "walk"  # a row has a label where any of its steps has
    labels[:5] = "run"
    text = columns(", labels: {t.s: {count: 10}, t.v: {same_rows_as: t.s}}", t_s="{column: a}", t_v="{column: b}")
    free = Variable("t.v", (2,), supervision="partial", whole=True, steps=(STEPS,))
    data = opened(text, S, free, arrays={"t.s": labels, "t.v": SIGNAL[..., :2]})
    kept = data.labelled_rows["t.s"]
    assert len(kept) == 10
    assert kept.max() < 25
    np.testing.assert_array_equal(data.labelled_rows["t.v"], kept)
    values = np.asarray(data.train.values["t.s"])
    np.testing.assert_array_equal(values != -1, (labels != "") & np.isin(np.arange(40), kept)[:, None])
    none = opened(columns(", labels: {t.s: {count: 0}}", t_s="{column: a}"), S, arrays={"t.s": labels})
    assert not len(none.labelled_rows["t.s"])
    assert (np.asarray(none.train.values["t.s"]) == -1).all()


@pytest.mark.parametrize("rule", ["{count: 9, balanced: true}", "{per_category: 3}"])
def test_labels_by_category_want_one_a_row(rule: str) -> None:
    word = "balanced" if "balanced" in rule else "per_category"
    message = fails(columns(f", labels: {{t.s: {rule}}}", t_s="{column: a}"), S, arrays={"t.s": np.full((9, 4), "run")})
    assert message == f"labels: node 't.s': '{word}' wants one category a row, and this node has one a step"


@pytest.mark.parametrize(
    ("variable", "array", "message"),
    [
        (X, SIGNAL[:, :2], "node 't.x': found 2 steps, wanted 4, in rows of the shape [2, 3]"),
        (X, SIGNAL[:, 0, 0], "node 't.x': found rows of the shape [], wanted 4 steps first"),
        (X, SIGNAL[..., :2], "node 't.x': found rows of the shape [2], wanted [3]"),
        (
            Variable("a.b", steps=(2, 3)),
            SIGNAL,
            "node 'a.b': found 4 × 3 steps, wanted 2 × 3, in rows of the shape [4, 3]",
        ),
        (
            S,
            [["rest", "walk", "run", ""], ["rest", "run", "fly", "run"]],
            "row 1: node 't.s': found 'fly' in step 3, wanted one of 'rest', 'walk', 'run', or -1 where it is missing",
        ),
        (
            Variable("t.x", (2,), support=SUPPORTS["positive"], steps=(2, 2)),
            [[[[1, 1], [1, 1]], [[1, 1], [1, 1]]], [[[1, 1], [1, 1]], [[1, -3], [1, 1]]]],
            "row 1: node 't.x': found -3 in step 2, 1 at [1], wanted a number above 0",
        ),
        (
            X,
            np.where(np.arange(40)[:, None, None] * np.ones((40, STEPS, 3)) == 7, NAN, SIGNAL),
            "row 7: node 't.x': found no value (NaN or empty) in step 1 at [0]: a node with supervision 'full' has a "
            "value in every row; with 'supervision: partial' and 'missing: drop' cells may be empty",
        ),
    ],
)
def test_what_does_not_fit_is_told_with_its_step(variable: Variable, array: Any, message: str) -> None:
    assert fails(None, variable, arrays={variable.name: array}) == message


def test_other_steps_in_a_file_are_told_with_file_and_column(tmp_path: Path) -> None:
    np.savez(tmp_path / "r.npz", signal=SIGNAL[:, :3])
    text = "{source: npz, file: r.npz, columns: {t.x: {column: signal}}}"
    file = tmp_path / "r.npz"
    assert fails(text, X, beside=tmp_path) == (
        f"{file}: node 't.x', column 'signal': found 3 steps, wanted 4, in rows of the shape [3, 3]"
    )


def test_what_stands_beyond_a_count_is_no_value() -> None:
    k = np.array([1, 4, -1, 2])
    clean, junk = SIGNAL[:4, :, :2].copy(), SIGNAL[:4, :, :2].copy()
    for row in range(4):
        if k[row] > 0:
            clean[row, k[row] :], junk[row, k[row] :] = NAN, np.inf
    labels = np.full((4, STEPS), "walk", dtype="<U7")
    labels[0, 1:] = "nothing"
    labels[3, 2:] = "nothing"
    counted = Variable("t.s", (), 3, ("rest", "walk", "run"), supervision="partial", steps=(STEPS,), exists=COUNTED)
    text = columns(k="{column: k}", t_v="{column: v, transforms: [standardize]}", t_s="{column: s}")
    found = [opened(text, K, V, counted, arrays={"k": k, "t.v": v, "t.s": labels}) for v in (clean, junk)]
    for data in found:
        there = np.arange(STEPS) < np.where(k < 0, STEPS, k)[:, None]
        np.testing.assert_array_equal(np.isfinite(np.asarray(data.train.values["t.v"])).all(-1), there)
        np.testing.assert_array_equal(data.train.values["t.s"], np.where(there, 1, -1))
    np.testing.assert_array_equal(found[0].train.values["t.v"], found[1].train.values["t.v"])
    assert found[0].encoders == found[1].encoders


def test_a_full_node_may_lack_only_steps_that_its_count_leaves_out() -> None:
    length = Variable("n", (), support=SUPPORTS["nonnegative_integer"])
    counted = Variable("t.x", (3,), steps=(STEPS,), exists=tuple((Existence("n", 0, i),) for i in range(STEPS)))
    n, signal = np.array([4, 2, 3]), SIGNAL[:3].copy()
    signal[1, 2:] = NAN
    signal[2, 3:] = 1e30
    read = np.asarray(opened(None, length, counted, arrays={"n": n, "t.x": signal}).train.values["t.x"])
    np.testing.assert_array_equal(np.isnan(read).all(-1), np.arange(STEPS) >= n[:, None])
    signal[0, 3, 1] = NAN
    assert fails(None, length, counted, arrays={"n": n, "t.x": signal}) == (
        "row 0: node 't.x': found no value (NaN or empty) in step 4 at [1]: a node with supervision 'full' has a "
        "value in every row; with 'supervision: partial' and 'missing: drop' cells may be empty"
    )
    hidden = Variable("n", (), support=SUPPORTS["nonnegative_integer"], supervision="partial")
    assert fails(None, hidden, counted, arrays={"n": n, "t.x": SIGNAL[:3]}) == (
        "row 1: node 't.x': found no value in step 3: the count 'n' leaves this step out, and may be hidden in "
        "training: give 'n' supervision 'full', or 't.x' 'partial'"
    )


def test_a_count_within_a_repeat_counts_the_steps_of_its_own() -> None:
    outer = Variable("k", (), 2, (1, 2), supervision="full")
    inner = Variable(
        "a.n", (), 3, supervision="partial", steps=(2,), exists=tuple((Existence("k", 0, i),) for i in (0, 1))
    )
    exists = tuple((Existence("k", 0, i), Existence("a.n", i, j)) for i in (0, 1) for j in (0, 1))
    leaf = Variable("a.b", supervision="partial", steps=(2, 2), exists=exists)
    arrays = {"k": [1, 2], "a.n": [[2, 99], [1, 0]], "a.b": np.ones((2, 2, 2))}
    data = opened(None, outer, inner, leaf, arrays=arrays)
    np.testing.assert_array_equal(data.train.values["a.n"], [[2, -1], [1, 0]])
    np.testing.assert_array_equal(data.train.values["a.b"], [[[1, 1], [NAN, NAN]], [[1, NAN], [NAN, NAN]]])
