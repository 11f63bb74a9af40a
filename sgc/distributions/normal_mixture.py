"""Mixtures of Normals with equal weights: of those components that are there, which a row decides.

    q(v) = 1/K Σ_c N(v; μ_c, σ_c)    over the K components that are there, each diagonal over the event

A draw takes a component, each as likely, and then a draw of that one. The weights are no function of parameters, so the
gradient through the value is that of the expectation: E_q f = 1/K Σ_c E_c f.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sgc.distributions import samplers
from sgc.distributions.densities import Scoring, element_of
from sgc.distributions.densities.members import Member
from sgc.distributions.points import Point

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributions import Distribution

    from sgc.distributions.family import Family

NAME = "a mixture of Normals"


@functools.lru_cache(maxsize=8)
def normal_mixture(normal: Family) -> Family:
    """Give the family of mixtures of members of Normal, made by `mixture`; it has no parameters of its own."""
    assert normal.name == "Normal", normal.name

    def log_prob(distribution: Distribution, value: Tensor, *exact: Tensor) -> Tensor:
        score: Tensor = _own(distribution).log_prob_of(normal, value, *exact)
        return score

    def draw(member: Member) -> Point:
        own = _own(member.own)
        member.types.add(own.loc.dtype)
        return samplers.normal(Member(own.chosen()))

    scoring = Scoring(log_prob, mean=lambda distribution: _own(distribution).mean)
    return replace(normal, name=NAME, closed_kl=False, scoring=scoring, sampler=draw)


def mixture(components: Distribution, there: Tensor) -> Distribution:
    """Make a mixture.

    components: members of Normal, batch shape [*leading, C]. there: booleans [*leading, C], in each row some; they
    broadcast -> batch shape [*leading].
    """
    made: Distribution = _class()(components, there)
    return made


def _own(distribution: Distribution) -> Any:  # Any: the class is made when torch is there
    return element_of(distribution)


@functools.cache
def _class() -> Any:  # Any: a class of distributions
    """Give the class of mixtures."""
    import torch
    from torch.distributions import Distribution, Normal, constraints

    class NormalMixture(Distribution):
        """A mixture of Normals with equal weights, see `mixture`."""

        arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012 - as torch has it
        support = constraints.real
        has_rsample = True

        def __init__(self, components: Distribution, there: Tensor) -> None:
            event, shape = components.event_shape, torch.broadcast_shapes(components.batch_shape, there.shape)
            self.components, self.there = components.expand(shape), there.expand(shape)
            normal = element_of(self.components)
            self.loc, self.scale = normal.loc, normal.scale  # [*leading, C, *event]
            super().__init__(shape[:-1], event, validate_args=False)

        @property
        def log_weights(self) -> Tensor:
            """The logs of the weights, [*leading, C]: −∞ where a component is not there."""
            number = self.there.sum(-1, keepdim=True).to(self.loc.dtype)
            return torch.where(self.there, -number.log(), -torch.inf)

        def _weighed(self, by_component: Tensor) -> Tensor:
            """Average over components that are there, [*leading, C, *event] -> [*leading, *event]."""
            there = self.there.reshape(*self.there.shape, *(1,) * len(self.event_shape))
            weights = self.log_weights.exp().reshape(there.shape)
            return (weights * torch.where(there, by_component, 0.0)).sum(-len(self.event_shape) - 1)

        @property
        def mean(self) -> Tensor:
            return self._weighed(self.loc)

        @property
        def variance(self) -> Tensor:
            return self._weighed(self.scale**2 + (self.loc - self.mean.unsqueeze(len(self.batch_shape))) ** 2)

        def cdf(self, value: Tensor) -> Tensor:
            """Give the probability of each element to be at most a value, [*leading, *event]."""
            return self._weighed(element_of(self.components).cdf(value.unsqueeze(-len(self.event_shape) - 1)))

        def expand(self, shape: Any, instance: Any = None) -> Distribution:  # Any: as torch has it
            size = (*shape, self.there.shape[-1])
            return NormalMixture(self.components.expand(torch.Size(size)), self.there.expand(size))

        def log_prob_of(self, normal: Family, value: Tensor, *exact: Tensor) -> Tensor:
            """Score values, [*leading, *event] -> [*leading]; exact: of a draw, see `Point`."""
            at = -len(self.event_shape) - 1
            whole = [part.unsqueeze(at) for part in (value, *exact)]
            scores: Tensor = self.log_weights + normal.scoring.log_prob(self.components, *whole)
            return scores.logsumexp(-1)

        def log_prob(self, value: Tensor) -> Tensor:
            at = -len(self.event_shape) - 1
            scores: Tensor = self.log_weights + self.components.log_prob(value.unsqueeze(at))
            return scores.logsumexp(-1)

        def chosen(self) -> Distribution:
            """Choose a component for each place of the batch: members of Normal with the shape of the draw."""
            number = self.there.sum(-1, keepdim=True)
            uniform = torch.rand(self.batch_shape, dtype=self.loc.dtype, device=self.loc.device).unsqueeze(-1)
            rank = torch.minimum((uniform * number).long(), number - 1)  # of a uniform that rounds to 1 as well
            wanted = self.there & (self.there.cumsum(-1) - 1 == rank)
            place = wanted.to(torch.uint8).argmax(-1, keepdim=True)
            index = place.reshape(*place.shape, *(1,) * len(self.event_shape)).expand(*place.shape, *self.event_shape)
            at = len(self.batch_shape)
            loc, scale = (part.gather(at, index).squeeze(at) for part in (self.loc, self.scale))
            return Normal(loc, scale, validate_args=False)

        def rsample(self, sample_shape: Any = ()) -> Tensor:  # Any: as torch has it
            shape = (*sample_shape, *self.batch_shape)
            value: Tensor = self.expand(torch.Size(shape)).chosen().rsample()  # type: ignore[attr-defined]
            return value

        def __repr__(self) -> str:
            shapes = f"batch_shape: {tuple(self.batch_shape)}, event_shape: {tuple(self.event_shape)}"
            return f"NormalMixture({self.there.shape[-1]} components, {shapes})"

    return NormalMixture
