"""Linear-Gaussian graphs against linear algebra: evidence, posterior, ELBO and its gradient, in part observed too.

Each conditional is N(A·parents + b, diag(scale²)). Exact comparisons hold to 1e-9. Statistical ones take 40 independent
estimates and refuse beyond 7 standard errors: below 3e-6 false alarms a test of up to 100 numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from oracle import Raw, assert_mean, assert_same, estimates, ordered, parents_of, value_and_gradient, with_objective
from torch import Tensor

import sgc
from sgc.runtime.model import Model

pytestmark = pytest.mark.usefixtures("double_precision", "seeded_draws")


# ---- linear algebra -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Affine:
    """N(matrix · parents + bias, diag(scale²)), the parents side by side in the order of the spec."""

    parents: Sequence[str]
    matrix: Tensor
    bias: Tensor
    scale: Tensor


class Gaussian:
    """A joint normal of named vectors: a mean, a covariance, and the place of each name."""

    def __init__(self, places: Mapping[str, slice], mean: Tensor, covariance: Tensor) -> None:
        self.places, self.mean, self.covariance = places, mean, covariance

    @staticmethod
    def of(factors: Mapping[str, Affine]) -> Gaussian:
        """Multiply conditionals, given in an order in which parents come first; each depends on fresh noise."""
        places: dict[str, slice] = {}
        size = sum(len(factor.bias) for factor in factors.values())
        means: dict[str, Tensor] = {}
        loads: dict[str, Tensor] = {}  # of the standard noise, [d, size]
        at = 0
        for name, factor in factors.items():
            width = len(factor.bias)
            places[name] = slice(at, at + width)
            noise = torch.zeros(width, size)
            noise[:, places[name]] = torch.eye(width)
            mean, load = factor.bias, factor.scale[:, None] * noise
            if factor.parents:
                mean = mean + factor.matrix @ torch.cat([means[p] for p in factor.parents])
                load = load + factor.matrix @ torch.cat([loads[p] for p in factor.parents])
            means[name], loads[name] = mean, load
            at += width
        whole = torch.cat(list(loads.values()))
        return Gaussian(places, torch.cat(list(means.values())), whole @ whole.T)

    def index(self, names: Sequence[str]) -> list[int]:
        return [i for name in names for i in range(self.places[name].start, self.places[name].stop)]

    def log_density(self, values: Mapping[str, Tensor]) -> Tensor:
        """Give the log-density of some of the vectors, in nats."""
        names = list(values)
        at = self.index(names)
        covariance = self.covariance[at][:, at]
        off = torch.cat([values[name] for name in names]) - self.mean[at]
        quadratic = off @ torch.linalg.solve(covariance, off)
        return -0.5 * (quadratic + torch.logdet(covariance) + len(at) * math.log(2 * math.pi))

    def given(self, names: Sequence[str], known: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Give matrix, bias and covariance of some vectors as an affine function of others."""
        a, b = self.index(names), self.index(known)
        gain = torch.linalg.solve(self.covariance[b][:, b], self.covariance[b][:, a]).T
        bias = self.mean[a] - gain @ self.mean[b]
        return gain, bias, self.covariance[a][:, a] - gain @ self.covariance[b][:, a]


def divergence(mean: Tensor, cov: Tensor, other_mean: Tensor, other_cov: Tensor) -> Tensor:
    """Give KL between two normals, in nats."""
    off = other_mean - mean
    trace = torch.linalg.solve(other_cov, cov).trace()
    logs = torch.logdet(other_cov) - torch.logdet(cov)
    return 0.5 * (trace + off @ torch.linalg.solve(other_cov, off) - len(mean) + logs)


# ---- models ---------------------------------------------------------------------------------------------------------


def size(spec: Raw, name: str) -> int:
    return math.prod(spec["nodes"][name].get("shape", ()))


