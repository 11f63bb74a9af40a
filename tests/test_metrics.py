"""Metrics: which nodes they suit, what they measure against numpy, and own ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import sgc
from sgc.data.dataset import Rows
from sgc.errors import SpecError, UsageError
from sgc.evaluation.measurement import evaluate
from sgc.evaluation.prediction_scores import Score
from sgc.metrics.metrics import METRICS, possible
from sgc.metrics.own_metric import TAKEN
from sgc.runtime.streams import TensorRows
from sgc.spec.measured_nodes import measured
from sgc.trained.answer_advice import _compared
from sgc.trained.evaluation_words import error_text, labelled_text

MINE = '''
import pathlib
pathlib.Path(__file__).with_name("imported").touch()
import torch
from sgc.metrics import MeasuredNode, Metric, Pairs


class Within(Metric):
    """The share of numbers that are predicted to within a margin."""

    name = "within"
    title = "share within the margin"
    unit = "%"
    scale = 100.0
    lower_is_better = False

    def __init__(self, margin: float = 1.0) -> None:
        self.margin = margin

    def refuse(self, node: MeasuredNode) -> str:
        return "categories have no margin" if node.nominal else ""

    def distances(self, pairs: Pairs):
        return ((pairs.predicted - pairs.label).abs() <= self.margin).double()


class Nameless(Metric):
    def distances(self, pairs):
        raise AssertionError


class Taken(Within):
    name = "rmse"


class Rows(Within):
    name = "rows"


class Unsure(Within):
    name = "unsure"

    def refuse(self, node):
        return node.nothing


class Silent(Within):
    name = "silent"

    def refuse(self, node):
        return None


class Whole(Within):
    name = "whole"

    def distances(self, pairs):
        return super().distances(pairs).mean()


class Number(Within):
    name = "number"

    def distances(self, pairs):
        return 1.0


class Nan(Within):
    name = "lost"

    def distances(self, pairs):
        return pairs.label * torch.nan


class Fails(Within):
    name = "fails"

    def distances(self, pairs):
        return pairs.labels


class Odd(Within):
    name = "odd"

    def average(self, mean, standard_error):
        return mean
'''


def spec(w: Any = None, **nodes: Any) -> dict[str, Any]:  # Any: plain data
    """Three observed numbers, and w, of which a class of the user's or a word says how it is measured."""
    reads = {"parents": ["x"], "network": {"mlp": [4]}}
    plain: dict[str, Any] = {
        "version": 1,
        "nodes": {
            "x": {"distribution": "Normal", "shape": [3], "supervision": "full"},
            "w": {"distribution": "Normal", "shape": [2], "supervision": "partial", "recognition": reads},
            **{name: {"supervision": "partial", "recognition": reads, **node} for name, node in nodes.items()},
        },
        "evaluate": {"samples": 5, "metrics": {} if w is None else {"w": w}},
    }
    plain["nodes"]["x"]["generative"] = {"parents": [n for n in plain["nodes"] if n != "x"], "network": {"mlp": [4]}}
    return plain


def table(model: sgc.Model, **columns: Any) -> TensorRows:
    arrays = {name: np.asarray(each) for name, each in columns.items()}
    return TensorRows(Rows(arrays, np.arange(len(arrays["x"]))), model.outline, torch.zeros(()))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


def loaded(place: Path, plain: dict[str, Any], *, trust: bool = True) -> sgc.Spec:
    (place / "spec.yaml").write_text(yaml.safe_dump(plain))
    return sgc.load(place / "spec.yaml", trust=trust)


# ---- what each suits


def test_each_metric_suits_the_nodes_that_it_means_something_for() -> None:
    nodes = {
        "category": {"distribution": "Categorical", "categories": 3},
        "bits": {"distribution": "Bernoulli", "shape": [4]},
        "count": {"distribution": "Poisson"},
        "counts": {"distribution": "Poisson", "shape": [2]},
        "number": {"distribution": "Gamma"},
        "vector": {"distribution": "Normal", "shape": [3]},
        "shares": {"distribution": "Dirichlet", "shape": [3]},
        "phase": {"distribution": "VonMises"},
        "wind": {"distribution": "Normal", "shape": [2]},
        "grade": {"distribution": "Normal"},
    }
    plain = spec(**nodes)
    columns: dict[str, Any] = {name: {"column": name} for name in ("x", "w", *nodes)}
    columns["wind"]["transforms"] = [{"angle": "degrees"}]
    columns["grade"]["transforms"] = [{"one_of": ["low", "high"]}]
    plain["data"] = {"source": "npz", "file": "rows.npz", "columns": columns}
    model = sgc.compile(sgc.load(plain))
    numbers = ["rmse", "mae"]
    assert {name: possible(measured(model.outline, name)) for name in nodes} == {
        "category": ["error", *numbers],
        "bits": ["error", *numbers],
        "count": ["error", *numbers],
        "counts": ["error", *numbers, "angle"],
        "number": numbers,
        "vector": [*numbers, "angle"],
        "shares": [*numbers, "angle"],
        "phase": [*numbers, "angle"],
        "wind": [*numbers, "angle"],
        "grade": ["error", *numbers],
    }


