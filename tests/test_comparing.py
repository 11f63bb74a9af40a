"""`sgc compare`: what differs and what was reached, as specs and logs say it; means over seeds as numpy has them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from browser import DESK, PHONE, visit
from small_runs import NPZ, changed, small, small_arrays
from test_cli import call, refused

from sgc.run_report.comparison_page import comparison_page
from sgc.run_report.run_comparison import compare_runs
from sgc.trained.run_evaluation import evaluate_run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs of one spec, seeds apart, and one with another alpha and a node of another name."""
    folder = tmp_path_factory.mktemp("compared")
    np.savez(folder / "none.npz", **small_arrays(labels=60))  # type: ignore[arg-type]
    spec = small(data=NPZ, train__epochs=2)
    other = changed(spec, objective={"alpha": 5, "bound": "iwae", "samples": 2}, nodes__z__shape=[3])
    for name, plain, seed in (("one", spec, 0), ("two", spec, 1), ("other", other, 0)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(changed(plain, train__seed=seed, name=name)))
        assert call("train", folder / f"{name}.yaml", "-o", folder / name).status == 0
    return folder


def best_line(run: Path) -> dict[str, Any]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["best"]][-1]


def test_runs_that_differ_by_seeds_are_averaged(place: Path) -> None:
    comparison = compare_runs([place / "one", place / "other", place / "two"])
    seeds, alone = comparison.groups
    assert [run.name for run in seeds.runs] == ["one", "two"]
    bounds = [best_line(place / name)["validation_bound"] for name in ("one", "two")]
    assert seeds.known("validation bound") == bounds
    assert seeds.mean("validation bound") == pytest.approx(np.mean(bounds))
    assert seeds.deviation("validation bound") == pytest.approx(np.std(bounds, ddof=1))
    assert alone.mean("validation error of y") == best_line(place / "other")["validation_error"]["y"]
    assert np.isnan(alone.deviation("validation bound"))


def test_what_differs_is_listed_key_by_key(place: Path) -> None:
    comparison = compare_runs([place / "one", place / "other"])
    assert comparison.differences == {
        "nodes.z.shape": ("[2]", "[3]"),
        "objective.bound": ("elbo", "iwae"),
        "objective.samples": ("1", "2"),
        "objective.alpha": ("—", "5.0"),
    }
    assert comparison.notes == (
        "the validation bounds are not of one kind (elbo of 1, iwae of 2 samples): "
        "split='validation' measures ELBO and log p(x) of all",
    )
    assert compare_runs([place / "one", place / "two"]).differences == {}


def test_runs_of_other_rows_and_unfinished_ones_are_told(place: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "none.npz", **small_arrays(labels=60, seed=3))  # type: ignore[arg-type]
    shutil.copy(place / "one.yaml", tmp_path / "one.yaml")
    assert call("train", tmp_path / "one.yaml", "-o", tmp_path / "run").status == 0
    info = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps({**info, "finished": False}))
    notes = compare_runs([place / "one", tmp_path / "run"]).notes
    assert notes[0] == "run is unfinished: 2 of 2 epochs"
    assert notes[1:] == tuple(
        f"the {split} rows of run are not those of one: their numbers are of other rows"
        for split in ("test", "validation")
    )


def test_a_split_is_measured_as_evaluate_does(place: Path) -> None:
    comparison = compare_runs([place / "one", place / "two"], split="test", samples=3)
    evaluation = evaluate_run(place / "two", samples=3).evaluation
    assert evaluation.bounds is not None
    (group,) = comparison.groups
    values = group.runs[1].values
    assert values["test log p(x)"] == evaluation.bounds.log_evidence
    assert values["test error of y, posterior"] == evaluation.from_posterior["y"].value


@pytest.mark.parametrize(("width", "dark"), [(DESK, False), (PHONE, True)])
def test_the_page_opens_offline_and_is_accessible(
    chromium: Any, place: Path, tmp_path: Path, width: int, dark: bool
) -> None:
    comparison = compare_runs([place / "one", place / "two", place / "other"])
    path = tmp_path / "compare.html"
    path.write_text(comparison_page(comparison), encoding="utf-8")
    with visit(chromium, path, width=width, dark=dark) as visited:
        visited.page.wait_for_selector("[data-charts=drawn]", timeout=20_000)
        visited.assert_clean()
        visited.assert_accessible()
        assert visited.page.locator(".chart svg path.background").count() >= 3


def test_the_command_prints_a_table_and_json(place: Path, tmp_path: Path) -> None:
    page = tmp_path / "compare.html"
    said = call("compare", place / "one", place / "two", place / "other", "-o", page)
    lines = said.out.splitlines()
    assert said.status == 0
    assert lines[0].split() == ["differ", "in", "A", "B"]
    assert any(line.startswith("A  mean ± sd of 2 runs ") for line in lines)
    assert any(line.startswith("   one, seed 0 ") for line in lines)
    assert page.read_text().startswith("<!DOCTYPE html>")
    plain = call("compare", place / "one", place / "two", "--json").json
    assert [run["seed"] for run in plain["groups"][0]["runs"]] == [0, 1]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["one"], "one run has nothing to be compared with: give two or more"),
        (["one", "two", "./one"], "one: is compared with itself, as one"),
        (["one", "none"], "none: no such folder"),
        (["one", "two", "--samples", "4"], "--samples without --split: nothing is measured anew"),
        (["one", "two", "-o", "page.png"], "page.png: cannot write '.png': .html"),
    ],
)
def test_wrong_use_is_told(words: list[str], told: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    assert refused("compare", *words) == told
