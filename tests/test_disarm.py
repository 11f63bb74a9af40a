"""Coins in antithetic pairs: on random graphs the mean gradient is that of the sums over all their values."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
import torch
from oracle import (
    Raw,
    all_rows,
    assert_mean,
    compiled,
    flat,
    gradients,
    like,
    partial,
    patterns,
    random_alpha,
    random_spec,
    repeated,
    with_objective,
)

from sgc.derivation.plan import SAMPLES
from sgc.errors import SpecError, UsageError

pytestmark = pytest.mark.usefixtures("double_precision", "seeded_draws")
CASES = 2
ROWS = 300  # of each estimate
ESTIMATES = 40
WORDS: list[Raw] = [
    {},
    {"kl": "sampled", "kl_weight": 0.3},
    {"weights": "none", "label_term": "log_mean", "gamma": 2.5},
    {"bound": "density"},
]


@pytest.mark.parametrize("words", WORDS, ids=lambda words: "-".join(map(str, words.values())) or "elbo")
def test_random_graphs_have_the_gradient_of_the_sums_in_the_mean(words: Raw) -> None:
    """Several coins among enumerated and other drawn nodes, at two samples; rows with labels of every kind.

    Where no label's weight varies over the samples, the bound is a mean of each sample's own, so that its expectation
    has the sums over all values. 40 estimates within 7 standard errors: 3e-6 false alarms a case.
    """
    rng = random.Random(f"coins {words}")
    seen = {False: 0, True: 0}  # with and without labels
    while min(seen.values()) < CASES:
        spec = random_spec(rng, largest=36)
        coins = [
            n for n, node in spec["nodes"].items() if node["distribution"] == "Bernoulli" and "recognition" in node
        ]
        drawn = [n for n in coins if rng.randint(0, 3)]
        if not drawn or not partial(spec):
            continue
        more = {} if words.get("bound") else {"alpha": random_alpha(rng, spec)}
        spec = with_objective(spec, **words, **more, samples=2)
        own = copy.deepcopy(spec)
        for name in drawn:
            own["nodes"][name]["recognition"]["estimator"] = "disarm"
        try:
            model = compiled(own, rng.randint(0, 99), spread=1.0)
        except SpecError:  # it reads other draws, or moves the weights of labels
            continue
        exact = like(model, spec)
        observed = rng.choice(patterns(spec))
        plan = model.plan(observed)
        rows = [row for row in all_rows(spec, observed) if row]
        labelled = bool(plan.weights)
        if not plan.charges or not rows or seen[labelled] >= CASES:
            continue
        if any(SAMPLES in weight.factor.dims for weight in plan.weights):
            continue
        seen[labelled] += 1
        row = rng.choice(rows)
        wanted = exact.objective(repeated(spec, row, 1)).loss
        batch = repeated(spec, row, ROWS)
        estimates = []
        for _ in range(ESTIMATES):
            loss = model.objective(batch).loss
            estimates.append(torch.cat([loss.detach().reshape(1), flat(gradients(model, loss))]))
        assert_mean(torch.stack(estimates), torch.cat([wanted.detach().reshape(1), flat(gradients(exact, wanted))]))


def coins(**objective: Any) -> Raw:  # Any: plain data
    """Three coins that q of a label reads."""
    q: Raw = {"parents": ["x"], "network": {"mlp": []}}
    x: Raw = {"distribution": "Normal", "supervision": "full", "generative": {"parents": ["b"], "network": {"mlp": []}}}
    b: Raw = {
        "distribution": "Bernoulli",
        "shape": [3],
        "supervision": "none",
        "recognition": {**q, "estimator": "disarm"},
    }
    y: Raw = {"distribution": "Bernoulli", "supervision": "partial", "recognition": {**q, "parents": ["x", "b"]}}
    return {"version": 1, "nodes": {"x": x, "b": b, "y": y}, "objective": {"samples": 2, **objective}}


def test_pairs_come_from_the_generator_that_is_named() -> None:
    model = compiled(coins(weights="none"))
    batch = {"x": torch.linspace(-1, 1, 50)}
    found = [model.objective(batch, generator=torch.Generator().manual_seed(seed)).bound for seed in (1, 1, 2)]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize(
    ("objective", "where"),
    [
        ({}, "in the weights of labels"),
        ({"bound": "iwae"}, "under one logarithm"),
        ({"bound": "supervised"}, "under one logarithm"),
        ({"bound": "density"}, "in the weights of labels"),
        ({"weights": "none", "label_term": "log_mean"}, "under one logarithm"),
    ],
    ids=["elbo", "iwae", "supervised", "density", "published"],
)
def test_coins_are_refused_where_their_samples_meet(objective: Raw, where: str) -> None:
    with pytest.raises(SpecError) as problem:
        compiled(coins(**objective))
    told = f"'disarm' needs each sample's own costs, and {where} the samples are coupled"
    assert {fault.message for fault in problem.value.faults} == {told}


def test_another_bound_has_a_value_and_its_gradient_is_refused() -> None:
    """Where a model is asked for a bound that its spec does not name: in words, as soon as a gradient is asked for."""
    model = compiled(coins(weights="none"))
    batch = {"x": torch.linspace(-1, 1, 5)}
    loss = model.objective(batch, bound="iwae").loss
    assert loss.isfinite()
    with pytest.raises(UsageError) as problem:
        loss.backward()
    assert str(problem.value) == (
        "'disarm' of b needs each sample's own costs, and under one logarithm the samples are coupled: "
        "here is a bound, but no gradient"
    )
