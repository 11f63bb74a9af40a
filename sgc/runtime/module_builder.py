"""Outline -> modules: every network once, shared by all that name it and by all steps of a repeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from torch import nn

from sgc.distributions.own_family import OwnFamily, try_member
from sgc.distributions.step_counts import count_values
from sgc.errors import UsageError
from sgc.metrics.own_metric import OwnMetric, try_metric
from sgc.networks import repeat_entries
from sgc.runtime.density_modules import AnyDensity, DensityModule, DensityOwner, DensityStep
from sgc.runtime.execution import Machine
from sgc.runtime.expert_modules import ExpertsModule
from sgc.runtime.network_modules import AnyFeature, Existence, FeatureModule, Trunk, Zeros
from sgc.spec.measured_nodes import measured, metric_of
from sgc.spec.outline import Density, FeatureOutline, Outline, Variable
from sgc.spec.unrolled import PartOf


def build(outline: Outline) -> Machine:
    """Build the modules of a model."""
    return _Building(outline).machine()


class _Building:
    def __init__(self, outline: Outline) -> None:
        self.outline, self.owner = outline, outline.spec.unrolled.owner
        self.trunks: dict[str, Trunk] = {}  # of shared networks

    def machine(self) -> Machine:
        features: dict[str, AnyFeature] = {}
        for name, feature in self.outline.features.items():
            features[name] = self.feature(feature, features)
        outline = self.outline
        generative = self.densities(outline.generative, {})
        return Machine(outline, features, generative, self.densities(outline.recognition, generative))

    def trunk(self, owner: Density | FeatureOutline) -> Trunk | None:
        """Build a network, or take the shared one; None where there is nothing before the heads."""
        stack = owner.stack
        if stack is None or stack.empty:
            return None
        if not owner.trunk:
            return Trunk(stack)
        if owner.trunk not in self.trunks:
            self.trunks[owner.trunk] = Trunk(stack)
        return self.trunks[owner.trunk]

    def feature(self, outline: FeatureOutline, before: Mapping[str, AnyFeature]) -> AnyFeature:
        match outline.entries:
            case (repeat_entries.Zeros(),):
                return Zeros(outline)
            case (repeat_entries.Exists(count=count, i=i),):
                of = self.outline.variables[count]
                return Existence(outline, count_values(of.family, of.event, of.values), i)
        first = before.get(self.owner(outline.name))
        return FeatureModule(outline, first.trunk if isinstance(first, FeatureModule) else self.trunk(outline))

    def densities(self, outlines: Mapping[str, Density], priors: Mapping[str, AnyDensity]) -> dict[str, AnyDensity]:
        """Build the conditionals of a graph. priors: those of p, for q."""
        modules: dict[str, AnyDensity] = {}
        for name, outline in outlines.items():
            first = modules.get(self.owner(name))
            variable = self.outline.variables[name]
            if first is not None:
                modules[name] = DensityStep(cast(DensityOwner, first), outline, variable)
            elif outline.experts is not None:
                modules[name] = self.experts(outline, variable, cast(DensityModule, priors[name].owner))
            else:
                modules[name] = DensityModule(outline, variable, self.trunk(outline))
        return modules

    def experts(self, outline: Density, variable: Variable, prior: DensityModule) -> ExpertsModule:
        assert outline.experts is not None
        named = zip(outline.experts.members, outline.of_experts, strict=True)
        experts = {key_of(expert.name): DensityModule(of, variable, self.trunk(of)) for expert, of in named}
        return ExpertsModule(outline, variable, experts, prior)


def registered(outline: Outline, modules: Mapping[str, AnyDensity] | Mapping[str, AnyFeature]) -> nn.ModuleDict:
    """Register the modules under their names in the file, and what the steps of a repeat share once."""
    owner, template = outline.spec.unrolled.owner, outline.spec.unrolled.template
    mine = {name: module for name, module in modules.items() if owner(name) == name}
    return nn.ModuleDict({key_of(template.get(n, n)): m for n, m in mine.items() if isinstance(m, nn.Module)})


def frozen_modules(parts: Sequence[PartOf], sections: Mapping[str, nn.ModuleDict]) -> list[nn.Module]:
    """List the modules of the parts whose weights are kept as they are. sections: those of the host, by name."""
    return [
        sections[section][key]
        for part in parts
        if part.freeze
        for section, key in part_modules(part).values()
        if key in sections[section]
    ]


def part_modules(part: PartOf) -> dict[tuple[str, str], tuple[str, str]]:
    """Map the modules of a part to those of its host: section and key in the part to section and key in the host.

    A node that is bound to one of the host's has its p from the part and its q from the host.
    """
    sections = ("generative", "recognition", "features")
    keys = {(s, key_of(own)): (s, key_of(host_name)) for own, host_name in part.names.items() for s in sections}
    return keys | {
        ("generative", key_of(own)): ("generative", key_of(host_name)) for own, host_name in part.bound.items()
    }


def key_of(name: str) -> str:
    """Give the key of a module by its name in the file: torch keeps some words for itself, and allows no dots.

    >>> key_of("digit.size")
    'digit/size_'
    """
    return f"{name.replace('.', '/')}_"


def try_own(outline: Outline) -> None:
    """Import the own families and metrics of a model, and try each on something small. Raises: UsageError."""
    own = {name for name, node in outline.spec.nodes.items() if isinstance(node.distribution, OwnFamily)}
    for name in [node for node in outline.variables if node in own]:
        variable = outline.variables[name]
        try:
            try_member(variable.family, wants_mean=variable.supervision == "partial")
        except UsageError as problem:
            raise UsageError(f"node '{name}': {problem}") from None
    for name, chosen in outline.spec.evaluate.metrics.items():
        if isinstance(chosen, OwnMetric):
            try:
                try_metric(chosen.python, metric_of(outline, name), measured(outline, name))
            except UsageError as problem:
                raise UsageError(f"node '{name}': {problem}") from None
