"""Constraints and supports as value objects: what they say, held to torch's own constraints and to enumeration."""

from __future__ import annotations

import itertools
import math
from typing import get_args

import pytest
import torch
from torch.distributions import constraints

from sgc.distributions import own_family
from sgc.distributions.constraints import CONSTRAINTS, Constraint, Matrix
from sgc.distributions.families import FAMILIES
from sgc.distributions.supports import SUPPORTS, Support

TORCHS = {
    "real": constraints.real,
    "real_vector": constraints.real,
    "positive": constraints.positive,
    "positive_vector": constraints.positive,
    "nonnegative": constraints.nonnegative,
    "nonnegative_integer": constraints.nonnegative,  # that a number is whole, rows are asked
    "unit_interval": constraints.unit_interval,
    "half_open_unit_interval": constraints.half_open_interval(0, 1),
    "simplex": constraints.unit_interval,
    "lower_cholesky": constraints.lower_cholesky,
    "positive_definite": constraints.positive_definite,
}
ALL = [pytest.param(constraint, id=word) for word, constraint in CONSTRAINTS.items()]
NUMBERS = [-3.0, -1.0, -1e-9, 0.0, 1e-9, 0.5, 1 - 1e-9, 1.0, 1 + 1e-9, 2.0, 7.0]
KINDS = [torch.float32, torch.float64]


@pytest.mark.parametrize("constraint", ALL)
def test_a_number_is_refused_where_torch_refuses_it(constraint: Constraint) -> None:
    for number in NUMBERS:
        value = torch.tensor(number, dtype=torch.float64)
        value = value * torch.eye(2, dtype=torch.float64) if constraint.dims == 2 else value
        assert bool(TORCHS[constraint.word].check(value).all()) == (constraint.refusal(number) == ""), number


def test_what_is_wanted_of_a_number_in_words() -> None:
    found = {word: [constraint.refusal(number) for number in (-2, 0, 1, 2)] for word, constraint in CONSTRAINTS.items()}
    above, least, unit = "greater than 0", "at least 0", "from 0 to 1"
    assert found == {
        "real": ["", "", "", ""],
        "real_vector": ["", "", "", ""],
        "nonnegative_integer": [least, "", "", ""],
        "positive": [above, above, "", ""],
        "nonnegative": [least, "", "", ""],
        "positive_vector": [above, above, "", ""],
        "unit_interval": [unit, "", "", unit],
        "half_open_unit_interval": [unit, "", "less than 1", unit],
        "simplex": [unit, "", "", unit],
        "lower_cholesky": [above, above, "", ""],
        "positive_definite": [above, above, "", ""],
    }
    assert CONSTRAINTS["nonnegative"].refusal(math.nan) == least


def in_the_set(word: str, matrix: torch.Tensor) -> bool:
    """Ask torch of one: of several it says of positive ones what it says of symmetric ones, where one is not."""
    return bool(TORCHS[word].check(matrix))


@pytest.mark.parametrize("word", ["lower_cholesky", "positive_definite"])
def test_a_matrix_is_held_to_what_torch_holds_it_to(word: str) -> None:
    """2 x 2 matrices of a few numbers and 3 x 3 ones drawn of them, without singular ones: both answers are met."""
    constraint = CONSTRAINTS[word]
    assert isinstance(constraint, Matrix)
    draw = torch.Generator().manual_seed(0)
    small = torch.tensor(list(itertools.product([-1.0, 0.0, 0.5, 3.0], repeat=4))).double().reshape(-1, 2, 2)
    lower = torch.randint(-2, 4, (200, 3, 3), generator=draw).double().tril()
    far = torch.diag_embed(torch.full((200, 3), 4.0).double())
    for matrices in (small, lower, lower + lower.mT, lower + lower.mT + far):
        regular = [matrix for matrix in matrices if abs(float(torch.linalg.det(matrix))) > 1e-9]
        assert [constraint.holds(m.tolist()) for m in regular] == [in_the_set(word, m) for m in regular]
    met = [constraint.holds(matrix.tolist()) for matrix in small]
    assert 0 < sum(met) < len(met)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("constraint", ALL)
def test_what_is_kept_inside_is_inside_and_what_was_there_stays(constraint: Constraint, kind: torch.dtype) -> None:
    """Rounding brings numbers to an end and no further: those inside, and the ends themselves."""
    inside = torch.tensor([1e-3, 0.25, 0.5, 0.75, 0.999], dtype=kind)
    if isinstance(constraint, Matrix):
        inside = torch.diag_embed(inside.unsqueeze(-1).expand(5, 2))
    assert torch.equal(constraint.floored(inside), inside)
    ends = [end for end in constraint.elements.ends if math.isfinite(end)]
    if not isinstance(constraint, Matrix):
        kept = constraint.floored(torch.tensor(ends, dtype=kind))
        assert bool(TORCHS[constraint.word].check(kept).all())
        assert bool(((kept - torch.tensor(ends, dtype=kind)).abs() <= torch.finfo(kind).eps).all())


