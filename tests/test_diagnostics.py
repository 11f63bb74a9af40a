"""What a run tells of itself: terms add up, weights and variances are what their formulas say, and nothing is moved."""

from __future__ import annotations

import io
import json
import math
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.progress import Progress
from small_runs import NPZ, At, finished_files, rich, small, small_arrays, write_rich, z_then_y
from torch import Tensor

import sgc
from sgc.errors import Interrupted
from sgc.evaluation import mean_terms
from sgc.evaluation.collapse import Alarms, active_units, collapsed
from sgc.evaluation.mean_terms import TermMeans, effective_samples
from sgc.report.terminal import TrainingProgress
from sgc.runs.run_folder import RunFolder
from sgc.runtime.data_variables import open_data
from sgc.runtime.model import Model
from sgc.spec.resolver import outline
from sgc.training import epoch_totals, gradient_variance
from sgc.training.gradient_variance import owners, probe
from sgc.training.trainer import Trainer, train
from sgc.training.watchers import Silent

Raw = dict[str, Any]  # Any: a spec as plain data


def trainer(spec: Raw, arrays: Any = None, beside: Path | None = None) -> Trainer:  # Any: arrays by node
    """Make a run in progress, in memory."""
    made = outline(sgc.load(spec))
    return Trainer(made, open_data(made, beside or Path(), arrays), RunFolder(Path()), Silent(), debug=False)


def total(found: dict[str, dict[str, float]]) -> float:
    return sum(value for roles in found.values() for value in roles.values())


# ---- terms


@pytest.mark.parametrize(
    "objective", [{}, {"alpha": 3, "samples": 2}, {"samples": 3, "label_term": "log_mean"}, {"weights": "none"}]
)
@pytest.mark.parametrize("make", [z_then_y, lambda **changes: small(data=NPZ, train__precision="64-true", **changes)])
def test_the_terms_of_all_steps_add_up_to_the_bound_of_every_epoch(
    make: Any, objective: Raw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epoch_totals, "STRIDE", 1)
    arrays = small_arrays(labels=60)
    run = train(sgc.load(make(objective=objective)), arrays, output=tmp_path / "run")
    for line in run.lines:
        assert set(line["terms"]) == {"unlabelled", "labelled"}
        for kind, found in line["terms"].items():
            assert total(found) == pytest.approx(line["bound"][kind], abs=1e-9)
            assert set(found["x"]) == {"generative"}


def test_rows_of_every_pattern_are_averaged_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch_totals, "STRIDE", 1)
    write_rich(tmp_path)
    run = train(sgc.load(rich(train__precision="64-true")), output=tmp_path / "run", beside=tmp_path)
    for line in run.lines:
        assert set(line["effective_samples"]) == {"none", "y", "w", "y,w"}
        for kind, found in line["terms"].items():
            assert total(found) == pytest.approx(line["bound"][kind], abs=1e-9)


def test_the_terms_are_those_of_every_eighth_step(tmp_path: Path) -> None:
    arrays = small_arrays(rows=200, labels=0)  # 14 steps an epoch
    whole = train(sgc.load(z_then_y(data=None)), arrays, output=tmp_path / "run").lines
    bounds: list[float] = []
    run = trainer(z_then_y(data=None), arrays)
    run.folder = RunFolder(tmp_path / "again")
    run.folder.path.mkdir()
    run.folder.write_info({})
    run.watcher = Bounds(bounds)
    run.train()
    for i, line in enumerate(whole):
        assert line["step"] == 14 * (i + 1)
        mean = (bounds[14 * i] + bounds[14 * i + 8]) / 2
        assert total(line["terms"]["unlabelled"]) == pytest.approx(mean, abs=1e-9)


class Bounds(Silent):
    """A watcher that keeps the bound of every step."""

    def __init__(self, kept: list[float]) -> None:
        self.kept = kept

    def step(self, epoch: int, step: int, steps: int, bound: float) -> None:
        """Keep the bound."""
        self.kept.append(bound)


def test_of_many_patterns_the_rarest_stand_together() -> None:
    made = TermMeans()
    made.rows = {f"n{i}" if i else "": 100 - i for i in range(20)}
    made.effective = {name: rows * (1.0 + i) for i, (name, rows) in enumerate(made.rows.items())}
    found = made.effective_samples()
    assert list(found) == ["none", *(f"n{i}" for i in range(1, 16)), "others"]
    assert found["n7"] == pytest.approx(8)
    assert found["others"] == pytest.approx((84 * 17 + 83 * 18 + 82 * 19 + 81 * 20) / (84 + 83 + 82 + 81))


