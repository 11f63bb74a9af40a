"""DiscretizedLogistic against its defining formula in plain Python, at its edges and far out, and in data."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sgc
from sgc.distributions.families import FAMILIES
from sgc.distributions.family import Family
from sgc.errors import DataError

LEVELS = (2, 5, 256)


def family(levels: int) -> Family:
    return FAMILIES["DiscretizedLogistic"].with_options({"levels": levels})


def by_hand(level: int, loc: float, scale: float, levels: int) -> float:
    """Salimans et al. 2017, Eq. 2: the difference of two logistic functions, the edges taking the tails."""
    step = 2 / (levels - 1)
    centre = -1 + step * level
    upper = 1.0 if level == levels - 1 else 1 / (1 + math.exp(-(centre + step / 2 - loc) / scale))
    lower = 0.0 if level == 0 else 1 / (1 + math.exp(-(centre - step / 2 - loc) / scale))
    return upper - lower


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize(("loc", "scale"), [(0.0, 1.0), (-0.7, 0.1), (1.4, 0.3), (0.2, 5.0)])
def test_probabilities_are_the_formulas_and_sum_to_one(levels: int, loc: float, scale: float) -> None:
    made = family(levels)
    parameters = {"loc": torch.tensor(loc, dtype=torch.float64), "scale": torch.tensor(scale, dtype=torch.float64)}
    distribution = made.distribution(parameters, ())
    values = made.enumerate((), torch.float64, "cpu")
    assert values.tolist() == list(range(levels))
    found = made.log_prob(distribution, values).exp()
    wanted = torch.tensor([by_hand(k, loc, scale, levels) for k in range(levels)], dtype=torch.float64)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-14)
    assert abs(found.sum().item() - 1) < 1e-12
    torch.testing.assert_close(made.mean(distribution), (wanted * values).sum(), rtol=1e-10, atol=1e-12)


def test_far_tails_decay_linearly_where_differences_would_be_zero() -> None:
    """At scale 1/1000, 1.5 away: σ(a) − σ(b) = e^{−1500}(…), below the smallest float64; the logarithm is known."""
    scale, step = Fraction(1, 1000), Fraction(2, 255)
    parameters = {"loc": torch.tensor(-1.0).double(), "scale": torch.tensor(0.001, dtype=torch.float64)}
    distribution = family(256).distribution(parameters, ())
    for level in (128, 200, 254):
        near = float(step * level - step / 2) / float(scale)  # of the bin's lower edge from loc, in scales
        wanted = -near + math.log1p(-math.exp(-float(step / scale)))
        found = distribution.log_prob(torch.tensor(float(level), dtype=torch.float64)).item()
        assert abs(found - wanted) < 1e-9 * abs(wanted)


@pytest.mark.parametrize("raw_scale", [-60.0, -10.0, 0.0, 60.0])
@pytest.mark.parametrize("loc", [-100.0, -1.0, 0.3, 100.0])
def test_scores_and_gradients_are_finite_in_float32_whatever_a_network_says(loc: float, raw_scale: float) -> None:
    made = family(256)
    raw = {"loc": torch.full((256,), loc), "scale": torch.full((256,), raw_scale)}
    for value in raw.values():
        value.requires_grad_()
    parameters = {name: made.constrain(name, value) for name, value in raw.items()}
    score = made.log_prob(made.distribution(parameters, (256,)), torch.arange(256.0))
    assert score.isfinite()
    for gradient in torch.autograd.grad(score, list(raw.values())):
        assert gradient.isfinite().all()


def test_gradients_are_those_of_finite_differences() -> None:
    made = family(8)
    loc, scale = torch.tensor(0.3).double().requires_grad_(), torch.tensor(0.2).double().requires_grad_()
    values = torch.arange(8.0).double()

    def score(loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return made.distribution({"loc": loc.expand(8), "scale": scale.expand(8)}, ()).log_prob(values)

    assert torch.autograd.gradcheck(score, (loc, scale))


def test_it_expands_as_torchs_own_do() -> None:
    distribution = family(5).members()(torch.tensor([0.1, 0.5]), torch.tensor(0.3), 5)
    wide = distribution.expand((3, 2))
    assert (wide.batch_shape, wide.levels) == ((3, 2), 5)
    torch.testing.assert_close(wide.mean, distribution.mean.expand(3, 2))
    assert wide.enumerate_support().shape == (5, 3, 2)
    assert wide.enumerate_support(expand=False).shape == (5, 1, 1)
    with pytest.raises(ValueError, match="within the support"):
        wide.log_prob(torch.tensor(5.0))


def test_networks_read_levels_between_minus_one_and_one() -> None:
    read = family(256).look(torch.tensor([0.0, 127.5, 255.0]))
    assert read.tolist() == [-1.0, 0.0, 1.0]


# ---- in a model


def spec(**changes: Any) -> dict[str, Any]:
    x = {
        "distribution": {"DiscretizedLogistic": {"levels": 256}},
        "shape": [1, 4, 4],
        "supervision": "full",
        "generative": {"parents": ["z"], "network": {"mlp": [4]}},
    }
    recognition = {"parents": ["x"], "network": {"mlp": [4]}}
    z = {"distribution": "Normal", "shape": [2], "supervision": "none", "recognition": recognition}
    return {"version": 1, "nodes": {"x": x, "z": z}, **changes}


def test_a_grey_value_of_few_levels_can_be_enumerated() -> None:
    plain = spec()
    grey = {"distribution": {"DiscretizedLogistic": {"levels": 8}}, "supervision": "none"}
    plain["nodes"]["g"] = {**grey, "recognition": {"parents": ["x"], "network": {"mlp": [4]}}}
    plain["nodes"]["x"]["generative"]["parents"] = ["z", "g"]
    model = sgc.compile(plain)
    assert model.outline.variables["g"].estimator.name == "enumerate"  # type: ignore[union-attr]
    model.objective({"x": torch.randint(0, 256, (3, 1, 4, 4))}).loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_bytes_are_taken_as_they_are_and_other_values_refused() -> None:
    model = sgc.compile(spec())
    bytes_ = torch.randint(0, 256, (3, 1, 4, 4), dtype=torch.uint8)
    assert model.objective({"x": bytes_}).bound.isfinite().all()
    drawn = model.generate(5)["x"]
    assert torch.equal(drawn, drawn.round())
    for wrong in (bytes_ / 255, bytes_.int() + 250):
        with pytest.raises(ValueError, match=r"'x': found .*, wanted an integer from 0 to 255"):
            model.objective({"x": wrong})


def test_a_value_that_is_no_level_is_told_with_file_and_row(tmp_path: Path) -> None:
    image = np.zeros((6, 4, 4))
    image[4, 1, 2] = 255.5
    np.savez(tmp_path / "grey.npz", image=image)
    for transforms, words in (
        ([], "grey.npz: row 4: node 'x', column 'image': found 255.5 at [0, 1, 2], wanted an integer from 0 to 255"),
        (
            [{"divide": 300}],
            "grey.npz: row 4: node 'x', column 'image': found 0.851667 at [0, 1, 2], "
            "wanted an integer from 0 to 255; is a transform {divide: …} one too many?",
        ),
    ):
        data = {
            "source": "npz",
            "file": str(tmp_path / "grey.npz"),
            "columns": {"x": {"column": "image", "transforms": transforms}},
        }
        with pytest.raises(DataError) as caught:
            sgc.train(spec(data=data), output=tmp_path / "run")
        assert str(caught.value) == f"{tmp_path}/{words}"
