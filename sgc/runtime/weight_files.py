"""Files of weights: a model's tensors by name, checked against the model that reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sgc.data.record import Versioned, read_record
from sgc.errors import UsageError, check_run_file, printable
from sgc.runtime.model import Model


def own_state(model: Model) -> dict[str, Tensor]:
    """Give a model's tensors by name, one that several modules share only once."""
    storages: set[int] = set()
    state: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() in storages and tensor.numel():
            continue
        storages.add(tensor.data_ptr())
        state[name] = tensor
    return state


class WeightsRecord(Versioned):
    """The metadata beside the tensors: their epoch, and how labelled rows weighed then."""

    epoch: Annotated[float, Field(ge=0)]
    gamma: Annotated[float, Field(ge=0)] | None
    rate: Annotated[float, Field(ge=0, le=1)] | None


def fit_weights(model: Model, path: Path) -> None:
    """Load the weights of a run into a model, and the epoch of its schedules. Raises: UsageError."""
    tensors, metadata = _read(path)
    fit_tensors(model, tensors, path)
    fault = f"{path}: its metadata cannot be read as those of a run"
    if "sgc" not in metadata:
        raise UsageError(f"{fault} (key 'sgc': missing)")
    try:
        plain = json.loads(metadata["sgc"])
    except (ValueError, RecursionError) as problem:
        raise UsageError(f"{fault} (key 'sgc': {problem_words(problem)})") from None
    record = read_record(WeightsRecord, plain, fault)
    model.epoch, model.gamma, model.rate = record.epoch, record.gamma, record.rate


def fit_part(model: Model, path: Path) -> None:
    """Load weights into the model of a part, which has the schedules and the precision of its host.

    Raises: UsageError.
    """
    precision = model.like.dtype
    tensors = {
        name: tensor.to(precision) if tensor.is_floating_point() else tensor for name, tensor in _read(path)[0].items()
    }
    fit_tensors(model, tensors, path)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors of a file and its metadata. Raises: UsageError."""
    check_run_file(path)
    try:
        with open(path, "rb") as opened, safe_open(_name(path, opened.fileno()), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            return tensors, file.metadata() or {}
    except PermissionError as problem:
        raise UsageError(f"{path}: cannot be read ({problem_words(problem)})") from None
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError, TypeError, RuntimeError) as problem:
        raise UsageError(f"{path}: not a weights file ({problem_words(problem)})") from None


def _name(path: Path, descriptor: int) -> str:
    """Name an open file for safetensors, which takes UTF-8 alone; the systems that know other names know this one."""
    try:
        return str(path).encode().decode()
    except UnicodeEncodeError:
        return f"/dev/fd/{descriptor}"


def fit_tensors(model: Model, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copy tensors into a model. Raises: UsageError, with the first names that differ."""
    wanted = own_state(model)
    lacks = [name for name in wanted if name not in tensors]
    more = [name for name in tensors if name not in wanted]
    misfit = f"{path}: the weights do not fit the spec"
    if lacks or more:
        text = "; ".join(
            f"{word} {', '.join(printable(name) for name in names[:3])}{', …' if len(names) > 3 else ''}"
            for word, names in (("lacks", lacks), ("has besides", more))
            if names
        )
        raise UsageError(f"{misfit}: the file {text}")
    for name, tensor in wanted.items():
        fault = tensor_fault(tensors[name], like=tensor)
        if fault:
            raise UsageError(f"{misfit}: '{name}' {fault}")
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(tensors[name])


def tensor_fault(tensor: Tensor, *, like: Tensor) -> str:
    """Say why a tensor cannot replace another one; an empty string where it can.

    Another layout, shape or type, or a value that is not finite where none may be.
    """
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type == "meta":
        return "is not a plain array of numbers"
    if tensor.shape != like.shape:
        return f"has shape {list(tensor.shape)}, wanted {list(like.shape)}"
    if tensor.dtype != like.dtype:
        return f"has type {_type(tensor)}, wanted {_type(like)}"
    if bool(torch.isfinite(like).all()) and not bool(torch.isfinite(tensor).all()):
        return "has values that are not finite"
    return ""


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def problem_words(problem: Exception) -> str:
    """Name a fault of a file in one line."""
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    lines = str(problem).splitlines()
    return lines[0] if lines else type(problem).__name__
