"""Parts: another spec's nodes and networks, their weights from a run, kept or freed, and what does not fit."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

import sgc
from sgc.errors import UsageError
from sgc.report.warning_notes import warnings
from sgc.runtime.model import Model
from sgc.runtime.module_builder import part_modules
from sgc.runtime.weight_files import own_state
from sgc.spec.resolver import outline

Raw = dict[str, Any]  # Any: plain data

PART: Raw = {
    "version": 1,
    "name": "shape",
    "networks": {"trunk": [{"mlp": [6], "norm": "batch"}]},
    "nodes": {
        "x": {
            "distribution": "Bernoulli",
            "shape": [4],
            "supervision": "full",
            "generative": {"parents": ["y", "z"], "network": {"mlp": [5]}},
        },
        "y": {
            "distribution": "Categorical",
            "categories": 3,
            "supervision": "partial",
            "recognition": {"parents": ["x"], "network": "trunk", "estimator": "enumerate"},
        },
        "z": {
            "distribution": "Normal",
            "shape": [2],
            "supervision": "none",
            "recognition": {"parents": ["x", "y"], "network": {"mlp": [4]}},
        },
    },
    "train": {"epochs": 2, "batch_size": 16},
}

HOST: Raw = {
    "version": 1,
    "name": "host",
    "use": {"shape": {"bind": {"x": "image"}}},
    "nodes": {
        "image": {
            "distribution": "Bernoulli",
            "shape": [4],
            "supervision": "partial",
            "recognition": {"parents": ["seen"], "network": {"mlp": [5]}, "estimator": "mean"},
        },
        "seen": {
            "distribution": "Normal",
            "shape": [3],
            "supervision": "full",
            "generative": {"parents": ["image"], "network": {"mlp": [4]}},
        },
    },
    "train": {"epochs": 2, "batch_size": 16},
}


def rows(count: int = 48, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(3, size=count)
    x = (rng.random((count, 4)) < (0.2 + 0.3 * y[:, None] * [1, 0, 1, 0])).astype(np.float32)
    y[count // 4 :] = -1
    return {"x": x, "y": y}


def host_rows(count: int = 48, seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    image = rng.integers(2, size=(count, 4)).astype(np.float32)
    seen = (image[:, :3] + 0.3 * rng.standard_normal((count, 3))).astype(np.float32)
    image[count // 3 :] = np.nan
    return {"image": image, "seen": seen}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the part."""
    folder = tmp_path_factory.mktemp("part") / "run"
    sgc.train(copy.deepcopy(PART), rows(), output=folder)
    return folder


def host(run: Path | None = None, *, freeze: bool = False, spec: object = PART) -> Raw:
    made = copy.deepcopy(HOST)
    part = made["use"]["shape"]
    if spec is not None:
        part["spec"] = copy.deepcopy(spec)
    if run is not None:
        part["weights"] = str(run)
    if freeze:
        part["freeze"] = True
    return made


def part_state(model: Model) -> dict[str, torch.Tensor]:
    """The tensors of the part inside its host, by the part's own names."""
    (part,) = model.spec.unrolled.parts
    state = model.state_dict()
    found = {}
    for (section, key), here in part_modules(part).items():
        prefix = ".".join(here) + "."
        found |= {f"{section}.{key}.{n[len(prefix) :]}": v for n, v in state.items() if n.startswith(prefix)}
    return found


def test_the_part_gives_p_of_what_is_bound_and_the_host_its_q(run: Path) -> None:
    model = sgc.compile(host(run))
    assert set(model.outline.variables) == {"image", "seen", "shape.y", "shape.z"}
    assert model.outline.generative["image"].parents == ("shape.y", "shape.z")
    assert model.outline.recognition["image"].parents == ("seen",)
    assert model.outline.recognition["shape.z"].parents == ("image", "shape.y")
    assert model.outline.variables["image"].supervision == "partial"


@pytest.mark.parametrize("spec", [PART, None], ids=["with its spec", "of the run alone"])
def test_a_part_brings_the_numbers_of_its_run(run: Path, spec: object) -> None:
    own, model = sgc.open(run), sgc.compile(host(run, spec=spec)).eval()
    theirs = dict(own.state_dict())
    ours = part_state(model)
    assert ours
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    x = torch.tensor(rows()["x"])
    with torch.no_grad():
        one = own.conditional("y", "recognition", {"x": x}).mean
        other = model.conditional("shape.y", "recognition", {"image": x}).mean
    assert torch.equal(one, other)


