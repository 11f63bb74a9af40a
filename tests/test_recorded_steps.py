"""A replayed step is the step itself: its loss, bounds, terms, gradients, weights and draws are the same to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn_specs import TRAINING, draw
from small_runs import finished_files, rich, small, small_arrays, write_rich, z_then_y
from torch import Tensor

import sgc
from sgc.errors import Interrupted, RunError
from sgc.runs.run_folder import RunFolder
from sgc.runtime.data_variables import open_data
from sgc.spec.resolver import outline
from sgc.training.recorded_steps import RecordedSteps
from sgc.training.trainer import Trainer
from sgc.training.watchers import Silent

Raw = dict[str, Any]  # Any: a spec as plain data


def arrays_for(spec: Raw, rows: int = 40) -> dict[str, Any]:  # Any: arrays
    """Draw data from a model's own p; the first half of the rows carries every label."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    model = sgc.compile(spec)
    inputs: dict[str, Tensor] = {}
    for name, section in spec.get("inputs", {}).items():
        if "values" in section:
            inputs[name] = torch.from_numpy(rng.integers(0, len(section["values"]), rows))
        else:
            inputs[name] = torch.from_numpy(rng.random((rows, *section.get("shape", ())))).float()
    found: dict[str, Any] = {}
    for name, value in {**model.generate(rows, inputs), **inputs}.items():
        steps = model.outline.stepped[name].nodes if name in model.outline.stepped else [name]
        node = model.outline.graphs.nodes.get(steps[0])
        if node is not None and node.supervision == "none":
            continue
        array = value.numpy().astype(float)
        section = spec["nodes"].get(name) or spec.get("inputs", {}).get(name, {})
        if "values" in section:
            array = np.array(section["values"])[array.astype(int)]
        if node is not None and node.supervision == "partial":
            array = array.astype(float)
            array[rows // 2 :] = np.nan
        found[name] = array
    return found


def trainer(spec: Raw, arrays: Mapping[str, Any] | None, folder: Path, *, recorded: bool) -> Trainer:
    words = {"batch_size": 8, **spec.get("train", {}), "epochs": 1000}
    made = outline(sgc.load({**spec, "train": words}))
    found = Trainer(made, open_data(made, folder, arrays), RunFolder(folder / "run"), Silent(), debug=False)
    found.steps.allowed = recorded
    found.model.train()
    return found


def replays(spec: Raw, arrays: Mapping[str, Any] | None, folder: Path, steps: int = 9) -> int:
    """Hold recorded steps to those that are computed; count the kinds that were replayed."""
    plain, recorded = (trainer(spec, arrays, folder, recorded=way) for way in (False, True))
    for _ in range(steps):
        plain._step()
        recorded._step()
    assert recorded.totals.state() == plain.totals.state()
    assert recorded.model.running_means.state() == plain.model.running_means.state()
    for (name, one), other in zip(plain.model.state_dict().items(), recorded.model.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    kinds = recorded.steps._kinds.values()
    assert not any(kind.refusal for kind in kinds)
    return sum(kind.checked for kind in kinds)


MOVING = {"from": 0.1, "to": 1, "epochs": 1}
UNSCALED = ({"LayerNorm": {"elementwise_affine": False}},)
SPECS: dict[str, Raw] = {
    "m2": small(),
    "m2 in float64": small(train__precision="64-true"),
    "m2 in bfloat16": small(train__precision="bf16-mixed"),
    "z then y": z_then_y(data=None),
    "iwae": small(objective={"bound": "iwae", "samples": 3}),
    "dreg": small(objective={"bound": "iwae", "samples": 3, "gradient": "dreg"}),
    "rws": small(objective={"bound": "iwae", "samples": 3, "gradient": "rws"}),
    "relaxed": small(nodes__y__recognition__estimator={"gumbel_softmax": {"temperature": 0.5}}),
    "relaxed ever harder": small(
        nodes__y__recognition__estimator={
            "gumbel_softmax": {"temperature": {"from": 1, "to": 0.5, "epochs": 2}, "density": "concrete"}
        }
    ),
    "straight through": small(nodes__y__recognition__estimator="straight_through"),
    "score function": small(nodes__y__recognition__estimator="score_function", objective={"samples": 4}),
    "running mean": small(nodes__y__recognition__estimator={"score_function": {"baseline": "running_mean"}}),
    "without replacement": small(nodes__y__recognition__estimator="without_replacement", objective={"samples": 2}),
    "warm-up": small(objective={"kl_weight": MOVING, "alpha": MOVING, "gamma": MOVING}),
    "alpha over a rate": small(objective={"alpha": {"over_rate": 0.1}}),
    "clipped": small(train__clip_norm=0.5),
    "equal gradients, clipped": small(train__clip_norm=0.05, nodes__x__generative__network=[{"residual": [7, 5]}]),
    "a mixture of products": small(
        nodes__z__recognition={
            "combine": "mixture_of_products",
            "experts": {"x": {"network": {"mlp": [6]}}, "y": {"network": {"mlp": [4]}}},
        }
    ),
    "correlated latents": small(nodes__z__distribution="MultivariateNormal"),
    "norms without weights": small(
        nodes__y__recognition__network={"layers": [{"BatchNorm1d": {"affine": False}}, *UNSCALED, {"Linear": 4}]},
    ),
    "dropout and batch norm": small(
        nodes__x__generative__network={"mlp": [6], "norm": "batch", "dropout": 0.3},
        nodes__y__recognition__network={"mlp": [6, 6], "norm": "batch"},
    ),
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_a_replayed_step_is_the_step_itself(spec: Raw, tmp_path: Path) -> None:
    assert replays(spec, small_arrays(), tmp_path, steps=14) >= 1


def test_a_step_whose_alpha_follows_a_rate_that_moves_is_never_replayed(tmp_path: Path) -> None:
    spec = small(objective={"alpha": {"over_rate": 0.1}, "gamma": {**MOVING, "epochs": 1000}})
    assert replays(spec, small_arrays(), tmp_path, steps=14) == 0


def test_warm_ups_are_replayed_beyond_their_end(tmp_path: Path) -> None:
    """Where a weight comes to 1 the step decides otherwise, and is recorded anew: 3 steps are one epoch."""
    spec = small(objective={"kl_weight": {"from": 0.1, "to": 1, "epochs": 5}})
    assert replays(spec, small_arrays(), tmp_path, steps=60) >= 1


def test_rows_of_many_patterns_and_all_that_draws_or_moves(tmp_path: Path) -> None:
    write_rich(tmp_path)
    replays(rich(), None, tmp_path, steps=30)


@pytest.mark.parametrize("seed", range(6))
def test_specs_of_every_kind_of_network_are_replayed(seed: int, tmp_path: Path) -> None:
    spec = {**draw(seed).spec, "name": "drawn"}
    spec["train"] = {key: value for key, value in spec.get("train", {}).items() if key not in TRAINING}
    replays(spec, arrays_for(spec), tmp_path)


def ends_the_same(spec: Raw, folder: Path, *, at: tuple[int, int]) -> None:
    """Hold a run that is stopped at a step of an epoch, and resumed, to one that is not."""

    class Stops(Silent):
        def step(self, epoch: int, step: int, steps: int, bound: float) -> None:
            if (epoch, step) == at:
                raise KeyboardInterrupt

    arrays = small_arrays()
    sgc.train(spec, arrays, output=folder / "whole")
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        sgc.train(spec, arrays, output=folder / "stopped", watcher=Stops())
    sgc.train(spec, arrays, output=folder / "stopped", resume=True)
    assert finished_files(folder / "stopped") == finished_files(folder / "whole")


def test_a_run_that_records_other_steps_ends_the_same(tmp_path: Path) -> None:
    """Stopped after 40 of 96 steps, and resumed: its first steps are computed, and others recorded."""

    ends_the_same(small(train__epochs=32), tmp_path, at=(14, 1))


def test_guards_that_do_not_hold_leave_a_step_to_be_computed(tmp_path: Path) -> None:
    spec, arrays = SPECS["dropout and batch norm"], small_arrays()
    plain, recorded = (trainer(spec, arrays, tmp_path, recorded=way) for way in (False, True))
    for step in range(20):
        if step == 9:
            for kind in recorded.steps._kinds.values():
                kind.guards = [answers.logical_not() for answers in kind.guards]
        plain._step()
        recorded._step()
    assert any(kind.failed for kind in recorded.steps._kinds.values())
    for one, other in zip(plain.model.state_dict().values(), recorded.model.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_a_step_that_is_not_the_same_is_never_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, recorded = (trainer(small(), small_arrays(), tmp_path, recorded=way) for way in (False, True))
    monkeypatch.setattr(recorded.steps, "_record", spoilt(recorded.steps))
    steps_of(plain, 12)
    steps_of(recorded, 12)
    assert any(kind.refusal == "a replayed step is not the same" for kind in recorded.steps._kinds.values())
    for one, other in zip(plain.parameters, recorded.parameters, strict=True):
        assert torch.equal(one, other)


def spoilt(steps: RecordedSteps) -> Any:  # Any: a method
    """Record a step, and spoil one bit of one of its gradients."""
    record = RecordedSteps._record

    def other(kind: Any, *words: Any) -> Any:
        found = record(steps, kind, *words)
        run = kind.run
        last = -1 - len(kind.guards)

        def spoil(*inputs: Any) -> tuple[Tensor, ...]:
            outputs = run(*inputs)
            return (*outputs[:last], outputs[last] + 1e-6, *outputs[len(outputs) + last + 1 :])

        kind.run = spoil
        return found

    return other


def test_every_schedule_that_moves_a_step_is_known(tmp_path: Path) -> None:
    dropout = {"mlp": [6], "dropout": {"from": 0.5, "to": 0.1, "epochs": 60}}
    spec = small(networks={"shared": dropout}, nodes__x__generative__network="shared")
    assert len(trainer(spec, small_arrays(), tmp_path, recorded=True).steps._numbers) == 1


def steps_of(found: Trainer, count: int) -> None:
    for _ in range(count):
        found._step()


def test_a_fault_that_a_replay_meets_is_told_as_a_computed_step_tells_it(tmp_path: Path) -> None:
    arrays = small_arrays(rows=300)
    arrays["x"][150] = [3e38, -3e38, 3e38]
    spec = small(nodes__y__recognition__estimator="score_function", objective={"samples": 4})
    told = []
    for way in (False, True):
        found = trainer(spec, arrays, tmp_path, recorded=way)
        with pytest.raises(RunError) as caught:
            steps_of(found, 60)
        told.append(str(caught.value))
        assert not way or any(kind.checked for kind in found.steps._kinds.values())
    assert told[0] == told[1]


def test_steps_of_ever_other_kinds_are_not_recorded_again_and_again(tmp_path: Path) -> None:
    write_rich(tmp_path)
    found = trainer(rich(train__batch_size={"unlabelled": 16, "labelled": 20}), None, tmp_path, recorded=True)
    for _ in range(150):
        found._step()
    assert len(found.steps._kinds) > 20
    assert sum(kind.run is not None for kind in found.steps._kinds.values()) <= 16
    assert found.steps._recorded <= 16
