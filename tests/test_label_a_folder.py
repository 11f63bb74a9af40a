"""The walk-through from a folder of pictures to labels one may trust: its commands run as they are written."""

from __future__ import annotations

import csv
import re
import runpy
from pathlib import Path

import pytest
from test_cli import call

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "label_a_folder"
SHORT = ("--set", "train.epochs=6", "--set", "evaluate.samples=5", "--set", "train.optimizer.lr=0.005")


def table(path: Path) -> dict[str, str]:
    with path.open(newline="") as file:
        return {row["path"]: row["label"] for row in csv.DictReader(file)}


def without_numbers(line: str) -> str:
    """Leave the words of a line, however wide its numbers are."""
    return " ".join(re.sub(r"\d[\d.]*", " # ", line).split())


def test_the_walk_through_runs_as_it_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    commands = [line for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL) for line in block.splitlines()]
    outputs: dict[str, str] = {}
    for command in commands:
        program, *words = command.replace("demo/folder", str(tmp_path)).split()
        if program == "python":
            script = EXAMPLE.parent.parent / words[0]
            assert script.parent == EXAMPLE
            runpy.run_path(str(script))["main"](Path(words[1]))
            outputs[script.name] = capsys.readouterr().out
        else:
            assert program == "sgc"
            done = call(*words, *(SHORT if words[0] == "train" else ()))
            assert done.status == 0, (command, done)
            outputs[words[0]] = done.out
    assert list(outputs) == ["make_pictures.py", "check", "train", "evaluate", "predict", "sort_out.py"]
    rows = re.search(r"rows: (\d+) train, (\d+) validation, 300 test, (\d+) labelled y", outputs["check"])
    assert rows is not None
    assert rows[0] in text
    assert re.search(r"calibration of y, weighted posterior +ECE [\d.]+ % \(15 bins\)", outputs["evaluate"])

    shown = {without_numbers(line) for line in text.splitlines()}
    for line in [*outputs["sort_out.py"].splitlines(), *outputs["evaluate"].splitlines()[1:10]]:
        assert without_numbers(line) in shown

    labels = table(tmp_path / "labels.csv")
    assert (len(labels), sum(label != "" for label in labels.values())) == (1197, 100)
    said, answers = (
        {**table(tmp_path / "accepted.csv"), **table(tmp_path / "look_at.csv")},
        table(tmp_path / "answers.csv"),
    )
    assert said.keys() == answers.keys()  # each of the new pictures is in one of the two
    right = sum(said[path] == answers[path] for path in said)
    assert right > 200  # of 300: even a short run knows most, so that predictions and pictures are not mixed up
    found = [int(n) for n in re.findall(r"of the \d+ [a-z ]+, (\d+) are right", outputs["sort_out.py"])]
    assert sum(found) == right
    (last,) = re.findall(r"above 0.0 +300 = 100% .* ([\d.]+)%", outputs["sort_out.py"])
    error = re.search(r"error of y, weighted posterior +([\d.]+) ", outputs["evaluate"])
    assert error is not None
    assert float(last) == pytest.approx(100 - float(error[1]), abs=3)  # other draws of few samples
