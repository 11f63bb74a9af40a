"""The derived objective against brute force: discrete nodes summed out, a Normal one integrated, and laws.

Hypothesis draws random pairs of graphs with a fixed seed. Exact comparisons hold to 1e-9. Statistical ones take 20
independent estimates and refuse beyond 9.7 standard errors, or 40 and beyond 7: below 3e-6 false alarms a test
of up to 100 numbers. An estimate of 970 rows takes hardly longer than one of 250, and 20 such see what 40 of 250 do:
9.7 standard errors of 19,400 rows are no more nats than 7 of 10,000, with the same rate of false alarms.
"""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import (
    Joint,
    Raw,
    Row,
    Words,
    all_rows,
    assert_mean,
    assert_same,
    assert_same_gradients,
    batch_of,
    carriers,
    compiled,
    estimates,
    flat,
    full,
    gradients,
    like,
    ordered,
    parents_of,
    partial,
    random_alpha,
    random_rows,
    random_spec,
    repeated,
    shuffled_nodes,
    support,
    value_and_gradient,
    with_objective,
)

from sgc.runtime.model import Model

RANDOM = st.randoms(use_true_random=False)


def examples(count: int) -> settings:
    return settings(
        max_examples=count,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )


pytestmark = pytest.mark.usefixtures("double_precision", "seeded_draws")


VARIANTS: dict[str, Raw] = {
    "elbo": {},
    "unweighted": {"weights": "none"},
    "log_mean": {"label_term": "log_mean"},
    "published": {"weights": "none", "label_term": "log_mean"},
    "sampled_kl": {"kl": "sampled"},
    "kl_weight": {"kl_weight": 0.3},
    "iwae": {"bound": "iwae"},
    "density": {"bound": "density"},
    "supervised": {"bound": "supervised"},
}
WITHOUT_ALPHA = ("density", "supervised")
variants = pytest.mark.parametrize("variant", VARIANTS)


def drawn(rng: random.Random, variant: str) -> tuple[Raw, Model, list[Row]]:
    """Draw a spec with an objective, its model, and rows of all patterns."""
    spec = random_spec(rng)
    if variant == "supervised" and not partial(spec):
        observed = spec["nodes"][full(spec)[0]]
        observed |= {"supervision": "partial", "recognition": {"estimator": "enumerate"}}
    words: Raw = dict(VARIANTS[variant])
    if variant not in WITHOUT_ALPHA:
        words["alpha"] = random_alpha(rng, spec)
    spec = with_objective(spec, **words)
    return spec, compiled(spec, rng.randint(0, 10**6)), random_rows(rng, spec)


def label_order(model: Model, spec: Raw, row: Row) -> list[str]:
    """Take the plan's order of the labelled nodes, which unequal α make a difference to; it must be one of q's."""
    observed = [name for name in partial(spec) if name in row]
    order = list(model.plan(observed).observed)
    assert sorted(order) == sorted(observed)
    position = {name: i for i, name in enumerate(order)}
    for name in order:
        latest = max((position[p] for p in parents_of(spec, name, "recognition") if p in position), default=-1)
        assert latest < position[name]
    return order


def exact(
    model: Model, spec: Raw, rows: list[Row], words: Words | None = None, joint: Joint | None = None
) -> torch.Tensor:
    """Sum the bound of each row, [R]. joint: every joint value, where they are at hand."""
    joint = Joint(model, spec) if joint is None else joint
    words = Words.of(spec) if words is None else words
    return torch.stack([joint.bound(row, words, label_order(model, spec, row)) for row in rows])


# ---- everything enumerated ------------------------------------------------------------------------------------------


@variants
@examples(60)
@given(rng=RANDOM)
def test_the_bound_and_its_gradient_are_the_exact_sums(variant: str, rng: random.Random) -> None:
    spec, model, rows = drawn(rng, variant)
    mix = torch.randn(len(rows))
    out = model.objective(batch_of(spec, rows, integers=bool(rng.randint(0, 1))), weights=mix)
    words, joint = Words.of(spec), Joint(model, spec)
    at_one = Words(words.bound, words.weights, words.label_term, 1.0, words.alpha)
    bounds = exact(model, spec, rows, words, joint)
    assert_same(out.bound, bounds if words == at_one else exact(model, spec, rows, at_one, joint))
    wanted = -(mix * bounds).sum() / len(rows)
    assert_same(out.loss, wanted)
    assert_same_gradients(gradients(model, out.loss), gradients(model, wanted))


@examples(25)
@given(rng=RANDOM)
def test_kl_weight_leaves_the_bound_and_scales_the_latents_in_the_loss(rng: random.Random) -> None:
    spec, model, rows = drawn(rng, "kl_weight")
    for row in rows[:6]:
        out = model.objective(batch_of(spec, [row]), weights=torch.ones(1))
        latent = [name for name in spec["nodes"] if name not in row]
        extra = sum(sum(out.terms[n][r] for r in out.terms[n] if r != "label") for n in latent)
        assert_same(-out.loss, (out.bound - 0.7 * extra).sum())


