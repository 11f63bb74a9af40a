"""Nodes that drop what is missing: the marginal of the elements that are there, zeros and flags for networks.

Oracles: sums over every value of what is proposed, elements scored one by one through torch; network inputs put
together by hand; linear algebra for factor analysis. Statistical tests state their samples and false-alarm rate.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from oracle import Particles, Raw, Words, assert_same, assert_same_gradients, compiled, gradients
from torch import Tensor

import sgc
from sgc.derivation.derive import patterns
from sgc.report.warning_notes import warnings
from sgc.runtime.model import Model

pytestmark = pytest.mark.usefixtures("double_precision", "seeded_draws")

NAN = math.nan


def mlp(*parents: str) -> Raw:
    return {"parents": list(parents), "network": {"mlp": [4], "activation": "tanh"}}


def linear(*parents: str) -> Raw:
    return {"parents": list(parents), "network": {"mlp": []}}


def drop(distribution: Any, generative: Raw, **more: Any) -> Raw:
    return {
        "distribution": distribution,
        "supervision": "partial",
        "missing": "drop",
        "generative": generative,
        **more,
    }


# ---- the bounds, by brute force

MIXED: Raw = {
    "version": 1,
    "features": {"h": mlp("b", "n")},
    "nodes": {
        "b": drop("Bernoulli", mlp("y", "z"), shape=[1, 3]),
        "n": drop("Normal", mlp("z"), shape=[2]),
        "c": drop("Categorical", mlp("y"), shape=[2], categories=3),
        "g": drop("Gamma", mlp("z", "y")),
        "y": {
            "distribution": "Categorical",
            "categories": 3,
            "supervision": "partial",
            "recognition": {**mlp("z", "b", "c"), "estimator": "enumerate"},
        },
        "z": {
            "distribution": "Bernoulli",
            "shape": [2],
            "supervision": "none",
            "recognition": {**mlp("h", "g"), "estimator": "enumerate"},
        },
    },
}


def mixed_batch(rows: int = 14, seed: int = 0) -> dict[str, Tensor]:
    """Draw values, and hide elements by chance; in the first row nothing is hidden, in the second all."""
    draw = torch.Generator().manual_seed(seed)

    def hidden(*shape: int) -> Tensor:
        mask = torch.rand(rows, *shape, generator=draw) < 0.5
        mask[0], mask[1] = False, True
        return mask

    return {
        "b": torch.randint(2, (rows, 1, 3), generator=draw).double().masked_fill(hidden(1, 3), NAN),
        "n": torch.randn(rows, 2, generator=draw).masked_fill(hidden(2), NAN),
        "c": torch.randint(3, (rows, 2), generator=draw).masked_fill(hidden(2), -1),
        "g": (torch.rand(rows, generator=draw) + 0.1).masked_fill(hidden(), NAN),
        "y": torch.randint(3, (rows,), generator=draw).masked_fill(hidden(), -1),
    }


def log_present(model: Model, name: str, batch: dict[str, Tensor], parents: dict[str, Tensor]) -> Tensor:
    """Sum torch's own log-densities of the elements that are there, [rows]."""
    p = model.conditional(name, "generative", {**batch, **parents})
    element = getattr(p, "base_dist", p)
    value = batch[name]
    if name == "c":
        there = value != -1
        value = torch.nn.functional.one_hot(value.clamp(min=0), 3).double()
    else:
        there = ~value.isnan()
        value = value.nan_to_num(nan=1.0)
    terms = torch.where(there, element.log_prob(value), 0.0)
    return terms.reshape(len(terms), -1).sum(1)


