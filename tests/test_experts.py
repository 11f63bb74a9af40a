"""Experts in q: equal to products and mixtures written by hand, in every pattern of missing modalities."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oracle import assert_mean, compiled, estimates, flat, gradients, value_and_gradient
from torch import Tensor

import sgc
from sgc.runtime.expert_modules import product_of
from sgc.runtime.model import Model

Raw = dict[str, Any]  # Any: a spec as plain data
COMBINATIONS = ("product", "mixture", "mixture_of_products")
NETWORK: Raw = {"mlp": [3], "activation": "tanh"}
NAMES = ("a", "b", "c")  # of what may be missing
PATTERNS = list(itertools.product([True, False], repeat=3))
PER = 3  # rows of each pattern


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def precision(request: pytest.FixtureRequest) -> Iterator[torch.dtype]:
    """Compute in a precision, as its default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(request.param)
    yield request.param
    torch.set_default_dtype(before)


def spec_of(experts: Raw, *, size: list[int] | None = None, objective: Raw | None = None, **q: Any) -> Raw:
    """Write three modalities that may be missing, an input, and a q of experts. size: the shape of z."""
    part = {"supervision": "partial", "missing": "drop", "generative": {"parents": ["z"], "network": NETWORK}}
    return {
        "version": 1,
        "name": "modalities",
        "inputs": {"s": {"shape": [2]}},
        "features": {"h": {"parents": ["c", "s"], "network": NETWORK}},
        "nodes": {
            "a": {"distribution": "Bernoulli", "shape": [3], **part},
            "b": {"distribution": "Normal", **part},
            "c": {"distribution": "Categorical", "categories": 3, **part},
            "z": {
                "distribution": "Normal",
                "shape": [2] if size is None else size,
                "supervision": "none",
                "recognition": {"experts": experts, **q},
            },
        },
        "objective": objective or {},
    }


def rows() -> dict[str, Tensor]:
    """Give rows of each of the 2³ patterns, in order; of the first in each, one element of `a` is missing."""
    torch.manual_seed(1)
    count = PER * len(PATTERNS)
    batch = {
        "a": torch.randint(2, (count, 3)).to(torch.get_default_dtype()),
        "b": torch.randn(count),
        "c": torch.randint(3, (count,)),
        "s": torch.randn(count, 2),
    }
    batch["a"][::PER, 1] = torch.nan
    for name, there in zip(NAMES, zip(*PATTERNS, strict=True), strict=True):
        gone = ~torch.tensor(there).repeat_interleave(PER)
        batch[name][gone] = -1 if name == "c" else torch.nan
    return batch


def flagged(value: Tensor) -> Tensor:
    """Give what a network reads of a value with missing elements, [R, D]: zeros in their place, and flags behind."""
    there = ~value.isnan()
    return torch.cat([value.nan_to_num(0.0), there.to(value)], -1)


def network_of(model: Model, module: str, read: Tensor) -> Tensor:
    """Run a network of one tanh layer and heads, by its weights."""
    weights = dict(model.named_parameters())
    read = read @ weights[f"{module}.trunk.first.weights.0"].T + weights[f"{module}.trunk.first.bias"]
    return read.tanh() @ weights[f"{module}.heads.weight"].T + weights[f"{module}.heads.bias"]


def by_hand(
    model: Model, batch: dict[str, Tensor], combine: str, value: Tensor, *, prior: bool, always: bool = False
) -> tuple[Any, Any]:
    """Write q by hand, row by row: its log-density at `value`, [R], and the moments of each product, [R][K]."""
    kind = torch.get_default_dtype()
    one_hot = torch.eye(3)[batch["c"].clamp(min=0)]
    c = torch.where((batch["c"] < 0)[:, None], torch.nan, one_hot)
    read = {"a": flagged(batch["a"]), "b": flagged(batch["b"][:, None])}
    read["c"] = torch.cat([one_hot * ~c.isnan(), (~c.isnan()).to(kind)], -1)
    read["s"] = batch["s"]
    used = [*NAMES, "s"] if always else [*NAMES]
    size = value.shape[-1]
    normals = {}
    for name in used:
        heads = network_of(model, f"recognition.z_.experts.{name}_", read[name])
        loc, raw = heads.split(size, -1)
        normals[name] = loc, model.outline.variables["z"].family.constrain("scale", raw)
    logs, moments = [], []
    for row in range(len(value)):
        there = [
            name
            for name in used
            if name == "s" or not bool(c[row].isnan().all() if name == "c" else _gone(batch, name, row))
        ]
        sizes = {"product": [len(there)], "mixture": [1] if there else [0]}.get(
            combine, range(1, len(there) + 1) if there else [0]
        )
        products = []
        for chosen in itertools.chain(*(itertools.combinations(there, n) for n in sizes)):
            precision = torch.ones(size) if prior or not chosen else torch.zeros(size)
            first = torch.zeros(size)
            for name in chosen:
                loc, scale = (part[row] for part in normals[name])
                precision, first = precision + scale**-2, first + loc * scale**-2
            products.append((first / precision, precision**-0.5))
        each = [torch.distributions.Normal(*moment).log_prob(value[row]).sum() for moment in products]
        logs.append(torch.stack(each).logsumexp(0) - math.log(len(each)))
        moments.append(products)
    return torch.stack(logs), moments


