"""A spec -> a model: its modules, and in its parts the weights that these were trained to elsewhere."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from sgc.arguments import truth
from sgc.errors import UsageError
from sgc.randomness import Generators, drawing_from
from sgc.runtime.model import Model
from sgc.runtime.module_builder import key_of, part_modules
from sgc.runtime.weight_files import fit_part
from sgc.spec.loader import load
from sgc.spec.outline import Outline
from sgc.spec.resolver import outline
from sgc.spec.spec import Spec
from sgc.spec.unrolled import PartOf

CHECKPOINTS = ("best", "last")  # of a run folder, in the order in which they are looked for


def compile_spec(spec: Spec | str | Path | Mapping[str, Any], *, trust: bool = False) -> Model:  # Any: plain data
    """Compile a spec, or load one first, into a model; no data are needed.

    Weights are drawn from torch's global generator; those of a part are read from the run that the spec names, and
    drawn, with a warning, where that run is not there.

    spec: loaded, or what `sgc.load` takes. trust: as for `sgc.load`; a spec that is loaded already keeps its own trust.

    Raises: SpecError; UsageError where own code cannot be used, a part's weights do not fit, or torch's default type
    does not hold a number of the spec.
    """
    truth("trust", trust, error=UsageError)
    model = Model(outline(spec if isinstance(spec, Spec) else load(spec, trust=trust)))
    for part in with_weights(model.spec.unrolled.parts):
        if part.weights is not None and not part.weights.exists():
            warnings.warn(f"{missing(part)}: its weights are drawn at random", stacklevel=2)
        else:
            take_weights(model, part)
    return model


def model_of_run(outline: Outline) -> Model:
    """Build the model of a run: its weights are drawn in 32 bits, its spec's numbers are of the run's precision."""
    precise = torch.float64 if outline.spec.train.precision == "64-true" else torch.float32
    return Model(outline, dtype=torch.float32, numbers=precise).to(precise)


def take_all_weights(model: Model, beside: Path) -> None:
    """Read the weights of all parts that have some. beside: a folder in which runs are looked for as well.

    Raises: UsageError where a run is missing or does not fit.
    """
    for part in with_weights(model.spec.unrolled.parts):
        located = part
        if part.weights is not None and not part.weights.exists():
            located = replace(part, weights=beside / part.weights)
            if not (beside / part.weights).exists():
                raise UsageError(f"{missing(part)}: train the part first")
        take_weights(model, located)


def with_weights(parts: Sequence[PartOf]) -> list[PartOf]:
    """List the parts whose weights are read: not those inside of one that has weights, whose run trained them too."""
    outer = [f"{part.name}." for part in parts if part.weights is not None]
    return [part for part in parts if not part.name.startswith(tuple(outer))]


def missing(part: PartOf) -> str:
    """Say that the run of a part is not there."""
    return f"{part.where}.weights: no run at '{part.weights}'"


def take_weights(model: Model, part: PartOf) -> None:
    """Read the weights of one part into a model; nothing where it has none. Raises: UsageError."""
    if part.weights is None:
        return
    trusted = model.spec.trusted
    with drawing_from(Generators(0)):  # these draws are replaced by the weights
        own = model_of_run(outline(load(part.own, trust=trusted).stands_in(model.spec.folder, trusted=trusted)))
    own = own.to(model.like.dtype)
    try:
        fit_part(own, weights_file(part.weights))
    except UsageError as problem:
        raise UsageError(f"{part.where}.weights: {problem}") from None
    part_state, host_state = own.state_dict(), model.state_dict()
    host_keys, dropped = part_modules(part), {("recognition", key_of(name)) for name in part.bound}
    with torch.no_grad():
        for key, tensor in part_state.items():
            section, module, parameter = key.split(".", 2)
            if (section, module) in dropped:  # the host has a q of its own there
                continue
            into = host_state[".".join((*host_keys[section, module], parameter))]
            if into.shape != tensor.shape:
                shape, wanted = list(tensor.shape), list(into.shape)
                raise UsageError(f"{part.where}.weights: '{key}' has shape {shape}, wanted {wanted}")
            into.copy_(tensor)


def weights_file(path: Path) -> Path:
    """Find the weights in a run folder, the best ones where there are some. Raises: UsageError."""
    if path.is_file():
        return path
    for checkpoint in CHECKPOINTS:
        file = path / f"{checkpoint}.safetensors"
        if file.exists():
            return file
    raise UsageError(f"{path}: no run with weights, wanted best.safetensors or last.safetensors in it")
