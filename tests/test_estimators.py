"""Estimators that are biased or that leave something out: what their bound and their gradient are, and are not."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from oracle import (
    Raw,
    all_rows,
    assert_mean,
    assert_same,
    batch_of,
    compiled,
    estimates,
    gradients,
    like,
    repeated,
    with_objective,
)

import sgc
from sgc.distributions.families import FAMILIES
from sgc.distributions.points import Point

pytestmark = pytest.mark.usefixtures("double_precision", "seeded_draws")


def clusters(estimator: Any, distribution: str = "Categorical", **words: Any) -> Raw:  # Any: plain data
    """q(y|x), p(y), p(x|y): y reaches the picture, so that a relaxation is felt."""
    y: Raw = {"distribution": distribution, "supervision": "partial", "generative": {"learn": True}}
    if distribution == "Categorical":
        y["categories"] = 3
    y["recognition"] = {"parents": ["x"], "network": {"mlp": []}, "estimator": estimator}
    x: Raw = {"distribution": "Bernoulli", "shape": [2], "supervision": "full"}
    x["generative"] = {"parents": ["y"], "network": {"mlp": [4], "activation": "tanh"}}
    return {"version": 1, "nodes": {"x": x, "y": y}, "objective": words}


# ---- straight_through


@pytest.mark.parametrize("distribution", ["Categorical", "Bernoulli"])
def test_a_straight_through_draw_is_a_plain_value(distribution: str) -> None:
    """40 estimates of 2000 rows: the bound has the mean of the enumerated one, draw by draw a value of y."""
    spec = clusters("straight_through", distribution, kl="sampled")
    exact = compiled(clusters("enumerate", distribution, kl="sampled"), 3)
    model = like(exact, spec)
    row = all_rows(spec, [])[1]
    found = [model.objective(repeated(spec, row, 2000)).bound.detach().mean() for _ in range(40)]
    wanted = exact.objective(batch_of(spec, [row])).bound.detach()
    assert_mean(torch.stack(found)[:, None], wanted)
    values = model.objective(repeated(spec, row, 200)).bound.detach()
    assert len(values.round(decimals=9).unique()) <= 3


def test_a_straight_through_gradient_goes_through_the_relaxation() -> None:
    """It is that of Σ_k y_k a_k at the relaxed y, with a_k the bound's slope at the hard value: biased, not zero."""
    spec = clusters({"straight_through": {"temperature": 0.8}}, kl="sampled")
    model = compiled(spec, 3)
    out = model.objective(repeated(spec, all_rows(spec, [])[1], 500))
    found = gradients(model, out.bound.mean())
    assert float(found["recognition.y_.heads.weights.0"].abs().max()) > 1e-3
    hard = FAMILIES["Categorical"].harden(torch.tensor([[0.2, 0.5, 0.3], [0.4, 0.3, 0.3]]))
    assert hard.tolist() == [[0, 1, 0], [1, 0, 0]]
    assert FAMILIES["Bernoulli"].harden(torch.tensor([0.2, 0.7])).tolist() == [0, 1]


def test_a_temperature_may_be_a_schedule() -> None:
    schedule = {"from": 1.0, "to": 0.1, "epochs": 10}
    for estimator in ("gumbel_softmax", "straight_through"):
        spec = clusters({estimator: {"temperature": schedule}}, kl="sampled")
        model = compiled(spec, 3)
        batch = repeated(spec, all_rows(spec, [])[1], 200)
        found = []
        for epoch in (0, 10):
            model.epoch = epoch
            out = model.objective(batch, generator=torch.Generator().manual_seed(1))
            found.append(gradients(model, out.bound.mean())["recognition.y_.heads.weights.0"])
        assert float((found[0] - found[1]).abs().max()) > 1e-4


# ---- which density scores a relaxed draw


