"""The q of a node that experts make up: each has its network, and a row says which of them speak.

A product of Normals is one, by the sum of precisions; it is computed relative to the sharpest expert, so that none of
any size overflows or vanishes, and a single expert keeps its parameters to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from sgc.distributions.normal_mixture import mixture, normal_mixture
from sgc.runtime.density_modules import DensityModule, DensityOwner
from sgc.runtime.network_modules import Group
from sgc.spec.outline import Density, Variable

Normals = tuple[Tensor, Tensor]  # loc and scale, [*leading, *event]


class ExpertsModule(DensityOwner):
    """One conditional of q that experts make up together: their modules, and p where it is a factor."""

    def __init__(
        self, outline: Density, variable: Variable, experts: Mapping[str, DensityModule], prior: DensityModule
    ) -> None:
        """Take the modules of the experts, by a key for each, in their order. prior: p of the node, which stays p's."""
        assert outline.experts is not None
        mixes, normal = outline.experts.mixes, variable.family
        super().__init__(outline, replace(variable, family=normal_mixture(normal)) if mixes else variable)
        self.combination, self.normal = outline.experts, normal
        self.experts = nn.ModuleDict(experts)
        self._prior = (prior,)  # in a tuple, so that its weights are not counted as q's
        places = {parent: place for place, parent in enumerate(outline.parents)}
        self._read = [[places[parent] for parent in density.parents] for density in outline.of_experts]
        self._needed = [
            [[places[source] for source in sources] for sources in member.needs] for member in self.combination.members
        ]

    @property
    def conditionals(self) -> tuple[DensityModule, ...]:
        """The modules of the experts, in their order."""
        return tuple(module for module in self.experts.values() if isinstance(module, DensityModule))

    def named(self, values: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Give the values that parameters are taken from: experts take none."""
        return {}

    def parameters_of(
        self, groups: Sequence[Group], named: Sequence[Mapping[str, Tensor]], rank: int
    ) -> list[dict[str, Tensor]]:
        """Give each group's loc and scale, [*leading, *event]; of a mixture also `there`, see `mixture`."""
        of_experts: list[list[Normals]] = [[] for _ in groups]
        for module, places in zip(self.conditionals, self._read, strict=True):
            read = [[group[place] for place in places] for group in groups]
            for normals, parameters in zip(of_experts, module.parameters_of(read, named, rank), strict=True):
                normals.append(self._laid(parameters, rank))
        reads_p = self.combination.prior or self.combination.may_be_silent
        prior = self._laid(self._prior[0].parameters_of([()], [{}], rank)[0], rank) if reads_p else None
        return [
            self._combined(normals, prior, self.speaking(group, rank), rank)
            for normals, group in zip(of_experts, groups, strict=True)
        ]

    def _laid(self, parameters: Mapping[str, Tensor], rank: int) -> Normals:
        """Spread parameters over the event, with all leading dimensions."""
        event = self.variable.event
        filled = (self.normal.fill(name, parameters[name], event) for name in ("loc", "scale"))
        loc, scale = (value.reshape(*(1,) * (rank + len(event) - value.dim()), *value.shape) for value in filled)
        return loc, scale

    def speaking(self, group: Group, rank: int) -> list[Tensor | None]:
        """Tell which experts speak: booleans [*leading] for each, None for one that does in every row."""
        speaking: list[Tensor | None] = []
        for needed in self._needed:
            there: Tensor | None = None
            for places in needed:
                some = _any(_some(group[place], rank) for place in places)
                there = some if there is None else there & some
            speaking.append(there)
        return speaking

    def _combined(
        self, normals: Sequence[Normals], prior: Normals | None, speaking: Sequence[Tensor | None], rank: int
    ) -> dict[str, Tensor]:
        event = len(self.variable.event)
        if not self.combination.mixes:
            there = [None if speaks is None else speaks.reshape(*speaks.shape, *(1,) * event) for speaks in speaking]
            if prior:  # without `prior: true` in the rows alone that have no other
                there.append(
                    None if self.combination.prior else ~_any(speaks for speaks in there if speaks is not None)
                )
            loc, scale = product_of([*normals, prior] if prior else normals, there)
            return {"loc": loc, "scale": scale}
        always = torch.ones((1,) * rank, dtype=torch.bool, device=normals[0][0].device)
        heard = [always if speaks is None else speaks for speaks in speaking]
        products: list[Normals] = []
        present: list[Tensor] = []
        for chosen in self.combination.products:
            factors = [normals[place] for place in chosen]
            factors += [prior] if prior and self.combination.prior else []
            products.append(product_of(factors, [None] * len(factors)))
            of_all = torch.broadcast_tensors(*(heard[place] for place in chosen))
            present.append(torch.stack(of_all).all(0))
        if prior and self.combination.may_be_silent:
            products.append(prior)
            present.append(~_any(heard))
        loc, scale = (torch.stack(torch.broadcast_tensors(*parts), rank) for parts in zip(*products, strict=True))
        return {"loc": loc, "scale": scale, "there": torch.stack(torch.broadcast_tensors(*present), -1)}

    def by_rows(self, parameters: Mapping[str, Tensor], rank: int, rows: int) -> dict[str, Tensor]:
        """Lay parameters of a single sample out by row: [*(1,) * (rank - 1), B, ...] -> [B, ...]."""
        if not self.combination.mixes:
            return super().by_rows(parameters, rank, rows)
        return {
            name: value.expand(*(1,) * (rank - 1), rows, *value.shape[rank:]).reshape(rows, *value.shape[rank:])
            for name, value in parameters.items()
        }

    def member(self, parameters: Mapping[str, Tensor], *, validate: bool = False, finite: bool = False) -> Distribution:
        """Make the distribution, as `distribution` does. Raises: ParameterError, which names no node."""
        normal = {name: parameters[name] for name in ("loc", "scale")}
        made = self.normal.distribution(normal, self.variable.event, validate=validate, finite=finite)
        return mixture(made, parameters["there"]) if self.combination.mixes else made


def product_of(normals: Sequence[Normals], there: Sequence[Tensor | None]) -> Normals:
    """Multiply densities of Normals, element by element: 1/σ² = Σ 1/σ_e², μ = σ² Σ μ_e/σ_e², over those that are there.

    normals: loc and scale, [*leading, *event]. there: booleans that broadcast with them; None: everywhere. In each
    place one is. Source: Wu and Goodman 2018, section 2.2.
    """
    if len(normals) == 1:
        return normals[0]
    scales = [
        scale if here is None else torch.where(here, scale, math.inf) for (_, scale), here in _pairs(normals, there)
    ]
    least = torch.stack(torch.broadcast_tensors(*(scale.detach() for scale in scales))).amin(0)
    ratios = [least / scale for scale in scales]  # of one that is not there 0, and so is its gradient
    weights = [ratio * ratio for ratio in ratios]
    total = sum(weights[1:], weights[0])
    moved = [weight * loc for weight, (loc, _) in zip(weights, normals, strict=True)]
    return sum(moved[1:], moved[0]) / total, least / total.sqrt()


def _any(booleans: Iterable[Tensor]) -> Tensor:
    """Tell where any of some booleans is true; they broadcast."""
    return torch.stack(torch.broadcast_tensors(*booleans)).any(0)


def _pairs(normals: Sequence[Normals], there: Sequence[Tensor | None]) -> list[tuple[Normals, Tensor | None]]:
    return list(zip(normals, there, strict=True))


def _some(read: Tensor, rank: int) -> Tensor:
    """Tell whether some element is there of what networks read of a node that drops missing ones: [*leading].

    Its flags are the second half of its first axis, see `with_flags`.
    """
    half = read.shape[rank] // 2
    return (read.narrow(rank, half, half) > 0).flatten(rank).any(-1)
