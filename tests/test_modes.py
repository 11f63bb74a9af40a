"""A run and a model compute as they say, to the bit, whatever modes of torch the code around the call has set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import finished_files, small, small_arrays

import sgc

X = np.arange(12.0).reshape(4, 3)


@contextmanager
def default_type(kind: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(kind)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


AROUND: dict[str, Callable[[], AbstractContextManager[Any]]] = {  # Any: nobody takes what they give
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "another default device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "float64": lambda: default_type(torch.float64),
    "bfloat16": lambda: default_type(torch.bfloat16),
}


def trained(folder: Path) -> dict[str, Any]:  # Any: what differs in none of its parts
    """Train, evaluate and open a run, and infer and generate by its model."""
    sgc.train(small(train__epochs=1), small_arrays(), output=folder)
    report = sgc.evaluate(folder, data=small_arrays(20, seed=1)).plain()
    model = sgc.open(folder)
    inferred = model.infer({"x": X}, samples=20, generator=torch.Generator("cpu").manual_seed(1))
    made = model.generate(3, generator=torch.Generator("cpu").manual_seed(2))
    return {
        "files": finished_files(folder),
        "report": {key: value for key, value in report.items() if key != "run"},
        "means": {name: each.mean.tolist() for name, each in inferred.items()},
        "made": {name: each.tolist() for name, each in made.items()},
    }


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return trained(tmp_path_factory.mktemp("alone") / "run")


@pytest.mark.parametrize("name", AROUND)
def test_a_run_is_the_same_in_any_mode(name: str, alone: dict[str, Any], tmp_path: Path) -> None:
    if name == "autocast":  # which a caller of a model may well want: a run alone is held to its spec
        with AROUND[name]():
            sgc.train(small(train__epochs=1), small_arrays(), output=tmp_path / "run")
        assert finished_files(tmp_path / "run") == alone["files"]
        return
    with AROUND[name]():
        found = trained(tmp_path / "run")
    assert found == alone


@pytest.mark.parametrize("made", ["compiled", "opened"])
def test_what_is_made_in_inference_mode_has_gradients_later(made: str, tmp_path: Path) -> None:
    sgc.train(small(train__epochs=1), small_arrays(), output=tmp_path / "run")
    with torch.inference_mode():
        model = sgc.compile(small()) if made == "compiled" else sgc.open(tmp_path / "run")
        batch = {"x": torch.as_tensor(X), "y": torch.tensor([0, 1, 2, -1])}
        assert not model.objective(batch).loss.requires_grad
    loss = model.objective(batch, weights=batch["x"][:, 0]).loss
    loss.backward()
    assert all(each.grad is not None for each in model.generative.parameters())


def test_a_part_of_a_model_on_no_device_is_built_without_draws() -> None:
    with torch.device("meta"):
        assert next(sgc.compile(small()).parameters()).is_meta
