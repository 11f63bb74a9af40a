"""Before the first step of a repeat, what stands in a repeat within it is zeros, and none of its steps is there."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sgc.runtime.compiler import compile_spec
from sgc.spec.loader import load

Raw = dict[str, Any]  # Any: plain data


def nested(inner: object, combine: str) -> Raw:
    q = {"parents": ["x"], "network": {"mlp": []}}
    return {
        "version": 1,
        "nodes": {
            "k": {"distribution": "Categorical", "values": [1, 2], "supervision": "full"},
            "x": {"distribution": "Normal", "shape": [2], "supervision": "full"},
        },
        "repeat": {
            "s": {
                "count": 2,
                "features": {
                    "one": {"parents": ["prev.w.z"], "network": {"combine": combine}},
                    "all": {"parents": ["prev.w.z"], "network": {"mlp": [3], "activation": "none"}},
                },
                "nodes": {
                    "y": {
                        "distribution": "Normal",
                        "supervision": "none",
                        "generative": {"parents": ["one", "all"], "network": {"mlp": []}},
                        "recognition": q,
                    }
                },
                "repeat": {
                    "w": {
                        "count": inner,
                        "nodes": {"z": {"distribution": "Normal", "supervision": "none", "recognition": q}},
                    }
                },
            }
        },
    }


@pytest.mark.parametrize("combine", ["sum", "max", "mean", "last"])
@pytest.mark.parametrize("inner", [2, "k"])
def test_the_first_step_reads_zeros_of_the_steps_within_the_one_before(inner: object, combine: str) -> None:
    model = compile_spec(load(nested(inner, combine))).double()
    rows, k = 4, torch.tensor([0, 1, 1, 0])
    z = torch.randn(2, 2, rows, dtype=torch.float64)
    values = {f"s.w.z@{i + 1}.{j + 1}": z[i, j] for i in range(2) for j in range(2)} | {"k": k}
    module = model.generative["s/y_"]
    weights, bias = list(module.heads.weights), module.heads.bias  # type: ignore[union-attr, arg-type]
    layer = model.features["s/all_"].trunk.first  # type: ignore[union-attr]
    there = torch.stack([torch.ones(rows), (k > 0).float() if inner == "k" else torch.ones(rows)], 1).double()
    for step in (1, 2):
        before = z[step - 2].T if step == 2 else torch.zeros(rows, 2, dtype=torch.float64)
        exists = there if step == 2 else torch.zeros_like(there)
        shown_steps = before * (exists if inner == "k" else 1)
        parents = [shown_steps, exists] if inner == "k" else [shown_steps]
        beside = sum(p @ w.T for p, w in zip(parents, layer.weights, strict=True)) + layer.bias  # type: ignore[union-attr, arg-type]
        if combine == "last":
            one = torch.where(exists[:, 1] > 0, before[:, 1], before[:, 0]) if inner == "k" else before[:, 1]
        elif combine == "max":
            one = torch.where(there > 0, before, -torch.inf).amax(1) if step == 2 else before[:, 0]
        else:
            one = shown_steps.sum(1) / (there.sum(1) if combine == "mean" else 1)
        wanted = one[:, None] @ weights[0].T + beside @ weights[1].T + bias
        got = model.conditional(f"s.y@{step}", "generative", values)
        torch.testing.assert_close(got.mean, wanted[:, 0], rtol=1e-9, atol=1e-9)
