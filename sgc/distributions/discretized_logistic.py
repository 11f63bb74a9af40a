"""DiscretizedLogistic: a distribution over the grey values 0 to levels − 1 of a picture, a logistic cut into bins.

Sources: Kingma et al. 2016 (IAF), Appendix C; Salimans et al. 2017 (PixelCNN++), Eq. 2.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from sgc.distributions.densities.members import Member

LEVELS_AT_ONCE = 16  # levels that the mean sums in one go: what it costs in memory


def centred(value: Tensor, levels: int) -> Tensor:
    """Move grey values from 0 … levels − 1 to [-1, 1]: the units of loc and scale, and what networks read."""
    half = (levels - 1) / 2
    return (value - half) / half


def log_mass(loc: Tensor, scale: Tensor, levels: int, value: Tensor) -> Tensor:
    """Give the logarithm of a level's probability, in nats.

    σ(a) − σ(b) = σ(a) σ(−b) (1 − e^{−(a−b)}), so that no difference of nearly equal numbers is taken: finite, with
    finite gradients, however far out a value lies.
    """
    import torch
    from torch.nn.functional import logsigmoid

    half = 1 / (levels - 1)
    x = centred(value, levels)
    below = logsigmoid((x + half - loc) / scale)  # log of the mass up to the bin's upper edge
    above = logsigmoid((loc - x + half) / scale)  # and of that from its lower edge
    inside = below + above + (-(-2 * half / scale).expm1()).log()
    return torch.where(value <= 0, below, torch.where(value >= levels - 1, above, inside))


def discretized_logistic_score(member: Member, value: Tensor) -> Tensor:
    """Score levels, see `log_mass`."""
    levels: Any = member.own  # Any: an own class, which knows them
    return log_mass(member.loc, member.scale, levels.levels, value)


@functools.cache
def discretized_logistic() -> Any:  # Any: the base class is torch's, which is not imported before it is needed
    """Define the class, once."""
    import torch
    from torch.distributions import Distribution, constraints
    from torch.distributions.utils import broadcast_all

    class DiscretizedLogistic(Distribution):
        """A logistic variable in the units of `centred`, rounded to the nearest level; the outer bins take the tails.

            P(v) = σ((x + h − loc) / scale) − σ((x − h − loc) / scale),    x = centred(v), h = 1 / (levels − 1)

        with σ = 1 above the last level and σ = 0 below the first.
        """

        arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012 - torch's own form
        has_enumerate_support = True

        def __init__(self, loc: Any, scale: Any, levels: int, validate_args: bool | None = None) -> None:
            self.loc, self.scale = broadcast_all(loc, scale)
            self.levels = int(levels)
            super().__init__(self.loc.shape, validate_args=validate_args)

        @constraints.dependent_property(is_discrete=True, event_dim=0)
        def support(self) -> Any:
            return constraints.integer_interval(0, self.levels - 1)

        def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
            assert _instance is None
            loc, scale = self.loc.expand(batch_shape), self.scale.expand(batch_shape)
            expanded = DiscretizedLogistic(loc, scale, self.levels, validate_args=False)
            expanded._validate_args = self._validate_args
            return expanded

        def log_prob(self, value: Tensor) -> Tensor:
            """Score values, in nats; see `log_mass`."""
            if self._validate_args:
                self._validate_sample(value)
            return log_mass(self.loc, self.scale, self.levels, value)

        def sample(self, sample_shape: Any = ()) -> Tensor:
            """Draw levels: [*sample_shape, *batch]."""
            shape = self._extended_shape(torch.Size(sample_shape))
            with torch.no_grad():
                # the logit of a uniform, which has no atom where a float's uniform is 0
                first, second = self.loc.new_empty((2, *shape)).exponential_().log().unbind()
                x = self.loc + self.scale * (first - second)
                return ((x + 1) / 2 * (self.levels - 1)).round().clamp(0, self.levels - 1)

        @property
        def mean(self) -> Tensor:
            """Σ_{k ≥ 1} P(v ≥ k), in levels."""
            last = self.levels - 1
            total = torch.zeros_like(self.loc)
            for start in range(1, self.levels, LEVELS_AT_ONCE):
                level = torch.arange(start, min(start + LEVELS_AT_ONCE, self.levels)).to(self.loc)
                edge = centred(level, self.levels) - 1 / last
                distance = (self.loc.unsqueeze(-1) - edge) / self.scale.unsqueeze(-1)
                total = total + distance.sigmoid().sum(-1)
            return total

        def enumerate_support(self, expand: bool = True) -> Tensor:
            """List the levels: [levels, *batch], or [levels, 1, …, 1] where they are not to be expanded."""
            values = torch.arange(self.levels).to(self.loc).reshape(-1, *[1] * len(self.batch_shape))
            return values.expand(-1, *self.batch_shape) if expand else values

    return DiscretizedLogistic
