"""The score-function estimator: its exact expectation over every joint draw, at one, two and three samples.

The draws of a batch are forced: each row gets one joint draw of all particles, and counts with its probability. What
is left has no noise, so value and gradient must be those of the expected bound, differentiated with its probabilities.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from mutations import own_share_alone
from oracle import (
    Joint,
    Particles,
    Raw,
    Row,
    Words,
    all_rows,
    assert_same,
    assert_same_gradients,
    batch_of,
    compiled,
    gradients,
    like,
    ordered,
    parents_of,
    partial,
    patterns,
    random_alpha,
    random_spec,
    support,
    with_objective,
)
from torch import Tensor

import sgc
from sgc.derivation.row_groups import Merging
from sgc.distributions.family import Family
from sgc.distributions.points import Point
from sgc.objectives.score_function import ScoreFunction
from sgc.runtime.batch import prepare
from sgc.runtime.charges import leave_one_out
from sgc.runtime.model import Model

pytestmark = pytest.mark.usefixtures("double_precision", "seeded_draws")
MOST = 4096  # joint draws of a row
BASELINES = ("none", "running_mean", "leave_one_out")


@dataclass
class Draws:
    """Every joint draw of the particles of a row: which nodes are drawn, over which enumerated ones, and how often."""

    spec: Raw
    row: Row
    drawn: Sequence[str]
    samples: int

    def __post_init__(self) -> None:
        order = ordered(self.spec, "recognition")
        self.latent = [n for n in order if n not in self.row]
        self.enumerated = [n for n in self.latent if n not in self.drawn]
        self.size = {n: len(support(self.spec["nodes"][n])) for n in self.latent}
        self.dims: dict[str, list[str]] = {}
        for name in self.latent:
            above = self.above(name)
            self.dims[name] = [name] if name in self.enumerated else [n for n in self.enumerated if n in above]
        self.instances = [
            (name, s, places)
            for name in self.latent
            if name in self.drawn
            for s in range(self.samples)
            for places in itertools.product(*(range(self.size[n]) for n in self.dims[name]))
        ]

    def above(self, name: str) -> set[str]:
        """Name the enumerated nodes that a draw varies over: those above it, not beyond enumerated ones."""
        found: set[str] = set()
        for parent in parents_of(self.spec, name, "recognition"):
            if parent in self.spec.get("features", {}):
                found |= self.above(parent)
            elif parent in self.enumerated:
                found.add(parent)
            elif parent in self.drawn and parent in self.latent:
                found |= self.above(parent)
        return found

    @property
    def count(self) -> int:
        return math.prod(self.size[name] for name, _, _ in self.instances)

    def table(self) -> Tensor:
        """Give every joint draw, [B, instances]."""
        return torch.tensor(list(itertools.product(*(range(self.size[name]) for name, _, _ in self.instances))))

    def place(self, table: Tensor, name: str, s: int, at: dict[str, int]) -> Tensor:
        """Give the value of a node in one particle of each joint draw, [B]."""
        if name in self.enumerated:
            return torch.full((len(table),), at[name])
        return table[:, self.instances.index((name, s, tuple(at[n] for n in self.dims[name])))]


def expected(model: Model, draws: Draws, words: Words) -> tuple[Tensor, Tensor]:
    """Give the bound of every joint draw and its probability, [B] each, differentiable."""
    joint = Joint(model, draws.spec)
    sizes = [int(joint.index[n].max()) + 1 for n in joint.names]
    table = draws.table()

    def look(factors: dict[str, Tensor], name: str, places: dict[str, Tensor]) -> Tensor:
        flat = torch.zeros(len(table), dtype=torch.long)
        for each, size in zip(joint.names, sizes, strict=True):
            flat = flat * size + places[each]
        return factors[name][flat]

    def places(s: int, at: dict[str, int]) -> dict[str, Tensor]:
        found = {n: torch.full((len(table),), place) for n, place in draws.row.items()}
        return found | {n: draws.place(table, n, s, at) for n in draws.latent}

    first = dict.fromkeys(draws.enumerated, 0)
    log_chance = torch.zeros(len(table))
    for name, s, at in draws.instances:
        here = first | dict(zip(draws.dims[name], at, strict=True))
        log_chance = log_chance + look(joint.log_q, name, places(s, here))
    clamped = [n for n in draws.spec["nodes"] if n in draws.row]
    labelled = [n for n in ordered(draws.spec, "recognition") if n in draws.row and n in partial(draws.spec)]
    parts: dict[str, list[Tensor]] = {}
    zero = torch.zeros(len(table))
    for s in range(draws.samples):
        for at in itertools.product(*(range(draws.size[n]) for n in draws.enumerated)):
            here = places(s, dict(zip(draws.enumerated, at, strict=True)))

            def total(factors: dict[str, Tensor], names: Sequence[str], here: dict[str, Tensor] = here) -> Tensor:
                return sum((look(factors, n, here) for n in names), zero)

            parts.setdefault("mass", []).append(total(joint.log_q, draws.enumerated) - math.log(draws.samples))
            parts.setdefault("clamped", []).append(total(joint.log_p, clamped))
            parts.setdefault("latent", []).append(total(joint.log_p, draws.latent))
            parts.setdefault("r", []).append(total(joint.log_q, draws.latent))
            for n in labelled:
                parts.setdefault(f"w {n}", []).append(look(joint.log_q, n, here))
    stacked = {key: torch.stack(each, -1) for key, each in parts.items()}
    log_w = {n: stacked[f"w {n}"] for n in labelled}
    made = Particles(stacked["mass"], stacked["clamped"], stacked["latent"], stacked["r"], log_w)
    return made.bound(words), log_chance.exp()


def forced(model: Model, draws: Draws, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """Make the batch of a row, once for each joint draw, and let the model draw just those."""
    table = draws.table()
    batch = batch_of(draws.spec, [draws.row] * len(table))
    ((part, *others), _) = prepare(model.outline, batch, model.like)
    assert not others
    plan = model.plan(part.observed, maybe_labelled=part.labelled)
    waiting = [proposal.node for proposal in plan.proposals if proposal.node in draws.drawn]

    def draw(q: torch.distributions.Distribution, leading: tuple[int, ...], family: Family) -> Point:
        name = waiting.pop(0)
        waiting.append(name)  # the same again at the next call
        values = support(draws.spec["nodes"][name])
        dims = sorted(draws.dims[name], key=plan.axes.__getitem__)
        shape = [draws.size[n] for n in dims]
        found = torch.zeros(*shape, draws.samples, len(table), dtype=torch.long)
        for at in itertools.product(*(range(k) for k in shape)):
            for s in range(draws.samples):
                found[(*at, s)] = draws.place(table, name, s, dict(zip(dims, at, strict=True)))
        leads = [1] * (1 + max(plan.axes.values(), default=-1))
        for n in dims:
            leads[plan.axes[n]] = draws.size[n]
        assert leading == (*leads, draws.samples, len(table))
        return Point(values[found].reshape(*leading, *values.shape[1:]))

    monkeypatch.setattr(ScoreFunction, "draw", lambda self, given: draw(given.q, given.leading, given.family))
    return batch


def with_score_function(spec: Raw, names: Sequence[str], baseline: str) -> Raw:
    nodes = dict(spec["nodes"])
    for name in names:
        estimator = {"score_function": {"baseline": baseline}}
        nodes[name] = {**nodes[name], "recognition": {**nodes[name]["recognition"], "estimator": estimator}}
    return {**spec, "nodes": nodes}


def assert_exact(model: Model, spec: Raw, row: Row, drawn: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Hold the expected value and gradient to the oracle's; give how many joint draws there were, 0: too many."""
    samples = spec["objective"].get("samples", 1)
    draws = Draws(spec, row, [n for n in drawn if n not in row], samples)
    if draws.count > MOST or not draws.instances:
        return 0
    bounds, chance = expected(model, draws, Words.of(spec))
    wanted = (bounds * chance).sum()
    batch = forced(model, draws, monkeypatch)
    model.running_means.means = {  # any constant leaves it unbiased
        key: torch.tensor(0.7, dtype=torch.float64) for key in model.running_means.means
    }
    out = model.objective(batch)
    got = (out.bound * chance.detach()).sum()
    if spec["objective"].get("kl") == "sampled":
        assert_same(out.bound, bounds)
    assert_same(got, wanted)
    assert_same_gradients(gradients(model, got), gradients(model, wanted))
    loss = model.objective(batch, weights=chance.detach()).loss * len(chance)
    if spec["objective"].get("kl_weight", 1.0) == 1.0:
        assert_same_gradients(gradients(model, -loss), gradients(model, wanted))
    return draws.count


