"""Ancestral sampling in the generative graph, with some nodes intervened on: held at values."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, TypeAlias

import torch
from torch import Tensor

from sgc.derivation.existence import absent, counts_of
from sgc.distributions.row_totals import OWN_SUM, TOTAL
from sgc.errors import RunError
from sgc.runtime import steps
from sgc.runtime.batch import check_totals, row_values
from sgc.runtime.counts import counted, filled
from sgc.runtime.density_modules import naming
from sgc.runtime.finiteness import rows_words, without_failures
from sgc.runtime.given_values import check_known, check_names, intervened_tensor_of, names_of
from sgc.runtime.group import Group
from sgc.runtime.layout import Layout
from sgc.runtime.network_modules import read_by
from sgc.runtime.plan_runner import PlanRunner
from sgc.spec.outline import Outline, Variable

Drawn: TypeAlias = tuple[dict[str, Tensor], dict[int, str]]  # values by node, and why rows are not finite


def intervened_value(outline: Outline, name: str, given: Any, count: int, like: Tensor) -> Tensor:
    """Spread the value of an intervened node over the rows: a category, a number, one event, or [count, *event].

    A category of a node with `values` is given by its name (an integer that is no name is a place);
    tensors hold places, 0 to K - 1. Of a node of a repeat by its outer name, it is all steps: [*steps, *event].

    Any: whatever a user may give. Raises: ValueError for an unknown category, or a shape that does not fit.
    """
    laid, missing = laid_rows(outline, name, given, count, like)
    _check_there(name, missing)
    return laid


def laid_rows(outline: Outline, name: str, given: Any, count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Lay a held value out for each row, and mark the rows where some of it is missing; see `intervened_value`."""
    owner = steps.owner_of(outline, name)
    event = owner.event if isinstance(owner, Variable) else owner.shape
    value = _value(outline, name, given)
    integers = owner.categories is not None and not value.is_floating_point()
    element = event[:-1] if integers else event
    if tuple(value.shape) == element or (not value.dim() and (not integers or element)):
        value = value.expand(count, *element)
    laid, missing = row_values(name, owner, value, like)
    if len(laid) != count:
        raise ValueError(f"'{name}' is held at {len(laid)} values, wanted {count}")
    return laid, missing


@dataclass(frozen=True)
class Generated:
    """Rows of the generative model by name, and why those of them that are not finite are so, by row."""

    values: dict[str, Tensor]
    broken: Mapping[int, str]


