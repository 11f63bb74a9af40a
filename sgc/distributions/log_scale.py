"""Logarithms with all digits, and with a gradient, from the smallest to the largest argument."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def log_from_zero(x: Tensor) -> Tensor:
    """Give log x, −∞ at 0. The gradient there is 0, as of a share that was rounded to 0: 0 · ∞ would be NaN."""
    import torch

    return torch.where(x == 0, -torch.inf, torch.where(x == 0, 1.0, x).log())


def log_to_one(x: Tensor) -> Tensor:
    """Give log(1 − x), −∞ at 1, where the gradient is 0: see `log_from_zero`."""
    import torch

    return torch.where(x == 1, -torch.inf, (-torch.where(x == 1, 0.0, x)).log1p())


def log_one_plus_square(x: Tensor, scale: Tensor) -> Tensor:
    """Give log(1 + (x/s)²), s positive: 2 log |x/s| where the ratio or its square overflows."""
    import torch

    far = x.abs() > scale * math.sqrt(torch.finfo(x.dtype).max) / 16
    near = torch.where(far, 0.0, x) / scale
    return torch.where(far, 2 * (torch.where(far, x, 1.0).abs().log() - scale.log()), (near * near).log1p())


def log_one_less_exp(x: Tensor) -> Tensor:
    """Give log(1 − e^x), x negative. Source: Mächler 2012, Eq. 7."""
    import torch

    near, far = x.clamp(min=-math.log(2)), x.clamp(max=-math.log(2))
    return torch.where(x > -math.log(2), (-near.expm1()).log(), (-far.exp()).log1p())


def log_one_less_exp_by_log(log_y: Tensor) -> tuple[Tensor, Tensor]:
    """Give log(1 − e^{−y}) by log y, y > 0, and its difference from log y, log((1 − e^{−y}) / y), near 0 if y is."""
    import torch

    y = log_y.clamp(max=100).exp()  # beyond, e^{−y} is 0
    tiny = y < 1e-2
    series = -y / 2 + y * y / 24 - y**4 / 2880
    far = log_one_less_exp(-torch.where(tiny, 1.0, y))
    return torch.where(tiny, log_y + series, far), torch.where(tiny, series, far - log_y)


def log_minus_log_one_less_exp(y: Tensor) -> Tensor:
    """Give log(−log(1 − e^{−y})), y > 0: −y where y is large."""
    import torch

    far = y > 10
    x = (-y).exp()
    near = (-log_one_less_exp(-torch.where(far, 1.0, y))).log()
    return torch.where(far, (x / 2 + x * x / 3).log1p() - y, near)
