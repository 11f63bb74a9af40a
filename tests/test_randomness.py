"""Draws come from the generator that was named, bit for bit those of torch's own with its seed, which is left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_runs import drawing_elsewhere, small
from test_families import ALL, elementary_event, member
from torch import Tensor, nn

import sgc
from sgc.distributions.family import Family
from sgc.randomness import Generators, built_in, drawing_from, draws


def assert_named(draw: Callable[[], Tensor]) -> None:
    """Hold a draw to that of torch's generator with the seed, in the thick of others' draws."""
    torch.manual_seed(7)
    wanted = draw()
    before = torch.get_rng_state()
    with drawing_from(Generators(7)):
        found = draw()
    assert torch.equal(found, wanted)
    assert torch.equal(torch.get_rng_state(), before)
    with drawing_elsewhere(), drawing_from(torch.Generator().manual_seed(7)):
        assert torch.equal(draw(), wanted)


@pytest.mark.parametrize("family", ALL)
def test_a_family_draws_from_the_generator_that_is_named(family: Family) -> None:
    event = elementary_event(family)
    distribution = member(family, event, 3, 5)
    assert_named(lambda: family.draw(distribution, (4, 5), pathwise=family.pathwise).value)
    if family.relaxation:
        assert_named(lambda: family.relaxed(distribution, 0.5, (4, 5)).value)


TORCH: dict[str, Callable[[], Tensor]] = {
    "rand": lambda: torch.rand(3),
    "randn": lambda: torch.randn(3),
    "randint": lambda: torch.randint(2, 9, (3,)),
    "randint from 0": lambda: torch.randint(9, (3,)),
    "randperm": lambda: torch.randperm(9),
    "rand_like": lambda: torch.rand_like(torch.zeros(3)),
    "randn_like": lambda: torch.randn_like(torch.zeros(3)),
    "normal": lambda: torch.normal(torch.zeros(3), torch.ones(3)),
    "bernoulli": lambda: torch.bernoulli(torch.full((9,), 0.5)),
    "in place": lambda: torch.zeros(3).uniform_().add(torch.zeros(3).cauchy_()),
    "dropout": lambda: nn.Dropout(0.4)(torch.ones(20)),
    "dropout of channels": lambda: nn.Dropout2d(0.4)(torch.ones(2, 9, 2, 2)),
    "initialisation": lambda: nn.Linear(3, 4).weight.detach() + nn.GRUCell(3, 1).weight_ih.detach()[:1],
    "attention": lambda: nn.MultiheadAttention(4, 2, dropout=0.5)(*torch.ones(3, 5, 4))[0].detach(),
}


@pytest.mark.parametrize("name", TORCH)
def test_what_torch_draws_comes_from_the_generator_that_is_named(name: str) -> None:
    def drawn() -> Tensor:
        with draws():
            return TORCH[name]()

    assert_named(drawn)


def test_every_call_of_a_model_draws_from_the_generator_that_is_passed_in() -> None:
    torch.manual_seed(0)
    model = sgc.compile(small(nodes__x__generative__network={"mlp": [6], "dropout": 0.5}))
    x = torch.randn(6, 3)
    batch = {"x": x, "y": torch.tensor([0, 1, 2, -1, -1, -1])}
    calls: dict[str, Callable[[torch.Generator], Any]] = {
        "objective": lambda each: model.objective(batch, samples=3, generator=each).bound,
        "infer": lambda each: model.infer({"x": x}, samples=20, generator=each)["y"].mean,
        "generate": lambda each: model.generate(6, generator=each)["x"],
    }
    for call in calls.values():
        wanted = call(torch.Generator().manual_seed(1))
        before = torch.get_rng_state()
        generator = torch.Generator().manual_seed(1)
        assert torch.equal(call(generator), wanted)
        assert torch.equal(torch.get_rng_state(), before)
        assert not torch.equal(call(generator), wanted)  # which moves on
        with drawing_elsewhere():
            assert torch.equal(call(torch.Generator().manual_seed(1)), wanted)


def test_modules_are_built_in_the_type_that_is_said() -> None:
    for dtype in (torch.float32, torch.float64):
        with built_in(dtype):
            made = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.GRUCell(3, 2))
            assert torch.tensor(0.1).item() == torch.tensor(0.1, dtype=dtype).item()
            assert torch.tensor(1).dtype == torch.int64
        assert {each.dtype for each in made.state_dict().values()} == {dtype, torch.int64}
        assert torch.zeros(1).dtype == torch.get_default_dtype()
