"""Examples that write files: in a folder that holds nothing, and without what they need, they say so in words."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("recordings.py -o no/r.npz", "no/r.npz: the folder no does not exist"),
        ("svhn_stand_in.py", "required: folder"),
        ("svhn_stand_in.py out", "SGC_DATA, the folder of data sets, is not set"),
        ("label_a_folder/make_pictures.py", "usage: make_pictures.py FOLDER"),
        ("label_a_folder/sort_out.py", "usage: sort_out.py FOLDER [ACCURACY]"),
        ("label_a_folder/sort_out.py .", "test_said.csv"),
    ],
)
def test_an_example_that_cannot_run_says_why(
    words: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run(words, tmp_path, monkeypatch)
    said = f"{done.code}{capsys.readouterr().err}"
    assert done.code != 0
    assert told in said


def test_recordings_stand_beside_the_spec_if_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("recordings.py --count 3", tmp_path, monkeypatch)
    assert (tmp_path / "recordings.npz").exists()
    (tmp_path / "specs").mkdir()
    run("recordings.py --count 3", tmp_path, monkeypatch)
    assert (tmp_path / "specs" / "recordings.npz").exists()


def run(words: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> SystemExit:
    """Run an example in a folder, as a program; give how it ends."""
    script, *flags = words.split()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("SGC_DATA", raising=False)
    monkeypatch.setattr(sys, "argv", [script, *flags])
    try:
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    except SystemExit as end:
        return end
    return SystemExit(0)
