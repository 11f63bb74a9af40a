"""Networks beside `mlp` and `conv`: deconv, residual, gru, own modules; shapes without torch against torch's own."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from oracle import Raw, assert_same
from small_runs import NPZ, StopsAfterAnEpoch, changed, finished_files, small, small_arrays
from test_cli import call
from torch import Tensor, nn
from torch.nn import functional

import sgc
from sgc.distributions.supports import NONNEGATIVE, POSITIVE, REAL, SIMPLEX, UNIT_INTERVAL
from sgc.errors import UsageError
from sgc.networks.combination import Combination
from sgc.networks.entries import Conv, Deconv, Gru, Layers, Mlp, Residual
from sgc.networks.entry import Wanted
from sgc.networks.layer import Shape, ShapeFault
from sgc.networks.layers import LAYERS
from sgc.networks.repeat_entries import CombineSteps
from sgc.networks.stack import Stack, stack
from sgc.report.json_report import inspect_json
from sgc.report.text_report import inspect_text
from sgc.runtime.network_modules import Trunk
from sgc.spec.resolver import outline

pytestmark = pytest.mark.usefixtures("double_precision", "seeded_draws")


def entry(kind: type[Any], **written: Any) -> Any:  # Any: an entry of a network
    return kind.model_validate(written)


def run(made: Stack, *values: Tensor) -> Tensor:
    """Pass rows through a trunk of these layers, in evaluation."""
    trunk = Trunk(made).eval()
    assert sum(p.numel() for p in trunk.parameters()) == made.parameters
    rows, leading = trunk([[value.unsqueeze(0) for value in values]], 2)
    assert leading == [(1, len(values[0]))]
    assert tuple(rows.shape[1:]) == made.output
    return rows


# ---- deconv


@pytest.mark.parametrize("seed", range(40))
def test_a_deconv_runs_from_the_event_backwards_as_a_conv_of_it_runs_forwards(seed: int) -> None:
    """The map before a deconv gives the shape that the same conv makes of the event; the heads have the event's."""
    rng = random.Random(seed)
    stride = rng.randint(1, 3)
    kernel = rng.randint(stride, 6)
    channels = [rng.randint(1, 3) for _ in range(rng.randint(1, 2))]
    sides = [stride ** len(channels) * rng.randint(2, 3) + (1 if kernel > 5 and stride == 1 else 0) for _ in "hw"]
    event = (rng.randint(1, 3), *(max(side, kernel) // stride * stride for side in sides))
    if any(side % stride ** len(channels) for side in event[1:]):
        event = (event[0], stride ** len(channels) * 6, stride ** len(channels) * 6)
    written = {"channels": channels, "kernel": kernel, "stride": stride}
    forward = stack([entry(Conv, conv=written)], [("x", event)])
    wanted = Wanted(event, {"loc": event, "scale": event})
    made = stack([entry(Deconv, deconv=written, norm="batch")], [("y", (3,)), ("z", (2,))], wanted)
    assert made.heads is not None
    first = made.first
    assert first is not None
    assert made.entered == (channels[0] * forward.output[1] * forward.output[2],)
    assert made.heads.output_shape(made.output) == (2 * event[0], *event[1:])
    rows = run(made, torch.randn(4, 3), torch.randn(4, 2))
    heads = made.heads.module(made.output)
    assert tuple(heads(rows).shape[1:]) == (2 * event[0], *event[1:])
    assert sum(p.numel() for p in heads.parameters()) == made.heads.parameter_count(made.output)


def decoding(distribution: Any, shape: Sequence[int], network: Any, **more: Any) -> Raw:
    """A picture of a label and a code."""
    return {
        "version": 1,
        "nodes": {
            "x": {
                "distribution": distribution,
                "shape": list(shape),
                "supervision": "full",
                "generative": {"parents": ["y", "z"], "network": network},
                **more,
            },
            "y": {
                "distribution": "Categorical",
                "categories": 3,
                "supervision": "partial",
                "recognition": {"parents": ["x"], "network": {"mlp": [4]}},
            },
            "z": {
                "distribution": "Normal",
                "shape": [2],
                "supervision": "none",
                "recognition": {"parents": ["x", "y"], "network": {"mlp": [4]}},
            },
        },
    }


DECONV: Raw = {"deconv": {"channels": [4, 3], "kernel": 4, "stride": 2}}
PICTURES: list[tuple[Any, Sequence[int], Raw, Any]] = [
    ("Bernoulli", (1, 8, 8), {}, [{"mlp": [5]}, DECONV]),
    ("Normal", (3, 8, 4), {}, {**DECONV, "norm": "batch", "dropout": 0.2}),
    ({"DiscretizedLogistic": {"levels": 256}}, (3, 4, 8), {}, [{"mlp": [5]}, DECONV]),
    ("Categorical", (2, 8, 8), {"categories": 5}, DECONV),
    ("Laplace", (8, 8), {}, DECONV),
]


@pytest.mark.parametrize(
    ("distribution", "shape", "more", "network"), PICTURES, ids=[str(p[0]).split("'")[-2:][0] for p in PICTURES]
)
def test_a_deconv_gives_the_parameters_of_pictures(distribution: Any, shape: Any, more: Raw, network: Any) -> None:
    spec = sgc.load(decoding(distribution, shape, network, **more))
    model = sgc.compile(spec)
    assert sum(p.numel() for p in model.parameters()) == outline(spec).parameter_count()
    x = model.generate(5)["x"]
    assert tuple(x.shape) == (5, *shape)
    out = model.objective({"x": x, "y": torch.tensor([0, -1, 2, -1, 1])})
    out.loss.backward()
    assert bool(out.bound.isfinite().all())
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize(("distribution", "shape", "more", "network"), PICTURES[1:4:2], ids=["Normal", "Categorical"])
def test_each_parameter_of_a_pixel_hangs_on_the_code_about_that_pixel(
    distribution: Any, shape: Any, more: Raw, network: Any
) -> None:
    """Change one place before the last layer: only the pixels under its kernel change, in every head and category."""
    model = sgc.compile(sgc.load(decoding(distribution, shape, network, **more))).eval()
    module = model.machine.generative["x"]
    assert module.outline.stack is not None
    before = torch.randn(1, *module.outline.stack.output)
    after = before.clone()
    after[0, :, 1, 1] += 1
    heads = module.outline.heads
    assert module.heads is not None
    one, two = (module._by_head(module.heads(rows))[0] for rows in (before, after))
    moved_heads = (one != two).split([torch.Size(head).numel() for head in heads.values()])
    for moved in moved_heads:
        there = moved.reshape(*shape, -1).any(-1).any(0)  # [height, width]
        expected = torch.zeros_like(there)
        expected[1:5, 1:5] = True  # stride 2, one pixel off: the kernel of place 1 lies on pixels 1 to 4
        assert torch.equal(there, expected)
        assert bool(moved.reshape(*shape, -1)[:, 1:5, 1:5].all())


def test_an_image_of_the_first_shape_goes_into_a_deconv_as_it_is() -> None:
    wanted = Wanted((1, 8, 8), {"logits": (1, 8, 8)})
    network = [entry(Deconv, **DECONV)]
    assert stack(network, [("h", (4, 2, 2))], wanted).first is None
    assert stack(network, [("h", (2, 2, 4))], wanted).first is not None
    alone = stack([entry(Deconv, deconv={"channels": [4], "kernel": 4, "stride": 2})], [("h", (4, 4, 4))], wanted)
    assert (alone.first, alone.rest, alone.output, alone.parameters) == (None, (), (4, 4, 4), 0)
    assert not alone.empty


@pytest.mark.parametrize(
    ("shape", "heads", "network", "said"),
    [
        (
            (1, 6, 8),
            {},
            [DECONV],
            "a deconv of stride 2 cannot give [3, 4], of the event [1, 6, 8]: the stride must divide",
        ),
        ((1, 7, 8), {}, [DECONV], "a deconv of stride 2 cannot give [7, 8]: the stride must divide"),
        ((8,), {}, [DECONV], "deconv makes an image [channels, height, width], and the event is [8]"),
        (
            (2, 4, 4),
            {"loc": (2, 4, 4), "scale_tril": (2, 4, 10)},
            [DECONV],
            "deconv gives numbers pixel by pixel, and 'scale_tril' [2, 4, 10] is not so",
        ),
        (
            (1, 8, 8),
            {},
            [DECONV, {"mlp": [3]}],
            "deconv gives the parameters by itself: nothing can follow it, got mlp",
        ),
        (None, {}, [DECONV], "deconv runs backwards from a node's event, and a feature has none: use ConvTranspose2d"),
        (
            (1, 2, 2),
            {},
            [{"deconv": {"channels": [4], "kernel": 9, "stride": 1}}],
            None,
        ),
    ],
)
def test_what_a_deconv_cannot_give_is_named(shape: Any, heads: Any, network: Any, said: str | None) -> None:
    kinds = [entry(Deconv if "deconv" in each else Mlp, **each) for each in network]
    wanted = None if shape is None else Wanted(shape, heads or {"logits": shape})
    if said is None:
        assert stack(kinds, [("z", (3,))], wanted).entered == (4 * 2 * 2,)  # zeros around make up for a large kernel
        return
    with pytest.raises(ShapeFault) as problem:
        stack(kinds, [("z", (3,))], wanted)
    assert str(problem.value) == said


def test_a_shared_deconv_serves_events_of_one_shape_alone(tmp_path: Path) -> None:
    spec = decoding("Bernoulli", (1, 8, 8), "dec")
    spec["networks"] = {"dec": [{"mlp": [5]}, DECONV]}
    spec["nodes"]["m"] = {**spec["nodes"]["x"], "shape": [3, 8, 8]}
    made = outline(sgc.load(spec))
    model = sgc.compile(sgc.load(spec))
    assert sum(p.numel() for p in model.parameters()) == made.parameter_count()
    assert model.machine.generative["x"].trunk is model.machine.generative["m"].trunk
    spec["nodes"]["m"]["shape"] = [1, 16, 16]
    with pytest.raises(sgc.SpecError, match=r"'m': the shared network 'dec' has other layers than for 'x'"):
        sgc.load(spec)


# ---- residual


def test_residual_blocks_of_vectors_add_what_came() -> None:
    made = stack([entry(Mlp, mlp=[4]), entry(Residual, residual=[4, 3], activation="tanh")], [("x", (5,))])
    trunk, x = Trunk(made), torch.randn(6, 5)
    first, flatten, *blocks = trunk.rest
    rows = torch.relu(trunk.first([[x.unsqueeze(0)]], 2)[0])  # type: ignore[misc]
    assert (type(first), type(flatten)) == (nn.ReLU, nn.Flatten)
    for block in blocks:
        one, two = (part for part in block.inner if isinstance(part, nn.Linear))  # type: ignore[union-attr]
        beside = rows if isinstance(block.beside, nn.Identity) else block.beside[0](rows)  # type: ignore[index]
        rows = torch.tanh(two(torch.tanh(one(rows))) + beside)
    assert_same(trunk([[x.unsqueeze(0)]], 2)[0], rows)
    assert made.output == (3,)
    assert isinstance(blocks[0].beside, nn.Identity)
    assert not isinstance(blocks[1].beside, nn.Identity)


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 2), (3, 3), (1, 1), (1, 2)])
def test_residual_blocks_of_images_have_the_shape_of_a_conv(kernel: int, stride: int, norm: str) -> None:
    written = {"channels": [4, 2], "kernel": kernel, "stride": stride}
    shape = (2, stride**2 * 4, stride**2 * 2)
    made = stack([entry(Residual, residual=written, norm=norm, dropout=0.1)], [("x", shape), ("y", (3,))])
    assert made.output == (2, 4, 2)
    assert made.entered == (4, *shape[1:])  # a map of both parents stands before the blocks
    run(made, torch.randn(5, *shape), torch.randn(5, 3))


