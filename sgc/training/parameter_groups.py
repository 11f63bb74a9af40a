"""The weights that an optimiser moves, in groups: those of one network may have a weight decay of their own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from sgc.runtime.density_modules import DensityModule
from sgc.runtime.model import Model
from sgc.runtime.network_modules import FeatureModule
from sgc.schedules import Number


@dataclass(frozen=True)
class ParameterGroup:
    """Weights that are moved alike. weight_decay: in place of the optimiser's; None: that of the optimiser."""

    parameters: Sequence[nn.Parameter]
    weight_decay: Number | None = None


def groups_of(model: Model) -> list[ParameterGroup]:
    """Group the weights that training moves: first those without a decay of their own, then by network.

    A network that several conditionals share belongs to none of them; their last maps, which are their own, do.
    """
    groups: list[ParameterGroup] = []
    taken: set[int] = set()
    for module in model.modules():
        if not isinstance(module, DensityModule | FeatureModule) or module.outline.weight_decay is None:
            continue
        own = [part for part in _own_networks(module) if id(part) not in taken]  # steps of a repeat have one together
        taken |= {id(part) for part in own}
        moved = [parameter for part in own for parameter in part.parameters() if parameter.requires_grad]
        if moved:
            groups.append(ParameterGroup(moved, module.outline.weight_decay))
    grouped = {id(parameter) for group in groups for parameter in group.parameters}
    others = [weight for weight in model.parameters() if weight.requires_grad and id(weight) not in grouped]
    return [ParameterGroup(others), *groups] if others else groups


def _own_networks(module: DensityModule | FeatureModule) -> list[nn.Module]:
    shared = bool(module.outline.trunk)
    heads = module.heads if isinstance(module, DensityModule) else None
    return [part for part in (None if shared else module.trunk, heads) if part is not None]


def moved_by(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """List the weights that an optimiser moves, by the places that its state has them at."""
    groups: Iterable[dict[str, list[nn.Parameter]]] = optimizer.param_groups
    return [parameter for group in groups for parameter in group["params"]]
