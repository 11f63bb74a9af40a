"""The machinery around training: the optimiser, repeatable kernels, and requests to stop."""

from __future__ import annotations

import inspect
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from sgc.schedules import Schedule, value_at
from sgc.spec.training_section import Optimizer
from sgc.training.parameter_groups import ParameterGroup, moved_by

OWN_DECAY = "own_weight_decay"  # the key of a group that keeps it, a number or a schedule


def numbers_at(given: Optimizer, epoch: float) -> dict[str, Any]:  # Any: torch's options
    """Evaluate the options of an optimiser at an epoch; those that are not given are torch's defaults."""
    options: dict[str, Any] = {key: value_at(getattr(given, key), epoch) for key in ("lr", "weight_decay")}
    for key in ("momentum", "eps"):
        if getattr(given, key) is not None:
            options[key] = value_at(getattr(given, key), epoch)
    if given.betas is not None:
        options["betas"] = tuple(value_at(beta, epoch) for beta in given.betas)
    return options


def move_optimizer(optimizer: torch.optim.Optimizer, given: Optimizer, epoch: float) -> None:
    """Set the options of an optimiser to their values at an epoch."""
    options = numbers_at(given, epoch)
    for group in optimizer.param_groups:
        group.update(options)
        if OWN_DECAY in group:
            group["weight_decay"] = value_at(group[OWN_DECAY], epoch)
    if isinstance(given.momentum, Schedule) and options["momentum"]:
        # torch makes these buffers in the first step of a parameter, and only if momentum is not 0 then
        for parameter in moved_by(optimizer):
            state = optimizer.state[parameter]
            if state or given.name == "SGD":
                state.setdefault("momentum_buffer", torch.zeros_like(parameter))


def make_optimizer(given: Optimizer, groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
    """Make the optimiser of torch.optim that a spec names, in its fused form if there is one."""
    options = numbers_at(given, 0.0)
    parameters = [_torch_group(group) for group in groups]
    kind = _without_dynamo(getattr(torch.optim, given.name))
    if given.name in ("Adam", "AdamW", "SGD"):
        with suppress(RuntimeError, TypeError):  # an older torch has no fused form for this device
            return kind(parameters, **options, fused=True)
    return kind(parameters, **options)


def _torch_group(group: ParameterGroup) -> dict[str, Any]:  # Any: torch's options
    decay = group.weight_decay
    own = {} if decay is None else {"weight_decay": value_at(decay, 0.0), OWN_DECAY: decay}
    return {"params": list(group.parameters), **own}


def kept(weights: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """List the weights, and the tensors that an optimiser keeps for them."""
    states = (state.values() for state in optimizer.state.values())
    return [*weights.values(), *(tensor for values in states for tensor in values if isinstance(tensor, Tensor))]


def _without_dynamo(kind: type[torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    """Return a kind of optimiser without the wrappers by which its methods keep `torch.compile` out of themselves.

    They import torch._dynamo, which takes as long as all of torch, and none of these methods is compiled here.
    """
    names = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
    plain = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    step = torch.no_grad()(inspect.unwrap(kind.step))
    return type(kind.__name__, (kind,), {**plain, "step": step})


def take_step(step: Callable[[], object], given: Optimizer, epoch: float) -> str:
    """Take a step; give the reason if torch refuses the options of the optimiser, or else an empty string."""
    try:
        step()
    except RuntimeError as problem:
        if "without overflow" not in str(problem):
            raise
        options = ", ".join(f"{key} {number}" for key, number in numbers_at(given, epoch).items())
        return f"{given.name} cannot take a step with {options}: the number type of a weight cannot hold one of these"
    return ""


@contextmanager
def repeatable() -> Iterator[None]:
    """Restrict cuDNN to deterministic algorithms; without cuDNN, change nothing."""
    if not torch.backends.cudnn.is_available():
        yield
        return
    with torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, benchmark=False, deterministic=True):
        yield


@contextmanager
def stopping(ask: Callable[[], None]) -> Iterator[None]:
    """Call `ask` at the first Ctrl-C or SIGTERM, to stop after the step; a second Ctrl-C stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def asked(number: int, frame: FrameType | None) -> None:
        ask()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    for number in before:
        signal.signal(number, asked)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
