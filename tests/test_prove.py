"""`sgc prove`: sound specs are proved, a fault put into the derivation is caught, and its oracle is held to another.

Sampled comparisons take 41 estimates and are refused beyond a limit with a false-alarm rate of 1e-6 a proof.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mutations import (
    closed_form_everywhere,
    detached_weights,
    doubled_alpha,
    forgotten_prior,
    forgotten_weights,
    hardened_score,
    no_score,
    others_labels,
    own_share_alone,
)
from oracle import Raw, all_rows, compiled, random_alpha, random_spec, with_objective
from torch import Tensor
from typer.testing import CliRunner

from sgc.cli import app
from sgc.errors import RunError
from sgc.proof import prover as proving
from sgc.proof.brute_force import Factors, Joint, Words
from sgc.proof.chosen_patterns import some_patterns
from sgc.proof.comparison import distance, scores, t_limit, t_tail
from sgc.proof.draw_sums import Draws, expected
from sgc.proof.plain_spec import partial, support
from sgc.proof.prover import prove
from sgc.proof.twin import moments, twin
from sgc.runtime.model import Model
from sgc.runtime.sums import Sums
from sgc.spec.loader import load
from sgc.spec.resolver import outline

SPECS = sorted((Path(__file__).resolve().parent.parent / "specs").glob("*.yaml"))


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proving, "ESTIMATES", 100)
    monkeypatch.setattr(Model, "validate_args", False)


# ---- what is proved


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_every_shipped_spec_is_proved(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = load(path)
    if spec.unrolled.plates:  # every step may be labelled or not: some patterns of very many
        monkeypatch.setattr(proving, "PATTERNS", 24)
        monkeypatch.setattr(proving, "SAMPLED_PATTERNS", 3)
    found = prove(spec)
    assert found.passed, found.words()
    if not spec.unrolled.plates:
        assert {line.rows for line in found.exact if line.pattern} == {line.rows for line in found.sampled}


@pytest.mark.parametrize("words", [{}, {"label_term": "log_mean"}, {"bound": "iwae"}, {"weights": "none"}])
@pytest.mark.parametrize("seed", range(3))
def test_random_graphs_are_proved(words: Raw, seed: int) -> None:
    rng = random.Random(f"{words} {seed}")
    spec = random_spec(rng)
    found = prove(load(with_objective(spec, **words, alpha=random_alpha(rng, spec))), seed=seed)
    assert found.passed, found.words()


Z_THEN_Y: Raw = {  # z is drawn, and the label of y reads it: the weight varies
    "version": 1,
    "name": "tiny",
    "inputs": {"u": {"shape": [3]}},
    "features": {"h": {"parents": ["x", "u"], "network": {"mlp": [5]}}},
    "nodes": {
        "x": {
            "distribution": "Normal",
            "shape": [2],
            "supervision": "full",
            "generative": {"parents": ["y", "z"], "network": {"mlp": [4]}},
        },
        "z": {
            "distribution": "Normal",
            "supervision": "none",
            "recognition": {"parents": ["h"], "network": {"mlp": [4]}},
        },
        "y": {
            "distribution": "Categorical",
            "values": ["a", "b", "c"],
            "supervision": "partial",
            "recognition": {"parents": ["z", "u"], "network": {"mlp": [4]}},
        },
    },
    "objective": {"alpha": {"y": 3}, "samples": 2, "kl_weight": {"from": 0, "to": 1, "epochs": 7}},
}


def with_y(estimator: Any) -> Raw:  # Any: plain data
    y = Z_THEN_Y["nodes"]["y"]
    changed = {**y, "recognition": {**y["recognition"], "estimator": estimator}}
    return {**Z_THEN_Y, "nodes": {**Z_THEN_Y["nodes"], "y": changed}}


def test_a_twin_keeps_what_shapes_the_derivation() -> None:
    made = outline(load(with_y("score_function")))
    other = outline(load(twin(made, epoch=7, samples=2, estimators={"y": "score_function"})))
    assert other.graphs.inputs == made.graphs.inputs
    assert other.graphs.features == made.graphs.features
    for name, node in made.graphs.nodes.items():
        found = other.graphs.nodes[name]
        assert (found.supervision, found.generative) == (node.supervision, node.generative)
        assert found.recognition == node.recognition
    assert other.words == made.words
    assert moments(made.objective) == [0, 7]
    assert twin(made, epoch=0)["objective"]["kl_weight"] == 0
    assert "kl_weight" not in twin(made, epoch=7)["objective"]


def test_a_twin_stands_where_the_schedules_do_that_its_bound_reads() -> None:
    rate, over = {"from": 0.5, "to": 0.25, "epochs": 3}, {"from": 1, "to": 3, "epochs": 5}
    made = outline(load({**Z_THEN_Y, "objective": {"alpha": {"over_rate": over}, "supervision_rate": rate}}))
    assert moments(made.objective) == [0, 5]
    assert [twin(made, epoch=epoch)["objective"]["alpha"] for epoch in (0, 5)] == [2, 12]
    for key, moving in (("gamma", over), ("supervision_rate", rate)):  # what only weighs rows
        assert moments(outline(load({**Z_THEN_Y, "objective": {key: moving}})).objective) == [0]


def test_what_may_be_missing_is_missing_in_some_rows_of_the_twin() -> None:
    """x is left out where it is missing, and q reads that it is: proved like the rest."""
    x = {**Z_THEN_Y["nodes"]["x"], "supervision": "partial", "missing": "drop"}
    spec = load({**Z_THEN_Y, "nodes": {**Z_THEN_Y["nodes"], "x": x}})
    plain = twin(outline(spec))
    assert plain["nodes"]["x"]["missing"] == "drop"
    assert partial(plain) == ["y"]
    assert support(plain["nodes"]["x"]).isnan().sum(1).tolist() == [0, 0, 2]
    found = prove(spec)
    assert found.passed, found.words()


def test_own_code_is_never_imported() -> None:
    """A twin has no family of the user's: the module that the spec names need not even exist."""
    own = {"python": "nowhere_at_all:Family", "parameters": {"loc": "real"}, "support": "real", "draws": "pathwise"}
    z = {**Z_THEN_Y["nodes"]["z"], "distribution": own, "generative": {"parameters": {"loc": 0}}}
    assert prove(load({**Z_THEN_Y, "nodes": {**Z_THEN_Y["nodes"], "z": z}}, trust=True)).passed


