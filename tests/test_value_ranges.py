"""Parameters that are taken from a name: proved to lie in their set by what `check` knows, or refused by name."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import sgc
from sgc.distributions.supports import SUPPORTS, Support
from sgc.errors import DataError, SpecError
from sgc.networks.combination import Combination
from sgc.networks.layers import LAYERS
from sgc.networks.residual import ResidualBlock
from sgc.networks.spatial_transformer import Affine

pytestmark = pytest.mark.usefixtures("seeded_draws")

INTERVALS = [
    SUPPORTS["real"],
    SUPPORTS["positive"],
    SUPPORTS["nonnegative"],
    SUPPORTS["unit_interval"],
    SUPPORTS["interval"].within(-1.0, 1.0),
    SUPPORTS["interval"].within(2.0, 3.0),
    SUPPORTS["interval"].within(-math.inf, -1.0),
]
OPTIONS: dict[str, Any] = {
    "Linear": 3, "Unflatten": [4, 4], "Conv1d": {"out_channels": 2, "kernel_size": 2}, "PixelShuffle": 2,
    "Conv2d": {"out_channels": 2, "kernel_size": 2}, "ConvTranspose1d": {"out_channels": 2, "kernel_size": 2},
    "ConvTranspose2d": {"out_channels": 2, "kernel_size": 2}, "Upsample": 2, "MaxPool1d": 2, "MaxPool2d": 2,
    "AvgPool1d": 2, "AvgPool2d": 2, "AdaptiveAvgPool1d": 2, "AdaptiveAvgPool2d": 2, "AdaptiveMaxPool2d": 2,
    "GroupNorm": 2,
}  # fmt: skip
SHAPES = [(16,), (4, 4), (4, 2, 2)]


def inside(support: Support, values: torch.Tensor) -> bool:
    """Tell whether numbers lie in the closure of a support: at an open end rounding may bring them."""
    low, high = support.ends
    return bool((values >= low).all()) and bool((values <= high).all())


def numbers(support: Support, *shape: int) -> torch.Tensor:
    """Draw numbers over all of a support, its ends and far ones among them, in double precision."""
    low, high = support.ends
    u = torch.rand(400, *shape, dtype=torch.float64)
    far = 10 ** (6 * u - 3)
    if high < math.inf and low > -math.inf:
        values = low + (high - low) * u.clamp(1e-9, 1 - 1e-9).where(torch.rand_like(u) < 0.8, u.round())
    elif low > -math.inf:
        values = low + far
    elif high < math.inf:
        values = high - far
    else:
        values = far * torch.sign(torch.randn_like(u))
    return values


@pytest.mark.parametrize("incoming", INTERVALS, ids=lambda each: each.range.replace(" ", "-"))
@pytest.mark.parametrize("name", LAYERS)
def test_what_a_layer_makes_lies_where_it_says(name: str, incoming: Support) -> None:
    layer = LAYERS[name].model_validate({name: OPTIONS[name]} if name in OPTIONS else name)
    for shape in SHAPES:
        try:
            layer.output_shape(shape)
        except Exception:
            continue
        module = layer.module(shape).double()
        if name == "Exp":
            made = module(numbers(incoming, *shape).clamp(-50, 50))
        else:
            made = module(numbers(incoming, *shape))
        assert inside(layer.output_range(incoming), made.detach()), shape


def test_the_ranges_that_are_proved_are_the_smallest() -> None:
    real = SUPPORTS["real"]
    made = {name: LAYERS[name].model_validate(name).output_range(real).range for name in LAYERS if name not in OPTIONS}
    assert {name: words for name, words in made.items() if words != "a number"} == {
        "ReLU": "a number from 0 up",
        "Softplus": "a number above 0",
        "Tanh": "a number from -1 to 1",
        "Sigmoid": "a number between 0 and 1, neither of them",
        "Exp": "a number above 0",
        "LogNormalize": "a number from 0 up",
        "Softmax": "a number from 0 to 1",
    }


@pytest.mark.parametrize("way", ["sum", "max", "over", "mean", "last"])
@pytest.mark.parametrize("exists", [(), (2, 3)])
@pytest.mark.parametrize("incoming", INTERVALS, ids=lambda each: each.range.replace(" ", "-"))
def test_what_a_combination_makes_lies_where_it_says(way: Any, exists: tuple[int, ...], incoming: Support) -> None:
    layer = Combination(way=way, exists=exists)
    values = [numbers(incoming, 2, 3, 3) for _ in range(2)]
    there = [(torch.rand(400, 1) < 0.5).double() for _ in exists]
    shapes = [(2, 3, 3), (2, 3, 3), *(((1,),) * len(exists))]
    made = layer.joining_module(shapes)(*values, *there)
    ranges = [incoming, incoming, *(SUPPORTS["unit_interval"] for _ in exists)]
    assert inside(layer.joined_range(shapes, ranges), made)


@pytest.mark.parametrize("way", ["crop", "paste"])
def test_what_a_window_makes_lies_where_it_says(way: Any) -> None:
    layer, shapes = Affine(way=way, output=(1, 5, 5)), [(1, 3, 3), (3,)]
    for incoming in INTERVALS:
        image, place = numbers(incoming, 1, 3, 3), torch.randn(400, 3, dtype=torch.float64)
        made = layer.joining_module(shapes)(image, place)
        (low, high), slack = layer.joined_range(shapes, [incoming, SUPPORTS["real"]]).ends, 1e-9
        assert low - slack <= float(made.min())
        assert float(made.max()) <= high + slack


def test_a_residual_block_ends_as_its_activation_does() -> None:
    softplus = LAYERS["Softplus"].model_validate("Softplus")
    assert (
        ResidualBlock(inner=(), beside=(), end=(softplus,)).output_range(SUPPORTS["real"]).range == "a number above 0"
    )
    assert ResidualBlock(inner=(), beside=(), end=()).output_range(SUPPORTS["positive"]).range == "a number"


# ---- check


TEXT = """
version: 1
inputs: {{size: {{shape: []}}, site: {{values: [a, b]}}}}
features:
  h: {{parents: [z], network: {network}}}