@pytest.mark.parametrize("average", [{}, {"average": 0.7}, {"average": {}}], ids=str)
def test_a_frozen_part_gets_no_gradient_and_keeps_its_numbers(average: Raw, run: Path, tmp_path: Path) -> None:
    model = sgc.compile(host(run, freeze=True)).train()
    model.objective({n: torch.tensor(v) for n, v in host_rows().items()}).loss.backward()
    names = {f"{n}" for n, p in model.named_parameters() if p.grad is not None}
    assert names
    assert not any("shape/" in name or name.startswith("generative.image_") for name in names)
    before = {name: value.clone() for name, value in part_state(sgc.compile(host(run))).items()}
    made = host(run, freeze=True)
    trained = sgc.train({**made, "train": {**made["train"], **average}}, host_rows(), output=tmp_path / "host")
    after = part_state(trained.model)
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())  # batch norms too
    for checkpoint in ("best", "last"):
        assert all(torch.equal(v, before[n]) for n, v in part_state(sgc.open(tmp_path / "host", checkpoint)).items())


def test_a_freed_part_learns(run: Path, tmp_path: Path) -> None:
    before = part_state(sgc.compile(host(run)))
    after = part_state(sgc.train(host(run), host_rows(), output=tmp_path / "host").model)
    assert any(not torch.equal(value, after[name]) for name, value in before.items())


