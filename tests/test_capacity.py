"""Plans that enumerate more than tensors or memory hold are refused in words before anything is computed."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import sgc
from sgc.errors import RunError

Raw = dict[str, Any]  # Any: plain data


def fully_connected(count: int) -> Raw:
    """Categorical latents, each of which q proposes from all before it: every one of them meets every other."""
    q = {"network": {"mlp": [3]}, "estimator": "enumerate"}
    nodes: Raw = {
        f"z{i}": {
            "distribution": "Categorical",
            "categories": 4,
            "supervision": "none",
            "recognition": {"parents": ["x", *(f"z{j}" for j in range(i))], **q},
        }
        for i in range(count)
    }
    p = {"parents": list(nodes), "network": {"mlp": [3]}}
    return {"version": 1, "nodes": {**nodes, "x": {"distribution": "Normal", "supervision": "full", "generative": p}}}


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (
            70,
            "rows without labels: 70 enumerated nodes meet in one tensor, and a tensor has at most 64 dimensions, "
            "those of samples, rows and values among them; draw some of them: give estimator score_function or "
            "gumbel_softmax to nodes among z0, z1, z2, …",
        ),
        (
            30,
            "rows without labels: not enough memory: the largest sum over enumerated nodes has 10^18 numbers a row, "
            "with 2 rows 10^18 bytes, and this machine has ",
        ),
    ],
)
def test_enumeration_that_nothing_holds_is_refused(count: int, told: str) -> None:
    model = sgc.compile(sgc.load(fully_connected(count)))
    with pytest.raises(RunError) as problem:
        model.objective({"x": torch.zeros(2)})
    assert str(problem.value).startswith(told)


def test_enumeration_that_memory_holds_is_computed() -> None:
    model = sgc.compile(sgc.load(fully_connected(5)))
    assert model.objective({"x": torch.zeros(2)}).loss.isfinite()