# ---- effective samples


@pytest.mark.usefixtures("double_precision", "seeded_draws")
def test_effective_samples_are_what_the_formula_says() -> None:
    model = sgc.compile(sgc.load(z_then_y(objective={"samples": 6})))
    x, y = torch.randn(7, 3), torch.arange(7) % 3
    out = model.objective({"x": x, "y": y})
    (sums,) = [each for _, each in out._parts]
    z = sums.group.values["z"].reshape(6, 7, 2)
    w = torch.stack([model.log_prob("y", "recognition", {"x": x, "z": each, "y": y}).exp() for each in z])
    by_hand = w.sum(0) ** 2 / (w**2).sum(0)
    assert torch.allclose(effective_samples(sums), by_hand, atol=1e-9)
    assert torch.allclose(out.ess, by_hand, atol=1e-9)
    bare = model.objective({"x": x})
    assert torch.equal(effective_samples(bare._parts[0][1]), torch.full((7,), 6.0))


@pytest.mark.usefixtures("double_precision", "seeded_draws")
def test_effective_samples_sum_out_what_is_enumerated() -> None:
    model = sgc.compile(sgc.load(small(objective={"bound": "iwae", "samples": 5})))
    x = torch.randn(4, 3)
    (sums,) = [each for _, each in model.objective({"x": x})._parts]
    z = sums.group.values["z"]  # [3, 5, 4, 2], one draw for each y
    w = torch.zeros(5, 4)
    for k in range(3):
        y = torch.full((4,), k)
        for s in range(5):
            values = {"x": x, "y": y, "z": z[k, s]}
            log = sum(model.log_prob(name, "generative", values) for name in ("x", "y", "z"))
            w[s] += (log - model.log_prob("z", "recognition", values)).exp()
    found = effective_samples(sums)
    assert torch.allclose(found, w.sum(0) ** 2 / (w**2).sum(0), atol=1e-9)
    assert bool(((found >= 1) & (found <= 5)).all())


# ---- the gradient


def draw_gradients(run: Trainer, count: int) -> Tensor:
    """Draw gradients of the loss of the first step through `objective`, on rows put together by hand: [count, P]."""
    generator = torch.Generator().manual_seed(99)
    assert run.streams.unlabelled is not None
    assert run.streams.labelled is not None
    bare, known = run.streams.unlabelled.take(0), run.streams.labelled.take(0)
    index = np.concatenate([bare, known])
    y = run.rows.values["y"][index].clone()
    y[: len(bare)] = -1
    rate = run.streams.rates.rate
    share = torch.cat([torch.full((len(bare),), (1 - rate) / len(bare)), torch.full((len(known),), rate / len(known))])
    batch = {"x": run.rows.values["x"][index], "y": y}
    found = []
    for _ in range(count):
        out = run.model.objective(batch, share.double() * len(index), generator=generator)
        each = torch.autograd.grad(out.loss, list(run.model.parameters()))
        found.append(torch.cat([gradient.reshape(-1) for gradient in each]))
    return torch.stack(found)


def test_the_variance_of_the_gradient_is_that_of_direct_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    # 200 draws against 400. The squared distances from the mean have a standard error each; beyond 5 of the two
    # together lies less than one in a million, were they normal. The seeds are fixed.
    monkeypatch.setattr(gradient_variance, "DRAWS", 200)
    monkeypatch.setattr(Model, "validate_args", False)  # for speed
    run = trainer(z_then_y(train__batch_size={"unlabelled": 9, "labelled": 5}), small_arrays(labels=60))
    run.model.eval()
    found = probe(run.model, run.streams, 0, 1, run.precision.autocast)
    direct = draw_gradients(run, 400)
    distances = ((direct - direct.mean(0)) ** 2).sum(1)
    variance = float(distances.sum()) / 399
    error = float(distances.std()) * math.sqrt(1 / 200 + 1 / 400)
    assert error < 0.2 * variance
    assert abs(found["variance"] - variance) < 5 * error
    # the means of both are off by √(V/200 + V/400) at the root of the mean square
    assert abs(found["norm"] - float(direct.mean(0).norm())) < 5 * math.sqrt(variance * (1 / 200 + 1 / 400))
    parts = found["by_node"]
    assert [(owner, parts[owner].get("estimator")) for owner in sorted(parts)] == [
        ("p(x)", None),
        ("q(y)", "enumerate"),
        ("q(z)", "pathwise"),
    ]
    assert sum(part["variance"] for part in parts.values()) == pytest.approx(found["variance"])
    assert sum(part["norm"] ** 2 for part in parts.values()) == pytest.approx(found["norm"] ** 2)