def affine(model: Model, spec: Raw, name: str, role: Any) -> Affine:  # Any: a role
    """Read a conditional off at zero and at unit vectors; differentiable."""
    parents = parents_of(spec, name, role)
    widths = [size(spec, p) for p in parents]
    probes = torch.cat([torch.zeros(1, sum(widths)), torch.eye(sum(widths))]) if parents else torch.zeros(1, 0)
    values: dict[str, Tensor] = {}
    for parent, part in zip(parents, probes.split(widths, 1) if parents else [], strict=True):
        values[parent] = part.reshape(-1, *spec["nodes"][parent].get("shape", ()))
    found = model.conditional(name, role, values)
    mean = found.mean.reshape(len(probes), -1)
    return Affine(parents, (mean[1:] - mean[0]).T, mean[0], found.stddev.reshape(len(probes), -1)[0])


def factors(model: Model, spec: Raw, role: Any) -> dict[str, Affine]:  # Any: a role
    return {
        name: affine(model, spec, name, role)
        for name in ordered(spec, role)
        if role in spec["nodes"][name] or role == "generative"
    }


def set_affine(model: Model, spec: Raw, name: str, matrix: Tensor, bias: Tensor) -> None:
    """Choose the parameters of q(name | ·), on which its mean depends linearly, by least squares."""
    before = affine(model, spec, name, "recognition")
    parameters = list(model.parameters())
    flat_before = torch.cat([before.bias, before.matrix.reshape(-1)])
    rows: list[Tensor] = []
    for number in flat_before:
        grads = torch.autograd.grad(number, parameters, retain_graph=True, allow_unused=True)
        parts = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, grads, strict=True)]
        rows.append(torch.cat([part.reshape(-1) for part in parts]))
    wanted = torch.cat([bias, matrix.reshape(-1)]) - flat_before.detach()
    step = torch.linalg.lstsq(torch.stack(rows), wanted, driver="gelsd").solution
    with torch.no_grad():
        for parameter, part in zip(parameters, step.split([p.numel() for p in parameters]), strict=True):
            parameter += part.reshape(parameter.shape)
    after = affine(model, spec, name, "recognition")
    assert_same(after.matrix, matrix)
    assert_same(after.bias, bias)


def made(spec: Raw, seed: int = 0) -> Model:
    model = sgc.compile(sgc.load(spec))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            parameter.copy_(0.6 * torch.randn(parameter.shape, generator=generator))
    return model


def normal(supervision: str, p: Sequence[str], scale: float, q: Sequence[str] | None = None, width: int = 0) -> Raw:
    """Write a node with affine means and fixed scales."""
    node: Raw = {"distribution": "Normal", "supervision": supervision}
    if width:
        node["shape"] = [width]
    for role, parents, spread in (("generative", p, scale), ("recognition", q, 0.7)):
        if parents:
            node[role] = {"parents": list(parents), "network": {"mlp": []}, "parameters": {"scale": spread}}
        elif parents is not None and role == "generative" and scale != 1.0:
            node[role] = {"parameters": {"loc": 0.4, "scale": spread}}
    return node


def with_scale(spec: Raw, name: str, scale: float) -> Raw:
    node = spec["nodes"][name]
    recognition = {**node["recognition"], "parameters": {"scale": scale}}
    return {**spec, "nodes": {**spec["nodes"], name: {**node, "recognition": recognition}}}


def perfect(spec: Raw, seed: int = 0) -> Model:
    """Compile with each q(v | ·) the true conditional of p given what q reads, which must be all that matters."""
    first = made(spec, seed)
    joint = Gaussian.of(factors(first, spec, "generative"))
    wanted: dict[str, tuple[Tensor, Tensor]] = {}
    for name, node in spec["nodes"].items():
        if "recognition" in node:
            matrix, bias, covariance = joint.given([name], parents_of(spec, name, "recognition"))
            wanted[name] = matrix.detach(), bias.detach()
            spec = with_scale(spec, name, float(covariance.detach().sqrt()))
    model = sgc.compile(sgc.load(spec))
    model.load_state_dict(first.state_dict())
    for name, (matrix, bias) in wanted.items():
        set_affine(model, spec, name, matrix, bias)
    return model


