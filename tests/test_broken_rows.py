"""An evaluation leaves out rows whose scores are not finite, tells them, and is otherwise that of the other rows."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import NPZ, Raw, changed, small, small_arrays

import sgc
from sgc import RunError, cli
from sgc.data.dataset import Rows
from sgc.data.label_fields import Split
from sgc.data.split import divide_rows
from sgc.evaluation.measurement import Evaluation, evaluate
from sgc.runs.run_folder import RunFolder
from sgc.runtime.streams import TensorRows
from sgc.training.trainer import train

READS = {"parents": ["x"], "network": {"mlp": [4]}}
BOTH = {"parents": ["x", "y"], "network": {"mlp": [4]}}
MODELS: dict[str, Raw] = {
    "exact": small(nodes__z=None, nodes__x__generative__parents=["y"]),
    "pathwise": small(),
    "drawn categories": small(nodes__y__recognition={**READS, "estimator": "score_function"}, objective__samples=2),
    "counts": small(nodes__z={"distribution": "Poisson", "supervision": "none", "recognition": BOTH}),
    "classifier": small(objective__bound="supervised"),
    "iwae": small(objective={"bound": "iwae", "samples": 3}),
}


def measured(spec: Raw, x: np.ndarray, y: np.ndarray, samples: int = 3) -> Evaluation:
    torch.manual_seed(0)
    model = sgc.compile(sgc.load(spec)).eval()
    if spec.get("train", {}).get("precision") == "64-true":
        model = model.double()
    rows = Rows({"x": x, "y": y}, 100 + np.arange(len(x)))
    model.validate_args = False
    return evaluate(model, TensorRows(rows, model.outline, model.like), samples, 0)


@pytest.mark.parametrize(
    ("precision", "value"),
    [("32-true", 1e25), ("32-true", -3e38), ("32-true", np.nan), ("64-true", 1e200), ("64-true", -1e308)],
)
@pytest.mark.parametrize("name", MODELS)
def test_others_are_measured_and_broken_rows_told(name: str, precision: str, value: float) -> None:
    spec = changed(MODELS[name], train__precision=precision)
    arrays = small_arrays(rows=30, labels=30)
    x = arrays["x"].astype(np.float64)
    x[[4, 17, 29], 1] = value
    found = measured(spec, x, arrays["y"])
    if name == "classifier" and np.isfinite(value):  # whose probabilities are then 0 and 1
        assert not found.broken
        return
    assert list(found.broken) == [104, 117, 129]
    assert all(reason.startswith(("node '", "q(y | x): ")) for reason in found.broken.values())
    assert found.rows == 27
    assert found.from_q["y"].rows == 27
    numbers = json.dumps(found.plain())
    assert "NaN" not in numbers
    assert "Infinity" not in numbers
    if name == "exact":  # nothing is drawn
        kept = ~np.isin(np.arange(30), [4, 17, 29])
        rest = measured(spec, x[kept], arrays["y"][kept])
        assert not rest.broken
        made = found.plain()
        for key in ("elbo", "log_p", "elbo_standard_error", "log_p_standard_error"):
            assert made[key] == pytest.approx(rest.plain()[key], rel=1e-5 if precision == "32-true" else 1e-12)
        assert made["q"]["y"]["error"] == rest.plain()["q"]["y"]["error"]


def test_rows_that_only_their_labels_break_are_told() -> None:
    # without its label a row is as any other; with it, x is 1e25 off, whose square is beyond what float32 can hold
    label = {"distribution": "Normal", "supervision": "partial", "recognition": READS}
    spec = changed(MODELS["exact"], nodes__y=label, train__precision="32-true")
    x = small_arrays(rows=30)["x"]
    y = np.zeros(30)
    y[[3, 8]] = 1e25
    found = measured(spec, x, y)
    assert dict(found.broken) == dict.fromkeys([103, 108], "with its labels, node 'x': log p is not finite")
    assert found.rows == found.from_q["y"].rows == 30
    assert np.isfinite(found.plain()["terms"]["labelled"]["y"]["generative"])


def test_no_finite_row_at_all_is_a_failure() -> None:
    told = "^no row has finite scores: rows 100, 101 and 102: node 'x': log p is not finite"
    with pytest.raises(RunError, match=told):
        measured(MODELS["exact"], np.full((3, 3), 1e25), np.zeros(3, dtype=int))


def command(*words: object) -> tuple[int, str, str]:
    out, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        try:
            cli.app([str(word) for word in words])
        except SystemExit as end:
            return int(end.code or 0), out.getvalue(), said.getvalue()
    return 0, out.getvalue(), said.getvalue()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose test rows 32 and 50 are out of all bounds."""
    folder = tmp_path_factory.mktemp("broken")
    arrays = small_arrays(rows=120, labels=120)
    test = divide_rows(120, Split(validation=12, test=12), None).test
    assert {32, 50} <= set(test.tolist())
    arrays["x"][[32, 50], 0] = [1e25, -1e30]
    np.savez(folder / "rows.npz", **arrays)
    spec = small(data=changed(NPZ, file="rows.npz"), train__epochs=1, train__precision="32-true")
    train(spec, output=folder / "run", beside=folder)
    return folder / "run"


def test_the_command_says_which_rows_and_fails(run: Path) -> None:
    told = "error: left out, without finite scores: rows 32 and 50: node 'x': log p is not finite\n"
    status, out, said = command("evaluate", run)
    assert (status, said) == (1, told)
    assert out.startswith(f"{run} (best), 10 of 12 test rows, trained with 20 labels of y\n")
    assert "nan" not in out
    assert "inf" not in out
    status, out, said = command("evaluate", run, "--json")
    assert (status, said) == (1, told)
    found: dict[str, Any] = json.loads(out)
    assert found["rows"] == 10
    assert found["broken"] == dict.fromkeys(("32", "50"), "node 'x': log p is not finite")


