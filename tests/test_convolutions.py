"""Convolutional networks: shapes and sizes without torch against torch's own, parents of several kinds, and faults."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from oracle import Raw, assert_same
from torch.nn import functional

import sgc
from sgc.networks.entries import Conv, Mlp
from sgc.networks.image_layers import (
    AdaptiveAvgPool2d,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    ConvTranspose2d,
    Dropout2d,
    GroupNorm,
    MaxPool2d,
    Upsample,
)
from sgc.networks.layer import Shape, ShapeFault
from sgc.networks.layers import LAYERS
from sgc.networks.stack import stack
from sgc.runtime.network_modules import Trunk
from sgc.spec.resolver import outline

pytestmark = pytest.mark.usefixtures("double_precision", "seeded_draws")


def conv(channels: Sequence[int], kernel: int, stride: int = 1, **beside: Any) -> Conv:
    written = {"conv": {"channels": list(channels), "kernel": kernel, "stride": stride}, **beside}
    return Conv.model_validate(written)


@pytest.mark.parametrize("seed", range(30))
def test_shapes_and_sizes_are_torch_s(seed: int) -> None:
    """Random kernels, strides, zeros and sides: the shape that is inferred is the shape that comes out."""
    rng = random.Random(seed)
    shape = (rng.randint(1, 3), rng.randint(5, 20), rng.randint(5, 20))
    kernel, stride = rng.randint(1, 5), rng.randint(1, 3)
    layers = [
        Conv2d(out_channels=rng.randint(1, 4), kernel_size=kernel, stride=stride, padding=rng.randint(0, 2)),
        MaxPool2d(kernel_size=rng.randint(1, 3), stride=rng.randint(1, 2)),
        AvgPool2d(kernel_size=rng.randint(1, 3)),
        AdaptiveAvgPool2d(output_size=rng.randint(1, 4)),
        ConvTranspose2d(out_channels=2, kernel_size=kernel, stride=stride, padding=rng.randint(0, 2)),
        Upsample(scale_factor=stride),
        BatchNorm2d(),
        GroupNorm(num_groups=rng.choice([1, shape[0]])),
        Dropout2d(),
    ]
    for layer in layers:
        module = layer.module(shape)
        made = module(torch.randn(4, *shape))
        assert tuple(made.shape[1:]) == layer.output_shape(shape)
        assert sum(p.numel() for p in module.parameters()) == layer.parameter_count(shape)


@pytest.mark.parametrize(("kernel", "stride"), [(4, 2), (5, 2), (3, 1), (5, 1), (3, 3), (2, 2), (6, 4)])
def test_a_conv_divides_the_sides_by_its_stride(kernel: int, stride: int) -> None:
    """The zeros around are (kernel − stride + 1)//2, as the language says."""
    made = stack([conv([3, 2], kernel, stride)], [("x", (1, stride**2 * 3, stride**2 * 4))])
    assert made.output == (2, 3, 4)
    first = made.first
    assert isinstance(first, Conv2d)
    assert first.padding == (kernel - stride + 1) // 2


def test_parents_of_several_kinds_enter_as_channels_side_by_side() -> None:
    """Two images, a vector and a number: one convolution of all of them, the last two spread over all places."""
    shapes: list[tuple[str, Shape]] = [("v", (3,)), ("x", (2, 8, 6)), ("m", (1, 8, 6)), ("n", ())]
    made = stack([conv([5], 3, 1, activation="none")], shapes)
    trunk = Trunk(made)
    assert sum(p.numel() for p in trunk.parameters()) == made.parameters
    values = [torch.randn(4, *shape) for _, shape in shapes]
    rows, leading = trunk([[value.reshape(1, 4, *value.shape[1:]) for value in values]], 2)
    assert leading == [(1, 4)]
    assert trunk.first is not None
    weights = list(trunk.first.weights)
    kernel = torch.cat([weights[1], weights[2]], 1)
    wanted = functional.conv2d(torch.cat([values[1], values[2]], 1), kernel, trunk.first.bias, 1, 1)
    wanted = wanted + (values[0] @ weights[0].T + values[3].reshape(4, 1) @ weights[3].T)[..., None, None]
    assert_same(rows, wanted)


def test_what_varies_over_categories_is_added_to_an_image_convolved_once() -> None:
    """An image [1, B] and a one-hot [K, 1] give [K, B], as when both are laid out in full."""
    trunk = Trunk(
        stack([conv([4, 2], 4, 2, norm="layer"), Mlp.model_validate({"mlp": [5]})], [("x", (1, 8, 8)), ("y", (3,))])
    )
    image, category = torch.randn(1, 6, 1, 8, 8), torch.eye(3).reshape(3, 1, 3)
    rows, leading = trunk([[image, category]], 2)
    assert leading == [(3, 6)]
    whole, _ = trunk([[image.expand(3, 6, 1, 8, 8), category.expand(3, 6, 3)]], 2)
    assert_same(rows, whole)
    assert rows.shape == (18, 5)