# A tree: a -> b, a -> y, (a, b) -> x, y -> w. What q reads makes each factor the exact posterior when it is set so.
LABEL_FIRST: Raw = {
    "version": 1,
    "nodes": {
        "a": normal("none", [], 1.0, ["x", "w", "y"]),
        "b": normal("none", ["a"], 0.8, ["x", "a"]),
        "x": normal("full", ["a", "b"], 0.5, width=3),
        "y": normal("partial", ["a"], 0.6, ["x", "w"]),
        "w": normal("full", ["y"], 0.9, width=2),
    },
}
# A chain in which the label comes last in q: its weight varies with the latent.
LABEL_LAST: Raw = {
    "version": 1,
    "nodes": {
        "x": normal("full", ["z"], 0.5, width=2),
        "z": normal("none", ["y"], 0.8, ["x"]),
        "y": normal("partial", [], 1.3, ["x", "z"]),
    },
}
# Two labels and two latents with a vector among them, q of a structure that p does not have.
CROSSED: Raw = {
    "version": 1,
    "nodes": {
        "x": normal("full", ["s", "t"], 0.7, width=2),
        "s": normal("none", ["k"], 0.9, ["x"], width=2),
        "t": normal("partial", ["s"], 0.8, ["x", "k"]),
        "k": normal("partial", [], 1.2, ["x"]),
    },
}


def rows_of(spec: Raw, observed: Sequence[str], count: int, seed: int = 3) -> dict[str, Tensor]:
    """Draw values for the full and the observed nodes, NaN for other labels."""
    generator = torch.Generator().manual_seed(seed)
    batch: dict[str, Tensor] = {}
    for name, node in spec["nodes"].items():
        value = torch.randn((count, *node.get("shape", ())), generator=generator)
        if node["supervision"] == "none":
            continue
        hidden = node["supervision"] == "partial" and name not in observed
        batch[name] = torch.full_like(value, math.nan) if hidden else value
    return batch


def known(spec: Raw, batch: Mapping[str, Tensor], row: int) -> dict[str, Tensor]:
    return {name: value[row].reshape(-1) for name, value in batch.items() if not bool(value[row].isnan().any())}


def repeat(batch: Mapping[str, Tensor], row: int, count: int) -> dict[str, Tensor]:
    return {name: value[row].expand(count, *value.shape[1:]) for name, value in batch.items()}


# ---- the true posterior ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("words", [{"bound": "iwae"}, {"kl": "sampled"}, {"kl": "sampled", "label_term": "log_mean"}])
def test_with_the_true_posterior_every_draw_gives_the_evidence(words: Raw, samples: int) -> None:
    """log p(c) + α log p(y | x, w) in rows with y, log p(c) in the others: every draw, to 1e-9, in one mixed batch."""
    spec = with_objective(LABEL_FIRST, **words, alpha=0.7)
    model = perfect(spec)
    joint = Gaussian.of(factors(model, spec, "generative"))
    labelled, unlabelled = rows_of(spec, ["y"], 4), rows_of(spec, [], 4, seed=4)
    batch = {name: torch.cat([labelled[name], unlabelled[name]]) for name in labelled}
    wanted = []
    for row in range(8):
        values = known(spec, batch, row)
        term = joint.log_density(values)
        if "y" in values:
            evidence = {name: values[name] for name in ("x", "w")}
            term = term + 0.7 * (joint.log_density(values) - joint.log_density(evidence))
        wanted.append(term)
    assert_same(model.objective(batch, samples=samples).bound, torch.stack(wanted))


def test_with_the_true_posterior_the_elbo_is_the_evidence_on_average() -> None:
    """With the closed-form divergence the draws matter again: 40 means of 500 rows."""
    spec = with_objective(LABEL_FIRST, alpha=0)
    model = perfect(spec)
    joint = Gaussian.of(factors(model, spec, "generative"))
    for observed in ([], ["y"]):
        batch = rows_of(spec, observed, 1)
        draws = [model.objective(repeat(batch, 0, 500)).bound.detach().mean() for _ in range(40)]
        assert_mean(torch.stack(draws)[:, None], joint.log_density(known(spec, batch, 0)).detach()[None])


