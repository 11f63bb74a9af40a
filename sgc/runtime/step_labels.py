"""Which labels of steps count: none of a step that a labelled count denies, and its absence makes no pattern."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from sgc.derivation.existence import counts_of, read_where_there
from sgc.runtime.counts import counted, values_of
from sgc.spec.outline import Outline


def numbers(outline: Outline, values: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Read the counts that some rows carry: [N] numbers, NaN where a row does not.

    values: by node, [N, *event], or [N] integer categories with −1 for what is missing.
    """
    found: dict[str, np.ndarray] = {}
    for count in counts_of(outline.graphs):
        if count in values:
            variable, value = outline.variables[count], values[count]
            if variable.categories is not None and value.dim() == 1:
                laid = torch.tensor(values_of(variable), dtype=torch.float64)[value.clamp(min=0).long().cpu()]
                number = laid.masked_fill(value.cpu() < 0, torch.nan)
            else:
                number = counted(variable, value).cpu()
            found[count] = number.numpy()
    return found


def settle(
    outline: Outline, names: Sequence[str], present: np.ndarray, counts: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Tell which labels count, and which each row is taken to carry: of these two, the second makes its pattern.

    A step that a labelled count denies has no label. Where nothing but steps that are denied with it reads it, it makes
    no difference whether it is proposed: a row is then taken to carry it if it carries all the node's other steps.

    present: [N, names] booleans, what stands in the data. counts: see `numbers`.
    """
    nodes = outline.graphs.nodes
    denied = np.zeros_like(present)
    for i, name in enumerate(names):
        for count, step in nodes[name].exists:
            if count in counts:
                denied[:, i] |= counts[count] < step + 0.5
    if not denied.any():
        return present, present
    real = present & ~denied
    carried, labelled = real.copy(), real.any(1)
    groups: dict[str | tuple[str, ...], list[int]] = {}
    for i, name in enumerate(names):
        if nodes[name].exists and read_where_there(outline.graphs, name):
            groups.setdefault(outline.outer_name.get(name, nodes[name].counts), []).append(i)
    for places in groups.values():
        whole = (real[:, places] | denied[:, places]).all(1) & labelled
        carried[:, places] |= denied[:, places] & whole[:, None]
    return real, carried
