"""Restoring the saved state of a run into its model and its optimiser.

The file may be from a stranger, so only numbers are taken from it: each tensor must have the shape, type and layout of
the one it replaces, and is copied. The options of the optimiser and of the precision come from the spec.
"""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sgc.data.record import key_text
from sgc.errors import Path
from sgc.runs.run_records import OptimizerState, PrecisionState, TrainingState
from sgc.runtime.weight_files import tensor_fault
from sgc.schedules import Schedule
from sgc.spec.training_section import Optimizer
from sgc.training.averaged_weights import AveragedWeights
from sgc.training.engine import make_optimizer
from sgc.training.parameter_groups import ParameterGroup, moved_by
from sgc.training.precision import Precision

SQUARES = {"exp_avg_sq", "max_exp_avg_sq", "square_avg", "acc_delta", "sum", "exp_inf"}  # not negative; torch's names


class StateFault(ValueError):
    """A training state that does not fit the run: the key, and what is wrong there."""

    def __init__(self, key: Path, message: str) -> None:
        super().__init__(f"{key_text(key)}{message}")


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:  # Any: tensors and places
    """Give what an optimiser keeps for each parameter, without its options."""
    return {
        "state": optimizer.state_dict()["state"],
        "param_groups": [{"params": list(range(len(moved_by(optimizer))))}],
    }


