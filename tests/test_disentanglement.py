"""MIG, DCI and SAP: 1 for factors apart, 0 for a code that says nothing, and mixtures worked out by hand."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from sgc.evaluation.disentanglement import (
    BINS,
    Disentanglement,
    Factor,
    dci_scores,
    disentanglement,
    information_column,
    mean_gap,
    sap_column,
)

pytest.importorskip("sklearn")

DRAW = np.random.default_rng(4)
N = 2000


def factors() -> list[Factor]:
    """Two factors, of categories and of numbers, that say nothing of each other."""
    return [
        Factor("kind", DRAW.integers(0, 4, N).astype(float), True),
        Factor("size", DRAW.uniform(-1, 1, N), False),
    ]


def measured(codes: np.ndarray, *known: Factor) -> Disentanglement:
    result = disentanglement(codes, [f"z[{j}]" for j in range(codes.shape[1])], known, 0)
    assert isinstance(result, Disentanglement)
    return result


def test_factors_apart_score_one() -> None:
    kind, size = factors()
    result = measured(np.stack([size.values, kind.values, 0 * size.values], 1), kind, size)
    assert result.mig == pytest.approx(1, abs=0.04)  # histograms of 20 bins find some in noise
    assert result.disentanglement == pytest.approx(1, abs=0.02)
    assert result.completeness == pytest.approx(1, abs=0.02)
    # of categories the second best unit is right by chance, once in four
    assert result.sap == pytest.approx((1 - 0.25 + 1) / 2, abs=0.05)
    assert [readout.error for readout in result.readouts] == pytest.approx([0, 0], abs=0.03)


def test_a_code_that_says_nothing_scores_zero() -> None:
    kind, size = factors()
    result = measured(DRAW.normal(size=(N, 5)), kind, size)
    assert result.mig == pytest.approx(0, abs=0.02)
    assert result.sap == pytest.approx(0, abs=0.03)
    assert result.completeness == pytest.approx(0, abs=0.1)
    assert result.information.max() < 0.1
    for readout, chance in zip(result.readouts, (0.75, 1), strict=True):
        assert readout.chance == pytest.approx(chance, abs=0.05)
        assert readout.error == pytest.approx(readout.chance, abs=0.1)


def test_information_is_that_of_all_pairs_counted() -> None:
    """A unit that tells the half that a category of four lies in has one bit of two, whatever its scale."""
    kinds = np.repeat(np.arange(4.0), 100)
    halves = np.where(kinds < 2, -7.0, 3.0)
    mixed = np.tile([0.0, 1.0], 200)
    shares = information_column(np.stack([halves, kinds, mixed], 1), kinds, categorical=True)
    assert shares == pytest.approx([0.5, 1, 0], abs=1e-12)
    assert mean_gap(shares[:, None]) == pytest.approx(0.5, abs=1e-12)
    numbers = np.repeat(np.arange(BINS) + 0.5, 10)  # as many values as bins
    assert information_column(numbers[:, None], numbers, categorical=False) == pytest.approx([1])


def test_the_gap_of_a_noisy_channel_is_its_formula() -> None:
    """A bit that a unit tells wrongly in one row of four carries 1 − H(1/4) bits (Cover and Thomas 2006, 7.1.4)."""
    rows = [(v, u) for v, u, n in product((0, 1), (0, 1), range(3)) if n == 0 or v == u]  # 3 to 1
    bit, unit = np.array(rows * 50, dtype=float).T
    known = 1 + 0.25 * math.log2(0.25) + 0.75 * math.log2(0.75)
    assert information_column(unit[:, None], bit, categorical=True) == pytest.approx([known], abs=1e-12)


def test_dci_follows_its_formulas() -> None:
    assert dci_scores(np.eye(3)) == pytest.approx((1, 1))
    assert dci_scores(np.ones((3, 3))) == pytest.approx((0, 0), abs=1e-12)
    # unit 0 serves both factors alike, units 1 and 2 one each
    half = 1 + (2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3)) / math.log(3)
    apart, complete = dci_scores(np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 2.0]]))
    assert apart == pytest.approx(2 / 6 * 0 + 4 / 6 * 1)
    assert complete == pytest.approx(half)


def test_sap_is_a_squared_correlation_or_a_balanced_accuracy() -> None:
    size = DRAW.normal(size=N)
    noisy = size + DRAW.normal(size=N)
    scores = sap_column(np.stack([size, noisy, np.ones(N)], 1), 3 * size - 1, categorical=False)
    assert scores == pytest.approx([1, np.corrcoef(size, noisy)[0, 1] ** 2, 0], abs=1e-9)
    rare = np.repeat([0.0, 1.0], [900, 100])  # always to say 0 is right in 90 % of rows, and of the kinds in half
    assert sap_column(np.stack([rare, 0 * rare], 1), rare, categorical=True) == pytest.approx([1, 0.5])


def test_each_factor_is_measured_over_its_labelled_rows() -> None:
    kind, size = factors()
    values = size.values.copy()
    values[: N // 2] = np.nan
    codes = np.stack([kind.values, size.values], 1)
    result = measured(codes, kind, Factor("size", values, False))
    assert [readout.rows for readout in result.readouts] == [N, N // 2]
    assert not result.few
    assert measured(codes[:400], *(Factor(f.name, f.values[:400], f.categorical) for f in (kind, size))).few


def test_what_cannot_be_measured_is_said() -> None:
    kind, size = factors()
    codes = np.stack([kind.values, size.values], 1)
    one = measured(codes, kind)
    assert one.mig is None
    assert one.reason == "MIG, DCI and SAP compare several units over several factors: there is one factor alone, kind"
    assert one.readouts[0].error == pytest.approx(0, abs=0.02)
    assert "one unit alone" in measured(codes[:, :1], kind, size).reason
    constant = Factor("kind", 0 * kind.values, True)
    assert disentanglement(codes, ["a", "b"], [constant], 0) == "no factor has labels of two kinds in at least 50 rows"


def test_the_same_seed_gives_the_same_numbers() -> None:
    kind, size = factors()
    codes = DRAW.normal(size=(300, 3))
    few = [Factor(f.name, f.values[:300], f.categorical) for f in (kind, size)]
    assert measured(codes, *few).plain() == measured(codes, *few).plain()