def test_python_is_warned(run: Path) -> None:
    with pytest.warns(UserWarning, match="^left out, without finite scores: rows 32 and 50: node 'x': log p is not"):
        assert sgc.evaluate(run).evaluation.rows == 10


# ---- samples

WIDE = {"distribution": "Normal", "supervision": "none", "generative": {"parameters": {"loc": 0, "scale": 1.5e38}}}
SOURCES: dict[str, Raw] = {  # twice z is beyond what float32 can hold in every fourth row
    family: {
        "version": 1,
        "name": "wide",
        "nodes": {
            "z": {**WIDE, "recognition": {"parents": ["x"], "network": {"mlp": []}}},
            "x": {
                "distribution": family,
                "supervision": "full",
                "generative": {"parents": ["z"], "network": {"mlp": []}},
                **({"categories": 3} if family == "Categorical" else {}),
            },
        },
        "train": {"epochs": 1},
    }
    for family in ("Normal", "Categorical", "Poisson", "Bernoulli")
}


@pytest.mark.parametrize("family", SOURCES)
def test_rows_that_cannot_be_drawn_are_told_and_break_no_other(family: str) -> None:
    torch.manual_seed(0)
    model = sgc.compile(sgc.load(SOURCES[family])).eval()
    model.validate_args = False
    with torch.no_grad():
        for parameter in model.generative.parameters():
            parameter.fill_(2)
    with pytest.warns(UserWarning, match="^not finite: row"):
        drawn = model.generate(100, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(1)
    found = model.generation(100)
    assert 0 < len(found.broken) < 100
    for row in range(100):
        values = [found.values[name][row] for name in ("x", "z")]
        missing = any(bool(each.isnan() if each.is_floating_point() else each == -1) for each in values)
        assert missing == (row in found.broken)
    assert all(reason.startswith(("node 'z': ", "node 'x': ", "p(x | z): ")) for reason in found.broken.values())
    assert drawn["x"].shape == (100,)


def test_where_no_row_can_be_drawn_it_fails() -> None:
    model = sgc.compile(sgc.load(SOURCES["Normal"])).eval()
    model.validate_args = False
    with torch.no_grad():
        for parameter in model.generative.parameters():
            parameter.fill_(20)
    told = r"^no sample is finite: rows 0, 1 and 2: p\(x \| z\): 'loc' is inf, wanted a number$"
    with pytest.raises(RunError, match=told):
        model.generate(3, {"z": 3e38})
    with pytest.raises(ValueError, match="'z' is held at 2 values, wanted 3"):  # is no fault of a row
        model.generate(3, {"z": [1.0, 2.0]})


def test_the_command_writes_the_other_samples_and_fails(tmp_path: Path) -> None:
    arrays = {"x": np.random.default_rng(0).normal(size=40)}
    train(changed(SOURCES["Normal"], nodes__z__generative__parameters__scale=1.25), arrays, output=tmp_path / "run")
    written = tmp_path / "run" / "spec.yaml"
    written.write_text(written.read_text().replace("scale: 1.25", "scale: 1.5e+38"))
    model = sgc.open(tmp_path / "run")
    with torch.no_grad():
        for parameter in model.generative.parameters():
            parameter.fill_(2)
    RunFolder(tmp_path / "run").write_weights("best", model, {"epoch": 1.0, "gamma": 1.0, "rate": 1.0})
    status, _, said = command("sample", tmp_path / "run", "-o", tmp_path / "s.npz", "--count", 60)
    with np.load(tmp_path / "s.npz") as found:
        lost = np.flatnonzero(np.isnan(found["z"]))
        assert 0 < len(lost) < 60
        assert np.isnan(found["x"][lost]).all()
    assert status == 1
    assert said.startswith("error: samples that are not finite: rows ")
    assert all(f" {row}" in said for row in lost[:5])


@pytest.mark.parametrize("way", [[], ["--analogies", "y"], ["--traverse", "z"]])
@pytest.mark.parametrize("whole", [False, True], ids=["some", "all"])
def test_held_out_rows_of_which_nothing_finite_is_said_are_not_shown(
    whole: bool, way: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    arrays = {"x": np.random.default_rng(0).normal(size=(60, 1, 4, 4)), "y": np.arange(60) % 3}
    test = divide_rows(60, Split(validation=12, test=10), None).test
    arrays["x"][test if whole else test[:6]] = 3e38
    np.savez(tmp_path / "rows.npz", **arrays)
    spec = small(nodes__x__shape=[1, 4, 4], data=changed(NPZ, file="rows.npz", split__test=10), train__epochs=1)
    train(changed(spec, train__precision="32-true"), output=tmp_path / "run", beside=tmp_path)
    status, out, said = command("sample", tmp_path / "run", "-o", tmp_path / "a.png", *way, "--json")
    if way == ["--traverse", "z"] and not whole:  # one row is chosen, which may be any
        assert status in (0, 1)
        return
    assert status == 1
    (line,) = said.splitlines()
    if whole and way:
        assert line.startswith("error: no chosen row of the test split can be shown: row")
        return
    assert (tmp_path / "a.png").exists()
    assert line == f"error: {json.loads(out)['failures'][0]}"
    if whole:
        assert line.startswith("error: no reconstructions: no chosen row of the test split can be shown: rows ")
    else:
        assert line.startswith("error: left out of the test rows: rows ")
        assert set(json.loads(out)["held_out"]["rows"]) == set(test[6:].tolist())
