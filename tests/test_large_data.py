"""Data larger than memory: what is encoded when it is taken is what would have been held, to the bit."""

from __future__ import annotations

import json
import math
import signal
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from data_files import opened, section
from small_runs import At, Raw, finished_files, rich, small

import sgc
from sgc.data import encoder, large_columns
from sgc.data.columns import Array, Origin, SourceColumn
from sgc.data.encoder import fit_encoder, fit_in_chunks, read_cells
from sgc.data.large_columns import EncodedColumn, LargeCells
from sgc.data.new_rows import read_rows
from sgc.data.transforms.transforms import Fitted, Flatten, Standardize, Transform
from sgc.data.variables import Variable
from sgc.distributions.supports import SUPPORTS
from sgc.errors import DataError, Interrupted
from sgc.evaluation import measurement
from sgc.runs.folder_claim import digest_of_before
from sgc.runtime import binarization
from sgc.runtime.binarization import FixedDraws, binarized
from sgc.runtime.data_variables import open_data
from sgc.runtime.streams import TensorRows
from sgc.spec.resolver import outline
from sgc.trained.predictions import predict_run
from sgc.trained.run_evaluation import evaluate_run
from sgc.training.trainer import train

NAN = float("nan")


@pytest.fixture(autouse=True)
def in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a chunk of a few rows, so that small data have many."""
    monkeypatch.setattr(encoder, "CHUNK", 100)
    monkeypatch.setattr(binarization, "_BLOCK", 100)


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Choose between holding everything and nothing that can be left where it stands."""
    return lambda whole: monkeypatch.setattr(large_columns, "LIMIT", 1 << 30 if whole else 0)


# ---- runs


def write(folder: Path, rows: int = 120) -> Path:
    """Write grey pictures whose first row shows the label, and three numbers a row, a few of them missing."""
    draw = np.random.default_rng(5)
    label = draw.integers(0, 3, rows)
    image = draw.integers(0, 9, (rows, 4, 4), dtype=np.uint8)
    image[np.arange(rows), 0, label] = 16
    marks = draw.normal(100, 15, (rows, 3)) + 5 * label[:, None]
    marks[draw.random(rows) < 0.2] = NAN
    np.savez(folder / "rows.npz", image=image, label=label, marks=marks)
    return folder / "rows.npz"


def spec(*transforms: Any) -> Raw:  # Any: plain data
    """Write a spec with a large node that is always there, and one that is a label of a few rows."""
    columns = {"column": "image", "transforms": [{"divide": 16}, *transforms]}
    marks = {"column": "marks", "transforms": ["standardize"]}
    family = "Normal" if "standardize" in transforms else "Bernoulli"
    return rich(
        data__columns__x=columns,
        data__columns__w=marks,
        nodes__x__distribution=family,
        nodes__w__shape=[3],
        train__epochs=2,
    )


KINDS: dict[str, tuple[Any, ...]] = {
    "dynamic": ({"binarize": "dynamic"},),
    "static": ({"binarize": "static"},),
    "standardized": ("standardize",),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_on_data_that_are_not_held_is_the_same(kind: str, hold: Callable[[bool], None], tmp_path: Path) -> None:
    """Weights, metrics, evaluation and predictions, whether nodes are held or not; resumed the other way around too."""
    path, made = write(tmp_path), spec(*KINDS[kind])
    found = []
    for held in (True, False):
        hold(held)
        folder = tmp_path / f"held-{held}"
        train(made, output=folder, beside=tmp_path)
        evaluation = json.dumps(
            [evaluate_run(folder, split=part).plain()["posterior"] for part in ("test", "validation")]
        )
        predict_run(folder, path, tmp_path / f"{held}.csv")
        found.append((finished_files(folder), evaluation, (tmp_path / f"{held}.csv").read_text()))
    assert found[0] == found[1]
    hold(kind == "static")
    with pytest.raises(Interrupted):
        train(made, output=tmp_path / "run", beside=tmp_path, watcher=At(4, signal.SIGINT))
    hold(kind != "static")
    train(made, output=tmp_path / "run", beside=tmp_path, resume=True)
    assert finished_files(tmp_path / "run") == found[0][0]


@pytest.mark.parametrize("kind", KINDS)
def test_any_rows_are_those_of_the_whole(kind: str, hold: Callable[[bool], None], tmp_path: Path) -> None:
    write(tmp_path)
    made = outline(sgc.load(spec(*KINDS[kind])))
    sets = []
    for held in (True, False):
        hold(held)
        sets.append(open_data(made, tmp_path))
    assert [type(sets[1].train.values[n]) for n in "xyw"] == [EncodedColumn, np.ndarray, EncodedColumn]
    assert digest_of_before(sets[0]) == digest_of_before(sets[1])
    assert sets[0].encoders == sets[1].encoders
    draw = np.random.default_rng(0)
    for part in ("train", "validation", "test"):
        whole, left = (TensorRows(getattr(each, part), made, torch.zeros(())) for each in sets)
        assert np.array_equal(whole.labels, left.labels)
        for one in (True, False):
            assert np.array_equal(whole.present("w", whole=one), left.present("w", whole=one))
        for index in (draw.permutation(whole.count)[:9], np.array([3, 3, 0]), np.array([], dtype=np.int64)):
            for name in "xyw":
                torch.testing.assert_close(
                    left.take(name, index), whole.take(name, index), rtol=0, atol=0, equal_nan=True
                )


class Watched(np.ndarray[Any, Any]):
    """An array that notes the rows that are read."""

    read: ClassVar[list[int]] = []

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, np.ndarray):
            Watched.read += key.tolist()
        return np.asarray(self)[key]


