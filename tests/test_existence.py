"""Steps that do not exist: value and gradient of every bound against masked sums over all values of small models."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import pytest
import torch
from oracle import Raw, assert_same, assert_same_gradients, gradients
from steps import BIT, COUNT, KIND, MODELS, WORDS, Exists, Row, Truth, node, truth
from torch import Tensor

from sgc.derivation.merging import Merging
from sgc.proving.bruteforce import Words
from sgc.runtime.batch import prepare

pytestmark = pytest.mark.usefixtures("double_precision")


@pytest.mark.parametrize("name", MODELS)
def test_bounds_and_gradients_are_those_of_masked_sums(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pattern of labels, each in its own plan and all under one: value and gradient to 1e-9."""
    spec, _ = MODELS[name]
    for i, (label, words) in enumerate(WORDS.items()):
        alpha = words.get("alpha")
        if isinstance(alpha, dict):  # for a node with labels, and no other
            alpha = {n: a for n, a in alpha.items() if spec["nodes"].get(n, {}).get("supervision") == "partial"}
            words = {**words, "alpha": alpha}
        made = truth(MODELS[name], i, **words)
        rows = made.rows(random.Random(f"{name} {label}"), 2)
        if label == "supervised":
            rows = [row for row in rows if set(row) & set(made.model.outline.graphs.partial)]
        known = dict.fromkeys(made.order, 1.0) | (alpha if isinstance(alpha, dict) else {})
        known = known if alpha is None or isinstance(alpha, dict) else dict.fromkeys(made.order, alpha)
        keys = ("bound", "weights", "label_term", "kl_weight")
        told = Words(**{k: words[k] for k in keys if k in words}, alpha=known)
        plain = Words(**{k: words[k] for k in keys[:3] if k in words}, alpha=known)
        for shared in (False, True):
            monkeypatch.setattr(Merging, "worth", lambda *given, shared=shared: bool(given[2]) and shared)
            out = made.model.objective(made.batch(rows), weights=torch.ones(len(rows)))
            assert_same(out.bound, torch.stack([made.particles(row).bound(plain) for row in rows]))
            wanted = torch.stack([made.particles(row).bound(told) for row in rows]).sum()
            assert_same(-out.loss * len(rows), wanted)
            got = gradients(made.model, -out.loss * len(rows))
            assert_same_gradients(got, gradients(made.model, wanted))


def alike(made: Truth, row: Row) -> Row:
    """Take the labels that a labelled count denies out of a row."""
    return {name: place for name, place in row.items() if not made.denied(name, row)}


@pytest.mark.parametrize("name", MODELS)
def test_an_enumerated_iwae_is_the_evidence_without_the_steps_that_are_not_there(name: str) -> None:
    """With α 0 it is log p of the labels: over joint values of what exists alone, q in none of it."""
    made = truth(MODELS[name], 3, bound="iwae", alpha=0.0)
    rows = made.rows(random.Random(name), 3)
    wanted = []
    for row in (alike(made, row) for row in rows):
        logs = []
        for i, joint in enumerate(made.joints):
            fits = all(joint[n] == place and made.there(n, joint) for n, place in row.items())
            if fits and all(made.there(n, joint) or place == 0 for n, place in joint.items()):  # one for all absent
                logs.append(sum((made.p[n][i] for n in joint if made.there(n, joint)), torch.zeros(())))
        wanted.append(torch.stack(logs).logsumexp(0))
    out = made.model.objective(made.batch(rows), weights=torch.ones(len(rows)))
    assert_same(out.bound, torch.stack(wanted))
    assert_same_gradients(gradients(made.model, out.bound.sum()), gradients(made.model, sum(wanted, torch.zeros(()))))


def drawn(status: str = "partial") -> tuple[Raw, Exists]:
    """Write a count and two classes that are all drawn."""
    nodes = {
        "x": node(BIT, "full", ("k",), None),
        "k": node(COUNT, status, (), ("x",)),
        "y1": node(KIND, "partial", (), ("x", "k")),
        "y2": node(KIND, "partial", ("y1",), ("x", "y1")),
    }
    return {"version": 1, "nodes": nodes}, {"y1": (("k", 0),), "y2": (("k", 1),)}


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("label", ["elbo", "alpha by node", "log mean", "unnormalised", "iwae", "density"])
@pytest.mark.parametrize("status", ["partial", "none"])
def test_drawn_counts_and_steps_have_the_exact_expected_gradient(
    samples: int, label: str, status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every joint draw of all samples, with its probability: the value and gradient of the expected bound, to 1e-9."""
    words = dict(WORDS[label])
    if isinstance(words.get("alpha"), dict) and status == "none":
        words["alpha"] = {n: a for n, a in words["alpha"].items() if n != "k"}
    spec, exists = drawn(status)
    estimator = {"score_function": {"baseline": "leave_one_out" if samples > 1 else "none"}}
    for each in ("k", "y1", "y2"):
        spec["nodes"][each]["recognition"]["estimator"] = estimator
    made = truth((spec, exists), 5, **words, samples=samples)
    alpha = words.get("alpha", 1.0)
    by_node = dict.fromkeys(made.order, 1.0) | alpha if isinstance(alpha, dict) else dict.fromkeys(made.order, alpha)
    told = Words(**{k: words[k] for k in ("bound", "weights", "label_term") if k in words}, alpha=by_node)
    rng = random.Random(f"{samples} {label} {status}")
    for row in made.rows(rng, 1):
        every = made.particles(row)
        here = made.fitting(row)
        draws = torch.tensor(list(itertools.product(range(len(here)), repeat=samples)))  # [R, S]
        chance = every.log_mass[draws].sum(1).exp()
        taken = every.each(lambda part, draws=draws: part[draws])
        bound = replace(taken, log_mass=torch.full(draws.shape, -math.log(samples))).bound(told)
        waiting: list[str] = []

        def draw(q: torch.distributions.Distribution, leading: tuple[int, ...]) -> Tensor:
            name = waiting.pop(0)  # noqa: B023
            places = torch.tensor([joint[name] for joint in here])[draws].T  # noqa: B023
            among = isinstance(q, torch.distributions.Categorical)
            return places if among else made.support[name][places]

        monkeypatch.setattr("sgc.runtime.execute.draw", draw)
        batch = made.batch([row] * len(draws))
        ((part, *others), _) = prepare(made.model.outline, batch, made.model.like)
        assert not others
        waiting = [p.node for p in made.model.plan(part.observed).proposals]
        out = made.model.objective(batch)
        got, wanted = (out.bound * chance.detach()).sum(), (bound * chance).sum()
        assert_same(got, wanted)
        assert_same_gradients(gradients(made.model, got), gradients(made.model, wanted))