def _gone(batch: dict[str, Tensor], name: str, row: int) -> bool:
    return bool(batch[name][row].isnan().all())


@pytest.mark.parametrize(
    ("prior", "always"), [(True, False), (False, True), (False, False)], ids=["with p", "without p", "p where none is"]
)
@pytest.mark.parametrize("combine", COMBINATIONS)
def test_q_is_what_is_written_by_hand_in_every_pattern(
    combine: str, prior: bool, always: bool, precision: torch.dtype
) -> None:
    """Value and gradient of log q at random points; each row may leave out the experts of others alone."""
    experts = {name: {"network": NETWORK} for name in ((*NAMES, "s") if always else NAMES)}
    model = compiled(spec_of(experts, combine=combine, prior=prior), spread=0.7)
    batch = rows()
    value = torch.randn(len(batch["a"]), 2)
    got = model.log_prob("z", "recognition", {**batch, "z": value})
    wanted, _ = by_hand(model, batch, combine, value, prior=prior, always=always)
    tolerance = 1e-9 if precision is torch.float64 else 1e-4
    torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)
    for row in range(0, len(value), PER):  # a pattern each
        one, other = (flat(gradients(model, log[row])) for log in (got, wanted))
        torch.testing.assert_close(one, other, rtol=10 * tolerance, atol=10 * tolerance)


def test_the_bound_has_the_divergence_of_the_product() -> None:
    """KL(q ‖ p) of each row, and its gradient, from the moments of the product that is written by hand."""
    model = compiled(spec_of({name: {"network": NETWORK} for name in NAMES}), spread=0.7)
    batch = rows()
    got = model.objective(batch).terms["z"]["kl"]
    _, moments = by_hand(model, batch, "product", torch.zeros(len(batch["a"]), 2), prior=True)
    loc, scale = (torch.stack([row[0][part] for row in moments]) for part in (0, 1))
    wanted = -(scale**2 / 2 + loc**2 / 2 - scale.log() - 0.5).sum(-1)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(*(flat(gradients(model, log.sum())) for log in (got, wanted)), rtol=1e-3, atol=1e-4)
    assert float(got.detach()[-1]) == 0.0  # nothing is there, so that q is p


def pairs(value: Tensor) -> Tensor:
    return torch.stack(torch.broadcast_tensors(value[:, None], value[None, :])).flatten(1)


@pytest.mark.parametrize(
    "objective",
    [{}, {"bound": "iwae", "samples": 2}, {"gradient": "stl"}, {"bound": "iwae", "samples": 2, "gradient": "dreg"}],
    ids=str,
)
def test_estimates_of_a_mixture_are_right_on_average(objective: Raw) -> None:
    """Beside sums over a grid of z, of pairs of it where samples meet: 40 means of 600 estimates, 7 standard errors."""
    experts = {"a": {"network": NETWORK}, "b": {"network": NETWORK}}
    spec = spec_of(experts, size=[], objective=objective, combine="mixture_of_products")
    model, whole = compiled(spec, spread=0.7), {name: part[:1] for name, part in rows().items()}
    grid = torch.linspace(-9, 9, 601)
    q = model.conditional(
        "z", "recognition", {name: part.expand(len(grid), *part.shape[1:]) for name, part in whole.items()}
    )
    log_q = q.log_prob(grid)
    log_w = -0.5 * (grid**2 + math.log(2 * math.pi)) - log_q
    for name in NAMES:
        log_w = log_w + model.log_prob(
            name, "generative", {"z": grid, name: whole[name].expand(len(grid), *whole[name].shape[1:])}
        )
    mass = log_q.exp() * (grid[1] - grid[0])
    assert float(mass.detach().sum()) == pytest.approx(1, abs=1e-5)
    if "bound" not in objective:
        wanted = (mass * log_w).sum()
    else:
        first, second = pairs(log_w)
        wanted = (mass[:, None] * mass).flatten() @ (torch.logaddexp(first, second) - math.log(2))
    many = {name: part.expand(600, *part.shape[1:]) for name, part in whole.items()}
    draws = estimates(model, many, objective.get("samples", 1))
    assert_mean(draws, value_and_gradient(model, wanted), floor=1e-4)


