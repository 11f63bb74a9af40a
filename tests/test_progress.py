"""What a training says while it runs, where nobody has a terminal: lines, not many, and what a user should know."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from small_runs import changed, in_child, shell, small, small_arrays

import sgc
from sgc.evaluation import measurement
from sgc.report.row_progress import RowLines
from sgc.report.terminal import TrainingLines


def spec_on_file(folder: Path, **changes: Any) -> Path:
    """Write a small spec and its data, of which no row has the last of four categories."""
    arrays = small_arrays()
    np.savez(folder / "rows.npz", **arrays)
    section = {"source": "npz", "file": "rows.npz", "columns": {name: {"column": name} for name in arrays}}
    spec = small(data={**section, "split": {"validation": 10}}, nodes__y__categories=4)
    (folder / "spec.yaml").write_text(yaml.safe_dump(changed(spec, **changes), sort_keys=False))
    return folder / "spec.yaml"


def test_lines_come_on_standard_error_and_the_result_on_standard_output(tmp_path: Path) -> None:
    path = spec_on_file(tmp_path)
    status = in_child(lambda: shell(["train", str(path), "-o", str(tmp_path / "run")]), tmp_path / "told")
    lines = (tmp_path / "told").read_text().splitlines()
    assert status == 0
    assert lines[0] == "note: labels of 'y': no training row is labelled 3, which is a category of it"
    assert [line.split("  ")[0] for line in lines[1:]] == ["small: epoch 1/3", "small: epoch 3/3"]
    metrics = sgc.train(path, output=tmp_path / "run", resume=True).lines
    for line, of in zip(lines[1:], (metrics[0], metrics[-1]), strict=True):
        words = line.split("  ")
        assert words[1] == f"bound unlabelled {of['bound']['unlabelled']:.2f}, labelled {of['bound']['labelled']:.2f}"
        assert words[2:4] == [
            f"validation {of['validation_bound']:.2f}",
            f"error of y {of['validation_error']['y']:.4g}",
        ]
    assert lines[1].endswith(" left")
    assert not lines[2].endswith(" left")


def test_check_says_it_before(tmp_path: Path) -> None:
    path = spec_on_file(tmp_path)
    status = in_child(lambda: shell(["check", str(path), "--data"]), tmp_path / "told")
    assert status == 0
    assert (tmp_path / "told").read_text().splitlines()[-1] == (
        "note: labels of 'y': no training row is labelled 3, which is a category of it"
    )


def test_python_is_warned_of_what_a_user_should_know(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="no training row is labelled 3, which is a category of it") as told:
        sgc.train(small(nodes__y__categories=4, train__epochs=1), data=small_arrays(), output=tmp_path / "run")
    assert told[0].filename == __file__


def test_lines_are_no_more_than_one_in_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    lines = TrainingLines("m", clock=lambda: now[0])
    lines.begin(100, 6, 0)
    for epoch in range(1, 101):
        for step in range(1, 7):
            now[0] += 0.5
            lines.step(epoch, step, 6, -3.0)
        lines.epoch({"epoch": epoch, "bound": {"unlabelled": -2.0}, "warnings": ["w"] if epoch == 50 else []})
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "m: epoch 1/100  bound unlabelled -2.00  5 min left"
    assert said[1] == "m: epoch 5/100  step 2/6  bound -3.00  5 min left"
    assert said[-1] == "m: epoch 100/100  bound unlabelled -2.00"
    assert said.count("warning: w") == 1
    assert 25 <= len(said) <= 35  # 300 seconds


def test_rows_are_told_no_more_than_once_in_ten_seconds_and_not_when_all_are_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = [0.0]
    lines = RowLines("evaluating", clock=lambda: now[0])
    for done in range(100, 1001, 100):
        now[0] += 4.0
        lines.show(done, 1000)
    assert capsys.readouterr().err.splitlines() == [
        "evaluating: 300 of 1000 rows  28 s left",
        "evaluating: 600 of 1000 rows  16 s left",
        "evaluating: 900 of 1000 rows  4 s left",
    ]


def test_a_long_evaluation_tells_a_pipe_how_many_rows_are_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = spec_on_file(tmp_path)
    sgc.train(path, output=tmp_path / "run")
    monkeypatch.setattr(RowLines.__init__, "__defaults__", (0.0, time.monotonic))
    monkeypatch.setattr(measurement, "chunk_rows", lambda *words: 4)
    words = ["evaluate", str(tmp_path / "run"), "--split", "validation"]
    assert in_child(lambda: shell(words), tmp_path / "told") == 0
    told = [line for line in (tmp_path / "told").read_text().splitlines() if "evaluating" in line]
    assert [line.split("  ")[0] for line in told] == ["evaluating: 4 of 10 rows", "evaluating: 8 of 10 rows"]
