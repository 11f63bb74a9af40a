"""Ancestral sampling in the generative graph, some nodes held."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sgc.derivation.existence import counts_of
from sgc.errors import suggest
from sgc.language.outline import InputOutline, Variable
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
    tensors and arrays hold places, 0 to K - 1.

    Any: whatever a user may give. Raises: ValueError for a category that there is not, or a shape that does not fit.
    """
    event = owner.event if isinstance(owner, Variable) else owner.shape
    if owner.values is not None and isinstance(given, str | int | bool):
        place = isinstance(given, int) and not any(isinstance(value, int) for value in owner.values)
        if given not in owner.values and not place:
            names = ", ".join(map(str, owner.values))
            raise ValueError(f"'{owner.name}' has no category '{given}'; it has {names}")
        given = given if place else owner.values.index(given)
    try:
        value = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"'{owner.name}' is held at '{given}', wanted numbers") from None
    whole = owner.categories is not None and not value.is_floating_point()
    one = event[:-1] if whole else event
    if tuple(value.shape) == one:
        value = value.expand(count, *one)
    elif not value.dim() and not whole:
        value = value.expand(count, *event)
    laid, missing = row_values(owner.name, owner, value, like)
    if len(laid) != count:
        raise ValueError(f"'{owner.name}' is held at {len(laid)} values, wanted {count}")
    if bool(missing.any()):
        raise ValueError(f"'{owner.name}' is held at a missing value in row {int(missing.nonzero()[0])}")
    return laid


def generate(
    model: Model, count: int, given: Mapping[str, Any], means: Collection[str]
) -> dict[str, Tensor]:  # Any: as for held_value
    """Sample `count` rows; see Model.generate."""
    outline = model.outline
    known = [*outline.variables, *outline.inputs]
    for name in [*given, *means]:
        if name not in known:
            raise KeyError(f"no node or input named '{name}'; {suggest(name, known)}")
    for name in outline.inputs:
        if name not in given:
            raise KeyError(f"the input '{name}' must be given")
    layout = Layout({}, 1, count)
    group = Group(model.plan(()), layout, {}, model.like)
    drawn: dict[str, Tensor] = {}
    for name in [*outline.inputs, *outline.graphs.order("generative")]:
        variable = outline.variables.get(name)
        if name in given:
            owner = variable or outline.inputs[name]
            value = held_value(owner, given[name], count, model.like)
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
            spread = p.expand(leading)
            laid = spread.sample()
            mean = variable.family.mean(spread) if name in means else laid
            drawn[name] = mean.reshape(count, *variable.event)
            value = laid.reshape(count, *variable.event)
        group.put(name, layout.clamp(value), outline)
    numbers = {each: counted(outline.variables[each], group.values[each]) for each in counts_of(outline.graphs)}
    found: dict[str, Tensor] = {}
    for name, value in drawn.items():
        steps = outline.graphs.nodes[name].exists if name in outline.graphs.nodes else ()
        absent = torch.zeros(count, dtype=torch.bool, device=value.device)
        for each, step in steps:
            absent |= ~above(numbers[each], step).reshape(-1)
        found[name] = _category(name, model, value, means, absent if steps else None)
    return found


def _category(name: str, model: Model, value: Tensor, means: Collection[str], absent: Tensor | None) -> Tensor:
    """Give categories as integers; of a step where it is absent, [B], −1 and else NaN, as data write it."""
    variable = model.outline.variables.get(name)
    count = variable.categories if variable is not None else model.outline.inputs[name].categories
    whole = count is None or name in means
    laid = value if whole else value.argmax(-1)
    if absent is None:
        return laid
    return laid.masked_fill(absent.reshape(-1, *(1,) * (laid.dim() - 1)), torch.nan if whole else -1)
