"""A probe of the gradient: its norm, and the variance due to the draws of the estimators, node by node.

The gradient of the same rows is drawn several times with the current weights. Nothing in the run changes: not the
weights, their gradients, the optimiser, batch statistics or generators.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from sgc.randomness import Generators, drawing_from
from sgc.runtime.density_modules import DensityOwner
from sgc.runtime.model import Model
from sgc.runtime.modes import evaluating
from sgc.runtime.network_modules import FeatureModule
from sgc.runtime.streams import PROBE, Streams, seed_for

DRAWS = 4  # gradients per probe: each costs a little less than a step
STEPS = 500  # steps per probe, so that all probes take less than 1% of a run


def due(epoch: int, steps: int) -> bool:
    """Tell whether to probe after an epoch, counted from 1, of so many steps: the first, then every 500 steps.

    >>> [epoch for epoch in range(1, 100) if due(epoch, 12)]
    [1, 42, 84]
    >>> [epoch for epoch in range(1, 5) if due(epoch, 500)]
    [1, 2, 3, 4]
    """
    return epoch == 1 or epoch * steps // STEPS > (epoch - 1) * steps // STEPS


def owners(model: Model) -> dict[str, list[nn.Parameter]]:
    """Group the learned parameters by what they belong to: p(v), q(v), a feature, a shared network."""
    machine, unrolled = model.machine, model.spec.unrolled
    owned: dict[str, list[nn.Parameter]] = {}
    for form, modules in (("p({})", machine.generative), ("q({})", machine.recognition), ("{}", machine.features)):
        for name, module in modules.items():
            if not isinstance(module, DensityOwner | FeatureModule) or unrolled.owner(name) != name:
                continue  # it has no parameters, or those of another step
            shared_ids: set[int] = set()
            for part in module.conditionals if isinstance(module, DensityOwner) else (module,):
                network = part.outline.trunk
                shared = [] if part.trunk is None or not network else list(part.trunk.parameters())
                if shared:
                    owned[f"network {network}"] = shared
                shared_ids |= {id(parameter) for parameter in shared}
            owner = form.format(unrolled.id(name).name)
            owned[owner] = [parameter for parameter in module.parameters() if id(parameter) not in shared_ids]
    learned = {
        owner: [parameter for parameter in parameters if parameter.requires_grad] for owner, parameters in owned.items()
    }
    return {owner: parameters for owner, parameters in learned.items() if parameters}


class _Moments:
    """The running mean of vectors, and the sum of their squared distances from it (Welford 1962)."""

    def __init__(self) -> None:
        self.count, self.squares = 0, 0.0
        self.mean: Tensor | None = None

    def add(self, vector: Tensor) -> None:
        self.count += 1
        before = torch.zeros_like(vector) if self.mean is None else self.mean
        self.mean = before + (vector - before) / self.count
        self.squares += float(((vector - before) * (vector - self.mean)).sum())

    @property
    def norm(self) -> float:
        assert self.mean is not None
        return float(self.mean.norm())

    @property
    def variance(self) -> float:
        """The trace of the covariance, unbiased."""
        return self.squares / (self.count - 1)


def probe(
    model: Model,
    streams: Streams,
    seed: int,
    epoch: int,
    autocast: Callable[[], AbstractContextManager[None]],
    summed: Callable[[Tensor], Tensor] = lambda gradient: gradient,
) -> dict[str, Any]:  # Any: what JSON can say
    """Measure the gradient of the loss on the rows of the run's first step, with the current weights.

    Gives the norm of the mean of `DRAWS` gradients, and their variance: the trace of their covariance over draws, for
    the same rows. It is the noise that the estimators add to a step, without that of the choice of rows, dropout or
    clipping. Both are for all parameters together and for each owner, with the estimator of a node that q proposes.
    summed: adds a gradient up over the processes of the run.

    Raises: ValueError if the model checks its arguments and torch refuses one.
    """
    parts = owners(model)
    parameters = [parameter for group in parts.values() for parameter in group]
    moments = {owner: _Moments() for owner in parts}
    with evaluating(model), torch.enable_grad():
        with drawing_from(Generators(seed_for(seed, PROBE))):  # for rows whose values are drawn
            rows, weights = streams.take(0, epoch)
        for draw in range(DRAWS):
            with drawing_from(Generators(seed_for(seed, PROBE, 1 + epoch * DRAWS + draw))), autocast():
                loss, _ = model(rows, weights)
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
            whole = summed(torch.cat([_flat(gradient, p) for gradient, p in zip(gradients, parameters, strict=True)]))
            flat = iter(whole.split([parameter.numel() for parameter in parameters]))
            for owner, group in parts.items():
                moments[owner].add(torch.cat([next(flat) for _ in group]))
    by_node: dict[str, Any] = {}  # Any: numbers and words
    for owner, measured in moments.items():
        estimator = _estimator(model, owner)
        words = {"estimator": estimator} if estimator else {}
        by_node[owner] = {**words, "norm": measured.norm, "variance": measured.variance}
    return {
        "norm": math.hypot(*(moment.norm for moment in moments.values())),
        "variance": sum(moment.variance for moment in moments.values()),
        "by_node": by_node,
    }


def _flat(gradient: Tensor | None, parameter: nn.Parameter) -> Tensor:
    return (torch.zeros_like(parameter) if gradient is None else gradient).detach().reshape(-1)


def _estimator(model: Model, owner: str) -> str:
    """Name the estimator of the node of a q(·); an empty string for other owners."""
    for name in model.machine.recognition:
        estimator = model.outline.variables[name].estimator
        if owner == f"q({model.spec.unrolled.id(name).name})" and estimator is not None:
            return estimator.name
    return ""
