"""Draws that are rounded where they lie, far out or next to an edge, are scored where they were drawn all the same.

Statistical tests use 20 000 draws and refuse beyond 6 standard errors, a false-alarm rate of 2e-9 for each comparison.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import sgc
from sgc.distributions.families import FAMILIES
from sgc.distributions.points import Point

DRAWS, STANDARD_ERRORS = 20_000, 6.0
FLOATS = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
LOG_P = -0.552  # of a row x = 1

pytestmark = pytest.mark.usefixtures("seeded_draws")

Parameters = dict[str, float]


def close_to(values: Tensor, wanted: float, rounding: float = 1e-5) -> None:
    """Hold a mean of independent values to what it estimates."""
    assert values.isfinite().all()
    mean, error = values.double().mean().item(), values.double().std().item() / math.sqrt(len(values))
    assert abs(mean - wanted) <= STANDARD_ERRORS * error + rounding, (mean, wanted, error)


def ratio(
    name: str, q: Parameters, p: Parameters, dtype: torch.dtype, event: tuple[int, ...] = ()
) -> tuple[Tensor, dict[str, Tensor]]:
    """Give log p − log q of draws of q, and q's parameters, one for each draw: [draws, 1...]."""
    family = FAMILIES[name]
    dims = (1,) * len(event)
    each = {k: torch.full((DRAWS, *dims), v, dtype=dtype, requires_grad=True) for k, v in q.items()}
    wide = {k: v.expand(DRAWS, *event) if k != "scale_tril" else v[..., None] * torch.eye(3) for k, v in each.items()}
    made = family.distribution(wide, event)
    other = family.distribution({k: torch.tensor(v, dtype=dtype) for k, v in p.items()}, event)
    drawn = family.draw(made, (DRAWS,), pathwise=family.pathwise)
    return family.log_prob(other, drawn) - family.log_prob(made, drawn), each


LOCATED = {
    "Normal": ({"scale": 1e-3}, {"scale": 1.2e-3}),
    "Laplace": ({"scale": 1e-3}, {"scale": 1.2e-3}),
    "Gumbel": ({"scale": 1e-3}, {"scale": 1.1e-3}),
    "Cauchy": ({"scale": 1e-3}, {"scale": 1.2e-3}),
    "StudentT": ({"df": 3.0, "scale": 1e-3}, {"df": 3.0, "scale": 1.2e-3}),
    "MultivariateNormal": ({"scale_tril": 1e-3}, {"scale_tril": 1.2e-3}),
}


@FLOATS
@pytest.mark.parametrize("loc", [3.0, 1e4, 1e12, -1e30])
@pytest.mark.parametrize("name", LOCATED)
def test_what_a_location_rounds_away_is_scored(name: str, loc: float, dtype: torch.dtype) -> None:
    """The weights average to 1 and log q − log p to a KL that knows no location, so does the gradient."""
    event = (3,) * FAMILIES[name].event_dim
    q, p = ({"loc": loc, **each} for each in LOCATED[name])
    found, parameters = ratio(name, q, p, dtype, event)
    close_to(found.detach().double().exp(), 1.0)
    at_zero, near = ratio(name, {**q, "loc": 0.0}, {**p, "loc": 0.0}, torch.float64, event)
    both = found.detach().double(), at_zero.detach()
    close_to(both[0] - both[0].mean() + both[1].mean(), both[1].mean().item())
    spread = math.hypot(*(each.std().item() / math.sqrt(DRAWS) for each in both))
    assert abs(both[0].mean() - both[1].mean()) <= STANDARD_ERRORS * spread + 1e-5
    slopes = [torch.autograd.grad(each.sum(), list(of.values())) for each, of in ((found, parameters), (at_zero, near))]
    for far, close in zip(*slopes, strict=True):
        assert far.isfinite().all()
        spread = math.hypot(*(each.double().std().item() / math.sqrt(DRAWS) for each in (far, close)))
        mean = close.mean().item()
        assert abs(far.double().mean().item() - mean) <= STANDARD_ERRORS * spread + 1e-4 * (1 + abs(mean))


CROWDED: dict[str, list[str]] = {
    "Gamma": ["concentration"],
    "InverseGamma": ["concentration"],
    "Chi2": ["df"],
    "FisherSnedecor": ["df1", "df2"],
    "Beta": ["concentration1", "concentration0"],
    "Dirichlet": ["concentration"],
    "Kumaraswamy": ["concentration1", "concentration0"],
    "Weibull": ["concentration"],
    "Pareto": ["alpha"],
    "StudentT": ["df"],
}


