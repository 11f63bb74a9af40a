"""Where a training computes, and with which types of numbers: torch's devices, its autocast, and its scaled losses."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from sgc.errors import UsageError

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


def precision_of(name: str, device: torch.device) -> Precision:
    """Give the precision that a spec names on a device; a CPU has no 16-mixed, and computes bf16-mixed instead."""
    if name in HALVES:
        return Mixed("bf16-mixed" if device.type == "cpu" else name, device.type)
    return Double() if name == "64-true" else Precision()


class Precision:
    """The types of numbers of a training: here those of the weights, float32."""

    scaler: torch.amp.GradScaler | None = None  # of losses, so that small gradients do not vanish in half precision

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
        self.name, self.kind = name, kind
        if name == "16-mixed":
            self.scaler = torch.amp.GradScaler(kind)

    def autocast(self) -> AbstractContextManager[Any]:
        """Compute with these types in a `with`."""
        return torch.autocast(self.kind, dtype=HALVES[self.name])