def test_draws_of_a_mixture_follow_its_density() -> None:
    """The largest gap of 20,000 draws to the integral of the density, a false alarm in a million, in each pattern."""
    spec = spec_of({name: {"network": NETWORK} for name in NAMES}, size=[], combine="mixture_of_products", prior=True)
    model, batch = compiled(spec), {name: part[::PER] for name, part in rows().items()}
    q = model.conditional("z", "recognition", batch)
    grid = torch.linspace(-12, 12, 4001).unsqueeze(-1)
    below = torch.cumulative_trapezoid(q.log_prob(grid).exp(), grid, dim=0)
    torch.testing.assert_close(below[-1], torch.ones(len(PATTERNS)), atol=1e-4, rtol=0)
    torch.testing.assert_close(below, q.cdf(grid[1:]), atol=1e-3, rtol=0)
    draws = model.infer(batch, samples=20_000, from_="q")["z"].samples
    for row in range(len(PATTERNS)):
        own, _ = draws[:, row].sort()
        share = torch.from_numpy(np.interp(own, grid[1:, 0], below[:, row].detach()))
        gap = (share - (torch.arange(len(own)) + 0.5) / len(own)).abs().max()
        assert float(gap) < math.sqrt(math.log(2e6) / 2 / len(own)) + 1e-3
    moments = q.mean.detach(), q.variance.detach().sqrt()
    assert bool(((draws.mean(0) - moments[0]).abs() < 7 * moments[1] / math.sqrt(len(draws))).all())


