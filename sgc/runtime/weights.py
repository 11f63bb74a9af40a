"""Weights in files: a model's tensors by name, and files that fit a model or do not."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sgc.errors import UsageError
from sgc.runtime.model import Model


def own_state(model: Model) -> dict[str, Tensor]:
    """Give a model's tensors by name, one that several modules share only once."""
    seen: set[int] = set()
    found: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() in seen and tensor.numel():
            continue
        seen.add(tensor.data_ptr())
        found[name] = tensor
    return found


def fit_weights(model: Model, path: Path) -> None:
    """Load weights into a model. Raises: UsageError, with the first names that differ."""
    try:
        with safe_open(str(path), framework="pt") as file:
            info = _metadata(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as problem:
        raise UsageError(f"{path}: not a weights file ({problem_words(problem)})") from None
    wanted = own_state(model)
    lacks = [name for name in wanted if name not in tensors]
    more = [name for name in tensors if name not in wanted]
    if lacks or more:
        text = "; ".join(
            f"{word} {', '.join(names[:3])}{', …' if len(names) > 3 else ''}"
            for word, names in (("lacks", lacks), ("has besides", more))
            if names
        )
        raise UsageError(f"{path}: the weights do not fit the spec: the file {text}")
    for name, tensor in wanted.items():
        if tuple(tensor.shape) != tuple(tensors[name].shape):
            got, want = list(tensors[name].shape), list(tensor.shape)
            raise UsageError(f"{path}: the weights do not fit the spec: '{name}' has shape {got}, wanted {want}")
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(tensors[name])
    model.epoch = info.get("epoch", 0.0)
    model.gamma, model.rate = info.get("gamma"), info.get("rate")


def _metadata(found: Mapping[str, str]) -> dict[str, float]:
    """Read the numbers that stand beside the weights; what is none is left out."""
    numbers: dict[str, float] = {}
    try:
        entries = json.loads(found["sgc"])
        pairs = list(entries.items())
    except (KeyError, ValueError, AttributeError, RecursionError):
        pairs = []
    for name, value in pairs:
        if isinstance(value, int | float) and math.isfinite(value):
            numbers[name] = float(value)
    return numbers


def problem_words(problem: Exception) -> str:
    """Name a fault of a file in one line."""
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    lines = str(problem).splitlines()
    return lines[0] if lines else type(problem).__name__
