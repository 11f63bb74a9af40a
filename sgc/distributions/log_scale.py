"""Functions on the log scale that keep their digits from the smallest to the largest argument."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def stirling_rest(x: Tensor) -> Tensor:
    """Give log Γ(x) − [(x − ½) log x − x + ½ log 2π], x > 0: what Stirling's formula leaves, about 1/12x.

    Differences of log-gammas of large arguments are written by it, so that nothing large cancels.
    """
    import torch

    large, small = x.clamp(min=10), x.clamp(max=10)
    inverse = 1 / large
    square = inverse * inverse
    series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680 - square / 1188))))
    exact = small.lgamma() - (small - 0.5) * small.log() + small - 0.5 * math.log(2 * math.pi)
    return torch.where(x > 10, series, exact)


def log1mexp(log_y: Tensor) -> Tensor:
    """Give log(1 − e^{−y}) by log y, y > 0: log y where y is tiny, −e^{−y} where it is large."""
    import torch

    y = log_y.clamp(max=100).exp()
    tiny = y < 1e-2
    series = log_y - y / 2 + y * y / 24 - y**4 / 2880
    small, large = torch.where(tiny, 1.0, y.clamp(max=1.0)), y.clamp(min=0.5)
    rest = torch.where(y < 0.7, (-(-small).expm1()).log(), (-(-large).exp()).log1p())
    return torch.where(tiny, series, rest)


def log_minus_log1mexp(y: Tensor) -> Tensor:
    """Give log(−log(1 − e^{−y})), y > 0: −y where y is large."""
    import torch

    far = y > 10
    x = (-y).exp()
    near = (-log1mexp(torch.where(far, 1.0, y).log())).log()
    return torch.where(far, -y + (x / 2 + x * x / 3).log1p(), near)
