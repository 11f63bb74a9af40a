"""What the weights of a bound add to its gradient: weighed paths into draws (dreg), and the wake phase of q (rws)."""

from __future__ import annotations

import torch
from torch import Tensor

from sgc.runtime.layout import Pair
from sgc.runtime.step_masks import masked
from sgc.runtime.sums import Sums


def set_path_weights(sums: Sums) -> None:
    """Give every watched draw the share ŵ of all weight that the particles in which it exists have."""
    for name, path in sums.group.paths.items():
        with torch.enable_grad():
            probe = sums.probe(name)
            here = probe if path.there is None else masked(probe, path.there)
            whole = sums.sweep_still(sums.weight_pairs, Pair(log=here)).log
            (path.weight,) = torch.autograd.grad(whole.sum(), probe.tensor)


def wake(sums: Sums) -> Tensor:
    """Give Σ ŵ log r of each row less its own value, [B], ŵ held fixed (Bornschein and Bengio 2015, Eq. 8)."""
    logs = [Pair(value=log) for log in sums.group.waking.values()]
    found = sums.sweep_still(sums.weight_pairs, *logs).value
    return found - found.detach()