def picture_spec(network: Any) -> Raw:
    """M2 on small pictures whose classifier is convolutional."""
    mlp: Raw = {"network": {"mlp": [6]}}
    return {
        "version": 1,
        "nodes": {
            "x": {
                "distribution": "Bernoulli",
                "shape": [1, 8, 8],
                "supervision": "full",
                "generative": {"parents": ["y", "z"], **mlp},
            },
            "y": {
                "distribution": "Categorical",
                "categories": 3,
                "supervision": "partial",
                "recognition": {"parents": ["x"], "network": network},
            },
            "z": {
                "distribution": "Normal",
                "shape": [2],
                "supervision": "none",
                "recognition": {"parents": ["x", "y"], "network": network},
            },
        },
    }


NETWORKS: list[Any] = [
    {"conv": {"channels": [4, 3], "kernel": 4, "stride": 2}},
    [{"conv": {"channels": [4], "kernel": 3}, "norm": "batch", "dropout": 0.2}, {"mlp": [5], "dropout": 0.5}],
]


@pytest.mark.parametrize("network", NETWORKS, ids=["conv", "conv-mlp"])
def test_a_convolutional_model_is_counted_and_takes_a_step(network: Any) -> None:
    spec = sgc.load(picture_spec(network))
    model = sgc.compile(spec)
    assert sum(p.numel() for p in model.parameters()) == outline(spec).parameter_count()
    x = torch.rand(5, 1, 8, 8).round()
    out = model.objective({"x": x, "y": torch.tensor([0, -1, 2, -1, 1])})
    out.loss.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())
    model.eval()
    alone = torch.cat([model.conditional("y", "recognition", {"x": row[None]}).probs for row in x])  # type: ignore[attr-defined]
    assert_same(model.conditional("y", "recognition", {"x": x}).probs, alone)  # type: ignore[attr-defined]


def test_a_convolution_may_be_a_feature_that_several_nodes_share() -> None:
    spec = picture_spec({"mlp": [4]})
    spec["features"] = {"h": {"parents": ["x"], "network": NETWORKS[0]}}
    for name, parents in (("y", ["h"]), ("z", ["h", "y"])):
        spec["nodes"][name]["recognition"]["parents"] = parents
    model = sgc.compile(sgc.load(spec))
    assert model.outline.features["h"].stack.output == (3, 2, 2)
    assert bool(model.objective({"x": torch.rand(4, 1, 8, 8).round()}).bound.isfinite().all())


@pytest.mark.parametrize(
    ("parents", "kernel", "said"),
    [
        ([("'y'", (3,))], 3, "a convolution needs an image [channels, height, width], got 'y' [3]"),
        (
            [("'x'", (1, 8, 8)), ("'m'", (1, 4, 4))],
            3,
            "the images of one convolution have one height and width, got 'x' [1, 8, 8], 'm' [1, 4, 4]",
        ),
        ([("x", (1, 10, 10))], 4, "Conv2d with a kernel of 4 got [2, 2, 2]: too small"),
    ],
)
def test_shapes_that_a_convolution_cannot_take_are_named(
    parents: list[tuple[str, Shape]], kernel: int, said: str
) -> None:
    stride = 1 if kernel < 4 else 4
    with pytest.raises(ShapeFault) as problem:
        stack([conv([2], kernel, stride), conv([2], kernel, stride), conv([2], kernel, stride)], parents)
    assert str(problem.value) == said


OF_IMAGES: dict[str, Raw] = {
    "Conv2d": {"out_channels": 2, "kernel_size": 3},
    "ConvTranspose2d": {"out_channels": 2, "kernel_size": 3},
    "Upsample": {"scale_factor": 2},
    "MaxPool2d": {"kernel_size": 2},
    "AvgPool2d": {"kernel_size": 2},
    "AdaptiveAvgPool2d": {"output_size": 2},
    "BatchNorm2d": {},
    "Dropout2d": {},
}


@pytest.mark.parametrize("name", OF_IMAGES)
def test_layers_of_images_refuse_a_vector(name: str) -> None:
    with pytest.raises(ShapeFault, match="wanted an image"):
        LAYERS[name].model_validate({name: OF_IMAGES[name]}).output_shape((4,))


def test_what_leaves_nothing_or_does_not_divide_is_refused() -> None:
    with pytest.raises(ShapeFault, match=r"ConvTranspose2d with a padding of 3 got \[1, 2, 2\]: nothing is left"):
        ConvTranspose2d(out_channels=1, kernel_size=3, padding=3).output_shape((1, 2, 2))
    with pytest.raises(ShapeFault, match=r"GroupNorm of 2 groups got \[3, 4, 4\], wanted channels they divide"):
        GroupNorm(num_groups=2).output_shape((3, 4, 4))
