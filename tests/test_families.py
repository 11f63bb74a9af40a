"""The laws that every family keeps: one table of families, nothing to write for a new one.

Oracles are quadrature or a sum over the support. Statistical tests use 20 000 draws and refuse beyond 6 standard
errors, a false-alarm rate of 2e-9 for each comparison of a normal mean.
"""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys

import pytest
import torch
from torch.distributions import Distribution, Independent, constraints

from sgc.distributions import make_table
from sgc.distributions.families import FAMILIES, FORMS
from sgc.distributions.family import Family
from sgc.distributions.table import Option

DRAWS, STANDARD_ERRORS = 20_000, 6.0
SIZE = 3  # of an elementary event that is a vector
COUNT = 4  # of the families that need a number of trials


def bound(family: Family) -> Family:
    return family.with_options({name: COUNT for name, option in family.options.items() if option.default is None})


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


ALL = [pytest.param(bound(family), id=name) for name, family in {**FAMILIES, **FORMS}.items()]


def only(fact: str) -> list[object]:
    return [case for case in ALL if getattr(case.values[0], fact)]


def elementary_event(family: Family) -> tuple[int, ...]:
    size = 2 if family.support.word == "real_vector" else SIZE  # quadrature in a plane
    return (size,) * family.event_dim


def raw_heads(family: Family, event: tuple[int, ...], seed: int, *leading: int) -> dict[str, torch.Tensor]:
    """Draw heads in [0.4, 2]: scales, shapes and rates lie in [0.9, 2.1], where quadrature is at its best."""
    generator = torch.Generator().manual_seed(seed)
    return {
        head: 0.4 + 1.6 * torch.rand((*leading, *shape), generator=generator, dtype=torch.float64)
        for head, shape in family.head_shapes(event).items()
    }


