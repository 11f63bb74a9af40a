"""Where a training computes, and with which types of numbers: torch's devices, its autocast, and its scaled losses."""

from __future__ import annotations

import contextlib
import platform
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from sgc.errors import UsageError
from sgc.spec.spec import Spec
from sgc.training.processes import Processes

HALVES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def device_of(name: str) -> torch.device:
    """Give the device that a spec names: `auto`, `cpu`, `gpu`, `cuda`, `cuda:1` or `mps`. Raises: UsageError."""
    kind, colon, number = name.partition(":")
    if colon and not re.fullmatch("[0-9]{1,4}", number):
        raise UsageError(f"train.device is '{name}', wanted a name as 'cpu', 'cuda' or 'cuda:1'")
    counts = {"mps": int(torch.backends.mps.is_available()), "cuda": torch.cuda.device_count()}
    available = [known for known, count in counts.items() if count]
    if kind in ("auto", "gpu"):
        kind = next(iter(available), "cpu" if kind == "auto" else "gpu")
    index = int(number) if colon else 0
    if kind == "cpu" and not colon:
        return torch.device("cpu")
    if kind in available and index < counts[kind]:
        return torch.device(kind, index)
    usable = [*available, *(f"{known}:{i}" for known in available for i in range(1, counts[known]))]
    raise UsageError(
        f"train.device is '{name}', which cannot be used here: wanted {' or '.join(['auto', 'cpu', *usable])}"
    )


def own_device(name: str, processes: Processes) -> torch.device:
    """Give the device that a process of a training computes on, on a GPU one of its own. Raises: UsageError."""
    device = device_of(name)
    if processes.alone or device.type == "cpu":
        return device
    if device.type != "cuda" or ":" in name:
        raise UsageError(
            f"train.device is '{name}', and {processes.size} processes train together: wanted cuda, where each has a "
            f"GPU of its own, or cpu"
        )
    count = torch.cuda.device_count()
    if processes.local_rank >= count:
        raise UsageError(
            f"process {processes.local_rank} of this machine has no GPU of its own: there are {count}, and each "
            f"computes on one"
        )
    device = torch.device("cuda", processes.local_rank)
    torch.cuda.set_device(device)
    return device


def has_bfloat16(device: torch.device) -> bool:
    """Tell whether a device has instructions for bfloat16; one that only emulates them is slower than in float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    if platform.machine().lower() in ("aarch64", "arm64"):
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # on other processors it counts emulation, too
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, test, lambda: False)() for test in tests)


def chosen_precision(name: str, device: torch.device) -> str:
    """Give the precision that a spec names, or for `auto` the one that pays on a device: bf16-mixed or 32-true."""
    if name != "auto":
        return name
    return "bf16-mixed" if has_bfloat16(device) else "32-true"


def with_precision(spec: Spec) -> tuple[Spec, list[str]]:
    """Put the precision that pays here in place of `auto` in a spec, and give a note that says so.

    A run keeps the spec with that precision, and goes on with it wherever it is resumed. Raises: UsageError.
    """
    train = spec.train
    if train.precision != "auto":
        return spec, []
    device = device_of(train.device)
    chosen = chosen_precision(train.precision, device)
    why = "has" if chosen == "bf16-mixed" else "lacks"
    note = f"train.precision: auto is {chosen} here, as {_named(device)} {why} instructions for bfloat16"
    return spec.model_copy(update={"train": train.model_copy(update={"precision": chosen})}), [note]


def _named(device: torch.device) -> str:
    return "this CPU" if device.type == "cpu" else f"'{device}'"


def precision_of(name: str, device: torch.device) -> Precision:
    """Give the precision that a spec names on a device; a CPU has no 16-mixed, and computes bf16-mixed instead.

    Raises: UsageError for bf16-mixed on a GPU that cannot compute it.
    """
    name = chosen_precision(name, device)
    if name == "bf16-mixed" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise UsageError(
            f"train.precision is 'bf16-mixed', which {_named(device)} cannot compute: "
            f"give 32-true, or train.device: cpu"
        )
    if name in HALVES:
        return Mixed("bf16-mixed" if device.type == "cpu" else name, device.type)
    return Double() if name == "64-true" else Precision()


class Precision:
    """The types of numbers of a training: here those of the weights, float32."""

    scaler: torch.amp.GradScaler | None = None  # of losses, so that small gradients do not vanish in half precision
    half: torch.dtype | None = None  # of what is computed in 16 bits

    def prepare(self, model: nn.Module) -> None:
        """Give the weights of a model their type."""

    def autocast(self) -> AbstractContextManager[Any]:
        """Compute with these types in a `with`."""
        return contextlib.nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a loss, scaled where losses are."""
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()

    def unscale(self, optimizer: torch.optim.Optimizer) -> None:
        """Bring gradients to their own scale, as clipping needs."""
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Move the weights; where losses are scaled, not by a gradient that is not finite."""
        if self.scaler is None:
            optimizer.step()
        else:
            self.scaler.step(optimizer)
            self.scaler.update()

    @property
    def skips_steps(self) -> bool:
        """Whether steps with gradients that are not finite are skipped, and the loss of the next one scaled down.

        This is so in half precision, where large gradients overflow, down to a scale of 1: a gradient that is not
        finite at that scale is no overflow.
        """
        return self.scaler is not None and float(self.scaler.get_scale()) > 1

    def state_dict(self) -> dict[str, Any]:  # Any: torch's
        """Return what a run that goes on needs of it."""
        return {} if self.scaler is None else self.scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:  # Any: torch's
        """Go on from such a state."""
        if self.scaler is not None:
            self.scaler.load_state_dict(state)


class Double(Precision):
    """float64, for the weights and for whatever is made while a step is computed."""

    def prepare(self, model: nn.Module) -> None:
        """Give the weights of a model their type."""
        model.double()

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Compute with these types in a `with`."""
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


class Mixed(Precision):
    """float32 for the weights, 16 bits for the operations that torch's autocast gives to them."""

    def __init__(self, name: str, kind: str) -> None:
        self.half, self.kind = HALVES[name], kind
        if name == "16-mixed":
            self.scaler = torch.amp.GradScaler(kind)

    def autocast(self) -> AbstractContextManager[Any]:
        """Compute with these types in a `with`."""
        return torch.autocast(self.kind, dtype=self.half)
