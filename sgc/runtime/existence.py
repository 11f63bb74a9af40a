"""Which steps of a repeat exist: masks over rows and particles, and counts held to what labels of their steps tell.

A score is masked after it is taken, so it is never taken of what may be no value: what stands at a step that a labelled
count denies is put aside first, and neither its score nor what networks read of it depends on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution

from sgc.kinds.counting import count_values
from sgc.language.outline import Outline, Variable
from sgc.runtime.layout import Layout, Score

if TYPE_CHECKING:
    from sgc.runtime.execute import Group

# the log of no probability: finite, since sums over other nodes' values meet it alone, and far below any score
IMPOSSIBLE = -1e30


def values_of(variable: Variable) -> tuple[int, ...]:
    """Give the integers that a count may be, in the order of its support."""
    return count_values(variable.family, variable.event, variable.values)


def counted(variable: Variable, value: Tensor) -> Tensor:
    """Read a count's value as a number: [*leading, *event] -> [*leading]."""
    if variable.categories is None:
        return value
    numbers = torch.tensor(values_of(variable), dtype=value.dtype, device=value.device)
    return (value * numbers).sum(-1)


def above(number: Tensor, step: int) -> Tensor:
    """Tell where a count reaches a step, counted from 0; nowhere where it is NaN."""
    return number > step + 0.5


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


def restrict(log: Tensor, allowed: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Hold log q over a whole support to its allowed values: log q(k | allowed), and log q(allowed) of size 1 there.

    log, allowed: shapes that broadcast. What is not allowed is left at IMPOSSIBLE.
    """
    whole = torch.where(allowed, log, -torch.inf).logsumexp(axis, keepdim=True)
    return torch.where(allowed, log - whole, IMPOSSIBLE), whole


def on_axis(allowed: Tensor, layout: Layout, node: str) -> Tensor:
    """Lay allowed values out over their node's dimension and the rows: [B, K] -> [1, .., K, .., 1, B]."""
    shape = [1] * layout.rank
    shape[layout.axes[node]], shape[-1] = allowed.shape[1], allowed.shape[0]
    return allowed.T.reshape(shape)


def law_of(variable: Variable, q: Distribution, allowed: Tensor, rank: int) -> tuple[Categorical, Tensor, Tensor]:
    """Hold a drawn count to its allowed values, [B, K].

    Returns: the law over places in its support, batch shape [*leading]; the support, [K, *event]; and log q(allowed),
    [*leading].
    """
    like = variable.family.mean(q)
    support = variable.family.enumerate(variable.event, like.dtype, like.device)
    spread = support.reshape(len(support), *(1,) * rank, *variable.event)
    log = variable.family.log_prob(q, spread)  # [K, *leading]
    inside, whole = restrict(log, allowed.T.reshape(len(support), *(1,) * (rank - 1), -1), 0)
    return Categorical(logits=inside.movedim(0, -1), validate_args=False), support, whole.squeeze(0)