def constrained(family: Family, raw: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {head: family.constrain(head, value) for head, value in raw.items()}


def some_parameters(family: Family, event: tuple[int, ...], seed: int, *leading: int) -> dict[str, torch.Tensor]:
    if family.heads:
        return constrained(family, raw_heads(family, event, seed, *leading))
    assert family.standard is not None
    return {name: torch.full((*leading, *event), value).double() for name, value in family.standard.items()}


def member(family: Family, event: tuple[int, ...], seed: int, *leading: int) -> Distribution:
    return family.distribution(some_parameters(family, event, seed, *leading), event)


def line(count: int = 30001) -> tuple[torch.Tensor, torch.Tensor]:
    """Give nodes t and weights for the double-exponential rule: (π/2) sinh t, and its derivative times the step."""
    t = torch.linspace(-4.5, 4.5, count, dtype=torch.float64)
    return math.pi / 2 * t.sinh(), math.pi / 2 * t.cosh() * (t[1] - t[0])


def unit(count: int = 30001) -> tuple[torch.Tensor, torch.Tensor]:
    s, weight = line(count)
    return torch.sigmoid(2 * s), 2 * weight * torch.sigmoid(2 * s) * torch.sigmoid(-2 * s)


def support_grid(family: Family) -> tuple[torch.Tensor, torch.Tensor]:
    """Give values of one elementary event, [N, *event], and weights [N], so that Σ weight · f is the integral of f."""
    if family.finite:
        values = family.enumerate(elementary_event(family), torch.float64, "cpu")
    elif family.support.word == "multinomial":
        counts = [c for c in itertools.product(range(COUNT + 1), repeat=SIZE) if sum(c) == COUNT]
        values = torch.tensor(counts, dtype=torch.float64)
    elif family.support.word == "nonnegative_integer":
        values = torch.arange(3000, dtype=torch.float64)
    else:
        return _quadrature(family)
    return values, torch.ones(len(values), dtype=torch.float64)


def _quadrature(family: Family) -> tuple[torch.Tensor, torch.Tensor]:
    s, weight = line()
    if family.support.word in ("positive", "nonnegative", "bounded_below"):
        lowest = family.setting("scale") if family.support.word == "bounded_below" else 0.0
        values, weight = lowest + s.exp(), weight * s.exp()
        return values[values > lowest], weight[values > lowest]
    if family.support.word == "real":
        return s.sinh(), weight * s.cosh()
    if family.support.word == "real_vector":
        s, weight = line(401)
        plane = torch.cartesian_prod(s.sinh(), s.sinh())
        return plane, torch.cartesian_prod(weight * s.cosh(), weight * s.cosh()).prod(-1)
    u, weight = unit(301 if family.support.word == "open_simplex" else 30001)
    inside = (u > 0) & (u < 1)
    u, weight = u[inside], weight[inside]
    if family.support.word in (
        "unit_interval",
        "open_unit_interval",
        "interval",
    ):  # the standard Uniform is on the unit interval
        return u, weight
    if family.support.word == "circle":
        return math.pi * (2 * u - 1), 2 * math.pi * weight
    assert family.support.word == "open_simplex", family.support.word
    a, b = torch.cartesian_prod(u, u).unbind(-1)
    return torch.stack([a, (1 - a) * b, (1 - a) * (1 - b)], -1), torch.cartesian_prod(weight, weight).prod(-1) * (1 - a)


def expectation(family: Family, distribution: Distribution, values: torch.Tensor) -> torch.Tensor:
    """Integrate values [N, ...] at the nodes of `support_grid` under a distribution with batch shape ()."""
    nodes, weight = support_grid(family)
    mass = family.log_prob(distribution, nodes).exp() * weight
    return (mass.reshape(-1, *[1] * (values.dim() - 1)) * values).nan_to_num(0.0).sum(0)


def torch_constraint(family: Family, parameter: str) -> constraints.Constraint:
    return family.members().arg_constraints[parameter]


# ---- parameters


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("family", ALL)
def test_heads_of_any_size_meet_torchs_constraints(family: Family, dtype: torch.dtype) -> None:
    event = (5, *elementary_event(family))
    for head, shape in family.head_shapes(event).items():
        for extent in (1.0, 10.0, 30.0):
            raw = extent * (2 * torch.rand(50, *shape, dtype=dtype, generator=torch.Generator().manual_seed(0)) - 1)
            for numbers in (raw, extent * raw.sign()):
                value = family.constrain(head, numbers)
                assert value.shape == (50, *family.parameter_shape(head, event))
                assert torch_constraint(family, head).check(value).all()
                if family.constraints[head].word == "unit_interval":
                    assert ((value > 0) & (value < 1)).all()


@pytest.mark.parametrize("family", ALL)
def test_unconstrain_inverts_constrain_for_every_parameter(family: Family) -> None:
    event = (2, *elementary_event(family))
    for parameter in family.constraints:
        raw = 4 * torch.rand(7, *family.raw_shape(parameter, event), dtype=torch.float64) - 2
        value = family.constrain(parameter, raw)
        assert value.shape == (7, *family.parameter_shape(parameter, event))
        back = family.unconstrain(parameter, value)
        torch.testing.assert_close(family.constrain(parameter, back), value, rtol=1e-9, atol=1e-12)
        if family.constraints[parameter].word != "simplex":  # softmax forgets a constant
            torch.testing.assert_close(back, raw, rtol=1e-9, atol=1e-9)


def test_a_start_outside_the_constraint_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^scale of Normal cannot start at -1\.0; wanted positive$"):
        FAMILIES["Normal"].unconstrain("scale", torch.tensor(-1.0))


def parameterisations(family: Family) -> tuple[tuple[str, ...], ...]:
    """List the sets of parameters that make a distribution, that of the heads first."""
    if not family.heads:
        return (tuple(family.constraints),)
    swaps = [{}, *({head: name} for name, head in family.alternatives.items())]
    return tuple((*(swap.get(head, head) for head in family.heads), *family.taken) for swap in swaps)


@pytest.mark.parametrize("family", ALL)
def test_all_parameterisations_give_one_density_shape(family: Family) -> None:
    event = (2, *elementary_event(family))
    value = member(family, event, 0).sample()
    for names in parameterisations(family):
        raw = {n: torch.rand(3, *family.raw_shape(n, event), dtype=torch.float64) for n in names}
        parameters = constrained(family, raw) if family.heads else some_parameters(family, event, 0, 3)
        log_prob = family.log_prob(family.distribution(parameters, event), value.expand(3, *event))
        assert log_prob.shape == (3,)
        assert log_prob.isfinite().all()


@pytest.mark.parametrize("family", only("standard"))
def test_the_standard_prior_is_valid_and_has_no_batch(family: Family) -> None:
    event = (2, *elementary_event(family))
    assert family.standard is not None
    parameters = {name: torch.tensor(value, dtype=torch.float64) for name, value in family.standard.items()}
    prior = family.distribution(parameters, event, validate=True)
    assert (prior.batch_shape, prior.event_shape) == ((), event)
    assert prior.expand((4, 3)).sample().shape == (4, 3, *event)


def test_a_number_for_a_matrix_is_a_multiple_of_the_identity() -> None:
    normal = FAMILIES["MultivariateNormal"]
    two = normal.distribution({"loc": torch.tensor(0.0), "scale_tril": torch.tensor(2.0)}, (3,))
    torch.testing.assert_close(two.variance, torch.full((3,), 4.0))


# ---- densities


@pytest.mark.parametrize("family", ALL)
def test_the_density_integrates_to_one(family: Family) -> None:
    for seed in range(3):
        distribution = member(family, elementary_event(family), seed)
        one = expectation(family, distribution, torch.ones_like(support_grid(family)[1]))
        assert abs(one.item() - 1) < 1e-7, seed


@pytest.mark.parametrize("family", ALL)
def test_events_are_sums_of_elements_and_leading_dimensions_broadcast(family: Family) -> None:
    element = elementary_event(family)
    event = (2, 3, *element)
    distribution = member(family, event, 0, 4, 1)
    assert (distribution.batch_shape, distribution.event_shape) == ((4, 1), event)
    value = member(family, event, 1).sample((1, 5))
    log_prob = family.log_prob(distribution, value)
    parameters = some_parameters(family, event, 0, 4, 1)
    by_hand = torch.zeros(4, 5, dtype=torch.float64)
    for s, b, i, j in itertools.product(range(4), range(5), range(2), range(3)):
        own = {name: p[s, 0, i, j] for name, p in parameters.items()}
        by_hand[s, b] += family.log_prob(family.distribution(own, element), value[0, b, i, j])
    torch.testing.assert_close(log_prob, by_hand)


@pytest.mark.parametrize("family", ALL)
def test_the_log_density_is_torchs_own(family: Family) -> None:
    event = (2, *elementary_event(family))
    distribution = member(family, event, 2, 3)
    value = distribution.sample()
    torch.testing.assert_close(family.log_prob(distribution, value), distribution.log_prob(value), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("family", ALL)
def test_what_is_present_is_scored_element_by_element(family: Family) -> None:
    """All there: the whole score. Some: the sum of theirs, finite with its gradient whatever stands at the others."""
    element = elementary_event(family)
    event = (2, 3, *element)
    parameters = some_parameters(family, event, 0, 4, 1)
    distribution = family.distribution(parameters, event, validate=True)
    value = member(family, event, 1).sample((1, 5))
    everything = torch.ones(1, 5, 2, 3, dtype=torch.bool)
    assert family.element_shape(event) == (2, 3)
    whole = family.log_prob(distribution, value)
    torch.testing.assert_close(family.log_prob(distribution, value, everything), whole, rtol=1e-12, atol=1e-12)
    present = torch.rand(1, 5, 2, 3) < 0.5
    present[0, 0] = False
    holes = value.masked_fill(~present.reshape(1, 5, 2, 3, *[1] * len(element)), math.nan)
    by_hand = torch.zeros(4, 5, dtype=torch.float64)
    for s, b, i, j in itertools.product(range(4), range(5), range(2), range(3)):
        if present[0, b, i, j]:
            own = {name: p[s, 0, i, j] for name, p in parameters.items()}
            by_hand[s, b] += family.log_prob(family.distribution(own, element), value[0, b, i, j])
    torch.testing.assert_close(family.log_prob(distribution, holes, present), by_hand)

    raw = {head: part.requires_grad_() for head, part in raw_heads(family, event, 0, 4, 1).items()}
    if raw:
        score = family.log_prob(family.distribution(constrained(family, raw), event), holes, present)
        for gradient in torch.autograd.grad(score.sum(), list(raw.values())):
            assert gradient.isfinite().all()
            assert gradient.count_nonzero() > 0


@pytest.mark.parametrize("family", ALL)
def test_the_score_of_one_element_may_be_left_out(family: Family) -> None:
    event = elementary_event(family)
    distribution, value = member(family, event, 2, 3), member(family, event, 3, 3).sample()
    present = torch.tensor([True, False, True])
    scores = family.log_prob(distribution, value)
    holes = value.masked_fill(~present.reshape(3, *[1] * len(event)), math.nan)
    torch.testing.assert_close(family.log_prob(distribution, holes, present), torch.where(present, scores, 0))


@pytest.mark.parametrize("family", only("heads"))
def test_gradient_reaches_every_head(family: Family) -> None:
    event = (2, *elementary_event(family))
    raw = {head: value.requires_grad_() for head, value in raw_heads(family, event, 3, 4).items()}
    distribution = family.distribution(constrained(family, raw), event)
    ways = {"log_prob": family.log_prob(distribution, distribution.sample())}
    if family.pathwise:
        ways["draw"] = family.draw(distribution, (4,), pathwise=True).value.square().reshape(4, -1)
    for way, result in ways.items():
        gradients = torch.autograd.grad(result.sum(), list(raw.values()), retain_graph=True)
        for head, gradient in zip(raw, gradients, strict=True):
            assert gradient.isfinite().all(), (way, head)
            assert gradient.count_nonzero() == gradient.numel(), (way, head)


@pytest.mark.parametrize("family", [case for case in ALL if not case.values[0].support.discrete])
def test_the_log_density_is_differentiable_in_the_value(family: Family) -> None:
    distribution = member(family, elementary_event(family), 4, 6)
    value = distribution.sample().requires_grad_()
    log_prob = family.log_prob(distribution, value)
    if log_prob.requires_grad:  # torch's Uniform only compares
        assert torch.autograd.grad(log_prob.sum(), value)[0].isfinite().all()


# ---- means, draws, divergences


@pytest.mark.parametrize("family", ALL)
def test_the_mean_is_the_integral_or_the_median(family: Family) -> None:
    values, _ = support_grid(family)
    distribution = member(family, elementary_event(family), 5)
    mean = family.mean(distribution)
    assert mean.shape == elementary_event(family)
    if family.center in ("loc", "scale"):
        half = expectation(family, distribution, (values < mean).double())
        assert abs(half.item() - 0.5) < 2e-4  # the grid cuts at a node, not at the median
    elif family.support.word == "circle":
        assert abs(expectation(family, distribution, (values - mean).sin()).item()) < 1e-5
    elif mean.isinf().all():
        assert expectation(family, distribution, values).item() > 1e3
    else:
        torch.testing.assert_close(expectation(family, distribution, values), mean, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ALL)
def test_the_variance_is_the_integral(family: Family) -> None:
    values, _ = support_grid(family)
    distribution = member(family, elementary_event(family), 5)
    try:
        variance = family.variance(distribution)
    except NotImplementedError:
        assert family.name in ("VonMises", "DiscretizedLogistic")
        return
    mean = family.mean(distribution)
    assert variance.shape == mean.shape
    integral = expectation(family, distribution, (values - mean) ** 2)
    if variance.isinf().all():
        assert integral.item() > 1e11
    else:
        torch.testing.assert_close(variance, integral, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("family", ALL)
def test_draws_have_the_density(family: Family) -> None:
    """Bounded functions of the draws, for which the central limit theorem holds whatever the tails: 20 000 draws."""
    distribution = member(family, elementary_event(family), 6)
    draws, nodes = family.draw(distribution, (DRAWS,)).value, support_grid(family)[0]
    for function in (lambda x: x.cos(), lambda x: x.sin(), lambda x: (2 * x).cos(), lambda x: x.atan().sin()):
        if family.support.word == "circle" and function(torch.tensor(0.1)) != function(torch.tensor(0.1 + 2 * math.pi)):
            continue
        drawn, exact = function(draws), expectation(family, distribution, function(nodes))
        error = drawn.std(0) / math.sqrt(DRAWS)
        assert ((drawn.mean(0) - exact).abs() <= STANDARD_ERRORS * error + 1e-5).all()


@pytest.mark.parametrize("family", only("closed_kl"))
def test_closed_kl_is_the_integral(family: Family) -> None:
    event = elementary_event(family)
    q, p = member(family, event, 7), member(family, event, 8)
    nodes, _ = support_grid(family)
    log_ratio = family.log_prob(q, nodes) - family.log_prob(p, nodes)
    torch.testing.assert_close(family.kl(q, p), expectation(family, q, log_ratio), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", only("closed_kl"))
def test_closed_kl_sums_over_the_event_and_broadcasts(family: Family) -> None:
    event = (2, *elementary_event(family))
    q, p = member(family, event, 9, 4, 1), member(family, event, 10, 1, 3)
    kl = family.kl(q, p)
    assert kl.shape == (4, 3)
    torch.testing.assert_close(kl, family.kl(q.expand((4, 3)), p.expand((4, 3))))
    assert (kl > 0).all() or not family.heads
    assert family.kl(q, q).abs().max() < 1e-6


@pytest.mark.parametrize("family", [case for case in ALL if not case.values[0].closed_kl])
def test_a_missing_kl_is_refused(family: Family) -> None:
    q = member(family, elementary_event(family), 0)
    with pytest.raises(NotImplementedError, match=f"^{family.name} has no closed-form KL$"):
        family.kl(q, q)


# ---- finite supports


@pytest.mark.parametrize("family", only("finite"))
def test_the_enumerated_support_has_mass_one_and_its_size(family: Family) -> None:
    for shape in ((), (3,), (2, 2)):
        event = (*shape, *elementary_event(family))
        values = family.enumerate(event, torch.float64, "cpu")
        assert values.shape == (family.support_size(event), *event)
        assert len(torch.unique(values, dim=0)) == len(values)
        mass = family.log_prob(member(family, event, 11), values).exp()
        assert abs(mass.sum().item() - 1) < 1e-12


@pytest.mark.parametrize("family", [case for case in ALL if not case.values[0].finite])
def test_other_supports_have_no_size(family: Family) -> None:
    assert family.support_size(elementary_event(family)) is None


def test_support_sizes() -> None:
    assert FAMILIES["Bernoulli"].support_size((3,)) == 8
    assert FAMILIES["Categorical"].support_size((2, 10)) == 100
    assert FAMILIES["Binomial"].with_options({"total_count": 5}).support_size((2,)) == 36


@pytest.mark.parametrize("family", only("relaxation"))
def test_scores_are_linear_in_the_value_and_safe_where_a_probability_is_zero(family: Family) -> None:
    event = elementary_event(family)
    values = family.enumerate(event, torch.float64, "cpu")
    distribution = member(family, event, 12)
    log_probs = family.log_prob(distribution, values)
    mixture = torch.softmax(torch.randn(len(values), dtype=torch.float64), 0)
    grey = (mixture.reshape(-1, *[1] * len(event)) * values).sum(0).requires_grad_()
    score = family.log_prob(distribution, grey)
    torch.testing.assert_close(score, (mixture * log_probs).sum())
    assert torch.autograd.grad(score, grey)[0].count_nonzero() == grey.numel()

    probs = torch.eye(SIZE, dtype=torch.float64)[0] if event else torch.ones((), dtype=torch.float64)
    certain = family.distribution({"probs": probs}, event)
    scores = family.log_prob(certain, values)
    possible = scores > -1
    assert scores[possible].tolist() == [0.0]
    assert (scores[~possible] < -1e300).all()
    assert (scores.exp() * scores).sum() == 0
    assert family.kl(certain, certain) == 0
    torch.testing.assert_close(family.kl(certain, distribution), -log_probs[possible].squeeze())
    assert family.kl(distribution, certain) > 1e300


@pytest.mark.parametrize("family", only("relaxation"))
def test_relaxed_draws_lie_in_the_simplex_and_harden_into_draws(family: Family) -> None:
    """20 000 draws: rounded at any temperature, and as they are at a low one, they have the family's frequencies."""
    event = elementary_event(family)
    raw = {head: value.requires_grad_() for head, value in raw_heads(family, event, 13).items()}
    distribution = family.distribution(constrained(family, raw), event)
    for temperature in (torch.tensor(0.66, dtype=torch.float64), 1e-3):
        draws = family.relaxed(distribution, temperature, (DRAWS, 1)).value
        assert draws.shape == (DRAWS, 1, *event)
        assert ((draws >= 0) & (draws <= 1)).all()
        if family.event_dim:
            torch.testing.assert_close(draws.sum(-1), torch.ones(DRAWS, 1, dtype=torch.float64))
        (gradient,) = torch.autograd.grad(draws.square().sum(), list(raw.values()), retain_graph=True)
        assert gradient.count_nonzero() == gradient.numel()
        hard = torch.nn.functional.one_hot(draws.argmax(-1), SIZE) if family.event_dim else draws > 0.5
        mean = family.mean(distribution)
        error = STANDARD_ERRORS * (mean * (1 - mean) / DRAWS).sqrt()
        assert ((hard.double().mean((0, 1)) - mean).abs() < error).all()
    assert (draws - hard.double()).abs().mean() < 0.005


def test_relaxed_draws_have_the_concrete_density() -> None:
    """20 000 draws against Maddison et al. 2017, Eq. 10, through torch's own two relaxed families."""
    logits, temperature = torch.tensor([0.3, -0.5, 1.0], dtype=torch.float64), torch.tensor(0.66, dtype=torch.float64)
    for name, torch_class in (("Categorical", "RelaxedOneHotCategorical"), ("Bernoulli", "RelaxedBernoulli")):
        family = FAMILIES[name]
        ours = family.relaxed(family.distribution({"logits": logits}, (3,)), temperature, (DRAWS,)).value
        theirs = getattr(torch.distributions, torch_class)(temperature, logits=logits).rsample((DRAWS,))
        for power in (1, 2, 3):
            a, b = ours**power, theirs**power
            error = ((a.var(0) + b.var(0)) / DRAWS).sqrt()
            assert ((a.mean(0) - b.mean(0)).abs() < STANDARD_ERRORS * error).all()


# ---- shapes, views, options


@pytest.mark.parametrize("family", ALL)
def test_views_have_their_shape_and_are_finite(family: Family) -> None:
    event = (2, *elementary_event(family))
    value = member(family, event, 14).sample((5,))
    view = family.look(value)
    assert view.shape == (5, *family.view_shape(event))
    assert view.isfinite().all()
    present = torch.rand(5, 2) < 0.5
    holes = value.masked_fill(~present.reshape(5, 2, *[1] * family.event_dim), math.nan)
    flagged = family.look_flagged(holes, present, event)
    assert flagged.shape == (5, *family.view_shape(event, flagged=True)) == (5, 4, *view.shape[2:])
    flags = present.reshape(5, 2, *[1] * (view.dim() - 2)).expand(view.shape)
    torch.testing.assert_close(flagged, torch.cat([torch.where(flags, view, 0), flags.to(view)], 1))


def test_an_angle_and_its_next_turn_look_the_same() -> None:
    angle = torch.tensor([0.5, -3.0], dtype=torch.float64)
    family = FAMILIES["VonMises"]
    torch.testing.assert_close(family.look(angle), family.look(angle + 2 * math.pi))


def test_event_shapes() -> None:
    assert FAMILIES["Normal"].event_shape((1, 28, 28), None) == (1, 28, 28)
    assert FAMILIES["Categorical"].event_shape((2,), 10) == (2, 10)
    with pytest.raises(ValueError, match=r"^Categorical needs categories, an int ≥ 2$"):
        FAMILIES["Categorical"].event_shape((), None)
    with pytest.raises(ValueError, match=r"^Normal has no categories; only Categorical has$"):
        FAMILIES["Normal"].event_shape((), 3)
    with pytest.raises(ValueError, match=r"^a value of Dirichlet is a vector; its shape needs at least one dimension$"):
        FAMILIES["Dirichlet"].event_shape((), None)


def test_options_are_checked() -> None:
    binomial = FAMILIES["Binomial"]
    with pytest.raises(ValueError, match=r"^Binomial needs total_count: an int ≥ 1$"):
        binomial.with_options({})
    with pytest.raises(ValueError, match=r"^total_count of Binomial is 0; wanted an int ≥ 1$"):
        binomial.with_options({"total_count": 0})
    with pytest.raises(ValueError, match=r"^Binomial has no option 'n'; it has total_count$"):
        binomial.with_options({"n": 3})
    assert binomial.with_options({"total_count": 5}) == binomial.with_options({"total_count": 5})
    assert len({binomial.with_options({"total_count": n}) for n in (5, 5, 6)}) == 2
    assert not Option("int", 1).accepts(True)
    assert not Option("int", 1).accepts(2.0)
    assert not Option("float", 0.0, open_low=True).accepts(0)
    assert Option("float", 0.0, 1.0).range == "a float ≥ 0 and ≤ 1"


# ---- the data file and the floor


def test_the_data_file_is_what_torch_says() -> None:
    assert json.loads(make_table.PATH.read_text(encoding="utf-8")) == json.loads(make_table.render())


def test_an_unknown_constraint_is_not_given_a_word() -> None:
    with pytest.raises(ValueError, match="no word for the constraint"):
        make_table.constraint_word(constraints.corr_cholesky)


def test_every_torch_family_is_offered_or_known_to_be_left_out() -> None:
    """A new torch may bring a family: then decide, and add it here or to the table."""
    left_out = """
        GeneralizedPareto LKJCholesky Wishart LogisticNormal LowRankMultivariateNormal RelaxedBernoulli
        RelaxedOneHotCategorical OneHotCategoricalStraightThrough Independent MixtureSameFamily
        TransformedDistribution Distribution ExponentialFamily Categorical
    """
    classes = {
        name
        for name in torch.distributions.__all__
        if isinstance(getattr(torch.distributions, name), type)
        and issubclass(getattr(torch.distributions, name), Distribution)
    }
    assert classes - set(left_out.split()) == {
        f.torch_class for f in FAMILIES.values() if hasattr(torch.distributions, f.torch_class)
    }


@pytest.mark.parametrize("family", ALL)
def test_facts_agree_with_a_member(family: Family) -> None:
    distribution = member(family, (2, *elementary_event(family)), 0)
    assert isinstance(distribution, Independent)
    assert distribution.has_rsample == family.pathwise
    assert distribution.base_dist.has_enumerate_support == family.finite
    assert len(distribution.base_dist.event_shape) == family.event_dim
    assert set(family.standard or ()) <= set(family.constraints)
    assert set(family.heads) <= set(family.constraints)


def test_facts_are_read_without_torch() -> None:
    program = "import sys, sgc.distributions.families as f; sys.exit('torch' in sys.modules or len(f.FAMILIES) < 20)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