@pytest.mark.parametrize("observed", [[], ["y"], ["v"], ["y", "v"]])
@pytest.mark.parametrize("kl", ["auto", "sampled"])
def test_kl_weight_scales_the_latents_beside_a_drawn_one(kl: str, observed: list[str]) -> None:
    spec = with_objective(LATENT_BELOW, kl=kl, kl_weight=0.3)
    out = compiled(spec, 2).objective(batch_of(spec, [all_rows(spec, observed)[3]]), samples=3)
    latent = [name for name in spec["nodes"] if name != "x" and name not in observed]
    extra = sum(sum(out.terms[n][r] for r in out.terms[n] if r != "label") for n in latent)
    assert_same(-out.loss, (out.bound - 0.7 * extra).sum())
    assert_same(torch.as_tensor(sum(sum(roles.values()) for roles in out.terms.values())), out.bound)


@examples(15)
@given(rng=RANDOM)
def test_a_bound_asked_for_is_that_of_a_spec_that_says_it(rng: random.Random) -> None:
    spec, model, rows = drawn(rng, "published")
    alpha = spec["objective"]["alpha"]
    batch = batch_of(spec, rows)
    iwae = like(model, with_objective(spec, bound="iwae", alpha=alpha))
    assert_same(model.objective(batch, bound="iwae").bound, iwae.objective(batch).bound)
    density = like(model, with_objective(spec, bound="density"))
    assert_same(model.objective(batch, bound="density").bound, density.objective(batch).bound)
    assert_same(iwae.objective(batch, bound="elbo").bound, exact(model, spec, rows, Words(alpha=Words.of(spec).alpha)))


@pytest.mark.parametrize("variant", [v for v in VARIANTS if "bound" not in VARIANTS[v]])
@examples(15)
@given(rng=RANDOM)
def test_terms_add_up_to_the_bound(variant: str, rng: random.Random) -> None:
    spec, model, rows = drawn(rng, variant)
    out = model.objective(batch_of(spec, rows))
    total = sum(sum(roles.values()) for roles in out.terms.values())
    assert_same(torch.as_tensor(total), out.bound)
    assert set(out.terms) <= set(spec["nodes"])


@examples(15)
@given(rng=RANDOM)
def test_the_effective_sample_size_is_that_of_the_weights(rng: random.Random) -> None:
    spec, model, rows = drawn(rng, "elbo")
    joint = Joint(model, spec)
    wanted = torch.stack([joint.particles(row).effective_share() for row in rows])
    assert_same(model.objective(batch_of(spec, rows)).ess, wanted)


@variants
@examples(10)
@given(rng=RANDOM)
def test_a_row_does_not_depend_on_its_batch(variant: str, rng: random.Random) -> None:
    spec, model, rows = drawn(rng, variant)
    together = model.objective(batch_of(spec, rows)).bound
    alone = torch.cat([model.objective(batch_of(spec, [row])).bound for row in rows])
    assert_same(together, alone)
    order = rng.sample(range(len(rows)), len(rows))
    assert_same(model.objective(batch_of(spec, [rows[i] for i in order])).bound, together[order])


@examples(10)
@given(rng=RANDOM)
def test_the_loss_weighs_rows_by_gamma_or_as_told(rng: random.Random) -> None:
    spec, _, rows = drawn(rng, "elbo")
    gamma = rng.choice([0.0, 0.5, 3.0])
    spec = with_objective(spec, gamma=gamma)
    model = compiled(spec, 1)
    out = model.objective(batch_of(spec, rows))
    labelled = torch.tensor([any(name in row for name in partial(spec)) for row in rows])
    row_weight = torch.where(labelled, gamma, 1.0)
    assert_same(out.loss, -(row_weight * out.bound).sum() / len(rows))
    given_weights = torch.rand(len(rows))
    told = model.objective(batch_of(spec, rows), weights=given_weights)
    assert_same(told.loss, -(given_weights * out.bound).sum() / len(rows))


@variants
@examples(12)
@given(rng=RANDOM)
def test_the_order_of_nodes_in_the_file_does_not_matter(variant: str, rng: random.Random) -> None:
    spec, model, rows = drawn(rng, variant)
    if isinstance(spec["objective"].get("alpha"), dict) and variant in ("iwae", "log_mean", "published"):
        spec = with_objective(spec, **{**spec["objective"], "alpha": 0.8})  # see the next test
        model = like(model, spec)
    other = like(model, shuffled_nodes(spec, rng))
    assert_same(other.objective(batch_of(spec, rows)).bound, model.objective(batch_of(spec, rows)).bound)


