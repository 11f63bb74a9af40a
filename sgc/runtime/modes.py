"""The modes of a model and of torch: a call computes the same in every mode of the code around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Run a model without dropout and with the batch statistics it has learned, whatever mode it is in."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


@contextmanager
def outside_inference_mode() -> Iterator[None]:
    """Make tensors that gradients may be taken of later; whether any are kept in the block stays as it is."""
    if not torch.is_inference_mode_enabled():
        yield
        return
    with torch.inference_mode(False), torch.set_grad_enabled(False):
        yield


@contextmanager
def on_the_cpu() -> Iterator[None]:
    """Make new tensors on the CPU unless a device is given, whatever torch's default device is."""
    if torch.get_default_device().type == "cpu":
        yield
        return
    with torch.device("cpu"):
        yield


@contextmanager
def as_a_run() -> Iterator[None]:
    """Compute as a run does, as its spec alone decides: with gradients, without autocast, on the CPU.

    The modes of the code around (`no_grad`, `inference_mode`, `autocast`, a default device) are off, in this thread.
    """
    with ExitStack() as stack:
        stack.enter_context(on_the_cpu())
        stack.enter_context(outside_inference_mode())
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield
