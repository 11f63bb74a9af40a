"""What grows with a repeat grows linearly: operators are counted, no clock is read. And what is taken together for many
steps equals what is taken step by step."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from test_repeats import random_repeat, rows
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import sgc
from sgc.errors import RunError
from sgc.runtime import execution, stacked_steps, sums
from sgc.runtime.model import Model

Raw = dict[str, Any]  # Any: a spec as plain data
ROWS = 3


class Counting(TorchDispatchMode):
    """Counts the operators on tensors, those of the backward pass too, and the numbers that they give."""

    def __init__(self) -> None:
        super().__init__()
        self.operators = self.numbers = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        self.operators += 1
        self.numbers += out.numel() if isinstance(out, Tensor) and not out._is_view() else 0
        return out


def mlp(*parents: str) -> Raw:
    return {"parents": [*parents], "network": {"mlp": [3]}}


def hmm(steps: int, labelled: int, bound: str = "elbo") -> tuple[Raw, Raw]:
    """Write an HMM, and rows of which some of the steps are labelled."""
    s: Raw = {"distribution": "Categorical", "categories": 2, "supervision": "partial", "generative": mlp("prev.s")}
    s["recognition"] = mlp("prev.s", "later") | {"estimator": "enumerate"}
    x = {"distribution": "Normal", "shape": [2], "supervision": "full", "generative": mlp("s")}
    later = {"parents": ["x"], "network": {"gru": 3}, "direction": "backward"}
    repeat = {"t": {"count": steps, "carry": {"later": later}, "nodes": {"s": s, "x": x}}}
    labels = torch.full((ROWS, steps), -1)
    labels[:, : labelled * steps // 4] = 1
    batch = {"t.x": torch.randn(ROWS, steps, 2), "t.s": labels}
    return {"version": 1, "repeat": repeat, "objective": {"bound": bound}}, batch


def chain(steps: int, labelled: int, bound: str = "elbo") -> tuple[Raw, Raw]:
    """Write a chain of Normal nodes, drawn, some of whose steps are labelled in all rows."""
    z: Raw = {"distribution": "Normal", "shape": [2], "supervision": "partial", "generative": mlp("prev.z")}
    z["recognition"] = mlp("prev.z", "x")
    x = {"distribution": "Normal", "shape": [2], "supervision": "full", "generative": mlp("t.z")}
    labels = torch.full((ROWS, steps, 2), float("nan"))
    labels[:, : labelled * steps // 4] = 0.5
    spec = {"version": 1, "nodes": {"x": x}, "repeat": {"t": {"count": steps, "nodes": {"z": z}}}}
    return {**spec, "objective": {"bound": bound, "samples": 2}}, {"x": torch.randn(ROWS, 2), "t.z": labels}


def apart(steps: int, labelled: int, bound: str = "elbo") -> tuple[Raw, Raw]:
    """Write the same chain where q proposes each step by itself."""
    spec, batch = chain(steps, labelled, bound)
    spec["repeat"]["t"]["nodes"]["z"]["recognition"] = mlp("x")
    return spec, batch


def counted(model: Model, batch: Raw, *, terms: bool) -> tuple[int, int]:
    with Counting() as found:
        outcome = model.objective(batch)
        if terms:
            assert outcome.terms
        else:
            outcome.loss.backward()
    return found.operators, found.numbers


WRITTEN = [(hmm, "elbo"), (hmm, "iwae"), (chain, "elbo"), (chain, "iwae"), (apart, "elbo")]


@pytest.mark.parametrize("labelled", [0, 2, 4])
@pytest.mark.parametrize(("write", "bound"), WRITTEN)
def test_operators_and_their_numbers_grow_linearly(
    write: Any, bound: str, labelled: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice as many more steps take twice as many more; four times, were each step to read all others.

    Only what each of many labels brings to `iwae` is taken one by one, of all labels before it.
    """
    monkeypatch.setattr(sums, "ONE_BY_ONE", 0)
    for terms in (False, True) if bound == "elbo" or not labelled else (False,):
        counts = []
        for steps in (16, 32, 64):
            spec, batch = write(steps, labelled, bound)
            counts.append(counted(sgc.compile(spec), batch, terms=terms))
        for first, second, third in zip(*counts, strict=True):
            assert third - second <= 2.1 * (second - first), counts