@FLOATS
@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-9, 1e-25, 1e-34])
@pytest.mark.parametrize("name", CROWDED)
def test_the_weights_of_draws_average_to_one_however_small_a_concentration(
    name: str, size: float, dtype: torch.dtype
) -> None:
    """A score of 1e9 nats in float32 has no digits behind the point: the log is scored, not what it is the log of."""
    rest = dict.fromkeys(FAMILIES[name].heads, 1.0)
    rest |= {"loc": 0.0} if "loc" in rest else {}
    event = (20,) * FAMILIES[name].event_dim
    q, p = ({**rest, **dict.fromkeys(CROWDED[name], size * more)} for more in (1.0, 1.2))
    found, parameters = ratio(name, q, p, dtype, event)
    close_to(found.detach().double().exp(), 1.0)
    for slope in torch.autograd.grad(found.sum(), list(parameters.values())):
        assert slope.isfinite().all()
    if FAMILIES[name].closed_kl:
        exact = [
            FAMILIES[name].distribution({k: torch.tensor(v, dtype=dtype).double() for k, v in each.items()}, event)
            for each in (q, p)
        ]
        close_to(-found.detach(), FAMILIES[name].kl(*exact).item(), 1e-4)


HEAVY: dict[str, Parameters] = {
    "Pareto": {"alpha": 0.01},
    "LogNormal": {"loc": 0.0, "scale": 30.0},
    "InverseGamma": {"concentration": 0.01, "rate": 1.0},
    "FisherSnedecor": {"df1": 0.3, "df2": 0.3},
    "Chi2": {"df": 0.01},
    "Gamma": {"concentration": 0.01, "rate": 1.0},
    "StudentT": {"df": 0.05, "loc": 0.0, "scale": 1.0},
    "Cauchy": {"loc": 0.0, "scale": 1e6},
}


@FLOATS
@pytest.mark.parametrize(
    ("child", "name"),
    [
        *(("loc", name) for name in HEAVY),
        *(("concentration", name) for name in ("LogNormal", "FisherSnedecor", "Chi2", "Gamma")),
    ],
)
def test_no_bound_lies_above_where_one_latent_is_the_parameter_of_another(
    name: str, child: str, dtype: torch.dtype
) -> None:
    """x reads neither t nor u: iwae of 100 rows with 200 samples averages to p(x), and gradients are finite."""
    learned = {k: {"start": v, "learn": True} for k, v in HEAVY[name].items()}
    latent = {"supervision": "none", "shape": [2]}
    more = {"loc": "scale", "concentration": "rate"}[child]
    nodes: dict[str, Any] = {
        "x": {
            "distribution": "Bernoulli",
            "supervision": "full",
            "generative": {"parameters": {"logits": -math.log(math.expm1(-LOG_P))}},
        },
        "t": {
            **latent,
            "distribution": name,
            "generative": {"parameters": HEAVY[name]},
            "recognition": {"parameters": learned},
        },
        "u": {
            **latent,
            "distribution": {"loc": "Normal", "concentration": "Gamma"}[child],
            "generative": {"parameters": {child: "t", more: 1.0}},
            # rates that differ would leave the weights of large concentrations no finite variance
            "recognition": {"parameters": {child: "t", more: 1.2 if child == "loc" else 1.0}},
        },
    }
    model = sgc.compile(sgc.load({"version": 1, "nodes": nodes, "objective": {"bound": "iwae"}})).to(dtype)
    out = model.objective({"x": torch.ones(100, dtype=dtype)}, samples=200)
    close_to((out.bound.detach().double() - LOG_P).exp(), 1.0, 1e-4)
    out.loss.backward()
    assert all(each.grad.isfinite().all() for each in model.parameters())


@pytest.mark.parametrize("scale", [1.0, 1e-9])
@pytest.mark.parametrize("size", [1e154, 1e200, 1e305])
def test_a_square_that_leaves_the_floats_costs_no_density(size: float, scale: float) -> None:
    """log(1 + z²) is 2 log z out there; torch's z² is infinite, and z itself may be."""
    z = torch.tensor(size, dtype=torch.float64, requires_grad=True)
    log_z = math.log(size) - math.log(scale)
    for name, constant in {"Cauchy": 1 / math.pi, "HalfCauchy": 2 / math.pi, "StudentT": 1 / math.pi}.items():
        family = FAMILIES[name]
        given = {"loc": 0.0, "scale": scale, "df": 1.0}
        made = family.distribution({k: torch.tensor(given[k], dtype=torch.float64) for k in family.heads}, ())
        found = family.log_prob(made, z)
        assert found.item() == pytest.approx(math.log(constant) - math.log(scale) - 2 * log_z, rel=1e-12)
        assert torch.autograd.grad(found, z)[0].item() == pytest.approx(-2 / size, rel=1e-12)


def test_a_value_that_was_not_drawn_has_the_density_of_its_family() -> None:
    """Only draws are scored by their logs: data and labels by themselves, whatever becomes of a draw's measure."""
    for name in ("Gamma", "Normal"):
        family = FAMILIES[name]
        made = family.distribution({k: torch.tensor(1.3).double() for k in family.heads}, ())
        value = torch.tensor(0.7).double()
        assert torch.equal(family.log_prob(made, value), family.log_prob(made, Point(value)))
        assert family.log_prob(made, value).item() == pytest.approx(made.log_prob(value).item(), rel=1e-12)
