"""Multinomial: torch's, which also keeps its own parameters, and one whose total differs from row to row."""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def multinomial() -> Any:  # Any: the base class is torch's, which is not imported before it is needed
    """Define the class, once."""
    import torch
    from torch import Tensor

    class Multinomial(torch.distributions.Multinomial):
        """torch's class normalises logits in their own precision; a sum of n of them shows the rounding."""

        def __init__(
            self,
            total_count: int,
            probs: Tensor | None = None,
            logits: Tensor | None = None,
            validate_args: bool | None = None,
        ) -> None:
            super().__init__(total_count, probs, logits, validate_args)
            self.given_probs, self.given_logits = probs, logits

        def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
            assert _instance is None
            expanded: Any = super().expand(batch_shape, Multinomial.__new__(Multinomial))  # type: ignore[no-untyped-call]
            wide = (*batch_shape, *self.event_shape)
            expanded.given_probs, expanded.given_logits = (
                None if value is None else value.expand(wide) for value in (self.given_probs, self.given_logits)
            )
            return expanded

    return Multinomial


@functools.cache
def counted_multinomial() -> Any:  # Any: as above
    """Define the class of members with a total for each row, once."""
    import numpy as np
    import torch
    from torch import Tensor
    from torch.distributions import Distribution, constraints
    from torch.distributions.utils import lazy_property

    class CountedMultinomial(Distribution):
        """total_count: [*batch]; probs, which sum to 1, or logits: [*batch, K]; they broadcast."""

        arg_constraints = {  # noqa: RUF012 - as torch has it
            "total_count": constraints.nonnegative_integer,
            "probs": constraints.simplex,
            "logits": constraints.real_vector,
        }

        def __init__(
            self,
            total_count: Tensor,
            probs: Tensor | None = None,
            logits: Tensor | None = None,
            validate_args: bool | None = None,
        ) -> None:
            parameter = logits if probs is None else probs
            assert parameter is not None
            batch, size = torch.Size(np.broadcast_shapes(total_count.shape, parameter.shape[:-1])), parameter.shape[-1]
            self.total_count = total_count.expand(batch)
            self.given_probs = None if probs is None else probs.expand(*batch, size)
            self.given_logits = None if logits is None else logits.expand(*batch, size)
            for name, value in (("probs", self.given_probs), ("logits", self.given_logits)):
                if value is not None:
                    setattr(self, name, value)
            super().__init__(batch, torch.Size((size,)), validate_args)

        @lazy_property
        def probs(self) -> Tensor:
            assert self.given_logits is not None
            return self.given_logits.softmax(-1)

        @lazy_property
        def logits(self) -> Tensor:
            assert self.given_probs is not None
            return self.given_probs.log()

        @property
        def support(self) -> Any:
            return constraints.multinomial(self.total_count)

        @property
        def mean(self) -> Tensor:
            return self.total_count.unsqueeze(-1) * self.probs

        @property
        def variance(self) -> Tensor:
            return self.mean * (1 - self.probs)

        def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
            assert _instance is None
            wide = (*batch_shape, *self.event_shape)
            probs, logits = (None if g is None else g.expand(wide) for g in (self.given_probs, self.given_logits))
            return CountedMultinomial(self.total_count.expand(batch_shape), probs, logits, validate_args=False)

        @torch.no_grad()
        def sample(self, sample_shape: Any = ()) -> Tensor:
            """Share the total out by halves: how many fall into the first half of the categories is a binomial.

            Each half is shared out so in its turn, in as many steps as the categories can be halved. Source: Davis
            1993, "The computer generation of multinomial random variates", whose chain of binomials is a tree here.
            """
            shape = torch.Size((*sample_shape, *self.batch_shape))
            probs, dtype = self.probs, self.probs.dtype
            if probs.device.type != "mps":  # which has no doubles
                probs = probs.double()
            size = 1 << (probs.shape[-1] - 1).bit_length()
            masses = [torch.nn.functional.pad(probs, (0, size - probs.shape[-1]))]
            while masses[-1].shape[-1] > 1:
                masses.append(masses[-1].unflatten(-1, (-1, 2)).sum(-1))
            counts = self.total_count.to(probs.dtype).expand(shape).unsqueeze(-1)
            for mass in reversed(masses[:-1]):
                first, second = mass.unflatten(-1, (-1, 2)).unbind(-1)
                share = torch.where(first > 0, first / (first + second), 0.0).expand(counts.shape)
                left = torch.binomial(counts.contiguous(), share.contiguous())
                counts = torch.stack([left, counts - left], -1).flatten(-2)
            return counts[..., : self.event_shape[0]].to(dtype)

        def log_prob(self, value: Tensor) -> Tensor:
            raise AssertionError("scored by sgc.distributions.densities.integers")

    return CountedMultinomial