def test_a_node_of_a_repeat_is_measured_as_one_of_its_steps() -> None:
    body = {"v": {"distribution": "Normal", "shape": [2], "supervision": "partial"}}
    body["v"]["recognition"] = {"parents": ["x"], "network": {"mlp": [4]}}
    plain = spec()
    plain["repeat"] = {"t": {"count": 2, "nodes": body}}
    plain["nodes"]["x"]["generative"]["parents"].append("t.v")
    plain["evaluate"]["metrics"] = {"t.v": "angle"}
    model = sgc.compile(sgc.load(plain))
    assert measured(model.outline, "t.v").event == (2,)
    plain["evaluate"]["metrics"] = {"t.v": "error"}
    with pytest.raises(SpecError) as problem:
        sgc.load(plain)
    assert [(fault.path, fault.message, fault.hint) for fault in problem.value.faults] == [
        (
            ("evaluate", "metrics", "t.v"),
            "'t.v' cannot be measured by 'error': its values are real numbers, and no prediction equals one exactly",
            "allowed: rmse, mae, angle",
        )
    ]


# ---- what each measures


def measure(model: sgc.Model, name: str, metric: str, guess: Any, truth: Any) -> float:
    rows = table(model, x=np.zeros((len(truth), 3)), **{name: truth})
    score = Score(model, name, rows, METRICS[metric])
    score.add(np.arange(rows.count), torch.as_tensor(guess))
    return score.error().value


def test_angles_of_a_circle_are_compared_the_shorter_way_around() -> None:
    model = sgc.compile(sgc.load(spec(phase={"distribution": "VonMises", "shape": [3]})))
    draw = np.random.default_rng(0)
    truth, wrong = draw.uniform(-np.pi, np.pi, (50, 3)), draw.uniform(-3, 3, (50, 3))
    guess = truth + wrong + 2 * np.pi * draw.integers(-2, 3, (50, 3))
    wanted = {
        "rmse": np.sqrt((wrong**2).mean()),
        "mae": np.abs(wrong).mean(),
        "angle": np.abs(np.degrees(wrong)).mean(),
    }
    for metric, value in wanted.items():
        assert measure(model, "phase", metric, guess, truth) == pytest.approx(value, rel=1e-5)


def test_the_angle_of_a_vector_is_that_of_the_whole() -> None:
    model = sgc.compile(sgc.load(spec()))
    guess, truth = np.array([[3.0, 0.0], [1.0, 1.0]]), np.array([[0.0, 2.0], [1.0, 0.0]])
    assert measure(model, "w", "angle", guess, truth) == pytest.approx((90 + 45) / 2)


def test_wrong_counts_are_those_that_round_to_another() -> None:
    model = sgc.compile(sgc.load(spec(count={"distribution": "Poisson"})))
    assert measure(model, "count", "error", [0.4, 1.6, 3.2, 7.0], [0, 1, 3, 9]) == 0.5


# ---- own ones


def test_an_own_metric_measures_what_it_says(place: Path) -> None:
    model = sgc.compile(loaded(place, spec({"python": "mine:Within", "options": {"margin": 0.4}}))).eval()
    draw = np.random.default_rng(0)
    x, w = draw.normal(size=(80, 3)), draw.normal(size=(80, 2))
    w[60:] = np.nan  # no label
    found = evaluate(model, table(model, x=x, w=w), 5, 0).from_q["w"]
    guess = model.conditional("w", "recognition", {"x": torch.from_numpy(x).float()}).mean.detach().numpy()
    right = (np.abs(guess - w)[:60] <= 0.4).mean(1)
    assert found.value == pytest.approx(right.mean())
    assert found.standard_error == pytest.approx(right.std(ddof=1) / np.sqrt(60))
    assert list(found.plain())[:3] == ["within", "standard_error", "rows"]
    assert error_text(found) == f"{100 * found.value:.2f} ± {100 * found.standard_error:.2f} %"
    assert labelled_text(found, 80) == " (the 60 rows that have a label)"
    assert not labelled_text(found, 60)


@pytest.mark.parametrize(("metric", "better"), [("mine:Within", "posterior"), ("mine:Distance", "q")])
def test_the_better_answer_of_a_metric_that_rises_has_more_of_it(place: Path, metric: str, better: str) -> None:
    """q is off by 2 in every number of 40 rows, the other answer in every number but a few."""
    more = '\n\nclass Distance(Within):\n    name = "distance"\n    lower_is_better = True\n'
    (place / "mine.py").write_text(MINE + more)
    model = sgc.compile(loaded(place, spec({"python": metric})))
    draw = np.random.default_rng(0)
    w = draw.normal(size=(40, 2))
    rows = table(model, x=np.zeros((40, 3)), w=w)
    scores = [Score(model, "w", rows), Score(model, "w", rows)]
    scores[0].add(np.arange(40), torch.from_numpy(w + 2))
    scores[1].add(np.arange(40), torch.from_numpy(w + 2 * (draw.random((40, 2)) < 0.2)))
    compared = _compared("w", *scores)
    assert compared.better == better
    assert compared.q == 0
    share = 100 * compared.posterior
    assert f"(share within the margin 0 of q, {share:.4g} % of the posterior)" in compared.words