WORDS: list[Raw] = [
    {},
    {"kl": "sampled"},
    {"label_term": "log_mean"},
    {"weights": "none"},
    {"weights": "none", "label_term": "log_mean", "kl": "sampled"},
    {"bound": "iwae"},
    {"bound": "density"},
    {"bound": "supervised"},
]


@pytest.mark.parametrize("words", WORDS, ids=lambda words: "-".join(words.values()) or "elbo")
@pytest.mark.parametrize("baseline", BASELINES)
def test_random_graphs_have_the_exact_gradient(words: Raw, baseline: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random graphs, statuses and patterns, drawn nodes among enumerated ones: to 1e-9 at 1 or 2 samples."""
    rng = random.Random(f"{words} {baseline}")
    seen = 0
    while seen < 12:
        spec = random_spec(rng, largest=36)
        proposed = [n for n, node in spec["nodes"].items() if "recognition" in node]
        if words.get("bound") == "supervised" and not partial(spec):
            continue
        drawn = [n for n in proposed if rng.randint(0, 1)]
        samples = 2 if baseline == "leave_one_out" else rng.choice([1, 2])
        alpha = {} if words.get("bound") == "density" else {"alpha": random_alpha(rng, spec)}
        spec = with_score_function(with_objective(spec, **words, **alpha, samples=samples), drawn, baseline)
        model = compiled(spec, rng.randint(0, 99), spread=1.0)
        for observed in rng.sample(patterns(spec), min(3, len(patterns(spec)))):
            rows = [row for row in all_rows(spec, observed) if row]
            if rows and not (words.get("bound") == "supervised" and not observed):
                seen += bool(assert_exact(model, spec, rng.choice(rows), drawn, monkeypatch))


def test_rows_that_share_a_plan_have_the_exact_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every row under a plan for all labels of the enumerated nodes that no draw touches: still to 1e-9."""
    monkeypatch.setattr(Merging, "worth", lambda self, observed, maybe_labelled, patterns, rows: bool(maybe_labelled))
    rng = random.Random("shared")
    seen = shared = 0
    while shared < 12:
        words = rng.choice(WORDS)
        spec = random_spec(rng, largest=36)
        if words.get("bound") == "supervised" or len(partial(spec)) < 2:
            continue
        proposed = [n for n, node in spec["nodes"].items() if "recognition" in node]
        drawn = [n for n in proposed if not rng.randint(0, 2)]
        alpha = {} if words.get("bound") == "density" else {"alpha": random_alpha(rng, spec)}
        objective = {**words, **alpha, "samples": 2}
        spec = with_score_function(with_objective(spec, **objective), drawn, rng.choice(BASELINES))
        model = compiled(spec, rng.randint(0, 99), spread=1.0)
        for observed in rng.sample(patterns(spec), min(3, len(patterns(spec)))):
            rows = [row for row in all_rows(spec, observed) if row]
            seen = bool(rows) and assert_exact(model, spec, rng.choice(rows), drawn, monkeypatch)
            shared += bool(seen and model.outline.merging.nodes)


def two(parents: Sequence[str], estimator: Any = "enumerate", *, status: str = "none", p: Sequence[str] = ()) -> Raw:
    node: Raw = {"distribution": "Categorical", "categories": 2, "supervision": status}
    node["generative"] = {"parents": list(p), "network": {"mlp": []}} if p else {"learn": True}
    node["recognition"] = {"parents": list(parents), "network": {"mlp": []}, "estimator": estimator}
    return node


def tangled(**words: Any) -> Raw:  # Any: plain data
    """x -> v -> y (labelled) with an enumerated e above v, and u below v that nothing else reads."""
    x: Raw = {"distribution": "Bernoulli", "shape": [2], "supervision": "full"}
    x["generative"] = {"parents": ["y", "v", "e"], "network": {"mlp": [3], "activation": "tanh"}}
    nodes = {
        "x": x,
        "e": two(["x"]),
        "v": two(["x", "e"], {"score_function": {"baseline": words.pop("baseline")}}, p=["e"]),
        "y": two(["x", "v"], status="partial", p=["v"]),
        "u": two(["v"], p=["y"]),
    }
    return {"version": 1, "nodes": nodes, "objective": words}


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("words", WORDS, ids=lambda words: "-".join(words.values()) or "elbo")
@pytest.mark.parametrize("observed", [[], ["y"]])
def test_a_draw_below_an_enumerated_node_and_above_a_label(
    words: Raw, baseline: str, observed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Draws for each value of e, masses of u below them, and a weight that they move: 16 to 256 joint draws."""
    if words.get("bound") == "supervised" and not observed:
        return
    samples = 2 if baseline == "leave_one_out" else 1
    alpha = {} if words.get("bound") == "density" else {"alpha": 0.6}
    spec = tangled(baseline=baseline, samples=samples, **words, **alpha)
    model = compiled(spec, 3)
    model.objective(batch_of(spec, all_rows(spec, observed)[:5]))  # moves the running means
    assert assert_exact(model, spec, all_rows(spec, observed)[3], ["v"], monkeypatch)


def test_three_samples_leave_one_out(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = tangled(baseline="leave_one_out", samples=3, alpha=0.4)
    nodes = {**spec["nodes"], "v": {**spec["nodes"]["v"]}}
    nodes["v"]["recognition"] = {**nodes["v"]["recognition"], "parents": ["x"]}
    spec = {**spec, "nodes": nodes}
    model = compiled(spec, 5)
    for words in ({}, {"bound": "iwae"}, {"label_term": "log_mean"}):
        other = with_objective(spec, samples=3, alpha=0.4, **words)
        for observed in ([], ["y"]):
            assert assert_exact(like(model, other), other, all_rows(spec, observed)[2], ["v"], monkeypatch)


def test_the_kl_weight_scales_what_is_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = tangled(baseline="none", samples=1, kl="sampled", kl_weight=0.3)
    model = compiled(spec, 5)
    draws = Draws(spec, all_rows(spec, [])[1], ["v"], 1)
    bounds, chance = expected(model, draws, Words.of(spec))
    batch = forced(model, draws, monkeypatch)
    out = model.objective(batch, weights=chance.detach())
    wanted = (bounds * chance).sum()
    assert_same(-out.loss * len(chance), wanted)
    assert_same_gradients(gradients(model, -out.loss * len(chance)), gradients(model, wanted))


def test_charging_only_its_own_share_under_normalised_weights_would_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the whole bound is charged for: with ŵ_s f_s alone the gradient of q(v) is off by more than 1%."""
    spec = tangled(baseline="none", samples=2, alpha=0, kl="sampled")
    model = compiled(spec, 3)
    row = all_rows(spec, ["y"])[3]
    assert assert_exact(model, spec, row, ["v"], monkeypatch)
    draws = Draws(spec, row, ["v"], 2)
    bounds, chance = expected(model, draws, Words.of(spec))
    right = gradients(model, (bounds * chance).sum())
    batch = forced(model, draws, monkeypatch)
    plan = model.plan({"y"})
    assert plan.charges_whole(plan.charges[0])
    own_share_alone(monkeypatch)
    wrong = gradients(model, (model.objective(batch).bound * chance.detach()).sum())
    name = next(n for n in right if n.startswith("recognition.v_"))
    assert float((wrong[name] - right[name]).norm() / right[name].norm()) > 0.01


def test_a_baseline_lowers_the_variance() -> None:
    """2000 rows, one draw each: the spread of the gradient with leave_one_out is below that without a baseline."""
    spec = tangled(baseline="none", samples=4, kl="sampled")
    model = compiled(spec, 3, spread=0.5)
    spread = {}
    for baseline in ("none", "leave_one_out"):
        other = like(model, tangled(baseline=baseline, samples=4, kl="sampled"))
        row = batch_of(spec, [all_rows(spec, [])[1]] * 50)
        found = [gradients(other, other.objective(row).bound.mean()) for _ in range(40)]
        name = next(n for n in found[0] if n.startswith("recognition.v_"))
        spread[baseline] = float(torch.stack([each[name].reshape(-1) for each in found]).var(0).sum())
    assert spread["leave_one_out"] < 0.5 * spread["none"]


def test_leaving_one_out_is_exact_where_one_sample_dominates() -> None:
    """Weights from e^-900 to e^900: the others' mean weight and mean value, against sums over the others alone."""
    logs = torch.tensor([[0.0, 900.0, -900.0, 3.0], [1.0, 1.0, 1.0, 1.0]]).T  # [S, B]
    values = torch.randn(4, 2)
    total, mean = leave_one_out(logs, values)
    for s in range(4):
        others = [t for t in range(4) if t != s]
        assert_same(total[s], logs[others].logsumexp(0) - math.log(3))
        assert_same(mean[s], (logs[others].softmax(0) * values[others]).sum(0))


def test_plans_say_what_a_draw_is_charged_with() -> None:
    spec = sgc.load(tangled(baseline="none", samples=2, kl="sampled"))
    model = sgc.compile(spec)
    assert "charged   q(v | x, e): the whole bound" in str(model.plan({"y"}))
    text = str(model.plan())
    assert "score_function, baseline none" in text
    charged = next(line for line in text.split("\n") if "charged" in line)
    assert "log p(e)" not in charged  # nothing that v can influence
    assert "log p(u | y)" in charged


def test_the_running_mean_moves_only_while_training() -> None:
    spec = tangled(baseline="running_mean", samples=1)
    model = compiled(spec)
    batch = batch_of(spec, all_rows(spec, [])[:4])
    model.eval()
    model.objective(batch)
    assert not model.running_means.means
    model.train()
    first = model.objective(batch).bound.detach().mean()
    assert model.running_means.means
    model.objective(batch)
    state = model.running_means.state()
    assert all(math.isfinite(value) for value in state.values())
    assert math.isfinite(float(first))


def test_running_means_are_kept_by_pattern_where_rows_share_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of all patterns moves the same means, to the same numbers, as its patterns one by one."""
    x: Raw = {"distribution": "Bernoulli", "shape": [2], "supervision": "full"}
    x["generative"] = {"parents": ["y", "s", "v"], "network": {"mlp": [3], "activation": "tanh"}}
    nodes = {"x": x, "y": two(["x"], status="partial"), "s": two(["x"], status="partial")}
    nodes["v"] = two(["x"], {"score_function": {"baseline": "running_mean"}})
    spec: Raw = {"version": 1, "nodes": nodes, "objective": {"kl_weight": 0.5}}
    model = compiled(spec, 2)
    apart, together = like(model, spec), like(model, spec)
    rows = [all_rows(spec, observed)[0] for observed in patterns(spec)]
    monkeypatch.setattr(ScoreFunction, "draw", lambda self, given: Point(torch.eye(2)[0].expand(*given.leading, 2)))
    for row in rows:
        apart.objective(batch_of(spec, [row]))
    monkeypatch.setattr(Merging, "worth", lambda self, observed, maybe_labelled, patterns, rows: bool(maybe_labelled))
    together.objective(batch_of(spec, rows))
    found = together.running_means.state()
    assert set(found) == {f"v | {each} | bound" for each in ("", "s", "s,y", "y")}
    for key, mean in apart.running_means.state().items():
        assert found[key] == pytest.approx(mean, abs=1e-12)


def test_evaluation_enumerates_drawn_nodes_only_where_that_stays_small() -> None:
    """Ten categories of 784 pixels are summed; 512 values of two nodes, each with as many pixels, are drawn."""
    x: Raw = {"distribution": "Bernoulli", "shape": [784], "supervision": "full"}
    x["generative"] = {"parents": ["y"], "network": {"mlp": []}}
    y = {**two(["x"], "score_function"), "categories": 10}
    small = sgc.compile(sgc.load({"version": 1, "nodes": {"x": x, "y": y}}))
    assert small.plan(exact=True).proposed["y"].estimator.name == "enumerate"
    code: Raw = {"distribution": "Bernoulli", "shape": [4], "supervision": "none"}
    code["recognition"] = {"parents": ["x"], "network": {"mlp": []}, "estimator": "score_function"}
    x = {**x, "generative": {"parents": ["y", "s", "t"], "network": {"mlp": []}}}
    large = sgc.compile(sgc.load({"version": 1, "nodes": {"x": x, "y": y, "s": code, "t": code}}))
    assert {p.estimator.name for p in large.plan(exact=True).proposals} == {"draw"}