def test_a_proof_is_said_in_these_words() -> None:
    text = prove(load(with_y({"gumbel_softmax": {"temperature": {"from": 1, "to": 0.5, "epochs": 3}}}))).words()
    text = re.sub(r"-?\d+\.\d+(e[-+]\d+)?", "#", text)  # what differs between machines
    assert text == (
        "tiny, on a discrete twin: x, z, y of two categories each, seed 0\n"
        "  rows without labels                    exact, epoch 0               largest difference #\n"
        "  rows with y labelled                   exact, epoch 0               largest difference #\n"
        "  rows of several patterns in one batch  exact, epoch 0               largest difference #\n"
        "  rows without labels                    exact, epoch 7               largest difference #\n"
        "  rows with y labelled                   exact, epoch 7               largest difference #\n"
        "  rows of several patterns in one batch  exact, epoch 7               largest difference #\n"
        "  rows without labels                    sampled, 2 samples, epoch 7  "
        "|z| at most # of 97 numbers, 4,100 draws\n"
        "  rows with y labelled                   sampled, 2 samples, epoch 7  "
        "|z| at most # of 97 numbers, 3,936 draws\n"
        "  z: pathwise, summed where exact, drawn as score_function where sampled\n"
        "  y: gumbel_softmax, proved as enumerate\n"
        "  y: gumbel_softmax: gradient off by #% ± #%, loss by # ± # nats (relative L2, twin, temperature 1)\n"
        "  y: gumbel_softmax: gradient off by #% ± #%, loss by # ± # nats (relative L2, twin, temperature #)\n"
        "  y: gumbel_softmax, cold: gradient off by #% ± #% at temperature #\n"
        "  note: sampled with alpha at most 1: what it adds is proved exactly\n"
        "proved: 2 patterns, bound and gradient, to 1e-09; sampled: |z| up to # allowed, "
        "a false alarm in 1,000,000 proofs"
    )


