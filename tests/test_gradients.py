"""A gradient that is no finite number stops a step before its update, by node and term; blow-ups end in words."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import At, all_files, small, small_arrays, z_then_y
from torch import Tensor

import sgc
from sgc.distributions.families import FAMILIES
from sgc.distributions.family import Family
from sgc.errors import DataError, RunError
from sgc.runtime.model import Model
from sgc.training import recorded_steps
from sgc.training.gradient_check import clip, gradient_norm, is_finite


def spoil(value: Tensor) -> Tensor:
    """Give the same value with a gradient that is NaN, as √ at 0 makes it."""
    return value + torch.sqrt(value * 0)


def no_gradient(monkeypatch: pytest.MonkeyPatch, method: str, family: str, which: Callable[[Any], bool]) -> None:
    """Spoil the gradient of what a family's method gives, from its 40th call on: once there is a checkpoint."""
    plain, calls = getattr(Family, method), [0]

    def spoiled(self: Family, first: Any, *args: Any, **words: Any) -> Any:
        found = plain(self, first, *args, **words)
        if self.name != family or not which(first) or not torch.is_grad_enabled():
            return found
        calls[0] += 1
        if calls[0] < 40:
            return found
        if isinstance(found, Tensor):
            return spoil(found)
        return type(found)(spoil(found.value))

    monkeypatch.setattr(Family, method, spoiled)


CASES: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "log p": ({}, "log_prob", "Normal", "node 'x': the gradient of log p is not finite, in rows without labels"),
    "log q": (
        {"nodes__z__distribution": "Laplace", "objective": {"kl": "sampled"}},
        "log_prob",
        "Laplace",
        "node 'z': the gradient of log q is not finite, in rows without labels",
    ),
    "kl": (
        {"nodes__z__generative": {"parents": ["y"], "network": {"mlp": []}}},
        "kl",
        "Normal",
        "node 'z': the gradient of the KL is not finite, in rows without labels",
    ),
    "draw": (
        {"nodes__z__distribution": "Laplace"},
        "draw",
        "Laplace",
        "node 'z': the gradient of what q proposes is not finite, in rows without labels",
    ),
    "label": (
        {"objective": {"bound": "supervised"}},
        "log_prob",
        "Categorical",
        "node 'y': the gradient of log q of the label is not finite, in rows with y labelled",
    ),
}