SIBLINGS: Raw = {
    "version": 1,
    "nodes": {
        "z": {
            "distribution": "Categorical",
            "categories": 3,
            "supervision": "none",
            "recognition": {"estimator": "enumerate"},
        },
        "a": {
            "distribution": "Bernoulli",
            "supervision": "partial",
            "recognition": {"parents": ["z"], "network": {"mlp": []}, "estimator": "enumerate"},
        },
        "b": {
            "distribution": "Bernoulli",
            "supervision": "partial",
            "recognition": {"parents": ["z"], "network": {"mlp": []}, "estimator": "enumerate"},
        },
    },
}


@pytest.mark.parametrize("words", [{"bound": "iwae"}, {"label_term": "log_mean"}])
def test_the_order_of_siblings_does_not_matter_where_alpha_is_by_node(words: Raw) -> None:
    spec = with_objective(SIBLINGS, **words, alpha={"a": 0.0, "b": 3.0})
    model = compiled(spec, 3)
    nodes = spec["nodes"]
    other = like(model, {**spec, "nodes": {name: nodes[name] for name in ("b", "a", "z")}})
    batch = batch_of(spec, all_rows(spec, ["a", "b"]))
    assert_same(other.objective(batch).bound, model.objective(batch).bound)


def test_rows_that_carry_nothing_have_a_bound() -> None:
    model = compiled(SIBLINGS, 3)
    rows: list[Row] = [{"a": 1}, {}, {"b": 0}]
    assert_same(model.objective(batch_of(SIBLINGS, rows)).bound, exact(model, SIBLINGS, rows))
    assert_same(model.objective(batch_of(SIBLINGS, [{}, {}])).bound, exact(model, SIBLINGS, [{}, {}]))


# ---- laws without an oracle, everything enumerated ------------------------------------------------------------------


@examples(20)
@given(rng=RANDOM)
def test_elbo_is_below_its_log_mean_form_and_that_below_iwae(rng: random.Random) -> None:
    spec, model, rows = drawn(rng, "sampled_kl")
    alpha = rng.choice([0.0, 0.5, 2.0])
    batch = batch_of(spec, rows)

    def bound(**words: Any) -> torch.Tensor:  # Any: plain data
        return like(model, with_objective(spec, alpha=alpha, **words)).objective(batch).bound

    low, middle, high = bound(), bound(label_term="log_mean"), bound(bound="iwae")
    assert bool((low <= middle + 1e-9).all())
    assert bool((middle <= high + 1e-9).all())


@examples(20)
@given(rng=RANDOM)
def test_iwae_without_alpha_is_log_p_where_all_is_enumerated(rng: random.Random) -> None:
    spec, model, rows = drawn(rng, "iwae")
    spec = with_objective(spec, bound="iwae", alpha=0)
    model = like(model, spec)
    joint = Joint(model, spec)
    wanted = []
    for row in rows:
        particles = joint.particles(row)
        wanted.append((particles.log_p_clamped + particles.log_p_latent).logsumexp(-1))
    assert_same(model.objective(batch_of(spec, rows)).bound, torch.stack(wanted))


@examples(20)
@given(rng=RANDOM)
def test_the_density_bound_of_all_labels_adds_up_to_the_unlabelled_elbo(rng: random.Random) -> None:
    spec, model, rows = drawn(rng, "density")
    elbo = like(model, with_objective(spec, bound="elbo"))
    labels = partial(spec)
    for row in random.Random(0).sample(rows, min(2, len(rows))):
        fixed = {name: place for name, place in row.items() if name not in labels}
        if not fixed:
            continue
        every = [{**fixed, **each} for each in all_rows({**spec, "inputs": {}, "nodes": only(spec, labels)}, labels)]
        if not every:
            continue
        total = model.objective(batch_of(spec, every)).bound.sum()
        assert_same(total, elbo.objective(batch_of(spec, [fixed])).bound.sum())


def only(spec: Raw, names: list[str]) -> Raw:
    return {name: spec["nodes"][name] for name in names}


@examples(20)
@given(rng=RANDOM)
def test_elbo_at_alpha_zero_is_below_log_p(rng: random.Random) -> None:
    spec, model, rows = drawn(rng, "elbo")
    batch = batch_of(spec, rows)
    elbo = like(model, with_objective(spec, alpha=0)).objective(batch).bound
    log_p = like(model, with_objective(spec, alpha=0, bound="iwae")).objective(batch).bound
    assert bool((elbo <= log_p + 1e-9).all())


@examples(20)
@given(rng=RANDOM)
def test_factors_vary_as_their_parents_say(rng: random.Random) -> None:
    spec, model, rows = drawn(rng, "elbo")
    for row in rows:
        observed = [name for name in partial(spec) if name in row]
        latent = [name for name in spec["nodes"] if name not in row]
        for weight in model.plan(observed).weights:
            assert set(weight.carriers) == carriers(spec, weight.factor.node, latent)


