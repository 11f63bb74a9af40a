"""What is drawn is scored where it was drawn, however near to an edge of its support: no bound lies above log p(x).

Statistical tests use 20 000 draws and refuse beyond 6 standard errors, a false-alarm rate of 2e-9 for each comparison.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution

import sgc
from sgc.distributions.families import FAMILIES, FORMS
from sgc.distributions.family import Family
from sgc.distributions.von_mises import von_mises
from sgc.runtime.model import Model

Raw = dict[str, Any]  # Any: a spec as plain data

DRAWS, STANDARD_ERRORS = 20_000, 6.0
SIZES = (1e-3, 0.02, 0.3, 1.0, 30.0)  # of concentrations, rates, scales and degrees of freedom
FLOATS = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
LOG_P = -0.552  # of a row x = 1

pytestmark = pytest.mark.usefixtures("seeded_draws")


def bound(family: Family) -> Family:
    return family.with_options({name: 4 for name, option in family.options.items() if option.default is None})


EVERY = {**FAMILIES, **FORMS}
ALL = [pytest.param(bound(family), id=name) for name, family in EVERY.items()]
CLOSED = [case for case in ALL if case.values[0].closed_kl and case.values[0].pathwise and case.values[0].heads]


def numbers(family: Family, size: float, more: float) -> dict[str, float]:
    """Give a number for each head: what is positive about `size`, and larger by `more` where a draw can tell."""
    found = {}
    for name in family.heads or family.constraints:
        word = family.constraints[name].word
        if word in ("positive", "nonnegative", "positive_vector", "lower_cholesky"):
            found[name] = size * (1 + more / math.sqrt(1 + 4 * size))
        elif word in ("real", "real_vector"):
            found[name] = 0.3 + more * (0.5 if name == "logits" else min(1.0, size) / (2 + size))
        else:
            found[name] = 0.5 + more / 4
    return {"low": 0.0, "high": 1.0} if family.support.word == "interval" else found


def member(family: Family, given: dict[str, float], dtype: torch.dtype) -> Distribution:
    event = (3,) * family.event_dim
    return family.distribution({name: torch.tensor(value, dtype=dtype) for name, value in given.items()}, event)


def close_to(values: Tensor, wanted: float, rounding: float = 0.0) -> None:
    """Hold a mean of independent values to what it estimates."""
    mean, error = values.double().mean().item(), values.double().std().item() / math.sqrt(len(values))
    assert abs(mean - wanted) <= STANDARD_ERRORS * error + rounding, (mean, wanted, error)


@FLOATS
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("family", ALL)
def test_the_weights_of_draws_average_to_one(family: Family, size: float, dtype: torch.dtype) -> None:
    """E_q[p/q] is 1: what is clamped or rounded and scored there would not be."""
    q, p = (member(family, numbers(family, size, more), dtype) for more in (0.0, 0.2))
    drawn = family.draw(q, (DRAWS,), pathwise=family.pathwise)
    close_to((family.log_prob(p, drawn) - family.log_prob(q, drawn)).double().exp(), 1.0, 1e-5)


@FLOATS
@pytest.mark.parametrize("size", [1e-3, 0.02, 1.0])
@pytest.mark.parametrize("family", CLOSED)
def test_draws_and_their_gradients_tell_the_closed_divergence(family: Family, size: float, dtype: torch.dtype) -> None:
    """The mean of log q − log p over draws is KL(q‖p), its pathwise gradient that of KL(q‖p)."""
    event = (3,) * family.event_dim
    given, other = numbers(family, size, 0.0), member(family, numbers(family, size, 0.2), dtype)
    exact = {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in given.items()}
    kl = family.kl(family.distribution(exact, event), member(family, numbers(family, size, 0.2), torch.float64))
    slopes = dict(zip(exact, torch.autograd.grad(kl, list(exact.values())), strict=True))

    def one_for_each_draw(value: float) -> Tensor:
        return torch.full((DRAWS, *(1,) * family.event_dim), value, dtype=dtype, requires_grad=True)

    matrices = {name for name in given if family.parameter_shape(name, event) != event}
    wide = {name: one_for_each_draw(value) for name, value in given.items()}
    parameters = {
        name: value.unsqueeze(-1) * torch.eye(3, dtype=dtype) if name in matrices else value.expand(DRAWS, *event)
        for name, value in wide.items()
    }
    q = family.distribution(parameters, event)
    drawn = family.draw(q, (DRAWS,), pathwise=True)
    ratio = family.log_prob(q, drawn) - family.log_prob(other, drawn)
    close_to(ratio.detach(), kl.item(), 1e-5)
    for (name, slope), gradient in zip(
        slopes.items(), torch.autograd.grad(ratio.sum(), list(wide.values())), strict=True
    ):
        assert gradient.isfinite().all(), name
        close_to(gradient.reshape(DRAWS), slope.item(), 1e-5 * (1 + abs(slope.item())))


@FLOATS
@pytest.mark.parametrize("logits", [-1e8, -1e-5, 0.0, 1e-3, 30.0, 1e8])
def test_draws_next_to_either_end_have_their_weights(logits: float, dtype: torch.dtype) -> None:
    """ContinuousBernoulli at 1e8 lies within 1e-8 of 1, which float32 rounds it to."""
    q, p = (member(FAMILIES["ContinuousBernoulli"], {"logits": value}, dtype) for value in (logits, 1.2 * logits + 0.1))
    drawn = FAMILIES["ContinuousBernoulli"].draw(q, (DRAWS,), pathwise=True)
    log_q, log_p = (FAMILIES["ContinuousBernoulli"].log_prob(each, drawn) for each in (q, p))
    close_to((log_p - log_q).double().exp(), 1.0, 1e-5)
    kl = FAMILIES["ContinuousBernoulli"].kl(q, p).item()
    close_to(log_q - log_p, kl, 1e-5)


def exponential(function: Callable[[Tensor], Tensor]) -> float:
    """Integrate a function of a standard exponential, by its log: the trapezoid rule on a line."""
    log = torch.linspace(-60, 6, 200_001, dtype=torch.float64)
    mass = (log - log.exp()).exp() * (log[1] - log[0])
    return float((mass * function(log.exp())).sum())


@FLOATS
@pytest.mark.parametrize("size", [1e-3, 0.02, 1.0])
def test_draws_of_families_without_a_closed_divergence_tell_it_by_hand(size: float, dtype: torch.dtype) -> None:
    """Weibull and Kumaraswamy are functions of an exponential, FisherSnedecor(d, d) of a Beta(d/2, d/2), whatever d."""
    more = 1.2 * size

    def log_weibull(k: float, s: Tensor) -> Tensor:  # of s = log v, the scale 1
        return math.log(k) + k * s - (k * s).exp()

    def both(family: str, q: dict[str, float], p: dict[str, float]) -> Tensor:
        one, other = member(FAMILIES[family], q, dtype), member(FAMILIES[family], p, dtype)
        drawn = FAMILIES[family].draw(one, (DRAWS,), pathwise=True)
        return FAMILIES[family].log_prob(one, drawn) - FAMILIES[family].log_prob(other, drawn)

    weibull = exponential(lambda e: log_weibull(size, e.log() / size) - log_weibull(more, e.log() / size))
    close_to(both("Weibull", {"scale": 1, "concentration": size}, {"scale": 1, "concentration": more}), weibull, 1e-5)

    # 1 − v^a = e^{−E/b}, and 1 − v^{1.2 a} is 1.2 times that where both have left float64
    def kumaraswamy(e: Tensor) -> Tensor:
        far = torch.where(e > size, (-(-e / size).exp()).log1p(), (-(-e / size).expm1()).log())  # log v^a
        rest = torch.where(far == 0, math.log(1.2) - e / size, (-(1.2 * far).expm1()).log())
        return -2 * math.log(1.2) - 0.2 * far - (size - 1) * e / size - (more - 1) * rest

    q, p = ({"concentration1": value, "concentration0": value} for value in (size, more))
    close_to(both("Kumaraswamy", q, p), exponential(kumaraswamy), 1e-4)

    beta = torch.distributions.Beta
    a, b = (torch.tensor(value / 2, dtype=torch.float64) for value in (size, more))
    fisher = torch.distributions.kl_divergence(beta(a, a), beta(b, b)).item()
    close_to(both("FisherSnedecor", {"df1": size, "df2": size}, {"df1": more, "df2": more}), fisher, 1e-5)

    # of s = log |t| the density is 2 e^s times that of t
    log = torch.cat([-(10 ** torch.linspace(2, -8, 40_001)).double(), (10 ** torch.linspace(-8, 5, 80_001)).double()])

    def log_student(d: float) -> Tensor:
        constant = math.lgamma((d + 1) / 2) - math.lgamma(d / 2) - 0.5 * math.log(d * math.pi) + math.log(2)
        return constant + log - (d + 1) / 2 * torch.nn.functional.softplus(2 * log - math.log(d), threshold=700)

    one, other = log_student(size), log_student(more)
    student = float(torch.trapezoid(one.exp() * (one - other), log))
    q, p = ({"df": value, "loc": 0.0, "scale": 1.0} for value in (size, more))
    close_to(both("StudentT", q, p), student, 1e-4)


def spec(name: str, q: dict[str, float], p: dict[str, float], shape: list[int], objective: Raw, **q_more: Any) -> Raw:
    """A row x that does not read the latent t: log p(x) is that of its Bernoulli."""
    family = bound(FAMILIES[name])
    kind: Any = {name: dict(family.settings)} if family.settings else name
    kind = {name: {"of": "Poisson"}} if family.inflates else kind
    latent: Raw = {
        "distribution": kind,
        "shape": shape or [3] * family.event_dim,
        "supervision": "none",
        "generative": {"parameters": p},
        "recognition": {"parameters": q, **q_more},
    }
    if name == "Categorical":
        latent = {**latent, "shape": [1], "categories": 3}
    row = {
        "distribution": "Bernoulli",
        "supervision": "full",
        "generative": {"parameters": {"logits": -math.log(math.expm1(-LOG_P))}},
    }
    return {"version": 1, "nodes": {"x": row, "t": latent}, "objective": objective}


def bounds(made: Raw, rows: int, samples: int, dtype: torch.dtype) -> Tensor:
    model: Model = sgc.compile(sgc.load(made)).to(dtype)
    return model.objective({"x": torch.ones(rows, dtype=dtype)}, samples=samples).bound.detach().double()


@pytest.mark.parametrize("default", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "Uniform"])
def test_no_bound_of_rows_that_ignore_a_latent_lies_above_their_log_probability(
    name: str, default: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """iwae of 100 rows with 200 samples averages to p(x); the sampled elbo to log p(x) less the closed KL."""
    monkeypatch.setattr(Model, "like", property(lambda _: torch.zeros((), dtype=default)))
    family = FAMILIES[name]
    for size in (1e-3, 0.05):
        q, p = numbers(family, size, 0.0), numbers(family, size, 0.2)
        weighed = bounds(spec(name, q, p, [], {"bound": "iwae"}), 100, 200, default)
        close_to((weighed - LOG_P).exp(), 1.0, 1e-5)
        if family.closed_kl:
            sampled = bounds(spec(name, q, p, [], {"bound": "elbo", "kl": "sampled"}), DRAWS, 1, default)
            closed = bounds(spec(name, q, p, [], {"bound": "elbo"}), 1, 1, default)
            close_to(sampled, closed.item(), 1e-5)
            assert closed.item() <= LOG_P + 1e-6


@pytest.mark.parametrize(
    ("name", "shape", "q", "p"),
    [
        ("Dirichlet", [50], {"concentration": 0.015}, {"concentration": 0.02}),
        ("Gamma", [10], {"concentration": 0.008, "rate": 1.0}, {"concentration": 0.01, "rate": 1.0}),
        (
            "Beta",
            [10],
            {"concentration1": 0.08, "concentration0": 0.08},
            {"concentration1": 0.1, "concentration0": 0.1},
        ),
        ("Kumaraswamy", [10], {"concentration1": 0.08, "concentration0": 0.08}, {}),
    ],
)
def test_bounds_that_lay_nats_above(name: str, shape: list[int], q: Raw, p: Raw) -> None:
    """float32: with clamped draws iwae was up to 2.8 nats above log p(x), or no number."""
    prior = p or {"concentration1": 0.1, "concentration0": 0.1}
    weighed = bounds(spec(name, q, prior, shape, {"bound": "iwae"}), 20, 2_000, torch.float32)
    close_to((weighed - LOG_P).exp(), 1.0)
    assert weighed.mean() < LOG_P + 0.02


@pytest.mark.parametrize("way", ["pathwise", "stl", "score_function"])
def test_every_estimator_has_the_gradient_of_the_closed_divergence(way: str) -> None:
    """In Gamma's concentration 0.02 and rate: the means of 20 000 rows in 40 parts."""
    learned = {"concentration": {"start": 0.02, "learn": True}, "rate": {"start": 1.0, "learn": True}}
    prior = {"concentration": 0.03, "rate": 1.0}
    objective = {"bound": "elbo", "kl": "sampled", **({"gradient": "stl"} if way == "stl" else {})}
    more = {"estimator": {"score_function": {"baseline": "none"}}} if way == "score_function" else {}
    found = {}
    for kind, rows, times in (("closed", 1, 1), ("sampled", 500, 40)):
        closed = {"bound": "elbo"} if kind == "closed" else objective
        made = sgc.compile(sgc.load(spec("Gamma", learned, prior, [1], closed, **({} if kind == "closed" else more))))
        model: Model = made.double()
        slopes = []
        for _ in range(times):
            model.zero_grad()
            model.objective({"x": torch.ones(rows)}).loss.backward()
            slopes.append(torch.cat([each.grad.reshape(-1) for each in model.parameters() if each.grad is not None]))
        found[kind] = torch.stack(slopes)
    for i, exact in enumerate(found["closed"][0]):
        close_to(found["sampled"][:, i], exact.item(), 1e-9)


