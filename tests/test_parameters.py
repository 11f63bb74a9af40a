"""Parameters that no distribution has: told by node, parameter, value and row, whatever torch says of them."""

from __future__ import annotations

import contextlib
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import small

import sgc
from sgc.distributions import densities
from sgc.distributions.families import FAMILIES, FORMS
from sgc.distributions.family import Family
from sgc.errors import DataError, ParameterError, RunError, SpecError, UsageError
from sgc.runtime.model import Model
from sgc.runtime.probabilities import log_score

pytestmark = pytest.mark.usefixtures("seeded_draws")


@pytest.fixture(autouse=True)
def _as_users_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the checks of arguments that the other tests ask torch for."""
    monkeypatch.setattr(Model, "validate_args", False)


OPTIONS: dict[str, dict[str, object]] = {
    "Binomial": {"total_count": 3}, "Multinomial": {"total_count": 3}, "DiscretizedLogistic": {"levels": 4},
}  # fmt: skip
ALL = [pytest.param(f.with_options(OPTIONS.get(n, {})), id=n) for n, f in {**FAMILIES, **FORMS}.items() if f.heads]


def parameters(family: Family, wrong: float | None, kind: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """Make those of four rows of a vector of two; the third row's first number is wrong in all of them."""
    event = (2,)
    raw = {name: torch.randn(4, *shape, dtype=kind) for name, shape in family.head_shapes(event).items()}
    made = {name: family.constrain(name, value) for name, value in raw.items()}
    for value in made.values():
        if wrong is not None:
            value[2].view(-1)[0] = wrong
    return made


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("family", ALL)
def test_a_parameter_that_is_not_finite_is_told_with_its_row(family: Family, wrong: float) -> None:
    first = family.heads[0]
    with pytest.raises(ParameterError, match=rf"^'{first}' is {wrong:g} in row 2, wanted .*$"):
        family.distribution(parameters(family, wrong), (2,), finite=True)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, 1e38, 1e-38, 0.0, -1.0])
@pytest.mark.parametrize("family", ALL)
def test_torch_refuses_nothing_in_words_of_its_own(family: Family, wrong: float) -> None:
    """Members are made, drawn from and scored, or the parameter is told: in little time, whatever it is."""
    with contextlib.suppress(ParameterError):
        member = family.distribution(parameters(family, wrong), (2,))
        drawn = family.draw(member, (3, 4), pathwise=family.pathwise)
        family.log_prob(member, drawn)


@pytest.mark.parametrize("family", ALL)
def test_members_in_their_sets_are_made_and_drawn_from(family: Family) -> None:
    for kind in (torch.float32, torch.float64):
        member = family.distribution(parameters(family, None, kind), (2,), finite=True)
        assert bool(family.draw(member, (3, 4)).value.isfinite().all())


def broken(spec: dict[str, Any], weight: float = math.nan) -> Model:
    model = sgc.compile(spec)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(weight)
    return model


@pytest.mark.parametrize("estimator", ["pathwise", "score_function"])
def test_weights_that_are_no_numbers_are_told_by_conditional(estimator: str) -> None:
    spec = small(nodes__z__recognition__estimator=estimator)
    x = torch.zeros(4, 3)
    told = r"^no sample is finite: rows 0, 1, 2 and 3: p\(x \| y, z\): 'loc' is nan, wanted a number$"
    with pytest.raises(RunError, match=told):
        broken(spec).generate(4)
    with pytest.raises(ParameterError, match=r"^q\(z \| x, y\): 'loc' is nan in row 0, wanted a number$"):
        broken(spec).conditional("z", "recognition", {"x": x, "y": torch.zeros(4, dtype=torch.long)})
    with pytest.raises(ParameterError, match=r"^q\(y \| x\): 'logits' is nan in row 0, wanted a number$"):
        broken(spec).objective({"x": x})


@pytest.mark.parametrize("name", ["Bernoulli", "Binomial", "Multinomial", "Poisson", "Geometric", "VonMises"])
def test_a_draw_from_no_numbers_is_told_by_conditional(name: str) -> None:
    family = {name: OPTIONS[name]} if name in OPTIONS else name
    spec = small(
        nodes__z__distribution=family, nodes__z__recognition__estimator="score_function", objective={"kl": "sampled"}
    )
    y = torch.zeros(4, dtype=torch.long)
    model = broken(spec)
    with torch.no_grad():
        for parameter in model.recognition["y_"].parameters():
            parameter.fill_(0.0)
    told = ""
    try:
        bound = model.objective({"x": torch.zeros(4, 3), "y": y}).bound
    except ParameterError as problem:
        told, bound = str(problem), torch.tensor(math.nan)
    assert not bool(bound.isfinite().any())
    assert re.fullmatch(r"(q\(z \| x, y\): '\w+' is nan( in row 0)?, wanted .*)?", told), told


