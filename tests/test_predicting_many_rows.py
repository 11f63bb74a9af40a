"""Predictions of many rows: the same values whatever chunks, processes and interruptions there are."""

from __future__ import annotations

import csv
import errno
import gzip
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from data_files import opened, section
from test_cli import call
from test_predicting import COLUMNS, animals, place, predicted, write_table

from sgc.data.new_rows import NewRows, RowFile
from sgc.data.variables import Variable
from sgc.distributions.supports import SUPPORTS
from sgc.errors import DataError, Interrupted, RunError, UsageError
from sgc.report.row_progress import RowRate
from sgc.runtime.inference import FEW
from sgc.trained.prediction_formats import JsonFormat
from sgc.trained.prediction_sums import LEFT_OUT, REASONS, PredictionSums
from sgc.trained.prediction_work import Silence, Sizes
from sgc.trained.predictions import predict_run

__all__ = ["place"]  # a fixture

SMALL = Sizes(block=7, chunk=7)
WHOLE = Sizes(block=7, chunk=70)


class Stops(Silence):
    """Interrupts a prediction when so many rows are done, and keeps its notes."""

    def __init__(self, rows: int, problem: BaseException | None = None) -> None:
        self.rows, self.problem = rows, problem or KeyboardInterrupt()
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def predicted(self, done: int, total: int) -> None:
        assert total == 40
        if done >= self.rows:
            raise self.problem


def parquet_of(table: Path) -> Path:
    """Write the numbers of a table of animals as parquet, in groups of 9 rows."""
    numbers = np.loadtxt(table, delimiter=",", skiprows=1, usecols=range(3))
    path = table.with_suffix(".parquet")
    pyarrow.parquet.write_table(pyarrow.table(dict(zip(COLUMNS, numbers.T, strict=True))), path, row_group_size=9)
    return path


# ---- the same values