@pytest.mark.parametrize("combine", COMBINATIONS)
def test_the_order_of_experts_is_nothing(combine: str) -> None:
    experts = [(name, {"network": NETWORK}) for name in NAMES]
    one, other = (sgc.compile(spec_of(dict(order), combine=combine)) for order in (experts, experts[::-1]))
    other.load_state_dict(one.state_dict())
    values = {**rows(), "z": torch.randn(PER * len(PATTERNS), 2)}
    logs = [model.log_prob("z", "recognition", values) for model in (one, other)]
    torch.testing.assert_close(*logs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("combine", COMBINATIONS)
def test_one_expert_alone_is_a_plain_recognition(combine: str) -> None:
    """To the bit: parameters, bound and gradient."""
    expert = {"parents": ["s", "a"], "network": NETWORK}
    alone = compiled(spec_of({"it": {**expert, "parents": ["s"]}}, prior=False, combine=combine))
    plain = spec_of({})
    plain["nodes"]["z"]["recognition"] = {**expert, "parents": ["s"]}
    model = sgc.compile(plain)
    model.load_state_dict({key.replace("experts.it_.", ""): value for key, value in alone.state_dict().items()})
    moments = [m.conditional("z", "recognition", {"s": rows()["s"]}) for m in (alone, model)]
    assert torch.equal(moments[0].mean, moments[1].mean)
    assert torch.equal(moments[0].variance.sqrt(), moments[1].variance.sqrt())
    if combine == "product":
        outcomes = []
        for each in (alone, model):
            torch.manual_seed(0)
            outcome = each.objective(rows())
            outcomes.append((outcome.bound, flat(gradients(each, outcome.loss))))
        assert torch.equal(outcomes[0][0], outcomes[1][0])
        assert torch.equal(outcomes[0][1], outcomes[1][1])


def test_products_of_any_precision_are_finite_in_float32() -> None:
    """Scales of 1e-30 to 1e30 beside float64, where their precisions can be written out; and their gradients."""
    powers = torch.tensor(list(itertools.product([-30.0, -8.0, 0.0, 8.0, 30.0], repeat=3))).T
    scales, locs = 10**powers, torch.tensor([[1.0], [-2.0], [3.0]]).expand(powers.shape)
    for kept in ([True] * 3, [True, False, True], [False, False, True]):
        leaves = [
            (loc.clone().requires_grad_(), scale.clone().requires_grad_())
            for loc, scale in zip(locs, scales, strict=True)
        ]
        there = [torch.full(powers.shape[1:], speaks) for speaks in kept]
        loc, scale = product_of(leaves, list(there))
        precision = sum(s.double() ** -2 for s, keep in zip(scales, kept, strict=True) if keep)
        first = sum(m.double() * s.double() ** -2 for m, s, keep in zip(locs, scales, kept, strict=True) if keep)
        torch.testing.assert_close(scale.double(), precision**-0.5, rtol=1e-5, atol=0)
        torch.testing.assert_close(loc.double(), first / precision, rtol=1e-5, atol=1e-6)
        (loc.sum() + scale.log().sum()).backward()
        for (own, wide), keep in zip(leaves, kept, strict=True):
            assert own.grad is not None
            assert wide.grad is not None
            assert bool(own.grad.isfinite().all())
            assert bool(keep) or float(own.grad.abs().max() + wide.grad.abs().max()) == 0.0


def test_what_is_behind_a_feature_says_whether_its_expert_speaks() -> None:
    """`h` is made of `c` and an input that is always there: without `c` its expert says nothing."""
    experts = {"h": {"network": NETWORK}, "both": {"parents": ["a", "b"], "network": NETWORK}}
    model, batch = compiled(spec_of(experts)), rows()
    q = model.outline.recognition["z"]
    assert q.reads == ("h", "a", "b", "c")
    log = model.log_prob("z", "recognition", {**batch, "z": torch.zeros(len(batch["a"]), 2)})
    for row, (a, b, c) in zip(range(0, len(log), PER), PATTERNS, strict=True):
        moved = {name for name, part in gradients(model, log[row]).items() if float(part.abs().sum())}
        assert any(".h_." in name for name in moved) is c
        assert any(".both_." in name for name in moved) is (a and b)


def steps_spec() -> Raw:
    """Write a chain whose steps are products, below a latent that is a mixture; all steps of `x` are one parent."""
    part = {"distribution": "Bernoulli", "shape": [2], "supervision": "partial", "missing": "drop"}
    u = {
        "distribution": "Normal",
        "supervision": "none",
        "generative": {"parents": ["prev.u"], "network": NETWORK},
        "recognition": {
            "prior": False,
            "experts": {"x": {"network": NETWORK}, "before": {"parents": ["prev.u", "z"], "network": NETWORK}},
        },
    }
    x = {**part, "generative": {"parents": ["z", "u"], "network": NETWORK}}
    experts = {"t.x": {"network": [{"combine": "sum"}, NETWORK]}, "tags": {"network": NETWORK}}
    z = {
        "distribution": "Normal",
        "shape": [2],
        "supervision": "none",
        "recognition": {"combine": "mixture_of_products", "experts": experts},
    }
    tags = {**part, "generative": {"parents": ["z"], "network": NETWORK}}
    return {
        "version": 1,
        "name": "steps",
        "nodes": {"tags": tags, "z": z},
        "repeat": {"t": {"count": 3, "nodes": {"x": x, "u": u}}},
        "train": {"epochs": 2, "batch_size": 10},
        "evaluate": {"samples": 4},
    }


def test_steps_share_experts_and_each_reads_its_own() -> None:
    model = compiled(steps_spec(), spread=0.5)
    batch = {"t.x": torch.randint(2, (4, 3, 2)).float(), "tags": torch.randint(2, (4, 2)).float()}
    batch["t.x"][1] = torch.nan
    batch["tags"][2] = torch.nan
    batch["t.x"][3, 1:] = torch.nan
    there = model.conditional("z", "recognition", batch).there  # type: ignore[attr-defined]
    both = [True, True, True, False]
    assert there.tolist() == [both, [False, True, False, False], [True, False, False, False], both]
    values = {**batch, "t.u@1": torch.zeros(4), "z": torch.zeros(4, 2)}
    second = model.conditional("t.u@2", "recognition", {**values, "t.x": batch["t.x"]})
    first = {name: part.clone() for name, part in batch.items()}
    first["t.x"][:, 0] = 1 - first["t.x"][:, 0]  # another step, which it does not read
    again = model.conditional("t.u@2", "recognition", {**values, **first})
    assert torch.equal(second.mean, again.mean)
    outcome = model.objective(batch)
    assert bool(outcome.bound.isfinite().all())
    assert all(
        float(part.abs().sum()) > 0 for name, part in gradients(model, outcome.loss).items() if "experts" in name
    )


def test_a_run_with_experts_from_arrays_to_answers(tmp_path: Path) -> None:
    """Trained, resumed, evaluated, predicted and exported; missing modalities in every way."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {"t.x": rng.integers(0, 2, (60, 3, 2)).astype(float)}
    arrays["tags"] = rng.integers(0, 2, (60, 2)).astype(float)
    arrays["t.x"][:20], arrays["tags"][10:30] = np.nan, np.nan
    run = sgc.train(steps_spec(), arrays, output=tmp_path / "run")
    model = sgc.open(run.folder if hasattr(run, "folder") else tmp_path / "run")
    answer = model.infer({name: torch.from_numpy(part) for name, part in arrays.items()}, samples=200, from_="q")
    assert bool(answer["z"].mean.isfinite().all())
    assert float(answer["z"].mean[10:20].abs().max()) < 0.6  # nothing is there: q is p, but for draws
