"""Calibration: against sums row by row, and by its laws on labels drawn from the probabilities themselves."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import changed, small

import sgc
from sgc.data.dataset import Rows
from sgc.evaluation.calibration import Calibrating, Calibration
from sgc.evaluation.measurement import evaluate
from sgc.runtime.batch import prepare
from sgc.runtime.posterior import Posterior
from sgc.runtime.streams import TensorRows
from sgc.spec.resolver import outline


def calibrate(probabilities: torch.Tensor, labels: torch.Tensor) -> Calibration:
    calibrating = Calibrating()
    calibrating.add(probabilities, labels)
    return calibrating.calibration()


def row_by_row(probabilities: Sequence[Sequence[float]], labels: Sequence[int]) -> tuple[float, float, float]:
    """Sum the calibration error, the log loss and the Brier score by the letter of their definitions."""
    inside: dict[int, list[tuple[float, bool]]] = {}
    loss = brier = 0.0
    for each, label in zip(probabilities, labels, strict=True):
        top = max(each)
        number = next(m for m in range(1, 16) if (m - 1) / 15 < top <= m / 15 or m == 15)
        inside.setdefault(number, []).append((top, each.index(top) == label))
        loss -= math.log(each[label])
        brier += sum((p - (k == label)) ** 2 for k, p in enumerate(each))
    gaps = [abs(sum(right for _, right in found) - sum(top for top, _ in found)) for found in inside.values()]
    return sum(gaps) / len(labels), loss / len(labels), brier / len(labels)


@pytest.mark.parametrize("categories", [2, 3, 10])
def test_it_is_what_its_definition_says(categories: int) -> None:
    draw = np.random.default_rng(categories)
    probabilities = draw.dirichlet(np.full(categories, 0.4), 500)
    probabilities[:3] = np.eye(categories)[0] * 0.8 + 0.2 / categories
    labels = draw.integers(0, categories, 500)
    found = calibrate(torch.tensor(probabilities), torch.tensor(labels))
    wanted = row_by_row(probabilities.tolist(), labels.tolist())
    assert (found.error, found.log_loss, found.brier) == pytest.approx(wanted, rel=1e-9)
    assert sum(each.rows for each in found.bins) == 500
    assert all(each.low < each.confidence <= each.high for each in found.bins)


def test_a_probability_on_an_edge_belongs_to_the_bin_below() -> None:
    found = calibrate(torch.tensor([[0.6, 0.4], [1.0, 0.0]], dtype=torch.float64), torch.tensor([0, 0]))
    assert [(round(each.low * 15), round(each.high * 15)) for each in found.bins] == [(8, 9), (14, 15)]
    assert found.error == pytest.approx(0.2)


def test_labels_drawn_from_the_probabilities_are_calibrated_and_nothing_scores_better() -> None:
    # of n labels drawn from p, a bin of n_m has a gap of at most 0.4 / √n_m in the mean, so that the error is at most
    # 0.4 √(15 / n): 0.0035 here; seeded, and twice that is allowed
    draw = np.random.default_rng(0)
    truth = draw.dirichlet([0.5, 1, 2], 200_000)
    labels = torch.tensor((truth.cumsum(1) < draw.random((200_000, 1))).sum(1))
    honest = calibrate(torch.tensor(truth), labels)
    assert honest.error < 0.007
    few = calibrate(torch.tensor(truth[:2000]), labels[:2000])
    assert 3 * honest.error < few.error < 0.07  # it falls as 1/√n
    for power in (0.4, 3):  # too timid, too bold
        bent = truth**power
        other = calibrate(torch.tensor(bent / bent.sum(1, keepdims=True)), labels)
        assert other.error > 0.08
        assert other.log_loss > honest.log_loss
        assert other.brier > honest.brier


def test_a_label_held_impossible_costs_without_end() -> None:
    found = calibrate(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))
    assert (found.log_loss, found.brier, found.error) == (math.inf, 1.0, 0.5)
    assert found.plain()["nll"] is None
    json.dumps(found.plain(), allow_nan=False)


def measured(y: np.ndarray, scale: float = 1.0, **changes: Any) -> tuple[Any, torch.Tensor]:
    """Evaluate a small model on 40 rows, x of this scale; what q says of y in each."""
    spec = changed(small(), **changes)
    model = sgc.compile(sgc.load(spec)).eval()
    x = scale * np.random.default_rng(0).normal(size=(40, 3))
    table = TensorRows(Rows({"x": x, "y": y}, np.arange(40)), outline(sgc.load(spec)), torch.zeros(()))
    return evaluate(model, table, 5, 0), model.conditional("y", "recognition", {"x": x}).mean.detach().double()


def test_an_evaluation_holds_it_against_the_labels_that_are_there() -> None:
    y = np.random.default_rng(1).integers(0, 3, 40)
    y[30:] = -1
    found, probabilities = measured(y)
    wanted = row_by_row(probabilities[:30].tolist(), y[:30].tolist())
    for errors in (found.from_q, found.from_posterior):
        assert errors["y"].calibration is not None
    made = found.from_q["y"].calibration
    assert (made.error, made.log_loss, made.brier) == pytest.approx(wanted, rel=1e-5)


GRAPHS: dict[str, dict[str, Any]] = {
    "q(z | x, y)": {},
    "q(y | x, z)": {"nodes__y__recognition__parents": ["x", "z"], "nodes__z__recognition__parents": ["x"]},
    "drawn": {"nodes__y__recognition__estimator": "score_function"},
}


def log_shares(dtype: torch.dtype, scale: float, weighted: bool, **changes: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the logs of the probabilities of 20 labels, summed as logs, and those of the probabilities themselves."""
    torch.manual_seed(0)
    model = sgc.compile(sgc.load(small(**changes))).to(dtype).eval()
    draw = np.random.default_rng(0)
    x, label = torch.tensor(scale * draw.normal(size=(20, 3)), dtype=dtype), torch.tensor(draw.integers(0, 3, 20))
    parts, _ = prepare(model.outline, {"x": x}, model.like)
    with torch.no_grad():
        (sums,) = model.sums(parts, exact=True, bound="iwae", samples=4)
        posterior = Posterior(sums, model.outline)
        found = posterior.log_share("y", label, weighted=weighted)
        assert found is not None
        return found, posterior.mean("y", weighted=weighted).gather(1, label.unsqueeze(1)).squeeze(1).log()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", GRAPHS)