def generate(
    model: PlanRunner, count: int, given: Mapping[str, Any], means: Collection[str]
) -> Generated:  # Any: as for intervened_value
    """Sample `count` rows; see Model.generate. A row that cannot be drawn does not affect the others.

    Raises: RunError where no row is finite.
    """
    outline = model.outline
    check_names(outline, given)
    for name in means:
        check_known(outline, name)
    intervened = intervened_nodes(outline, given, count, model.like)
    read = outline.names_read("generative", without=intervened)
    for name in outline.inputs:
        if name in read and name not in intervened:
            raise KeyError(f"the input '{name}' must be given")
    for name, variable in outline.variables.items():
        if variable.total == OWN_SUM and name not in intervened:
            known = outline.outer_name.get(name, name)
            how = f"give '{known}', or let an input be its {TOTAL}"
            raise ValueError(f"'{known}' cannot be drawn: its {TOTAL} is the sum of its own value ({how})")
    centered = {node for name in means for node in steps.nodes_of(outline, name)}

    def run(rows: range) -> Drawn:
        return _ancestral(model, {n: v[rows.start : rows.stop] for n, v in intervened.items()}, len(rows), centered)

    finished, broken = without_failures(run, range(count), list, lambda r: (r[: len(r) // 2], r[len(r) // 2 :]))
    broken |= {rows[place]: reason for rows, (_, wrong) in finished for place, reason in wrong.items()}
    if len(broken) == count:
        raise RunError(f"no sample is finite: {rows_words(broken)}")
    values = finished[0][1][0]
    if len(finished) > 1 or len(finished[0][0]) < count:  # rows that failed have missing values
        values = {name: _missing(like, count) for name, like in values.items()}
        for rows, (generated_rows, _) in finished:
            for name, value in generated_rows.items():
                values[name][rows.start : rows.stop] = value
    return Generated(steps.join(outline, values), dict(sorted(broken.items())))


def _missing(like: Tensor, count: int) -> Tensor:
    """Make rows of which everything is missing."""
    return like.new_full((count, *like.shape[1:]), torch.nan if like.is_floating_point() else -1)


def _ancestral(model: PlanRunner, intervened: Mapping[str, Tensor], count: int, centered: Collection[str]) -> Drawn:
    """Sample rows, each node after its parents; a row that is not finite is reported with its first such node."""
    outline = model.outline
    layout = Layout({}, 1, count)
    group = Group(model.plan(()), layout, {}, model.like)
    read = outline.names_read("generative", without=intervened)
    drawn: dict[str, Tensor] = {}
    for name in [*(name for name in outline.inputs if name in intervened), *outline.graphs.order("generative")]:
        if name in outline.features and name not in read:
            continue
        if name in intervened:
            drawn[name] = value = intervened[name]
        elif name in outline.features:
            feature = model.machine.features[name]
            (feature_value,) = feature([read_by(feature, group.values, group.network_inputs)], layout.rank)
            group.put(name, feature_value, outline)
            continue
        else:
            module, variable = model.machine.generative[name], outline.variables[name]
            parents = [group.network_inputs[parent] for parent in module.outline.parents]
            (parameters,) = module.parameters_of([parents], [group.values], layout.rank)
            p = module.distribution(parameters, finite=True)
            leading = layout.drawn(p.batch_shape)
            with naming(module.outline):
                laid = variable.family.draw(p, leading).value
            mean = variable.family.mean(p.expand(leading)) if name in centered else laid
            drawn[name] = mean.reshape(count, *variable.event)
            value = laid.reshape(count, *variable.event)
        group.put(name, layout.clamp(value), outline)
    numbers = {name: counted(outline.variables[name], group.values[name]) for name in counts_of(outline.graphs)}
    values: dict[str, Tensor] = {}
    broken: dict[int, str] = {}
    for name, value in drawn.items():
        exists = outline.graphs.nodes[name].exists if name in outline.graphs.nodes else ()
        denied = absent(exists, numbers)
        gone = None if denied is None else denied.reshape(-1)
        finite = torch.isfinite(value).reshape(count, -1).all(1)
        finite = finite if gone is None else finite | gone
        kind = "mean" if name in centered else "draw"
        for row in (~finite).nonzero().reshape(-1).tolist():
            broken.setdefault(row, f"node '{name}': its {kind} is not finite")
        stored = _category(name, model, value, centered, gone)
        if not bool(finite.all()):
            stored = torch.where(finite.reshape(-1, *(1,) * (stored.dim() - 1)), stored, _missing(stored, count))
        values[name] = stored
    return values, broken


def _value(outline: Outline, name: str, given: Any) -> Tensor:  # Any: as above
    """Read a held value as data are read, whatever its shape. Raises: ValueError."""
    owner, names = steps.owner_of(outline, name), names_of(outline, name)
    integer = isinstance(given, Integral) and not isinstance(given, bool) and abs(int(given)) < 2**63
    if owner.categories is not None and integer and not any(isinstance(name, int) for name in names or ()):
        return torch.tensor(int(given))  # no name is one, so that it is a place
    try:
        if given is not None:
            return intervened_tensor_of(outline, name, given)
    except ValueError:
        if not isinstance(given, str | Real):
            raise
    if owner.categories is None or (names is None and (given is None or isinstance(given, str))):
        raise ValueError(f"'{name}' is held at '{given}', wanted numbers")
    listed = f"0 to {owner.categories - 1}" if names is None else ", ".join(map(str, names))
    raise ValueError(f"'{name}' has no category '{given}'; it has {listed}")


def inputs_wanted(outline: Outline, given: Collection[str]) -> list[str]:
    """Name the inputs without which rows cannot be generated: what p reads of some node that is not held.

    given: what is held, nodes of repeats by step or by outer name.
    """
    intervened = {node for name in given for node in steps.nodes_of(outline, name)}
    read = outline.names_read("generative", without=intervened)
    return [name for name in outline.inputs if name in read and name not in intervened]


def intervened_nodes(outline: Outline, given: Mapping[str, Any], count: int, like: Tensor) -> dict[str, Tensor]:
    """Spread held values over the rows, by node: [count, *event], each step of a node of a repeat by itself.

    Of the steps that are given together, those that are missing in all rows are not held. In rows whose held counts
    leave a step out, its value is another of the support.

    Any: as for intervened_value. Raises: ValueError.
    """
    intervened: dict[str, Tensor] = {}
    for name, value in given.items():
        if name not in outline.stepped:
            intervened[name] = intervened_value(outline, name, value, count, like)
            continue
        laid, _ = laid_rows(outline, name, value, count, like)
        for node, step_value in steps.apart(outline, name, laid).items():
            if node in given:
                raise ValueError(f"'{node}' is held beside '{name}', which has it")
            if not bool(step_value.isnan().flatten(1).any(1).all()):
                intervened[node] = step_value
    check_totals(outline, intervened)
    intervened = filled(outline, intervened)
    for name, value in intervened.items():
        _check_there(name, value.isnan().reshape(count, -1).any(1))
    return intervened


def _check_there(name: str, missing: Tensor) -> None:
    if bool(missing.any()):
        raise ValueError(f"'{name}' is held at a missing value in row {int(missing.nonzero()[0])}")


def _category(name: str, model: PlanRunner, value: Tensor, means: Collection[str], absent: Tensor | None) -> Tensor:
    """Give categories as integers; of a step where it is absent, [B], −1 and else NaN, as data write it."""
    variable = model.outline.variables.get(name)
    count = variable.categories if variable is not None else model.outline.inputs[name].categories
    as_numbers = count is None or name in means
    laid = value if as_numbers else value.argmax(-1)
    if absent is None:
        return laid
    return laid.masked_fill(absent.reshape(-1, *(1,) * (laid.dim() - 1)), torch.nan if as_numbers else -1)