def test_what_residual_blocks_cannot_take_is_named() -> None:
    even = {"channels": [2], "kernel": 4}
    with pytest.raises(ShapeFault, match="residual blocks add pixel to pixel: the kernel must be odd, got 4"):
        stack([entry(Residual, residual=even)], [("x", (1, 8, 8))])
    three = {"channels": [2], "kernel": 3, "stride": 3}
    said = (
        r"residual blocks got \[2, 8, 8\], of which the map gives \[2, 2, 2\] and what is added \[2, 3, 3\]: the stride"
    )
    with pytest.raises(ShapeFault, match=said):
        stack([entry(Residual, residual=three)], [("x", (1, 8, 8))])


# ---- gru


def test_a_gru_reads_a_sequence_to_its_last_state() -> None:
    """Two sequences and a vector against torch's cell, step by step; the vector comes at each."""
    shapes: list[tuple[str, Shape]] = [("s", (4, 2, 3)), ("v", (2,)), ("t", (4, 1)), ("n", ())]
    made = stack([entry(Gru, gru=5), entry(Mlp, mlp=[6])], shapes)
    trunk = Trunk(made)
    values = [torch.randn(3, *shape) for _, shape in shapes]
    gru = trunk.first.map.gru  # type: ignore[union-attr]
    cell = nn.GRUCell(gru.input_size, 5)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in gru.state_dict().items()})
    state = torch.zeros(3, 5)
    s, v, t, n = values
    for step in range(4):
        state = cell(torch.cat([s[:, step].flatten(1), v, t[:, step], n.reshape(3, 1)], 1), state)
    rows, _ = trunk([[value.unsqueeze(0) for value in values]], 2)
    assert_same(
        rows,
        torch.relu(trunk.rest[1](state)) if isinstance(trunk.rest[0], nn.Flatten) else torch.relu(trunk.rest[0](state)),
    )
    assert sum(p.numel() for p in trunk.parameters()) == made.parameters


