"""The spatial transformer and what combines canvases: against formulas written out, and their gradients numerically."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from oracle import assert_same
from torch import Tensor

from sgc.networks.combination import Combination
from sgc.networks.entries import AffineNetwork, Combine, Mlp
from sgc.networks.layer import Shape, ShapeFault
from sgc.networks.spatial_transformer import Affine
from sgc.networks.stack import stack
from sgc.runtime.network_modules import Trunk

pytestmark = pytest.mark.usefixtures("double_precision", "seeded_draws")


def transform(way: Any, made: Shape, *inputs: Tensor) -> Tensor:
    module = Affine(way=way, output=made).joining_module([tuple(value.shape[1:]) for value in inputs])
    result: Tensor = module(*inputs)
    assert tuple(result.shape) == (len(inputs[0]), *made)
    return result


def read_at(image: Tensor, row: float, column: float) -> Tensor:
    """Interpolate an image [C, H, W] between pixel centres, with zeros outside: [C]."""
    found = torch.zeros(len(image))
    for i in (math.floor(row), math.floor(row) + 1):
        for j in (math.floor(column), math.floor(column) + 1):
            if 0 <= i < image.shape[1] and 0 <= j < image.shape[2]:
                found = found + (1 - abs(row - i)) * (1 - abs(column - j)) * image[:, i, j]
    return found


def by_hand(way: str, made: Shape, image: Tensor, size: Sequence[float], middle: Sequence[float]) -> Tensor:
    """Read what stands at every pixel of the result; size and middle are across, then down."""
    channels, height, width = made
    result = torch.zeros(channels, height, width)
    for i in range(height):
        for j in range(width):
            across, down = (2 * j + 1) / width - 1, (2 * i + 1) / height - 1  # of the result, from −1 to 1
            if way == "crop":
                across, down = middle[0] + size[0] * across, middle[1] + size[1] * down
            else:
                across, down = (across - middle[0]) / size[0], (down - middle[1]) / size[1]
            row, column = ((down + 1) * image.shape[1] - 1) / 2, ((across + 1) * image.shape[2] - 1) / 2
            result[:, i, j] = read_at(image, row, column)
    return result


@pytest.mark.parametrize("way", ["crop", "paste"])
@pytest.mark.parametrize("sizes", [1, 2])
def test_a_window_is_read_where_the_formula_says(way: str, sizes: int) -> None:
    image, made = torch.rand(3, 2, 6, 9), (2, 7, 5)
    size, middle = 0.3 + torch.rand(3, sizes), torch.rand(3, 2) - 0.5
    found = transform(way, made, size, image, middle)  # the image may stand anywhere among the inputs
    for row in range(3):
        both = size[row].expand(2).tolist()
        assert_same(found[row], by_hand(way, made, image[row], both, middle[row].tolist()))


def test_the_whole_canvas_is_the_image_itself() -> None:
    image, whole, middle = torch.rand(2, 1, 5, 7), torch.ones(2, 1), torch.zeros(2, 2)
    for way in ("crop", "paste"):
        assert_same(transform(way, (1, 5, 7), image, whole, middle), image)


def test_what_is_pasted_can_be_cropped_again() -> None:
    """A picture pasted into a window of its own number of pixels, cropped from there, is itself."""
    image, size = torch.rand(4, 1, 4, 4), torch.full((4, 1), 0.25)
    middle = torch.tensor([[-0.75, 0.25], [0.0, 0.0], [0.5, -0.125], [0.25, 0.75]])
    canvas = transform("paste", (1, 16, 16), image, size, middle)
    assert_same(transform("crop", (1, 4, 4), canvas, size, middle), image)
    assert_same(canvas.sum((1, 2, 3)), image.sum((1, 2, 3)))


@pytest.mark.parametrize("way", ["crop", "paste"])
def test_the_gradient_is_the_numerical_one(way: str) -> None:
    image, made = torch.rand(2, 1, 5, 4, requires_grad=True), (1, 4, 3)
    size = (0.5 + 0.3 * torch.rand(2, 1)).requires_grad_()
    middle = (0.4 * torch.rand(2, 2) - 0.2).requires_grad_()
    assert torch.autograd.gradcheck(lambda *given: transform(way, made, *given), (image, size, middle), eps=1e-7)


@pytest.mark.parametrize("way", ["crop", "paste"])
def test_wild_windows_are_kept_in_bounds(way: str) -> None:
    image = torch.rand(5, 1, 6, 6)
    size = torch.tensor([[1e-30], [1e30], [0.0], [-1.0], [0.5]]).requires_grad_()
    middle = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1e20, 0.0], [0.0, -1e20], [9.0, 0.0]]).requires_grad_()
    found = transform(way, (1, 4, 4), image, size, middle)
    found.sum().backward()
    assert bool(found.isfinite().all())
    assert size.grad is not None
    assert middle.grad is not None
    assert bool(size.grad.isfinite().all())
    assert bool(middle.grad.isfinite().all())
    assert not bool(found[4].any())  # a window beyond the edge holds nothing


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ([(1, 4, 4), (2,)], "affine takes one image [channels, height, width], then the window's size"),
        ([(3,)], "affine takes one image"),
        ([(1, 4, 4), (1, 4, 4), (3,)], "affine takes one image"),
        ([(3, 4, 4), (1,), (2,)], "affine keeps the channels: got [3, 4, 4], [1], [2], and crop gives [1, 2, 2]"),
    ],
)
def test_what_an_affine_cannot_take_is_named(shapes: list[Shape], said: str) -> None:
    with pytest.raises(ShapeFault) as problem:
        stack([AffineNetwork.model_validate({"affine": {"crop": [1, 2, 2]}})], [(f"p{s}", s) for s in shapes])
    assert str(problem.value).startswith(said)


# ---- combining


def combine(way: Any, *inputs: Tensor) -> Tensor:
    trunk = Trunk(stack([Combine(combine=way)], [(f"p{i}", tuple(v.shape[1:])) for i, v in enumerate(inputs)]))
    rows, _ = trunk([[value.unsqueeze(0) for value in inputs]], 2)
    return rows


def test_canvases_are_combined_as_their_words_say() -> None:
    one, two, three = torch.rand(3, 4, 1, 3, 2)
    assert_same(combine("sum", one, two, three), one + two + three)
    assert_same(combine("mean", one, two), (one + two) / 2)
    assert_same(combine("max", one, two, three), torch.maximum(one, torch.maximum(two, three)))
    assert_same(combine("last", one, two), two)
    assert_same(combine("over", one, two, three), 1 - (1 - one) * (1 - two) * (1 - three))  # ink, its own opacity


def test_colours_lie_over_those_before_them() -> None:
    """Opaque hides what is below, clear shows it, half mixes."""
    below = torch.cat([torch.rand(2, 3, 4, 4), torch.ones(2, 1, 4, 4)], 1)
    above = torch.cat([torch.rand(2, 3, 4, 4), torch.full((2, 1, 4, 4), 0.5)], 1)
    above[:, -1, 0], above[:, -1, 1] = 1, 0
    found = combine("over", below, above)
    assert found.shape == (2, 3, 4, 4)
    assert_same(found[:, :, 0], above[:, :3, 0])
    assert_same(found[:, :, 1], below[:, :3, 1])
    assert_same(found[:, :, 2:], (above[:, :3, 2:] + below[:, :3, 2:]) / 2)


def test_what_cannot_be_combined_is_named() -> None:
    with pytest.raises(
        ShapeFault, match=r"combine takes values of one shape, or with axes of one in place of others, got \[2\], \[3\]"
    ):
        Combination(way="sum").joined_shape([(2,), (3,)])
    with pytest.raises(
        ShapeFault, match=r"'over' takes images of 1, 2 or 4 channels, the last the opacity, got \[3, 4, 4\]"
    ):
        Combination(way="over").joined_shape([(3, 4, 4), (3, 4, 4)])


@pytest.mark.parametrize("way", ["sum", "mean", "max", "last"])
def test_scalars_are_combined_as_vectors_of_one(way: str) -> None:
    """Alone, among vectors of one, and before another entry."""
    a, b = torch.randn(1, 5), torch.randn(1, 5)
    wanted = {"sum": a + b, "mean": (a + b) / 2, "max": torch.maximum(a, b), "last": b}[way]
    for shapes in ([(), ()], [(), (1,)]):
        made = stack([Combine.model_validate({"combine": way})], list(zip("ab", shapes, strict=True)))
        rows, leading = Trunk(made)([[a, b.reshape(1, 5, *shapes[1])]], 2)
        assert (made.output, leading) == ((1,), [(1, 5)])
        assert_same(rows, wanted.reshape(5, 1))
    alone = stack([Combine.model_validate({"combine": way}), Mlp(mlp=(3,))], [("a", ())])
    assert Trunk(alone)([[a]], 2)[0].shape == (5, 3)