def by_hand(model: Model, batch: dict[str, Tensor], words: Words) -> Tensor:
    """Sum over y and z, 3 × 4 values: [rows]."""
    rows = len(batch["y"])
    data = {name: batch[name] for name in "bncg"}
    found = []
    for row in range(rows):
        one = {name: value[row : row + 1] for name, value in data.items()}
        label = int(batch["y"][row])
        values = [
            (y, *z) for y in (range(3) if label < 0 else [label]) for z in itertools.product((0.0, 1.0), repeat=2)
        ]
        many = {name: value.expand(len(values), *value.shape[1:]) for name, value in one.items()}
        parents = {
            "y": torch.tensor([value[0] for value in values]),
            "z": torch.tensor([value[1:] for value in values]),
        }
        everything = {**many, **parents}
        log_q = {name: model.log_prob(name, "recognition", everything) for name in ("y", "z")}
        log_p = {name: model.log_prob(name, "generative", everything) for name in ("y", "z")}
        clamped = sum((log_present(model, name, many, parents) for name in data), torch.zeros(len(values)))
        latent = ["z"] if label >= 0 else ["y", "z"]
        total_q = sum((log_q[name] for name in latent), torch.zeros(len(values)))
        particles = Particles(
            log_mass=total_q,
            log_p_clamped=clamped + (log_p["y"] if label >= 0 else 0.0),
            log_p_latent=sum((log_p[name] for name in latent), torch.zeros(len(values))),
            log_r=total_q,
            log_w={"y": log_q["y"]} if label >= 0 else {},
        )
        found.append(particles.bound(words))
    return torch.stack(found)


TURNED: Raw = {
    **MIXED,
    "nodes": {
        **MIXED["nodes"],
        "y": {**MIXED["nodes"]["y"], "recognition": {**mlp("h", "g"), "estimator": "enumerate"}},
        "z": {**MIXED["nodes"]["z"], "recognition": {**mlp("y", "b", "c", "n"), "estimator": "enumerate"}},
    },
}


@pytest.mark.parametrize("spec", [MIXED, TURNED], ids=["z, then y", "y, then z"])
@pytest.mark.parametrize("bound", ["elbo", "iwae", "density"])
def test_bounds_and_gradients_are_those_of_the_elements_that_are_there(bound: str, spec: Raw) -> None:
    words = Words(bound=bound, alpha={"y": 0.7})
    objective: Raw = {"bound": bound} | ({} if bound == "density" else {"alpha": 0.7})
    model = compiled({**spec, "objective": objective}, seed=3, spread=0.8)
    batch = mixed_batch()
    out = model.objective(batch)
    wanted = by_hand(model, batch, words)
    assert_same(out.bound, wanted)
    assert_same_gradients(gradients(model, out.bound.sum()), gradients(model, wanted.sum()))
    if bound == "elbo":
        parts = sum(term for roles in out.terms.values() for term in roles.values())
        assert_same(parts, wanted)
        assert [out.terms[name]["generative"][1].item() for name in "bncg"] == [0.0] * 4  # everything is missing


def test_a_row_does_not_depend_on_its_batch_and_absent_is_missing() -> None:
    model = compiled(MIXED, seed=1)
    batch = mixed_batch()
    whole = model.objective(batch).bound
    for row in range(4):
        assert_same(model.objective({name: v[row : row + 1] for name, v in batch.items()}).bound, whole[row : row + 1])
    without = {name: value for name, value in batch.items() if name not in ("b", "c")}
    hidden = {**batch, "b": torch.full((14, 1, 3), NAN), "c": torch.full((14, 2), -1)}
    assert_same(model.objective(without).bound, model.objective(hidden).bound)


def test_with_nothing_missing_the_likelihood_is_that_of_the_ordinary_model() -> None:
    spec: Raw = {
        "version": 1,
        "nodes": {
            "x": drop("Normal", mlp("z"), shape=[3]),
            "z": {"distribution": "Bernoulli", "supervision": "none", "recognition": {"estimator": "enumerate"}},
        },
    }
    plain = {**spec, "nodes": {**spec["nodes"], "x": {**spec["nodes"]["x"], "supervision": "full"}}}
    del plain["nodes"]["x"]["missing"]
    model = compiled(spec)
    ordinary = sgc.compile(sgc.load(plain))
    ordinary.load_state_dict(model.state_dict())  # q reads nothing, so that the weights are the same
    x = torch.randn(5, 3)
    ours, theirs = model.objective({"x": x}), ordinary.objective({"x": x})
    assert_same(ours.bound, theirs.bound)
    assert_same(ours.terms["x"]["generative"], theirs.terms["x"]["generative"])
    assert_same_gradients(gradients(model, ours.bound.sum()), gradients(ordinary, theirs.bound.sum()))


def test_k_modalities_make_one_pattern() -> None:
    model = compiled(MIXED)
    assert patterns(model.outline.graphs) == [frozenset(), frozenset({"y"})]
    with pytest.raises(
        ValueError, match=r"^'b' is left out where it is missing and makes no pattern; nodes that do: y$"
    ):
        model.plan({"b"})


