"""What data are known by: any change of a cell, a row or their order is told, and nothing else is a change."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_runs import NPZ, Raw, changed, small, small_arrays

import sgc
from sgc import UsageError, cli
from sgc.data import fingerprint as fingerprints
from sgc.data import large_columns
from sgc.data.columns import SourceColumn
from sgc.data.fingerprint import hash_rows
from sgc.data.label_fields import Split
from sgc.data.split import divide_rows
from sgc.training.trainer import train

Arrays = dict[str, np.ndarray]
SPEC: Raw = small(data=changed(NPZ, file="rows.npz"), train__epochs=1)
WAY_ON = "; bring them back as they were, or train anew; for new rows use 'sgc predict', or model.infer in Python"


def hashes(values: np.ndarray, missing: np.ndarray | None = None) -> np.ndarray:
    return hash_rows("x", (SourceColumn("x", values, null=missing),), np.arange(len(values)))


# ---- hashes


@pytest.mark.parametrize("dtype", ["uint8", "bool", "float32", "float64", "str"])
def test_no_two_different_rows_have_one_hash(dtype: str) -> None:
    # all 2^16 rows of sixteen zeros and ones: 2^31 pairs, of which two agree by chance once in 2^33 trials
    bits = (np.arange(1 << 16)[:, None] >> np.arange(16)) & 1
    assert len(np.unique(hashes(bits.astype(dtype)))) == 1 << 16


def test_cells_are_the_same_however_they_are_stored() -> None:
    values = np.random.default_rng(0).integers(0, 200, (50, 4))
    wanted = hashes(values)
    for dtype in ("uint8", "int16", "float32", "float64"):
        np.testing.assert_array_equal(hashes(np.asfortranarray(values.astype(dtype))), wanted)
    words = np.array(["a", "bc", ""])
    np.testing.assert_array_equal(hashes(words), hashes(words.astype("U40")))
    zeros = np.zeros(3)
    np.testing.assert_array_equal(hashes(zeros), hashes(-zeros))
    empty = np.array([False, True, False])
    np.testing.assert_array_equal(hashes(words, empty), hashes(np.where(empty, "?", words), empty))
    assert (hashes(words, empty) != hashes(words)).tolist() == [False, True, False]


def test_a_row_has_its_hash_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(70, 3, 2))
    wanted = hashes(values)
    monkeypatch.setattr(fingerprints, "BLOCK", 20)
    np.testing.assert_array_equal(hashes(values), wanted)
    column = SourceColumn("x", values)
    rows = np.array([69, 3, 3, 12])
    np.testing.assert_array_equal(hash_rows("x", (column,), rows), wanted[rows])
    assert not (hash_rows("z", (column,), rows) == wanted[rows]).any()  # what stands in x is not what stands in z
    both = hash_rows("x", (SourceColumn("a", values[:, 0, 0]), SourceColumn("b", values[:, 0, 1])), rows)
    turned = hash_rows("x", (SourceColumn("b", values[:, 0, 1]), SourceColumn("a", values[:, 0, 0])), rows)
    assert not (both == turned).any()


# ---- runs


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run on a file of 120 rows, whose labels are coin flips."""
    folder = tmp_path_factory.mktemp("flips")
    write(folder, original())
    train(SPEC, output=folder / "run", beside=folder)
    return folder


def original() -> Arrays:
    arrays = small_arrays(rows=120, labels=120)
    return {"x": arrays["x"], "y": np.random.default_rng(1).integers(0, 3, 120)}


def write(folder: Path, arrays: Arrays) -> None:
    np.savez(folder / "rows.npz", **arrays)


def at(name: str, row: int, by: int) -> Callable[[Arrays], Arrays]:
    """Change a cell by a number: of x its last, of y to the category so many places on."""

    def change(arrays: Arrays) -> Arrays:
        found = {key: value.copy() for key, value in arrays.items()}
        found[name][(row, -1) if name == "x" else row] += by
        found["y"] %= 3
        return found

    return change


def rows_of(order: Callable[[Arrays], np.ndarray]) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {key: value[order(arrays)] for key, value in arrays.items()}