# ---- a Normal latent, drawn -----------------------------------------------------------------------------------------

LATENT_ABOVE: Raw = {  # q(z|x) q(y|x,z) q(u|y,z): the label's weight varies with z
    "version": 1,
    "nodes": {
        "x": {
            "distribution": "Bernoulli",
            "shape": [2],
            "supervision": "full",
            "generative": {"parents": ["y", "z", "u"], "network": {"mlp": [4], "activation": "tanh"}},
        },
        "y": {
            "distribution": "Categorical",
            "categories": 3,
            "supervision": "partial",
            "generative": {"parents": ["z"], "network": {"mlp": []}},
            "recognition": {
                "parents": ["x", "z"],
                "network": {"mlp": [4], "activation": "tanh"},
                "estimator": "enumerate",
            },
        },
        "z": {
            "distribution": "Normal",
            "supervision": "none",
            "recognition": {"parents": ["x"], "network": {"mlp": []}},
        },
        "u": {
            "distribution": "Bernoulli",
            "supervision": "none",
            "generative": {"parents": ["y"], "network": {"mlp": []}},
            "recognition": {"parents": ["y", "z"], "network": {"mlp": []}, "estimator": "enumerate"},
        },
    },
}
LATENT_BELOW: Raw = {  # q(y|x) q(z|x,y): Kingma's M2 with a second label v, whose q reads y alone
    "version": 1,
    "nodes": {
        "x": {
            "distribution": "Bernoulli",
            "shape": [2],
            "supervision": "full",
            "generative": {"parents": ["y", "z", "v"], "network": {"mlp": [4], "activation": "tanh"}},
        },
        "y": {
            "distribution": "Categorical",
            "categories": 3,
            "supervision": "partial",
            "generative": {"learn": True},
            "recognition": {"parents": ["x"], "network": {"mlp": []}, "estimator": "enumerate"},
        },
        "v": {
            "distribution": "Bernoulli",
            "supervision": "partial",
            "generative": {"parents": ["y"], "network": {"mlp": []}},
            "recognition": {"parents": ["y"], "network": {"mlp": []}, "estimator": "enumerate"},
        },
        "z": {
            "distribution": "Normal",
            "supervision": "none",
            "generative": {"parents": ["v"], "network": {"mlp": []}},
            "recognition": {"parents": ["x", "y"], "network": {"mlp": []}},
        },
    },
}
REPEATS, ROWS, ERRORS = 20, 970, 9.7


def gentle(spec: Raw, seed: int) -> Model:
    """Compile with parameters from N(0, 0.8²): quadrature needs the scales of q and p within a factor of a few."""
    return compiled(spec, seed, spread=0.8)


@pytest.mark.parametrize("words", [{}, {"kl": "sampled"}, {"weights": "none"}, {"bound": "density"}])
@pytest.mark.parametrize(
    ("structure", "observed"),
    [
        (LATENT_BELOW, []),
        (LATENT_BELOW, ["y"]),
        (LATENT_BELOW, ["v"]),  # the weight q(v|y) varies, but over an enumerated node alone
        (LATENT_BELOW, ["y", "v"]),
        (LATENT_ABOVE, []),
    ],
    ids=["below", "below-y", "below-v", "below-yv", "above"],
)
def test_one_sample_is_unbiased_where_no_weight_varies_with_a_draw(
    structure: Raw, observed: list[str], words: Raw
) -> None:
    """20 estimates of 970 equal rows each, one sample: value and gradient are those of the integral."""
    spec = with_objective(structure, **words, **({} if "bound" in words else {"alpha": 0.6}))
    model = gentle(spec, 5)
    row = all_rows(spec, observed)[1]
    wanted = value_and_gradient(model, Joint(model, spec).bound(row, Words.of(spec)))
    assert_mean(estimates(model, repeated(spec, row, ROWS), 1, REPEATS), wanted, ERRORS)


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize(
    "words",
    [
        {},
        {"label_term": "log_mean"},
        {"weights": "none"},
        {"weights": "none", "label_term": "log_mean"},
        {"bound": "iwae"},
        {"bound": "density"},
        {"bound": "supervised"},
    ],
    ids=lambda words: "-".join(words.values()) or "elbo",
)
def test_few_samples_have_the_exact_expectation(words: Raw, samples: int) -> None:
    """20 estimates of 970 equal rows; the oracle sums over all pairs of quadrature points, so no bias is tolerated."""
    spec = with_objective(LATENT_ABOVE, **words, **({} if words.get("bound") in WITHOUT_ALPHA else {"alpha": 0.6}))
    model = gentle(spec, 6)
    joint = Joint(model, spec)
    for observed in ([], ["y"]):
        row = all_rows(spec, observed)[2]
        wanted = value_and_gradient(model, joint.expected(row, Words.of(spec), samples))
        assert_mean(estimates(model, repeated(spec, row, ROWS), samples, REPEATS), wanted, ERRORS)