def test_chunks_processes_and_formats_change_no_value(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against one chunk; blocks of 7 rows. Two processes are the only ones that any test starts for this."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "multiprocessing.py").write_text("raise SystemExit('a file of the working folder was run')")
    data, run = place / "new.csv", place / "run"
    whole, found = tmp_path / "whole.csv", tmp_path / "found.csv"
    predict_run(run, data, whole, given=["y"], sizes=WHOLE)
    for how in ({"sizes": SMALL}, {"sizes": Sizes(7, 14)}, {"sizes": SMALL, "jobs": 2}):
        summary = predict_run(run, data, found, given=["y"], **how)  # type: ignore[arg-type]
        assert found.read_bytes() == whole.read_bytes()
        assert summary["given"] == {"y": 40}
        assert summary["ignored"] == {"w": 40}
    for ending in (".csv.gz", ".parquet", ".npz"):
        files = [tmp_path / f"{name}{ending}" for name in ("whole", "found")]
        for file, sizes in zip(files, (WHOLE, SMALL), strict=True):
            predict_run(run, parquet_of(place / "bare.csv"), file, from_="q", sizes=sizes)
        if ending == ".csv.gz":
            assert len({gzip.decompress(file.read_bytes()) for file in files}) == 1
        else:
            assert files[0].read_bytes() == files[1].read_bytes()
    table = pyarrow.parquet.read_table(tmp_path / "found.parquet")
    with gzip.open(tmp_path / "found.csv.gz", "rt") as file:
        lines = list(csv.reader(file))
    assert table.column_names == lines[0]
    np.testing.assert_allclose(table["z[1]"], np.load(tmp_path / "found.npz")["z"][:, 1])
    assert {str(table.schema.field(name).type) for name in ("row", "y", "z[0]")} == {"int64", "string", "double"}
    assert not list(tmp_path.glob("*.part*"))


def test_a_block_of_its_own_is_what_a_file_of_its_rows_gives(place: Path, tmp_path: Path) -> None:
    """The first block draws as it always did, so that small files have the answers that they had."""
    predict_run(place / "run", place / "bare.csv", tmp_path / "all.csv", sizes=SMALL)
    x, _, _ = animals(40, 1)
    predict_run(place / "run", write_table(tmp_path / "few.csv", x[:7]), tmp_path / "first.csv")
    lines = (tmp_path / "all.csv").read_text().splitlines()
    assert (tmp_path / "first.csv").read_text().splitlines() == lines[:8]


TEXT = "{source: table, file: rows, columns: {x: {column: grey, transforms: [{binarize: static}]}, y: {column: label}}}"


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_rows_of_a_chunk_are_those_of_the_whole(ending: str, tmp_path: Path) -> None:
    """Values, their draws by row, labels with holes, ids and names of rows in what is wrong."""
    draw = np.random.default_rng(0)
    wide = ending == ".parquet"
    grey = draw.random((20, 3) if wide else 20)
    labels = [None if row % 3 == 0 or row < 6 else ("ant", "bee")[row % 2] for row in range(20)]
    lists: Any = grey.tolist()
    path = tmp_path / f"rows{ending}"

    def write() -> None:
        if wide:
            table = pyarrow.table({"grey": lists, "label": labels, "code": np.arange(20)})
            pyarrow.parquet.write_table(table, path, row_group_size=6)
        else:
            rows = [
                f"{code},{cell},{label or ''}" for code, (cell, label) in enumerate(zip(lists, labels, strict=True))
            ]
            path.write_text("\n".join(["code,grey,label", *rows]) + "\n")

    write()
    x = Variable("x", (3,) if wide else (), support=SUPPORTS["boolean"])
    y = Variable("y", (), 2, ("ant", "bee"), supervision="partial")
    text = TEXT.replace("file: rows", f"file: {path.name}")
    encoders = opened(text, x, y, beside=tmp_path).encoders
    file = RowFile.of(section(text), {"x": x, "y": y}, encoders, path, id_column="code")
    whole = file.read()
    for skip in (0, 8, 20):
        chunks = [file.encode(columns) for columns in file.chunks(4, skip)] if skip < 20 else []
        assert [len(chunk) for chunk in chunks] == [4] * ((20 - skip) // 4)
        for name in ("x", "y") if chunks else ():
            values = np.concatenate([chunk.rows.values[name] for chunk in chunks])  # type: ignore[arg-type]
            np.testing.assert_array_equal(values, whole.rows.values[name][skip:])  # type: ignore[index]
        assert [row for chunk in chunks for row in chunk.rows.rows] == [*range(skip, 20)]
        assert _ids(chunks) == [*range(skip, 20)]
    lists[13] = [0.5, 2.0, 0.5] if wide else 2.0
    write()
    with pytest.raises(DataError) as caught:
        list(map(file.encode, file.chunks(4)))
    assert caught.value.row == 13
    assert ("(line 15 of the file)" in str(caught.value)) is not wide
    if wide:
        lists[13] = [0.5]
        write()
        with pytest.raises(DataError, match="row 13: column 'grey': found a list of 1, wanted 3") as caught:
            list(file.chunks(4))


def _ids(chunks: list[NewRows]) -> list[int]:
    return [int(value) for chunk in chunks if chunk.ids is not None for value in chunk.ids.values]


# ---- stopped, and gone on with


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_what_is_stopped_goes_on_and_ends_the_same(
    ending: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, data, output = place / "run", place / "new.csv", tmp_path / f"p{ending}"
    part, record = tmp_path / f"p{ending}.part", tmp_path / f"p{ending}.part.json"
    predict_run(run, data, tmp_path / f"whole{ending}", from_="q", sizes=SMALL)

    def predict(**how: Any) -> Any:
        return predict_run(run, data, output, **{"sizes": SMALL, "from_": "q", **how})

    with pytest.raises(KeyboardInterrupt):  # before anything is written
        predict(watcher=Stops(3))
    assert not list(tmp_path.glob("p.*"))
    with pytest.raises(Interrupted) as stopped:
        predict(watcher=Stops(15))
    kept = f"the first 14 of 40 rows are kept in {part}: the same command goes on from there"
    assert str(stopped.value) == f"stopped; {kept}"
    assert not output.exists()
    other = f"{part}: is what another prediction left when it was stopped"
    for how, words in (({"samples": 3}, "samples: 20, now 3"), ({"from_": "posterior"}, "from: q, now posterior")):
        with pytest.raises(UsageError, match=re.escape(f"{other} ({words}): repeat that one to go on with it, or ")):
            predict(**how)
    with part.open("ab") as file:
        file.write(b"a line that was cut")  # by a kill, after the record
    put = os.write

    def full(file: int, content: bytes) -> int:
        if os.readlink(f"/proc/self/fd/{file}") == str(part) and os.fstat(file).st_size > kept_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return put(file, content)

    kept_bytes = json.loads(record.read_text())["size"]
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(RunError) as refused_by_disk:
            predict()
    kept = kept.replace("14", "21")
    assert str(refused_by_disk.value) == f"{part}: No space left on device; {kept}"
    went_on = Stops(50)
    summary = predict(watcher=went_on)
    assert went_on.notes == [f"{part} holds 21 of 40 rows: goes on from there"]
    assert output.read_bytes() == (tmp_path / f"whole{ending}").read_bytes()
    assert (summary["rows"], summary["ignored"]) == (40, {"y": 40, "w": 40})
    assert not list(tmp_path.glob("*.part*"))
    part.write_text("mine")
    with pytest.raises(UsageError) as refused_place:
        predict()
    assert str(refused_place.value) == f"{part}: is in the way, and not what an interrupted prediction left: move it"
    assert part.read_text() == "mine"


def test_data_that_change_meanwhile_are_told(place: Path, tmp_path: Path) -> None:
    x, _, _ = animals(40, 1)
    data = write_table(tmp_path / "d.csv", x)

    class Changes(Silence):
        def predicted(self, done: int, total: int) -> None:
            if done == 21:
                write_table(data, x[:30])

    with pytest.raises(DataError, match="changed while its rows were predicted: predict them again"):
        predict_run(place / "run", data, tmp_path / "p.csv", sizes=SMALL, watcher=Changes())
    assert not (tmp_path / "p.csv").exists()


# ---- what is wrong


def _bad_cell(text: str) -> bytes:
    lines = text.splitlines(keepends=True)
    return "".join([*lines[:34], "1,oops,3\n", *lines[35:]]).encode()


BROKEN: list[tuple[str, Callable[[str], bytes], str]] = [
    ("d.csv", _bad_cell, "row 33: node 'x', column 'g1': found 'oops', wanted a number.*line 35 of the file"),
    ("d.csv", lambda text: (text + "1,2\n").encode(), "row 40: found 2 cells, wanted 3"),
    ("d.csv.gz", lambda text: gzip.compress(text.encode())[:-40], "the gzip file is cut short or damaged"),
]


@pytest.mark.parametrize(("name", "broken", "words"), BROKEN)
def test_a_fault_far_below_is_told_before_anything_is_predicted(
    name: str, broken: Callable[[str], bytes], words: str, place: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(broken((place / "bare.csv").read_text()))
    watcher = Stops(0)
    with pytest.raises(DataError, match=words):
        predict_run(place / "run", tmp_path / name, tmp_path / "p.csv", sizes=SMALL, watcher=watcher)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_rows_are_left_out_by_name_in_any_chunk(place: Path, tmp_path: Path) -> None:
    x, _, _ = animals(40, 1)
    x[[8, 9, 30]] = 1e25
    data = write_table(tmp_path / "big.csv", x, barcode=[f"cell-{i}" for i in range(40)])
    summary = predict_run(place / "run", data, tmp_path / "p.csv", id_column="barcode", sizes=SMALL)
    assert (summary["rows"], list(summary["left_out"])) == (37, ["8", "9", "30"])
    words = "3 of 40 rows have no finite scores and are left out: rows 8 ('cell-8'), 9 ('cell-9') and 30 ('cell-30'): "
    assert words in summary["failed"]
    data = write_table(tmp_path / "big.csv", np.full((15, 3), 1e25))
    with pytest.raises(RunError, match=r"no row has finite scores, so nothing is written: rows 0, .* and 3 others: "):
        predict_run(place / "run", data, tmp_path / "none.csv", sizes=SMALL)
    assert not list(tmp_path.glob("none*"))


def test_what_is_made_as_a_whole_is_refused_where_it_is_too_large(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as told:
        JsonFormat().check_size(tmp_path / "p.json", 10_000_000, 14)
    assert str(told.value) == (
        f"{tmp_path / 'p.json'}: 10,000,000 rows of 14 numbers are too many for '.json', which is made in memory as a "
        "whole (up to 16,777,216 numbers): wanted .csv, .csv.gz or .parquet"
    )
    JsonFormat().check_size(tmp_path / "p.json", 1_000_000, 14)


def test_few_rows_are_the_same_with_any_jobs(place: Path, tmp_path: Path) -> None:
    found = {}
    for jobs in ([], ["--jobs", 1], ["--jobs", 2]):  # few rows need no process of their own
        told = predicted(place, place / "bare.csv", tmp_path / "p.csv", *jobs)
        assert told["rows_per_second"] > 0
        found[str(jobs)] = (tmp_path / "p.csv").read_bytes()
    assert len(set(found.values())) == 1
    assert call("predict", place / "run", place / "bare.csv", "-o", tmp_path / "p.csv", "--jobs", 0).status == 2


# ---- sums and words


def test_sums_of_parts_are_those_of_the_whole() -> None:
    """The median is that of torch to a thousandth; of ten thousand rows a thousand are named, of each reason twelve."""
    draw = torch.Generator().manual_seed(0)
    effective = torch.rand(10_000, generator=draw) * 100 + 1
    effective[::50] = torch.inf
    effective[1::50] = torch.nan
    total, whole = PredictionSums(), PredictionSums()
    whole.add_effective(effective)
    for number, part in enumerate(effective.split(700)):
        sums = PredictionSums(rows=len(part), answered=len(part) - 300)
        sums.add_effective(part)
        for row in range(300):
            sums.leave_out(700 * number + row, f"reason {row % 2 if row else number + 2}", "x", named=True)
        total.add(sums)
    known = effective[effective.isfinite()]
    assert total.median == whole.median == pytest.approx(float(known.median()), rel=1e-3)
    assert total.few == int((known < FEW).sum())
    assert (total.rows, total.broken) == (10_000, 4500)
    assert len(total.left_out) == LEFT_OUT
    assert sum(reason.count for reason in total.reasons.values()) == 4500
    text = total.reasons_words()
    assert text.startswith("row 0 ('x'): reason 2; rows 1 ('x'), 3 ('x')")
    assert "23 ('x') and 2238 others: reason 1" in text
    assert PredictionSums(effective=whole.effective).median == whole.median
    many = PredictionSums()
    for row in range(1000):
        many.leave_out(row, f"reason {row}")
    assert len(many.reasons) == REASONS + 1
    again = PredictionSums()
    again.add(many)
    assert again.reasons == many.reasons


def test_progress_tells_rows_a_second_and_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    rate = RowRate(clock=lambda: now[0])
    for checked in (10_000, 20_000, 30_000):
        now[0] += 6
        rate.checked(checked)
    rate.predicted(5000, 30_000)
    for done in range(10_000, 30_001, 5000):
        now[0] += 10
        rate.predicted(done, 30_000)
    rate.ended(50.0)
    rate.ended(1.0)
    assert capsys.readouterr().err.splitlines() == [
        "checking: 20,000 rows  1,667 rows/s",
        "predicting: 10,000 of 30,000 rows  500 rows/s  40 s left",
        "predicting: 15,000 of 30,000 rows  500 rows/s  30 s left",
        "predicting: 20,000 of 30,000 rows  500 rows/s  20 s left",
        "predicting: 25,000 of 30,000 rows  500 rows/s  10 s left",
        "predicted 25,000 rows in 50 s, 500 rows/s",
    ]