def test_a_gru_takes_what_varies_over_categories() -> None:
    trunk = Trunk(stack([entry(Gru, gru=4)], [("x", (5, 2)), ("y", (3,))]))
    sequence, category = torch.randn(1, 6, 5, 2), torch.eye(3).reshape(3, 1, 3)
    rows, leading = trunk([[sequence, category]], 2)
    whole, _ = trunk([[sequence.expand(3, 6, 5, 2), category.expand(3, 6, 3)]], 2)
    assert leading == [(3, 6)]
    assert_same(rows, whole)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ([(7,)], "gru reads a sequence [steps, *features], got [7]"),
        ([(4, 2), (5, 2)], "the sequences of one gru have as many steps, got [4, 2], [5, 2]"),
        ([(1, 8, 8)], "gru reads a sequence [steps, *features], got [1, 8, 8]: one step"),
    ],
)
def test_what_is_no_sequence_is_refused(shapes: list[Shape], said: str) -> None:
    with pytest.raises(ShapeFault) as problem:
        stack([entry(Gru, gru=4)], [(f"x{i}", shape) for i, shape in enumerate(shapes)])
    assert str(problem.value) == said


# ---- layers of signals


SIGNALS: dict[str, Raw] = {
    "Conv1d": {"out_channels": 4, "kernel_size": 3, "stride": 2, "padding": 1},
    "ConvTranspose1d": {"out_channels": 2, "kernel_size": 3, "stride": 2, "output_padding": 1},
    "MaxPool1d": {"kernel_size": 2},
    "AvgPool1d": {"kernel_size": 3, "stride": 2},
    "AdaptiveAvgPool1d": {"output_size": 3},
    "BatchNorm1d": {},
    "Upsample": {"scale_factor": 3},
}
OTHERS: dict[str, tuple[Raw, Shape]] = {
    "PixelShuffle": ({"upscale_factor": 2}, (8, 3, 4)),
    "AdaptiveMaxPool2d": ({"output_size": 2}, (3, 5, 6)),
    "InstanceNorm2d": ({}, (3, 5, 6)),
    "BatchNorm2d": ({"affine": False}, (3, 5, 6)),
    "LayerNorm": ({"elementwise_affine": False}, (7,)),
    "PReLU": ({}, (7,)),
    "Hardswish": ({}, (3, 5)),
    "ConvTranspose2d": ({"out_channels": 2, "kernel_size": 4, "stride": 3, "output_padding": 2}, (1, 4, 5)),
}


