"""Devices, types of numbers and optimisers of a training are those of torch."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn

from sgc.errors import UsageError
from sgc.spec.training_section import Optimizer
from sgc.training.engine import make_optimizer
from sgc.training.precision import Mixed, device_of, precision_of

CPU = torch.device("cpu")
NAMES = get_args(Optimizer.model_fields["name"].annotation)


@pytest.mark.parametrize(
    ("name", "mps", "cuda", "device"),
    [
        ("cpu", 0, 2, "cpu"),
        ("auto", 0, 0, "cpu"),
        ("auto", 0, 2, "cuda:0"),
        ("auto", 1, 0, "mps:0"),
        ("gpu", 0, 1, "cuda:0"),
        ("cuda", 0, 2, "cuda:0"),
        ("cuda:1", 0, 2, "cuda:1"),
        ("cuda", 0, 0, "wanted auto or cpu"),
        ("gpu", 0, 0, "wanted auto or cpu"),
        ("cuda:2", 0, 2, "wanted auto or cpu or cuda or cuda:1"),
        ("cpu:0", 0, 0, "wanted auto or cpu"),
        ("abacus", 1, 0, "wanted auto or cpu or mps"),
    ],
)
def test_a_device_is_one_that_is_there(
    monkeypatch: pytest.MonkeyPatch, name: str, mps: int, cuda: int, device: str
) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: bool(mps))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    if not device.startswith("wanted"):
        assert device_of(name) == torch.device(device)
        return
    with pytest.raises(UsageError) as caught:
        device_of(name)
    assert str(caught.value) == f"train.device is '{name}', which cannot be used here: {device}"


@pytest.mark.parametrize(
    ("name", "weights", "product"),
    [
        ("32-true", torch.float32, torch.float32),
        ("64-true", torch.float64, torch.float64),
        ("bf16-mixed", torch.float32, torch.bfloat16),
        ("16-mixed", torch.float32, torch.bfloat16),  # which a CPU computes instead
    ],
)
def test_a_precision_gives_weights_and_products_their_types(
    name: str, weights: torch.dtype, product: torch.dtype
) -> None:
    precision, layer = precision_of(name, CPU), nn.Linear(2, 2)
    precision.prepare(layer)
    with precision.autocast():
        made = layer(torch.ones(1, 2))
    assert (layer.weight.dtype, made.dtype) == (weights, product)
    assert torch.get_default_dtype() == torch.float32
    assert precision.state_dict() == {}
    assert not precision.skips_steps


def test_half_precision_scales_losses_and_skips_what_overflows() -> None:
    precision, weight = Mixed("16-mixed", "cpu"), nn.Parameter(torch.ones(2))
    optimizer = make_optimizer(Optimizer(name="SGD", lr=0.5), [weight])
    precision.backward((weight * torch.tensor([1.0, 2.0])).sum())
    scale = precision.state_dict()["scale"]
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, scale * torch.tensor([1.0, 2.0]))
    precision.unscale(optimizer)
    torch.testing.assert_close(weight.grad, torch.tensor([1.0, 2.0]))
    precision.step(optimizer)
    torch.testing.assert_close(weight.data, torch.tensor([0.5, 0.0]))
    weight.grad = torch.full((2,), torch.inf)
    precision.step(optimizer)
    torch.testing.assert_close(weight.data, torch.tensor([0.5, 0.0]))
    assert precision.skips_steps
    assert precision.state_dict()["scale"] == scale / 2
    other = Mixed("16-mixed", "cpu")
    other.load_state_dict(precision.state_dict())
    assert other.state_dict() == precision.state_dict()


@pytest.mark.parametrize("name", NAMES)
def test_an_optimiser_moves_weights_as_the_one_of_torch_does(name: str) -> None:
    start = torch.linspace(-1, 1, 7)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizer = make_optimizer(Optimizer(name=name, lr=0.01), [ours])
    fused = {"fused": True} if optimizer.defaults.get("fused") else {}
    of_torch = getattr(torch.optim, name)([theirs], lr=0.01, weight_decay=0.0, **fused)
    for _ in range(5):
        for weight, stepper in ((ours, optimizer), (theirs, of_torch)):
            stepper.zero_grad()
            (weight**4 - weight).sum().backward()
            stepper.step()
    assert torch.equal(ours, theirs)
    assert ours.requires_grad
    assert isinstance(optimizer, type(of_torch))
    saved, wanted = (each.state_dict()["state"].get(0, {}) for each in (optimizer, of_torch))
    assert saved.keys() == wanted.keys()
    assert all(torch.equal(saved[key], value) for key, value in wanted.items() if value is not None)
