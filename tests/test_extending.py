"""A bound and an estimator of a third party: a file beside the spec, through check, inspect, prove and training."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import sgc
from sgc.cli import app
from sgc.errors import RunError, SpecError
from sgc.objectives.iwae import Iwae

MINE = '''
from collections.abc import Iterator
from typing import ClassVar

from sgc.objectives import (
    Bound, Charging, Draw, Estimator, Expression, Ingredients, LogMean, BoundWords, Product, Scale, Scaled, alpha_of
)


class Renyi(Bound):
    """1/(1-a) log E_r[ (p/r)^(1-a) ] + α log E_r[ w ] (Li and Turner 2016, Eq. 4)."""

    name = "renyi"
    source = "Eq. (4), Li and Turner 2016"
    closed_kl_refusal = "renyi takes no closed form"

    def __init__(self, order: float = 0.5) -> None:
        self.order = order

    def expression(self, given: Ingredients, words: BoundWords) -> Expression:
        power = 1 - self.order
        main = Scaled(LogMean(Product(given.scores, "p / r", power)), Scale(1 / power))
        whole = LogMean(Product(given.labels, "w"), name="labels")
        labels = [Scaled(whole, alpha_of(given.labels[-1]))] if given.labels else []
        return Expression((main, *labels))

    def warnings(self, given: Ingredients, words: BoundWords) -> Iterator[str]:
        if words.samples == 1:
            yield "one sample: renyi is the ELBO's estimate"


class Leaner(Estimator):
    """REINFORCE whose baseline is the mean cost of all samples but one's own, written out (Kool et al. 2019)."""

    name = "leaner"
    tag = "sampled"
    charged: ClassVar[bool] = True
    own_costs: ClassVar[bool] = True
    strength: float = 1.0

    @staticmethod
    def refuse(family, event):
        return ""

    def draw(self, given: Draw):
        return given.family.draw(given.q, given.leading)

    def surrogate(self, log, given, drawn, charging: Charging):
        costs = charging.costs().expand(given.leading)
        count = costs.shape[-2]
        others = (costs.sum(-2, keepdim=True) - costs) / max(count - 1, 1)
        signal = (costs - self.strength * others * (count > 1)).detach()
        return ((log - log.detach()) * signal).sum(tuple(range(log.dim() - 1)))


class Wrong(Leaner):
    """Its draws are charged with twice what they cost."""

    name = "wrong"

    def surrogate(self, log, given, drawn, charging):
        return 2 * super().surrogate(log, given, drawn, charging)


class Nameless(Bound):
    def expression(self, given, words):
        raise AssertionError