@torch.no_grad()
def restore_tensors(wanted: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    """Copy the weights of a state into a model. Raises: StateFault."""
    for name in saved:
        if name not in wanted:
            raise StateFault(("model", name), "the model has no such weights")
    for name, tensor in wanted.items():
        if name not in saved:
            raise StateFault(("model", name), "missing")
        fault = tensor_fault(saved[name], like=tensor)
        if fault:
            raise StateFault(("model", name), fault)
    for name, tensor in wanted.items():
        tensor.copy_(saved[name])


def restore_optimizer(optimizer: torch.optim.Optimizer, saved: OptimizerState, options: Optimizer, steps: int) -> None:
    """Copy what a state keeps for each parameter into an optimiser made from the spec.

    steps: the number that the run has taken. Raises: StateFault.
    """
    parameters = moved_by(optimizer)
    if saved.param_groups[0].params != list(range(len(parameters))):
        raise StateFault(("optimizer", "param_groups"), f"expected the places of {len(parameters)} parameters")
    copies: dict[nn.Parameter, dict[str, Tensor]] = {}
    for place, saved_tensors in saved.state.items():
        if place >= len(parameters):
            raise StateFault(("optimizer", "state", place), f"the model has {len(parameters)} parameters")
        parameter = parameters[place]
        copies[parameter] = _copies(saved_tensors, parameter, options, steps, ("optimizer", "state", place))
    for parameter, tensors in copies.items():
        optimizer.state[parameter] = tensors


def _copies(
    tensors: Mapping[str, Tensor | None], parameter: nn.Parameter, options: Optimizer, steps: int, key: Path
) -> dict[str, Tensor]:
    """Copy what is kept for one parameter. Raises: StateFault."""
    moves = isinstance(options.momentum, Schedule)
    left = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    copies: dict[str, Tensor] = {}
    for name, like in _kept_like(options, parameter).items():
        if name in left:
            copies[name] = _copy(left.pop(name), like, (*key, name))
        elif not (moves and name == "momentum_buffer"):  # there is none while a scheduled momentum is 0
            raise StateFault((*key, name), "missing")
    for name in left:
        raise StateFault((*key, name), f"{options.name} keeps no tensor of this name")
    for name in SQUARES & copies.keys():
        if bool((copies[name] < 0).any()):
            raise StateFault((*key, name), "has numbers below 0, which no sum of squares has")
    count = copies.get("step")
    if count is not None and not (1 <= float(count) <= steps and float(count).is_integer()):
        raise StateFault((*key, "step"), f"found {float(count):g}, of a run that has taken {steps}")
    return copies


def _kept_like(options: Optimizer, parameter: nn.Parameter) -> dict[str, Tensor]:
    """Give, for each tensor that an optimiser of torch keeps for a parameter, one of its shape, type and device.

    To find out which they are, an optimiser made from the same spec takes a step on two numbers.
    """
    if isinstance(options.momentum, Schedule):
        options = options.model_copy(update={"momentum": 0.5})
    twin = nn.Parameter(torch.zeros(2, dtype=parameter.dtype, device=parameter.device))
    twin.grad = torch.zeros_like(twin)
    optimizer = make_optimizer(options, [ParameterGroup([twin])])
    optimizer.step()
    return {
        name: torch.zeros_like(parameter, memory_format=torch.contiguous_format) if tensor.dim() else tensor
        for name, tensor in optimizer.state[twin].items()
        if isinstance(tensor, Tensor)
    }


@torch.no_grad()
def _copy(saved: Tensor, like: Tensor, key: Path) -> Tensor:
    fault = tensor_fault(saved, like=like)
    if fault:
        raise StateFault(key, fault)
    return torch.empty_like(like).copy_(saved)


def precision_state(own: Mapping[str, Any], saved: PrecisionState) -> dict[str, Any]:  # Any: torch's options
    """Give the state of a precision with its own options and the scale of a saved one. Raises: StateFault.

    own: the state of a precision that was made from the spec.
    """
    if not own:
        if saved.scale is not None:
            raise StateFault(("precision",), "a run in 16-mixed on a GPU; elsewhere it would compute otherwise")
        return {}
    if saved.scale is None or saved.tracker is None:
        raise StateFault(("precision",), "missing 'scale' or '_growth_tracker', which this precision has")
    return {**own, "scale": saved.scale, "_growth_tracker": saved.tracker}


def restore_average(average: AveragedWeights | None, state: TrainingState, steps: int, learned: Container[str]) -> None:
    """Copy the average of a state into one that was made from the spec.

    steps: per epoch. learned: the names of weights, which all have a mean; numbers that a layer keeps of itself have
    none where they were not finite when the average began. Raises: StateFault.
    """
    saved = state.average
    if average is None or saved is None:
        if average is not None or saved is not None:
            wanted = "which train.average wants" if saved is None else "without train.average"
            raise StateFault(("average",), f"{'missing' if saved is None else 'found'}, {wanted}")
        return
    most = max(0, state.step - average.start * steps)
    if not saved.count <= most:
        raise StateFault(("average", "count"), f"found {saved.count}, of a run that has averaged {most} steps at most")
    moved = average.moved()
    for name in saved.means.keys() - moved.keys():
        raise StateFault(("average", "means", name), "the model learns no such weights")
    lacks = [name for name in moved if name not in saved.means and name in learned]
    if saved.count and lacks:
        raise StateFault(("average", "means", lacks[0]), "missing")
    average.count = saved.count
    average.means = {name: _copy(mean, moved[name], ("average", "means", name)) for name, mean in saved.means.items()}


def restore(
    state: TrainingState,
    model: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    options: Optimizer,
    precision: Precision,
    steps: int,
    *,
    chooses: bool,
) -> None:
    """Restore a saved state into the tensors of a model, its optimiser and its precision, all made from the spec.

    steps: per epoch. chooses: the best epoch is chosen by its validation bound. Raises: StateFault, with the key.
    """
    restore_tensors(model, state.model)
    restore_optimizer(optimizer, state.optimizer, options, state.step)
    precision.load_state_dict(precision_state(precision.state_dict(), state.precision))
    if not 0 <= state.step - state.epoch * steps < steps:
        raise StateFault(("step",), f"{state.step} steps are not in epoch {state.epoch + 1}")
    if state.best_epoch and chooses == math.isnan(state.best_bound):
        wanted = "a number, as there are validation rows" if chooses else "NaN, as nothing is chosen by a bound"
        raise StateFault(("best_bound",), f"found {state.best_bound:g}, wanted {wanted}")
    if state.best_epoch > state.epoch:
        raise StateFault(("best_epoch",), f"found {state.best_epoch} in epoch {state.epoch + 1}")
