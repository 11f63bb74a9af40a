"""Averaged weights: those of the formula by hand, laid in and out without a trace, kept over a state, told if wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from small_runs import NPZ, StopsAfterAnEpoch, finished_files, small, small_arrays
from test_cli import call
from torch import Tensor

import sgc
from sgc.runs.run_folder import RunFolder
from sgc.runs.run_records import TrainingState
from sgc.runtime.data_variables import open_data
from sgc.spec.resolver import outline
from sgc.spec.training_section import Average
from sgc.training.averaged_weights import AveragedWeights
from sgc.training.precision import Precision
from sgc.training.trainer import Trainer
from sgc.training.training_state import StateFault, restore_average
from sgc.training.watchers import Silent

Raw = dict[str, Any]  # Any: a spec as plain data
NORM = {"mlp": [4], "norm": "batch"}
DATA = {**NPZ, "labels": {"y": {"count": 8}}}


def prepared(folder: Path, **changes: Any) -> Trainer:  # Any: plain data
    """Prepare a training with a batch norm in q and a prior that is learned."""
    words = {"nodes__y__recognition__network": NORM, "nodes__z__generative": {"learn": True}, **changes}
    made = outline(sgc.load(small(**words)))
    return Trainer(made, open_data(made, folder, small_arrays()), RunFolder(folder), Silent(), debug=False)


def moved(trainer: Trainer) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


@pytest.mark.parametrize("average", [0.9, {"from": 1}, {"decay": 0.5, "from": 1}, {}], ids=str)
def test_an_average_is_that_of_the_formula(average: float | Raw, tmp_path: Path) -> None:
    trainer = prepared(tmp_path, train__average=average, train__precision="64-true")
    trainer.model.train()
    kept: list[dict[str, Tensor]] = []
    long = average if isinstance(average, dict) else {"decay": average}
    while trainer.step < 3 * trainer.streams.steps:
        trainer._step()
        if trainer.step > long.get("from", 0) * trainer.streams.steps:
            kept.append(moved(trainer))
    ages = torch.arange(len(kept), dtype=torch.float64).flip(0)
    weights = long.get("decay", 1.0) ** ages
    before, wanted = moved(trainer), {}
    for name, last in before.items():
        every = torch.stack([step[name] for step in kept])
        mean = torch.tensordot(weights / weights.sum(), every.double(), dims=1)
        wanted[name] = mean if last.is_floating_point() else last
    with trainer.learner.averaged():
        for name, tensor in moved(trainer).items():
            torch.testing.assert_close(tensor, wanted[name], rtol=1e-12, atol=1e-12)
    assert any("running_var" in name and not torch.equal(wanted[name], last) for name, last in before.items())
    assert all(torch.equal(last, before[name]) for name, last in moved(trainer).items())


def test_a_decay_of_nearly_nothing_leaves_the_last_weights(tmp_path: Path) -> None:
    """And what is trained is the same with an average as without one."""
    files = {}
    for name, average in {"plain": None, "last": 1e-300, "mean": 0.9}.items():
        spec = small(train__average=average, train__epochs=2, nodes__y__recognition__network=NORM, data=DATA)
        run = sgc.train(sgc.load(spec), small_arrays(), output=tmp_path / name)
        files[name] = load_file(tmp_path / name / "last.safetensors"), run.lines
    (weights, lines), (same, alike), (mean, others) = files.values()
    assert weights.keys() == same.keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in same.items())
    assert [{**line, "seconds": 0} for line in lines] == [{**line, "seconds": 0} for line in alike]
    for line, other in zip(lines, others, strict=True):
        assert (line["loss"], line["terms"]) == (other["loss"], other["terms"])
        assert line["validation_bound"] != other["validation_bound"]
    opened = sgc.open(tmp_path / "mean").state_dict()
    best = load_file(tmp_path / "mean" / "best.safetensors")
    assert all(torch.equal(opened[name], tensor) for name, tensor in best.items())
    assert any(not torch.equal(mean[name], tensor) for name, tensor in weights.items())


def test_a_step_that_is_skipped_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where scaled gradients overflow in half precision: the weights stay, and so does their average."""
    trainer = prepared(tmp_path, train__average=0.5)
    trainer.model.train()
    trainer._step()
    average = trainer.learner.average
    assert average is not None
    before = {name: mean.clone() for name, mean in average.means.items()}
    with monkeypatch.context() as patch:
        patch.setattr("sgc.training.learner.is_finite", lambda *_: False)
        patch.setattr(Precision, "skips_steps", True)
        patch.setattr(trainer.precision, "step", lambda optimizer: None)
        trainer._step()
    assert average.count == 1
    assert all(torch.equal(mean, before[name]) for name, mean in average.means.items())
    trainer._step()
    assert average.count == 2


