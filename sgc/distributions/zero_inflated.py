"""Families of counts with more zeros: with the probability `gate` a count is 0, whatever the family gives else.

    P(0) = g + (1 − g) f(0),   P(k) = (1 − g) f(k) for k > 0

Sources: Lambert 1992, "Zero-inflated Poisson regression"; Lopez et al. 2018 (scVI) for the negative binomial.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sgc.distributions import samplers
from sgc.distributions.constraints import CONSTRAINTS
from sgc.distributions.densities import element_of, exact
from sgc.distributions.densities.members import Member, widen
from sgc.distributions.log_scale import log_from_zero, log_to_one
from sgc.distributions.points import Point

if TYPE_CHECKING:
    from torch import Tensor

    from sgc.distributions.family import Family

INFLATED = "ZeroInflated"  # the name that a spec gives it; its option `of` is a family with the options of that
OF = "of"
GATE, GATE_LOGITS = "gate", "gate_logits"


def can_be_inflated(family: Family) -> bool:
    """Tell whether a family is one of counts, each by itself."""
    return family.support.counts and not family.support.vector and not family.inflates


@functools.lru_cache(maxsize=256)
def zero_inflated(inner: Family) -> Family:
    """Give the family of members of another, set up with its options, whose zeros are inflated."""
    assert can_be_inflated(inner), inner.name
    formula, inner_mean = inner.scoring.formula, inner.scoring.mean
    assert formula is not None, inner.name

    def log_prob(member: Member, value: Tensor) -> Tensor:
        import torch

        base = Member(_own(member).base)
        score = formula(base, value)
        log_gate, log_rest = _log_gate(member)
        member.types |= base.types
        none, inside = value == 0, log_rest + score
        either = torch.logaddexp(log_gate, torch.where(none, inside, 0.0))  # of two infinite ones the gradient is NaN
        return torch.where(none, either, inside)

    def mean(member: Member) -> Tensor:
        base = _own(member).base
        member.types.add(base.mean.dtype)
        own: Tensor = base.mean if inner_mean is None else inner_mean(base)
        return _log_gate(member)[1].exp() * widen(own)

    def draw(member: Member) -> Point:
        import torch

        base = _own(member).base
        counts = widen(base.sample() if inner.sampler is None else samplers.draw(inner.sampler, base).value)
        member.types.add(base.mean.dtype)
        gate = _log_gate(member)[0].exp()
        return Point(torch.where(torch.rand_like(gate) < gate, 0.0, counts))

    return replace(
        inner,
        name=f"{INFLATED} {inner.name}",
        constraints={
            **inner.constraints,
            GATE: CONSTRAINTS["half_open_unit_interval"],
            GATE_LOGITS: CONSTRAINTS["real"],
        },
        heads=(*inner.heads, GATE_LOGITS),
        stands_for={**inner.alternatives, GATE: GATE_LOGITS},
        standard=None,
        pathwise=False,
        closed_kl=False,
        options={},  # those of the other are set
        torch_class="",
        define=functools.partial(_members, inner),
        scoring=replace(exact(log_prob, mean=mean), prepare=inner.scoring.prepare),
        sampler=draw,
        by="",
        forms={},
        inflates=True,
    )


def _own(member: Member) -> Any:  # Any: the class below
    return element_of(member.own)


def _log_gate(member: Member) -> tuple[Tensor, Tensor]:
    """Give log g and log (1 − g)."""
    from torch.nn.functional import logsigmoid

    if member.has(GATE_LOGITS):
        logits = getattr(member, GATE_LOGITS)
        return logsigmoid(logits), logsigmoid(-logits)
    gate = getattr(member, GATE)
    return log_from_zero(gate), log_to_one(gate)


@functools.lru_cache(maxsize=256)
def _members(inner: Family) -> Any:  # Any: the base class is torch's, which is not imported before it is needed
    """Define the class of members of one family, once."""
    import numpy as np
    import torch
    from torch.distributions import Distribution, constraints

    members = inner.members()
    settings = {name: inner.setting(name) for name in inner.options}

    class ZeroInflated(Distribution):
        """base: a member of the family, with the batch shape of this one; gate, or gate_logits: [*batch]."""

        arg_constraints = {  # noqa: RUF012 - torch's own form
            **members.arg_constraints,
            GATE: constraints.half_open_interval(0, 1),
            GATE_LOGITS: constraints.real,
        }

        def __init__(
            self,
            *,
            gate: Any = None,
            gate_logits: Any = None,
            base: Any = None,
            validate_args: bool | None = None,
            **parameters: Any,
        ) -> None:
            if base is None:
                base = members(**parameters, **settings, validate_args=validate_args)
            name, given = (GATE_LOGITS, gate_logits) if gate is None else (GATE, gate)
            batch = torch.Size(np.broadcast_shapes(base.batch_shape, given.shape))
            self.base = base if base.batch_shape == batch else base.expand(batch)
            setattr(self, name, given.expand(batch))
            super().__init__(batch, validate_args=False)
            self._validate_args = bool(validate_args)
            if validate_args and not bool(self.arg_constraints[name].check(given).all()):
                raise ValueError(f"'{name}' of ZeroInflated must be {self.arg_constraints[name]}")

        @property
        def support(self) -> Any:
            return self.base.support

        @property
        def has_enumerate_support(self) -> bool:  # type: ignore[override]
            return bool(self.base.has_enumerate_support)

        @property
        def _gate(self) -> Tensor:
            own: dict[str, Tensor] = vars(self)
            return own[GATE] if GATE in own else own[GATE_LOGITS].sigmoid()

        @property
        def mean(self) -> Tensor:
            mean: Tensor = (1 - self._gate) * self.base.mean
            return mean

        @property
        def variance(self) -> Tensor:
            variance: Tensor = (1 - self._gate) * (self.base.variance + self._gate * self.base.mean.square())
            return variance

        def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
            assert _instance is None
            name = GATE if GATE in vars(self) else GATE_LOGITS
            gates = {name: getattr(self, name).expand(batch_shape)}
            expanded = ZeroInflated(base=self.base.expand(batch_shape), **gates, validate_args=False)
            expanded._validate_args = self._validate_args
            return expanded

        def log_prob(self, value: Tensor) -> Tensor:
            if self._validate_args:
                self._validate_sample(value)
            inside = (-self._gate).log1p() + self.base.log_prob(value)
            return torch.where(value == 0, torch.logaddexp(self._gate.log(), inside), inside)

        @torch.no_grad()
        def sample(self, sample_shape: Any = ()) -> Tensor:
            counts: Tensor = self.base.sample(sample_shape)
            return torch.where(torch.rand_like(counts) < self._gate, 0.0, counts)

        def enumerate_support(self, expand: bool = True) -> Tensor:
            values: Tensor = self.base.enumerate_support(expand)
            return values

    return ZeroInflated
