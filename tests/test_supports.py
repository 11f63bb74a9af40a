"""Supports: what is allowed has a finite density under every member, what is not is refused at every door alike."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.distributions import Distribution

import sgc
from sgc.distributions.densities import element_of
from sgc.distributions.families import FAMILIES, FORMS
from sgc.distributions.family import Family
from sgc.distributions.supports import SUPPORTS, Support
from sgc.errors import DataError
from sgc.spec.spec import Spec

pytestmark = pytest.mark.usefixtures("seeded_draws")

OPTIONS: dict[str, dict[str, object]] = {
    "Binomial": {"total_count": 3},
    "Multinomial": {"total_count": 3},
    "DiscretizedLogistic": {"levels": 4},
    "Pareto": {"scale": 1.5},
}
ALL = [pytest.param(f.with_options(OPTIONS.get(n, {})), id=n) for n, f in {**FAMILIES, **FORMS}.items()]
MEMBERS = 40
NUMBERS = [-math.inf, -2.5, -1.0, -1e-3, 0.0, 1e-3, 0.3, 0.5, 1 - 1e-4, 1.0, 1 + 1e-4, 1.5, 2.0, 3.0, 4.0, math.inf]
VECTORS = [
    [0.2, 0.3, 0.5], [0.0, 0.5, 0.5], [1.0, 0.0, 0.0], [0.1, 0.1, 0.1], [0.5, 0.6, -0.1], [3.0, 0.0, 0.0],
    [1.0, 1.0, 1.0], [1.0, 2.0, 1.0], [0.5, 0.5, 2.0], [1e-6, 0.5, 0.5 - 1e-6], [math.inf, 0.0, 0.0],
]  # fmt: skip


def candidates(family: Family, kind: torch.dtype) -> torch.Tensor:
    return torch.tensor(VECTORS if family.event_dim else NUMBERS, dtype=kind)


def members(family: Family, kind: torch.dtype) -> Distribution:
    """Draw members with parameters from small to large, batch [MEMBERS, 1]."""
    event = (3,) * family.event_dim
    if not family.heads:
        return family.distribution({"low": torch.zeros(MEMBERS, 1), "high": torch.ones(MEMBERS, 1)}, event)
    raw = {name: torch.randn(MEMBERS, 1, *shape, dtype=kind) for name, shape in family.head_shapes(event).items()}
    return family.distribution({name: family.constrain(name, value) for name, value in raw.items()}, event)


def outside(support: Support, values: Any) -> np.ndarray:
    """Mark the values, one a row, that a support refuses."""
    found = np.zeros(len(values), dtype=bool)
    for fault in support.faults(values):
        mask = np.asarray(fault.mask)
        found |= mask.reshape(len(values), -1).any(1)
    return found


@pytest.mark.parametrize("kind", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("family", ALL)
def test_what_is_allowed_is_finite_under_every_member_and_what_is_not_is_no_value(
    family: Family, kind: torch.dtype
) -> None:
    """torch's own constraint is the other word: beyond what it refuses, only an infinite density is a reason."""
    values, distribution = candidates(family, kind), members(family, kind)
    refused = torch.from_numpy(outside(family.support, values))
    allowed = values[~refused]
    assert len(allowed)
    assert bool(family.log_prob(distribution, allowed).isfinite().all())
    known = element_of(distribution).support.check(values)
    known = known.reshape(MEMBERS, len(values)) if known.dim() > 1 else known
    if family.support.word == "circle":
        known = known & values.isfinite()
    if family.relaxation:  # grey values, which torch does not know
        known = (values >= 0) & (values <= 1)
        known = known.all(-1) & ((values.sum(-1) - 1).abs() < 1e-3) if family.event_dim else known
    if family.support.word == "multinomial":  # torch takes shares, and sums below the total
        known = ((values >= 0) & (values == values.round())).all(-1) & (values.sum(-1) == 3)
    for i in range(len(values)):
        theirs = bool(known[..., i].all())
        if bool(refused[i]) and theirs:
            assert not bool(family.log_prob(distribution, values[i]).isfinite().all()), values[i]
        if not theirs:
            assert bool(refused[i]), values[i]