@pytest.mark.parametrize("name", [*SIGNALS, *OTHERS])
def test_shapes_and_sizes_of_signals_are_torch_s(name: str) -> None:
    written, shape = OTHERS.get(name, (SIGNALS.get(name, {}), (4, 9)))
    layer = LAYERS[name].model_validate({name: written})
    module = layer.module(shape)
    assert tuple(module(torch.randn(6, *shape)).shape[1:]) == layer.output_shape(shape)
    assert sum(p.numel() for p in module.parameters()) == layer.parameter_count(shape)
    made = stack([entry(Layers, layers=[{name: written}])], [("x", shape)])
    run(made, torch.randn(6, *shape))


def test_layers_of_signals_refuse_an_image() -> None:
    for name in ("Conv1d", "MaxPool1d", "AdaptiveAvgPool1d", "ConvTranspose1d"):
        with pytest.raises(ShapeFault, match=rf"{name} got \[1, 8, 8\], wanted a signal \[channels, length\]"):
            LAYERS[name].model_validate({name: SIGNALS[name]}).output_shape((1, 8, 8))
    with pytest.raises(ShapeFault, match="an output_padding of 2 is not less than the stride"):
        LAYERS["ConvTranspose1d"].model_validate(
            {"ConvTranspose1d": {"out_channels": 1, "kernel_size": 3, "stride": 2, "output_padding": 2}}
        ).output_shape((1, 8))


