"""Which steps of a repeat exist: masks over rows and particles, and counts held to what labels of their steps tell.

A score is masked after it is taken, so it is never taken of what may be no value: what stands at a step that a labelled
count denies is put aside first, and neither its score nor what networks read of it depends on it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sgc.runtime.counts import above, counted, values_of
from sgc.runtime.group import Group
from sgc.runtime.layout import Score
from sgc.spec.outline import Outline


def resolve_steps(group: Group, outline: Outline) -> None:
    """Put aside what is given of steps that do not exist, and take in what labels of steps tell of counts."""
    group.exist = rows_exist(group, outline)
    for name, rows in group.exist.items():
        if name in group.present:
            there = rows.reshape(-1, *(1,) * (group.present[name].dim() - group.layout.rank))
            group.present[name] = group.present[name] & there
            variable = outline.variables[name]
            group.looks[name] = variable.family.look_flagged(group.values[name], group.present[name], variable.event)
        elif name in group.plan.clamped:
            there = rows.reshape(-1, *(1,) * (group.looks[name].dim() - group.layout.rank))
            group.looks[name] = torch.where(there, group.looks[name], 0.0)
    group.allowed = allowed_counts(group, outline)


def rows_exist(group: Group, outline: Outline) -> dict[str, Tensor]:
    """Tell of each step whose rows have labelled counts which rows have it, [B]; a count that is not says nothing."""
    numbers: dict[str, Tensor] = {}
    found: dict[str, Tensor] = {}
    for name, steps in group.plan.exists.items():
        for count, step in steps:
            if count in group.plan.proposed and count not in group.labelled:
                continue
            if count not in numbers:
                numbers[count] = counted(outline.variables[count], group.given[count])
            there = above(numbers[count], step)
            if count in group.labelled:
                there = there | ~group.labelled[count]
            found[name] = found[name] & there if name in found else there
    return found


def particles_exist(group: Group, name: str, outline: Outline) -> Score:
    """Tell in which particles a step exists, booleans over [*enumerated, S, B].

    Where every row carries the step, the counts that are proposed do not deny it.
    """
    if name in group.plan.clamped and name not in group.present:
        return Score(group.layout.clamp(group.exist[name]))
    found: Score | None = None
    for count, step in group.plan.exists[name]:
        proposal = group.plan.proposed.get(count)
        number = counted(outline.variables[count], group.values[count])
        there = group.layout.score(above(number, step), () if proposal is None else proposal.dims)
        found = there if found is None else Score(found.tensor & there.tensor, found.nodes | there.nodes)
    assert found is not None
    return found


def masked(score: Score, there: Score) -> Score:
    """Take a score as it is where a step exists, and as 0 where it does not."""
    return Score(torch.where(there.tensor, score.tensor, 0.0), score.nodes | there.nodes)


def allowed_counts(group: Group, outline: Outline) -> dict[str, Tensor]:
    """Tell which values the labels of each row leave to a count that is not labelled, by count: [B, K] booleans.

    A label of a step that no value reaches, or that a labelled count denies, tells nothing.
    """
    found: dict[str, Tensor] = {}
    for count in group.plan.evidence:
        values = torch.tensor(values_of(outline.variables[count]), device=group.like.device)
        least = values.new_zeros(group.layout.rows)
        for name, node in outline.graphs.nodes.items():
            steps = [step for other, step in node.exists if other == count and step < int(values.max())]
            if steps and (carried := _carried(group, name)) is not None:
                least = torch.where(carried, least.clamp(min=max(steps) + 1), least)
        found[count] = values >= least.unsqueeze(1)
    return found


def _carried(group: Group, name: str) -> Tensor | None:
    """Tell which rows carry a node that labelled counts do not deny, [B]; None where none can."""
    there: Tensor
    if name in group.present:
        there = group.present[name].reshape(group.layout.rows, -1).any(1)
    elif name in group.plan.clamped:
        there = torch.ones(group.layout.rows, dtype=torch.bool, device=group.like.device)
    elif name in group.labelled:
        there = group.labelled[name]
    else:
        return None
    return there & group.exist[name] if name in group.exist else there
