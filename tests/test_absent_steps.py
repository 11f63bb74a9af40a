"""Steps that do not exist: labels that do not count, evidence by row, the posterior, new rows, and what plans say."""

from __future__ import annotations

import math
import random
import re
from typing import Any

import numpy as np
import pytest
import torch
from oracle import Raw, assert_same, assert_same_gradients, gradients
from steps import COUNT, ENUMERATED, MODELS, WORDS, Exists, chain, far, nested, node, tied, truth

from sgc.data.dataset import Rows
from sgc.derivation.dependence import Dependence
from sgc.derivation.existence import Steps, masked_text
from sgc.distributions.families import FAMILIES
from sgc.distributions.step_counts import count_values
from sgc.objectives.disarm import Disarm
from sgc.objectives.enumerate import Enumerate
from sgc.objectives.estimators import refuse_count
from sgc.objectives.gumbel_softmax import GumbelSoftmax
from sgc.objectives.mean_estimator import Mean
from sgc.objectives.score_function import ScoreFunction
from sgc.objectives.straight_through import StraightThrough
from sgc.objectives.without_replacement import WithoutReplacement
from sgc.runtime.model import Model
from sgc.runtime.streams import TensorRows

pytestmark = pytest.mark.usefixtures("double_precision")


@pytest.mark.parametrize("name", MODELS)
def test_the_posterior_of_a_step_is_that_given_that_it_exists(name: str) -> None:
    """Means against joint values weighed by p; NaN, and NaN samples, where a labelled count denies the step."""
    made = truth(MODELS[name], 7)
    rows = made.rows(random.Random(name), 2)
    found = made.model.infer(made.batch(rows), samples=50)
    met = 0
    for i, row in enumerate(rows):
        every, here = made.particles(row), made.fitting(row)
        weights = (every.log_mass + every.log_p_clamped + every.log_p_latent - every.log_r).softmax(0)
        for each in found:
            there = torch.tensor([made.there(each, joint) for joint in here])
            kept = torch.where(there, weights, 0.0)
            values = made.support[each][[joint[each] for joint in here]]
            mean = (kept.reshape(-1, *(1,) * (values.dim() - 1)) * values).sum(0) / kept.sum()
            assert_same(found[each].mean[i].nan_to_num(-9), mean.nan_to_num(-9))
            samples = found[each].samples[:, i].reshape(50, -1)
            assert bool(samples.isnan().all() if not bool(there.any()) else not samples.isnan().all())
            if bool(there.all()):
                assert not bool(samples.isnan().any())
            met += not bool(there.any())
    assert met or name == "never labelled"


def test_samples_are_absent_as_often_as_the_posterior_says() -> None:
    made = truth(chain(), 5)
    row = {"x": 1}
    every, here = made.particles(row), made.fitting(row)
    weights = (every.log_mass + every.log_p_clamped + every.log_p_latent - every.log_r).softmax(0)
    absent = float(weights.detach()[[not made.there("z2", joint) for joint in here]].sum())
    torch.manual_seed(0)
    found = made.model.infer(made.batch([row]), samples=4000)
    missing = found["z2"].samples.isnan().double().mean()
    assert 0.1 < absent < 0.9
    assert abs(float(missing) - absent) < 5 * math.sqrt(absent * (1 - absent) / 4000)
    assert torch.equal(found["z2"].samples.isnan(), found["y2"].samples.isnan().any(-1))


@pytest.mark.parametrize("label", ["elbo", "iwae", "density"])
def test_a_label_beyond_the_count_has_no_influence(label: str) -> None:
    """Whatever stands there, or nothing: one bound, one gradient, and one pattern."""
    made = truth(chain(), 4, **WORDS[label])
    rows = [{"x": 1, "k": 1, "y1": 0, **more} for more in ({}, {"y2": 0}, {"y2": 1})]
    each = [made.model.objective(made.batch([row])) for row in rows]
    for other in each[1:]:
        assert torch.equal(other.bound, each[0].bound)
        assert_same_gradients(gradients(made.model, other.loss), gradients(made.model, each[0].loss), 0.0)
    assert len(made.model.objective(made.batch([*rows, {"x": 0, "k": 2, "y1": 1, "y2": 1}]))._parts) == 1


def lengths() -> tuple[Raw, Exists]:
    """Write a count over continuous steps: a positive one with labels, a latent one, and one that may be missing."""
    positive = {"distribution": "Gamma"}
    number = {"distribution": "Normal"}
    nodes = {
        "x": node(number, "full", ("k",), None),
        "k": node(COUNT, "partial", (), ("x",), **ENUMERATED),
        "a1": node(positive, "partial", (), ("x",)),
        "a2": node(positive, "partial", ("a1",), ("x", "a1")),
        "z1": node(number, "none", (), ("x", "a1")),
        "z2": node(number, "none", (), ("x", "a2")),
        "b1": {**node(number, "partial", (), None), "missing": "drop"},
        "b2": {**node(number, "partial", ("a2",), None), "missing": "drop"},
    }
    exists = {name: (("k", int(name[1]) - 1),) for name in ("a1", "a2", "z1", "z2", "b1", "b2")}
    return {"version": 1, "nodes": nodes}, exists


