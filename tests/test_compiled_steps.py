"""`train.compile`: steps of torch.compile are those that are computed, up to rounding, and a stopped run ends the same.

The graphs are those of torch.compile, run by torch itself: code for a processor takes a compiler and half a minute.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import small, small_arrays
from test_recorded_steps import SPECS, Raw, ends_the_same, trainer
from test_unread_steps import equal, two

import sgc
from sgc.errors import SpecError
from sgc.tape import compiled
from sgc.training.compiled_steps import CompiledSteps


@pytest.fixture(autouse=True)
def _by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = torch.compile

    def by_torch(module: Any, *, mode: str | None, **settings: Any) -> Any:
        assert mode is None
        return whole(module, backend="aot_eager", **settings)

    monkeypatch.setattr(compiled.torch, "compile", by_torch)


def compiling(spec: Raw) -> Raw:
    return {**spec, "train": {**spec["train"], "compile": True}}


@pytest.mark.parametrize("name", ["m2 in float64", "relaxed ever harder"])
def test_a_compiled_step_is_a_computed_one_up_to_rounding(name: str, tmp_path: Path) -> None:
    plain = trainer(SPECS[name], small_arrays(), tmp_path, recorded=False)
    other = trainer(compiling(SPECS[name]), small_arrays(), tmp_path, recorded=True)
    assert isinstance(other.steps, CompiledSteps)
    assert not isinstance(plain.steps, CompiledSteps)
    from torch._dynamo.utils import counters  # which takes as long to import as all of torch

    counters.clear()
    for _ in range(10):  # α, weights, temperatures move on, and no graph is compiled anew
        plain._step()
        other._step()
    kinds = list(other.steps._kinds.values())
    assert all(kind.run is not None and not kind.refusal for kind in kinds)
    assert counters["stats"]["unique_graphs"] == len(kinds)
    tolerance = 1e-12 if "float64" in name else 1e-5
    for one, second in zip(plain.model.parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(one, second, rtol=tolerance, atol=tolerance)


def test_a_compiled_run_that_was_stopped_ends_the_same(tmp_path: Path) -> None:
    ends_the_same(compiling(small(train__epochs=6, train__average=0.9)), tmp_path, at=(4, 2))


def test_what_cannot_be_compiled_is_computed_and_said(tmp_path: Path) -> None:
    spec = SPECS["score function"]
    plain = trainer(spec, small_arrays(), tmp_path, recorded=False)
    other = trainer(compiling(spec), small_arrays(), tmp_path, recorded=True)
    with pytest.warns(UserWarning, match=r"train\.compile: steps are computed .*multinomial\S* draws by what is"):
        other._step()
    plain._step()
    for _ in range(5):
        plain._step()
        other._step()
    for one, second in zip(plain.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(one, second)


def test_a_compiler_that_fails_leaves_steps_to_be_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*given: Any, **settings: Any) -> Any:
        return partial(_raise, "no compiler\nis there")

    monkeypatch.setattr(compiled.torch, "compile", fails)
    other = trainer(compiling(SPECS["m2"]), small_arrays(), tmp_path, recorded=True)
    with pytest.warns(UserWarning, match=r"torch\.compile gives up: no compiler\)"):
        other._step()
    plain = trainer(SPECS["m2"], small_arrays(), tmp_path, recorded=False)
    plain._step()
    for one, second in zip(plain.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(one, second)


def _raise(text: str, *given: object) -> None:
    raise RuntimeError(text)


def test_words_for_compile_are_held_to_a_list() -> None:
    assert sgc.load(compiling(small())).train.compile is True
    for word, got in (("fast", "'fast'"), (3, "")):
        with pytest.raises(SpecError, match=rf"train\.compile: expected false, true or reduce-overhead, got {got}"):
            sgc.load({**small(), "train": {"compile": word}})


def test_compiled_steps_in_windows_are_those_one_by_one(tmp_path: Path) -> None:
    one, other = two(compiling(SPECS["dropout and batch norm"]), tmp_path, 20)
    assert (7, True) in other.read
    equal(one, other)