@pytest.mark.parametrize(("name", "categories"), [("Categorical", 3), ("Bernoulli", None)])
@pytest.mark.parametrize("temperature", [0.4, 1.3])
def test_the_concrete_density_is_torch_s_and_integrates_to_one(
    name: str, categories: int | None, temperature: float
) -> None:
    """Of the logs; of the value itself once the change of variable is put back."""
    family = FAMILIES[name]
    event = family.event_shape((), categories)
    logits = torch.randn(5, *event)
    q = family.distribution({"logits": logits}, event)
    drawn = family.relaxed(q, temperature, (5,))
    heat, ours, (log,) = torch.tensor(temperature), family.concrete_log_prob(q, drawn, temperature), drawn.exact
    if categories:
        whole: Any = torch.distributions.RelaxedOneHotCategorical(heat, logits=logits)
        assert_same(ours, whole.base_dist.log_prob(log), 1e-7)
        assert_same(ours - log.sum(-1), whole.log_prob(drawn.value), 1e-7)
    else:
        whole = torch.distributions.RelaxedBernoulli(heat, logits=logits)
        assert_same(ours, whole.base_dist.log_prob(log), 1e-7)
        jacobian = drawn.value.log() + (1 - drawn.value).log()
        assert_same(ours - jacobian, whole.log_prob(drawn.value), 1e-7)
        knots = torch.linspace(-60, 60, 20001)
        one = family.distribution({"logits": logits[0]}, ())
        density = family.concrete_log_prob(one, Point(knots.sigmoid(), (knots,)), temperature).exp()
        assert_same(torch.trapezoid(density, knots), torch.ones(()), 1e-6)