def test_the_plan_says_where_a_term_counts() -> None:
    spec: Raw = {
        "version": 1,
        "nodes": {
            "x": drop("Bernoulli", mlp("z"), shape=[3]),
            "z": {"distribution": "Normal", "supervision": "none", "recognition": mlp("x")},
        },
    }
    assert str(sgc.compile(sgc.load(spec)).plan()) == (
        "rows without labels\n"
        "  clamped   x\n"
        "  proposed  q(z | x)  pathwise\n"
        "  r =       q(z | x)\n"
        "  w =       1\n"
        "  p =       p(x | z) p(z)\n"
        "  bound     L = E_r[ log p(x | z) - KL(q(z | x) || p(z)) ]    (Eq. (8), Siddharth et al. 2017)\n"
        "  terms     log p(x | z)           sampled (where present)\n"
        "            -KL(q(z | x) || p(z))  exact (closed form)\n"
        "  cost      1 particle a row, nothing enumerated"
    )


def test_what_q_does_not_look_at_is_told() -> None:
    spec: Raw = {
        "version": 1,
        "nodes": {**MIXED["nodes"], "s": drop("Normal", mlp("z"))},
        "features": MIXED["features"],
    }
    assert warnings(sgc.compile(sgc.load(spec)).outline) == ["q never reads 's', not even in the rows that have it"]


# ---- what networks read


VIEWS: list[tuple[str, Raw, Tensor, list[float]]] = [
    ("a scalar", drop("Normal", {"learn": True}), torch.tensor([NAN]), [0, 0]),
    ("a scalar that is there", drop("Normal", {"learn": True}), torch.tensor([1.5]), [1.5, 1]),
    ("a vector", drop("Normal", {"learn": True}, shape=[2]), torch.tensor([[NAN, 0.5]]), [0, 0.5, 0, 1]),
    (
        "a picture",
        drop("Bernoulli", {"learn": True}, shape=[1, 1, 2]),
        torch.tensor([[[[1.0, NAN]]]]),
        [1, 0, 1, 0],
    ),
    (
        "categories",
        drop("Categorical", {"learn": True}, shape=[2], categories=2),
        torch.tensor([[-1, 1]]),
        [0, 0, 0, 1, 0, 0, 1, 1],
    ),
    ("a category", drop("Categorical", {"learn": True}, categories=3), torch.tensor([-1]), [0, 0, 0, 0, 0, 0]),
    ("counts", drop("Poisson", {"learn": True}, shape=[2]), torch.tensor([[3.0, NAN]]), [math.log(4), 0, 1, 0]),
    (
        "angles",
        drop("VonMises", {"learn": True}, shape=[2]),
        torch.tensor([[NAN, math.pi]], dtype=torch.float64),
        [0, 0, -1, 0, 0, 0, 1, 1],
    ),
    (
        "a vector that is whole or missing",
        drop("MultivariateNormal", {"learn": True}, shape=[2]),
        torch.tensor([[0.5, NAN]]),
        [0, 0, 0, 0],
    ),
]


@pytest.mark.parametrize(("node", "value", "seen"), [case[1:] for case in VIEWS], ids=[case[0] for case in VIEWS])
def test_a_network_reads_zeros_and_flags(node: Raw, value: Tensor, seen: list[float]) -> None:
    latent = {"distribution": "Normal", "shape": [2], "supervision": "none"}
    spec: Raw = {
        "version": 1,
        "features": {"h": {"parents": ["x"], "network": {"mlp": []}}},
        "nodes": {"x": node, "z": {**latent, "recognition": linear("x")}, "f": {**latent, "recognition": linear("h")}},
    }
    model = compiled(spec)
    variable = model.outline.variables["x"]
    assert math.prod(variable.view) == len(seen)
    assert sum(p.numel() for p in model.parameters()) == model.outline.parameter_count()
    for name in ("z", "f"):
        (weight,), bias = model.machine.recognition[name].heads.weights, model.machine.recognition[name].heads.bias
        q = model.conditional(name, "recognition", {"x": value})
        assert_same(q.base_dist.loc[0], (weight @ torch.tensor(seen, dtype=torch.float64) + bias)[:2])
    out = model.objective({"x": value})
    out.loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


# ---- factor analysis, by linear algebra