def test_a_gradient_that_nothing_is_drawn_for_has_no_variance() -> None:
    spec = small(nodes__z=None, nodes__x__generative__parents=["y"], train__precision="64-true")
    run = trainer(spec, small_arrays())
    run.model.eval()
    found = probe(run.model, run.streams, 0, 3, run.precision.autocast)
    assert found["variance"] == 0
    assert found["norm"] == pytest.approx(float(draw_gradients(run, 1)[0].norm()), abs=1e-9)


def test_whatever_is_learned_belongs_to_one_owner() -> None:
    spec = rich(
        networks={"both": {"mlp": [8]}},
        features={"h": {"parents": ["x"], "network": "both"}, "g": {"parents": ["x"], "network": {"mlp": [4]}}},
        nodes__z__recognition={"parents": ["x"], "network": "both"},
        nodes__w__recognition={"parents": ["h", "g"], "network": {"mlp": [8]}},
        nodes__w__generative={"parameters": {"loc": {"learn": True, "start": 0.0}, "scale": 1.0}},
    )
    model = sgc.compile(sgc.load(spec))
    found = owners(model)
    assert sorted(found) == ["g", "network both", "p(w)", "p(x)", "q(w)", "q(y)", "q(z)"]
    ids = [id(parameter) for each in found.values() for parameter in each]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(parameter) for parameter in model.parameters()}