def test_nothing_is_imported_without_trust(place: Path) -> None:
    with pytest.raises(SpecError) as problem:
        loaded(place, spec({"python": "mine:Within"}), trust=False)
    (fault,) = problem.value.faults
    assert (fault.path, fault.message, fault.hint) == (
        ("evaluate", "metrics", "w", "python"),
        "own code: it would import 'mine:Within'",
        "allowed with trust=True",
    )
    assert not (place / "imported").exists()


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        ({"python": "mine:Nameless"}, "'mine:Nameless': its class lacks 'name', which must be a text"),
        ({"python": "mine:Taken"}, "'mine:Taken': 'rmse' is the name of another metric; give its class another"),
        (
            {"python": "mine:Rows"},
            "'mine:Rows': its name is 'rows', wanted a letter, then letters, digits or '_', and none of "
            + ", ".join(TAKEN),
        ),
        (
            {"python": "mine:Within", "options": {"margins": 1}},
            "'mine:Within' cannot be made: TypeError: Within.__init__() got an unexpected keyword argument 'margins'",
        ),
        ({"python": "mine:MeasuredNode"}, " is not a class derived from sgc.metrics.metric.Metric"),
        ({"python": "mine:Nothing"}, "'mine:Nothing': no 'Nothing' in "),
        ({"python": "nowhere:Metric"}, "'nowhere:Metric' cannot be imported: no module 'nowhere' in "),
        (
            {"python": "mine:Unsure"},
            "'mine:Unsure': tried refuse: own code failed: AttributeError: 'MeasuredNode' object has no attribute "
            "'nothing' (",
        ),
        ({"python": "mine:Silent"}, "'mine:Silent': its refuse() returned NoneType, wanted a text"),
    ],
    ids=lambda each: each["python"] if isinstance(each, dict) else "",
)
def test_an_own_metric_that_is_none_is_told_at_its_place(place: Path, metric: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError) as problem:
        loaded(place, spec(metric))
    (fault,) = problem.value.faults
    assert fault.path == ("evaluate", "metrics", "w", "python")
    assert told in fault.message


def test_an_own_metric_refuses_a_node_in_its_own_words(place: Path) -> None:
    plain = spec(y={"distribution": "Categorical", "categories": 3})
    plain["evaluate"]["metrics"] = {"y": {"python": "mine:Within"}}
    with pytest.raises(SpecError) as problem:
        loaded(place, plain)
    (fault,) = problem.value.faults
    assert (fault.path, fault.message, fault.hint) == (
        ("evaluate", "metrics", "y"),
        "'y' cannot be measured by 'within': categories have no margin",
        "allowed: error, rmse, mae",
    )


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        ("Whole", "'whole': its distances are [], wanted [2, …]: some for each row"),
        ("Number", "'number': its distances are a float, wanted a tensor"),
        ("Nan", "'mine:Nan': its distances are [nan, nan] between labels and themselves"),
        ("Fails", "'mine:Fails': tried distances: AttributeError: 'Pairs' object has no attribute 'labels'"),
        ("Odd", "'mine:Odd': tried average: TypeError: cannot unpack non-iterable float object"),
    ],
)
def test_an_own_metric_is_tried_before_anything_is_trained(place: Path, metric: str, told: str) -> None:
    found = loaded(place, spec({"python": f"mine:{metric}"}))
    with pytest.raises(UsageError) as problem:
        sgc.compile(found)
    assert str(problem.value) == f"node 'w': {told}"


def test_no_name_of_a_metric_hides_what_stands_beside_it(place: Path) -> None:
    """Every key of a node's results, of categories, numbers and a node that training had no label of."""
    plain = spec(y={"distribution": "Categorical", "categories": 3})
    model = sgc.compile(loaded(place, plain)).eval()
    draw = np.random.default_rng(0)
    rows = table(model, x=draw.normal(size=(9, 3)), w=draw.normal(size=(9, 2)), y=draw.integers(0, 3, 9))
    found = evaluate(model, rows, 5, 0, clusters=["y"])
    for name, each in found.from_q.items():
        beside = set(each.plain()) - {each.metric.name}
        assert beside <= set(TAKEN), name


def test_check_of_an_own_metric_imports_no_torch_where_its_file_does_not(place: Path) -> None:
    (place / "mine.py").write_text(MINE.replace("import torch\n", ""))
    (place / "spec.yaml").write_text(yaml.safe_dump(spec({"python": "mine:Within"})))
    code = (
        "import sys\nfrom sgc.cli import app\n"
        f"sys.argv = ['sgc', 'check', {str(place / 'spec.yaml')!r}, '--trust']\n"
        "try:\n    app()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "assert 'mine' in sys.modules and 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
