"""One conditional of a model at given values: its distribution, and the score of a value under it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor
from torch.distributions import Distribution

from sgc.runtime import steps
from sgc.runtime.batch import check_totals, row_values, there
from sgc.runtime.density_modules import AnyDensity
from sgc.runtime.given_values import tensors_of
from sgc.runtime.group import Group
from sgc.runtime.layout import Layout
from sgc.runtime.network_modules import read_by
from sgc.runtime.plan_runner import PlanRunner
from sgc.spec.outline import Variable


class LaidValues:
    """Values of nodes and inputs, laid out once for several conditionals; they may be replaced one by one."""

    def __init__(self, model: PlanRunner, values: Mapping[str, Any]) -> None:  # Any: as a batch's
        """Lay values out, [B, *event] by node or input. Raises: KeyError or ValueError."""
        self.model, self.group = model, lay_values(model, values, ())

    def put(self, name: str, value: Tensor) -> None:
        """Give a node another value, [B, *event]; the features that are made of it are computed anew."""
        graphs, group = self.model.outline.graphs, self.group
        if name in group.values:
            for feature in [feature for feature in graphs.features if feature in group.values]:
                if name in graphs.sources([feature]):
                    del group.values[feature], group.network_inputs[feature]
        group.put(name, group.layout.clamp(value), self.model.outline)

    def conditional(self, module: AnyDensity) -> Distribution:
        """Give a conditional at these values: batch shape [B].

        Raises: KeyError for a value that is missing, or ParameterError for a parameter that is not finite.
        """
        model, group = self.model, self.group
        for name in module.outline.reads:
            _feature(model, group, name)
        rank, rows = group.layout.rank, group.layout.rows
        network_inputs = [group.network_inputs[parent] for parent in module.outline.parents]
        (parameters,) = module.parameters_of([network_inputs], [group.values], rank)
        by_rows = module.owner.by_rows(parameters, rank, rows)
        return module.distribution(by_rows, validate=model.validate_args, finite=True)


def conditional(model: PlanRunner, module: AnyDensity, values: Mapping[str, Any]) -> Distribution:  # Any: as a batch's
    """Give a conditional at given parents: batch shape [B].

    Raises: KeyError, ValueError, or ParameterError for a parameter that is not finite.
    """
    return LaidValues(model, values).conditional(module)


def log_prob(model: PlanRunner, module: AnyDensity, values: Mapping[str, Any]) -> Tensor:  # Any: as a batch's
    """Score the node's own value at given parents: [B] nats. Raises: KeyError or ValueError."""
    variable = module.variable
    values = tensors_of(model.outline, values)
    if variable.name not in steps.split(model.outline, values):
        raise KeyError(f"the value of '{variable.name}' is missing")
    distribution = conditional(model, module, values)
    group = lay_values(model, values, [variable.name])
    value = group.values[variable.name].reshape(group.layout.rows, *variable.event)
    if variable.dropped:
        return variable.family.log_prob(distribution, value, there(variable, value))
    return variable.family.log_prob(distribution, value)


def lay_values(model: PlanRunner, values: Mapping[str, Any], wanted: Collection[str]) -> Group:  # Any: as a batch's
    """Lay given values out, and compute the features that are wanted. Raises: KeyError or ValueError.

    A node that drops what is missing may be left out: then all of it is missing.
    """
    outline = model.outline
    laid: dict[str, Tensor] = {}
    for name, given_value in steps.split(outline, tensors_of(outline, values)).items():
        owner = outline.variables.get(name) or outline.inputs[name]
        laid[name], missing = row_values(name, owner, given_value, model.like)
        if bool(missing.any()) and not (isinstance(owner, Variable) and owner.dropped):
            if name not in values:  # a step among others, as where it does not exist
                del laid[name]
                continue
            raise ValueError(f"'{name}' is missing in row {int(missing.nonzero()[0])}")
    sizes = {len(value) for value in laid.values()}
    if len(sizes) > 1:
        raise ValueError(f"the values have different numbers of rows: {sorted(sizes)}")
    check_totals(outline, laid)
    group = Group(model.plan(()), Layout({}, 1, sizes.pop() if sizes else 1), laid, model.like)
    for name, value in laid.items():
        group.put(name, group.layout.clamp(value), outline)
    for name in outline.graphs.dropped:
        if name not in laid:
            nothing = model.like.new_full((group.layout.rows, *outline.variables[name].event), float("nan"))
            group.put(name, group.layout.clamp(nothing), outline)
    for name in wanted:
        _feature(model, group, name)
    return group


def _feature(model: PlanRunner, group: Group, name: str) -> None:
    if name in group.values:
        return
    if name not in model.outline.features:
        raise KeyError(f"the value of '{name}' is missing")
    module = model.machine.features[name]
    for parent in module.outline.parents:
        _feature(model, group, parent)
    (value,) = module([read_by(module, group.values, group.network_inputs)], group.layout.rank)
    group.put(name, value, model.outline)
