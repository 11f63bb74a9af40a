"""The steps of a repeat between users and plans: values by one outer name, split into the node of each step and joined.

Outside, a node of a repeat has one name, and its values have the steps first: [B, *steps, *event]; inside, every step
is a node by itself. Values may be given under either name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from sgc.derivation.plan import Plan
from sgc.errors import LISTED
from sgc.networks.layer import shape_text
from sgc.spec.outline import InputOutline, Outline, Variable


def nodes_of(outline: Outline, name: str) -> tuple[str, ...]:
    """Name the node of each step, in row-major order; of a name without steps, the name itself."""
    return outline.stepped[name].nodes if name in outline.stepped else (name,)


def steps_of(outline: Outline, name: str) -> tuple[int, ...]:
    """Give the sizes of the repeats around what a name stands for; nothing where it has no steps."""
    return outline.stepped[name].steps if name in outline.stepped else ()


def listed(nodes: Sequence[str]) -> str:
    """List the nodes of steps; of many, the first two and the last.

    >>> listed(("s@1", "s@2")), listed([f"s@{i}" for i in range(1, 51)])
    ('s@1, s@2', 's@1, s@2, ..., s@50')
    """
    return ", ".join(nodes if len(nodes) <= LISTED else [*nodes[:2], "...", nodes[-1]])


def outer_names(outline: Outline, nodes: Iterable[str]) -> tuple[str, ...]:
    """Give nodes the names that users know, each once, as first met."""
    return tuple(dict.fromkeys(outline.outer_name.get(node, node) for node in nodes))


def rows_text(outline: Outline, plan: Plan) -> str:
    """Say which rows a plan is for, by the name of all steps where it has all of them, or some in some rows."""
    in_all_steps = {
        node for stepped in outline.stepped.values() if {*stepped.nodes} <= {*plan.observed} for node in stepped.nodes
    }
    observed = dict.fromkeys(outline.outer_name[node] if node in in_all_steps else node for node in plan.observed)
    order, maybe_labelled = outer_names(outline, plan.order), outer_names(outline, plan.maybe_labelled)
    return replace(plan, observed=tuple(observed), order=order, maybe_labelled=frozenset(maybe_labelled)).rows_text()


def owner_of(outline: Outline, name: str) -> Variable | InputOutline:
    """Give the variable, all steps of one, the one step, or the input that a name stands for."""
    return outline.outer.get(name) or outline.variables.get(name) or outline.inputs[name]


def apart(outline: Outline, name: str, value: Tensor, axis: int = 1) -> dict[str, Tensor]:
    """Split a value into its steps, by node, views of it: [B, *steps, *event] -> [B, *event]; `axis` is the first."""
    if name not in outline.stepped:
        return {name: value}
    stepped = outline.stepped[name]
    flat = value.reshape(*value.shape[:axis], prod(stepped.steps), *value.shape[axis + len(stepped.steps) :])
    return dict(zip(stepped.nodes, flat.unbind(axis), strict=True))


def split(outline: Outline, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Split values that are given by outer name into those of nodes; others stay as they are.

    Raises: ValueError for other steps, or a step that is given beside all of them.
    """
    by_node: dict[str, Tensor] = {}
    for name, value in values.items():
        if name not in outline.stepped:
            by_node[name] = value
            continue
        steps = outline.stepped[name].steps
        if tuple(value.shape[1 : 1 + len(steps)]) != steps:
            wanted = f"[B, {', '.join(map(str, outline.outer[name].event))}]"
            if outline.outer[name].categories is not None:
                wanted += f" or integer categories [B, {', '.join(map(str, outline.outer[name].event[:-1]))}]"
            raise ValueError(f"'{name}' got shape {shape_text(tuple(value.shape))}, wanted {wanted}")
        for node, step_value in apart(outline, name, value).items():
            if node in values:
                raise ValueError(f"'{node}' is given beside '{name}', which has it")
            by_node[node] = step_value
    return by_node


def join(outline: Outline, by_node: Mapping[str, Tensor], axis: int = 1) -> dict[str, Tensor]:
    """Join the nodes of steps, by their outer name: [B, *event] -> [B, *steps, *event], the steps at `axis`.

    The steps of a name are left apart if one of them is not found.
    """
    joined: dict[str, Tensor] = {}
    for node, value in by_node.items():
        name = outline.outer_name.get(node, node)
        nodes = nodes_of(outline, name)
        if name == node or not all(node_of_step in by_node for node_of_step in nodes):
            joined[node] = value
        elif name not in joined:
            stacked = torch.stack([by_node[node_of_step] for node_of_step in nodes], axis)
            steps = outline.stepped[name].steps
            joined[name] = stacked.reshape(*stacked.shape[:axis], *steps, *stacked.shape[axis + 1 :])
    return joined


def summed(outline: Outline, by_node: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """Add up the terms of all steps of a node, by node and role."""
    total: dict[str, dict[str, Tensor]] = {}
    for node, roles in by_node.items():
        sums = total.setdefault(outline.outer_name.get(node, node), {})
        for role, term in roles.items():
            sums[role] = sums[role] + term if role in sums else term
    return total