def test_frozen_weights_and_whole_numbers_are_not_kept_twice(tmp_path: Path) -> None:
    trainer = prepared(tmp_path, train__average=0.5)
    trainer.model.train()
    trainer._step()
    average = trainer.learner.average
    assert average is not None
    learned = {name for name, weight in trainer.model.named_parameters() if weight.requires_grad}
    assert {name for name in average.means if not name.endswith(("running_mean", "running_var"))} == learned


OWN = """\
import torch


class Late(torch.nn.Module):
    "Counts from its second step on, and keeps an infinity until then."

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 4)
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer("least", torch.full((4,), torch.inf))

    def forward(self, x):
        y = self.linear(x)
        if self.training:
            self.steps += 1
            if self.steps > 1:
                self.least.copy_(torch.minimum(self.least, y.detach().reshape(-1, 4).amin(0)))
        return y
"""


def test_a_number_that_was_infinite_when_the_average_began_stays_as_it_is_over_a_resumption(tmp_path: Path) -> None:
    """It has no mean, in a run that goes through and in one that is stopped."""
    (tmp_path / "late_numbers.py").write_text(OWN)
    network = [{"python": "late_numbers:Late", "output": [4]}]
    words = small(train__average=0.5, nodes__y__recognition__network=network, data=DATA)
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(words))
    spec = sgc.load(tmp_path / "spec.yaml", trust=True)
    sgc.train(spec, small_arrays(), output=tmp_path / "whole")
    with pytest.raises(InterruptedError):
        sgc.train(spec, small_arrays(), output=tmp_path / "run", watcher=StopsAfterAnEpoch())
    sgc.train(spec, small_arrays(), output=tmp_path / "run", resume=True)
    assert finished_files(tmp_path / "run") == finished_files(tmp_path / "whole")
    state = torch.load(tmp_path / "run" / "training.pt", weights_only=True)
    least = next(name for name in state["model"] if name.endswith("least"))
    assert least not in state["average"]["means"]
    assert torch.equal(load_file(tmp_path / "run" / "last.safetensors")[least], state["model"][least])


@pytest.mark.parametrize(("average", "said"), [({"from": 1}, True), (0.5, False)], ids=str)
def test_a_run_says_that_its_best_weights_are_no_average(average: float | Raw, said: bool, tmp_path: Path) -> None:
    """The rate comes down to 0 with the first epoch, and no later one is better."""
    np.savez(tmp_path / "none.npz", **small_arrays())
    rate = {"from": 0.01, "to": 0, "epochs": 1}
    words = small(train__average=average, train__epochs=4, train__optimizer={"lr": rate}, data=DATA)
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(words))
    done = call("train", tmp_path / "spec.yaml", "-o", tmp_path / "run")
    (best,) = [line for line in done.out.splitlines() if line.startswith("best ")]
    assert best.startswith("best       epoch 1,") or not said
    assert best.endswith(", before train.average begins") == said


STATES: dict[str, tuple[Raw | None, str]] = {
    "missing": (None, "key 'average': missing, which train.average wants"),
    "count": ({"count": 5, "means": {}}, "key 'average.count': found 5, of a run that has averaged 4 steps at most"),
    "lost": ({"count": 1, "means": {}}, "key 'average.means.w': missing"),
    "more": ({"count": 1, "means": {"v": torch.ones(2)}}, "key 'average.means.v': the model learns no such weights"),
    "shape": ({"count": 1, "means": {"w": torch.ones(3)}}, r"key 'average.means.w': has shape \[3\], wanted \[2\]"),
}


@pytest.mark.parametrize("name", STATES)
def test_a_kept_average_that_does_not_fit_is_refused_by_name(name: str) -> None:
    saved, words = STATES[name]
    bounds = {"unlabelled": 0.0, "labelled": 0.0}
    state = TrainingState.model_validate({
        "version": 1, "model": {}, "optimizer": {"state": {}, "param_groups": [{"params": []}]}, "epoch": 2, "step": 8,
        "best_bound": 0.0, "best_epoch": 1, "seconds": 0.0, **({} if saved is None else {"average": saved}),
        "sums": {"loss": 0.0, "steps": 0, "bounds": bounds, "rows": {"unlabelled": 0, "labelled": 0}},
    })  # fmt: skip
    made = AveragedWeights(Average.model_validate({"from": 1}), lambda: {"w": torch.zeros(2)})
    with pytest.raises(StateFault, match=f"^{words}"):
        restore_average(made, state, steps=4, learned={"w"})
    if saved is not None:
        with pytest.raises(StateFault, match=r"^key 'average': found, without train\.average"):
            restore_average(None, state, steps=4, learned={"w"})
