"""What the weights of a bound add to its gradient: weighed paths into draws (dreg), and the wake phase of q (rws)."""

from __future__ import annotations

import torch
from torch import Tensor

from sgc.derivation.factors import SAMPLES
from sgc.runtime.existence import masked
from sgc.runtime.layout import Pair, Score, eliminate
from sgc.runtime.sums import Sums


def set_path_weights(sums: Sums) -> None:
    """Give every watched draw the share ŵ of all weight that the particles in which it exists have."""
    layout, group = sums.group.layout, sums.group
    fixed = [Pair(log=pair.log.still()) for pair in [*sums.masses, *sums.weight_pairs] if pair.log is not None]
    for name, path in group.paths.items():
        nodes = sums.plan.proposed[name].dims - {SAMPLES}
        shape = [1] * layout.depth + [layout.samples, layout.rows]
        for node in nodes:
            shape[layout.axes[node]] = group.values[node].shape[layout.axes[node]]
        with torch.enable_grad():
            probe = group.like.new_zeros(shape).requires_grad_()
            here = Score(probe, nodes)
            if path.there is not None:
                here = masked(here, path.there)
            swept = eliminate([*fixed, Pair(log=here)], sums.plan.elimination, layout, group.like)
            (path.weight,) = torch.autograd.grad(swept.log.sum(), probe)


def wake(sums: Sums) -> Tensor:
    """Give Σ ŵ log r of each row less its own value, [B], ŵ held fixed (Bornschein and Bengio 2015, Eq. 8)."""
    fixed = [Pair(log=pair.log.still()) for pair in [*sums.masses, *sums.weight_pairs] if pair.log is not None]
    logs = [Pair(value=log) for log in sums.group.waking.values()]
    found = eliminate([*fixed, *logs], sums.plan.elimination, sums.group.layout, sums.group.like).value
    return found - found.detach()