# ---- no probability is above 1


def test_a_discrete_density_above_1_stops_by_name() -> None:
    """A class of counts that forgets the factorial, say: e^1.79 of a 3."""

    class Forgets(torch.distributions.Poisson):
        def log_prob(self, value: torch.Tensor) -> torch.Tensor:
            return super().log_prob(value) + (value + 1).lgamma()

    variable = sgc.compile(small(nodes__x__distribution="Poisson")).outline.variables["x"]
    family = replace(variable.family, name="Forgets", define=lambda: Forgets, scoring=densities.OWN)
    member = family.distribution({"rate": torch.full((2, 3), 2.0)}, (3,))
    assert bool(log_score(replace(variable, family=family), member, torch.zeros(2, 3)).isfinite().all())
    message = (
        "node 'x': its probability is e^2.318 in row 1, and none is above 1: "
        "a parameter of Forgets is outside its range, or its log_prob is not a log-probability"
    )
    with pytest.raises(RunError) as caught:
        log_score(replace(variable, family=family), member, torch.tensor([[0.0, 0.0, 0.0], [4.0, 4.0, 4.0]]))
    assert str(caught.value) == message


# ---- numbers of data


ROW = r"^row 2: node 'x': found {}, wanted a number that 32 bits hold, up to 3.4e\+38$"


