"""A replayed step is the step itself: its loss, bounds, terms, gradients, weights and draws are the same to the bit."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sgc
from sgc.runs.run_folder import RunFolder
from sgc.runtime.data_variables import open_data
from sgc.runtime.model import Model
from sgc.spec.resolver import outline
from sgc.training.recorded_steps import RecordedSteps
from sgc.training.trainer import Trainer
from sgc.training.watchers import Silent

sys.path.insert(0, str(Path(__file__).parent / "fuzz"))
import drawn_specs

Raw = dict[str, Any]  # Any: a spec as plain data


def arrays_for(spec: Raw, rows: int = 40) -> dict[str, Any]:  # Any: arrays
    """Draw data from a model's own p, with labels of partial nodes in half of the rows."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    model = sgc.compile(spec)
    inputs: dict[str, Any] = {}
    for name, section in spec.get("inputs", {}).items():
        if "values" in section or "categories" in section:
            count = len(section["values"]) if "values" in section else section["categories"]
            inputs[name] = torch.from_numpy(rng.integers(0, count, rows))
        else:
            inputs[name] = torch.from_numpy(rng.random((rows, *section.get("shape", ())))).float()
    drawn = model.generate(rows, inputs)
    found: dict[str, Any] = {}
    for name, value in {**drawn, **inputs}.items():
        steps = model.outline.stepped[name].nodes if name in model.outline.stepped else [name]
        graph_node = model.outline.graphs.nodes.get(steps[0])
        if graph_node is not None and graph_node.supervision == "none":
            continue
        array = value.numpy().astype(float)
        places = spec["nodes"].get(name, {}).get("values")
        if places is not None:
            array = np.array(places, dtype=float)[array.astype(int)]
        if graph_node is not None and graph_node.supervision == "partial":
            array[rows // 2 :] = np.nan
        values = spec.get("inputs", {}).get(name, {}).get("values")
        found[name] = array if values is None else np.array(values)[array.astype(int)]
    return found


def trainer(spec: Raw, arrays: Mapping[str, Any], folder: Path, *, recorded: bool) -> Trainer:
    loaded = sgc.load({**spec, "train": {"epochs": 1000, "batch_size": 8, **spec.get("train", {})}})
    made = outline(loaded)
    found = Trainer(made, open_data(made, folder, arrays), RunFolder(folder / "run"), Silent(), debug=False)
    found.steps.allowed = recorded and found.steps.allowed
    found.model.train()
    return found


def assert_same_training(spec: Raw, arrays: Mapping[str, Any], folder: Path, steps: int = 8) -> RecordedSteps:
    plain, recorded = (trainer(spec, arrays, folder, recorded=way) for way in (False, True))
    for _ in range(steps):
        plain._step()
        recorded._step()
    assert recorded.totals.state() == plain.totals.state()
    for (name, one), other in zip(plain.model.state_dict().items(), recorded.model.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    return recorded.steps
