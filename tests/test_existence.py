"""Steps that do not exist: value and gradient of every bound against masked sums over all values of small models."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Collection
from dataclasses import dataclass, replace

import pytest
import torch
from oracle import Raw, assert_same, assert_same_gradients, gradients
from steps import BIT, COUNT, ENUMERATED, KIND, MODELS, WORDS, Exists, Row, Truth, node, truth
from torch import Tensor

from sgc.derivation.row_groups import Merging
from sgc.distributions.points import Point
from sgc.objectives.score_function import ScoreFunction
from sgc.proof.brute_force import Words
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


def few(status: str, *, late: bool) -> tuple[Raw, Exists]:
    """Write a count and two classes; `late`: q proposes the count after them, and from them."""
    nodes = {
        "x": node(BIT, "full", ("k",), None),
        "k": node(COUNT, status, (), ("x", "y1", "y2") if late else ("x",), **ENUMERATED),
        "y1": node(KIND, "partial", (), ("x",), **ENUMERATED),
        "y2": node(KIND, "partial", ("y1",), ("x", "y1"), **ENUMERATED),
    }
    return {"version": 1, "nodes": nodes}, {"y1": (("k", 0),), "y2": (("k", 1),)}


@dataclass
class Draws:
    """Every joint draw of the drawn nodes of a row, at some samples, with its probability: [R, S] and [R]."""

    made: Truth
    row: Row
    names: Collection[str]
    samples: int

    def __post_init__(self) -> None:
        self.here = self.made.fitting(self.row)
        self.every = self.made.particles(self.row)
        places = [tuple(joint[name] for name in self.names) for joint in self.here]
        self.values = sorted(set(places))
        self.holding = torch.tensor([[i for i, each in enumerate(places) if each == v] for v in self.values])
        self.each = torch.tensor(list(itertools.product(range(len(self.values)), repeat=self.samples)))

    def bound(self, words: Words) -> tuple[Tensor, Tensor]:
        """Give the bound of each joint draw, and its probability."""
        held = self.holding[self.each].flatten(1)  # [R, S · P]
        chance = self.made.log_r(self.row, self.names)[self.holding[:, 0]][self.each].sum(1).exp()
        mass = self.every.log_mass - self.made.log_r(self.row, self.names)
        taken = self.every.changed(lambda part: part[held])
        return replace(taken, log_mass=mass[held] - math.log(self.samples)).bound(words), chance

    def places(self, name: str) -> Tensor:
        """Give what each joint draw takes for a node, [S, R]."""
        return torch.tensor([value[list(self.names).index(name)] for value in self.values])[self.each].T


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("label", ["elbo", "alpha by node", "log mean", "unnormalised", "iwae", "density"])
@pytest.mark.parametrize("names", ["k", "k y1 y2", "y1 y2", "y1 y2 before k"])
def test_drawn_counts_and_steps_have_the_exact_expected_gradient(
    samples: int, label: str, names: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every joint draw of all samples, with its probability: the value and gradient of the expected bound, to 1e-9."""
    monkeypatch.setattr(Merging, "worth", lambda *given: bool(given[2]))
    rng = random.Random(f"{samples} {label} {names}")
    late = names.endswith("before k")
    taken = names.removesuffix(" before k").split()
    status = rng.choice(["partial", "none"])
    words = dict(WORDS[label])
    if isinstance(words.get("alpha"), dict) and status == "none":
        words["alpha"] = {n: a for n, a in words["alpha"].items() if n != "k"}
    spec, exists = few(status, late=late)
    estimator = {"score_function": {"baseline": "leave_one_out" if samples > 1 else "none"}}
    for each in taken:
        spec["nodes"][each]["recognition"]["estimator"] = estimator
    made = truth((spec, exists), 5, **words, samples=samples)
    alpha = words.get("alpha", 1.0)
    by_node = dict.fromkeys(made.order, 1.0) | alpha if isinstance(alpha, dict) else dict.fromkeys(made.order, alpha)
    told = Words(**{k: words[k] for k in ("bound", "weights", "label_term") if k in words}, alpha=by_node)
    for row in made.rows(rng, 1):
        draws = Draws(made, row, [n for n in taken if n not in row or made.denied(n, row)], samples)
        bound, chance = draws.bound(told)
        batch = made.batch([row] * len(bound))
        ((part, *others), _) = prepare(made.model.outline, batch, made.model.like)
        assert not others
        plan = made.model.plan(part.observed, maybe_labelled=part.labelled)
        waiting = [p.node for p in plan.proposals if p.node in taken]

        def draw(
            q: torch.distributions.Distribution,
            leading: tuple[int, ...],
            waiting: list[str] = waiting,
            draws: Draws = draws,
        ) -> Point:
            name = waiting.pop(0)
            places = draws.places(name).reshape(leading)
            of_places = isinstance(q, torch.distributions.Categorical)
            return Point(places if of_places else made.support[name][places])

        monkeypatch.setattr("sgc.runtime.execution.draw", draw)
        monkeypatch.setattr(ScoreFunction, "draw", lambda self, given, draw=draw: draw(given.q, given.leading))
        out = made.model.objective(batch)
        got, wanted = (out.bound * chance.detach()).sum(), (bound * chance).sum()
        assert_same(got, wanted)
        assert_same_gradients(gradients(made.model, got), gradients(made.model, wanted))