def test_a_linear_map_without_bias_has_none() -> None:
    made = stack([entry(Layers, layers=[{"Linear": {"out_features": 3, "bias": False}}])], [("x", (4,)), ("y", (2,))])
    assert made.parameters == 18
    x, y = torch.randn(5, 4), torch.randn(5, 2)
    trunk = Trunk(made)
    assert sum(p.numel() for p in trunk.parameters()) == 18
    one, two = trunk.first.weights  # type: ignore[union-attr, misc]
    assert_same(trunk([[x.unsqueeze(0), y.unsqueeze(0)]], 2)[0], functional.linear(x, one) + functional.linear(y, two))


# ---- own modules


MODULE = """\
import torch
from torch import nn


class Mix(nn.Module):
    "Takes a picture and a label, each as it is."

    def __init__(self, width, scale=1.0):
        super().__init__()
        self.picture, self.label, self.scale = nn.Linear(3, width), nn.Linear(3, width, bias=False), scale

    def forward(self, x, *more):
        mixed = self.picture(x)
        for each in more:
            mixed = mixed + self.label(each)
        return torch.tanh(self.scale * mixed)


class Wide(Mix):
    def forward(self, x, *more):
        return super().forward(x, *more)[:, :2]


class Listing(Mix):
    def forward(self, x, *more):
        return [x]


class Scalar(Mix):
    def forward(self, x, *more):
        return super().forward(x, *more).sum(1)


class Double(Mix):
    def forward(self, x, *more):
        return super().forward(x, *more).double()


class Single(Mix):
    def forward(self, x, *more):
        return super().forward(x, *more).float()


class Signs(Mix):
    def forward(self, x, *more):
        return super().forward(x, *more) > 0


class Leaving(Mix):
    def forward(self, x, *more):
        raise SystemExit(0)


class NoModule:
    pass
"""


def mixing(python: str = "nets:Mix", **args: Any) -> Raw:
    return {"python": python, "args": {"width": 4, **args}, "output": [4]}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(MODULE)
    return tmp_path


def own(place: Path, network: Any) -> Any:  # Any: a spec
    plain = changed(small(), nodes__z__recognition__network=network, nodes__y__recognition__network=network)
    return sgc.load(plain, trust=True).stands_in(place, trusted=True)