@pytest.mark.parametrize("precision", ["32-true", "64-true"])
@pytest.mark.parametrize("case", CASES)
def test_a_gradient_that_is_not_finite_names_node_and_term_and_moves_nothing(
    case: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes, method, family, told = CASES[case]
    monkeypatch.setattr(Model, "validate_args", False)  # as in the shell
    folder = tmp_path / "run"
    kept: dict[str, bytes] = {}

    class Keep(At):
        def epoch(self, line: Any) -> None:
            kept.update({name: content for name, content in all_files(folder).items() if name != "train.lock"})

    no_gradient(monkeypatch, method, family, lambda _: True)
    monkeypatch.setattr(recorded_steps, "WORTH", math.inf)  # what is patched here is Python's, and in no recording
    spec = small(**changes, train__epochs=60, train__precision=precision)
    with pytest.raises(RunError) as caught:
        sgc.train(spec, data=small_arrays(), output=folder, watcher=Keep(0))
    step, text = str(caught.value).split(": ", 1)
    assert re.fullmatch(r"step \d+ \(epoch \d+\)", step)
    assert text == f"{told}; the last checkpoint is untouched"
    assert all_files(folder) == kept


def test_the_weights_stay_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sgc.runs.run_folder import RunFolder
    from sgc.runtime.data_variables import open_data
    from sgc.spec.resolver import outline
    from sgc.training.trainer import Trainer
    from sgc.training.watchers import Silent

    made = outline(sgc.load(small()))
    trainer = Trainer(made, open_data(made, tmp_path, small_arrays()), RunFolder(tmp_path), Silent(), debug=False)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    plain = Family.log_prob
    monkeypatch.setattr(Family, "log_prob", lambda self, *args: spoil(plain(self, *args)))
    with pytest.raises(RunError, match="the gradient of log p is not finite"):
        trainer.learner.learn(*trainer.streams.take(0))
    assert all(torch.equal(before[name], tensor) for name, tensor in trainer.model.state_dict().items())
    assert not trainer.optimizer.state


def test_a_varying_weight_is_blamed_by_its_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = z_then_y(data=None, train__epochs=5, objective={"samples": 3, "alpha": 2.0})
    monkeypatch.setattr(Model, "validate_args", False)
    plain = Family.log_prob

    def spoiled(self: Family, distribution: Any, *args: Any) -> Tensor:
        found = plain(self, distribution, *args)
        rows = found.shape[-1]
        return spoil(found) if self.name == "Categorical" and rows == 8 and found.dim() > 1 else found

    monkeypatch.setattr(Family, "log_prob", spoiled)
    with pytest.raises(RunError, match=r"^step 1 \(epoch 1\): node 'y': the gradient of log q of the label is not"):
        sgc.train(spec, data=small_arrays(), output=tmp_path / "run")


# ---- norms


def parameters(*gradients: list[float]) -> list[torch.nn.Parameter]:
    made = []
    for each in gradients:
        made.append(torch.nn.Parameter(torch.zeros(len(each))))
        made[-1].grad = torch.tensor(each)
    return made


def test_large_gradients_are_finite_and_are_clipped_by_their_own_norm() -> None:
    """Squares of float32 overflow from 1.8e19 on: torch then clips to nothing at all."""
    large = parameters([3e30, 0.0], [4e30])
    norm = gradient_norm([each.grad for each in large if each.grad is not None])
    assert math.isinf(norm)
    assert is_finite(large, norm)
    clip(large, norm, 10.0)
    assert [each.grad.tolist() for each in large if each.grad is not None] == [
        pytest.approx([6.0, 0.0]),
        pytest.approx([8.0]),
    ]


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_found(broken: float) -> None:
    found = parameters([1.0, 2.0], [broken, 1.0])
    assert not is_finite(found, gradient_norm([each.grad for each in found if each.grad is not None]))


def test_clipping_is_that_of_torch() -> None:
    draw = torch.Generator().manual_seed(0)
    for limit in (0.1, 1.0, 100.0):
        own, torchs = (parameters([1.0] * 5, [2.0] * 7) for _ in range(2))
        for one, other in zip(own, torchs, strict=True):
            one.grad = torch.randn(one.shape, generator=draw)
            other.grad = one.grad.clone()
        clip(own, gradient_norm([each.grad for each in own if each.grad is not None]), limit)
        torch.nn.utils.clip_grad_norm_(torchs, limit)
        for one, other in zip(own, torchs, strict=True):
            assert one.grad is not None
            assert other.grad is not None
            assert torch.equal(one.grad, other.grad)


# ---- blow-ups

TOLD = re.compile(
    r"step \d+ \(epoch \d+\)(, (validation|gradient))?: "
    r"((node '\w+'|[pq]\(\w+[^)]*\)): |\w+ cannot take a step with )[^\n]*; the last checkpoint is untouched"
)
FIXED = ("OneHotCategorical", "Uniform")  # Categorical by another name; one that no network can give its ends
LATENT = sorted(name for name in FAMILIES if name not in FIXED)


def latent(name: str) -> dict[str, Any]:
    """Write the small M2 with a latent node of a family."""
    family = FAMILIES[name]
    options: dict[str, Any] = {option: 4 for option, facts in family.options.items() if facts.default is None}
    options |= {"of": "Poisson"} if family.inflates else {}
    changes: dict[str, Any] = {
        "nodes__z__distribution": {name: options} if options else name,
        "nodes__z__shape": [3] if family.event_dim else [2],
        "nodes__z__generative": {"parents": ["y"], "network": {"mlp": [4]}},
    }
    if name == "Categorical":
        changes |= {"nodes__z__shape": [], "nodes__z__categories": 3}
    return small(**changes, train={"epochs": 1, "batch_size": 10, "optimizer": {"name": "SGD", "lr": 1e6}})


def ends_in_words(spec: dict[str, Any], arrays: dict[str, Any], folder: Path) -> None:
    """Train: either it comes to its end, with finite weights, or it stops in words."""
    try:
        run = sgc.train(spec, data=arrays, output=folder, force=True)
    except RunError as problem:
        assert TOLD.fullmatch(str(problem)), str(problem)  # noqa: PT017 - it may also end well
    else:
        assert all(bool(torch.isfinite(each).all()) for each in run.model.state_dict().values())


@pytest.mark.parametrize("family", LATENT)
def test_a_learning_rate_of_a_million_ends_in_words(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model, "validate_args", False)  # as in the shell
    ends_in_words(latent(family), small_arrays(), tmp_path / "run")


@pytest.mark.parametrize("family", ["StudentT", "Gamma"])
@pytest.mark.parametrize("optimizer", [{"lr": 1e6}, {"name": "SGD", "lr": 1e3}, {"name": "RMSprop", "lr": 100.0}])
def test_other_steps_that_are_too_long(
    optimizer: dict[str, Any], family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model, "validate_args", False)
    spec = latent(family)
    spec["train"]["optimizer"] = optimizer
    ends_in_words(spec, small_arrays(), tmp_path / "run")


@pytest.mark.parametrize("name", ["Adam", "AdamW", "NAdam", "RAdam", "Adamax", "SGD", "RMSprop"])
@pytest.mark.parametrize("number", ["lr", "weight_decay", "eps"])
@pytest.mark.parametrize("precision", ["32-true", "64-true"])
def test_numbers_of_any_optimiser_that_no_weight_holds(
    precision: str, number: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model, "validate_args", False)
    if (name, number) != ("SGD", "eps"):
        spec = small(train={"epochs": 1, "precision": precision, "optimizer": {"name": name, number: 1e300}})
        ends_in_words(spec, small_arrays(), tmp_path / "run")


def test_a_step_that_torch_refuses_names_its_numbers(tmp_path: Path) -> None:
    with pytest.raises(RunError) as told:
        sgc.train(small(train__optimizer={"name": "RMSprop", "lr": 1e300}), small_arrays(), output=tmp_path / "run")
    assert str(told.value) == (
        "step 1 (epoch 1): RMSprop cannot take a step with lr 1e+300, weight_decay 0.0: "
        "the number type of a weight cannot hold one of these; the last checkpoint is untouched"
    )


@pytest.mark.parametrize("precision", ["32-true", "64-true"])
@pytest.mark.parametrize("size", [1e10, 1e19, 1e30, 1e38])
def test_data_as_large_as_that_end_in_words(
    size: float, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model, "validate_args", False)
    for rows in (slice(3, 4), slice(None)):
        arrays = small_arrays()
        arrays["x"][rows] = np.sign(arrays["x"][rows]) * size
        spec = small(train={"epochs": 1, "batch_size": 20, "precision": precision})
        ends_in_words(spec, arrays, tmp_path / "run")
    with pytest.raises(DataError):
        sgc.train(spec, data={**arrays, "x": np.full((60, 3), np.inf)}, output=tmp_path / "run", force=True)


def test_a_bound_too_large_to_add_up_names_the_largest_term(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Model, "validate_args", False)
    log_prob, kl = Family.log_prob, Family.kl
    monkeypatch.setattr(
        Family, "log_prob", lambda self, *args: log_prob(self, *args) - (3e38 if self.name == "Normal" else 0.0)
    )
    monkeypatch.setattr(Family, "kl", lambda self, *args: kl(self, *args) + (2e38 if self.name == "Normal" else 0.0))
    with pytest.raises(RunError) as told:
        sgc.train(small(), data=small_arrays(), output=tmp_path / "run")
    words = "log p is as large as 3e+38 nats, too large to add up, in rows"
    assert str(told.value).startswith(f"step 1 (epoch 1): node 'x': {words}")