nodes:
  z: {{distribution: LogNormal, shape: [2], supervision: none, recognition: {{parents: [x], network: {{mlp: [4]}}}}}}
  t: {{distribution: Dirichlet, shape: [2], supervision: none, recognition: {{parents: [x], network: {{mlp: [4]}}}}}}
  x:
    distribution: {family}
    shape: [2]
    supervision: full
    generative: {{parents: [z], network: {{mlp: []}}, parameters: {{{parameter}: {name}}}}}
"""


def spec(family: str, parameter: str, network: str, name: str = "h") -> Any:
    import yaml

    text = TEXT.format(network=network, family=family, parameter=parameter, name=name)
    if family in ("Poisson", "Exponential", "Bernoulli"):
        text = text.replace("parents: [z], network: {mlp: []}, parameters", "parameters")
    return sgc.load(yaml.safe_load(text))


def fault(family: str, parameter: str, network: str, name: str = "h") -> str:
    with pytest.raises(SpecError) as caught:
        spec(family, parameter, network, name)
    (found,) = caught.value.faults
    return f"{found.message}; {found.hint}" if found.hint else found.message


LINEAR = "{mlp: [2], activation: none}"
ANY = "'{}' of 'x' takes 'h', which may be a number: wanted {}; end its network with {}"


@pytest.mark.parametrize(
    ("family", "parameter", "network", "message"),
    [
        ("NegativeBinomial", "total_count", LINEAR, ANY.format(
            "total_count", "a number from 0 up", "{layers: [Softplus]} or {layers: [Exp]}")),
        ("Poisson", "rate", LINEAR, ANY.format(
            "rate", "a number from 0 up", "{layers: [Softplus]} or {layers: [Exp]}")),
        ("Normal", "scale", LINEAR, ANY.format(
            "scale", "a number above 0", "{layers: [Softplus]} or {layers: [Exp]}")),
        ("Bernoulli", "probs", LINEAR, ANY.format("probs", "a number from 0 to 1", "{layers: [Sigmoid]}")),
        ("NegativeBinomial", "probs", "{mlp: [2], activation: softplus}",
         "'probs' of 'x' takes 'h', which may be a number above 0: wanted a number from 0 to below 1; "
         "end its network with {layers: [Sigmoid]}"),
        ("Normal", "scale", "{mlp: [2]}",
         "'scale' of 'x' takes 'h', which may be a number from 0 up: wanted a number above 0; "
         "end its network with {layers: [Softplus]} or {layers: [Exp]}"),
    ],
)  # fmt: skip
def test_a_feature_that_may_leave_the_set_is_refused(family: str, parameter: str, network: str, message: str) -> None:
    assert fault(family, parameter, network) == message


def test_other_names_that_may_leave_the_set_are_refused() -> None:
    assert fault("Bernoulli", "probs", "{mlp: [2]}", "z") == (
        "'probs' of 'x' takes 'z', which may be a number above 0: wanted a number from 0 to 1"
    )
    assert fault("Normal", "scale", "{mlp: [2]}", "site") == (
        "'scale' of 'x' takes 'site', which may be a number from 0 to 1: wanted a number above 0"
    )


@pytest.mark.parametrize(
    ("family", "parameter", "network"),
    [
        ("NegativeBinomial", "total_count", "{mlp: [2], activation: softplus}"),
        ("NegativeBinomial", "probs", "[{mlp: [3]}, {layers: [{Linear: 2}, Sigmoid]}]"),
        ("Poisson", "rate", "{layers: [{Linear: 2}, Exp]}"),
        ("Normal", "scale", "{layers: [Dropout, {Linear: 2}, Softplus]}"),
        ("Normal", "loc", LINEAR),
        ("Bernoulli", "logits", LINEAR),
    ],
)
def test_a_feature_that_ends_in_the_set_is_taken_and_runs(family: str, parameter: str, network: str) -> None:
    """Numbers far out, where float32 rounds to the end of the set, are kept inside it."""
    model = sgc.compile(spec(family, parameter, network))
    x = torch.ones(3, 2)
    batch = {"x": x, "size": torch.ones(3), "site": torch.zeros(3, dtype=torch.long)}
    out = model.objective(batch)
    out.loss.backward()
    assert bool(out.bound.isfinite().all())
    density = model.machine.generative["x"]
    for far in (-1e4, 0.0, 80.0):
        values = density._taken(parameter, _ends(network, far), 1)
        family_ = model.outline.variables["x"].family
        word = family_.constraints[parameter].word
        assert not any(SUPPORTS.get(word, SUPPORTS["real"]).faults(values)), (word, values)


def _ends(network: str, far: float) -> torch.Tensor:
    """Make what the last layer of a network makes of a number far out, in float32."""
    raw = torch.full((1, 2), far)
    if "Sigmoid" in network:
        return raw.sigmoid()
    if "oftplus" in network:
        return torch.nn.functional.softplus(raw)
    return raw.exp() if "Exp" in network else raw


def test_nodes_whose_values_lie_in_the_set_are_taken() -> None:
    model = sgc.compile(spec("Normal", "scale", LINEAR, "z"))
    batch = {"x": torch.zeros(3, 2), "size": torch.ones(3), "site": torch.zeros(3, dtype=torch.long)}
    assert bool(model.objective(batch).bound.isfinite().all())


def test_the_numbers_of_an_input_are_held_to_the_set_where_they_are_read(tmp_path: Path) -> None:
    """A known deviation by row, say: 0 is none."""
    made = spec("Normal", "scale", LINEAR, "size")
    model = sgc.compile(made)
    site = torch.zeros(2, dtype=torch.long)
    batch = {"x": torch.zeros(2, 2), "size": torch.tensor([0.5, 2.0]), "site": site}
    scale = model.conditional("x", "generative", {**batch, "z": torch.ones(2, 2)}).stddev
    torch.testing.assert_close(scale, batch["size"].unsqueeze(-1).expand(2, 2))
    batch["size"] = torch.tensor([0.5, 0.0])
    with pytest.raises(ValueError, match=r"^'size': found 0 in row 1, wanted a number above 0$"):
        model.objective(batch)
    frame = pd.DataFrame({"size": [0.5, 0.0], "site": ["a", "b"]})
    arrays = {"x": np.zeros((2, 2), np.float32), "size": frame["size"], "site": frame["site"]}
    with pytest.raises(DataError, match="row 1: node 'size': found 0, wanted a number above 0"):
        sgc.train(made, data=arrays, output=tmp_path / "run")
