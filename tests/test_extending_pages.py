"""The pages docs/adding-a-….md: what they tell to write is run, from outside and in a copy of the package.

The first line of a block says what it is: `python mine.py` and `yaml spec.yaml` are files of a user's folder, `text
COMMAND` what a command prints there among other lines; `python sgc/…` is a new file of the package, `diff sgc/…` lines
that it gets in place of others, and `sh package` the commands that then run.
"""

from __future__ import annotations

import importlib
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_cli import call

import sgc
from sgc.runtime.model import Model

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs").glob("adding-a*.md"))
BLOCK = re.compile(r"^```(\w+) (\S+)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One block of a page: its language, the file or command that it is of, and its lines."""

    language: str
    about: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in BLOCK.findall(page.read_text(encoding="utf-8"))]


def written(page: Path, folder: Path) -> Path:
    """Write the files of a user's folder, and give its spec."""
    for block in blocks(page):
        if block.language in ("python", "yaml") and "/" not in block.about:
            (folder / block.about).write_text(block.text, encoding="utf-8")
    return folder / "spec.yaml"


@pytest.fixture(autouse=True)
def _as_users_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """No module of another page is there, and distributions check no arguments, which takes twice as long."""
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    monkeypatch.setattr(Model, "validate_args", False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_example_of_a_page_is_checked_shown_proved_trained_and_evaluated(page: Path, tmp_path: Path) -> None:
    spec, run = written(page, tmp_path), tmp_path / "run"
    refused = call("check", spec)
    assert refused.status == 2
    assert "own code: it would import 'mine:" in refused.told
    printed = {}
    for command in (
        ["check", spec],
        ["inspect", spec],
        ["prove", spec],
        ["train", spec, "-o", run, "--set", "train.epochs=2"],
        ["evaluate", run],
    ):
        done = call(*command, "--trust")
        assert done.status == 0, done.told
        printed[str(command[0])] = done.out
    assert "proved" in printed["prove"]
    for block in blocks(page):
        if block.language == "text":
            lines = {line.strip() for line in printed[block.about].splitlines()}
            assert [line for line in block.text.splitlines() if line.strip() not in lines] == []


def changed(root: Path, block: Block) -> None:
    """Put the added lines of a diff in place of the removed ones, or behind the first one that stays."""
    path = root / block.about
    marked = [(line[:1], line[1:]) for line in block.text.splitlines()]
    before = "\n".join(line for mark, line in marked if mark in " -")
    after = "\n".join(line for mark, line in marked if mark in " +")
    text = path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{block.about} has these lines {text.count(before)} times:\n{before}"
    path.write_text(text.replace(before, after), encoding="utf-8")


PACKAGED = [page for page in PAGES if any(block.about == "package" for block in blocks(page))]


@pytest.mark.parametrize("page", PACKAGED, ids=lambda page: page.stem)
def test_the_package_takes_one_more_by_the_files_that_a_page_names(page: Path, tmp_path: Path) -> None:
    """In a copy of the package: the one file, the line in the table, and the commands of the page."""
    shutil.copytree(ROOT / "sgc", tmp_path / "sgc")
    written(page, tmp_path)
    files, edits = [], []
    for block in blocks(page):
        if block.language == "python" and block.about.startswith("sgc/"):
            assert not (tmp_path / block.about).exists()
            (tmp_path / block.about).write_text(block.text, encoding="utf-8")
            files.append(block.about)
        elif block.language == "diff":
            changed(tmp_path, block)
            edits.append(block.about)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    (commands,) = (block.text for block in blocks(page) if block.about == "package")
    for command in commands.splitlines():
        program, *words = shlex.split(command)
        if program == "cp":
            shutil.copy(*(tmp_path / word for word in words))
            files.append(words[-1])
            continue
        words = ["-m", "sgc", *words] if program == "sgc" else words
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert len(files) == len({*edits}) == 1


def test_the_rings_of_the_package_are_those_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ROOT / "docs" / "adding-a-source.md"
    written(page, tmp_path)
    mine: dict[str, Any] = {}  # Any: modules
    exec((tmp_path / "mine.py").read_text(), mine)
    (text,) = (block.text for block in blocks(page) if block.about == "sgc/data/sources/rings.py")
    (tmp_path / "rings.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "rings", raising=False)
    theirs = importlib.import_module("rings")
    read = theirs.Rings(source="rings", columns={}).read(tmp_path, ["point", "ring"]).train
    for name, values in mine["Rings"]().read(["point", "ring"]).items():
        np.testing.assert_array_equal(read[name].values, values)


def test_the_hyperbolic_secant_of_the_page_is_a_density_of_its_mean_and_variance(tmp_path: Path) -> None:
    """By the trapezoidal rule, which is exact to rounding for what falls off exponentially and is smooth."""
    spec = sgc.load(written(ROOT / "docs" / "adding-a-distribution.md", tmp_path), trust=True)
    family = sgc.compile(spec).outline.variables["z"].family.members()
    loc, scale = torch.tensor(0.7, dtype=torch.float64), torch.tensor(1.3, dtype=torch.float64)
    value = torch.linspace(-40, 40, 8001, dtype=torch.float64)
    density = family(loc=loc, scale=scale).log_prob(value).exp()
    moments = [float((density * (value - 0.7) ** k).sum() * 0.01) for k in range(3)]
    assert moments == pytest.approx([1, 0, 1.3**2], abs=1e-10)
    torch.manual_seed(0)
    draws = family(loc=loc.expand(20_000), scale=scale.expand(20_000)).rsample()
    assert abs(float(draws.mean()) - 0.7) < 5 * 1.3 / math.sqrt(20_000)  # a false alarm in 10⁶


def test_the_two_best_of_the_page_are_those_of_numpy(tmp_path: Path) -> None:
    spec = sgc.load(written(ROOT / "docs" / "adding-a-metric.md", tmp_path), trust=True)
    model = sgc.compile(spec)
    from sgc.metrics import Pairs
    from sgc.spec.measured_nodes import measured, metric_of

    draw = np.random.default_rng(0)
    said, label = draw.dirichlet(np.ones(10), 50), draw.integers(0, 10, 50)
    pairs = Pairs(measured(model.outline, "y"), torch.from_numpy(said).unsqueeze(1), torch.from_numpy(label[:, None]))
    missed = [each not in np.argsort(row)[-2:] for row, each in zip(said, label, strict=True)]
    assert metric_of(model.outline, "y").of_rows(pairs).tolist() == missed


def test_what_a_page_shows_of_a_table_is_held_to_it(tmp_path: Path) -> None:
    (tmp_path / "table.py").write_text("A = (\n    1,\n)\n")
    changed(tmp_path, Block("diff", "table.py", " A = (\n     1,\n+    2,\n )\n"))
    assert (tmp_path / "table.py").read_text() == "A = (\n    1,\n    2,\n)\n"
    with pytest.raises(AssertionError, match="0 times"):
        changed(tmp_path, Block("diff", "table.py", "-    3,\n+    4,\n"))