def test_rows_whose_label_is_hidden_are_never_read() -> None:
    values = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    origin = Origin("w", (SourceColumn("w", values.view(Watched)),), np.arange(10, 50))
    variable = Variable("w", (4,), supervision="partial")
    hidden = np.arange(40) % 3 > 0
    cells = LargeCells(variable, origin, hidden=hidden)
    Watched.read.clear()
    column = EncodedColumn(cells.fit((Standardize(),), 0), cells)
    whole = np.concatenate(list(column.chunks()))
    column.take(np.arange(39, -1, -1))
    column.checked()
    assert set(Watched.read) == set(range(10, 50, 3))
    shown = values[10:50:3].astype(np.float64)
    np.testing.assert_allclose(whole[~hidden], (shown - shown.mean(0)) / shown.std(0), rtol=1e-4, atol=1e-5)
    assert np.isnan(whole[hidden]).all()


def test_a_hidden_label_is_not_in_what_training_takes(hold: Callable[[bool], None], tmp_path: Path) -> None:
    """The rows are those of a label that is held, and what stands in the file in the others does not matter."""
    path = tmp_path / "w.bin"
    secret = np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32)
    secret.tofile(path)
    mapped = np.memmap(path, dtype=np.float32, mode="r", shape=(60, 4))
    text = "{columns: {x: {column: x}, w: {column: w, transforms: [standardize]}}, labels: {w: {count: 7}}}"
    variables = (Variable("x"), Variable("w", (4,), supervision="partial"))
    hold(True)
    whole = opened(text, *variables, arrays={"x": np.zeros(60), "w": mapped})
    hold(False)
    left = opened(text, *variables, arrays={"x": np.zeros(60), "w": mapped})
    np.testing.assert_array_equal(left.labelled_rows["w"], whole.labelled_rows["w"])
    secret[np.setdiff1d(np.arange(60), left.labelled_rows["w"])] = np.inf
    secret.tofile(path)
    column = left.train.values["w"]
    assert isinstance(column, EncodedColumn)
    np.testing.assert_array_equal(column.take(np.arange(60)), whole.train.values["w"])


def test_a_node_without_a_column_takes_no_memory(hold: Callable[[bool], None]) -> None:
    variables = (
        Variable("x"),
        Variable("w", (4,), supervision="partial"),
        Variable("k", (2,), 3, supervision="partial"),
    )
    arrays = {"x": np.zeros(60)}
    hold(True)
    whole = opened(None, *variables, arrays=arrays)
    hold(False)
    left = opened(None, *variables, arrays=arrays)
    assert digest_of_before(left) == digest_of_before(whole)
    for name in "wk":
        column = left.train.values[name]
        assert isinstance(column, EncodedColumn)
        assert column.cells.origin.columns[0].values.strides[0] == 0
        np.testing.assert_array_equal(column.take(np.array([3, 59])), whole.train.values[name][:2])


# ---- what learns


class Largest(Transform):
    """Divide by the largest value: one that learns, and knows of no chunks."""

    name: ClassVar[str] = "largest"
    learns: ClassVar[bool] = True

    def fit(self, values: Array) -> Fitted:
        assert values.dtype.kind == "f"  # categories are refused before
        return {"largest": float(values.max())}

    def apply(self, values: Array, fitted: Fitted, uniforms: Any) -> Array:
        return values / fitted["largest"]

    def undo(self, values: Array, fitted: Fitted) -> Array:
        return values * fitted["largest"]


