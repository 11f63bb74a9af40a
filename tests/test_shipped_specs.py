"""Shipped specs: `sgc init NAME` copies one with its parts and says what it needs; the wheel brings them all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sgc.errors import in_shell
from sgc.spec.loader import load
from sgc.starter import shipped_specs as shipped
from sgc.starter.shipped_specs import ShippedSpec, shipped_specs

ROOT = Path(__file__).resolve().parent.parent
SPECS = shipped_specs()


def call(place: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    where = {"PYTHONPATH": str(ROOT), "SGC_DATA": "", "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-m", "sgc", *words]
    return subprocess.run(command, cwd=place, env={**os.environ, **where}, capture_output=True, text=True, check=False)


def test_every_spec_of_the_repository_is_shipped() -> None:
    assert {each.file for each in SPECS.values()} == {*(ROOT / "specs").glob("*.yaml")}
    assert [name for name, each in SPECS.items() if not each.description] == []


def test_a_copy_in_an_empty_folder_is_the_shipped_spec_and_trains(tmp_path: Path) -> None:
    done = call(tmp_path, "init", "digits")
    assert (done.returncode, done.stdout) == (0, "digits.yaml\n")
    assert (tmp_path / "digits.yaml").read_bytes() == (ROOT / "specs" / "digits.yaml").read_bytes()
    assert done.stderr.splitlines() == [
        f"note: digits.yaml is the shipped spec 'digits': {SPECS['digits'].description}",
        "note: digits.yaml needs scikit-learn's digits, which pip install 'sgc[digits]' brings",
        "note: next, 'sgc inspect digits.yaml' shows the objective that is derived, 'sgc train digits.yaml' trains",
    ]
    assert call(tmp_path, "train", "digits.yaml", "--set", "train.epochs=1").returncode == 0
    again = call(tmp_path, "init", "digits")
    assert (again.returncode, again.stderr) == (2, "error: digits.yaml: exists already; --force overwrites it\n")


def test_a_spec_brings_the_parts_that_are_not_there(tmp_path: Path) -> None:
    done = call(tmp_path, "init", "multi-mnist")
    assert done.stdout.split() == ["mnist-m2.yaml", "multi-mnist.yaml"]
    run = "needs a run in runs/mnist-m2, which its part starts from: sgc train mnist-m2.yaml"
    assert f"note: multi-mnist.yaml {run}" in done.stderr
    assert load(tmp_path / "multi-mnist.yaml").name == "multi-mnist"
    (tmp_path / "mnist-m2.yaml").write_text("mine")
    (tmp_path / "runs" / "mnist-m2").mkdir(parents=True)
    again = call(tmp_path, "init", "multi-mnist", "--force")
    assert again.stdout.split() == ["multi-mnist.yaml"]
    assert "note: mnist-m2.yaml, a part of it, is there already and stays as it is" in again.stderr
    assert "which its part starts from" not in again.stderr
    assert (tmp_path / "mnist-m2.yaml").read_text() == "mine"


def test_what_a_spec_needs_is_said(tmp_path: Path) -> None:
    where = "looked for under $SGC_DATA, then beside the spec"
    assert SPECS["hmm"].needs(tmp_path) == [f"needs recordings.npz, {where}"]
    fetch = "--set data.source=svhn --set data.root= --set data.files= fetches them"
    with in_shell():
        told = SPECS["svhn"].needs(tmp_path)
    assert told == [f"needs svhn/train_32x32.mat, svhn/test_32x32.mat, {where}; or {fetch}"]
    settings = [word for word in fetch.split() if "=" in word]
    assert load(SPECS["svhn"].file, overrides=settings).data
    (tmp_path / "recordings.npz").touch()
    assert SPECS["hmm"].needs(tmp_path)[0].endswith(f"; found {tmp_path / 'recordings.npz'}")
    assert SPECS["sdgm"].needs(tmp_path)[0].startswith("needs data of yours")
    assert all(line.startswith("needs ") for each in SPECS.values() for line in each.needs(tmp_path))


def test_a_name_that_is_not_shipped_starts_from_a_commented_spec(tmp_path: Path) -> None:
    done = call(tmp_path, "init", "Digits")
    assert (done.returncode, done.stdout) == (0, "Digits.yaml\n")
    text = "Digits.yaml is a commented one, of digits, to change"
    assert done.stderr == f"note: no shipped spec is named 'Digits' (did you mean 'digits'?): {text}\n"
    done = call(tmp_path, "init", "first")
    assert "('sgc list specs' lists them)" in done.stderr
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n2,3\n3,5\n")
    done = call(tmp_path, "init", "digits", "--data", "rows.csv")
    assert (done.returncode, done.stderr) == (0, "")
    assert "rows.csv" in (tmp_path / "digits.yaml").read_text()


def test_a_spec_that_is_not_there_is_told_with_the_one_that_was_meant(tmp_path: Path) -> None:
    for word, told in (
        ("mnist-m2.yaml", " ('sgc init mnist-m2' writes the shipped one)"),
        ("sub/digits.yaml", " ('sgc init sub/digits' writes the shipped one)"),
        ("mine.yaml", ""),
    ):
        done = call(tmp_path, "check", word)
        assert (done.returncode, done.stderr) == (2, f"{word}: no such file{told}\n")
    (tmp_path / "digits.yaml").write_bytes((ROOT / "specs" / "digits.yaml").read_bytes())
    for word in ("digits", "digts.yaml", "digits.yml"):
        done = call(tmp_path, "inspect", word)
        assert (done.returncode, done.stderr) == (2, f"{word}: no such file (did you mean 'digits.yaml'?)\n")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    tmp_path.chmod(0o500)
    done = call(tmp_path, "init", "digits")
    tmp_path.chmod(0o700)
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, "error: digits.yaml: Permission denied")


def test_an_installed_package_without_specs_lists_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "PLACES", (tmp_path / "nowhere", tmp_path))
    assert shipped_specs() == {}
    (tmp_path / "mine.yaml").write_text("version: 1\n")
    assert shipped_specs() == {"mine": ShippedSpec("mine", tmp_path / "mine.yaml")}
