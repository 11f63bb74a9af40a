"""Which steps of a repeat exist: masks over rows and particles, and the values that labels of steps leave to counts.

A score is masked after it is computed, so it must be finite: the value of a step that a labelled count rules out is
replaced first, and neither the step's score nor what networks read of it depends on it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sgc.derivation.existence import absent
from sgc.runtime.counts import counted, values_of
from sgc.runtime.group import Group
from sgc.runtime.layout import Score
from sgc.spec.outline import Outline


def resolve_steps(group: Group, outline: Outline) -> None:
    """Hide what is given of steps that do not exist, and find the values that labels of steps leave to counts."""
    group.exist = rows_exist(group, outline)
    for name, rows in group.exist.items():
        if name in group.present:
            mask = rows.reshape(-1, *(1,) * (group.present[name].dim() - group.layout.rank))
            group.present[name] = group.present[name] & mask
            variable = outline.variables[name]
            group.network_inputs[name] = variable.family.look_flagged(
                group.values[name], group.present[name], variable.event
            )
        elif name in group.plan.clamped:
            mask = rows.reshape(-1, *(1,) * (group.network_inputs[name].dim() - group.layout.rank))
            group.network_inputs[name] = torch.where(mask, group.network_inputs[name], 0.0)
    group.allowed = allowed_counts(group, outline)


def rows_exist(group: Group, outline: Outline) -> dict[str, Tensor]:
    """Mark the rows that have each step whose count is labelled in some of them, [B]; other counts rule nothing out."""
    known: dict[str, Tensor] = {}
    for count in dict.fromkeys(count for steps in group.plan.exists.values() for count, _ in steps):
        if count in group.labelled:
            number = counted(outline.variables[count], group.given[count])
            known[count] = number.masked_fill(~group.labelled[count], torch.nan)
        elif count not in group.plan.proposed:
            known[count] = counted(outline.variables[count], group.given[count])
    denied = {name: absent(steps, known) for name, steps in group.plan.exists.items()}
    return {name: ~gone for name, gone in denied.items() if gone is not None}


def particles_exist(group: Group, name: str, outline: Outline) -> Score:
    """Mark the particles in which a step exists, booleans over [*enumerated, S, B].

    Where every row carries the step, the counts that are proposed do not rule it out.
    """
    if name in group.plan.clamped and name not in group.present:
        return Score(group.layout.clamp(group.exist[name]))
    steps = group.plan.exists[name]
    gone = absent(steps, {count: counted(outline.variables[count], group.values[count]) for count, _ in steps})
    assert gone is not None
    return group.layout.score(~gone, count_dims(group, name))


def count_dims(group: Group, name: str) -> frozenset[str]:
    """Name the dimensions over which the counts of a step vary."""
    proposed = group.plan.proposed
    counts = (count for count, _ in group.plan.exists.get(name, ()) if count in proposed)
    return frozenset().union(*(proposed[count].dims for count in counts))


def masked(score: Score, exists: Score) -> Score:
    """Keep a score where its step exists, and set it to 0 elsewhere."""
    return Score(torch.where(exists.tensor, score.tensor, 0.0), score.nodes | exists.nodes)


def allowed_counts(group: Group, outline: Outline) -> dict[str, Tensor]:
    """Mark the values that the labels of each row leave to a count that is not labelled, by count: [B, K] booleans.

    A label of a step that no value reaches, or that a labelled count rules out, is no evidence.
    """
    allowed: dict[str, Tensor] = {}
    for count in group.plan.evidence:
        values = torch.tensor(values_of(outline.variables[count]), device=group.like.device)
        least = values.new_zeros(group.layout.rows)
        for name, node in outline.graphs.nodes.items():
            steps = [step for other, step in node.exists if other == count and step < int(values.max())]
            if steps and (carried := _carried(group, name)) is not None:
                least = torch.where(carried, least.clamp(min=max(steps) + 1), least)
        allowed[count] = values >= least.unsqueeze(1)
    return allowed


def _carried(group: Group, name: str) -> Tensor | None:
    """Mark the rows that carry a node which labelled counts do not rule out, [B]; None where none can."""
    carried: Tensor
    if name in group.present:
        carried = group.present[name].reshape(group.layout.rows, -1).any(1)
    elif name in group.plan.clamped:
        carried = torch.ones(group.layout.rows, dtype=torch.bool, device=group.like.device)
    elif name in group.labelled:
        carried = group.labelled[name]
    else:
        return None
    return carried & group.exist[name] if name in group.exist else carried