def test_a_probe_moves_nothing(tmp_path: Path) -> None:
    write_rich(tmp_path)
    run = trainer(rich(), beside=tmp_path)
    run.model.train()
    torch.manual_seed(4)
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    generator = torch.get_rng_state()
    found = [probe(run.model, run.streams, 0, epoch, run.precision.autocast) for epoch in (1, 2, 1)]
    assert found[0] == found[2] != found[1]
    assert torch.equal(torch.get_rng_state(), generator)
    after = run.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.grad is None for parameter in run.model.parameters())
    assert all(module.training for module in run.model.modules())
    assert not run.optimizer.state


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_weights_are_the_same_to_the_bit_with_and_without(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rich(tmp_path)
    spec = sgc.load(rich(train__precision=precision))
    monkeypatch.setattr(gradient_variance, "STEPS", 1)
    run = train(spec, output=tmp_path / "with", beside=tmp_path)
    assert all("gradient" in line for line in run.lines)
    with monkeypatch.context() as patch:
        patch.setattr("sgc.training.trainer.due", lambda epoch, steps: False)
        patch.setattr(mean_terms.TermMeans, "add", lambda *words: None)
        train(spec, output=tmp_path / "without", beside=tmp_path)
    found, plain = finished_files(tmp_path / "with"), finished_files(tmp_path / "without")
    assert (found["last"], found["best"]) == (plain["last"], plain["best"])
    assert b"gradient" not in plain["metrics"]
    for steps in (2, 4):  # and whatever stopped it, the log is the same too
        folder = tmp_path / str(steps)
        with pytest.raises(Interrupted):
            train(spec, output=folder, beside=tmp_path, watcher=At(steps, signal.SIGINT))
        train(spec, output=folder, beside=tmp_path, resume=True)
        assert finished_files(folder) == found


def test_a_run_of_an_older_version_goes_on(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(sgc.load(small()), small_arrays(), output=tmp_path / "run", watcher=At(4, signal.SIGINT))
    state = torch.load(tmp_path / "run" / "training.pt", weights_only=True)
    del state["alarms"], state["sums"]["terms"]
    torch.save(state, tmp_path / "run" / "training.pt")
    run = train(sgc.load(small()), small_arrays(), output=tmp_path / "run", resume=True)
    assert [line["epoch"] for line in run.lines] == [1, 2, 3]
    assert [bool(line["terms"]) for line in run.lines] == [True, False, True]  # what was summed is lost


# ---- what has collapsed


def test_a_latent_node_that_the_decoder_ignores_collapses_and_is_warned_of_once(tmp_path: Path) -> None:
    spec = small(
        nodes__x__generative__parents=["y"],
        data=NPZ,
        train={"epochs": 24, "batch_size": 20, "optimizer": {"lr": 0.05}, "seed": 2},  # from which y is learned soon
    )
    arrays = small_arrays(rows=100, labels=100)
    with pytest.raises(Interrupted):  # the count goes on where it stood
        train(sgc.load(spec), arrays, output=tmp_path / "run", watcher=At(40, signal.SIGINT))
    run = train(sgc.load(spec), arrays, output=tmp_path / "run", resume=True)
    ending = run.lines[-5:]
    assert all(line["collapsed"] == ["z"] and line["active_units"] == {"z": 0} for line in ending)
    (warning,) = [text for line in run.lines for text in line.get("warnings", [])]
    assert warning == (
        "'z' has collapsed: for 5 epochs q(z | ...) has been within 0.05 nats of p(z | ...), "
        "so it carries no information about a row (which often passes in the first epochs)"
    )


def test_a_latent_node_that_carries_the_rows_does_not_collapse(tmp_path: Path) -> None:
    spec = small(
        nodes__x__generative={"parents": ["z"], "network": {"mlp": [8]}},
        nodes__y=None,
        nodes__z__recognition__parents=["x"],
        data={**NPZ, "columns": {"x": {"column": "x"}}, "labels": None},
        train={"epochs": 30, "batch_size": 20, "optimizer": {"lr": 0.02}},
    )
    del spec["data"]["labels"]
    run = train(sgc.load(spec), {"x": small_arrays(rows=100)["x"]}, output=tmp_path / "run")
    assert run.lines[-1]["collapsed"] == []
    assert run.lines[-1]["active_units"]["z"] >= 1
    assert not any("warnings" in line for line in run.lines)


def test_a_divergence_counts_whether_it_is_closed_or_sampled() -> None:
    dead = {"z": {"kl": -0.01}, "s": {"recognition": 3.02, "generative": -3.0}, "x": {"generative": -0.001}}
    live = {"z": {"kl": -0.4}, "s": {"recognition": 5.0, "generative": -3.0}, "y": {"label": 0.0}}
    assert collapsed({"unlabelled": dead, "labelled": live}) == ["z", "s"]
    assert collapsed({"labelled": dead}) == ["z", "s"]
    assert collapsed({"unlabelled": live}) == []
    assert collapsed({}) == []


def test_active_units_are_those_whose_mean_varies_over_rows() -> None:
    rows = torch.tensor([-1.0, 1.0, -1.0, 1.0]).unsqueeze(1)
    spread = torch.tensor([0.0, 0.0099, 0.0101, 2.0]).mul(3 / 4).sqrt()  # over these rows the variance is 4/3 of s²
    assert active_units(rows * spread + 7) == 2
    assert active_units(torch.zeros(1, 4)) == 0


def test_alarms_wait_and_are_told_once() -> None:
    ill = {"collapsed": ["z"], "effective_samples": {"none": 8.0, "y": 1.02}}
    well: Raw = {"collapsed": [], "effective_samples": {"none": 8.0, "y": 5.0}}
    alarms = Alarms()
    told = [alarms.hear(line, 8) for line in [ill] * 4 + [well] + [ill] * 4]
    assert told == [[]] * 9
    again = Alarms.of(json.loads(json.dumps(alarms.state())))
    warnings = again.hear(ill, 8)
    assert [text.split(":")[0] for text in warnings] == [
        "'z' has collapsed",
        "the weights of rows with y labelled are degenerate",
    ]
    assert warnings[1].endswith("for 5 epochs one of 8 samples has had all the weight (1.02 effective)")
    assert [again.hear(line, 8) for line in [ill, well, *[ill] * 9]] == [[]] * 11
    rare = Alarms()
    told = [rare.hear(line, 8) for line in [ill, {"effective_samples": {"none": 8.0}}] * 5]
    assert [len(each) for each in told] == [0] * 8 + [1, 0]  # a pattern that no row had is as it was
    lone = Alarms()
    assert [lone.hear({"effective_samples": {"y": 1.0}}, 1) for _ in range(9)] == [[]] * 9  # one sample has all of it


# ---- what a person sees


def test_the_terminal_says_a_warning_above_the_bar() -> None:
    out = io.StringIO()
    shown = TrainingProgress(Progress(console=Console(file=out, width=40)), "run")
    shown.epoch({"epoch": 1})
    shown.epoch({"epoch": 2, "warnings": ["'z' has collapsed: [it] says nothing of the rows at all"]})
    assert out.getvalue() == "warning: 'z' has collapsed: [it] says nothing of the rows at all\n"