def test_a_varying_weight_is_not_tight_and_by_how_much() -> None:
    """q(z|x) q(y|x,z) is the true posterior, y labelled. Then f = log p(x) in every draw, so that

    L̂_9 = log p(x) + (1+α) log (1/S) Σ w, which tends to log p(x,y) + α log p(y|x);
    E L̂_8 = log p(x) + (1+α) [log p(y|x) − KL(q(z|x)‖p(z|x,y))], at any S.

    40 means of 500 rows.
    """
    alpha = 0.5
    iwae = with_objective(LABEL_LAST, bound="iwae", alpha=alpha)
    elbo = with_objective(LABEL_LAST, alpha=alpha, kl="sampled")
    model = perfect(iwae, seed=5)
    model_elbo = perfect(elbo, seed=5)
    joint = Gaussian.of(factors(model, iwae, "generative"))
    batch = rows_of(iwae, ["y"], 1)
    values = known(iwae, batch, 0)
    log_x, log_xy = joint.log_density({"x": values["x"]}), joint.log_density(values)
    gain, bias, cov = joint.given(["z"], ["x"])
    gain_y, bias_y, cov_y = joint.given(["z"], ["x", "y"])
    gap = divergence(gain @ values["x"] + bias, cov, gain_y @ torch.cat([values["x"], values["y"]]) + bias_y, cov_y)
    wanted = log_x + (1 + alpha) * (log_xy - log_x - gap)
    assert float(gap.detach()) > 0.05
    for samples in (1, 4):
        many = repeat(batch, 0, 500)
        draws = [model_elbo.objective(many, samples=samples).bound.detach().mean() for _ in range(40)]
        assert_mean(torch.stack(draws)[:, None], wanted.detach()[None])
    # (L̂_9 − log p(x)) / (1+α) is log (1/S) Σ w, whose exponential has the mean p(y|x)
    found = model.objective(repeat(batch, 0, 40 * 500), samples=4).bound.detach()
    ratios = ((found - log_x.detach()) / (1 + alpha)).exp() / (log_xy - log_x).detach().exp()
    assert_mean(ratios.reshape(40, 500).mean(1)[:, None], torch.ones(1))


# ---- any q ----------------------------------------------------------------------------------------------------------


def elbo_of(model: Model, spec: Raw, values: Mapping[str, Tensor], alpha: float) -> Tensor:
    """Give E_r[log p(c, l) − log r] + α log w where no weight varies, by the moments of a linear-Gaussian q."""
    p, q = factors(model, spec, "generative"), factors(model, spec, "recognition")
    latent = [name for name in q if name not in values]
    fixed = {
        name: Affine((), torch.zeros(len(value), 0), value, torch.zeros(len(value))) for name, value in values.items()
    }
    moments = Gaussian.of({**fixed, **{name: q[name] for name in latent}})

    def expected(name: str, factor: Affine) -> Tensor:
        """E log N(v; A·parents + b, s²) = −½ Σ [log 2π s² + (mean² + variance of the residual) / s²]."""
        at, above = moments.index([name]), moments.index(factor.parents)
        off = moments.mean[at] - factor.bias
        select = torch.zeros(len(at), len(moments.mean))
        select[range(len(at)), at] = 1.0
        if above:
            off = off - factor.matrix @ moments.mean[above]
            parents = torch.zeros(len(above), len(moments.mean))
            parents[range(len(above)), above] = 1.0
            select = select - factor.matrix @ parents
        variance = (select @ moments.covariance @ select.T).diagonal()
        return -0.5 * ((2 * math.pi * factor.scale**2).log() + (off**2 + variance) / factor.scale**2).sum()

    total = sum(expected(name, factor) for name, factor in p.items())
    total = total - sum(expected(name, q[name]) for name in latent)
    return total + alpha * sum(expected(name, q[name]) for name in q if name in values)