CHANGES: dict[str, tuple[Callable[[Arrays], Arrays], str]] = {
    "sorted": (
        rows_of(lambda a: np.argsort(a["y"], kind="stable")),
        "the same rows in another order, so that it was trained on {leak}",
    ),
    "rows in front": (
        rows_of(lambda a: np.r_[:20, :120]),
        "116 training rows, not 96, so that it was trained on {leak}",
    ),
    "rows at the end": (rows_of(lambda a: np.r_[:120, :1]), "97 training rows, not 96"),
    "a row less": (rows_of(lambda a: np.r_[1:120]), "95 training rows, not 96"),
    "two rows change places": (rows_of(lambda a: np.r_[1, 0, 2:120]), "the same rows in another order"),
    "a feature": (at("x", 50, 1), "other values of 'x'"),
    "a label": (at("y", 50, 1), "other values of 'y'"),
    "both": (lambda a: at("x", 3, 1)(at("y", 50, 1)(a)), "other values of 'x' and 'y'"),
}


def leak(arrays: Arrays) -> str:
    """Say how many held-out rows of these stood among the training rows of the original: all of x are different."""
    division = divide_rows(120, Split(validation=12, test=12), None)
    trained = original()["x"][division.train, 0]
    now = divide_rows(len(arrays["x"]), Split(validation=12, test=12), None)
    held_out = {"validation": now.validation, "test": now.test}
    counts = {name: np.isin(arrays["x"][rows, 0], trained).sum() for name, rows in held_out.items()}
    return " and ".join(f"{count} of 12 {name} rows" for name, count in counts.items())


def told(*words: object) -> tuple[int, str]:
    """Run a command in this process: its exit status, and what it says on standard error."""
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        try:
            cli.app([str(word) for word in words])
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 1, said.getvalue()
    return 0, said.getvalue()


@pytest.mark.parametrize("name", CHANGES)
def test_no_command_reads_other_data_than_the_run_was_trained_on(name: str, place: Path) -> None:
    change, words = CHANGES[name]
    words = words.format(leak=leak(change(original())))
    run, known = place / "run", f"{place / 'run'}: the data are not those the run was started on: "
    try:
        write(place, change(original()))
        for command in (["evaluate", run], ["sample", run, "-o", place / "a.npz", "--traverse", "z"]):
            status, said = told(*command)
            assert status == 2
            if name in ("sorted", "rows in front"):
                assert said == f"error: {known}{words}{WAY_ON}\n"
            else:
                assert said.startswith(f"error: {known}{words}")
        with pytest.raises(UsageError, match="start over with force=True") as caught:
            train(SPEC, output=run, beside=place, resume=True)
        assert str(caught.value).startswith(known + words)
    finally:
        write(place, original())


@pytest.mark.parametrize("row", range(0, 120, 29))
@pytest.mark.parametrize("node", ["x", "y"])
def test_any_cell_of_any_split_counts(node: str, row: int, place: Path) -> None:
    try:
        write(place, at(node, row, 1)(original()))
        with pytest.raises(UsageError, match=f"the run was started on: other values of '{node}'; bring them back"):
            sgc.evaluate(place / "run")
    finally:
        write(place, original())


def test_the_same_cells_stored_otherwise_are_the_same_data(place: Path) -> None:
    wanted = sgc.evaluate(place / "run").plain()
    try:
        arrays = original()
        write(place, {"y": arrays["y"].astype(np.uint8), "other": np.zeros(5), "x": np.asfortranarray(arrays["x"])})
        assert sgc.evaluate(place / "run").plain() == wanted
    finally:
        write(place, original())


