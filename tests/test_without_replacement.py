"""Draws without replacement, summed over every ordered draw: the bound and its gradient are those of all values."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

import sgc
from sgc.distributions.points import Point
from sgc.errors import SpecError
from sgc.objectives.estimator import Draw
from sgc.objectives.without_replacement import WithoutReplacement, _chances

pytestmark = pytest.mark.usefixtures("double_precision")
Raw = dict[str, Any]  # Any: plain data
MLP: Raw = {"mlp": [4], "activation": "tanh"}
K = 4


def model(estimator: str, samples: int, *, above: bool = False, **objective: Any) -> sgc.Model:
    v: Raw = {"distribution": "Categorical", "categories": K, "supervision": "none"}
    v["recognition"] = {"parents": ["x"], "network": MLP, "estimator": estimator}
    x: Raw = {"distribution": "Normal", "supervision": "full", "generative": {"parents": ["v"], "network": MLP}}
    nodes: Raw = {"v": v, "x": x}
    if above:  # every value of e has draws of its own
        e: Raw = {"distribution": "Categorical", "categories": 2, "supervision": "none"}
        nodes = {"e": {**e, "recognition": {"parents": ["x"], "network": MLP, "estimator": "enumerate"}}, **nodes}
        v["recognition"]["parents"] = ["x", "e"]
        x["generative"]["parents"] = ["v", "e"]
    torch.manual_seed(4)
    spec: Raw = {"version": 1, "nodes": nodes, "objective": {"samples": samples, "kl": "sampled", **objective}}
    return sgc.compile(sgc.load(spec))


def gradients(made: sgc.Model, value: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*made.named_parameters(), strict=True)
    found = torch.autograd.grad(value, parameters, allow_unused=True)
    return {n: torch.zeros_like(p) if g is None else g for n, p, g in zip(names, parameters, found, strict=True)}


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_the_mean_over_every_ordered_draw_is_exact(samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """E of bound and gradient, each order of S different values with its probability, against all values summed."""
    exact, made = model("enumerate", 1, kl_weight=0.7), model("without_replacement", samples, kl_weight=0.7)
    made.load_state_dict(exact.state_dict())
    row = torch.tensor([0.6])
    orders = torch.tensor(list(itertools.permutations(range(K), samples)))  # [N, S]
    p = made.conditional("v", "recognition", {"x": row}).log_prob(torch.eye(K)).exp().detach()
    chance, left = torch.ones(len(orders)), torch.ones(len(orders))
    for s in range(samples):
        chance = chance * p[orders[:, s]] / left
        left = left - p[orders[:, s]]
    assert float(chance.sum()) == pytest.approx(1)
    forced = torch.eye(K)[orders.T]  # [S, N, K]
    monkeypatch.setattr(WithoutReplacement, "draw", lambda self, given: Point(forced.reshape(*given.leading, K)))
    out = made.objective({"x": row.expand(len(orders))})
    got = -made.objective({"x": row.expand(len(orders))}, weights=chance).loss * len(orders)
    wanted = -exact.objective({"x": row}).loss
    assert float((chance * out.bound.detach()).sum()) == pytest.approx(
        float(exact.objective({"x": row}).bound[0].detach())
    )
    torch.testing.assert_close(got, wanted)
    for (name, one), other in zip(gradients(made, got).items(), gradients(exact, wanted).values(), strict=True):
        torch.testing.assert_close(one, other, msg=name)


def test_below_an_enumerated_node_the_mean_of_draws_is_right() -> None:
    """4,000 rows, two different draws for each value of e: |z| < 5 of each number, a false alarm in 10⁵."""
    exact, made = model("enumerate", 1, above=True), model("without_replacement", 2, above=True)
    made.load_state_dict(exact.state_dict())
    row = torch.tensor([0.6])
    wanted = gradients(exact, exact.objective({"x": row}).loss)
    draws = [gradients(made, made.objective({"x": row.expand(40)}).loss) for _ in range(100)]
    for name, right in wanted.items():
        each = torch.stack([draw[name] for draw in draws])
        error = each.std(0) / 10
        assert bool(((each.mean(0) - right).abs() <= 5 * error + 1e-9).all()), name


def test_draws_differ_and_come_with_their_probability() -> None:
    """10,000 rows: no value stands twice, and the first is drawn as q says, |z| < 5, a false alarm in 10⁶."""
    logits = torch.tensor([1.0, 0.0, -1.0, 0.5])
    q = torch.distributions.OneHotCategorical(logits=logits.expand(1, 1, K))
    family = model("enumerate", 1).outline.variables["v"].family
    given = Draw(family, q, (3, 10_000), 0.0)
    drawn = WithoutReplacement().draw(given).value
    assert drawn.shape == (3, 10_000, K)
    assert float(drawn.sum(0).max()) == 1
    first = drawn[0].mean(0)
    p = torch.softmax(logits, 0)
    assert bool(((first - p).abs() < 5 * (p * (1 - p) / 10_000).sqrt()).all())
    assert _chances(given, Point(drawn)).share.sum(0) == pytest.approx(torch.ones(10_000))


def test_more_samples_than_values_give_each_once() -> None:
    exact, made = model("enumerate", 1), model("without_replacement", 6)
    made.load_state_dict(exact.state_dict())
    rows = {"x": torch.tensor([0.6, -1.0])}
    one, other = made.objective(rows), exact.objective(rows)
    torch.testing.assert_close(one.bound, other.bound)
    for got, wanted in zip(gradients(made, one.loss).values(), gradients(exact, other.loss).values(), strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize(
    ("objective", "told"),
    [
        ({"samples": 11}, "'without_replacement' sums over all subsets of 11 samples"),
        (
            {"samples": 2, "bound": "iwae"},
            "'without_replacement' needs each sample's own costs, and under one logarithm the samples are coupled",
        ),
    ],
)
def test_where_it_cannot_stand_is_told(objective: Raw, told: str) -> None:
    with pytest.raises(SpecError) as problem:
        model("without_replacement", **objective)
    assert [fault.message for fault in problem.value.faults] == [told]