CASES = [
    pytest.param(LABEL_FIRST, [], id="label-first"),
    pytest.param(LABEL_FIRST, ["y"], id="label-first-y"),
    pytest.param(LABEL_LAST, [], id="label-last"),
    pytest.param(CROSSED, [], id="crossed"),
    pytest.param(CROSSED, ["k"], id="crossed-k"),
    pytest.param(CROSSED, ["t", "k"], id="crossed-tk"),
]


@pytest.mark.parametrize("words", [{}, {"kl": "sampled"}])
@pytest.mark.parametrize(("structure", "observed"), CASES)
def test_the_elbo_and_its_gradient_are_those_of_linear_algebra(structure: Raw, observed: list[str], words: Raw) -> None:
    """40 estimates of 300 equal rows, one sample each."""
    spec = with_objective(structure, **words, alpha=0.6)
    model = made(spec, 2)
    batch = rows_of(spec, observed, 1)
    wanted = value_and_gradient(model, elbo_of(model, spec, known(spec, batch, 0), 0.6))
    assert_mean(estimates(model, repeat(batch, 0, 300), 1), wanted)


def test_closed_divergences_are_the_expectations_of_linear_algebra() -> None:
    """With no likelihood of the latent nothing is drawn: the bound is exact. y labelled here blocks the way to x."""
    spec: Raw = {
        "version": 1,
        "nodes": {
            "x": normal("full", ["y"], 0.5, width=2),
            "y": normal("partial", [], 1.3, ["x"]),
            "z": normal("none", ["y"], 0.8, ["x", "y"], width=3),
        },
        "objective": {"alpha": 0.3},
    }
    model = made(spec, 4)
    batch = rows_of(spec, ["y"], 5)
    wanted = torch.stack([elbo_of(model, spec, known(spec, batch, row), 0.3) for row in range(5)])
    assert_same(model.objective(batch).bound, wanted)


@pytest.mark.parametrize(("structure", "observed"), [*CASES, pytest.param(CROSSED, ["t"], id="crossed-t")])
def test_iwae_estimates_the_evidence_without_bias(structure: Raw, observed: list[str]) -> None:
    """E exp L̂_9 = p(c) at α = 0: 40 means of 500 rows at 20 samples.

    And 200 000 samples are within 6 standard errors of log p(c), which are below 0.05 nats: 2e-9 false alarms. Every q
    is wider than its prior, so that the weights have a variance.
    """
    spec = with_objective(structure, bound="iwae", alpha=0)
    for name, node in structure["nodes"].items():
        if "recognition" in node:
            spec = with_scale(spec, name, 1.6)
    model = made(spec, 2)
    batch = rows_of(spec, observed, 1)
    log_p = Gaussian.of(factors(model, spec, "generative")).log_density(known(spec, batch, 0)).detach()
    found = model.objective(repeat(batch, 0, 40 * 500), samples=20).bound.detach()
    assert_mean((found - log_p).exp().reshape(40, 500).mean(1)[:, None], torch.ones(1))
    spread = float((found - log_p).exp().std()) * math.sqrt(20 / 200_000)
    assert spread < 0.05
    assert abs(float(model.objective(batch, samples=200_000).bound.detach() - log_p)) <= 6 * spread


def test_the_order_of_bounds_and_the_evidence() -> None:
    """Exact ELBO <= E L̂_9 at 2 samples <= at 10 <= log p(c): 20 000 rows, gaps of at least 7 standard errors."""
    spec = with_objective(CROSSED, bound="iwae", alpha=0)
    model = made(spec, 2)
    batch = rows_of(spec, [], 1)
    values = known(spec, batch, 0)
    log_p = float(Gaussian.of(factors(model, spec, "generative")).log_density(values).detach())
    before, error_before = float(elbo_of(model, spec, values, 0.0).detach()), 0.0
    for samples in (2, 10):
        found = model.objective(repeat(batch, 0, 20_000), samples=samples).bound.detach()
        error = float(found.std()) / math.sqrt(len(found))
        assert before + 7 * error_before < float(found.mean()) - 7 * error
        before, error_before = float(found.mean()), error
    assert before + 7 * error_before < log_p