@pytest.mark.parametrize("words", [{}, {"bound": "iwae"}], ids=["elbo", "iwae"])
def test_many_samples_reach_the_integral(words: Raw) -> None:
    """40 estimates of 2 rows at 4000 samples: the bias, below 1/4000 of a nat or so, is a tenth of the error."""
    spec = with_objective(LATENT_ABOVE, **words, alpha=0.6)
    model = gentle(spec, 6)
    row = all_rows(spec, ["y"])[2]
    wanted = value_and_gradient(model, Joint(model, spec).bound(row, Words.of(spec)))
    assert_mean(estimates(model, repeated(spec, row, 2), 4000, 40), wanted)


def test_the_bias_of_normalised_weights_falls_as_one_over_the_samples() -> None:
    """E L̂_S = L̂_∞ − c/S + O(1/S²), c = E_π[(w/E w)(f − μ)], by quadrature, at 8 and 32 samples.

    40 estimates of 2000 rows each; refused beyond 7 standard errors (a false alarm below 1e-7) and 1/S².
    """
    spec = with_objective(LATENT_ABOVE, alpha=0.0)
    model = gentle(spec, 6)
    words, row = Words.of(spec), all_rows(spec, ["y"])[2]
    joint = Joint(model, spec)
    limit = joint.bound(row, words).detach()
    particles = joint.particles(row)
    log_w = particles.log_w[
        "y"
    ]  # u is summed within a sample and not read by q(y|x,z): a sample weighs what its z does
    hat = torch.softmax(particles.log_mass + log_w, -1)
    f = particles.log_p_clamped + particles.log_p_latent - particles.log_r - log_w
    relative = (log_w - (particles.log_mass + log_w).logsumexp(-1)).exp()
    c = float((hat * relative * (f - (hat * f).sum())).sum().detach())
    assert abs(c) > 0.5  # weights matter here
    for samples in (8, 32):
        batch = repeated(spec, row, 2000)
        means = torch.stack([model.objective(batch, samples=samples).bound.detach().mean() for _ in range(40)])
        error = float(means.std()) / math.sqrt(40)
        off = float(means.mean() - limit)
        assert abs(c) / samples > 7 * error  # the bias is seen
        assert abs(off + c / samples) <= 7 * error + 1 / samples**2


def test_one_sample_of_a_varying_weight_does_nothing() -> None:
    """At S = 1 with nothing enumerated under the weight, w/Z is 1: normalised and unweighted rows are alike."""
    nodes = {name: node for name, node in LATENT_ABOVE["nodes"].items() if name != "u"}
    nodes["x"] = {**nodes["x"], "generative": {"parents": ["y", "z"], "network": {"mlp": []}}}
    spec = {"version": 1, "nodes": nodes}
    model = compiled(spec, 2)
    batch = batch_of(spec, all_rows(spec, ["y"]))
    found = []
    for words in ({}, {"weights": "none"}, {"label_term": "log_mean"}, {"bound": "iwae"}):
        torch.manual_seed(4)
        found.append(like(model, with_objective(spec, **words)).objective(batch).bound)
    for other in found[1:]:
        assert_same(other, found[0])


@pytest.mark.parametrize("alpha", [0.0, 0.7, 3.0])
def test_bounds_are_ordered_draw_by_draw(alpha: float) -> None:
    """One seed, 200 draws of 4 samples: L̂_8 <= L̂_4 <= L̂_9; equal for one particle."""
    model = compiled(LATENT_ABOVE, 8)
    batch = repeated(LATENT_ABOVE, all_rows(LATENT_ABOVE, ["y"])[5], 200)
    low, middle, high = (
        like(model, with_objective(LATENT_ABOVE, kl="sampled", alpha=alpha, **words))
        for words in ({}, {"label_term": "log_mean"}, {"bound": "iwae"})
    )

    def seeded(model: Model) -> torch.Tensor:
        return model.objective(batch, samples=4, generator=torch.Generator().manual_seed(1)).bound

    assert bool((seeded(low) <= seeded(middle) + 1e-9).all())
    assert bool((seeded(middle) <= seeded(high) + 1e-9).all())
    assert float((seeded(high) - seeded(low)).detach().max()) > 1e-3


