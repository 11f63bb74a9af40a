"""A point of a support: its value as networks read it, and the logs that densities read where the value is rounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Point:
    """One value of a family, [*leading, *event], and its logs where these say more.

    A draw of Gamma(0.01) is below the smallest float more often than not, and one of Beta(0.01, 0.01) rounds to 1:
    `value` is then the nearest number inside the support, but the density is that of the draw itself, by its logs.

    logs: the log of the value, and in the unit interval log(1 − value); for StudentT that of its size, for Pareto that
    of its ratio to the scale, for a relaxed bit its log-odds. None: the value says it all.
    """

    value: Tensor
    logs: tuple[Tensor, ...] = ()