def test_the_log_of_a_label_is_that_of_its_probability_and_does_not_underflow(name: str, weighted: bool) -> None:
    found, wanted = log_shares(torch.float64, 1.0, weighted, **GRAPHS[name])
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    far, gone = log_shares(torch.float32, 300.0, weighted, **GRAPHS[name])
    assert bool(far.isfinite().all())
    assert bool(gone.isinf().any())  # probabilities below the smallest float
    known = gone > -60
    torch.testing.assert_close(far[known], gone[known], rtol=1e-5, atol=1e-5)
    if not weighted and name != "q(y | x, z)":  # q(y | x) alone, in float64
        torch.testing.assert_close(
            far.double(), log_shares(torch.float64, 300.0, False, **GRAPHS[name])[1], rtol=1e-4, atol=1e-4
        )


def test_what_an_evaluation_says_of_far_labels_is_finite() -> None:
    y = np.random.default_rng(1).integers(0, 3, 40)
    found, _ = measured(y, scale=300.0)
    for errors in (found.from_q, found.from_posterior):
        assert errors["y"].calibration is not None
        assert errors["y"].calibration.impossible == 0
        assert errors["y"].calibration.log_loss > 10


def test_a_bernoulli_label_is_one_of_two_and_a_grey_one_is_none() -> None:
    bernoulli = {"nodes__y__distribution": "Bernoulli", "nodes__y__categories": None}
    y = np.random.default_rng(1).integers(0, 2, 40).astype(float)
    found, ones = measured(y, **bernoulli)
    both = torch.stack([1 - ones, ones], -1).tolist()
    made = found.from_q["y"].calibration
    assert (made.error, made.log_loss, made.brier) == pytest.approx(row_by_row(both, y.astype(int).tolist()), rel=1e-5)
    y[0] = 0.5
    assert measured(y, **bernoulli)[0].from_q["y"].calibration is None
    normal = {"nodes__y__distribution": "Normal", "nodes__y__categories": None}
    assert measured(y, **normal)[0].from_q["y"].calibration is None


# ---- numbers

QUANTILES = {"50%": 0.6744897501960817, "90%": 1.6448536269514722}  # of the standard normal, from tables


def normal_labels(**changes: Any) -> tuple[Any, Any]:
    """Evaluate a model on 4000 labels drawn from its own q, a normal; also q's mean and deviation, and the labels."""
    spec = changed(small(), nodes__y__distribution="Normal", nodes__y__categories=None, **changes)
    torch.manual_seed(0)
    model = sgc.compile(sgc.load(spec)).eval()
    x = np.random.default_rng(0).normal(size=(4000, 3))
    q = model.conditional("y", "recognition", {"x": x})
    y = q.sample()
    table = TensorRows(Rows({"x": x, "y": y.numpy()}, np.arange(4000)), outline(sgc.load(spec)), torch.zeros(()))
    return evaluate(model, table, 2, 0).from_q["y"], (q.mean.detach(), q.stddev.detach(), y)