'''
TWO = {"distribution": "Categorical", "categories": 3}
SPEC: dict[str, Any] = {  # Any: plain data
    "version": 1,
    "name": "mine",
    "nodes": {
        "x": {
            "distribution": "Bernoulli",
            "shape": [4],
            "supervision": "full",
            "generative": {"parents": ["y", "v"], "network": {"mlp": [4]}},
        },
        "v": {
            **TWO,
            "supervision": "none",
            "recognition": {
                "parents": ["x", "y"],
                "network": {"mlp": [4]},
                "estimator": {"python": "mine:Leaner", "options": {"strength": 0.5}},
            },
        },
        "y": {**TWO, "supervision": "partial", "recognition": {"parents": ["x"], "network": {"mlp": [4]}}},
    },
    "objective": {"samples": 2},
    "data": {
        "source": "npz",
        "file": "rows.npz",
        "columns": {"x": {"column": "x"}, "y": {"column": "y"}},
        "labels": {"y": {"fraction": 0.5}},
        "split": {"test": 10},
    },
    "train": {"epochs": 2, "batch_size": 16},
}
BOUND = {"python": "mine:Renyi", "options": {"order": 0.3}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import numpy as np

    folder = tmp_path_factory.mktemp("mine")
    (folder / "mine.py").write_text(MINE)
    draw = np.random.default_rng(0)
    y = draw.integers(0, 3, 60)
    np.savez(folder / "rows.npz", x=(draw.random((60, 4)) < 0.2 + 0.3 * y[:, None]).astype(float), y=y)
    return folder


def written(place: Path, **objective: Any) -> Path:
    spec = json.loads(json.dumps(SPEC))
    spec["objective"] |= objective
    if "bound" in objective:
        spec["nodes"]["v"]["recognition"]["estimator"] = "score_function"
    path = place / "spec.yaml"
    path.write_text(json.dumps(spec))
    return path


def call(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize("objective", [{}, {"bound": BOUND}], ids=["estimator", "bound"])
def test_what_a_third_party_adds_is_checked_shown_proved_and_trained(
    place: Path, tmp_path: Path, objective: dict[str, Any]
) -> None:
    path = written(place, **objective)
    name = "renyi" if objective else "leaner"
    for command in ("check", "inspect"):
        done = call(command, path, "--trust")
        assert done.exit_code == 0, done.output
    assert name in done.stdout
    done = call("prove", path, "--trust")
    assert done.exit_code == 0, done.output
    assert "proved: 2 patterns" in done.stdout
    done = call("train", path, "--trust", "-o", tmp_path / "run")
    assert done.exit_code == 0, done.output
    done = call("evaluate", tmp_path / "run", "--trust")
    assert done.exit_code == 0, done.output


def test_a_formula_of_ones_own_is_written_as_it_is_computed(place: Path) -> None:
    done = call("inspect", written(place, bound=BOUND), "--trust")
    assert "L = 1.42857 log E_r[ (p / r)^0.7 ]    (Eq. (4), Li and Turner 2016)" in done.stdout
    assert "+ α log E_r[ w ]" in done.stdout


def test_the_renyi_bound_of_order_0_is_iwae_and_lies_below_it_above(place: Path) -> None:
    """Order 0 is log E[p/r] itself; the bound falls with its order (Li and Turner 2016, Theorem 1), here exactly."""
    spec = json.loads(written(place).read_text())
    spec["nodes"]["v"]["recognition"]["estimator"] = "enumerate"
    rows = {"x": torch.eye(4)[:3], "y": torch.tensor([-1, -1, 1])}
    found = []
    for order in (0.0, 0.3, 0.9):
        spec["objective"]["bound"] = {"python": "mine:Renyi", "options": {"order": order}}
        path = place / "exact.yaml"
        path.write_text(json.dumps(spec))
        torch.manual_seed(0)
        model = sgc.compile(sgc.load(path, trust=True), trust=True).double()
        found.append(model.objective(rows).bound)
        own = model.objective(rows, bound="iwae").bound
    torch.testing.assert_close(found[0], own)
    assert bool((found[0] >= found[1] - 1e-12).all())
    assert bool((found[1] >= found[2] - 1e-12).all())
    assert model.plan(bound="iwae").words.bound == Iwae()
    assert model.plan(bound="renyi").words.bound.name == "renyi"


def test_a_wrong_estimator_is_caught_by_prove(place: Path) -> None:
    spec = json.loads(written(place).read_text())
    spec["nodes"]["v"]["recognition"]["estimator"] = {"python": "mine:Wrong"}
    (place / "wrong.yaml").write_text(json.dumps(spec))
    done = call("prove", place / "wrong.yaml", "--trust")
    assert done.exit_code == 1
    assert "FAILED" in done.stdout


@pytest.mark.parametrize("objective", [{}, {"bound": BOUND}], ids=["estimator", "bound"])
def test_nothing_is_imported_without_trust(place: Path, objective: dict[str, Any]) -> None:
    path = written(place, **objective)
    what = "mine:Renyi" if objective else "mine:Leaner"
    with pytest.raises(SpecError) as problem:
        sgc.load(path)
    assert [fault.message for fault in problem.value.faults] == [f"own code: it would import '{what}'"]


@pytest.mark.parametrize(
    ("bound", "told"),
    [
        ({"python": "mine:Renyi", "options": {"ordre": 1}}, "'mine:Renyi' cannot be made: TypeError: "),
        ({"python": "mine:Renyi", "options": {"order": "half"}}, "'mine:Renyi': order: Input should be a valid number"),
        ({"python": "mine:Leaner"}, "is not a class derived from sgc.objectives.bound.Bound"),
        ({"python": "mine:Nameless"}, "'mine:Nameless': its class lacks 'name', which must be a text"),
        ({"python": "mine:Nothing"}, "no 'Nothing' in "),
        ({"python": "nowhere:Bound"}, "'nowhere:Bound' cannot be imported: no module 'nowhere'"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_bound_that_is_none_is_told_at_its_place(place: Path, bound: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError) as problem:
        sgc.load(written(place, bound=bound), trust=True)
    (fault,) = problem.value.faults
    assert fault.path == ("objective", "bound", "python")
    assert told in fault.message


@pytest.mark.parametrize(
    ("estimator", "told"),
    [
        ({"python": "mine:Leaner", "options": {"strength": "much"}}, "'mine:Leaner': strength: "),
        ({"python": "mine:Leaner", "options": {"wrong": 1}}, "'mine:Leaner': wrong: "),
        ({"python": "mine:Renyi"}, "is not a class derived from sgc.objectives.estimator.Estimator"),
    ],
    ids=["type", "unknown", "bound"],
)
def test_an_estimator_that_is_none_is_told_at_its_place(place: Path, estimator: dict[str, Any], told: str) -> None:
    spec = json.loads(written(place).read_text())
    spec["nodes"]["v"]["recognition"]["estimator"] = estimator
    (place / "odd.yaml").write_text(json.dumps(spec))
    with pytest.raises(SpecError) as problem:
        sgc.load(place / "odd.yaml", trust=True)
    (fault,) = problem.value.faults
    assert fault.path == ("nodes", "v", "recognition", "estimator", "python")
    assert told in fault.message


BOUND_SLIPS = {
    "return None": "the bound 'slip': its expression() gives nothing, wanted an Expression",
    "return Expression((LogMean(Product(given.scores)),))": "a part of its expression is a LogMean, wanted a Scaled",
    "return Expression((Scaled(LogMean(Product((Score('ghost', 'p'),)))),))": "the log of 'ghost' is in a Product",
    "return Expression((Scaled(LogMean(Product(given.scores[0]))),))": "is used as a Product, wanted a Product of",
    "return Expression((Scaled(LogMean(Product(given.scores, power=0))),))": "a Product has the power 0, wanted",
    "return Expression((Scaled(LogMean(Product(given.scores)), Scale('half')),))": "is not a Scale of a finite number",
    "return Expression((Scaled(LogMean(Product(given.scores)), Scale(1.0, 'y')),))": "weighed by the alpha of 'y', and "
    "these rows have the labels: none",
    "return Expression((Scaled(Mean(given.scores)),))": "the values of a Mean are not a tuple of Values",
    "return 1 / 0": "the bound 'slip': tried expression: own code failed: ZeroDivisionError: division by zero (",
}


@pytest.mark.parametrize("body", BOUND_SLIPS)
def test_a_bound_that_is_no_expression_is_told_at_its_place(tmp_path: Path, body: str) -> None:
    words = "from sgc.objectives import *\n\n\nclass Slip(Bound):\n    name = source = closed_kl_refusal = 'slip'\n"
    (tmp_path / "mine.py").write_text(f"{words}\n    def expression(self, given, words):\n        {body}\n")
    with pytest.raises(SpecError) as problem:
        sgc.load(written(tmp_path, bound={"python": "mine:Slip"}), trust=True)
    (fault,) = problem.value.faults
    assert fault.path == ("objective", "bound", "python")
    assert BOUND_SLIPS[body] in fault.message


def test_alpha_is_refused_beside_a_bound_that_has_none(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        MINE.replace('    name = "renyi"\n', '    name = "renyi"\n    has_alpha = False\n')
    )
    with pytest.raises(SpecError) as problem:
        sgc.load(written(tmp_path, bound=BOUND, alpha=2), trust=True)
    (fault,) = problem.value.faults
    assert (fault.path, fault.message) == (("objective", "alpha"), "forbidden: the renyi bound has no alpha")


def test_a_bound_that_takes_a_closed_form_under_a_logarithm_is_told(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE.replace('    closed_kl_refusal = "renyi takes no closed form"\n', ""))
    spec = json.loads(written(tmp_path, bound=BOUND).read_text())
    spec["nodes"]["z"] = {"distribution": "Normal", "supervision": "none", "recognition": {"parents": ["x"]}}
    spec["nodes"]["z"]["recognition"]["network"] = {"mlp": []}
    (tmp_path / "spec.yaml").write_text(json.dumps(spec))
    with pytest.raises(SpecError) as problem:
        sgc.load(tmp_path / "spec.yaml", trust=True)
    assert "set closed_kl_refusal in its class" in problem.value.faults[0].message


ESTIMATOR_SLIPS = {
    "name = 'pathwise'": "'pathwise' is the name of another estimator; give its class another one",
    "charged: ClassVar[bool] = False": "it has a surrogate(), and does not say charged",
    "def refuse(self, family, event): return ''": "its refuse() has to take (family, event), as a static method",
    "def draw(self): return None": "its draw() has to take (given)",
}


@pytest.mark.parametrize("line", ESTIMATOR_SLIPS)
def test_an_estimator_that_lacks_something_is_told_at_its_place(tmp_path: Path, line: str) -> None:
    (tmp_path / "mine.py").write_text(f"{MINE}\n\nclass Slip(Leaner):\n    name = 'slip'\n    {line}\n")
    spec = json.loads(written(tmp_path).read_text())
    spec["nodes"]["v"]["recognition"]["estimator"] = {"python": "mine:Slip"}
    (tmp_path / "spec.yaml").write_text(json.dumps(spec))
    with pytest.raises(SpecError) as problem:
        sgc.load(tmp_path / "spec.yaml", trust=True)
    (fault,) = problem.value.faults
    assert ESTIMATOR_SLIPS[line] in fault.message


RUN_SLIPS = {
    "def draw(self, given): return None": "draw() of the estimator 'slip' gives a NoneType, wanted a Point",
    "def surrogate(self, log, given, drawn, charging): return None": "gives a NoneType, wanted a tensor",
    "def surrogate(self, log, given, drawn, charging): return log": "gives the shape [3, 2, 3], wanted one number",
    "def surrogate(self, log, given, drawn, charging): return log.sum((0, 1))": "its value has to be 0",
}


@pytest.mark.parametrize("line", RUN_SLIPS)
def test_what_an_estimator_gives_is_held_to_its_shape(tmp_path: Path, line: str) -> None:
    (tmp_path / "mine.py").write_text(f"{MINE}\n\nclass Slip(Leaner):\n    name = 'slip'\n    {line}\n")
    spec = json.loads(written(tmp_path).read_text())
    spec["nodes"]["v"]["recognition"]["estimator"] = {"python": "mine:Slip"}
    (tmp_path / "spec.yaml").write_text(json.dumps(spec))
    model = sgc.compile(sgc.load(tmp_path / "spec.yaml", trust=True), trust=True)
    with pytest.raises(RunError, match="node 'v': ") as problem:
        model.objective({"x": torch.eye(4)[:3], "y": torch.tensor([-1, -1, -1])})
    assert RUN_SLIPS[line] in str(problem.value)


def test_a_biased_estimator_of_ones_own_has_its_bias_measured(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(f"{MINE}\n\nclass Slip(Wrong):\n    name = 'slip'\n    tag = 'biased'\n")
    spec = json.loads(written(tmp_path).read_text())
    spec["nodes"]["v"]["recognition"]["estimator"] = {"python": "mine:Slip"}
    (tmp_path / "spec.yaml").write_text(json.dumps(spec))
    done = call("prove", tmp_path / "spec.yaml", "--trust")
    assert done.exit_code == 0, done.output
    assert "v: mine:Slip: gradient off by " in done.stdout


def test_an_estimator_says_where_it_cannot_be_charged(place: Path) -> None:
    spec = json.loads(written(place).read_text())
    spec["objective"]["bound"] = "iwae"
    (place / "iwae.yaml").write_text(json.dumps(spec))
    with pytest.raises(SpecError) as problem:
        sgc.load(place / "iwae.yaml", trust=True)
    (fault,) = problem.value.faults
    assert fault.message == "'leaner' needs each sample's own costs, and under one logarithm the samples are coupled"


@pytest.mark.usefixtures("double_precision")
def test_disarm_has_the_gradient_of_a_coin_and_less_noise() -> None:
    """Of one coin: the mean of 200 estimates is the exact gradient, |z| < 5 (a false alarm in 10⁶).

    Its spread is below that of two independent draws with a leave-one-out baseline.
    """
    spread = {}
    exact = coin("enumerate")
    wanted = gradient(exact)
    for name in ("disarm", "score_function"):
        draws = torch.stack([gradient(coin(name)) for _ in range(200)])
        error = draws.std(0) / math.sqrt(len(draws))
        assert bool(((draws.mean(0) - wanted).abs() < 5 * error).all())
        spread[name] = float(draws.std())
    assert spread["disarm"] < spread["score_function"]


def coin(estimator: str) -> sgc.Model:
    q = {"parameters": {"logits": {"start": 0.3, "learn": True}}, "estimator": estimator}
    b = {"distribution": "Bernoulli", "supervision": "none", "recognition": q}
    p = {"parents": ["b"], "network": {"mlp": []}, "parameters": {"scale": 1.0}}
    nodes = {"x": {"distribution": "Normal", "supervision": "full", "generative": p}, "b": b}
    fixed = torch.random.get_rng_state()
    torch.manual_seed(1)
    model = sgc.compile(sgc.load({"version": 1, "nodes": nodes, "objective": {"samples": 2, "kl": "sampled"}}))
    torch.random.set_rng_state(fixed)
    return model


def gradient(model: sgc.Model) -> torch.Tensor:
    """The gradient of q's logits at ten rows of 0.7."""
    logits = [p for name, p in model.named_parameters() if name.startswith("recognition")]
    return torch.stack(torch.autograd.grad(model.objective({"x": torch.full((10,), 0.7)}).loss, logits))
