"""Repeats that a node counts: bound and gradient are the sums over all joint values, absent steps masked by hand.

The sums are written out here from each node's own two conditionals alone: what a step brings counts where its count is
above it, and a label of a step says that it is.
"""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from sgc.runtime.compiler import compile_spec
from sgc.runtime.model import Model
from sgc.spec.loader import load

Raw = dict[str, Any]  # Any: plain data
Row = dict[str, int]  # what is observed, as places in each node's support

ALPHA = 0.7
NET: Raw = {"mlp": [3], "activation": "tanh"}
BIT: Raw = {"distribution": "Bernoulli"}
COUNTS: list[Raw] = [
    {"distribution": "Categorical", "values": [0, 2, 1]},
    {"distribution": "Categorical", "categories": 3},
    {"distribution": {"Binomial": {"total_count": 2}}},
    BIT,
]


pytestmark = pytest.mark.usefixtures("double_precision")


def node(family: Raw, supervision: str, p: list[str], q: list[str] | None = None) -> Raw:
    made = {**family, "supervision": supervision}
    made["generative"] = {"parents": p, "network": NET} if p else {"learn": True}
    if q is not None:
        made["recognition"] = {"parents": q, "network": NET, "estimator": "enumerate"}
    return made


def random_spec(rng: random.Random) -> Raw:
    """Write a repeat of two nodes with carries, a feature, and outside it a count and what reads all its steps."""
    direction = rng.choice(["forward", "backward"])
    network = rng.choice([{"gru": 2}, [{"mlp": [2]}, {"gru": 2}], {"mlp": [2]}])
    state = ["x", *(["prev.y"] if direction == "forward" else []), *(["prev.s"] if network == {"mlp": [2]} else [])]
    reads = rng.choice([["g"], ["g", "k"], ["r.z", "k"], ["r.z"], ["r.c"], ["r.c", "r.y"]])
    before = rng.choice([["prev.y"], ["prev.y", "prev.f"], [], ["prev.c"]])
    bound = rng.choice(["elbo", "elbo", "iwae", "density"])
    objective: Raw = {"bound": bound, **({"alpha": ALPHA} if bound != "density" else {})}
    if bound == "elbo":
        objective["weights"] = rng.choice(["normalized", "none"])
    return {
        "version": 1,
        "features": {"g": {"parents": ["r.f"], "network": {"combine": rng.choice(["sum", "max", "mean", "last"])}}},
        "nodes": {"x": node(BIT, "full", reads), "k": node(rng.choice(COUNTS), "partial", [], ["x"])},
        "repeat": {
            "r": {
                "count": "k",
                "carry": {
                    "s": {"parents": state, "network": network, "direction": direction},
                    "c": {"parents": ["z"], "network": {"gru": 2}},
                },
                "features": {"f": {"parents": ["y", "z"], "network": {"mlp": [2], "activation": "tanh"}}},
                "nodes": {
                    "y": node(BIT, "partial", before, ["x", "s"]),
                    "z": node(BIT, "none", ["y", "prev.z"], ["s", "y"]),
                },
            }
        },
        "objective": objective,
    }