TEMPERATURES = (1.0, 0.1, 0.05, 0.02, 1e-3, 1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("name", "categories"), [("Categorical", 50), ("Bernoulli", None)])
def test_the_divergence_of_two_concretes_knows_no_temperature(
    name: str, categories: int | None, dtype: torch.dtype
) -> None:
    """A draw is a one-to-one image of w, the perturbed logits, and log q − log p is that of w: so are its gradients.

    In float64, without a temperature: of w up to a constant, Σ (a − b) − K (log Σ e^{a−w} − log Σ e^{b−w}). 200 draws.
    """
    family = FAMILIES[name]
    event = family.event_shape((), categories)
    generator = torch.Generator().manual_seed(1)
    a, b = (3 * torch.randn(200, *event, generator=generator, dtype=torch.float64) for _ in range(2))

    def ratio(temperature: float) -> tuple[torch.Tensor, ...]:
        q, p = (each.to(dtype).requires_grad_() for each in (a, b))
        torch.manual_seed(0)
        drawn = family.relaxed(family.distribution({"logits": q}, event), temperature, (200,))
        log_q, log_p = (
            family.concrete_log_prob(family.distribution({"logits": each}, event), drawn, temperature)
            for each in (q, p)
        )
        return log_q - log_p, *torch.autograd.grad((log_q - log_p).sum(), (q, p))

    q, p = a.to(dtype).double().requires_grad_(), b.to(dtype).double().requires_grad_()
    torch.manual_seed(0)
    if categories:
        noise = -torch.empty_like(a, dtype=dtype).exponential_().log().double()
        w = q + noise
        exact = (q - p).sum(-1) - categories * ((q - w).logsumexp(-1) - (p - w).logsumexp(-1))
    else:
        w = q + torch.rand_like(a, dtype=dtype).double().logit()
        exact = (q - w) - 2 * torch.nn.functional.softplus(q - w) - (p - w) + 2 * torch.nn.functional.softplus(p - w)
    wanted = (exact, *torch.autograd.grad(exact.sum(), (q, p)))
    for temperature in TEMPERATURES:
        for found, right in zip(ratio(temperature), wanted, strict=True):
            torch.testing.assert_close(found.double(), right, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_a_bound_with_the_concrete_density_knows_no_temperature_either(temperature: float) -> None:
    """One latent that x ignores, of 50 categories and of one bit, in float32: log p(x) less the divergence of both.

    That of two bits by quadrature, of 50 categories by draws in float64 without a temperature; means of 20 000 rows
    beyond 6 standard errors refuse, a false-alarm rate of 2e-9.
    """
    a, b = torch.linspace(-2, 2, 50), torch.linspace(1.5, -0.5, 50)
    knots = torch.linspace(-60, 60, 20001, dtype=torch.float64)

    def logistic(x: torch.Tensor) -> torch.Tensor:
        return x - 2 * torch.nn.functional.softplus(x, threshold=100)

    one, other = logistic(knots - 1.2), logistic(knots + 0.4)
    w = a.double() - torch.empty(20_000, 50, dtype=torch.float64).exponential_().log()
    many = (a - b).double().sum() - 50 * ((a - w).logsumexp(-1) - (b - w).logsumexp(-1))
    estimator = {"gumbel_softmax": {"temperature": temperature, "density": "concrete"}}
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        for kind, q, p, exact in (
            ({"distribution": "Categorical", "categories": 50}, a.tolist(), b.tolist(), many),
            ({"distribution": "Bernoulli"}, 1.2, -0.4, torch.trapezoid(one.exp() * (one - other), knots).reshape(1)),
        ):
            nodes = {
                "x": {
                    "distribution": "Bernoulli",
                    "supervision": "full",
                    "generative": {"parameters": {"logits": 0.0}},
                },
                "y": {
                    **kind,
                    "supervision": "none",
                    "generative": {"parameters": {"logits": p}},
                    "recognition": {"parameters": {"logits": q}, "estimator": estimator},
                },
            }
            model = sgc.compile(sgc.load({"version": 1, "nodes": nodes, "objective": {"bound": "elbo"}}))
            bound = model.objective({"x": torch.ones(20_000)}).bound.detach().double()
            found = -math.log(2) - bound
            error = (found.var() + (exact.var() if len(exact) > 1 else 0)) / 20_000
            assert abs(found.mean() - exact.mean()) < 6 * error.sqrt() + 1e-5
    finally:
        torch.set_default_dtype(before)


def test_the_concrete_density_scores_both_graphs_where_the_node_is_proposed() -> None:
    """−log q + log p of a draw as torch scores it; a labelled row is scored as ever."""
    spec = clusters({"gumbel_softmax": {"temperature": 0.7, "density": "concrete"}}, alpha=0.5)
    model = compiled(spec, 3)
    row = all_rows(spec, [])[1]
    batch = batch_of(spec, [row])
    out = model.objective(batch, generator=torch.Generator().manual_seed(5))
    q = model.conditional("y", "recognition", {"x": batch["x"]})
    p = model.conditional("y", "generative", {"x": batch["x"]})
    torch.manual_seed(5)
    (log,) = FAMILIES["Categorical"].relaxed(q, 0.7, (1,)).exact
    heat = torch.tensor(0.7)
    kinds = [torch.distributions.RelaxedOneHotCategorical(heat, logits=d.logits).base_dist for d in (p, q)]  # type: ignore[attr-defined]
    assert_same(out.terms["y"]["generative"], kinds[0].log_prob(log))
    assert_same(out.terms["y"]["recognition"], -kinds[1].log_prob(log))
    assert "density: concrete" in str(model.plan())
    linear = like(model, clusters({"gumbel_softmax": {"temperature": 0.7}}, alpha=0.5))
    labelled = batch_of(spec, all_rows(spec, ["y"]))
    assert_same(model.objective(labelled).bound, linear.objective(labelled).bound)


def test_plans_say_what_is_no_bound() -> None:
    relaxed = {"gumbel_softmax": True, "mean": True, "straight_through": False, "enumerate": False}
    for estimator, said in relaxed.items():
        plan = sgc.compile(sgc.load(clusters(estimator))).plan()
        assert ("not a bound: y is relaxed or averaged, not drawn" in str(plan)) == said


# ---- gradient: stl


def stl_spec(**words: Any) -> Raw:  # Any: plain data
    """q(z1|x) q(z2|x,z1), all Normal, p(x|z1,z2), and a labelled y that reads x alone."""
    latent: Raw = {"distribution": "Normal", "supervision": "none"}
    mlp: Raw = {"network": {"mlp": [3], "activation": "tanh"}}
    nodes = {
        "x": {
            "distribution": "Normal",
            "shape": [2],
            "supervision": "full",
            "generative": {"parents": ["z1", "z2", "y"], **mlp},
        },
        "y": {
            "distribution": "Bernoulli",
            "supervision": "partial",
            "recognition": {"parents": ["x"], **mlp, "estimator": "enumerate"},
        },
        "z1": {**latent, "recognition": {"parents": ["x", "y"], **mlp}},
        "z2": {**latent, "generative": {"parents": ["z1"], **mlp}, "recognition": {"parents": ["x", "z1"], **mlp}},
    }
    return {"version": 1, "nodes": nodes, "objective": words}


@pytest.mark.parametrize("labelled", [True, False])
def test_stl_leaves_out_what_has_no_mean(labelled: bool) -> None:
    """40 estimates of 4000 rows of both gradients: their difference has mean 0 in every number; the values agree."""
    total, path = stl_spec(kl="sampled"), stl_spec(gradient="stl")
    model = compiled(total, 2, spread=0.4)
    other = like(model, path)
    batch = {"x": torch.randn(1, 2).expand(4000, 2)}
    if labelled:
        batch["y"] = torch.ones(4000)
    draws = []
    for i in range(40):
        torch.manual_seed(i)
        one = estimates(model, batch, 1, 1)[0]
        torch.manual_seed(i)
        two = estimates(other, batch, 1, 1)[0]
        assert_same(one[0], two[0])
        draws.append(two - one)
    assert_mean(torch.stack(draws), torch.zeros(len(draws[0])))
    assert float(torch.stack(draws)[:, 1:].abs().max()) > 1e-6


def test_stl_has_no_variance_where_q_is_the_posterior() -> None:
    """p(z) = q(z | x) and nothing reads z: the gradient of every draw is 0, where the total one is not."""
    nodes = {
        "x": {"distribution": "Normal", "supervision": "full"},
        "z": {
            "distribution": "Normal",
            "supervision": "none",
            "recognition": {"parents": ["x"], "network": {"mlp": []}},
        },
    }
    for gradient, still in (("stl", True), ("total", False)):
        spec: Raw = {"version": 1, "nodes": nodes, "objective": {"gradient": gradient, "kl": "sampled"}}
        model = compiled(spec, 1)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.startswith("recognition"):
                    parameter.zero_()
            biases = dict(model.named_parameters())["recognition.z_.heads.bias"]
            biases[1] = math.log(math.e - 1)  # a softplus of 1
        largest = max(
            float(g.abs().max())
            for g in gradients(model, model.objective({"x": torch.randn(50)}).bound.mean()).values()
        )
        assert (largest < 1e-6) == still


def test_stl_takes_no_closed_form_of_a_drawn_node() -> None:
    plan = sgc.compile(sgc.load(stl_spec(gradient="stl"))).plan()
    assert "-log q(z1 | x, y)     sampled (gradient: stl)" in str(plan)


def test_stl_without_importance_weights_stands_beside_a_label_that_varies() -> None:
    spec = stl_spec(gradient="stl", weights="none", samples=2)
    y = spec["nodes"]["y"]
    nodes = {**spec["nodes"], "y": {**y, "recognition": {**y["recognition"], "parents": ["x", "z1"]}}}
    nodes["z1"] = {**nodes["z1"], "recognition": {**nodes["z1"]["recognition"], "parents": ["x"]}}
    sgc.load({**spec, "nodes": nodes})
    with pytest.raises(sgc.SpecError, match="'stl' needs weights that are constant"):
        sgc.load(with_objective({**spec, "nodes": nodes}, gradient="stl", samples=2))


def test_a_score_function_of_a_normal_agrees_with_its_pathwise_gradient() -> None:
    """A continuous node by REINFORCE, 40 estimates of 20,000 draws, against the exact gradient of a linear model."""
    x: Raw = {"distribution": "Normal", "supervision": "full", "generative": {"parents": ["z"], "network": {"mlp": []}}}
    nodes: Raw = {"x": x}
    nodes["z"] = {
        "distribution": "Normal",
        "supervision": "none",
        "recognition": {"parents": ["x"], "network": {"mlp": []}, "estimator": "score_function"},
    }
    spec: Raw = {"version": 1, "nodes": nodes, "objective": {"samples": 4}}
    model = compiled(spec, 4, spread=0.4)
    pathwise = {**spec, "nodes": {**nodes, "z": {**nodes["z"], "recognition": {**nodes["z"]["recognition"]}}}}
    pathwise["nodes"]["z"]["recognition"]["estimator"] = "pathwise"
    batch = {"x": torch.full((5000,), 0.7)}
    one, other = estimates(model, batch, 4), estimates(like(model, pathwise), batch, 4)
    assert_mean(one - other, torch.zeros(one.shape[1]))


def test_gradients_of_a_default_estimator_exist_for_counts() -> None:
    """A Poisson latent has neither a pathwise draw nor a finite support: it takes score_function by default."""
    x: Raw = {
        "distribution": "Poisson",
        "supervision": "full",
        "generative": {"parents": ["n"], "network": {"mlp": []}},
    }
    n: Raw = {
        "distribution": "Poisson",
        "supervision": "none",
        "recognition": {"parents": ["x"], "network": {"mlp": []}},
    }
    model = sgc.compile(sgc.load({"version": 1, "nodes": {"x": x, "n": n}}))
    assert "score_function, baseline running_mean" in str(model.plan())
    found = gradients(model, model.objective({"x": torch.tensor([1.0, 4.0])}).bound.mean())
    assert any(float(each.abs().max()) > 0 for name, each in found.items() if name.startswith("recognition"))