LOADINGS = torch.tensor([[1.0, 0.2], [-0.5, 0.8], [0.3, -1.1], [0.7, 0.7], [-0.9, 0.1]], dtype=torch.float64)
OFFSET = torch.tensor([0.3, -0.2, 0.5, 0.0, 1.0], dtype=torch.float64)
NOISE = 0.6
OBSERVED = [[1, 1, 1, 1, 1], [1, 0, 1, 0, 1], [0, 0, 1, 1, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]]


def factor_analysis(**x: Any) -> tuple[Model, Tensor]:
    """Compile x = LOADINGS z + OFFSET + noise with q(z | x) = N(small map of x, 1), and draw rows with holes."""
    spec: Raw = {
        "version": 1,
        "nodes": {
            "x": drop("Normal", {**linear("z"), "parameters": {"scale": NOISE}}, shape=[5]) | x,
            "z": {
                "distribution": "Normal",
                "shape": [2],
                "supervision": "none",
                "recognition": {**linear("x"), "parameters": {"scale": 1.0}},
            },
        },
    }
    model = compiled(spec, spread=0.1)
    with torch.no_grad():
        heads = model.machine.generative["x"].heads
        heads.weights[0].copy_(LOADINGS)
        heads.bias.copy_(OFFSET)
    whole = OFFSET + torch.randn(len(OBSERVED), 2) @ LOADINGS.T + NOISE * torch.randn(len(OBSERVED), 5)
    return model, whole.masked_fill(torch.tensor(OBSERVED) == 0, NAN)


def gaussian(row: Tensor) -> tuple[Tensor, Tensor]:
    """Give log N of the elements that are there, and the mean of all given these."""
    there = ~row.isnan()
    covariance = LOADINGS @ LOADINGS.T + NOISE**2 * torch.eye(5)
    if not there.any():
        return torch.zeros(()), OFFSET
    inner = covariance[there][:, there]
    log_p = torch.distributions.MultivariateNormal(OFFSET[there], inner).log_prob(row[there])
    filled = OFFSET + covariance[:, there] @ torch.linalg.solve(inner, row[there] - OFFSET[there])
    return log_p, torch.where(there, row, filled)


def test_the_importance_estimate_is_the_marginal_of_what_is_there() -> None:
    """40 000 samples; 6 standard errors, each a false alarm of 2e-9, five rows."""
    model, rows = factor_analysis()
    with torch.no_grad():
        out = model.objective({"x": rows}, samples=40_000, bound="iwae")
    for i, row in enumerate(rows):
        error = math.sqrt(1 / float(out.ess[i]) - 1 / 40_000)  # of the logarithm of a mean
        assert abs(float(out.bound[i] - gaussian(row)[0])) < 6 * error + 1e-9
        assert error < 0.05


def test_what_is_missing_is_filled_in_by_its_mean_given_the_rest() -> None:
    """40 000 samples; 6 standard errors of a mean under the weights, each a false alarm of 2e-9, 25 numbers."""
    model, rows = factor_analysis()
    found = model.infer({"x": rows}, samples=40_000)["x"]
    assert found.samples.shape == (40_000, 5, 5)
    assert_same(found.mean[~rows.isnan()], rows[~rows.isnan()])
    for i, row in enumerate(rows):
        mean = gaussian(row)[1]
        weights = found.weights[:, i : i + 1]
        error = (weights**2 * (found.samples[:, i] - mean) ** 2).sum(0).sqrt()  # wider than that of the means
        assert bool(((found.mean[i] - mean).abs() <= 6 * error + 1e-9).all())
        assert float(error.max()) < 0.1
    drawn = (found.weights.unsqueeze(-1) * found.samples).sum(0)
    assert float((drawn - found.mean).abs().max()) < 0.2


