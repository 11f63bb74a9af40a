"""Training loops that are not ours take a compiled spec as a module: examples learn, torch.func differentiates."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import small, small_arrays
from torch.func import functional_call, grad

import sgc
from sgc.randomness import drawing_from

LOOPS = Path(__file__).resolve().parent.parent / "examples" / "own_loops"


@pytest.mark.parametrize(
    ("file", "function", "needs"),
    [
        ("plain_pytorch", "main", ["sklearn"]),
        ("with_lightning", "main", ["sklearn", "lightning"]),
        ("with_hugging_face", "main", ["sklearn", "transformers", "accelerate"]),
        ("with_hugging_face", "accelerated", ["sklearn", "transformers", "accelerate"]),
    ],
)
def test_a_loop_of_an_example_learns(
    file: str, function: str, needs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in needs:
        pytest.importorskip(library, reason=f"the example is a loop of {library}, which is not installed")
    monkeypatch.syspath_prepend(LOOPS)
    torch.manual_seed(0)
    losses = runpy.run_path(str(LOOPS / f"{file}.py"))[function](2)
    sys.modules.pop("digits_rows", None)
    assert losses[-1] < losses[0] - 1


def test_torch_func_takes_the_gradient_that_backward_takes() -> None:
    model, arrays = sgc.compile(small()), small_arrays(9, 4)
    batch = {"x": torch.tensor(arrays["x"], dtype=torch.float32), "y": torch.tensor(arrays["y"])}

    def seeded() -> torch.Generator:
        return torch.Generator().manual_seed(0)

    prepared = model.prepare(batch)

    def loss(weights: Any) -> torch.Tensor:
        with drawing_from(seeded()):
            value: torch.Tensor = functional_call(model, weights, prepared)[0]
            return value

    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
    gradient = grad(loss)(weights)
    wanted = model.objective(batch, generator=seeded()).loss
    wanted.backward()
    torch.testing.assert_close(loss(weights), wanted.detach())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradient[name], parameter.grad)