@pytest.mark.parametrize("observed", [[], ["y"]])
def test_the_exponential_of_iwae_is_unbiased_for_p(observed: list[str]) -> None:
    """40 estimates of 2000 equal rows at 3 samples: E exp L̂_9 = p(c) at α = 0."""
    spec = with_objective(LATENT_ABOVE, bound="iwae", alpha=0)
    model = gentle(spec, 9)
    row = all_rows(spec, observed)[1]
    log_p = Joint(model, spec).bound(row, Words.of(spec)).detach()
    batch = repeated(spec, row, 2000)
    draws = [(model.objective(batch, samples=3).bound.detach() - log_p).exp().mean() for _ in range(40)]
    assert_mean(torch.stack(draws)[:, None], torch.ones(1))


def test_the_density_bound_of_all_labels_adds_up_to_the_elbo_with_a_drawn_latent() -> None:
    """Where z is drawn above y, the same draws give Σ_y L_d(x, y) = ELBO(x) exactly."""
    spec = with_objective(LATENT_ABOVE, bound="density", kl="sampled")
    model = compiled(spec, 8)
    elbo = like(model, with_objective(LATENT_ABOVE, kl="sampled"))
    rows = all_rows(spec, ["y"])
    for place in range(4):
        total = torch.zeros(1)
        for row in rows:
            if row["x"] == place:
                generator = torch.Generator().manual_seed(3)
                total = total + model.objective(batch_of(spec, [row]), samples=5, generator=generator).bound
        generator = torch.Generator().manual_seed(3)
        wanted = elbo.objective(batch_of(spec, [{"x": place}]), samples=5, generator=generator).bound
        assert_same(total, wanted)


# ---- independence of draws ------------------------------------------------------------------------------------------


def test_draws_of_a_q_without_parents_differ_over_samples_and_rows() -> None:
    """1000 rows at S = 1 are all different; over S = 50 the variance falls by 50, within 28 and 88.

    That is 6 standard errors of the logarithm of a ratio of two variances of 1000 draws with a kurtosis up to 10.
    """
    spec: Raw = {
        "version": 1,
        "nodes": {
            "x": {
                "distribution": "Bernoulli",
                "supervision": "full",
                "generative": {"parents": ["z"], "network": {"mlp": []}},
            },
            "z": {"distribution": "Normal", "supervision": "none", "recognition": {}},
        },
        "objective": {"kl": "sampled"},
    }
    model = gentle(spec, 1)
    batch = repeated(spec, {"x": 1}, 1000)
    one = model.objective(batch, samples=1).bound.detach()
    many = model.objective(batch, samples=50).bound.detach()
    assert len(one.unique()) == 1000
    assert 28 < float(one.var() / many.var()) < 88