def test_a_bias_is_measured_without_its_noise() -> None:
    """A hard draw's value is right within 5 standard errors; noise about 0 has no length, noise about 1 has its own."""
    (hard,) = prove(load(with_y("straight_through"))).biases
    assert abs(hard.loss[0]) < 5 * hard.loss[1]
    assert hard.gradient[0] > 5 * hard.gradient[1]
    (mean,) = prove(load(with_y("mean"))).biases
    assert mean.gradient[0] > 0.01
    noise = torch.randn(41, 200, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    length, error = distance(noise)
    assert length < 1.0  # the plain length of the mean of 41 is about 2.2
    length, error = distance(noise + 1)
    assert abs(length - math.sqrt(200)) < 5 * error


def test_the_same_seed_gives_the_same_proof_and_nothing_global_moves() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    spec = load(with_objective(Z_THEN_Y, samples=2))
    first, second, other = (prove(spec, seed=seed) for seed in (3, 3, 4))
    assert first == second != other
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_default_dtype() == torch.float32


def test_many_patterns_are_thinned_and_too_many_nodes_refused() -> None:
    names = [f"n{i}" for i in range(9)]
    chosen = some_patterns(names, 256, random.Random(0))
    assert len(chosen) == len(set(chosen)) == 256
    assert {(), tuple(names), *((name,) for name in names)} <= set(chosen)
    assert len(some_patterns(names[:3], 256, random.Random(0))) == 8
    node: Raw = {"distribution": "Normal", "supervision": "none", "recognition": {}}
    latent = {f"z{i}": node for i in range(17)}
    x: Raw = {"distribution": "Normal", "supervision": "full", "generative": {"learn": True}}
    spec = {"version": 1, "nodes": {"x": x, **latent}}
    with pytest.raises(RunError, match="17 nodes or more are unobserved in every row, at most 16 can be summed"):
        prove(load(spec))
    spec["nodes"]["z0"] = {**node, "supervision": "partial"}
    found = prove(load(spec))
    assert found.passed
    assert found.notes[0] == "1 of 2 patterns are left out"


# ---- what is caught


def broken(patch: pytest.MonkeyPatch) -> None:
    def value(self: Sums, kl_weight: float = 1.0) -> Tensor:
        raise AssertionError("a dimension without its masses")

    patch.setattr(Sums, "value", value)


def not_a_number(patch: pytest.MonkeyPatch) -> None:
    right = Sums.value
    patch.setattr(Sums, "value", lambda self, kl_weight=1.0: right(self, kl_weight) * math.nan)


EXACT = [doubled_alpha, forgotten_weights, detached_weights, forgotten_prior, others_labels, broken, not_a_number]
SAMPLED = [closed_form_everywhere, no_score, own_share_alone]


@pytest.mark.parametrize("fault", [*EXACT, *SAMPLED], ids=lambda f: f.__name__)
def test_a_fault_in_the_derivation_is_caught(
    fault: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spec = with_objective(Z_THEN_Y, alpha=0.5, samples=2)
    monkeypatch.setattr(proving, "ESTIMATES", 400)
    fault(monkeypatch)
    path = tmp_path / "tiny.yaml"
    path.write_text(json.dumps(spec))
    done = CliRunner().invoke(app, ["prove", str(path)])
    assert done.exit_code == 1, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    *_, last = done.stdout.strip().split("\n")
    assert last.startswith("FAILED: ")
    caught = [line for line in done.stdout.split("\n") if "FAILED" in line]
    assert fault is broken or "Error" not in done.stdout  # a fault that breaks the code would say nothing
    where = "sampled" if fault in SAMPLED else "exact"
    assert any(where in line for line in caught[:-1]), done.stdout


def test_a_relaxed_draw_scored_at_its_largest_entry_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is in closed form the score of q is then flat: cold, most of the gradient is missing."""
    spec = load(with_objective(with_y("gumbel_softmax"), bound="iwae", samples=2))
    assert prove(spec).cooled[0].passed
    hardened_score(monkeypatch)
    found = prove(spec)
    assert not found.passed
    assert not found.cooled[0].passed
    assert all(line.passed for line in found.exact)


def test_a_failed_proof_is_json_that_every_reader_takes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    not_a_number(monkeypatch)
    path = tmp_path / "tiny.yaml"
    path.write_text(json.dumps(Z_THEN_Y))
    done = CliRunner().invoke(app, ["prove", str(path), "--json"])
    assert done.exit_code == 1
    found = json.loads(done.stdout, parse_constant=lambda word: pytest.fail(word))
    assert found["proved"] is False
    assert found["exact"][0]["difference"] is None


def test_the_shell_prints_a_proof_and_exits_with_0(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(json.dumps(Z_THEN_Y))
    done = CliRunner().invoke(app, ["prove", str(path), "--json", "--seed", "2", "--set", "objective.kl_weight=1"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["proved"] is True
    assert found["seed"] == 2
    assert [line["rows"] for line in found["exact"][:2]] == ["rows without labels", "rows with y labelled"]
    assert all(line["difference"] < 1e-9 for line in found["exact"])
    assert all(line["z"] <= line["limit"] for line in found["sampled"])


# ---- the oracle, held to other sums


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("words", [{}, {"label_term": "log_mean"}, {"bound": "iwae"}], ids=str)
@pytest.mark.parametrize("samples", [1, 2, 3])
def test_the_expectation_is_that_of_every_tuple_of_draws(words: Raw, samples: int) -> None:
    """e is enumerated above z, v is drawn below z: samples and combinations one by one, in plain loops."""
    two: Raw = {"distribution": "Categorical", "categories": 2}
    linear: Raw = {"mlp": []}
    nodes: Raw = {
        "x": {**two, "supervision": "full", "generative": {"parents": ["e", "y", "z"], "network": linear}},
        "e": {**two, "supervision": "none", "recognition": {"parents": ["x"], "network": linear}},
        "z": {**two, "supervision": "none", "recognition": {"parents": ["e"], "network": linear}},
        "y": {**two, "supervision": "partial", "recognition": {"parents": ["e", "z"], "network": linear}},
    }
    spec: Raw = {"version": 1, "nodes": nodes, "objective": {**words, "alpha": 0.7}}
    model = compiled(spec, 1)
    row = all_rows(spec, ["y"])[2]
    joint = Joint(Factors(model, spec), [row])
    whole = joint.particles(apart=["z"]).changed(lambda part: part[0].detach())
    log_q = joint.log_q["z"].detach()
    place = {(e, z): int(((joint.index["e"] == e) & (joint.index["z"] == z)).nonzero()) for e in (0, 1) for z in (0, 1)}
    total = 0.0
    for draws in itertools.product(itertools.product((0, 1), repeat=2), repeat=samples):  # z for e = 0 and for e = 1
        at = [place[e, each[e]] for each in draws for e in (0, 1)]
        chance = math.exp(sum(float(log_q[i]) for i in at))
        chosen = whole.changed(lambda part, at=at: part[at])
        bound = replace(chosen, log_mass=chosen.log_mass - math.log(samples)).bound(Words.of(spec))
        total += chance * float(bound)
    found = expected(joint, Words.of(spec), ["z"], samples)
    assert float(found[0].detach()) == pytest.approx(total, abs=1e-12)
    assert Draws.count(spec, {"e": 2, "z": 2}, ["z"]) == 4


def test_a_score_is_large_where_a_mean_is_off() -> None:
    draws = torch.randn(41, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = scores(draws, torch.tensor([0.0, 2.0, math.nan], dtype=torch.float64))
    assert abs(float(found[0])) < 4
    assert abs(float(found[1])) > 8
    assert math.isinf(float(found[2]))
    constant = torch.full((41, 1), 0.25, dtype=torch.float64)
    assert float(scores(constant, torch.tensor([0.25 + 1e-12], dtype=torch.float64))[0]) == 0
    assert abs(float(scores(constant, torch.tensor([0.26], dtype=torch.float64))[0])) > 1e6


def test_the_limit_is_that_of_student() -> None:
    """P(|T| > 2.704) = 0.01 at 40 degrees of freedom, by the tables."""
    assert t_limit(0.01, 40) == pytest.approx(2.704, abs=1e-3)
    assert t_tail(t_limit(1e-9, 40), 40) == pytest.approx(1e-9, rel=1e-4)