def test_fitting_in_chunks_is_fitting_the_whole() -> None:
    values = np.random.default_rng(3).integers(0, 200, (90, 2, 3), dtype=np.uint8)
    variable, origin = Variable("x", (6,)), Origin("x", (SourceColumn("x", values),), np.arange(90))
    steps: Any = (Flatten(), Largest(), Standardize())
    cells = LargeCells(variable, origin)
    whole, encoded = fit_encoder(variable, steps, read_cells(origin, variable, ()), origin, 0)
    assert fit_in_chunks(variable, steps, cells.chunks, origin, 0) == whole
    assert whole.fitted[1] == {"largest": float(values.max())}
    np.testing.assert_array_equal(np.concatenate(list(EncodedColumn(whole, cells).chunks())), encoded)
    assert EncodedColumn(whole, cells).shape == encoded.shape


def test_what_learns_is_not_shown_what_it_is_not_for() -> None:
    variable, origin = Variable("x", (4,), 3), Origin("x", (SourceColumn("x", np.ones((9, 4))),), np.arange(9))
    steps: Any = (Largest(),)
    for fit in (
        lambda: fit_encoder(variable, steps, read_cells(origin, variable, ()), origin, 0),
        lambda: LargeCells(variable, origin).fit(steps, 0),
    ):
        with pytest.raises(DataError, match=r"^node 'x': the transform 'largest' is for numbers, and this node's"):
            fit()


# ---- what is drawn


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fixed_draws_of_some_rows_are_those_of_all_at_once(dtype: torch.dtype) -> None:
    grey = torch.rand(93, 3, 5, generator=torch.Generator().manual_seed(1)).to(dtype)
    grey[4, 1] = NAN
    ahead, generator = (torch.Generator().manual_seed(2) for _ in range(2))
    whole = binarized(grey, ahead)
    fixed = FixedDraws((93, 3, 5), torch.zeros((), dtype=dtype), generator)
    assert torch.equal(generator.get_state(), ahead.get_state())  # what is drawn next is the same too
    for index in (np.arange(93), np.random.default_rng(0).permutation(93)[:20], np.array([7, 7]), np.arange(0)):
        torch.testing.assert_close(fixed.of(index, grey[index]), whole[index], rtol=0, atol=0, equal_nan=True)


# ---- what is checked


FLAT = "{{columns: {{x: {{column: c, transforms: {}}}}}}}"
FAULTS: list[tuple[str, Variable, Any]] = [
    ("[]", Variable("x", (4,)), NAN),
    ("[]", Variable("x", (4,)), np.inf),
    ("[]", Variable("x", (4,), supervision="input"), NAN),
    ("[]", Variable("x", (4,), support=SUPPORTS["positive"]), 0),
    ("[]", Variable("x", (4,), support=SUPPORTS["nonnegative_integer"]), 1.5),
    ("[{binarize: dynamic}]", Variable("x", (4,), support=SUPPORTS["grey"]), 255),
    ("[{binarize: static}, standardize]", Variable("x", (4,)), -1),
    ("[standardize]", Variable("x", (4,), 3), 1),
    ("[]", Variable("x", (4,), 3), 7),
    ("[]", Variable("x", (4,), 3), -1),
    ("[]", Variable("x", (2, 2)), 1),
    ("[{resize: [2, 2]}]", Variable("x", (2, 2)), 1),
]


@pytest.mark.parametrize("supervision", ["full", "partial"])
@pytest.mark.parametrize(("transforms", "variable", "value"), FAULTS)
def test_a_fault_is_told_before_anything_is_taken(
    transforms: str, variable: Variable, value: float, supervision: str, hold: Callable[[bool], None]
) -> None:
    """In the words of data that are held: which row, which element, what was found."""
    array = np.ones((90, 4))
    array[71, 2] = value
    if supervision == "partial" and variable.supervision == "full":
        variable = Variable(**{**variable.__dict__, "supervision": "partial", "dropped": True})
    told = []
    for held in (True, False):
        hold(held)
        try:
            opened(FLAT.format(transforms), variable, arrays={"x": array})
            told.append("")
        except DataError as error:
            told.append(str(error))
    assert told[0] == told[1]
    missing = math.isnan(value) or (value == -1 and variable.categories is not None)
    assert bool(told[0]) != (variable.supervision == "partial" and missing)


