"""Sweeps: which runs a file names, where its faults are, how runs end, go on, fail and are counted."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from sgc.cli.shell import app
from sgc.errors import SpecError, UsageError
from sgc.spec.loader import load
from sgc.sweeps.cells import cells_of, load_cells, settings_of
from sgc.sweeps.outcomes import Outcome, SweepFolder, digest
from sgc.sweeps.results_picture import chart_of, draw
from sgc.sweeps.results_table import table_of
from sgc.sweeps.search import check_measure
from sgc.sweeps.sweep_file import SweepFile, read_sweep
from sgc.sweeps.sweep_runs import Ended, Shard, ended, to_do

SPEC = str(Path(__file__).parent.parent / "specs" / "digits.yaml")
FEW = {"samples": 2}  # of an evaluation
TINY = {"train.epochs": 1, "nodes.x.generative.network": {"mlp": [8]}, "data.split.validation": 100}


def sweep_of(**sections: Any) -> SweepFile:
    return SweepFile.model_validate({"version": 1, **sections})


def written(folder: Path, **sections: Any) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump({"version": 1, **sections}), encoding="utf-8")
    return path


def test_a_grid_is_every_combination_once_for_each_seed() -> None:
    sweep = sweep_of(grid={"data.labels.y.count": [100, 600], "objective.alpha": [1, 10]}, seeds=3)
    names = [cell.name for cell in cells_of(sweep)]
    assert len(set(names)) == 12
    assert names[:3] == [f"count=100,alpha=1,seed={seed}" for seed in range(3)]
    assert names[3] == "count=100,alpha=10,seed=0"


def test_listed_cells_meet_the_grid() -> None:
    sweep = sweep_of(cells=[{"a.b": 1}, {"a.b": 2, "c": [1]}], grid={"d": [5, 6]})
    assert [dict(settings) for settings in settings_of(sweep)] == [
        {"a.b": 1, "d": 5},
        {"a.b": 1, "d": 6},
        {"a.b": 2, "c": [1], "d": 5},
        {"a.b": 2, "c": [1], "d": 6},
    ]


def test_names_of_folders_are_apart_whatever_the_values() -> None:
    values = [{"mlp": [8]}, {"mlp": [8, 8]}, "a/b", "a:b", "../x", "x" * 300, "x" * 301, "…", 1, 1.5, True, [1, 2]]
    names = [cell.name for cell in cells_of(sweep_of(grid={"nodes.x.network": values}, seeds=[0, 1]))]
    assert len({name.lower() for name in names}) == len(names) == 24
    assert all(len(name) < 200 and "/" not in name and name.strip(".") for name in names)


def test_faults_of_a_sweep_stand_at_their_place(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "version: 1\nset: {train.epochs: 1}\ngrid:\n  train.epochs: [1]\n  objective.alpha: [1, 1]\n"
        "  train.seed: [1]\nseeds: [0, 0]\nextra: 1\nevaluate: {splt: test}\n",
        encoding="utf-8",
    )
    with pytest.raises(SpecError) as caught:
        read_sweep(path)
    assert [(fault.line, fault.column, fault.message) for fault in caught.value.faults] == [
        (8, 1, "unknown key 'extra'"),
        (9, 12, "unknown key 'splt'"),
    ]
    path.write_text(path.read_text().replace("extra: 1\n", "").replace("splt", "split"), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        read_sweep(path)
    assert [(fault.line, fault.column, fault.message) for fault in caught.value.faults] == [
        (4, 3, "'train.epochs' is set by 'set' already"),
        (5, 24, "stands twice: its runs would be counted twice"),
        (6, 3, "'train.seed' is set by 'seeds' already"),
        (7, 8, "a seed stands twice: its run would be counted twice"),
    ]


def test_a_value_that_is_empty_leaves_its_key_out(tmp_path: Path) -> None:
    path = written(tmp_path, cells=[{"objective.alpha": 3}, {"objective.bound": "elbow", "objective.alpha": None}])
    sweep, document = read_sweep(path)
    left_out = cells_of(sweep)[1]
    assert "objective.alpha=" in left_out.overrides(sweep)
    with pytest.raises(SpecError) as caught:
        load_cells(SPEC, sweep, document, cells_of(sweep), trust=False)
    assert [fault.path for fault in caught.value.faults] == [("cells", 1, "objective.bound")]


@pytest.mark.parametrize("key", ["train.average", "train.average.decay", "train.stop.patience", "objective.alpha"])
def test_a_key_may_be_tried_beside_its_absence_whether_the_spec_writes_it_or_not(key: str, tmp_path: Path) -> None:
    value = {"train.stop.patience": 3, "objective.alpha": 2}.get(key, 0.9)
    wanted = load(SPEC, ["objective.alpha="] if key == "objective.alpha" else []).plain()
    for sections in ({"grid": {key: [None, value]}}, {"cells": [{key: value}, {key: None, "train.epochs": 150}]}):
        sweep, document = read_sweep(written(tmp_path, **sections))
        specs = load_cells(SPEC, sweep, document, cells_of(sweep), trust=False)
        absent = [spec.plain() for cell, spec in specs.items() if dict(cell.settings)[key] is None]
        assert [{**plain["train"], "seed": 0} for plain in absent] == [{**wanted["train"], "seed": 0}]
        assert [plain["objective"] for plain in absent] == [wanted["objective"]]
        present = [spec.plain() for cell, spec in specs.items() if dict(cell.settings)[key] is not None]
        assert all(plain != wanted for plain in present)


def test_what_is_taken_out_takes_the_mappings_that_were_made_for_it_alone() -> None:
    gone = load(SPEC, ["train.stop.patience=3", "train.stop.patience="])
    assert gone.train.stop is None
    written_empty = load(SPEC, ["train.average={decay: 0.9}", "train.average.decay="])
    assert written_empty.plain()["train"]["average"] == {"from": 0}


@pytest.mark.parametrize("path", sorted((Path(SPEC).parent / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_cell_of_a_shipped_sweep_is_a_spec(path: Path) -> None:
    [spec] = re.findall(r"sgc sweep specs/(\S+) specs/sweeps/" + path.name, path.read_text(encoding="utf-8"))
    sweep, document = read_sweep(path)
    one_seed = [cell for cell in cells_of(sweep) if cell.seed == sweep.seeds[0]]
    load_cells(str(Path(SPEC).parent / spec), sweep, document, one_seed, trust=False)
    assert sweep.name == path.stem


def test_settings_that_the_spec_refuses_are_told_before_the_first_run(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "version: 1\nset: {train.epoch: 1}\ngrid:\n  objective.bound: [elbo, elbow]\n  objective.alpha: [1, -1]\n",
        encoding="utf-8",
    )
    sweep, document = read_sweep(path)
    with pytest.raises(SpecError) as caught:
        load_cells(SPEC, sweep, document, cells_of(sweep), trust=False)
    told = [(fault.line, fault.column, fault.message) for fault in caught.value.faults]
    assert [place[:2] for place in told] == [(2, 20), (4, 27), (5, 24)]
    assert "epoch" in told[0][2]
    assert "elbow" in told[1][2]


def test_shards_share_all_runs() -> None:
    cells = cells_of(sweep_of(grid={"a": list(range(7))}, seeds=3))
    shards = [Shard.of(f"{i}/4").take(cells) for i in range(1, 5)]
    assert sorted(cell.name for shard in shards for cell in shard) == sorted(cell.name for cell in cells)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    for wrong in ("0/2", "3/2", "1", "a/b", "1/0", "-1/2"):
        with pytest.raises(UsageError, match="expected i/n"):
            Shard.of(wrong)


def fake(settings: dict[str, Any], seed: int, error: float, of: str = "", **more: Any) -> Outcome:
    evaluation = {"q": {"y": {"error": error, "rows": 10}}, "log_p": -error}
    return Outcome(of=of, settings=settings, seed=seed, state="done", evaluation=evaluation, seconds=60, **more)


def state_of(sweep: SweepFile, errors: list[float]) -> Ended:
    cells = cells_of(sweep)
    outcomes = {c: fake(dict(c.settings), c.seed, e) for c, e in zip(cells, errors, strict=False)}
    return Ended(outcomes, cells)


def test_a_table_has_means_and_deviations_over_seeds(tmp_path: Path) -> None:
    sweep = sweep_of(grid={"data.labels.y.count": [100, 600]}, seeds=3)
    table = table_of(sweep, state_of(sweep, [0.1, 0.2, 0.4, 0.5]))
    spread = table.rows[0].measures["q.y.error"]
    assert spread.mean == pytest.approx(statistics.fmean([0.1, 0.2, 0.4]))
    assert spread.sd == pytest.approx(statistics.stdev([0.1, 0.2, 0.4]))
    assert math.isnan(table.rows[1].measures["q.y.error"].sd)
    assert table.text() == (
        "count  error of y, q, %  log p(x), nats  training, min  runs\n"
        "100    23.33 ± 15.28     -0.23 ± 0.15    1.00 ± 0.00    3/3\n"
        "600    50.00             -0.50           1.00           1/3"
    )
    rows = list(csv.DictReader(table.csv().splitlines()))
    assert float(rows[0]["q.y.error.sd"]) == pytest.approx(spread.sd)
    assert rows[1]["q.y.error.sd"] == ""
    assert json.loads(table.json())["rows"][0]["measures"]["q.y.error"]["runs"] == 3
    assert r"100 & $23.33 \pm 15.28$ & $-0.23 \pm 0.15$ & $1.00 \pm 0.00$ \\" in table.latex()
    with pytest.raises(UsageError, match=r"a table ends in .csv, .json or .tex"):
        table.write(tmp_path / "t.txt")


def test_a_picture_shows_what_the_table_says(tmp_path: Path) -> None:
    published = {"M2": [{"at": 100, "mean": 11.97, "sd": 1.71}]}
    sweep = sweep_of(grid={"data.labels.y.count": [600, 100]}, seeds=2, published=published)
    table = table_of(sweep, state_of(sweep, [0.1, 0.3, 0.4, 0.6]))
    chart = chart_of(sweep, table)
    ours, theirs = chart.lines
    assert ours.at == (100, 600)
    assert ours.mean == pytest.approx((50, 20))
    assert ours.sd[0] == pytest.approx(100 * statistics.stdev([0.4, 0.6]))
    assert (theirs.title, theirs.at, theirs.mean) == ("M2", (100,), (11.97,))
    for ending, start in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        draw(chart, tmp_path / f"p{ending}")
        assert (tmp_path / f"p{ending}").read_bytes().startswith(start)
    with pytest.raises(UsageError, match="does not vary"):
        chart_of(sweep.model_copy(update={"picture": sweep.picture.model_copy(update={"x": "a"})}), table)


def test_what_came_of_another_spec_or_evaluation_does_not_count(tmp_path: Path) -> None:
    sweep = sweep_of(set=TINY, seeds=2)
    cells = cells_of(sweep)
    specs = {cell: load(SPEC, cell.overrides(sweep)) for cell in cells}
    folder = SweepFolder(tmp_path)
    for cell in cells:
        folder.keep(cell, fake({}, cell.seed, 0.1, digest(specs[cell], sweep)))
    assert not ended(folder, sweep, specs).missing
    other = sweep.model_copy(update={"evaluate": sweep.evaluate.model_copy(update={"samples": 3})})
    assert ended(folder, other, specs).missing == cells
    changed = {cell: load(SPEC, [*cell.overrides(sweep), "objective.alpha=2"]) for cell in cells}
    assert ended(folder, sweep, changed).missing == cells
    failed = fake({}, 0, 0.1, digest(specs[cells[0]], sweep)).model_copy(update={"state": "failed"})
    folder.keep(cells[0], failed)
    state = ended(folder, sweep, specs)
    assert to_do(state, retry=False, force=False) == []
    assert to_do(state, retry=True, force=False) == cells[:1]
    assert to_do(state, retry=False, force=True) == cells
    folder.outcome_path(cells[1]).write_text("{}", encoding="utf-8")
    with pytest.raises(UsageError, match="is not what came of a run"):
        ended(folder, sweep, specs)


def test_a_search_looks_at_validation_rows_alone() -> None:
    check_measure("validation_error.y", load(SPEC))
    for wrong in ("error", "q.y.error", "validation_error.z", "log_p"):
        with pytest.raises(UsageError, match="test rows choose nothing"):
            check_measure(wrong, load(SPEC))


def sweep_command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "sgc", "sweep", SPEC, *map(str, words)]


def test_runs_end_in_a_table_and_failures_are_told_apart(tmp_path: Path) -> None:
    broken = {"train.optimizer.lr": [0.001, 1e30]}
    file = written(tmp_path, set={**TINY, "train.epochs": 2}, grid=broken, evaluate=FEW)
    folder = tmp_path / "out"
    command = sweep_command(file, "-o", folder, "--jobs", "2", "--table", tmp_path / "t.csv")
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 1, made.stderr
    assert "1/1" in made.stdout
    assert "0/1, 1 failed" in made.stdout
    assert "failed: lr=1.0e+30,seed=0: training: " in made.stderr
    assert len(list((folder / "runs").iterdir())) == 2
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert [(row["done"], row["failed"]) for row in rows] == [("1", "0"), ("0", "1")]
    again = CliRunner().invoke(app, ["sweep", SPEC, str(file), "-o", str(folder)])
    assert again.exit_code == 1
    assert "[1/2]" not in again.stderr  # nothing is made twice
    listed = CliRunner().invoke(app, ["sweep", SPEC, str(file), "-o", str(folder), "--dry-run"])
    assert listed.stdout == "lr=0.001,seed=0: done\nlr=1.0e+30,seed=0: failed\n"


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="asks processes by signals")
def test_a_sweep_that_is_killed_leaves_no_process_and_goes_on(tmp_path: Path) -> None:
    file = written(tmp_path, set={**TINY, "train.epochs": 100}, evaluate=FEW)
    folder = tmp_path / "out"
    sweep = subprocess.Popen(sweep_command(file, "-o", folder), stderr=subprocess.DEVNULL)
    metrics = folder / "runs" / "seed=0" / "metrics.jsonl"
    for _ in range(600):
        if metrics.exists() and metrics.read_text().count("\n") > 2:
            break
        time.sleep(0.1)
    os.kill(sweep.pid, signal.SIGKILL)
    sweep.wait()
    for _ in range(200):  # the run notices that it is alone, and stops with a checkpoint
        if not locked(metrics.with_name("train.lock")):
            break
        time.sleep(0.1)
    assert not locked(metrics.with_name("train.lock"))
    reached = metrics.read_text().count("\n")
    assert 2 < reached < 100
    assert not SweepFolder(folder).outcome_path(cells_of(sweep_of())[0]).exists()
    log = (folder / "logs" / "seed=0.log").read_text()
    assert "interrupted" in log.lower() or "stopped" in log.lower()
    again = CliRunner().invoke(app, ["sweep", SPEC, str(file), "-o", str(folder)])
    assert again.exit_code == 0, again.stderr
    assert [json.loads(line)["epoch"] for line in metrics.read_text().splitlines()] == list(range(1, 101))


def locked(path: Path) -> bool:
    fcntl = pytest.importorskip("fcntl")
    if not path.exists():
        return False
    with path.open("rb+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        return False


def test_a_search_ends_with_its_best_and_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    space = {"objective.alpha": {"low": 1, "high": 100, "log": True}}
    search = {"trials": 2, "space": space, "measure": "validation_error.y"}
    file = written(tmp_path, set=TINY, search=search, evaluate=FEW)
    folder = tmp_path / "out"
    made = CliRunner().invoke(app, ["sweep", SPEC, str(file), "-o", str(folder)])
    assert made.exit_code == 0, made.stderr
    assert "best of 2 trials: objective.alpha=" in made.stderr
    again = CliRunner().invoke(app, ["sweep", SPEC, str(file), "-o", str(folder)])
    assert again.stdout == made.stdout
    assert len(list((folder / "runs").iterdir())) == 2


def test_runs_are_handed_over(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    file = written(tmp_path, set=TINY, evaluate=FEW)
    folder = tmp_path / "out"
    made = CliRunner().invoke(app, ["sweep", SPEC, str(file), "-o", str(folder), "--submit", "local"])
    assert made.exit_code == 0, made.stderr
    outcome = SweepFolder(folder).outcome_path(cells_of(sweep_of())[0])
    for _ in range(600):
        if outcome.exists():
            break
        time.sleep(0.1)
    assert json.loads(outcome.read_text())["state"] == "done"
    wrong = CliRunner().invoke(
        app, ["sweep", SPEC, str(file), "-o", str(tmp_path / "b"), "--submit", "local", "--job", "tmeout=1"]
    )
    assert wrong.exit_code == 2
    assert "--submit local: " in wrong.stderr
