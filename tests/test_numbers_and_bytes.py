"""Numbers and bytes that cross a door: what does not fit the machine is refused there, in words."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import NPZ, changed, small, small_arrays
from typer.testing import CliRunner

import sgc
from sgc.cli import app
from sgc.data.idx import read_idx
from sgc.data.tables import read_table
from sgc.errors import DataError, SpecError, UsageError
from sgc.training.trainer import train

HUGE = [10**20, 2**63, 2**64 - 1]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished small run."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("run") / "run"
    train(sgc.load(small(train__epochs=1)), small_arrays(), output=folder)
    return folder


# ---- options


@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize(
    "words",
    [
        ["sample", "RUN", "-o", "OUT.npz", "--seed"],
        ["sample", "RUN", "-o", "OUT.npz", "--count"],
        ["evaluate", "RUN", "--samples"],
        ["predict", "RUN", "rows.npz", "-o", "OUT.csv", "--samples"],
        ["prove", "spec.yaml", "--seed"],
        ["data", "multi-mnist", "--digits", "digits", "-o", "OUT", "--seed"],
        ["data", "multi-mnist", "--digits", "digits", "-o", "OUT", "--train"],
        ["data", "multi-mnist", "--digits", "digits", "-o", "OUT", "--test"],
    ],
    ids=lambda words: f"{words[0]} {words[-1]}",
)
def test_an_option_beyond_its_range_is_wrong_use(words: list[str], value: int, run: Path, tmp_path: Path) -> None:
    places = {"RUN": run, "OUT": tmp_path / "out", "OUT.npz": tmp_path / "out.npz", "OUT.csv": tmp_path / "out.csv"}
    done = CliRunner().invoke(app, [*(str(places.get(word, word)) for word in words), str(value)])
    assert done.exit_code == 2
    assert f"Invalid value for '{words[-1]}'" in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_largest_seed_draws(run: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["sample", str(run), "-o", str(tmp_path / "o.npz"), "--seed", str(2**63 - 1)])
    assert done.exit_code == 0, done.output


# ---- devices


@pytest.mark.parametrize("device", ["cpu:²", "cpu:٣", "cpu:-1", "cpu:", "cpu:99999999999999999999", "cuda:1.5"])
def test_a_device_whose_number_is_none_is_refused(device: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as told:
        train(sgc.load(small(train__device=device)), small_arrays(), output=tmp_path / "run")
    assert str(told.value) == f"train.device is '{device}', wanted a name as 'cpu', 'cuda' or 'cuda:1'"


# ---- generators, and numbers from Python


@pytest.mark.parametrize("given", ["x", 0, 1.5, torch.Generator, np.random.default_rng(0)])
def test_a_generator_that_is_none_is_refused_by_every_door(given: Any) -> None:
    model = sgc.compile(small())
    x = torch.zeros(2, 3)
    words = f"generator is of the type '{type(given).__name__}', wanted a torch.Generator"
    for draw in (
        lambda: model.objective({"x": x}, generator=given),
        lambda: model.infer({"x": x}, samples=2, generator=given),
        lambda: model.generate(2, generator=given),
    ):
        before = torch.get_rng_state()
        with pytest.raises(ValueError, match=f"^{words}$"):
            draw()
        assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("value", [*HUGE, 2**31])
def test_more_samples_than_an_array_has_rows_are_refused(value: int, run: Path) -> None:
    model = sgc.compile(small())
    for name, draw in (
        ("samples", lambda: model.objective({"x": torch.zeros(2, 3)}, samples=value)),
        ("samples", lambda: model.infer({"x": torch.zeros(2, 3)}, samples=value)),
        ("count", lambda: model.generate(value)),
    ):
        with pytest.raises(ValueError, match=f"^{name} is {value}, wanted at most {2**31 - 1}$"):
            draw()
    with pytest.raises(UsageError, match=f"^samples is {value}, wanted at most {2**31 - 1}$"):
        sgc.evaluate(run, data=small_arrays(), samples=value)


# ---- IDX


def idx(path: Path, *sizes: int, kind: int = 8, axes: int | None = None) -> Path:
    header = struct.pack(">HBB", 0, kind, len(sizes) if axes is None else axes)
    path.write_bytes(header + b"".join(struct.pack(">I", size) for size in sizes) + b"\1" * 8)
    return path


@pytest.mark.parametrize("axes", [33, 65, 255])
def test_an_idx_file_of_more_axes_than_an_array_has_is_refused(axes: int, tmp_path: Path) -> None:
    path = idx(tmp_path / "many", *[1] * axes)
    with pytest.raises(DataError) as told:
        read_idx(path)
    assert str(told.value) == f"{path}: found {axes} axes in its header, wanted at most 32"
    assert read_idx(idx(tmp_path / "few", 8, *[1] * 31)).shape == (8, *[1] * 31)


@pytest.mark.parametrize("sizes", [(0, *[2**32 - 1] * 3), (2**32 - 1, 2**31, 0)])
def test_an_idx_file_of_a_size_that_no_array_has_is_refused(sizes: tuple[int, ...], tmp_path: Path) -> None:
    path = idx(tmp_path / "large", *sizes, kind=0x0E)
    with pytest.raises(DataError) as told:
        read_idx(path)
    said = " × ".join(map(str, sizes))
    assert str(told.value) == f"{path}: no array can be as large as its header says, {said}"


# ---- row ids


def labelled(rows: Path, folder: Path) -> None:
    np.savez(folder / "rows.npz", **small_arrays(labels=60))
    data = changed(NPZ, file="rows.npz", split__test=None, labels__y={"rows": str(rows)})
    train(sgc.load(small(data=data, train__epochs=1)), output=folder / "run", beside=folder)


@pytest.mark.parametrize("text", ["99999999999999999999", str(2**63), f"-{2**64}", "²", "٣", "--5", "1_0", "9" * 5000])
def test_a_row_id_that_is_none_names_its_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text(f"3\n{text}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"ids\.txt: line 2: found .{1,100}, wanted a row id$"):
        labelled(tmp_path / "ids.txt", tmp_path)


def test_row_ids_beyond_63_bits_are_not_turned_around(tmp_path: Path) -> None:
    np.save(tmp_path / "ids.npy", np.array([3, 2**64 - 1], dtype=np.uint64))
    with pytest.raises(DataError, match=rf"found {2**64 - 1}, wanted row ids up to {2**63 - 1}$"):
        labelled(tmp_path / "ids.npy", tmp_path)


def test_row_ids_may_stand_behind_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_bytes(b"\xef\xbb\xbf" + "".join(f"{i}\n" for i in range(60)).encode())
    with pytest.raises(DataError, match=r"row \d+ is in the validation or test part$"):
        labelled(tmp_path / "ids.txt", tmp_path)


# ---- bytes that are no text

BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize("mark", [b"", BOM], ids=["plain", "BOM"])
@pytest.mark.parametrize("before", [b"", b"v", b"version: 1\nx", b"name: \xc3\xa9"])
def test_a_byte_of_a_spec_that_is_no_text_is_told_where_it_stands(before: bytes, mark: bytes, tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_bytes(mark + before + b"\xff: 1\n")
    with pytest.raises(SpecError) as told:
        sgc.load(path)
    text = before.decode()
    line, column = text.count("\n") + 1, len(text.rpartition("\n")[2]) + 1
    assert str(told.value).splitlines()[0] == f"{path}:{line}:{column}: not UTF-8 text: byte 0xff"


@pytest.mark.parametrize(
    ("before", "mark", "zipped"),
    [
        (b"", b"", False),
        (b"", BOM, False),
        (b"x\n1\n", BOM, True),
        (b"x\n" + "é\n".encode() * 400_000, BOM, False),  # more than is read at a time, with letters of two bytes
    ],
    ids=["first", "behind the mark", "zipped", "far"],
)
def test_a_byte_of_a_table_that_is_no_text_is_counted_from_the_start_of_the_file(
    before: bytes, mark: bytes, zipped: bool, tmp_path: Path
) -> None:
    path, content = tmp_path / "rows.csv", mark + before + b"\xff\n"
    path.write_bytes(gzip.compress(content, 1) if zipped else content)
    with pytest.raises(DataError) as told:
        read_table(path, ["x"])
    assert str(told.value) == (
        f"{path}: not a text file in UTF-8: invalid start byte at byte {len(mark) + len(before)}"
    )
