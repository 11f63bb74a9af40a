"""A draw: its value as networks read it, and what densities read where the value is rounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Point:
    """One draw of a family, [*leading, *event], with more digits than its value has where the density needs them.

    A draw of Gamma(0.01) is below the smallest float more often than not, one of Beta(0.01, 0.01) rounds to 1, and one
    of Normal(1e8, 0.1) to its location: `value` is then the nearest number inside the support, but the density is that
    of the draw itself, by `exact`.

    Where values crowd at an edge, the density is that of the log, or of the log-odds. The density of the value is huge
    there, and its digits are lost. The same change of variable in p and q leaves their ratio, every bound and the
    divergence as they are (Maddison et al. 2017, Appendix C.3, of the Concrete distribution).

    exact: the log of the value, and in the unit interval log(1 − value), for Kumaraswamy log(−log value); for Pareto
    the log of its ratio to the scale; of a relaxed bit its log-odds; of a family with a location, that of the draw's
    own member and the draw's offset from it, for StudentT also the log of the offset's size. Empty: the value is exact.
    """

    value: Tensor
    exact: tuple[Tensor, ...] = ()