def test_an_own_module_stands_where_a_network_does(place: Path) -> None:
    """First, with a parent or two as arguments, and after another entry; its numbers learn, and its rows are apart."""
    spec = own(place, [mixing(scale=0.5), {"mlp": [5]}])
    model = sgc.compile(spec)
    batch = {"x": torch.randn(6, 3), "y": torch.tensor([0, -1, 2, -1, 1, -1])}
    out = model.objective(batch)
    out.loss.backward()
    own_parameters = [p for name, p in model.named_parameters() if ".inner." in name]
    assert len(own_parameters) == 6  # two modules of three
    assert sum(p.grad is not None and bool(p.grad.any()) for p in own_parameters) == 5  # q(y | x) has no label to read
    alone = torch.cat([model.objective({n: v[i : i + 1] for n, v in batch.items() if n == "x"}).bound for i in (0,)])
    assert bool(alone.isfinite().all())
    after = sgc.compile(own(place, [{"mlp": [3]}, mixing()]))
    assert bool(after.objective(batch).bound.isfinite().all())


@pytest.mark.parametrize("after", [[], [{"mlp": [5]}], [{"layers": ["Tanh", {"Linear": 2}]}]])
def test_an_own_module_may_give_a_scalar(place: Path, after: list[Raw]) -> None:
    model = sgc.compile(own(place, [{**mixing("nets:Scalar"), "output": []}, *after]))
    out = model.objective({"x": torch.randn(4, 3), "y": torch.tensor([0, -1, 2, -1])})
    assert bool(out.bound.isfinite().all())


@pytest.mark.parametrize(("kind", "dtype"), [("Double", torch.float32), ("Single", torch.float64)])
def test_what_an_own_module_gives_has_the_precision_of_the_model(place: Path, kind: str, dtype: torch.dtype) -> None:
    torch.set_default_dtype(torch.float32)  # the fixture sets it back
    model = sgc.compile(own(place, [mixing(f"nets:{kind}"), {"mlp": [5]}])).to(dtype)
    out = model.objective({"x": torch.randn(4, 3, dtype=dtype), "y": torch.tensor([0, -1, 2, -1])})
    out.loss.backward()
    assert out.bound.dtype == dtype
    assert all(p.dtype == dtype for p in model.parameters())


def test_inspect_and_check_count_what_they_know_and_import_nothing(place: Path) -> None:
    import yaml

    plain = changed(small(), nodes__z__recognition__network=mixing())
    path = place / "spec.yaml"
    path.write_text(yaml.safe_dump(plain, sort_keys=False))
    (place / "nets.py").write_text("raise RuntimeError('imported')")
    done = call("check", path)
    assert (done.status, done.out) == (2, "")
    assert "nodes.z.recognition.network.python: own code: it would import 'nets:Mix'" in done.told
    done = call("check", path, "--trust")
    assert done.status == 0
    assert done.out.rstrip().endswith("parameters, and those of nets:Mix")
    made = outline(sgc.load(path, trust=True))
    assert inspect_json(made)["parameters"]["not_counted"] == ["nets:Mix"]
    assert "python nets:Mix [4]" in inspect_text(made)
    assert "x, y as arguments" in inspect_text(made)
    with pytest.raises(UsageError, match="'nets:Mix' cannot be imported: RuntimeError: imported"):
        sgc.compile(path, trust=True)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (mixing("nets:Wide"), "'nets:Wide': gives [rows, 2], and the spec says output: [4]"),
        (mixing("nets:Listing"), "'nets:Listing': gives a list, wanted a tensor"),
        (mixing("nets:Signs"), "'nets:Signs': gives torch.bool, wanted floating-point numbers"),
        (mixing("nets:Leaving"), "'nets:Leaving': tried a call with [rows, 3]"),
        (mixing("nets:NoModule"), "is not a class derived from torch.nn"),
        (mixing("nets:Mixx"), "'nets:Mixx': no 'Mixx' in "),
        (mixing(depth=3), "'nets:Mix': tried Mix(width, depth): TypeError"),
        ([{"mlp": [5]}, mixing()], r"'nets:Mix': tried a call with [rows, 5]: RuntimeError"),
    ],
)
def test_an_own_module_that_does_not_fit_is_told_before_anything_is_trained(
    place: Path, network: Any, said: str
) -> None:
    with pytest.raises(UsageError) as problem:
        sgc.compile(own(place, network))
    assert said in str(problem.value)


