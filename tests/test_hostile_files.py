"""Files that never end, or claim more than they hold: refused by name, before they are opened, read or allocated."""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_runs import small

from sgc.data import raw_files, tables
from sgc.data.file_search import find_file
from sgc.data.idx import read_idx
from sgc.data.labels import read_ids
from sgc.data.numpy_files import read_npz
from sgc.data.pictures import Wanted, read_pictures
from sgc.errors import DataError, SpecError, UsageError
from sgc.runs.run_folder import RunFolder
from sgc.runs.run_lock import NAME, locked
from sgc.runtime.model import Model
from sgc.runtime.weight_files import fit_weights
from sgc.spec.loader import load
from sgc.spec.resolver import outline
from sgc.starter.starting_spec import starting_spec


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe: whoever opens it to read waits for a writer, for ever."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("there are no named pipes here")
    path = tmp_path / "rows.png"
    os.mkfifo(path)
    return path


def test_a_named_pipe_is_refused_before_it_is_opened(pipe: Path) -> None:
    told = f"{pipe}: is a named pipe, wanted a regular file"
    with pytest.raises(DataError) as caught:
        find_file([pipe.name], "", pipe.parent)
    assert str(caught.value) == told
    for call in (lambda: starting_spec("m", pipe), lambda: read_pictures(pipe.parent, ["image"], Wanted(False))):
        with pytest.raises(DataError, match=r"rows\.png: is a named pipe, wanted a regular file"):
            call()


