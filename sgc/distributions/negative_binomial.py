"""NegativeBinomial by mean and dispersion, as regressions and single cells have it: variance m + m²/θ = m + α m²."""

from __future__ import annotations

import functools
from typing import Any

MOST = 1e30  # an inverse dispersion above it gives the Poisson's density to the last digit, and infinity would give NaN


@functools.cache
def mean_negative_binomial() -> Any:  # Any: the base class is torch's, which is not imported before it is needed
    """Define the class, once."""
    import torch
    from torch import Tensor
    from torch.distributions import Distribution, NegativeBinomial, constraints
    from torch.distributions.utils import broadcast_all, lazy_property

    def one_over(name: str) -> Any:  # Any: a lazy property
        return lazy_property(lambda member: getattr(member, name).reciprocal())

    class MeanNegativeBinomial(Distribution):
        """The negative binomial of mean m and inverse dispersion θ, or dispersion α = 1/θ, of which 0 is a Poisson.

        Sources: Hilbe 2011, "Negative Binomial Regression", NB2; Lopez et al. 2018 (scVI), which calls θ `px_r`.
        """

        arg_constraints = {  # noqa: RUF012 - torch's own form
            "mean": constraints.nonnegative,
            "inverse_dispersion": constraints.positive,
            "dispersion": constraints.nonnegative,
        }
        support = constraints.nonnegative_integer
        mean: Any = None  # a parameter, in place of the property of torch's base class
        inverse_dispersion: Any = one_over("dispersion")
        dispersion: Any = one_over("inverse_dispersion")

        def __init__(
            self,
            mean: Any,
            inverse_dispersion: Any = None,
            dispersion: Any = None,
            validate_args: bool | None = None,
        ) -> None:
            if dispersion is None:
                self.mean, self.inverse_dispersion = broadcast_all(mean, inverse_dispersion)
            else:
                self.mean, self.dispersion = broadcast_all(mean, dispersion)
            super().__init__(self.mean.shape, validate_args=validate_args)

        def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
            assert _instance is None
            name = "dispersion" if "dispersion" in vars(self) else "inverse_dispersion"
            wide = {key: getattr(self, key).expand(batch_shape) for key in ("mean", name)}
            expanded = MeanNegativeBinomial(**wide, validate_args=False)
            expanded._validate_args = self._validate_args
            return expanded

        @property
        def variance(self) -> Tensor:
            variance: Tensor = self.mean + self.dispersion * self.mean.square()
            return variance

        def log_prob(self, value: Tensor) -> Tensor:
            """Score counts by torch's own formula, which neither has the ends of the parameters nor all digits."""
            if self._validate_args:
                self._validate_sample(value)
            total = self.inverse_dispersion
            logits = self.mean.log() - total.log()
            score: Tensor = NegativeBinomial(total, logits=logits, validate_args=False).log_prob(value)
            return score

        @torch.no_grad()
        def sample(self, sample_shape: Any = ()) -> Tensor:
            shape = self._extended_shape(torch.Size(sample_shape))
            mean, total = self.mean.expand(shape), self.inverse_dispersion.clamp(max=MOST).expand(shape)
            counts: Tensor = torch.poisson(torch._standard_gamma(total) / total * mean)
            return counts

    return MeanNegativeBinomial
