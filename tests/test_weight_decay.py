"""Weight decay of one network: which weights have one of their own, and that they alone are moved by it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import NPZ, Raw, changed, small, small_arrays
from torch import Tensor, nn

import sgc
from sgc.report.json_report import inspect_json
from sgc.report.text_report import inspect_text
from sgc.runs.run_folder import RunFolder
from sgc.runtime.data_variables import open_data
from sgc.runtime.model import Model
from sgc.schedules import Schedule
from sgc.spec.resolver import outline
from sgc.spec.training_section import Optimizer
from sgc.training.engine import make_optimizer, move_optimizer
from sgc.training.parameter_groups import ParameterGroup, groups_of, moved_by
from sgc.training.trainer import Trainer
from sgc.training.watchers import Silent

DATA: Raw = {**NPZ, "labels": {"y": {"count": 8}}}
Q = "nodes__y__recognition__weight_decay"
SHARED: Raw = {"networks": {"body": {"mlp": [4]}}}
EXPERTS: Raw = {"experts": {"x": {"network": {"mlp": [4]}, "weight_decay": 0.5}, "y": {"network": {"mlp": [3]}}}}
STEP: Raw = {
    "distribution": "Normal",
    "shape": [2],
    "supervision": "none",
    "generative": {"parents": ["prev.s"], "network": {"mlp": [4]}},
    "recognition": {"parents": ["x"], "network": {"mlp": [5]}, "weight_decay": 0.5},
}
STATE: Raw = {"c": {"parents": ["x"], "network": [{"mlp": [3]}, {"gru": 4}], "weight_decay": 0.5}}
READS = changed(STEP, recognition__parents=["c"], recognition__weight_decay=None)
CARRY: Raw = {"t": {"count": 3, "carry": STATE, "nodes": {"s": READS}}}
REPEAT: Raw = {"t": {"count": 3, "nodes": {"s": STEP}}}
WHERE: dict[str, tuple[Raw, set[str]]] = {  # changes, and how the names begin of what has a decay of its own
    "q": ({Q: 0.5}, {"recognition.y_."}),
    "a linear map": ({Q: 0.5, "nodes__y__recognition__network": {"mlp": []}}, {"recognition.y_.heads."}),
    "p, without its constants": (
        {"nodes__x__generative__weight_decay": 0.5, "nodes__x__generative__parameters": {"scale": {"start": 1.0}}},
        {"generative.x_.trunk.", "generative.x_.heads."},
    ),
    "both": ({Q: 0.5, "nodes__x__generative__weight_decay": 0.0}, {"recognition.y_.", "generative.x_."}),
    "a shared network": (
        {**SHARED, Q: 0.5, "nodes__y__recognition__network": "body"}, {"recognition.y_.heads."}),
    "a feature": (
        {"features": {"h": {"parents": ["x"], "network": {"mlp": [4]}, "weight_decay": 0.5}},
         "nodes__y__recognition__parents": ["h"]},
        {"features.h_."},
    ),
    "an expert": ({"nodes__z__recognition": EXPERTS}, {"recognition.z_.experts.x_."}),
    "a carry": ({"repeat": CARRY, "nodes__x__generative__parents": ["y", "z", "t.s"]}, {"features.t/c"}),
    "a repeat": ({"repeat": REPEAT, "nodes__x__generative__parents": ["y", "z", "t.s"]}, {"recognition.t/s_."}),
}  # fmt: skip


def names_of(model: Model, group: ParameterGroup) -> set[str]:
    wanted = {id(parameter) for parameter in group.parameters}
    return {name for name, parameter in model.named_parameters() if id(parameter) in wanted}


@pytest.mark.parametrize("where", WHERE)
def test_the_weights_of_its_own_network_have_it(where: str) -> None:
    changes, begins = WHERE[where]
    model = sgc.compile(small(**changes))
    groups = groups_of(model)
    own = set().union(*(names_of(model, group) for group in groups if group.weight_decay is not None))
    everything = {name for name, _ in model.named_parameters()}
    assert own == {name for name in everything if any(name.startswith(begin) for begin in begins)}
    assert own
    listed = [id(parameter) for group in groups for parameter in group.parameters]
    assert sorted(listed) == sorted(map(id, model.parameters()))


def test_without_one_there_is_one_group_in_the_models_order() -> None:
    model = sgc.compile(small())
    (group,) = groups_of(model)
    assert list(map(id, group.parameters)) == list(map(id, model.parameters()))


def test_what_is_frozen_has_none() -> None:
    model = sgc.compile(small(**{Q: 0.5}))
    for parameter in model.recognition["y_"].parameters():
        parameter.requires_grad_(False)
    (group,) = groups_of(model)
    assert group.weight_decay is None


@pytest.mark.parametrize("name", ["Adam", "AdamW", "NAdam", "RAdam", "Adamax", "SGD", "RMSprop"])
def test_an_optimiser_moves_its_groups_as_torch_does(name: str) -> None:
    """Also where the decays are schedules, over three steps."""
    own = Schedule.model_validate({"from": 0.5, "to": 0.1, "epochs": 2})
    given = Optimizer.model_validate({"name": name, "lr": 0.01, "weight_decay": 0.2})
    torch.manual_seed(0)
    start = [torch.randn(3, dtype=torch.float64) for _ in range(3)]
    ours, theirs = ([nn.Parameter(tensor.clone()) for tensor in start] for _ in range(2))
    optimizer = make_optimizer(given, [ParameterGroup(ours[:1]), ParameterGroup(ours[1:], own)])
    assert list(map(id, moved_by(optimizer))) == list(map(id, ours))
    same = getattr(torch.optim, name)([{"params": theirs[:1]}, {"params": theirs[1:]}], lr=0.01, weight_decay=0.2)
    for epoch in range(3):
        move_optimizer(optimizer, given, epoch)
        same.param_groups[1]["weight_decay"] = own.at(epoch)
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(3, dtype=torch.float64)
            other.grad = mine.grad.clone()
        optimizer.step()
        same.step()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)


def after_a_step(folder: Path, decay: float | None) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
    """Give the weights before a step of SGD and after it."""
    spec = small(**{Q: decay}, train__optimizer={"name": "SGD", "lr": 0.01}, train__precision="64-true", data=DATA)
    made = outline(sgc.load(spec))
    trainer = Trainer(made, open_data(made, folder, small_arrays()), RunFolder(folder), Silent(), debug=False)
    trainer.model.train()
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    trainer._step()
    return before, trainer.model.state_dict()


def test_a_step_subtracts_the_decay_of_these_weights_alone(tmp_path: Path) -> None:
    before, plain = after_a_step(tmp_path / "plain", None)
    same, drawn = after_a_step(tmp_path / "drawn", 0.5)
    for name, tensor in plain.items():
        assert torch.equal(before[name], same[name])
        own = 0.01 * 0.5 * before[name] if name.startswith("recognition.y_.") else torch.zeros_like(tensor)
        torch.testing.assert_close(tensor - drawn[name], own, rtol=1e-9, atol=1e-12)


def test_inspect_says_it_in_words_and_in_json() -> None:
    own = {"from": 1, "to": 0.1, "epochs": 2}
    feature: Raw = {"h": {"parents": ["x"], "network": {"mlp": [4]}, "weight_decay": 0.25}}
    made = outline(sgc.load(small(**{Q: own}, features=feature, nodes__z__recognition__parents=["h", "y"])))
    text = inspect_text(made)
    assert "weight decay from 1 to 0.1 over 2 epochs" in text
    assert "weight decay 0.25" in text
    assert text.count("weight decay") == 2
    (y,) = (node for node in inspect_json(made)["nodes"] if node["name"] == "y")
    assert y["recognition"]["weight_decay"] == own | {"curve": "linear"}
    assert "weight_decay" not in y["generative"]


WRONG: dict[str, tuple[Raw, str]] = {
    "below 0": ({Q: -1}, "expected a number at least 0"),
    "no number": ({Q: "much"}, "nodes.y.recognition.weight_decay"),
    "no network": ({"nodes__z__generative": {"learn": True, "weight_decay": 1}}, "forbidden: no network whose weights"),
    "beside experts": (
        {"nodes__z__recognition": {**EXPERTS, "weight_decay": 0}}, "each expert has its own, give one of them"),
    "a feature's shared network": (
        {**SHARED, "features": {"h": {"parents": ["x"], "network": "body", "weight_decay": 1}},
         "nodes__y__recognition__parents": ["h"]},
        "the weights of 'body' are shared",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_have_one_is_told_where_it_stands(case: str) -> None:
    changes, words = WRONG[case]
    with pytest.raises(sgc.SpecError) as caught:
        sgc.load(small(**changes))
    (fault,) = caught.value.faults
    assert words in str(fault)
    assert "weight_decay" in str(fault)


def test_a_resumed_run_comes_to_the_same_bits(tmp_path: Path) -> None:
    own: dict[str, Any] = {Q: {"from": 1, "to": 0.1, "epochs": 2}, "train__epochs": 2}
    spec, data = small(**own, train__optimizer={"name": "Adam", "weight_decay": 0.1}), small_arrays()
    whole = sgc.train(spec, data=data, output=tmp_path / "whole")
    first = sgc.train(changed(spec, train__epochs=1), data=data, output=tmp_path / "first")
    with pytest.warns(UserWarning, match="goes on"):
        again = sgc.train(spec, data=data, output=first.folder, resume=True)
    pairs = itertools.zip_longest(*(sorted(run.model.state_dict().items()) for run in (whole, again)))
    assert all(a[0] == b[0] and torch.equal(a[1], b[1]) for a, b in pairs)
