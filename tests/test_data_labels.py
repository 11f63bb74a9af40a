"""Labels: which rows keep theirs, by row and seed, and that the others are gone from training memory."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import opened, write_mnist
from hypothesis import given, settings
from hypothesis import strategies as st

from sgc.data.dataset import DataSet, Rows
from sgc.data.variables import Variable
from sgc.errors import DataError

LABELS = np.random.default_rng(8).integers(0, 4, 200)
Y = Variable("y", (), 4, supervision="partial")
R = Variable("r", (2,), supervision="partial")
X = Variable("x")


def labelled(
    rule: str, *, seed: int = 0, labels: Any = LABELS, split: str = "{validation: 20}", beside: Path = Path()
) -> DataSet:
    text = f"{{columns: {{x: {{column: x}}, y: {{column: y}}}}, split: {split}, labels: {{y: {rule}}}}}"
    arrays = {"x": np.zeros(len(labels)), "y": labels}
    return opened(text, X, Y, arrays=arrays, seed=seed, beside=beside)


def kept(data: DataSet) -> np.ndarray:
    shown: np.ndarray = data.train.rows[data.train.values["y"] >= 0]
    np.testing.assert_array_equal(shown, data.labelled_rows["y"])
    return shown


def arrays_of(thing: object, seen: set[int]) -> Iterator[np.ndarray]:
    """Walk to every array that can be reached, those behind views included."""
    if id(thing) in seen or thing is None or isinstance(thing, (str, int, float, bool)):
        return
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        yield thing
        yield from arrays_of(thing.base, seen)
    elif isinstance(thing, memoryview):
        yield np.asarray(thing)
    elif isinstance(thing, (bytes, bytearray)):
        yield np.frombuffer(thing, dtype=np.uint8)
    elif dataclasses.is_dataclass(thing):
        for field in dataclasses.fields(thing):
            yield from arrays_of(getattr(thing, field.name), seen)
    elif isinstance(thing, Mapping):
        for each in thing.values():
            yield from arrays_of(each, seen)
    elif isinstance(thing, (list, tuple, set, frozenset)):
        for each in thing:
            yield from arrays_of(each, seen)


def test_hidden_labels_are_gone_from_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SGC_DATA", raising=False)
    write_mnist(tmp_path / "mnist")
    text = (
        "{source: idx, root: mnist, columns: {x: {column: image, transforms: [flatten]}, y: {column: label}}, "
        "labels: {y: {count: 10, balanced: true}}}"
    )
    variables = (Variable("x", (16,)), Variable("y", (), 10, supervision="partial"))
    data = opened(text, *variables, beside=tmp_path)
    gc.collect()
    held = list(arrays_of(data, set()))
    assert any(each is data.train.values["y"] for each in held)
    assert (data.train.values["y"] >= 0).sum() == 10
    assert (data.test.values["y"] >= 0).all()
    assert all(each.base is None for each in held)
    assert not holds_training_labels(data)
    assert holds_training_labels(opened(text[: text.index(", labels")] + "}", *variables, beside=tmp_path))


def holds_training_labels(data: DataSet) -> bool:
    """Tell whether 20 training labels in turn (0 … 9, 0 …) stand in any array but those of the test part."""
    own = [id(each) for each in arrays_of(data.test, set())]
    held = [each.ravel() for each in arrays_of(data, set()) if id(each) not in own and each.size >= 20]
    turn = np.arange(20) % 10
    return any((np.lib.stride_tricks.sliding_window_view(each, 20) == turn).all(axis=1).any() for each in held)


def test_hidden_vectors_are_gone_and_known_ones_stay() -> None:
    text = "{columns: {x: {column: x}, r: {column: r}}, labels: {r: {count: 5}}}"
    secret = np.random.default_rng(0).normal(size=(50, 2))
    data = opened(text, X, R, arrays={"x": np.zeros(50), "r": secret})
    values = data.train.values["r"]
    known = ~np.isnan(values).any(axis=1)
    np.testing.assert_array_equal(data.train.rows[known], data.labelled_rows["r"])
    np.testing.assert_array_equal(values[known], secret[known].astype(np.float32))
    assert np.isnan(values[~known]).all()
    assert known.sum() == 5


def test_validation_and_test_keep_their_labels() -> None:
    data = labelled("{count: 4}", split="{validation: 20, test: 0.2}")
    for part in (data.validation, data.test):
        np.testing.assert_array_equal(part.values["y"], LABELS[part.rows])


def test_the_choice_is_fixed_by_seed() -> None:
    np.testing.assert_array_equal(kept(labelled("{count: 20}")), kept(labelled("{count: 20}")))
    assert kept(labelled("{count: 20}")).tolist() != kept(labelled("{count: 20}", seed=1)).tolist()
    np.testing.assert_array_equal(
        kept(labelled("{count: 20, seed: 3}")), kept(labelled("{count: 20, seed: 3}", seed=1))
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), fewer=st.integers(0, 60), more=st.integers(0, 60))
def test_the_choice_depends_on_row_ids_and_grows_with_the_count(seed: int, fewer: int, more: int) -> None:
    small = kept(labelled(f"{{count: {min(fewer, more)}}}", seed=seed))
    large = kept(labelled(f"{{count: {max(fewer, more)}}}", seed=seed))
    assert set(small) <= set(large)
    # what stands in the rows does not matter, only which they are
    other = kept(labelled(f"{{count: {min(fewer, more)}}}", seed=seed, labels=3 - LABELS))
    np.testing.assert_array_equal(small, other)


@settings(max_examples=20, deadline=None)
@given(count=st.integers(0, 60), seed=st.integers(0, 99))
def test_balanced_counts_differ_by_at_most_one(count: int, seed: int) -> None:
    rows = kept(labelled(f"{{count: {count}, balanced: true}}", seed=seed))
    counts = np.bincount(LABELS[rows], minlength=4)
    assert counts.sum() == count
    assert counts.max() - counts.min() <= 1


def test_fractions_are_of_the_training_rows() -> None:
    assert len(kept(labelled("{fraction: 0.1}"))) == 18
    assert len(kept(labelled("{fraction: 1.0}"))) == 180
    counts = np.bincount(LABELS[kept(labelled("{fraction: 0.2, balanced: true}"))])
    assert counts.tolist() == [9, 9, 9, 9]


def test_so_many_of_each_category() -> None:
    assert np.bincount(LABELS[kept(labelled("{per_category: 6}"))]).tolist() == [6, 6, 6, 6]


def test_labels_that_data_lack_are_never_chosen() -> None:
    labels = np.where(np.arange(200) % 2, LABELS, -1)
    rows = kept(labelled("{count: 50}", labels=labels))
    assert len(rows) == 50
    assert (rows % 2 == 1).all()
    assert len(kept(labelled("{count: 5, balanced: true}", labels=labels))) == 5
    everything = labelled("{fraction: 0}", labels=labels)
    assert len(kept(everything)) == 0


def both(rules: str) -> DataSet:
    text = f"{{columns: {{x: {{column: x}}, y: {{column: y}}, r: {{column: r}}}}, labels: {rules}}}"
    values = np.ones((200, 2))
    values[:100] = np.nan
    return opened(text, X, Y, R, arrays={"x": np.zeros(200), "y": LABELS, "r": values})


def test_the_same_rows_as_another_node() -> None:
    data = both("{r: {same_rows_as: y}, y: {count: 40}}")
    chosen = data.labelled_rows["y"]
    np.testing.assert_array_equal(data.labelled_rows["r"], chosen[chosen >= 100])
    assert len(both("{r: {same_rows_as: y}}").labelled_rows["r"]) == 100
    apart = both("{r: {count: 40}, y: {count: 40}}")
    assert apart.labelled_rows["r"].tolist() != apart.labelled_rows["y"].tolist()


def test_rows_of_a_file(tmp_path: Path) -> None:
    split = "{}"
    (tmp_path / "kept.txt").write_text("3\n\n1\n 2 \n")
    np.save(tmp_path / "kept.npy", np.array([5, 4]))
    assert kept(labelled("{rows: kept.txt}", split=split, beside=tmp_path)).tolist() == [1, 2, 3]
    assert kept(labelled("{rows: kept.npy}", split=split, beside=tmp_path)).tolist() == [4, 5]


def fails(call: Any) -> str:
    with pytest.raises(DataError) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1\ntwo\n", "DIR/kept.txt: line 2: found 'two', wanted a row id"),
        ("1\n200\n", "DIR/kept.txt: labels of node 'y': row 200 is not among the rows of the data"),
        ("-1\n", "DIR/kept.txt: labels of node 'y': row -1 is not among the rows of the data"),
        (None, "kept.txt: no such file; looked in 'DIR'; SGC_DATA, the folder of data sets, is not set"),
    ],
)
def test_a_file_that_names_no_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, message: str
) -> None:
    monkeypatch.delenv("SGC_DATA", raising=False)
    if content is not None:
        (tmp_path / "kept.txt").write_text(content)
    found = fails(lambda: labelled("{rows: kept.txt}", split="{}", beside=tmp_path))
    assert found.replace(str(tmp_path), "DIR") == message


def test_a_file_that_names_rows_held_out(tmp_path: Path) -> None:
    held = int(labelled("{count: 0}").validation.rows[0])
    (tmp_path / "kept.txt").write_text(f"{held}\n")
    message = fails(lambda: labelled("{rows: kept.txt}", beside=tmp_path))
    assert message == f"{tmp_path / 'kept.txt'}: labels of node 'y': row {held} is in the validation or test part"


NOT_ONE = "labels: node 'r': 'balanced' wants one category a row, and this node has none"


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("{y: {count: 201}}", "labels: node 'y': found 200 training rows with a label, wanted 201"),
        ("{y: {count: 400, balanced: true}}", "labels: node 'y': found 48 training rows labelled 0, wanted 100"),
        ("{y: {fraction: 0.001}}", "labels: node 'y': found 200 training rows, of which 0.001 is none"),
        ("{r: {count: 4, balanced: true}}", NOT_ONE),
        ("{x: {count: 4}}", "labels: node 'x' has no label: wanted a partial node with a column"),
        ("{y: {same_rows_as: r}, r: {same_rows_as: y}}", "labels: 'same_rows_as' goes in a circle: y -> r -> y"),
    ],
)  # fmt: skip
def test_labels_that_cannot_be_chosen(rules: str, message: str) -> None:
    assert fails(lambda: both(rules)) == message


RARE = np.array([0] * 30 + [1] * 4 + [2] * 16)  # of four categories, of which the last is never met


def rare(rule: str, labels: Any = RARE) -> DataSet:
    text = f"{{columns: {{x: {{column: x}}, y: {{column: y}}}}, labels: {{y: {rule}}}}}"
    return opened(text, X, Y, arrays={"x": np.zeros(len(labels)), "y": labels})


def test_per_category_takes_all_of_a_rarer_category_and_says_so() -> None:
    data = rare("{per_category: 10}")
    assert np.bincount(RARE[data.labelled_rows["y"]]).tolist() == [10, 4, 10]
    assert data.notes == (
        "labels of 'y': per_category is 10, and there are only 4 of 1: all of them are kept",
        "labels of 'y': no training row is labelled 3, which is a category of it",
    )
    assert rare("{per_category: 20}").notes[0] == (
        "labels of 'y': per_category is 20, and there are only 4 of 1 and 16 of 2: all of them are kept"
    )
    assert len(rare("{per_category: 4}").notes) == 1
    assert rare("{per_category: 0}").notes == ()
    few = rare("{per_category: 3}")
    np.testing.assert_array_equal(
        np.intersect1d(few.labelled_rows["y"], data.labelled_rows["y"]), few.labelled_rows["y"]
    )
    message = fails(lambda: rare("{per_category: 2}", np.full(20, -1)))
    assert message == "labels: node 'y': found no training rows with a label, wanted 2 of each category"


def test_a_category_that_no_training_row_has_is_told_by_its_name() -> None:
    text = "{columns: {x: {column: x}, y: {column: y}}, split: {test: 2}}"
    named = Variable("y", (), 4, ("cat", "dog", "eel", "fox"), supervision="partial")
    data = opened(text, X, named, arrays={"x": np.zeros(9), "y": ["dog", "", "", "dog", "", "", "dog", "dog", ""]})
    assert data.notes == (
        "labels of 'y': no training row is labelled 'cat', 'eel' and 'fox', which are categories of it",
    )
    full = dataclasses.replace(named, supervision="full")
    assert opened(text, X, full, arrays={"x": np.zeros(9), "y": ["dog"] * 9}).notes == ()
    assert opened(text, X, named, arrays={"x": np.zeros(9), "y": [""] * 9}).notes == ()  # nobody meant it to have some


def test_labels_of_another_shape_than_one_category() -> None:
    wide = np.stack([LABELS, LABELS], axis=1)
    wanted = "labels: node 'y': found rows of the shape [2], wanted one category a row"
    for rule in ("{count: 8, balanced: true}", "{per_category: 2}"):
        assert fails(lambda: labelled(rule, labels=wide)) == wanted  # noqa: B023  # called now
    tall = labelled("{per_category: 2}", labels=LABELS[:, None])
    np.testing.assert_array_equal(kept(tall), kept(labelled("{per_category: 2}")))


def test_rows_have_a_length() -> None:
    assert len(Rows({}, np.arange(3))) == 3