@FLOATS
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize("family", ALL)
def test_draws_lie_inside_the_support_and_are_seen(family: Family, size: float, dtype: torch.dtype) -> None:
    """Finite and off the boundary, so that they may be given back as data and read by networks; so are gradients."""
    given = {n: torch.tensor(v, dtype=dtype, requires_grad=True) for n, v in numbers(family, size, 0.0).items()}
    drawn = family.draw(family.distribution(given, (3,) * family.event_dim), (2000,), pathwise=family.pathwise)
    value = drawn.value
    assert value.dtype == dtype
    assert value.isfinite().all()
    assert list(family.support.faults(value.detach())) == []
    assert family.log_prob(family.distribution(given, (3,) * family.event_dim), drawn).isfinite().all()
    if family.pathwise and family.heads:
        total = value.tanh().sum() + sum(log.clamp(-1e6, 1e6).sum() for log in drawn.exact)
        for gradient in torch.autograd.grad(total, list(given.values()), allow_unused=True):
            assert gradient is None or not gradient.isnan().any()


# ---- draws that never returned, or returned something that was none


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_draw_of_von_mises_returns_whatever_its_concentration(dtype: torch.dtype) -> None:
    """κ · 2 (1 − cos) is χ² with one degree of freedom where κ is large; mean 1, and every angle where it is small."""
    largest = 1e36 if dtype == torch.float32 else 1e300
    for concentration in (1e5, 1e8, 1e12, 1e18, largest):
        angle = von_mises()(torch.zeros((), dtype=dtype), torch.tensor(concentration, dtype=dtype)).sample((DRAWS,))
        scaled = angle.double() * math.sqrt(concentration)
        close_to(scaled.square(), 1.0, 1e-4)
        close_to(scaled.abs(), math.sqrt(2 / math.pi), 1e-4)
        close_to(scaled, 0.0)
    for concentration in (1e-38, 1e-30, 1e-6):
        angle = von_mises()(torch.ones((), dtype=dtype), torch.tensor(concentration, dtype=dtype)).sample((DRAWS,))
        assert (angle.abs() <= math.pi + 1e-6).all()
        close_to(angle, 0.0)
        close_to(angle.square(), math.pi**2 / 3)
    for loc, concentration in ((0.0, math.nan), (0.0, math.inf), (math.nan, 1.0)):
        parts = [torch.tensor(each, dtype=dtype) for each in (loc, concentration)]
        assert von_mises()(*parts, validate_args=False).sample((3,)).isnan().all()
    uniform = von_mises()(torch.zeros((), dtype=dtype), torch.zeros((), dtype=dtype), validate_args=False)
    close_to(uniform.sample((DRAWS,)).square(), math.pi**2 / 3)