def test_own_code_anywhere_in_a_network_wants_trust(place: Path) -> None:
    once = mixing()
    spec = changed(
        small(),
        networks={"shared": [once, {"mlp": [3]}], "bare": once},
        features={"h": {"parents": ["x"], "network": [{"mlp": [3]}, once]}},
        nodes__y__recognition={"parents": ["h"], "network": "shared"},
        nodes__x__generative__network=once,
    )
    with pytest.raises(sgc.SpecError) as problem:
        sgc.load(spec)
    places = [
        str(fault).split(": own code")[0].split(": ", 1)[1]
        for fault in problem.value.faults
        if "own code" in str(fault)
    ]
    assert sorted(places) == [
        "features.h.network[1].python",
        "networks.bare.python",
        "networks.shared[0].python",
        "nodes.x.generative.network.python",
    ]


def test_a_run_with_own_modules_resumes_to_the_same_weights(place: Path) -> None:
    import numpy as np

    network = [mixing(), {"mlp": [4]}]
    plain = changed(small(), nodes__z__recognition__network=network, train__epochs=2, data=NPZ, data__file="rows.npz")
    np.savez(place / "rows.npz", **small_arrays(rows=60, labels=60))
    spec = sgc.load(plain, trust=True).stands_in(place, trusted=True)
    sgc.train(spec, output=place / "whole")
    with pytest.raises(InterruptedError):
        sgc.train(spec, output=place / "parts", watcher=StopsAfterAnEpoch())
    sgc.train(spec, output=place / "parts", resume=True)
    assert finished_files(place / "whole") == finished_files(place / "parts")


# ---- how parents enter, and how often


def test_inspect_says_how_parents_of_different_kinds_enter() -> None:
    conv: Raw = {"conv": {"channels": [2], "kernel": 3}}
    spec = decoding("Bernoulli", (1, 8, 8), {"mlp": [4]})
    for network, said in (
        (conv, "x by kernels, y per channel"),
        ({"mlp": [4]}, "x flattened"),
        ({"residual": {"channels": [2], "kernel": 3}}, "x by kernels, y per channel"),
    ):
        spec["nodes"]["z"]["recognition"]["network"] = network
        made = outline(sgc.load(spec))
        assert said in inspect_text(made)
        assert inspect_json(made)["nodes"][2]["recognition"]["entering"] == said
        assert inspect_json(made)["nodes"][1]["recognition"]["entering"] == ""
    spec["nodes"]["x"]["shape"] = [8, 4]
    spec["nodes"]["z"]["recognition"]["network"] = {"gru": 4}
    assert "x step by step, y at each step" in inspect_text(outline(sgc.load(spec)))


def test_a_feature_is_run_once_for_each_batch() -> None:
    """Rows with and without labels, q of y and of z: one pass of the shared trunk, over all rows."""
    spec = decoding("Bernoulli", (1, 8, 8), {"mlp": [4]})
    spec["features"] = {"h": {"parents": ["x"], "network": {"conv": {"channels": [2], "kernel": 4, "stride": 2}}}}
    spec["nodes"]["y"]["recognition"]["parents"] = ["h"]
    spec["nodes"]["z"]["recognition"]["parents"] = ["h", "y"]
    model = sgc.compile(sgc.load(spec))
    seen: list[int] = []
    trunk = model.machine.features["h"].trunk
    assert trunk is not None
    trunk.rest.register_forward_hook(lambda module, given, made: seen.append(len(made)))
    model.objective({"x": torch.rand(6, 1, 8, 8).round(), "y": torch.tensor([0, -1, 2, -1, 1, -1])})
    assert seen == [6]