def test_what_stands_where_no_step_is_never_reaches_value_or_gradient() -> None:
    """NaN handed over for a labelled step, and a missing element, beyond the count: the bound is that of the others."""
    spec, exists = lengths()
    model = far(Model(tied(spec, exists)), 1, 0.5)
    nan = math.nan
    batch = {"x": [0.3] * 3, "k": [1, 1, 2], "a1": [1.2] * 3, "a2": [nan, 7.0, 0.4]}
    batch |= {"b1": [0.1] * 3, "b2": [nan, -60.0, 0.2]}
    given = {name: torch.tensor(each) for name, each in batch.items()}
    torch.manual_seed(1)
    out = model.objective(given)
    (only,) = out._parts
    assert not only[1].plan.proposed.keys() & {"a1", "a2"}
    given = {name: value for name, value in given.items() if name not in ("a2", "b2")}
    p = {n: model.log_prob(n, "generative", given) for n in ("x", "k", "a1", "b1")}
    q = {n: model.log_prob(n, "recognition", given) for n in ("k", "a1")}
    given_q, given_p = (model.conditional("z1", role, given) for role in ("recognition", "generative"))
    kl = torch.distributions.kl_divergence(given_q, given_p)
    wanted = sum(p.values(), torch.zeros(3)) + sum(q.values(), torch.zeros(3)) - kl  # α is 1
    assert_same(out.bound[:2], wanted[:2])
    assert_same_gradients(gradients(model, out.bound[:2].sum()), gradients(model, wanted[:2].sum()))


def test_a_value_that_is_there_tells_of_its_count_also_where_missing_ones_are_dropped() -> None:
    """b2 is there, so k is 2; with b1 alone it is 1 or 2; with neither nothing is told."""
    spec, exists = lengths()
    del spec["nodes"]["a1"], spec["nodes"]["a2"]
    spec["nodes"]["b2"]["generative"] = {"learn": True}
    for name in ("z1", "z2"):
        spec["nodes"][name]["recognition"]["parents"] = ["x"]
    exists = {name: steps for name, steps in exists.items() if name[0] != "a"}
    model = far(Model(tied({**spec, "objective": {"alpha": 0.7}}, exists)), 1, 0.5)
    nan = math.nan
    batch = {"x": torch.full((3,), 0.4), "b1": torch.tensor([0.1, 0.2, nan]), "b2": torch.tensor([0.3, nan, nan])}
    out = model.objective(batch)
    counts = [{**batch, "k": torch.full((3,), k)} for k in range(3)]
    log_p, log_q = (
        torch.stack([model.log_prob("k", role, b) for b in counts]) for role in ("generative", "recognition")
    )
    log_x = torch.stack([model.log_prob("x", "generative", b) for b in counts])
    kl = []
    for z in ("z1", "z2"):
        q, p = model.conditional(z, "recognition", batch), model.conditional(z, "generative", batch)
        kl.append(torch.distributions.kl_divergence(q, p))
    safe = {name: value.nan_to_num() for name, value in batch.items()}
    log_b = [torch.where(batch[b].isnan(), 0.0, model.log_prob(b, "generative", safe)) for b in ("b1", "b2")]
    for i, least in enumerate((2, 1, 0)):
        told = log_q[least:, i].logsumexp(0)
        r = log_q[least:, i] - told
        f = log_x[least:, i] + log_p[least:, i] - r
        for k in range(least, 3):
            for step in range(k):
                f = f + torch.where(torch.arange(least, 3) == k, log_b[step][i] - kl[step][i], 0.0)
        assert_same(out.bound[i], (r.exp() * f).sum() + 0.7 * told)


def test_new_rows_hold_nothing_at_steps_that_are_not_there() -> None:
    made = truth(chain(), 2)
    torch.manual_seed(3)
    found = made.model.generate(200)
    for name in ("y1", "y2", "z1", "z2"):
        absent = found["k"] <= int(name[1]) - 1
        marked = found[name] == -1 if name[0] == "y" else found[name].isnan()
        assert torch.equal(marked, absent)
        assert 0 < int(absent.sum()) < 200
    assert bool((made.model.generate(5, {"k": 1})["y2"] == -1).all())
    assert bool(made.model.generate(5, {"k": 0}, means=["y1"])["y1"].isnan().all())


