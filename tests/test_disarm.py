"""Coins in antithetic pairs: on random graphs the mean gradient is that of the sums over all their values."""

from __future__ import annotations

import copy
import random

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
from sgc.errors import SpecError

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
