"""The two streams of training: each pass takes each row once, and the expected gradient is that of Eq. (2)."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import small, small_arrays
from torch import Tensor

import sgc
from sgc.data.dataset import Rows
from sgc.runtime.batch import patterns_of
from sgc.runtime.data_variables import open_data
from sgc.runtime.model import Model
from sgc.runtime.streams import LABELLED, Rates, Stream, Streams, TensorRows, rates
from sgc.spec.resolver import outline

# Both nodes are enumerated and partial: the bound of a row has no noise, and rows carry any subset of the labels.
EXACT: dict[str, Any] = {
    "version": 1,
    "nodes": {
        "x": {
            "distribution": "Normal",
            "shape": [2],
            "supervision": "full",
            "generative": {"parents": ["y", "s"], "network": {"mlp": [4]}},
        },
        "y": {
            "distribution": "Categorical",
            "categories": 3,
            "supervision": "partial",
            "recognition": {"parents": ["x"], "network": {"mlp": [4]}, "estimator": "enumerate"},
        },
        "s": {
            "distribution": "Bernoulli",
            "supervision": "partial",
            "recognition": {"parents": ["x", "y"], "network": {"mlp": [4]}, "estimator": "enumerate"},
        },
    },
    "objective": {"alpha": 2.5},
}


def table(unlabelled: int, labelled: int, seed: int = 0) -> TensorRows:
    """Make rows for EXACT: some with no label, some with one or both of them."""
    draw = np.random.default_rng(seed)
    count = unlabelled + labelled
    y, s = draw.integers(0, 3, count), draw.integers(0, 2, count).astype(np.float32)
    which = draw.integers(1, 4, count)
    which[labelled:] = 0
    order = draw.permutation(count)
    y[which & 1 == 0], s[which & 2 == 0] = -1, np.nan
    values = {"x": draw.normal(size=(count, 2)).astype(np.float32), "y": y, "s": s}
    made = outline(sgc.load(EXACT))
    rows = Rows({name: value[order] for name, value in values.items()}, np.arange(count))
    return TensorRows(rows, made, torch.zeros((), dtype=torch.float64))


def model() -> Model:
    torch.manual_seed(0)
    return sgc.compile(sgc.load(EXACT)).double()


def streams(rows: TensorRows, batch: tuple[int, int], **words: Any) -> Streams:
    return Streams(rows, batch=batch, seed=words.pop("seed", 0), **{"gamma": None, "rate": None, **words})


def gradient(of: Model, value: Tensor) -> Tensor:
    found = torch.autograd.grad(value, list(of.parameters()), allow_unused=True)
    whole = [torch.zeros_like(p) if g is None else g for p, g in zip(of.parameters(), found, strict=True)]
    return torch.cat([each.reshape(-1) for each in whole])


def equation_2(of: Model, rows: TensorRows, gamma: float, *, all_unlabelled: bool = False) -> Tensor:
    """Give the gradient of −[Σ L̂(unlabelled) + γ Σ L̂_sup(labelled)] / (N + γ M), row by row from `objective`."""
    batch = {"x": rows.values["x"], "y": rows.values["y"], "s": rows.values["s"]}
    labelled = torch.from_numpy(rows.labels.any(1))
    supervised = of.objective(batch).bound
    bare = of.objective({"x": batch["x"]}).bound
    unlabelled = torch.ones_like(labelled) if all_unlabelled else ~labelled
    whole = bare[unlabelled].sum() + gamma * supervised[labelled].sum()
    return gradient(of, -whole / (int(unlabelled.sum()) + gamma * int(labelled.sum())))


# ---- passes


@pytest.mark.parametrize(("count", "size"), [(10, 3), (10, 10), (7, 20), (1, 4), (12, 4), (5, 1)])
def test_every_pass_takes_each_row_once_and_no_batch_is_short(count: int, size: int) -> None:
    places = np.arange(100, 100 + count)
    stream = Stream(places, size, seed=3, purpose=LABELLED)
    steps = 3 * count
    taken = [stream.take(step) for step in range(steps)]
    assert {len(each) for each in taken} == {size}
    whole = np.concatenate(taken)
    passes = whole.reshape(-1, count)
    assert all(sorted(each) == list(places) for each in passes)
    if count > 8:
        assert len({tuple(each) for each in passes}) == len(passes)  # each pass in an order of its own


def test_what_a_step_takes_follows_from_seed_and_step_alone() -> None:
    rows = table(30, 12)
    one, other = streams(rows, (7, 5)), streams(table(30, 12), (7, 5))
    forward = [one.take(step) for step in range(20)]
    for step in (13, 2, 19, 2):
        parts, weights = other.take(step)
        assert weights == forward[step][1]
        for part, known in zip(parts, forward[step][0], strict=True):
            assert part.observed == known.observed
            assert all(torch.equal(part.values[name], known.values[name]) for name in known.values)
    another = streams(rows, (7, 5), seed=1)
    assert any(
        not torch.equal(another.take(step)[0][0].values["x"], forward[step][0][0].values["x"]) for step in range(3)
    )


def test_rows_come_uniformly() -> None:
    # 400 seeds; the count of a row among the first 3 of 12 is Binomial(400, 1/4). Chi-square with 11 degrees of
    # freedom on counts that sum to a constant: 31.3 is its 99.9% point, a false alarm in 1000 (fewer: no replacement).
    counts: Counter[int] = Counter()
    for seed in range(400):
        counts.update(Stream(np.arange(12), 3, seed, LABELLED).take(0).tolist())
    assert sum((counts[i] - 100) ** 2 / 100 for i in range(12)) < 31.3


# ---- the gradient


@pytest.mark.parametrize(
    ("unlabelled", "labelled", "batch", "words"),
    [
        (12, 6, (4, 3), {}),
        (12, 6, (4, 3), {"gamma": 2.5}),
        (10, 5, (4, 2), {"rate": 0.7}),
        (9, 4, (20, 7), {"gamma": 0.3}),
        (12, 6, (4, 3), {"gamma": 1.5, "also_unlabelled": True}),
        (8, 0, (3, 3), {}),
        (0, 8, (3, 3), {"gamma": 3.0}),
        (8, 4, (3, 3), {"gamma": 0.0}),
    ],
)
def test_over_whole_passes_the_gradient_is_that_of_equation_2(
    unlabelled: int, labelled: int, batch: tuple[int, int], words: dict[str, Any]
) -> None:
    rows, learner = table(unlabelled, labelled), model()
    made = streams(rows, batch, **words)
    learner.gamma, learner.rate = made.rates.gamma, made.rates.rate
    sizes = [len(s.rows) for s in (made.unlabelled, made.labelled) if s is not None]
    steps = math.lcm(*sizes)  # both streams have made whole passes then
    total = sum((gradient(learner, learner(*made.take(step))[0]) for step in range(steps)), torch.zeros(()))
    wanted = equation_2(learner, rows, made.rates.gamma, all_unlabelled=words.get("also_unlabelled", False))
    assert torch.allclose(total / steps, wanted, rtol=1e-9, atol=1e-11)


def test_over_many_seeds_the_first_step_has_the_gradient_of_equation_2() -> None:
    # The law of the scheme at a fixed step, batches not dividing the rows: a random projection of the gradient,
    # 800 seeds, z-test at 4 standard errors (a false alarm in 16 000).
    rows, learner = table(11, 7), model()
    direction = torch.randn(sum(p.numel() for p in learner.parameters()), generator=torch.Generator().manual_seed(1))
    found = []
    for seed in range(800):
        made = streams(rows, (4, 3), gamma=2.0, seed=seed)
        found.append(float(gradient(learner, learner(*made.take(1))[0]) @ direction.double()))
    error = np.std(found) / math.sqrt(len(found))
    assert abs(np.mean(found) - float(equation_2(learner, rows, 2.0) @ direction.double())) < 4 * error


def test_rows_of_several_patterns_are_grouped_and_weigh_alike() -> None:
    rows = table(20, 40)
    parts, weights = streams(rows, (5, 30), rate=0.4).take(0)
    carried = {
        part.observed | {name for name, there in part.labelled.items() if bool(there[i])}
        for part in parts
        for i in range(part.size)
    }
    assert carried == {frozenset(names) for n in range(3) for names in itertools.combinations(["y", "s"], n)}
    for part, weight in zip(parts, weights, strict=True):
        assert weight == pytest.approx(0.4 / 30 if part.has_labels else 0.6 / 5)
        assert set(part.values) == {"x", *part.observed, *part.labelled}
    assert sum(len(part.values["x"]) for part in parts if part.has_labels) == 30


# ---- rates


def test_gamma_and_rate_are_one_number_said_twice() -> None:
    draw = np.random.default_rng(0)
    for _ in range(50):
        n, m, gamma = int(draw.integers(1, 1000)), int(draw.integers(1, 100)), float(draw.uniform(0.01, 50))
        found = rates(n, m, gamma, None)
        assert found.rate == pytest.approx(gamma * m / (n + gamma * m))
        back = rates(n, m, None, found.rate)
        assert (back.gamma, back.rate) == (pytest.approx(gamma), pytest.approx(found.rate))
    assert rates(90, 10, None, None) == Rates(1.0, 0.1)
    assert rates(0, 10, 2.0, None) == Rates(2.0, 1.0)
    assert rates(10, 0, 2.0, None) == Rates(2.0, 0.0)


@pytest.mark.parametrize(
    ("n", "m", "gamma", "rate", "words"),
    [
        (10, 0, None, 0.5, "objective.supervision_rate is 0.5, but no row carries a label"),
        (0, 10, None, 0.5, "objective.supervision_rate is 0.5, but every row carries a label: leave it out"),
        (0, 10, 0.0, None, "no row counts: there are no unlabelled rows, and gamma is 0 or there are no labelled ones"),
    ],
)
def test_rates_that_cannot_be_are_refused(n: int, m: int, gamma: float | None, rate: float | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rates(n, m, gamma, rate)


def test_alpha_over_the_rate_weighs_a_tenth_of_a_nat_in_an_effective_row() -> None:
    # out.loss of a labelled batch moves by (weight of a label) · Σ log q; in the streams the rate times 0.1/rate is 0.1
    spec = {**EXACT, "objective": {"alpha": {"over_rate": 0.1}, "supervision_rate": 0.2}}
    learner = sgc.compile(sgc.load(spec)).double()
    made = streams(table(20, 8), (5, 4), rate=0.2)
    learner.gamma, learner.rate = made.rates.gamma, made.rates.rate
    assert learner.settings().alpha == {"y": pytest.approx(0.5), "s": pytest.approx(0.5)}
    assert made.rates.rate * learner.settings().alpha["y"] == pytest.approx(0.1)


def test_an_epoch_is_one_pass_over_the_unlabelled_rows() -> None:
    assert streams(table(20, 8), (6, 100)).steps == 4
    assert streams(table(20, 8), (100, 1)).steps == 1
    assert streams(table(20, 8), (7, 2), also_unlabelled=True).steps == 4
    assert streams(table(0, 8), (100, 3)).steps == 3


# ---- rows


def test_dynamic_values_are_drawn_anew_in_training_and_once_where_rows_are_measured(tmp_path: Path) -> None:
    spec = small(
        nodes__x__distribution="Bernoulli",
        data={
            "source": "npz",
            "file": "none.npz",
            "columns": {"x": {"column": "x", "transforms": [{"binarize": "dynamic"}]}, "y": {"column": "y"}},
        },
    )
    made = outline(sgc.load(spec))
    arrays = {"x": np.full((400, 3), 0.3), "y": small_arrays(400, 10)["y"]}
    rows = open_data(made, tmp_path, arrays).train
    moving = TensorRows(rows, made, torch.zeros(()))
    index = np.arange(400)
    one, other = (moving.part(index, frozenset()).values["x"] for _ in range(2))
    assert set(one.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(one, other)
    # 1200 draws of probability 0.3: 5 standard errors, a false alarm in a million
    assert abs(float(one.mean()) - 0.3) < 5 * math.sqrt(0.21 / 1200)
    still = [TensorRows(rows, made, torch.zeros(())).drawn_once(seed) for seed in (0, 0, 1)]
    torch.manual_seed(7)
    drawn = [each.part(index, frozenset()).values["x"] for each in still]
    parts = torch.cat([still[0].part(chunk, frozenset()).values["x"] for chunk in still[0].chunks(37)])
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], parts)  # however the rows are taken
    assert not torch.equal(drawn[0], drawn[2])


def test_rows_without_any_member_are_no_fault() -> None:
    empty = table(0, 0)
    assert empty.count == 0
    assert list(empty.chunks(10)) == []
    with pytest.raises(ValueError, match="no row counts"):
        streams(empty, (3, 3))


@pytest.mark.parametrize("count", [1, 3, 62, 63, 80])
def test_patterns_are_found_alike_however_many_labels_there_are(count: int) -> None:
    """Different rows in the order of the numbers whose bits they are, that without any first; and which is which."""
    present = np.random.default_rng(count).random((50, count)) < 0.1
    present[7] = False
    found, kind = patterns_of(present)
    assert np.array_equal(found[kind], present)
    numbers = [sum(1 << i for i, bit in enumerate(row) if bit) for row in found]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == 0