def test_samples_need_no_data_and_leave_out_pictures_of_other_data(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = {"nodes__x__shape": [1, 4, 4], "data__columns__x": {"column": "x", "transforms": ["standardize"]}}
    arrays = {"x": np.random.default_rng(0).normal(size=(60, 1, 4, 4)), "y": np.arange(60) % 3}
    write(tmp_path, arrays)
    train(changed(SPEC, **picture), output=tmp_path / "run", beside=tmp_path)
    assert told("sample", tmp_path / "run", "-o", tmp_path / "a.png") == (0, "")
    write(tmp_path, {key: value[::-1] for key, value in arrays.items()})
    status, said = told("sample", tmp_path / "run", "-o", tmp_path / "a.png")
    assert status == 0
    assert said.startswith(f"note: no reconstructions: {tmp_path / 'run'}: the data are not those the run was started")
    assert said.count("\n") == 1


def test_of_a_node_that_is_too_large_some_rows_are_looked_at(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An evaluation reads so many training rows of it again, and all held-out ones; a resumed run reads all."""
    monkeypatch.setattr(large_columns, "LIMIT", 0)
    monkeypatch.setattr(fingerprints, "SPACED", 9)
    write(tmp_path, original())
    train(SPEC, output=tmp_path / "run", beside=tmp_path)
    with np.load(tmp_path / "run" / "rows.npz") as kept, np.load(place / "run" / "rows.npz") as whole:
        assert {key: kept[key].tolist() for key in kept} == {key: whole[key].tolist() for key in whole}
    sgc.evaluate(tmp_path / "run")
    write(tmp_path, {key: value[::-1] for key, value in original().items()})
    with pytest.raises(UsageError, match="other values of 'y', so that it was trained on"):
        sgc.evaluate(tmp_path / "run")
    write(tmp_path, {**original(), "x": original()["x"][::-1]})
    with pytest.raises(UsageError, match="other rows or values, so that it was trained on"):
        sgc.evaluate(tmp_path / "run")
    division = divide_rows(120, Split(validation=12, test=12), None)
    for row in (*division.test, *division.validation, division.train[0], division.train[95]):
        write(tmp_path, at("x", int(row), 1)(original()))
        with pytest.raises(UsageError, match="other rows or values; bring"):
            sgc.evaluate(tmp_path / "run")
    write(tmp_path, at("x", int(division.train[5]), 1)(original()))  # between those that are looked at, every twelfth
    sgc.evaluate(tmp_path / "run")
    with pytest.raises(UsageError, match="other values of 'x'"):
        train(SPEC, output=tmp_path / "run", beside=tmp_path, resume=True)


def test_arrays_that_no_spec_splits_are_new_rows_or_it_warns(tmp_path: Path) -> None:
    hidden = small_arrays(rows=40, labels=15)
    known = small_arrays(rows=40, labels=40)
    fresh = small_arrays(rows=30, labels=30, seed=7)
    train(small(train__epochs=1), hidden, output=tmp_path / "run")
    assert sgc.evaluate(tmp_path / "run", data=fresh).plain()["trained_on"] == 0
    mixed = {key: np.concatenate([fresh[key], known[key][:12]]) for key in fresh}
    for arrays, count, of in ((known, 40, 40), (mixed, 12, 42)):  # whether their labels were hidden or not
        with pytest.warns(UserWarning, match=f"run: was trained on {count} of these {of} rows$"):
            assert sgc.evaluate(tmp_path / "run", data=arrays).plain()["trained_on"] == count


def test_arrays_of_a_spec_that_splits_them_are_to_be_the_same(tmp_path: Path) -> None:
    train(SPEC, original(), output=tmp_path / "run")
    sgc.evaluate(tmp_path / "run", data=original())
    with pytest.raises(UsageError, match="the same rows in another order"):
        sgc.evaluate(tmp_path / "run", data={key: value[::-1] for key, value in original().items()})


def test_a_run_without_the_record_says_so(place: Path, tmp_path: Path) -> None:
    write(tmp_path, original())
    train(SPEC, output=tmp_path / "run", beside=tmp_path)
    path = tmp_path / "run" / "rows.npz"
    known = f"{path}: cannot be read as what the data of the run are known by "
    with np.load(path) as found:
        kept = dict(found)
    for broken, words in (
        ({**kept, "rows/train": np.zeros(3)}, "('rows/train' is no list of 64-bit hashes)"),
        ({key: each for key, each in kept.items() if key != "ids/test"}, "('ids/test' is missing)"),
        ({**kept, "nodes/train/x": np.zeros(2)}, "('nodes/train/x' is no digest)"),
    ):
        np.savez(path, **broken)
        assert told("evaluate", tmp_path / "run") == (2, f"error: {known}{words}\n")
    path.unlink()
    assert told("evaluate", tmp_path / "run") == (2, f"error: {known}(No such file or directory)\n")