def test_a_plan_says_what_is_masked_and_what_labels_tell() -> None:
    lines = str(truth(chain()).model.plan({"y1"})).splitlines()
    assert "  proposed  q(k | x, k > 0)  enumerate, 3 values" in lines
    assert "  w =       q(k > 0 | x)     constant: cancels in w/Z" in lines
    assert "  masked    y2, z2 while k > 1; z1 while k > 0" in lines
    assert "            log q(k > 0 | x)      exact (labels of its steps)" in lines
    plan = truth(nested()).model.plan({"y1"})
    assert r"q(\mathrm{m1} > 0 \mid x)" in plan.latex()
    assert plan.evidence == {"k", "m1"}
    assert "masked    m1 while k > 0; m2 while k > 1; y2 while k > 1 and m2 > 0" in str(plan)
    made = truth(chain()).model
    assert "q(k > i* | x)" in str(made.plan((), maybe_labelled={"y1", "y2"}))
    many: dict[str, Steps] = {f"s{i}": (("k", i),) for i in range(50)}
    assert masked_text(many) == "s0 while k > 0; s1 while k > 1; ...; s49 while k > 49"


def test_what_a_count_may_be() -> None:
    """Integers, those of its categories where they have names; and it is neither relaxed nor averaged."""
    bernoulli, categorical, binomial = (FAMILIES[name] for name in ("Bernoulli", "Categorical", "Binomial"))
    assert count_values(bernoulli, (), None) == (0, 1)
    assert count_values(categorical, (3,), None) == (0, 1, 2)
    assert count_values(categorical, (3,), (1, 2, 4)) == (1, 2, 4)
    assert count_values(binomial.with_options({"total_count": 3}), (), None) == (0, 1, 2, 3)
    refused: list[tuple[Any, ...]] = [
        (FAMILIES["Poisson"], (), None, "a count needs a largest value, and the support of Poisson is not finite"),
        (categorical, (2, 3), None, "a count is one number, and its shape is [2]"),
        (bernoulli, (1,), None, "a count is one number, and its shape is [1]"),
        (categorical, (2,), ("few", "many"), "a count is an integer, and one of its values is 'few'"),
        (categorical, (2,), (False, True), "a count is an integer, and one of its values is False"),
        (categorical, (2,), (-1, 1), "a count is at least 0, and one of its values is -1"),
    ]
    for family, event, values, message in refused:
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            count_values(family, event, values)
    wanted = "a step is there or it is not; wanted enumerate or score_function"
    assert refuse_count(categorical, Mean()) == f"a count is never averaged (mean): {wanted}"
    assert refuse_count(categorical, GumbelSoftmax()) == f"a count is never relaxed (gumbel_softmax): {wanted}"
    hard = f"a count is never relaxed backward (straight_through): {wanted}"
    assert refuse_count(categorical, StraightThrough()) == hard
    wanted = "labels of its steps can leave it some values alone; wanted enumerate or score_function"
    assert refuse_count(bernoulli, Disarm()) == f"a count is never drawn in pairs (disarm): {wanted}"
    told = f"a count is never weighed unevenly (without_replacement): {wanted}"
    assert refuse_count(categorical, WithoutReplacement()) == told
    assert not any(refuse_count(categorical, each) for each in (None, Enumerate(), ScoreFunction()))


def test_a_stream_takes_rows_of_a_shorter_repeat_with_the_others() -> None:
    """Counts 1 and 2, all labels of what there is: one pattern; labels beyond the count are none of the row's."""
    made = truth(chain())
    values = {
        "x": np.ones((4, 1))[:, 0],
        "k": np.array([2, 1, 1, -1]),
        "y1": np.array([1, 0, 1, -1]),
        "y2": np.array([0, -1, 1, -1]),
    }
    rows = TensorRows(Rows(values, np.arange(4)), made.model.outline, made.model.like)
    assert rows.labels.tolist() == [[True, True, True], [True, True, False], [True, True, False], [False] * 3]
    (part,) = rows.parts(np.arange(3))
    assert part.observed | part.labelled.keys() == {"k", "y1", "y2"}
    (same,) = rows.labelled(rows.part(np.arange(4), frozenset()), np.arange(4))
    assert same.observed == {"k", "y1", "y2"}
    assert same.size == 3


def test_a_count_stands_above_its_steps_in_p_alone() -> None:
    graphs = truth(chain(late=True)).model.outline.graphs
    generative, recognition = graphs.order("generative"), graphs.order("recognition")
    assert all(generative.index("k") < generative.index(step) for step in ("y1", "y2", "z1", "z2"))
    assert recognition.index("k") > recognition.index("y2")
    assert "k" in graphs.ancestors(["y2"], "generative")
    assert "k" not in graphs.ancestors(["y2"], "recognition")
    assert not Dependence(graphs).reads("z1", "k")  # given that it exists, its value does not hang on its count