def test_a_pipe_or_device_is_no_spec_and_no_part_of_one(pipe: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load(str(pipe))
    assert str(caught.value) == f"{pipe}: is a named pipe, expected a YAML file"
    host = {"version": 1, "name": "m", "use": {"part": {"spec": str(pipe)}}, "nodes": {}}
    with pytest.raises(SpecError, match=r"'.*rows\.png': is a named pipe, expected a YAML file"):
        load(host)
    with pytest.raises(SpecError, match="/dev/zero: is a device, expected a YAML file"):
        load("/dev/zero")


def header(rows: int) -> bytes:
    """Write the header of a .npy file of so many rows of three numbers."""
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({rows}, 3), }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_is_told_what_it_claims(packing: int, tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    with zipfile.ZipFile(path, "w", packing) as file:
        file.writestr("x.npy", header(10**12) + b"\0" * 48)
    with pytest.raises(DataError) as caught:
        starting_spec("m", path)
    started = str(caught.value)
    with pytest.raises(DataError) as caught:
        read_npz(path, ["x"])
    assert str(caught.value) == started
    claim = "the header says 1000000000000 x 3 of float64, 24,000,000,000,000 bytes; found 48"
    assert str(caught.value) == f"{path}: column 'x': {claim}: cut short or damaged"


def listed(path: Path, members: dict[str, bytes], claims: dict[str, int], packing: int = zipfile.ZIP_STORED) -> None:
    """Write an archive whose list, too, says of members how many bytes they have."""
    with zipfile.ZipFile(path, "w", packing, allowZip64=True) as file:
        for name, content in members.items():
            file.writestr(name, content)
        for name, size in claims.items():
            file.getinfo(name).file_size = size


NOTHING = "the header says 1000000000000 x 0 of float64, which holds no values"
CLAIM = "the header says 1000000000000 x 3 of float64, 24,000,000,000,000 bytes; found 48: cut short or damaged"


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("version", [1, 3])
def test_an_archive_whose_list_claims_what_its_headers_claim_is_not_believed(
    packing: int, version: int, tmp_path: Path
) -> None:
    path = tmp_path / "rows.npz"
    head = header(10**12)
    if version == 3:
        head = b"\x93NUMPY\x03\x00" + struct.pack("<I", len(head) - 10) + head[10:]
    listed(path, {"x.npy": head + b"\0" * 48}, {"x.npy": len(head) + 24 * 10**12}, packing)
    told = (
        CLAIM
        if version == 1
        else "found an array of numpy's format 3.0, wanted 1.0 or 2.0, which numbers and text have"
    )
    for read in (lambda: read_npz(path, ["x"]), lambda: starting_spec("m", path)):
        with pytest.raises(DataError) as caught:
            read()
        assert str(caught.value) == f"{path}: column 'x': {told}"


def test_rows_that_hold_nothing_are_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    listed(path, {"x.npy": header(10**12).replace(b", 3)", b", 0)")}, {})
    with pytest.raises(DataError) as caught:
        read_npz(path, ["x"])
    assert str(caught.value) == f"{path}: column 'x': {NOTHING}"


def test_of_two_members_of_a_name_the_array_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    listed(path, {"x.npy": header(2) + np.arange(6.0).tobytes(), "x": b"words"}, {})
    assert read_npz(path, ["x"])["x"].values.tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("seed", range(40))
def test_an_archive_with_changed_bytes_is_read_or_refused_by_name(packing: int, seed: int, tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    with zipfile.ZipFile(path, "w", packing) as file:
        file.writestr("x.npy", header(20) + np.arange(60.0).tobytes())
    content, generator = bytearray(path.read_bytes()), np.random.default_rng(seed)
    for place in generator.integers(0, len(content), 3):
        content[place] = generator.integers(256)
    path.write_bytes(content)
    told = ""
    try:
        assert len(read_npz(path, ["x"])["x"].values) == 20
    except DataError as problem:
        told = str(problem)
    assert not told or told.startswith(f"{path}: ")


def test_a_list_of_row_ids_is_held_to_its_bytes(tmp_path: Path) -> None:
    path, rows = tmp_path / "ids.npy", np.arange(4)
    np.save(tmp_path / "objects.npy", np.array([1, None]), allow_pickle=True)
    np.savez(tmp_path / "archive", rows=rows)
    short = "the header says {} x 3 of float64, {:,} bytes; found 32: cut short or damaged"
    strange = (
        "its header cannot be read: the magic string is not correct; expected b'\\x93NUMPY', got b'PK\\x03\\x04-\\x00'"
    )
    for content, told in {
        header(10**12) + rows.tobytes(): short.format(10**12, 24 * 10**12),
        header(10**30) + rows.tobytes(): short.format(10**30, 24 * 10**30),
        (tmp_path / "objects.npy").read_bytes(): (
            "found Python objects, which are never loaded, since loading one can run code"
        ),
        (tmp_path / "archive.npz").read_bytes(): strange,
        b"": "its header cannot be read: EOF: reading magic string, expected 8 bytes got 0",
    }.items():
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            read_ids(path)
        assert str(caught.value) == f"{path}: not a .npy array of integers: {told}"
    np.save(path, rows)
    assert read_ids(path).tolist() == [0, 1, 2, 3]


def test_a_single_array_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    path.write_bytes(header(10**12))
    with pytest.raises(DataError) as caught:
        read_npz(path, ["x"])
    assert str(caught.value) == f"{path}: found a single array (.npy), wanted an npz archive of named arrays"


def test_an_idx_file_is_told_what_it_claims(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_bytes(bytes([0, 0, 8, 3]) + struct.pack(">3I", 10**9, 1000, 1) + b"\0" * 48)
    with pytest.raises(DataError) as caught:
        read_idx(path)
    assert str(caught.value) == (
        f"{path}: wrong length: the header says 1000000000 × 1000 × 1, 1000000000000 bytes of data; found only 48"
    )


def test_a_line_that_would_fill_the_memory_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.csv.gz"
    with gzip.open(path, "wb") as file:
        file.write(b"x\n" + b"7" * 3_000_000)
    read: list[int] = []

    class Counting(io.TextIOWrapper):
        def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
            line = super().readline(size)
            read.append(len(line))
            return line

    monkeypatch.setattr(io, "TextIOWrapper", Counting)
    monkeypatch.setattr(raw_files, "LONGEST", 1 << 16)
    for door in (lambda: tables.read_table(path, ["x"]), lambda: starting_spec("m", path)):
        read.clear()
        with pytest.raises(DataError) as caught:
            door()
        assert str(caught.value) == f"{path}: a line of 65,536 letters or more, which is not read: not a csv file"
        assert sorted({*read}) == [2, 1 << 16]  # no more of it was held
    rows = tmp_path / "good.csv"
    np.savetxt(rows, np.arange(6).reshape(3, 2), delimiter=",", header="a,b", comments="", fmt="%d")
    assert tables.read_table(rows, ["b"])["b"].values.tolist() == ["1", "3", "5"]


@pytest.mark.parametrize("name", ["run.json", "columns.json", "labels.npz", "rows.npz", "metrics.jsonl", "training.pt"])
def test_a_pipe_among_the_files_of_a_run_is_refused_before_it_is_opened(name: str, pipe: Path) -> None:
    folder = RunFolder(pipe.parent / "run")
    folder.path.mkdir()
    pipe.rename(folder.path / name)
    (folder.path / "run.json").touch()
    doors: dict[str, Callable[[], object]] = {
        "run.json": folder.record,
        "columns.json": folder.encoders,
        "labels.npz": folder.labelled_rows,
        "rows.npz": folder.fingerprint,
        "metrics.jsonl": folder.metrics,
        "training.pt": folder.state,
    }
    with pytest.raises(UsageError) as caught:
        doors[name]()
    assert str(caught.value) == f"{folder.path / name}: is a named pipe, wanted a file of a run"


def test_a_pipe_in_the_place_of_weights_is_refused_before_it_is_opened(pipe: Path) -> None:
    with pytest.raises(UsageError) as caught:
        fit_weights(Model(outline(load(small()))), pipe)
    assert str(caught.value) == f"{pipe}: is a named pipe, wanted a file of a run"


def test_a_pipe_in_the_place_of_a_lock_is_refused_before_it_is_opened(pipe: Path) -> None:
    lock = pipe.rename(pipe.parent / NAME)
    with pytest.raises(UsageError) as caught, locked(pipe.parent):
        raise AssertionError("it was taken")
    assert str(caught.value) == f"{lock}: is a named pipe, wanted a file of a run"
    assert lock.is_fifo()


def test_links_that_lead_to_themselves_are_no_files(tmp_path: Path) -> None:
    loop = tmp_path / "loop.yaml"
    loop.symlink_to(loop)
    host = {"version": 1, "name": "m", "use": {"part": {"spec": str(loop)}}, "nodes": {}}
    for spec in (str(loop), host):
        with pytest.raises(SpecError, match="Too many levels of symbolic links"):
            load(spec)
    with pytest.raises(UsageError, match="no such file, wanted"):
        starting_spec("m", loop)