@pytest.mark.parametrize("family", ALL)
def test_draws_and_the_legal_value_are_allowed(family: Family) -> None:
    event = (2, *(3,) * family.event_dim)
    assert not outside(family.support, torch.tensor(family.support.legal(event)).reshape(1, *event)).any()
    draws = members(family, torch.float64).sample((50,)).reshape(-1, *(3,) * family.event_dim)
    interior = family.support.word in ("open_unit_interval", "open_simplex", "positive")
    assert outside(family.support, draws).mean() <= (0.05 if interior else 0)


@pytest.mark.parametrize("family", ALL)
def test_arrays_and_tensors_are_judged_alike(family: Family) -> None:
    values = candidates(family, torch.float32)
    assert (outside(family.support, values) == outside(family.support, values.numpy())).all()
    missing = torch.full_like(values, math.nan)
    assert not outside(family.support, missing).any()
    assert not outside(family.support, missing.numpy()).any()


BOUNDED = [SUPPORTS["multinomial"].up_to(7), SUPPORTS["interval"].within((0.0, 1.0), (2.0, math.inf))]


@pytest.mark.parametrize("support", [*SUPPORTS.values(), *BOUNDED], ids=lambda support: support.word)
def test_a_support_comes_back_from_plain_data(support: Support) -> None:
    assert Support.read(support.plain()) == support


def test_bounds_of_single_elements() -> None:
    support = SUPPORTS["interval"].within((0.0, 10.0), (1.0, 20.0))
    values = torch.tensor([[0.5, 15.0], [0.5, 5.0], [2.0, 15.0], [0.0, 20.0]])
    for given in (values, values.numpy()):
        assert outside(support, given).tolist() == [False, True, True, False]
    assert support.legal((2,)) == [0.5, 15.0]


def test_intervals_meet_and_join_by_their_ends_whichever_comes_first() -> None:
    """Held to membership of single numbers: [0, 1] joined with (0, 2] had no 0 in it, turned around it had."""
    numbers = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
    intervals = [
        replace(SUPPORTS["interval"], low=low, high=high, open_low=open_low, open_high=open_high)
        for low, high in ((-1.0, 0.0), (-1.0, 1.0), (-1.0, 2.0), (0.0, 1.0), (0.0, 2.0), (1.0, 2.0))
        for open_low, open_high in itertools.product((False, True), repeat=2)
    ]

    def members(support: Support) -> list[bool]:
        return [not list(support.faults(np.array([number]))) for number in numbers]

    for (one, inside), (other, also) in itertools.product([(each, members(each)) for each in intervals], repeat=2):
        both, either = [a and b for a, b in zip(inside, also, strict=True)], [*map(max, inside, also)]
        assert one.contains(other) == (both == also), (one, other)
        if any(both):
            assert members(one.met(other)) == both, (one, other)
            assert members(one.joined(other)) == either, (one, other)


def test_ranges_in_words() -> None:
    words = {name: support.range for name, support in SUPPORTS.items()}
    assert words == {
        "real": "a number",
        "real_vector": "a number",
        "circle": "a number",
        "positive": "a number above 0",
        "nonnegative": "a number from 0 up",
        "bounded_below": "a number from 0 up",
        "interval": "a number from 0 to 1",
        "unit_interval": "a number from 0 to 1",
        "open_unit_interval": "a number between 0 and 1, neither of them",
        "boolean": "an integer from 0 to 1",
        "grey": "a number from 0 to 1",
        "integer_interval": "an integer from 0 up",
        "levels": "an integer from 0 up",
        "nonnegative_integer": "an integer from 0 up",
        "positive_integer": "an integer from 1 up",
        "one_hot": "a number from 0 to 1",
        "simplex": "a number from 0 to 1",
        "open_simplex": "a number above 0 to 1",
        "multinomial": "an integer from 0 up",
    }
    assert SUPPORTS["interval"].within(-math.inf, 3).range == "a number up to 3"


# ---- every door


def spec_of(distribution: object, shape: list[int], **generative: object) -> dict[str, Any]:
    """Write a model of one value that is full, and of another of its family that may be given in part."""
    node = {"distribution": distribution, "shape": shape, **({"generative": generative} if generative else {})}
    recognition = {"parents": ["u"], "network": {"mlp": [4]}}
    return {
        "version": 1,
        "nodes": {
            "u": {"distribution": "Normal", "supervision": "full"},
            "x": {**node, "supervision": "full"},
            "y": {"distribution": "Bernoulli", "supervision": "partial", "recognition": recognition},
        },
    }


