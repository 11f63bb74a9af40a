"""Counts of a repeat: their numbers, the steps and labels they rule out, conditionals truncated by labels of steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution

from sgc.derivation.existence import absent, counts_of, read_by_same_steps
from sgc.distributions.step_counts import count_values
from sgc.runtime.layout import Layout
from sgc.spec.outline import Outline, Variable

# the log of probability 0: finite, since a sum over another node's values may meet nothing else, and below any score
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


# steps that rows do not have


def counts_first(outline: Outline, names: Iterable[str]) -> list[str]:
    """Order nodes so that the counts of a step come before it: an inner count depends on fewer counts."""
    nodes = outline.graphs.nodes
    return sorted(names, key=lambda name: len(nodes[name].exists) if name in nodes else 0)


def absent_rows(outline: Outline, node: str, values: Mapping[str, Tensor]) -> Tensor | None:
    """Mark the rows that do not have a step, by the counts among `values`, [B, *event]; None: no count is."""
    steps = outline.graphs.nodes[node].exists if node in outline.graphs.nodes else ()
    return absent(steps, {c: counted(outline.variables[c], values[c]) for c, _ in steps if c in values})


def emptied(value: Tensor, gone: Tensor, *, categories: bool) -> Tensor:
    """Mark a value as missing in the rows that do not have its step: NaN, or -1 for integer categories."""
    if not value.dim() or len(value) != len(gone):
        return value
    integers = categories and not value.is_floating_point()
    value = value if integers or value.is_floating_point() else value.float()
    mask = gone.to(value.device).reshape(-1, *(1,) * (value.dim() - 1))
    return value.masked_fill(mask, -1 if integers else torch.nan)


def filled(outline: Outline, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replace the values of steps that rows do not have by legal ones, all [B, *event] by node.

    A node that drops missing values keeps them missing.
    """
    legal_values = dict(values)
    for node, value in values.items():
        gone = None if node in outline.graphs.dropped else absent_rows(outline, node, values)
        if gone is not None and bool(gone.any()):
            legal = value.new_tensor(outline.variables[node].support.legal(value.shape[1:]))
            legal_values[node] = torch.where(gone.reshape(-1, *(1,) * (value.dim() - 1)), legal, value)
    return legal_values


# labels of steps


def known_counts(outline: Outline, values: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Read the counts that some rows carry: [N] numbers, NaN where a row does not.

    values: by node, [N, *event], or [N] integer categories with −1 for what is missing.
    """
    numbers: dict[str, np.ndarray] = {}
    for count in counts_of(outline.graphs):
        if count in values:
            variable, value = outline.variables[count], values[count]
            if variable.categories is not None and value.dim() == 1:
                number = torch.tensor(values_of(variable), dtype=torch.float64)[value.clamp(min=0).long().cpu()]
                number = number.masked_fill(value.cpu() < 0, torch.nan)
            else:
                number = counted(variable, value).cpu()
            numbers[count] = number.numpy()
    return numbers


def resolve_labels(
    outline: Outline, names: Sequence[str], present: np.ndarray, counts: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Resolve which labels are real, and which labels each row is treated as carrying: these make its pattern.

    A step that a labelled count rules out has no label. If only steps ruled out with it read it, proposing it or
    not makes no difference: a row is then treated as carrying it if it carries all the node's other steps.

    present: [N, names] booleans, the labels in the data. counts: see `known_counts`.
    """
    nodes = outline.graphs.nodes
    denied = np.zeros_like(present)
    for i, name in enumerate(names):
        gone = absent(nodes[name].exists, counts)
        if gone is not None:
            denied[:, i] = gone
    if not denied.any():
        return present, present
    real = present & ~denied
    carried, labelled = real.copy(), real.any(1)
    groups: dict[str | tuple[str, ...], list[int]] = {}
    for i, name in enumerate(names):
        if nodes[name].exists and read_by_same_steps(outline.graphs, name):
            groups.setdefault(outline.outer_name.get(name, nodes[name].counts), []).append(i)
    for places in groups.values():
        complete = (real[:, places] | denied[:, places]).all(1) & labelled
        carried[:, places] |= denied[:, places] & complete[:, None]
    return real, carried


# counts restricted by labels of their steps


def restrict(log: Tensor, allowed: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Restrict log q over a whole support to allowed values: log q(k | allowed), and log q(allowed) of size 1 there.

    log, allowed: shapes that broadcast. Values that are not allowed get IMPOSSIBLE.
    """
    log_allowed = torch.where(allowed, log, -torch.inf).logsumexp(axis, keepdim=True)
    return torch.where(allowed, log - log_allowed, IMPOSSIBLE), log_allowed


def on_axis(allowed: Tensor, layout: Layout, node: str) -> Tensor:
    """Lay allowed values out over their node's dimension and the rows: [B, K] -> [1, .., K, .., 1, B]."""
    shape = [1] * layout.rank
    shape[layout.axes[node]], shape[-1] = allowed.shape[1], allowed.shape[0]
    return allowed.T.reshape(shape)


def truncated(variable: Variable, q: Distribution, allowed: Tensor, rank: int) -> tuple[Categorical, Tensor, Tensor]:
    """Truncate a drawn count to its allowed values, [B, K].

    Returns: the distribution over places in its support, batch shape [*leading]; the support, [K, *event]; and
    log q(allowed), [*leading].
    """
    like = variable.family.mean(q)
    support = variable.family.enumerate(variable.event, like.dtype, like.device)
    spread = support.reshape(len(support), *(1,) * rank, *variable.event)
    log = variable.family.log_prob(q, spread)  # [K, *leading]
    inside, log_allowed = restrict(log, allowed.T.reshape(len(support), *(1,) * (rank - 1), -1), 0)
    return Categorical(logits=inside.movedim(0, -1), validate_args=False), support, log_allowed.squeeze(0)