def test_draws_below_an_enumerated_node_are_independent_for_each_of_its_values() -> None:
    """With q(z|x,y) free of y and q(y) uniform over 3, the average of 3 draws has a third of the variance.

    2000 rows each; the ratio is refused outside 2.2 to 4.1: 6 standard errors for a kurtosis up to 4.
    """
    spec: Raw = {
        "version": 1,
        "nodes": {
            "x": {
                "distribution": "Bernoulli",
                "supervision": "full",
                "generative": {"parents": ["z"], "network": {"mlp": []}},
            },
            "y": {
                "distribution": "Categorical",
                "categories": 3,
                "supervision": "partial",
                "recognition": {"parents": ["x"], "network": {"mlp": []}, "estimator": "enumerate"},
            },
            "z": {
                "distribution": "Normal",
                "supervision": "none",
                "recognition": {"parents": ["x", "y"], "network": {"mlp": []}, "parameters": {"scale": 0.3}},
            },
        },
        "objective": {"kl": "sampled"},
    }
    model = gentle(spec, 2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("recognition"):
                parameter.zero_()
    labelled = model.objective(repeated(spec, {"x": 1, "y": 0}, 2000)).bound.detach()
    unlabelled = model.objective(repeated(spec, {"x": 1}, 2000)).bound.detach()
    assert 2.2 < float(labelled.var() / unlabelled.var()) < 4.1


# ---- gumbel_softmax and mean ----------------------------------------------------------------------------------------


def with_estimator(spec: Raw, name: str, estimator: Any) -> Raw:  # Any: plain data
    node = spec["nodes"][name]
    changed = {**node, "recognition": {**node["recognition"], "estimator": estimator}}
    return {**spec, "nodes": {**spec["nodes"], name: changed}}


def discrete(x_reads: list[str]) -> Raw:
    """q(y|x) q(t|x,y), p(y) p(t|y) p(x|…), all discrete."""
    x: Raw = {"distribution": "Bernoulli", "shape": [2], "supervision": "full"}
    x["generative"] = {"parents": x_reads, "network": {"mlp": []}} if x_reads else {"learn": True}
    return {
        "version": 1,
        "nodes": {
            "x": x,
            "y": {
                "distribution": "Categorical",
                "categories": 3,
                "supervision": "partial",
                "generative": {"learn": True},
                "recognition": {"parents": ["x"], "network": {"mlp": []}, "estimator": "enumerate"},
            },
            "t": {
                "distribution": "Bernoulli",
                "supervision": "none",
                "generative": {"parents": ["y"], "network": {"mlp": []}},
                "recognition": {"parents": ["x", "y"], "network": {"mlp": []}, "estimator": "enumerate"},
            },
        },
    }


@pytest.mark.parametrize("bound", ["elbo", "iwae", "density"])
def test_a_relaxed_node_is_exact_where_it_is_labelled(bound: str) -> None:
    spec = with_objective(with_estimator(discrete(["y", "t"]), "y", "gumbel_softmax"), bound=bound)
    model = compiled(spec, 4)
    rows = all_rows(spec, ["y"])
    mix = torch.randn(len(rows))
    got = (mix * model.objective(batch_of(spec, rows)).bound).sum()
    wanted = (mix * exact(model, spec, rows)).sum()
    assert_same(got, wanted)
    assert_same_gradients(gradients(model, got), gradients(model, wanted))


@pytest.mark.parametrize("estimator", ["gumbel_softmax", "mean"])
@pytest.mark.parametrize("bound", ["elbo", "iwae"])
def test_asked_to_be_exact_a_biased_node_is_enumerated(bound: str, estimator: str) -> None:
    spec = with_objective(with_estimator(discrete(["y", "t"]), "y", estimator), bound=bound)
    model = compiled(spec, 4)
    rows = [*all_rows(spec, ["y"]), *all_rows(spec, [])]
    assert_same(model.objective(batch_of(spec, rows), exact=True).bound, exact(model, spec, rows))


@pytest.mark.parametrize("name", ["y", "t"])
def test_the_closed_form_of_a_relaxed_node_has_the_true_gradient(name: str) -> None:
    """Nothing else reads the relaxed value: bound and gradient are those of the enumerated model."""
    nodes = dict(discrete([])["nodes"])
    if name == "y":
        del nodes["t"]
    enumerated: Raw = {"version": 1, "nodes": nodes}
    relaxed = with_estimator(enumerated, name, {"gumbel_softmax": {"temperature": 0.7}})
    model = compiled(enumerated, 4)
    rows = all_rows(enumerated, [])
    got = like(model, relaxed).objective(batch_of(relaxed, rows))
    wanted = model.objective(batch_of(enumerated, rows))
    assert_same(got.bound, wanted.bound)
    other = like(model, relaxed)
    mix = torch.randn(len(rows))
    assert_same_gradients(
        gradients(other, (mix * other.objective(batch_of(relaxed, rows)).bound).sum()),
        gradients(model, (mix * wanted.bound).sum()),
    )


@pytest.mark.parametrize("distribution", ["Categorical", "Bernoulli"])
def test_a_relaxed_draw_is_scored_linearly(distribution: str) -> None:
    """Hot, the draw is uniform: Σ_k y_k (log p_k − log q_k) is their mean. Cold, it is one-hot with mean −KL.

    Cold: 40 means of 2000 rows. Hot: temperature 1e7, exact to 1e-5.
    """
    nodes = dict(discrete([])["nodes"])
    del nodes["t"]
    if distribution == "Bernoulli":
        nodes["y"] = {key: value for key, value in nodes["y"].items() if key != "categories"}
        nodes["y"]["distribution"] = "Bernoulli"
    base: Raw = {"version": 1, "nodes": nodes, "objective": {"kl": "sampled"}}
    hot = with_estimator(base, "y", {"gumbel_softmax": {"temperature": 1e7}})
    cold = with_estimator(base, "y", {"gumbel_softmax": {"temperature": 1e-4}})
    model = compiled(hot, 6)
    row: Row = {"x": 2}
    values = support(nodes["y"])
    x = {"x": batch_of(hot, [row] * len(values))["x"]}
    ratio = model.conditional("y", "generative", {"y": values}).log_prob(values)
    log_q = model.conditional("y", "recognition", x).log_prob(values)
    ratio = ratio - log_q
    log_x = model.conditional("x", "generative", x).log_prob(x["x"])[0]
    assert_same(model.objective(batch_of(hot, [row])).bound[0], ratio.mean() + log_x, 1e-5)
    drawn_cold = like(model, cold)
    draws = [drawn_cold.objective(batch_of(cold, [row] * 2000)).bound.detach().mean() for _ in range(40)]
    wanted = ((log_q.exp() * ratio).sum() + log_x).detach()
    assert_mean(torch.stack(draws)[:, None], wanted[None])


def test_the_mean_is_passed_on_and_scored_by_its_divergence() -> None:
    """L̂ = −KL(q(y|x)‖p(y)) + Σ_t q(t|x,ȳ) [log p(x|ȳ,t) + log p(t|ȳ) − log q(t|x,ȳ)], ȳ the probabilities of q."""
    spec = with_estimator(discrete(["y", "t"]), "y", "mean")
    model = compiled(spec, 7)
    batch = {"x": batch_of(spec, all_rows(spec, []))["x"]}
    x = batch["x"]
    q, p = model.conditional("y", "recognition", batch), model.conditional("y", "generative", batch)
    mean = q.probs  # type: ignore[attr-defined]
    divergence = (mean * (mean.log() - p.probs.log())).sum(-1)  # type: ignore[attr-defined]
    wanted = -divergence
    for value in (0.0, 1.0):
        t = torch.full((len(x),), value)
        given_values = {"x": x, "y": mean.detach(), "t": t}
        log_q = model.conditional("t", "recognition", given_values).log_prob(t)
        log_p = model.conditional("t", "generative", given_values).log_prob(t)
        log_x = model.conditional("x", "generative", given_values).log_prob(x)
        wanted = wanted + log_q.exp() * (log_x + log_p - log_q)
    out = model.objective(batch)
    assert_same(out.bound, wanted)
    assert_same(out.terms["y"]["kl"], -divergence)
    assert_same(model.objective(batch, samples=3).bound, wanted)  # deterministic


def test_the_mean_makes_no_weight_vary() -> None:
    """With q(t|x,ȳ) labelled its factor is constant: f − KL + α log q(t|x,ȳ), the same at any number of samples."""
    spec = with_objective(with_estimator(discrete(["y", "t"]), "y", "mean"), alpha=0.4)
    nodes = {**spec["nodes"], "t": {**spec["nodes"]["t"], "supervision": "partial"}}
    spec = {**spec, "nodes": nodes}
    model = compiled(spec, 7)
    rows = all_rows(spec, ["t"])
    batch = batch_of(spec, rows)
    q, p = model.conditional("y", "recognition", {"x": batch["x"]}), model.conditional("y", "generative", {})
    mean = q.probs  # type: ignore[attr-defined]
    wanted = -(mean * (mean.log() - p.probs.log())).sum(-1)  # type: ignore[attr-defined]
    values = {"x": batch["x"], "t": batch["t"], "y": mean.detach()}
    wanted = wanted + model.conditional("x", "generative", values).log_prob(batch["x"])
    wanted = wanted + model.conditional("t", "generative", values).log_prob(batch["t"])
    wanted = wanted + 0.4 * model.conditional("t", "recognition", values).log_prob(batch["t"])
    assert not any(weight.varies for weight in model.plan({"t"}).weights)
    assert_same(model.objective(batch).bound, wanted)
    assert_same(model.objective(batch, samples=4).bound, wanted)


# ---- random pairs of graphs with a Normal among them ----------------------------------------------------------------


def with_normal(rng: random.Random) -> Raw:
    """Put a Normal latent at the head of both graphs of a random spec; a node reads it with probability 2/3."""
    spec = random_spec(rng, largest=36)
    readers = {"generative": 0, "recognition": 0}
    for node in spec["nodes"].values():
        for role in readers:
            if role in node and "parents" in node[role] and rng.randint(0, 2):
                node[role]["parents"].append("n")
    above = [name for name in ("u",) if name in spec.get("inputs", {})]
    seen = [name for name, node in spec["nodes"].items() if node["supervision"] == "full"]
    q: Raw = {"parents": [*above, *seen], "network": {"mlp": []}} if above or seen else {}
    spec["nodes"]["n"] = {"distribution": "Normal", "supervision": "none", "recognition": q}
    return spec


@pytest.mark.parametrize("seed", range(5))
def test_random_graphs_with_a_normal_latent_have_the_exact_expectation(seed: int) -> None:
    """20 estimates of 155 rows of each of up to 6 patterns: at 1 and 2 samples the expectation by quadrature."""
    rng = random.Random(seed)
    spec = with_normal(rng)
    for words in ({}, {"kl": "sampled", "label_term": "log_mean"}, {"bound": "iwae"}):
        chosen = with_objective(spec, **words, alpha=random_alpha(rng, spec))
        model = gentle(chosen, seed)
        joint = Joint(model, chosen, points=81)
        rows = random_rows(rng, chosen, each=1, most=6)
        if not rows:
            continue
        for samples in (1, 2):
            wanted = torch.stack([joint.expected(row, Words.of(chosen), samples) for row in rows]).mean()
            found = estimates(model, batch_of(chosen, rows * 155), samples, REPEATS)
            assert_mean(found, value_and_gradient(model, wanted), ERRORS)


def test_the_oracle_orders_nodes_after_their_parents() -> None:
    order = ordered(LATENT_ABOVE, "recognition")
    assert order.index("z") < order.index("y") < order.index("u")
    assert flat({"b": torch.ones(1), "a": torch.zeros(2)}).tolist() == [0, 0, 1]