@pytest.mark.parametrize("constraint", ALL)
def test_what_nothing_is_known_of_stands_inside(constraint: Constraint) -> None:
    number = constraint.neutral((4,))
    assert constraint.refusal(number) == ""
    if constraint.elements.total is not None:
        assert 4 * number == constraint.elements.total


def test_words_of_an_own_family_are_those_of_the_sets() -> None:
    taken_alone = {"nonnegative_integer"}
    assert set(get_args(own_family.Constraint)) == {*CONSTRAINTS} - taken_alone
    assert set(get_args(own_family.Support)) <= {*SUPPORTS}
    assert not any(SUPPORTS[word].by_parameters for word in get_args(own_family.Support))


# ---- supports


FINITE = [
    SUPPORTS["boolean"],
    SUPPORTS["grey"],
    SUPPORTS["integer_interval"].up_to(5),
    SUPPORTS["levels"].up_to(3),
    SUPPORTS["one_hot"],
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("support", FINITE, ids=lambda support: support.word)
def test_the_nearest_value_is_that_of_least_distance(support: Support, kind: torch.dtype) -> None:
    """A mean of drawn values against a search among all of them; ties have no probability."""
    event = (4,) * support.vector
    values = support.values(event).to(kind)
    assert len(values) == support.size(event)
    assert not any(bool(fault.mask.any()) for fault in support.faults(values))
    shares = torch.distributions.Dirichlet(torch.ones(len(values), dtype=kind)).sample((200,))
    means = torch.einsum("nk,k...->n...", shares, values)
    distances = (means.unsqueeze(1) - values).abs().reshape(200, len(values), -1).sum(-1)
    assert torch.equal(support.nearest(means), values[distances.argmin(1)])


def test_which_values_are_what() -> None:
    told = {
        "nominal": {"boolean", "grey", "one_hot"},
        "categorical": {"one_hot"},
        "composition": {"simplex", "open_simplex"},
        "discrete": {
            *("boolean", "grey", "one_hot", "integer_interval", "levels", "nonnegative_integer", "positive_integer"),
            "multinomial",
        },
        "finite": {"boolean", "grey", "one_hot", "integer_interval", "levels"},
        "periodic": {"circle"},
        "by_parameters": {"interval"},
    }
    assert {fact: {w for w, support in SUPPORTS.items() if getattr(support, fact)} for fact in told} == told
    assert all(family.support.word in SUPPORTS for family in FAMILIES.values())
    numbers = SUPPORTS["one_hot"].element  # of a vector by themselves: shares, neither names nor a composition
    assert (numbers.nominal, numbers.composition, numbers.vector, numbers.range) == (
        False, False, False, "a number from 0 to 1",
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_angles_are_apart_by_the_shorter_way_around(kind: torch.dtype) -> None:
    one, other = (20 * torch.randn(200, dtype=kind, generator=torch.Generator().manual_seed(n)) for n in (0, 1))
    difference = one.double() - other.double()
    wanted = torch.atan2(difference.sin(), difference.cos())
    found = SUPPORTS["circle"].apart(one, other)
    around = torch.exp(1j * found.double()) - torch.exp(1j * wanted)
    assert float(around.abs().max()) < 100 * torch.finfo(kind).eps
    assert float(found.abs().max()) <= math.pi * (1 + torch.finfo(kind).eps)
    assert torch.equal(SUPPORTS["real"].apart(one, other), one - other)


def test_what_a_picture_shows_in_black_and_in_white() -> None:
    shades = {word: support.up_to(255 if support.wants_upper else None).shades for word, support in SUPPORTS.items()}
    unit = {
        *("interval", "unit_interval", "open_unit_interval", "boolean", "grey", "one_hot", "simplex", "open_simplex"),
    }
    levels = {"integer_interval", "levels"}
    assert shades == {w: (0.0, 1.0) if w in unit else (0.0, 255.0) if w in levels else None for w in SUPPORTS}
    assert SUPPORTS["interval"].within((0.0, 0.0), (1.0, 2.0)).shades is None


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("support", SUPPORTS.values(), ids=lambda support: support.word)
def test_what_networks_read_lies_where_it_is_said_to(support: Support, kind: torch.dtype) -> None:
    support = support.up_to(9) if support.wants_upper or (support.vector and support.integers) else support
    event = (3,) * support.vector
    values = torch.tensor(support.legal(event), dtype=kind).unsqueeze(0)
    if support.finite:
        values = support.values(event).to(kind)
    read = support.look(values)
    assert read.shape == (len(values), *support.view.shape(event))
    assert not any(bool(fault.mask.any()) for fault in support.viewed.element.faults(read))