def terms_of(model: Model, batch: Raw, seed: int) -> dict[tuple[str, str], Tensor]:
    found = model.objective(batch, generator=torch.Generator().manual_seed(seed)).terms
    return {(name, role): term for name, roles in found.items() for role, term in roles.items()}


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("seed", range(8))
def test_terms_by_one_sweep_are_those_taken_one_by_one(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and their gradient, and in every mode of torch."""
    spec = random_repeat(random.Random(seed))
    if seed % 4 == 2:
        spec["objective"] = {"bound": "density", "samples": 2}
    model, batch, found = sgc.compile(spec), rows(seed), []
    for most in (10**9, 0):
        monkeypatch.setattr(sums, "ONE_BY_ONE", most)
        terms = terms_of(model, batch, seed)
        model.zero_grad()
        torch.stack([(i + 1) * each.sum() for i, each in enumerate(terms.values())]).sum().backward()
        found.append((terms, [p.grad for p in model.parameters() if p.grad is not None]))
        for mode in (torch.no_grad, torch.inference_mode):
            with mode():
                still = terms_of(model, batch, seed)
            for key, term in terms.items():
                torch.testing.assert_close(still[key], term.detach(), rtol=1e-12, atol=1e-12)
    (one, gradient), (other, same_gradient) = found
    assert one.keys() == other.keys()
    for key, term in one.items():
        torch.testing.assert_close(other[key], term, rtol=1e-12, atol=1e-12)
    for mine, theirs in zip(gradient, same_gradient, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
@pytest.mark.parametrize("seed", range(6))
def test_stacked_steps_are_the_steps_one_by_one(
    seed: int, dtype: torch.dtype, allowed: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounds and gradients; draws are the same ones."""
    spec = random_repeat(random.Random(seed))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = sgc.compile(spec).to(dtype)
    batch = {name: value.to(dtype) if value.is_floating_point() else value for name, value in rows(seed).items()}
    found = []
    for stacked in (True, False):
        if not stacked:
            monkeypatch.setattr(stacked_steps, "_stackable", lambda owner: False)
        model.zero_grad()
        outcome = model.objective(batch, generator=torch.Generator().manual_seed(seed))
        outcome.loss.backward()
        found.append((outcome.bound.detach(), [p.grad for p in model.parameters()]))
    (bound, gradients), (same_bound, same_gradients) = found
    torch.testing.assert_close(bound, same_bound, rtol=allowed, atol=allowed)
    for mine, theirs in zip(gradients, same_gradients, strict=True):
        if theirs is not None or mine is not None:
            torch.testing.assert_close(mine, theirs, rtol=10 * allowed, atol=10 * allowed)


def test_a_step_more_costs_no_density_more(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = []
    for _ in range(2):
        eight, nine = (counted(sgc.compile(spec), batch, terms=False)[0] for spec, batch in (apart(8, 0), apart(9, 0)))
        costs.append(nine - eight)
        monkeypatch.setattr(stacked_steps, "_stackable", lambda owner: False)
    stacked, one_by_one = costs
    assert stacked < 0.6 * one_by_one, costs


def test_steps_with_a_fault_are_scored_one_by_one_to_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, batch = apart(4, 0)
    model, generator = sgc.compile(spec), torch.Generator()
    wanted = model.objective(batch, generator=generator.manual_seed(0)).bound

    def wrong(*given: object) -> None:
        raise RunError("one of the steps")

    monkeypatch.setattr(execution._Walk, "score_stack", wrong)
    torch.testing.assert_close(model.objective(batch, generator=generator.manual_seed(0)).bound, wanted)