def test_nothing_to_be_fitted_on_in_any_chunk(hold: Callable[[bool], None]) -> None:
    hold(False)
    array = np.ones((90, 2))
    array[:, 1] = NAN
    with pytest.raises(DataError) as caught:
        opened(FLAT.format("[standardize]"), Variable("x", (2,), supervision="partial"), arrays={"x": array})
    assert str(caught.value) == "node 'x': no training row has a value for 'standardize' to be fitted on"


def test_the_file_and_the_row_of_a_new_file_are_named(hold: Callable[[bool], None], tmp_path: Path) -> None:
    hold(False)
    array = np.zeros((90, 4), dtype=np.uint8)
    variable, text = (
        Variable("x", (4,), support=SUPPORTS["grey"]),
        "{source: npz, file: new.npz, columns: {x: {column: c}}}",
    )
    np.savez(tmp_path / "new.npz", c=array)
    run = opened(text, variable, beside=tmp_path)
    array[88, 3] = 9
    np.savez(tmp_path / "new.npz", c=array)
    with pytest.raises(DataError) as caught:
        read_rows(section(text), {"x": variable}, run.encoders, tmp_path / "new.npz")
    assert str(caught.value) == (
        f"{tmp_path / 'new.npz'}: row 88: node 'x', column 'c': found 9 at [3], wanted a number from 0 to 1; "
        "is the transform {divide: 16} missing?"
    )


# ---- what is held


def test_only_what_is_above_the_limit_is_left_where_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_columns, "LIMIT", 4 * 100 * 6)
    variables = (Variable("x", (6,)), Variable("y", (7,)), Variable("z", (3,)), Variable("r", (1, 2, 2)), Variable("s"))
    draw = np.random.default_rng(0)
    arrays = {each.name: draw.random((100, *each.shape)) for each in variables}
    arrays["r"] = draw.random((100, 4, 4))  # its cells are many, its values few
    arrays["s"] = np.ones((100, 1))
    columns = ", ".join(f"{name}: {{column: {name}}}" for name in "xyzs")
    text = f"{{columns: {{{columns}, r: {{column: r, transforms: [{{resize: [2, 2]}}]}}}}}}"
    values = opened(text, *variables, arrays=arrays).train.values
    assert [name for name, each in values.items() if isinstance(each, EncodedColumn)] == ["y"]
    found = values["r"]
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found[:, 0], arrays["r"].reshape(100, 2, 2, 2, 2).mean(axis=(2, 4)), rtol=1e-6)
    compact = (np.arange(900, dtype=np.uint8).reshape(100, 9) % 2).astype(np.uint8)
    column = opened(None, Variable("b", (9,)), arrays={"b": compact}).train.values["b"]
    assert isinstance(column, EncodedColumn)
    assert column.cells.origin.columns[0].values.dtype == np.uint8  # it is encoded as it is taken, and stays as small
    assert np.shares_memory(column.cells.origin.columns[0].values, compact)


def test_training_and_evaluating_hold_a_part_of_a_file_that_is_mapped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of a file of 16 MB, 64 MB once encoded, there are never as much as 5 MB in memory."""
    rows, size = 20_000, 800
    monkeypatch.setattr(encoder, "CHUNK", 1 << 18)
    monkeypatch.setattr(large_columns, "LIMIT", 1 << 20)
    monkeypatch.setattr(measurement, "ROWS", 200)
    written = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.uint8, shape=(rows, size))
    written[:] = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    written[:, 0] = np.arange(rows) % 251
    written.flush()
    del written
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    label = np.where(np.arange(rows) < 100, np.arange(rows) % 3, -1)
    made = small(
        nodes__x={
            "distribution": "Bernoulli",
            "shape": [size],
            "supervision": "full",
            "generative": {"parents": ["y", "z"], "network": {"mlp": [4]}},
        },
        train={"epochs": 1, "batch_size": {"unlabelled": 400, "labelled": 20}},
        data={
            "source": "npz",
            "file": "none.npz",
            "columns": {
                "x": {"column": "x", "transforms": [{"divide": 255}, {"binarize": "dynamic"}]},
                "y": {"column": "y"},
            },
            "split": {"validation": 0.1, "test": 0.1},
        },
    )

    def run(count: int) -> None:
        data = {"x": mapped[:count], "y": label[:count]}
        train(made, data, output=tmp_path / str(count))
        evaluate_run(tmp_path / str(count), data=data, samples=1)

    run(200)  # what is imported on the way is none of the data
    tracemalloc.start()
    try:
        run(rows)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()