@dataclass
class Joint:
    """Every joint value of all nodes, and each node's log p and log q there."""

    model: Model

    def __post_init__(self) -> None:
        variables = self.model.outline.variables
        self.names = list(variables)
        support = {n: v.family.enumerate(v.event, torch.float64, torch.device("cpu")) for n, v in variables.items()}
        places = itertools.product(*(range(len(support[name])) for name in self.names))
        self.values = [dict(zip(self.names, each, strict=True)) for each in places]
        batch = {name: support[name][[value[name] for value in self.values]] for name in self.names}
        self.p = {name: self.model.log_prob(name, "generative", batch) for name in self.names}
        self.q = {name: self.model.log_prob(name, "recognition", batch) for name in self.model.outline.recognition}
        count = variables["k"]
        self.counts = [int(each) for each in count.values or range(len(support["k"]))]
        self.step = {name: int(name.split("@")[1]) - 1 for name in self.names if "@" in name}

    def bound(self, observed: Row) -> Tensor:
        """Sum the bound of one row."""
        objective, graphs = self.model.spec.objective, self.model.outline.graphs
        row = dict(observed)
        if "k" in row:  # labels of steps that do not exist are ignored
            row = {n: v for n, v in row.items() if n not in self.step or self.step[n] < self.counts[row["k"]]}
        evident = [self.step[n] + 1 for n in row if n in self.step and self.step[n] < max(self.counts)]
        least = 0 if "k" in row else max(evident, default=0)
        k = torch.tensor([self.counts[value["k"]] for value in self.values])
        fits = torch.tensor([all(value[n] == v for n, v in row.items()) for value in self.values]) & (k >= least)
        there = {n: (k > self.step[n]) if n in self.step else torch.ones(len(k), dtype=torch.bool) for n in self.names}
        weights: dict[str, Tensor] = {}
        if least:  # q of the count being above the last labelled step
            by_x = {value["x"]: {} for value in self.values}  # type: ignore[var-annotated]
            for value, log in zip(self.values, self.q["k"], strict=True):
                by_x[value["x"]][value["k"]] = log
            told = {
                x: torch.stack([log for place, log in logs.items() if self.counts[place] >= least]).logsumexp(0)
                for x, logs in by_x.items()
            }
            weights["k"] = torch.stack([told[value["x"]] for value in self.values])
        mass, score = torch.zeros(len(k)), torch.zeros(len(k))
        for name in self.names:
            score = score + torch.where(there[name], self.p[name], 0.0)
            if name in self.q and name not in row:
                log = self.q[name] - weights.get(name, torch.zeros(()))
                mass, score = mass + log, score - torch.where(there[name], log, 0.0)
            elif name in self.q:
                weights[name] = torch.where(there[name], self.q[name], 0.0)
        mass, score = mass[fits], score[fits]
        logs = [weights[name][fits] for name in graphs.order("recognition") if name in weights]
        w = torch.stack(logs).sum(0) if logs else torch.zeros_like(mass)
        torch.testing.assert_close(mass.exp().sum(), torch.ones(()))  # what absent steps may be sums out to 1
        if objective.bound == "iwae":
            return (mass + score).logsumexp(0) + ALPHA * (mass + w).logsumexp(0)
        if objective.bound == "density":
            return ((mass + w).exp() * (score - w)).sum()
        if objective.weights == "none":
            return (mass.exp() * (score + ALPHA * w)).sum()
        return ((mass + w).softmax(0) * (score - w)).sum() + (1 + ALPHA) * (mass.exp() * w).sum()


def rows_of(model: Model, rng: random.Random) -> list[Row]:
    """Draw rows whose count and steps are labelled or not, each by itself."""
    count = model.outline.variables["k"].family.support_size(model.outline.variables["k"].event)
    found = []
    for _ in range(4):
        row = {"x": rng.randrange(2)}
        if rng.random() < 0.5:
            row["k"] = rng.randrange(count or 1)
        row |= {n: rng.randrange(2) for n in model.outline.stepped["r.y"].nodes if rng.random() < 0.5}
        found.append(row)
    return found


@pytest.mark.parametrize("seed", range(24))
def test_bound_and_gradient_are_sums_over_counts_and_steps(seed: int) -> None:
    rng = random.Random(seed)
    model = compile_spec(load(random_spec(rng)))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            parameter.copy_(1.2 * torch.randn(parameter.shape, generator=generator))
    rows, k = rows_of(model, rng), model.outline.variables["k"]
    support = k.family.enumerate(k.event, torch.float64, torch.device("cpu"))
    counts = [row.get("k", -1) for row in rows]
    labels = [[float(row.get(name, math.nan)) for name in model.outline.stepped["r.y"].nodes] for row in rows]
    batch = {
        "x": torch.tensor([float(row["x"]) for row in rows]),
        "k": torch.tensor(counts)
        if k.categories is not None
        else torch.tensor([math.nan if place < 0 else float(support[place]) for place in counts]),
        "r.y": torch.tensor(labels),
    }
    found = model.objective(batch).bound
    joint = Joint(model)
    wanted = torch.stack([joint.bound(row) for row in rows])
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    parameters = list(model.parameters())
    for got, truth in zip(
        torch.autograd.grad(found.sum(), parameters, allow_unused=True, materialize_grads=True),
        torch.autograd.grad(wanted.sum(), parameters, allow_unused=True, materialize_grads=True),
        strict=True,
    ):
        torch.testing.assert_close(got, truth, rtol=1e-9, atol=1e-9)