def test_a_batch_norm_of_one_row_is_no_traceback() -> None:
    """The networks of z meet one labelled row alone; in evaluation one row is enough."""
    network: Raw = {"mlp": [4], "norm": "batch"}
    model = sgc.compile(sgc.load(changed(small(), nodes__z__recognition__network=network)))
    batch = {"x": torch.randn(1, 3), "y": torch.tensor([1])}
    with pytest.raises(UsageError, match="a batch norm needs more than one row to train on: set train"):
        model.objective(batch)
    assert bool(model.eval().objective(batch).bound.isfinite().all())


def test_a_product_and_a_sum_spread_axes_of_one() -> None:
    """A number meets every element, absent or not; where all are nonnegative so is the product."""
    one, many, picture = torch.rand(5, dtype=torch.float64), torch.rand(5, 3), torch.rand(5, 2, 4, 3)
    for way, by_hand in (("product", torch.mul), ("sum", torch.add), ("max", torch.maximum)):
        join = Combination(way=way)
        for other in (many, picture):
            shapes = ((), tuple(other.shape[1:]))
            assert join.joined_shape(shapes) == shapes[1]
            found = join.joining_module(shapes)(one, other)
            torch.testing.assert_close(found, by_hand(one.reshape(5, *[1] * len(shapes[1])), other.double()))
        shapes = ((3,), (2, 4, 3))
        found = join.joining_module(shapes)(many, picture)
        torch.testing.assert_close(found, by_hand(many.reshape(5, 1, 1, 3), picture))
    with pytest.raises(ShapeFault, match=r"axes of one in place of others, got \[2\], \[2, 4, 3\]"):
        Combination(way="product").joined_shape(((2,), (2, 4, 3)))
    product = Combination(way="product")
    for ranges, joint in (
        ((POSITIVE, SIMPLEX), NONNEGATIVE),
        ((POSITIVE, POSITIVE), POSITIVE),
        ((SIMPLEX, UNIT_INTERVAL), UNIT_INTERVAL),
        ((REAL, POSITIVE), REAL),
    ):
        assert product.joined_range(((), (3,)), ranges) == joint
    absent = CombineSteps(way="product", exists=(2, 3))
    there = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    found = absent.joining_module(((2,), (2,), (1,), (1,)))(many[:3, :2], many[2:, :2], there[:, :1], there[:, 1:])
    torch.testing.assert_close(found, torch.stack([many[0, :2] * many[2, :2], many[1, :2], torch.zeros(2)]))


def test_counts_are_brought_to_one_size() -> None:
    """Also where a row has none, and whatever its size is."""
    counts = torch.poisson(torch.rand(20, 7, dtype=torch.float64) * 30)
    counts[3] = 0
    layer = LAYERS["LogNormalize"].model_validate({"LogNormalize": {"scale": 250}})
    module = layer.module((7,))
    total = counts.sum(1, keepdim=True)
    wanted = torch.where(total > 0, 250 * counts / total.clamp_min(1), 0).log1p()
    torch.testing.assert_close(module(counts.log1p()), wanted, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(module(counts.log1p().float()), wanted.float(), rtol=1e-4, atol=1e-4)
    twice = module((2 * counts).log1p())
    torch.testing.assert_close(twice, wanted, rtol=1e-9, atol=1e-9)
    assert bool(module(torch.tensor([[1e30] * 7, [-1e30] * 7])).isfinite().all())
    assert layer.output_range(NONNEGATIVE) == NONNEGATIVE
    assert LAYERS["LogNormalize"].model_validate({"LogNormalize": 10}) == LAYERS["LogNormalize"](scale=10)


def test_log1p_is_odd_and_finite_everywhere() -> None:
    x = torch.tensor([-50.0, -1.0, 0.0, 3.0])
    log = LAYERS["Log1p"]().module((4,))
    torch.testing.assert_close(log(x), torch.tensor([-math.log(51), -math.log(2), 0.0, math.log(4)]))
    assert LAYERS["Log1p"]().output_range(POSITIVE) == NONNEGATIVE
    assert LAYERS["Log1p"]().output_range(REAL) == REAL