def test_a_modality_that_q_proposes_has_the_marginal_of_the_other() -> None:
    """Partial, with a recognition: 20 000 samples; 6 standard errors, each a false alarm of 2e-9, four rows."""
    half = {**linear("z"), "parameters": {"scale": NOISE}}
    spec: Raw = {
        "version": 1,
        "nodes": {
            "x": {
                "distribution": "Normal",
                "shape": [2],
                "supervision": "partial",
                "generative": half,
                "recognition": {**linear("w"), "parameters": {"scale": 1.2}},
            },
            "w": {"distribution": "Normal", "shape": [3], "supervision": "full", "generative": half},
            "z": {
                "distribution": "Normal",
                "shape": [2],
                "supervision": "none",
                "recognition": {**linear("x", "w"), "parameters": {"scale": 1.0}},
            },
        },
        "objective": {"bound": "iwae", "alpha": 0},
    }
    model = compiled(spec, spread=0.1)
    with torch.no_grad():
        for name, part in (("x", slice(0, 2)), ("w", slice(2, 5))):
            heads = model.machine.generative[name].heads
            heads.weights[0].copy_(LOADINGS[part])
            heads.bias.copy_(OFFSET[part])
    rows = OFFSET + torch.randn(4, 2) @ LOADINGS.T + NOISE * torch.randn(4, 5)
    rows[:2, :2] = NAN
    rows[1, 0] = 0.5  # a label of which an element is missing is none
    with torch.no_grad():
        out = model.objective({"x": rows[:, :2], "w": rows[:, 2:]}, samples=20_000)
    rows[1, 0] = NAN
    for i, row in enumerate(rows):
        error = math.sqrt(1 / float(out.ess[i]) - 1 / 20_000)
        assert abs(float(out.bound[i] - gaussian(row)[0])) < 6 * error + 1e-9
        assert error < 0.05
    assert out.terms.keys() == {"x", "w", "z"}


# ---- the posterior with everything enumerated


def test_missing_bits_have_their_posterior_predictive() -> None:
    """p(x_m | x_o) = Σ_z p(x_m | z) p(x_o | z) p(z) / p(x_o), exactly."""
    spec: Raw = {
        "version": 1,
        "nodes": {
            "x": drop("Bernoulli", mlp("z"), shape=[4]),
            "z": {
                "distribution": "Categorical",
                "categories": 3,
                "supervision": "none",
                "recognition": {**mlp("x"), "estimator": "enumerate"},
            },
        },
    }
    model = compiled(spec)
    x = torch.tensor([[1, 0, NAN, NAN], [NAN] * 4, [1, 1, 0, NAN], [1, 1, 0, 1]])
    found = model.infer({"x": x}, samples=3)
    probs = model.conditional("x", "generative", {"z": torch.arange(3)}).mean  # [3, 4]
    there = ~x.isnan()
    each = torch.where(there[:, None], torch.where(x[:, None] == 1, probs, 1 - probs), 1.0).prod(-1)  # [rows, 3]
    posterior = each / each.sum(1, keepdim=True)
    assert_same(found["z"].mean, posterior)
    assert_same(found["x"].mean, torch.where(there, x, posterior @ probs))
    assert "x" not in model.infer({"x": x[3:]}, samples=3)  # nothing of it is unobserved
    drawn = found["x"].samples
    assert ((drawn == 0) | (drawn == 1)).all()
    assert (drawn[:, there] == x[there]).all()


# ---- one conditional


def test_a_value_with_holes_is_scored_where_it_is_there() -> None:
    model = compiled(MIXED)
    batch = mixed_batch()
    parents = {"y": torch.arange(14) % 3, "z": torch.ones(14, 2)}
    for name in "bncg":
        got = model.log_prob(name, "generative", {**batch, **parents})
        assert_same(got, log_present(model, name, batch, parents))
    with pytest.raises(KeyError, match="the value of 'b' is missing"):
        model.log_prob("b", "generative", parents)
    with pytest.raises(KeyError, match="'b' has no recognition model, where it is missing it is left out"):
        model.conditional("b", "recognition", batch)
    bare = {name: torch.full_like(value.double(), NAN) for name, value in batch.items() if name in "bn"}
    ours = model.conditional("z", "recognition", {"g": batch["g"]})
    assert_same(ours.mean, model.conditional("z", "recognition", {**bare, "g": batch["g"]}).mean)


def test_values_outside_the_support_are_refused_among_holes() -> None:
    model = compiled(MIXED)
    with pytest.raises(
        ValueError, match=r"^'b': found 2 in row 0 at \[0, 2\], wanted a number from 0 to 1 \(Bernoulli\)$"
    ):
        model.objective({"b": torch.tensor([[[NAN, 0.0, 2.0]]])})
    with pytest.raises(ValueError, match=r"^'c' has category 3 in row 0, wanted 0 to 2"):
        model.objective({"c": torch.tensor([[-1, 3]])})
    with pytest.raises(ValueError, match=r"^'n' got shape \[1, 3\], wanted \[B, 2\]$"):
        model.objective({"n": torch.zeros(1, 3)})