@pytest.mark.parametrize(
    ("transforms", "large", "message"),
    [
        ([], 1e39, ROW.format(r"1e\+39 at \[1\]")),
        ([{"divide": 255}], 1e200, ROW.format(r"3.92157e\+197 at \[1\] after divide")),
        ([{"divide": 1e-30}], 1e300, ROW.format(r"inf at \[1\] after divide")),
        (["standardize"], 1e300, r"^node 'x': the numbers are so large that 'standardize' cannot square them: "
         r"put \{divide: …\} before it$"),
    ],
)  # fmt: skip
def test_data_that_are_too_large_are_told_with_their_row(
    transforms: list[Any], large: float, message: str, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    spec = small(data={"source": "npz", "file": "x.npz", "columns": {"x": {"column": "x", "transforms": transforms},
                                                                      "y": {"column": "y"}}})  # fmt: skip
    x = np.ones((20, 3))
    x[2, 1] = large
    with pytest.raises(DataError, match=message):
        sgc.train(spec, data={"x": x, "y": np.zeros(20, dtype=int)}, output=tmp_path / "run")
    assert not [each for each in recwarn if issubclass(each.category, RuntimeWarning)]


def test_standardize_refuses_differences_that_it_cannot_square(tmp_path: Path) -> None:
    """1e-200 became ±∞ in every row, 1e-161 was divided by a deviation of one digit."""
    column = {"column": "x", "transforms": ["standardize"]}
    spec = small(data={"source": "npz", "file": "x.npz", "columns": {"x": column, "y": {"column": "y"}}})
    x = np.random.default_rng(0).normal(size=(20, 3))
    for size in (1e-161, 1e-200):
        with pytest.raises(DataError) as told:
            sgc.train(spec, data={"x": x * size, "y": np.zeros(20, dtype=int)}, output=tmp_path / "run")
        assert str(told.value) == (
            "node 'x': the numbers differ by so little that 'standardize' cannot square it: put {divide: …} before it"
        )


# ---- numbers of a spec


def learned(start: float) -> dict[str, Any]:
    return {"start": start, "learn": True}


FINER = " (train.precision: 64-true has finer and larger numbers)"


@pytest.mark.parametrize(
    ("family", "parameters", "precision", "message"),
    [
        ("Normal", {"loc": 0, "scale": learned(1e-7)}, "32-true",
         "scale.start: 'scale' of 'Normal' cannot be learned from 1e-07: with 32 bits it stays above 1.2e-07" + FINER),
        ("Normal", {"loc": 0, "scale": learned(1e-20)}, "64-true",
         "scale.start: 'scale' of 'Normal' cannot be learned from 1e-20: with 64 bits it stays above 2.2e-16"),
        ("Bernoulli", {"probs": learned(1 - 1e-9)}, "32-true",
         "probs.start: 'probs' of 'Bernoulli' cannot be learned from 0.999999999: "
         "with 32 bits it stays above 1.2e-07 and below 1 by as much" + FINER),
        ("Normal", {"loc": -1e39, "scale": 1}, "32-true",
         "loc: 'loc' of 'Normal' is -1e+39: 32 bits end at 3.4e+38" + FINER),
        ("Poisson", {"rate": {"from": 1e-60, "to": 1, "epochs": 3}}, "32-true",
         "rate: 'rate' of 'Poisson' is 1e-60: 32 bits begin at 1.2e-38" + FINER),
    ],
)  # fmt: skip
def test_numbers_that_the_precision_does_not_hold_are_refused(
    family: str, parameters: dict[str, Any], precision: str, message: str
) -> None:
    node = {"distribution": family, "supervision": "full", "generative": {"parameters": parameters}}
    with pytest.raises(SpecError) as caught:
        sgc.load({"version": 1, "nodes": {"x": node}, "train": {"precision": precision}})
    assert str(caught.value) == f"spec: nodes.x.generative.parameters.{message}"


@pytest.mark.parametrize(
    ("precision", "start", "rtol"),
    [("64-true", 1e-12, 1e-3), ("64-true", 1e-7, 1e-8), ("64-true", 1e-6, 1e-9), ("64-true", 0.3, 1e-15),
     ("64-true", 1e60, 1e-15), ("32-true", 1e-6, 1e-5), ("32-true", 0.3, 1e-6), ("32-true", 1e30, 1e-6)],
)  # fmt: skip
def test_a_run_starts_at_what_its_spec_says_in_its_own_precision(
    precision: str, start: float, rtol: float, tmp_path: Path
) -> None:
    """In 64 bits a start was rounded to 32 first: 1e-6 became 8.8e-7, 1e-7 and 1e60 a traceback."""
    spec = {"version": 1, "name": "start", "nodes": {
        "x": {"distribution": "Normal", "supervision": "full",
              "generative": {"parameters": {"loc": 0, "scale": learned(start)}}},
        "v": {"distribution": "Normal", "supervision": "full",
              "generative": {"parameters": {"loc": 0, "scale": start}}}},
        "train": {"precision": precision, "epochs": 1, "optimizer": {"name": "SGD", "lr": 1e-200}}}  # fmt: skip
    arrays = {name: np.ones(4) * min(start, 1.0) for name in "xv"}
    model = sgc.train(spec, data=arrays, output=tmp_path / "run").model
    for each in (model, sgc.open(tmp_path / "run")):
        for name, reach in (("x", rtol), ("v", 1e-15 if precision == "64-true" else 1e-7)):
            scale = each.conditional(name, "generative", {"x": torch.zeros(1)}).stddev.detach()
            assert scale.dtype == (torch.float64 if precision == "64-true" else torch.float32)
            np.testing.assert_allclose(float(scale), start, rtol=reach)


@pytest.mark.parametrize(("start", "learn"), [(1e50, True), (1e50, False), (1e-50, False), (1e-12, True)])
def test_a_model_that_is_compiled_in_too_few_bits_is_refused(start: float, learn: bool) -> None:
    scale = learned(start) if learn else start
    node = {"distribution": "Normal", "supervision": "full", "generative": {"parameters": {"loc": 0, "scale": scale}}}
    with pytest.raises(UsageError) as caught:
        sgc.compile({"version": 1, "nodes": {"x": node}, "train": {"precision": "64-true"}})
    assert str(caught.value) == (
        f"node 'x': 'scale' is {start:g}, which float32 cannot hold or learn from: a run computes in the type of its "
        "train.precision, sgc.compile in torch's default type"
    )


@pytest.mark.parametrize("precision", ["32-true", "64-true"])
def test_the_least_start_that_is_taken_can_be_learned_from(precision: str) -> None:
    start = 1.3e-7 if precision == "32-true" else 3e-16
    node = {"distribution": "Normal", "supervision": "full",
            "generative": {"parameters": {"loc": 0, "scale": learned(start)}}}  # fmt: skip
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32 if precision == "32-true" else torch.float64)  # as training builds it
    try:
        model = sgc.compile({"version": 1, "nodes": {"x": node}, "train": {"precision": precision}})
    finally:
        torch.set_default_dtype(before)
    scale = model.conditional("x", "generative", {"x": torch.zeros(1)}).stddev
    torch.testing.assert_close(float(scale), start, rtol=0.1, atol=0.0)
