"""Devices, types of numbers and optimisers of a training are those of torch."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
import yaml
from small_runs import NPZ, finished_files, small, small_arrays
from torch import nn

import sgc
import sgc.training.precision as precision_module
from sgc.errors import UsageError
from sgc.runs.run_records import PrecisionState
from sgc.spec.training_section import Optimizer
from sgc.training.dry_run import dry
from sgc.training.engine import make_optimizer
from sgc.training.parameter_groups import ParameterGroup
from sgc.training.precision import Mixed, chosen_precision, device_of, has_bfloat16, precision_of
from sgc.training.training_state import StateFault, precision_state
from sgc.training.watchers import Silent

CPU = torch.device("cpu")
NAMES = get_args(Optimizer.model_fields["name"].annotation)


@pytest.mark.parametrize(
    ("name", "mps", "cuda", "device"),
    [
        ("cpu", 0, 2, "cpu"),
        ("auto", 0, 0, "cpu"),
        ("auto", 0, 2, "cuda:0"),
        ("auto", 1, 0, "mps:0"),
        ("gpu", 0, 1, "cuda:0"),
        ("cuda", 0, 2, "cuda:0"),
        ("cuda:1", 0, 2, "cuda:1"),
        ("cuda", 0, 0, "wanted auto or cpu"),
        ("gpu", 0, 0, "wanted auto or cpu"),
        ("cuda:2", 0, 2, "wanted auto or cpu or cuda or cuda:1"),
        ("cpu:0", 0, 0, "wanted auto or cpu"),
        ("abacus", 1, 0, "wanted auto or cpu or mps"),
    ],
)
def test_a_device_is_one_that_is_there(
    monkeypatch: pytest.MonkeyPatch, name: str, mps: int, cuda: int, device: str
) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: bool(mps))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    if not device.startswith("wanted"):
        assert device_of(name) == torch.device(device)
        return
    with pytest.raises(UsageError) as caught:
        device_of(name)
    assert str(caught.value) == f"train.device is '{name}', which cannot be used here: {device}"


@pytest.mark.parametrize(
    ("name", "weights", "product"),
    [
        ("32-true", torch.float32, torch.float32),
        ("64-true", torch.float64, torch.float64),
        ("bf16-mixed", torch.float32, torch.bfloat16),
        ("16-mixed", torch.float32, torch.bfloat16),  # which a CPU computes instead
    ],
)
def test_a_precision_gives_weights_and_products_their_types(
    name: str, weights: torch.dtype, product: torch.dtype
) -> None:
    precision, layer = precision_of(name, CPU), nn.Linear(2, 2)
    precision.prepare(layer)
    with precision.autocast():
        made = layer(torch.ones(1, 2))
    assert (layer.weight.dtype, made.dtype) == (weights, product)
    assert torch.get_default_dtype() == torch.float32
    assert precision.state_dict() == {}
    assert not precision.skips_steps


# ---- what a machine has


@pytest.mark.parametrize(
    ("machine", "avx512", "amx", "onednn", "has"),
    [
        ("x86_64", True, False, True, True),
        ("x86_64", False, True, True, True),
        ("x86_64", False, False, True, False),  # oneDNN emulates it there
        ("AMD64", False, False, False, False),
        ("aarch64", False, False, True, True),
        ("arm64", False, False, False, False),
    ],
)
def test_a_cpu_has_bfloat16_where_it_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, machine: str, avx512: bool, amx: bool, onednn: bool, has: bool
) -> None:
    monkeypatch.setattr(precision_module.platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: onednn, raising=False)
    assert has_bfloat16(CPU) is has
    assert chosen_precision("auto", CPU) == ("bf16-mixed" if has else "32-true")


@pytest.mark.parametrize(("native", "emulated"), [(True, True), (False, True), (False, False)])
def test_a_gpu_has_bfloat16_where_it_does_not_emulate_it(
    monkeypatch: pytest.MonkeyPatch, native: bool, emulated: bool
) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return native or (emulated and including_emulation)

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    gpu = torch.device("cuda", 0)
    assert chosen_precision("auto", gpu) == ("bf16-mixed" if native else "32-true")
    assert isinstance(precision_of("auto", gpu), Mixed) is native
    if native or emulated:
        assert isinstance(precision_of("bf16-mixed", gpu), Mixed)
        return
    with pytest.raises(UsageError) as caught:
        precision_of("bf16-mixed", gpu)
    assert str(caught.value) == (
        "train.precision is 'bf16-mixed', which 'cuda:0' cannot compute: give 32-true, or train.device: cpu"
    )


def test_a_torch_without_these_tests_chooses_nothing_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision_module.platform, "machine", lambda: "x86_64")
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert not has_bfloat16(CPU)
    assert not has_bfloat16(torch.device("mps"))


@pytest.mark.parametrize("name", ["64-true", "32-true", "bf16-mixed", "16-mixed"])
def test_a_precision_that_is_named_is_never_chosen_anew(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for has in (True, False):
        monkeypatch.setattr(precision_module, "has_bfloat16", lambda device, has=has: has)
        assert chosen_precision(name, CPU) == name


class Notes(Silent):
    """Keeps the notes."""

    def __init__(self, stop: int = 0) -> None:
        self.notes: list[str] = []
        self.stop = stop

    def note(self, text: str) -> None:
        self.notes.append(text)

    def step(self, epoch: int, step: int, steps: int, bound: float) -> None:
        if self.stop and (epoch, step) == (self.stop, 1):
            raise KeyboardInterrupt


@pytest.mark.parametrize(("has", "chosen"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_run_keeps_what_auto_chose_and_goes_on_with_it_on_any_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, has: bool, chosen: str
) -> None:
    auto, named, arrays = small(train__precision="auto"), small(train__precision=chosen), small_arrays()
    sgc.train(named, arrays, output=tmp_path / "named", watcher=Notes())
    monkeypatch.setattr(precision_module, "has_bfloat16", lambda device: has)
    notes = Notes(stop=3)
    with pytest.raises(KeyboardInterrupt):
        sgc.train(auto, arrays, output=tmp_path / "auto", watcher=notes)
    word = "has" if has else "lacks"
    assert notes.notes[0] == f"train.precision: auto is {chosen} here, as this CPU {word} instructions for bfloat16"
    assert yaml.safe_load((tmp_path / "auto" / "spec.yaml").read_text())["train"]["precision"] == chosen
    monkeypatch.setattr(precision_module, "has_bfloat16", lambda device: not has)  # another machine
    other = small(train__precision="32-true" if has else "bf16-mixed")
    with pytest.raises(UsageError, match=r"holds a run of another spec, which differs at train\.precision$"):
        sgc.train(other, arrays, output=tmp_path / "auto", resume=True)
    again = Notes()
    sgc.train(auto, arrays, output=tmp_path / "auto", resume=True, watcher=again)
    assert not [note for note in again.notes if "precision" in note]
    assert finished_files(tmp_path / "auto") == finished_files(tmp_path / "named")


def test_auto_computes_other_numbers_with_bfloat16_than_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for has in (True, False):
        monkeypatch.setattr(precision_module, "has_bfloat16", lambda device, has=has: has)
        sgc.train(small(train__precision="auto"), small_arrays(), output=tmp_path / str(has), watcher=Notes())
    assert finished_files(tmp_path / "True") != finished_files(tmp_path / "False")


def test_a_dry_run_takes_what_auto_chooses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bounds = {}
    np.savez(tmp_path / "rows.npz", **small_arrays(rows=300, labels=150))
    for name, has in (("auto", True), ("bf16-mixed", False), ("auto", False), ("32-true", True)):
        monkeypatch.setattr(precision_module, "has_bfloat16", lambda device, has=has: has)
        spec = sgc.load(small(data={**NPZ, "file": "rows.npz"}, train__precision=name))
        bounds[name, has] = [report["bound"] for report in dry(spec, beside=tmp_path)]
    assert bounds["auto", True] == bounds["bf16-mixed", False]
    assert bounds["auto", False] == bounds["32-true", True]
    assert bounds["auto", True] != bounds["auto", False]


def test_a_run_in_16_bits_on_a_gpu_does_not_go_on_elsewhere_in_another_precision() -> None:
    scaled = PrecisionState.model_validate({"scale": 1024.0, "_growth_tracker": 3})
    with pytest.raises(StateFault, match=r"a run in 16-mixed on a GPU; elsewhere it would compute otherwise"):
        precision_state({}, scaled)
    assert precision_state({}, PrecisionState()) == {}
    own = Mixed("16-mixed", "cpu").state_dict()
    assert precision_state(own, scaled)["scale"] == 1024.0


# ---- optimisers


def test_half_precision_scales_losses_and_skips_what_overflows() -> None:
    precision, weight = Mixed("16-mixed", "cpu"), nn.Parameter(torch.ones(2))
    optimizer = make_optimizer(Optimizer(name="SGD", lr=0.5), [ParameterGroup([weight])])
    precision.backward((weight * torch.tensor([1.0, 2.0])).sum())
    scale = precision.state_dict()["scale"]
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, scale * torch.tensor([1.0, 2.0]))
    precision.unscale(optimizer)
    torch.testing.assert_close(weight.grad, torch.tensor([1.0, 2.0]))
    precision.step(optimizer)
    torch.testing.assert_close(weight.data, torch.tensor([0.5, 0.0]))
    weight.grad = torch.full((2,), torch.inf)
    precision.step(optimizer)
    torch.testing.assert_close(weight.data, torch.tensor([0.5, 0.0]))
    assert precision.skips_steps
    assert precision.state_dict()["scale"] == scale / 2
    other = Mixed("16-mixed", "cpu")
    other.load_state_dict(precision.state_dict())
    assert other.state_dict() == precision.state_dict()


@pytest.mark.parametrize("name", NAMES)
def test_an_optimiser_moves_weights_as_the_one_of_torch_does(name: str) -> None:
    start = torch.linspace(-1, 1, 7)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    optimizer = make_optimizer(Optimizer(name=name, lr=0.01), [ParameterGroup([ours])])
    fused = {"fused": True} if optimizer.defaults.get("fused") else {}
    of_torch = getattr(torch.optim, name)([theirs], lr=0.01, weight_decay=0.0, **fused)
    for _ in range(5):
        for weight, stepper in ((ours, optimizer), (theirs, of_torch)):
            stepper.zero_grad()
            (weight**4 - weight).sum().backward()
            stepper.step()
    assert torch.equal(ours, theirs)
    assert ours.requires_grad
    assert isinstance(optimizer, type(of_torch))
    saved, wanted = (each.state_dict()["state"].get(0, {}) for each in (optimizer, of_torch))
    assert saved.keys() == wanted.keys()
    assert all(torch.equal(saved[key], value) for key, value in wanted.items() if value is not None)