def test_a_host_is_opened_without_the_run_of_its_part(run: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(run, tmp_path / "part")
    (tmp_path / "shape.yaml").write_text(yaml.safe_dump(PART))
    made = host(moved)
    made["use"]["shape"] |= {"spec": "shape.yaml", "weights": "part"}
    (tmp_path / "host.yaml").write_text(yaml.safe_dump(made))
    trained = sgc.train(tmp_path / "host.yaml", host_rows(), output=tmp_path / "host")
    shutil.rmtree(moved)
    (tmp_path / "shape.yaml").unlink()
    again = sgc.open(tmp_path / "host")
    assert all(torch.equal(v, again.state_dict()[n]) for n, v in trained.model.state_dict().items())


def test_without_its_run_a_part_is_compiled_with_a_warning_and_never_trained(tmp_path: Path) -> None:
    made = host(tmp_path / "none")
    with pytest.warns(UserWarning, match="no run at '.*none': its weights are drawn at random"):
        sgc.compile(made)
    with pytest.raises(UsageError, match=r"^use.shape.weights: no run at '.*none': train the part first$"):
        sgc.train(made, host_rows(), output=tmp_path / "host")
    assert not (tmp_path / "host").exists()


def test_a_check_warns_of_a_run_that_is_not_there_yet(run: Path, tmp_path: Path) -> None:
    told = f"use.shape.weights: no run at '{tmp_path / 'none'}' yet, and training needs one"
    assert told in warnings(outline(sgc.load(host(tmp_path / "none"))))
    assert not any("weights" in each for each in warnings(outline(sgc.load(host(run)))))


def test_weights_of_another_spec_are_refused_with_the_first_names_that_differ(run: Path) -> None:
    wider = copy.deepcopy(PART)
    wider["nodes"]["z"]["shape"] = [3]
    with pytest.raises(UsageError) as problem:
        sgc.compile(host(run, spec=wider))
    assert str(problem.value) == (
        f"use.shape.weights: {run / 'best.safetensors'}: the weights do not fit the spec: "
        "'generative.x_.trunk.first.weights.1' has shape [5, 2], wanted [5, 3]"
    )
    deeper = copy.deepcopy(PART)
    deeper["nodes"]["x"]["generative"]["network"] = {"mlp": [5, 5]}
    with pytest.raises(UsageError, match=r"the file lacks generative\.x_\.trunk\.rest"):
        sgc.compile(host(run, spec=deeper))


def test_a_folder_that_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no run with weights, wanted best.safetensors or last.safetensors in it"):
        sgc.compile(host(tmp_path))


def test_a_part_in_a_repeat_has_the_same_numbers_in_every_step(run: Path) -> None:
    body = host(run, freeze=True)
    made = {
        "version": 1,
        "repeat": {"t": {"count": 3, "use": body["use"], "nodes": body["nodes"]}},
    }
    model = sgc.compile(made).eval()
    x = torch.tensor(rows()["x"])
    with torch.no_grad():
        steps = [model.conditional(f"t.shape.y@{i}", "recognition", {f"t.image@{i}": x}).mean for i in (1, 2, 3)]
        assert all(torch.equal(step, steps[0]) for step in steps)
        assert torch.equal(steps[0], sgc.open(run).conditional("y", "recognition", {"x": x}).mean)


def test_what_the_carries_of_a_part_are_made_of_is_read_and_frozen_too(tmp_path: Path) -> None:
    """A unit behind other layers, and a backward state held by a count, are features that nobody wrote."""
    gru = [{"mlp": [3]}, {"gru": 4}]
    carry = {
        "ahead": {"parents": ["w", "prev.z"], "network": gru},
        "back": {"parents": ["w"], "network": gru, "direction": "backward"},
        "plain": {"parents": ["w", "prev.plain"], "network": {"mlp": [2]}, "direction": "backward"},
    }
    read = {"parents": list(carry), "network": {"mlp": []}}
    z = {"distribution": "Normal", "supervision": "none", "recognition": read}
    k = {"distribution": "Categorical", "categories": 3, "supervision": "partial", "recognition": {"parents": ["w"]}}
    k["recognition"] |= {"network": {"mlp": []}, "estimator": "enumerate"}
    w = {"distribution": "Normal", "supervision": "full", "generative": {"parents": ["t.z"], "network": {"mlp": [3]}}}
    part = {"version": 1, "nodes": {"w": w, "k": k}, "repeat": {"t": {"count": "k", "carry": carry, "nodes": {"z": z}}}}
    own = sgc.compile(part)
    save_file(own_state(own), tmp_path / "part.safetensors")
    use = {"p": {"spec": part, "weights": str(tmp_path / "part.safetensors"), "freeze": True}}
    seen = {**w, "generative": {"parents": ["p.w"], "network": {"mlp": [2]}}}
    model = sgc.compile({"version": 1, "use": use, "nodes": {"seen": seen}})
    brought = part_state(model)
    assert brought.keys() == own.state_dict().keys()
    assert all(torch.equal(brought[name], tensor) for name, tensor in own.state_dict().items())
    assert {name.split(".")[1] for name, each in model.named_parameters() if each.requires_grad} == {"seen_"}


def nested(weights: Path | None = None, inner: Path | None = None) -> Raw:
    """Write a host of a part that is a host itself, of one node that all three have."""
    x = {"distribution": "Bernoulli", "shape": [4], "supervision": "full"}
    middle: Raw = {"version": 1, "use": {"shape": {"spec": copy.deepcopy(PART), "bind": {"x": "x"}}}, "nodes": {"x": x}}
    made: Raw = {"version": 1, "use": {"m": {"spec": middle, "bind": {"x": "image"}}}, "nodes": {"image": x}}
    if inner is not None:
        middle["use"]["shape"]["weights"] = str(inner)
    if weights is not None:
        made["use"]["m"]["weights"] = str(weights)
    return made


def test_a_node_is_handed_on_to_the_part_of_a_part() -> None:
    model = sgc.compile(nested())
    assert list(model.outline.variables) == ["image", "m.shape.y", "m.shape.z"]
    assert model.outline.graphs.parents("image", "generative") == ("m.shape.y", "m.shape.z")


def test_the_run_of_a_part_has_the_weights_of_the_parts_in_it(run: Path, tmp_path: Path) -> None:
    """What the outer run made of them is read, not what the inner one started from."""
    middle = sgc.compile(nested(inner=run)["use"]["m"]["spec"])
    with torch.no_grad():
        for parameter in middle.parameters():
            parameter += 1
    save_file(own_state(middle), tmp_path / "middle.safetensors")
    state = sgc.compile(nested(tmp_path / "middle.safetensors", run)).state_dict()
    for name, tensor in middle.state_dict().items():
        here = name.replace(".x_", ".image_").replace(".shape/", ".m/shape/")
        assert torch.equal(state[here], tensor), name