LEARNED = {"learn": True}
CASES: list[tuple[str, dict[str, Any], list[Any], list[Any], str]] = [
    ("Pareto", spec_of("Pareto", [], **LEARNED), [1.5, 2.0, 1.0], [1.5, 0.5, 1.0], "0.5|a number from 1 up"),
    ("Gamma", spec_of("Gamma", [], **LEARNED), [0.5, 1e-3, 7], [0.5, 0.0, 7], "0|a number above 0"),
    ("Chi2", spec_of("Chi2", [], **LEARNED), [0.5, 1e-3, 7], [0.5, 0.0, 7], "0|a number above 0"),
    ("Weibull", spec_of("Weibull", []), [0.5, 1e-3, 7], [0.5, 0.0, 7], "0|a number above 0"),
    ("Beta", spec_of("Beta", []), [0.5, 0.1, 0.9], [0.5, 1.0, 0.9], "1|a number between 0 and 1, neither of them"),
    ("Kumaraswamy", spec_of("Kumaraswamy", []), [0.5, 0.1, 0.9], [0.5, 0.0, 0.9],
     "0|a number between 0 and 1, neither of them"),
    ("Uniform", spec_of("Uniform", [], parameters={"low": 2, "high": 5}), [2, 5, 3], [2, 1.5, 3],
     "1.5|a number from 2 to 5"),
    ("Dirichlet", spec_of("Dirichlet", [3]), [[0.2, 0.3, 0.5]] * 3,
     [[0.2, 0.3, 0.5], [0.1, 0.1, 0.1], [0.2, 0.3, 0.5]],
     "a sum of 0.3|values that sum to 1"),
    ("Dirichlet at 0", spec_of("Dirichlet", [3]), [[0.2, 0.3, 0.5]] * 3,
     [[0.2, 0.3, 0.5], [0.5, 0.0, 0.5], [0.2, 0.3, 0.5]], "0 at [1]|a number above 0 to 1"),
    ("Binomial", spec_of({"Binomial": {"total_count": 3}}, []), [0, 3, 1], [0, 4, 1], "4|an integer from 0 to 3"),
    ("Multinomial", spec_of({"Multinomial": {"total_count": 3}}, [2]), [[1, 2], [0, 3], [3, 0]],
     [[1, 2], [1, 1], [3, 0]], "a sum of 2|values that sum to 3"),
]  # fmt: skip
U = np.array([0.1, 0.2, 0.3], dtype=np.float32)


def refused_by_data(spec: Spec, arrays: Any, tmp_path: Path) -> str:
    try:
        sgc.train(spec, data=arrays, output=tmp_path / "run")
    except DataError as error:
        return str(error)
    raise AssertionError("taken")


@pytest.mark.parametrize(("raw", "good", "bad", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_every_door_refuses_the_same_value_by_row(
    raw: dict[str, Any], good: list[Any], bad: list[Any], words: str, tmp_path: Path
) -> None:
    found, wanted = words.split("|")
    number, _, place = found.partition(" at ")
    spec = sgc.load(raw)
    model = sgc.compile(spec)
    taken = {"u": torch.tensor(U), "x": torch.tensor(good, dtype=torch.float32)}
    assert bool(model.objective(taken).bound.isfinite().all())
    batch = taken | {"x": torch.tensor(bad, dtype=torch.float32)}
    inside = f" in row 1 at {place}" if place else " in row 1"
    asked: list[Callable[[], Any]] = [
        lambda: model.objective(batch),
        lambda: model.infer(batch),
        lambda: model.generate(3, given={"x": batch["x"]}),
        lambda: model.log_prob("x", "generative", batch),
    ]
    for ask in asked:
        with pytest.raises(ValueError, match="found") as caught:
            ask()
        assert (
            str(caught.value) == f"'x': found {number}{inside}, wanted {wanted} ({spec.nodes['x'].distribution.name})"
        )
    at = f" at {place}" if place else ""
    arrays = {"u": U, "x": np.array(bad, dtype=np.float32)}
    assert refused_by_data(spec, arrays, tmp_path).endswith(f"row 1: node 'x': found {number}{at}, wanted {wanted}")
    if np.ndim(bad) == 1:
        frame = pd.DataFrame(arrays)
        assert refused_by_data(spec, frame, tmp_path).endswith(f"row 1: node 'x': found {number}, wanted {wanted}")