def test_a_draw_of_von_mises_has_the_mean_direction_of_its_concentration() -> None:
    """E cos is I₁(κ)/I₀(κ), by scaled Bessel functions."""
    for concentration in (0.01, 0.5, 2.0, 20.0, 1000.0):
        kappa = torch.tensor(concentration, dtype=torch.float64)
        wanted = (torch.special.i1e(kappa) / torch.special.i0e(kappa)).item()
        close_to((von_mises()(torch.tensor(3.0).double(), kappa).sample((DRAWS,)) - 3).cos(), wanted)


@pytest.mark.parametrize("outlier", [1e18, 1e38])
def test_a_row_far_out_returns_and_leaves_the_others_alone(outlier: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes a concentration as large, or parameters that are no numbers; a draw of these never returned."""
    monkeypatch.setattr(Model, "validate_args", False)
    heading = {"distribution": "VonMises", "supervision": "none"}
    heading |= {"recognition": {"parents": ["x"], "network": {"mlp": [8]}}}
    row = {"distribution": "Normal", "shape": [3], "supervision": "full"}
    row |= {"generative": {"parents": ["a"], "network": {"mlp": [8]}}}
    model: Model = sgc.compile(sgc.load({"version": 1, "nodes": {"x": row, "a": heading}}))
    x = torch.randn(5, 3)
    x[2] = outlier
    others = [0, 1, 3, 4]
    assert model.objective({"x": x}).bound[others].isfinite().all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is said of the row, and of few samples
        assert model.infer({"x": x}, samples=4)["a"].samples[:, others].isfinite().all()


@FLOATS
@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", [*(name for name, family in EVERY.items() if family.sampler is not None), "VonMises"])
def test_a_parameter_that_is_no_number_gives_no_draw(
    name: str, bad: float, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch drew 0.5 from Beta, 1/K from Dirichlet, the smallest float from Gamma, and −9e18 from Poisson."""
    family = EVERY[name]
    parameters = {head: torch.tensor(bad, dtype=dtype) for head in family.heads}
    monkeypatch.setattr(Distribution, "_validate_args", False)  # some classes check what they are made of, asked or not
    drawn = family.draw(family.distribution(parameters, (3,) * family.event_dim), (5,))
    assert all(each.isnan().all() for each in (drawn.value, *drawn.exact))


@FLOATS
@pytest.mark.parametrize("probs", [1e-9, 1e-3, 1.0])
def test_geometric_draws_have_their_mean(probs: float, dtype: torch.dtype) -> None:
    """(1 − p)/p and the same deviation nearly, of 20 000 draws; float32 drew those of 1e-9 as if it were 1.2e-7."""
    q = FAMILIES["Geometric"].distribution({"probs": torch.tensor(probs, dtype=dtype)}, ())
    drawn = FAMILIES["Geometric"].draw(q, (DRAWS,)).value
    assert drawn.dtype == dtype
    close_to(drawn * probs, 1 - probs)


def test_counts_of_any_rate_are_counts() -> None:
    """Above 1e15 a Poisson is a normal, rounded: 20 000 draws."""
    for rate in (1e14, 1e16, 1e20, 1e30):
        q = FAMILIES["Poisson"].distribution({"rate": torch.tensor(rate, dtype=torch.float64)}, ())
        counts = FAMILIES["Poisson"].draw(q, (DRAWS,)).value
        assert (counts >= 0).all()
        close_to((counts - rate) / math.sqrt(rate), 0.0)
        close_to(((counts - rate) / math.sqrt(rate)).square(), 1.0)
