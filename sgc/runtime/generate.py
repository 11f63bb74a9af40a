"""Ancestral sampling in the generative graph, some nodes held."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sgc.derivation.existence import counts_of
from sgc.errors import suggest
from sgc.language.outline import InputOutline, Outline, Variable
from sgc.runtime import steps
from sgc.runtime.batch import row_values
from sgc.runtime.execute import Group
from sgc.runtime.existence import above, counted
from sgc.runtime.layout import Layout
from sgc.runtime.modules import read_by

if TYPE_CHECKING:
    from sgc.runtime.model import Model


def held_value(owner: Variable | InputOutline, given: Any, count: int, like: Tensor) -> Tensor:
    """Spread a held value over the rows: a category, a number, one event, or [count, *event].

    A category of a node with `values` is given as it stands there (an integer that is none of them is its place);
    tensors and arrays hold places, 0 to K - 1. Of a node of a repeat, `owner` is all steps: [*steps, *event].

    Any: whatever a user may give. Raises: ValueError for a category that there is not, or a shape that does not fit.
    """
    laid, missing = laid_rows(owner, given, count, like)
    _check_there(owner.name, missing)
    return laid


def laid_rows(owner: Variable | InputOutline, given: Any, count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Lay a held value out for each row, and mark the rows where some of it is missing; see `held_value`."""
    event = owner.event if isinstance(owner, Variable) else owner.shape
    given = _places(owner, given)
    try:
        value = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"'{owner.name}' is held at '{given}', wanted numbers") from None
    whole = owner.categories is not None and not value.is_floating_point()
    one = event[:-1] if whole else event
    if tuple(value.shape) == one or (not value.dim() and (not whole or one)):
        value = value.expand(count, *one)
    laid, missing = row_values(owner.name, owner, value, like)
    if len(laid) != count:
        raise ValueError(f"'{owner.name}' is held at {len(laid)} values, wanted {count}")
    return laid, missing


def generate(
    model: Model, count: int, given: Mapping[str, Any], means: Collection[str]
) -> dict[str, Tensor]:  # Any: as for held_value
    """Sample `count` rows; see Model.generate."""
    outline = model.outline
    known = [*outline.variables, *outline.inputs]
    for name in [*given, *means]:
        if name not in known and name not in outline.stepped:
            raise KeyError(f"no node or input named '{name}'; {suggest(name, [*outline.outer, *known])}")
    for name in outline.inputs:
        if name not in given:
            raise KeyError(f"the input '{name}' must be given")
    layout = Layout({}, 1, count)
    group = Group(model.plan(()), layout, {}, model.like)
    held = held_nodes(outline, given, count, model.like)
    centered = {node for name in means for node in steps.nodes_of(outline, name)}
    drawn: dict[str, Tensor] = {}
    for name in [*outline.inputs, *outline.graphs.order("generative")]:
        variable = outline.variables.get(name)
        if name in held:
            value = held[name]
            drawn[name] = value
        elif name in outline.features:
            feature = model.machine.features[name]
            (made,) = feature([read_by(feature, group.values, group.looks)], layout.rank)
            group.put(name, made, outline)
            continue
        else:
            module = model.machine.generative[name]
            assert variable is not None
            (p,) = module([[group.looks[q] for q in module.outline.parents]], [group.values], layout.rank)
            leading = layout.drawn(p.batch_shape)
            laid = variable.family.draw(p, leading).value
            mean = variable.family.mean(p.expand(leading)) if name in centered else laid
            drawn[name] = mean.reshape(count, *variable.event)
            value = laid.reshape(count, *variable.event)
        group.put(name, layout.clamp(value), outline)
    numbers = {each: counted(outline.variables[each], group.values[each]) for each in counts_of(outline.graphs)}
    found: dict[str, Tensor] = {}
    for name, value in drawn.items():
        exists = outline.graphs.nodes[name].exists if name in outline.graphs.nodes else ()
        absent = torch.zeros(count, dtype=torch.bool, device=value.device)
        for each, step in exists:
            absent |= ~above(numbers[each], step).reshape(-1)
        found[name] = _category(name, model, value, centered, absent if exists else None)
    return steps.join(outline, found)


def _places(owner: Variable | InputOutline, given: Any) -> Any:  # Any: as above
    """Read the names of categories as their places, in lists too; what is none stays as it is. Raises: ValueError."""
    if owner.values is None:
        if owner.categories is not None and isinstance(given, float) and not given.is_integer():
            raise ValueError(f"'{owner.name}' has no category '{given:g}'; it has 0 to {owner.categories - 1}")
        return given
    if isinstance(given, list | tuple) and any(isinstance(each, str | list | tuple) for each in given):
        return [_places(owner, each) for each in given]
    if not isinstance(given, str | int | float | bool):
        return given
    place = isinstance(given, int) and not any(isinstance(value, int) for value in owner.values)
    if given not in owner.values and not place:
        names = ", ".join(map(str, owner.values))
        raise ValueError(f"'{owner.name}' has no category '{given}'; it has {names}")
    return given if place else owner.values.index(given)


def held_nodes(outline: Outline, given: Mapping[str, Any], count: int, like: Tensor) -> dict[str, Tensor]:
    """Spread held values over the rows, by node: [count, *event], each step of a node of a repeat by itself.

    Of the steps that are given together, those that are missing in all rows are not held. In rows whose held counts
    leave a step out, its value is another of the support.

    Any: as for held_value. Raises: ValueError.
    """
    found: dict[str, Tensor] = {}
    for name, value in given.items():
        owner = steps.owner_of(outline, name)
        if name not in outline.stepped:
            found[name] = held_value(owner, value, count, like)
            continue
        laid, _ = laid_rows(owner, value, count, like)
        for node, each in steps.apart(outline, name, laid).items():
            if node in given:
                raise ValueError(f"'{node}' is held beside '{name}', which has it")
            if not bool(each.isnan().flatten(1).any(1).all()):
                found[node] = each
    found = steps.filled(outline, found)
    for name, value in found.items():
        _check_there(name, value.isnan().reshape(count, -1).any(1))
    return found


def _check_there(name: str, missing: Tensor) -> None:
    if bool(missing.any()):
        raise ValueError(f"'{name}' is held at a missing value in row {int(missing.nonzero()[0])}")


def _category(name: str, model: Model, value: Tensor, means: Collection[str], absent: Tensor | None) -> Tensor:
    """Give categories as integers; of a step where it is absent, [B], −1 and else NaN, as data write it."""
    variable = model.outline.variables.get(name)
    count = variable.categories if variable is not None else model.outline.inputs[name].categories
    whole = count is None or name in means
    laid = value if whole else value.argmax(-1)
    if absent is None:
        return laid
    return laid.masked_fill(absent.reshape(-1, *(1,) * (laid.dim() - 1)), torch.nan if whole else -1)