def test_intervals_of_q_hold_what_q_draws_as_often_as_they_say() -> None:
    found, (mean, spread, y) = normal_labels()
    shares = {level: float(((y - mean).abs() <= width * spread).double().mean()) for level, width in QUANTILES.items()}
    assert found.coverage == pytest.approx(shares, abs=1e-3)  # a label on the very edge
    assert found.coverage["50%"] == pytest.approx(0.5, abs=0.04)  # 5 deviations of 4000 labels
    assert found.coverage["90%"] == pytest.approx(0.9, abs=0.024)


def test_intervals_are_of_all_that_q_says() -> None:
    # q(y) is a mixture over z, N(0, 1) in every row; q(y | z) = N(z, 0.1), so that it is N(0, 1.01). 0.06 and 0.04 are
    # 5 deviations of 2000 labels, and what 100 draws of z leave open
    spec = changed(
        small(nodes__y__distribution="Normal", nodes__y__categories=None),
        nodes__z={
            "distribution": "Normal",
            "supervision": "none",
            "recognition": {"parameters": {"loc": 0, "scale": 1}},
        },
        nodes__y__recognition={"parents": ["z"], "network": {"mlp": []}, "parameters": {"scale": 0.1}},
    )
    model = sgc.compile(sgc.load(spec)).eval()
    with torch.no_grad():
        model.get_parameter("recognition.y_.heads.weights.0").fill_(1)
        model.get_parameter("recognition.y_.heads.bias").fill_(0)
    y = np.random.default_rng(2).normal(0, np.sqrt(1.01), 2000)
    values = {"x": np.zeros((2000, 3)), "y": y}
    table = TensorRows(Rows(values, np.arange(2000)), outline(sgc.load(spec)), torch.zeros(()))
    found = evaluate(model, table, 100, 0).from_q["y"].coverage
    assert found is not None
    assert found["50%"] == pytest.approx(0.5, abs=0.06)
    assert found["90%"] == pytest.approx(0.9, abs=0.04)


def test_intervals_are_of_the_mixture_over_what_is_enumerated() -> None:
    normal = {"distribution": "Normal", "supervision": "partial"}
    reads = {"parents": ["x", "y"], "network": {"mlp": [4]}}
    model = sgc.compile(sgc.load(changed(small(), nodes__w={**normal, "recognition": reads}))).eval()
    draw = np.random.default_rng(3)
    x, w = draw.normal(size=(50, 3)), draw.normal(size=50)
    below = torch.zeros(50, dtype=torch.float64)
    kinds = model.conditional("y", "recognition", {"x": x}).mean.detach().double()
    for kind in range(3):
        q = model.conditional("w", "recognition", {"x": x, "y": np.full(50, kind)})
        gap = (torch.tensor(w) - q.mean.detach().double()) / q.stddev.detach().double()
        below += kinds[:, kind] * (1 + torch.erf(gap / math.sqrt(2))) / 2
    values = {"x": x, "y": np.full(50, -1), "w": w}
    table = TensorRows(Rows(values, np.arange(50)), model.outline, torch.zeros(()))
    wanted = {
        "50%": ((below - 0.5).abs() <= 0.25).double().mean(),
        "90%": ((below - 0.5).abs() <= 0.45).double().mean(),
    }
    found = evaluate(model, table, 3, 0).from_q["w"].coverage
    assert found == pytest.approx({level: float(share) for level, share in wanted.items()}, abs=1e-6)


def test_categories_and_counts_have_no_intervals_and_labels_that_are_missing_do_not_count() -> None:
    assert measured(np.zeros(40, dtype=int))[0].from_q["y"].coverage is None
    poisson = {"nodes__y__distribution": "Poisson", "nodes__y__categories": None}
    y = np.arange(40.0)
    assert measured(y, **poisson)[0].from_q["y"].coverage is None
    normal = {"nodes__y__distribution": "Normal", "nodes__y__categories": None}
    y[1:] = np.nan
    assert set(measured(y, **normal)[0].from_q["y"].coverage.values()) <= {0.0, 1.0}
    assert measured(y, **normal)[0].from_posterior["y"].coverage is None
