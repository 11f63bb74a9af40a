"""Categories drawn without replacement (Kool, van Hoof and Welling 2020)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from sgc.distributions.densities import element_of
from sgc.distributions.families import FAMILIES
from sgc.distributions.family import Family
from sgc.distributions.points import Point
from sgc.objectives.estimator import Charging, Draw, Estimator

if TYPE_CHECKING:
    from torch import Tensor

MOST = 10  # samples: every subset of them is gone through


class WithoutReplacement(Estimator):
    """S different categories for each row, of which each counts p(s) R(S, s): the unordered set estimator.

    R(S, s) is the probability of the set where s came first, over that of the set. Σ_s p(s) R(S, s) = 1, and
    E Σ_s p(s) R(S, s) f(s) = E f. The gradient is Σ_s ∇p(s) R(S, s) (f(s) − Σ_s' p(s') R\\s(S, s') f(s')), whose
    baseline is made of all draws, and is 0 of a single one. Samples beyond the number of categories count nothing.

    Source: Kool et al. 2020, Eqs. 10 and 17.
    """

    name: ClassVar[str] = "without_replacement"
    tag: ClassVar[str] = "sampled"
    charged: ClassVar[bool] = True
    own_costs: ClassVar[bool] = True
    one_q: ClassVar[bool] = True
    weighs_draws: ClassVar[bool] = True
    count_refusal: ClassVar[str] = "weighed unevenly"

    @staticmethod
    def refuse(family: Family, event: tuple[int, ...]) -> str:
        """Say why the family cannot have this estimator; an empty string where it can."""
        if family != FAMILIES["Categorical"]:
            return "only categories are drawn without replacement"
        return "" if len(event) == 1 else "its values are several categories at once, and one is drawn at a time"

    def refuse_samples(self, samples: int) -> tuple[str, str, str]:
        """Say that there are too many subsets."""
        if samples <= MOST:
            return "", "", ""
        return "", f"'{self.name}' sums over all subsets of {samples} samples", f"allowed: at most {MOST} samples"

    def draw(self, given: Draw) -> Point:
        """Draw the largest of perturbed logits, the first sample first: [*leading, K] (Gumbel top-k)."""
        import torch

        *outer, samples, rows = given.leading
        logits = element_of(given.q).logits.detach()
        logits = logits.expand(*outer, 1, rows, logits.shape[-1])
        noise = torch.empty_like(logits, memory_format=torch.contiguous_format).exponential_()
        perturbed = logits - noise.clamp_min(torch.finfo(noise.dtype).tiny).log()
        count = min(samples, logits.shape[-1])
        places = perturbed.topk(count, -1).indices.transpose(-1, -3).squeeze(-1)  # [*outer, count, rows]
        axis = len(outer)
        if count < samples:
            more = places.narrow(axis, 0, 1).expand(*outer, samples - count, rows)
            places = torch.cat([places, more], axis)
        return Point(torch.nn.functional.one_hot(places, logits.shape[-1]).to(logits))

    def log_mass(self, given: Draw, drawn: Point) -> Tensor:
        """Give log S p(s) R(S, s), [*leading]."""
        chances = _chances(given, drawn)
        return (chances.share.log() + math.log(given.leading[-2])).to(drawn.value.dtype)

    def surrogate(self, log: Tensor, given: Draw, drawn: Point, charging: Charging) -> Tensor:
        """Give Σ_s (log q(s) − stop) (c_s − m_s Σ_s' p(s') R\\s(S, s') c_s'/m_s'), [B]; c_s holds m_s."""
        import torch

        chances = _chances(given, drawn)
        costs = charging.costs().detach().expand(given.leading).to(chances.share)
        value = torch.where(chances.share > 0, costs / chances.share.clamp_min(1e-300), 0.0)  # f of each draw
        baseline = torch.einsum("...stb,...tb->...sb", chances.beside, value)
        signal = (costs - chances.share * baseline).to(log.dtype)
        return ((log - log.detach()) * signal).sum(tuple(range(log.dim() - 1)))


class _Chances(NamedTuple):
    """share: p(s) R(S, s), [*outer, S, B]. beside: p(s') R\\s(S, s') for each s and s', [*outer, S, S', B]."""

    share: Tensor
    beside: Tensor


def _chances(given: Draw, drawn: Point) -> _Chances:
    """Work out how likely sets are that hold the draws, in float64 and without a gradient.

    H(A), the probability that the set is completed once A is drawn, is a sum over what comes next:
    H(A) = Σ_b p(b) / (1 − p(A)) H(A ∪ b). Then R(S, s) = H({s}) / H(∅) and R\\s(S, s') = H({s, s'}) / H({s}).
    """
    import torch

    *outer, samples, rows = given.leading
    chance = torch.softmax(element_of(given.q).logits.detach().double(), -1)
    chance = chance.expand(*outer, 1, rows, chance.shape[-1])
    count = min(samples, chance.shape[-1])
    axis = len(outer)
    value = drawn.value.detach().double().narrow(axis, 0, count)
    own = (value * chance).sum(-1)  # p of each draw, [*outer, count, rows]
    rest = (chance.squeeze(axis) * (1 - value.sum(axis))).sum(-1)  # of what is not drawn, [*outer, rows]
    p = own.movedim(axis, 0)  # [count, *outer, rows]
    full = (1 << count) - 1
    complete: list[Tensor] = [torch.ones_like(rest)] * (full + 1)
    for mask in range(full - 1, -1, -1):  # what a set grows to has a larger number
        left = [b for b in range(count) if not mask >> b & 1]
        remaining = (rest + sum(p[b] for b in left)).clamp_min(1e-300)
        complete[mask] = torch.stack([p[b] / remaining * complete[mask | 1 << b] for b in left]).sum(0)
    whole_set = complete[0].clamp_min(1e-300)
    share = torch.stack([p[s] * complete[1 << s] / whole_set for s in range(count)], axis)
    beside = torch.stack(
        [
            torch.stack(
                [
                    p[t] * (complete[1 << s | 1 << t] / complete[1 << s].clamp_min(1e-300) if s != t else 1.0)
                    for t in range(count)
                ],
                axis,
            )
            for s in range(count)
        ],
        axis,
    )
    if count == 1:  # no other draw makes a baseline
        beside = torch.zeros_like(beside)
    missing = samples - count
    if missing:
        share = torch.cat([share, share.new_zeros(*outer, missing, rows)], axis)
        beside = torch.nn.functional.pad(beside, (0, 0, 0, missing, 0, missing))
    return _Chances(share, beside)
