"""The gradient, probed: its norm, and the variance that the draws of the estimators give it, node by node.

The same rows every time, drawn for again and again with the weights as they are. Nothing of a run is moved: neither
weights nor their gradients, optimiser, batch statistics nor generators.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from sgc.randomness import Generators, drawing_from
from sgc.runtime.density_modules import DensityModule
from sgc.runtime.model import Model
from sgc.runtime.modes import evaluating
from sgc.runtime.network_modules import FeatureModule
from sgc.runtime.streams import PROBE, Streams, seed_for

DRAWS = 4  # gradients a probe: each costs a little less than a step
STEPS = 500  # a probe in so many steps, so that all of them cost less than 1% of a run


def due(epoch: int, steps: int) -> bool:
    """Tell whether to probe after an epoch, counted from 1, of so many steps: the first, then once in 500 steps.

    >>> [epoch for epoch in range(1, 100) if due(epoch, 12)]
    [1, 42, 84]
    >>> [epoch for epoch in range(1, 5) if due(epoch, 500)]
    [1, 2, 3, 4]
    """
    return epoch == 1 or epoch * steps // STEPS > (epoch - 1) * steps // STEPS


def owners(model: Model) -> dict[str, list[nn.Parameter]]:
    """Sort what is learned by what it belongs to: p(v), q(v), a feature, a shared network."""
    machine, unrolled = model.machine, model.spec.unrolled
    found: dict[str, list[nn.Parameter]] = {}
    for form, modules in (("p({})", machine.generative), ("q({})", machine.recognition), ("{}", machine.features)):
        for name, module in modules.items():
            if not isinstance(module, DensityModule | FeatureModule) or unrolled.owner(name) != name:
                continue  # nothing of its own, or another step's
            shared = module.outline.trunk
            theirs = [] if module.trunk is None or not shared else list(module.trunk.parameters())
            if theirs:
                found[f"network {shared}"] = theirs
            apart = {id(parameter) for parameter in theirs}
            owner = form.format(unrolled.id(name).name)
            found[owner] = [each for each in module.parameters() if id(each) not in apart]
    kept = {owner: [each for each in parameters if each.requires_grad] for owner, parameters in found.items()}
    return {owner: parameters for owner, parameters in kept.items() if parameters}


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
    model: Model, streams: Streams, seed: int, epoch: int, autocast: Callable[[], AbstractContextManager[None]]
) -> dict[str, Any]:  # Any: what JSON can say
    """Measure the gradient of the loss on the rows of the run's first step, with the weights as they are.

    Gives the norm of the mean of `DRAWS` gradients, and their variance: the trace of their covariance over draws, the
    rows held. It is what the estimators add to the noise of a step; the choice of rows, dropout and clipping are none
    of it. Both for all that is learned, and for each part, with the estimator of a node that q proposes.

    Raises: ValueError where the model checks its arguments and torch refuses one.
    """
    parts = owners(model)
    parameters = [parameter for each in parts.values() for parameter in each]
    moments = {owner: _Moments() for owner in parts}
    with evaluating(model), torch.enable_grad():
        with drawing_from(Generators(seed_for(seed, PROBE))):  # of rows whose values are drawn
            rows, weights = streams.take(0, epoch)
        for draw in range(DRAWS):
            with drawing_from(Generators(seed_for(seed, PROBE, 1 + epoch * DRAWS + draw))), autocast():
                loss, _ = model(rows, weights)
            found = torch.autograd.grad(loss, parameters, allow_unused=True)
            flat = iter([_flat(gradient, p) for gradient, p in zip(found, parameters, strict=True)])
            for owner, each in parts.items():
                moments[owner].add(torch.cat([next(flat) for _ in each]))
    by_node: dict[str, Any] = {}  # Any: numbers and words
    for owner, found_here in moments.items():
        estimator = _estimator(model, owner)
        words = {"estimator": estimator} if estimator else {}
        by_node[owner] = {**words, "norm": found_here.norm, "variance": found_here.variance}
    return {
        "norm": math.hypot(*(each.norm for each in moments.values())),
        "variance": sum(each.variance for each in moments.values()),
        "by_node": by_node,
    }


def _flat(gradient: Tensor | None, parameter: nn.Parameter) -> Tensor:
    return (torch.zeros_like(parameter) if gradient is None else gradient).detach().reshape(-1)


def _estimator(model: Model, owner: str) -> str:
    """Name the estimator of the node that q(·) proposes; an empty string for other parts."""
    for name in model.machine.recognition:
        estimator = model.outline.variables[name].estimator
        if owner == f"q({model.spec.unrolled.id(name).name})" and estimator is not None:
            return estimator.name
    return ""
