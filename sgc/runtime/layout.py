"""The particle layout `[*enumerated, S, B, *event]`, and the sums over particles.

Every value has some leading dimensions for enumerated nodes, one for the samples and one for the rows; each has size 1
where the value does not vary over it, so that what is constant is visible in the shape. Enumerated nodes that never
meet in one tensor share a dimension (the plan says which): a chain needs two, whatever its length. A score therefore
says by name which nodes its dimensions stand for.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Which leading dimension belongs to which enumerated node; the samples' and the rows' come after them.

    depth: the least number of leading dimensions before that of the samples; groups that run in step have the same.
    """

    axes: Mapping[str, int]
    samples: int
    rows: int
    depth: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth", max(self.depth, 1 + max(self.axes.values(), default=-1)))

    @property
    def sample_axis(self) -> int:
        return self.depth

    @property
    def row_axis(self) -> int:
        return self.depth + 1

    @property
    def rank(self) -> int:
        """How many leading dimensions every value has."""
        return self.depth + 2

    def clamp(self, value: Tensor) -> Tensor:
        """Lay out the values of rows: [B, *event] -> [1, ..., 1, B, *event]."""
        return value.reshape((1,) * (self.rank - 1) + tuple(value.shape))

    def padded(self, value: Tensor, event: int = 0) -> Tensor:
        """Put dimensions of size 1 in front of a value until it has all leading ones. event: how many others it has."""
        return value.reshape((1,) * (self.rank + event - value.dim()) + tuple(value.shape))

    def spread(self, support: Tensor, node: str) -> Tensor:
        """Lay out a whole support on its node's dimension: [K, *event] -> [1, .., K, .., 1, *event]."""
        leading = [1] * self.rank
        leading[self.axes[node]] = support.shape[0]
        return support.reshape(*leading, *support.shape[1:])

    def drawn(self, batch_shape: Sequence[int]) -> tuple[int, ...]:
        """Give the leading shape of a draw: of its parameters, and always every sample and row."""
        full = (1,) * self.depth + (self.samples, self.rows)
        return np.broadcast_shapes(tuple(batch_shape), full)

    def score(self, log: Tensor, dims: Collection[str]) -> Score:
        """Lay a score out and name its dimensions: those of `dims` that it varies over.

        log: as much of [*enumerated, S, B] as its parameters have, one of constants has none.
        """
        laid_out = self.padded(log)
        nodes = frozenset(n for n in dims if n in self.axes and laid_out.shape[self.axes[n]] > 1)
        assert len(nodes) == sum(size > 1 for size in laid_out.shape[: self.depth]), (
            "a dimension that no node stands for"
        )
        return Score(laid_out, nodes)


@dataclass(frozen=True, eq=False)
class Score:
    """A tensor over particles [*enumerated, S, B], and the nodes that its enumerated dimensions stand for."""

    tensor: Tensor
    nodes: frozenset[str] = frozenset()

    def __neg__(self) -> Score:
        return Score(-self.tensor, self.nodes)

    def __mul__(self, scale: float | Tensor) -> Score:
        return Score(self.tensor * scale, self.nodes)

    __rmul__ = __mul__

    def __add__(self, other: Score) -> Score:
        return Score(self.tensor + other.tensor, self.nodes | other.nodes)

    def still(self) -> Score:
        """Give the same numbers without a gradient."""
        return Score(self.tensor.detach(), self.nodes)


@dataclass(frozen=True)
class Pair:
    """A factor of a sum over particles: the logarithm of what it weighs by, and the value that it adds.

    None stands for zero. Products of factors add both; summing a dimension out gives the logarithm of the total weight
    and the mean of the value under the weights. So one sweep gives log Σ m w and Σ m w f / Σ m w, which is
    d/dλ log Σ m w exp(λ f) at λ = 0, at the cost of variable elimination.
    """

    log: Score | None = None
    value: Score | None = None

    def still(self) -> Pair:
        """Give the same without a gradient."""
        return Pair(*(None if part is None else part.still() for part in (self.log, self.value)))

    @property
    def nodes(self) -> frozenset[str]:
        """The nodes that it varies over."""
        return frozenset().union(*(part.nodes for part in (self.log, self.value) if part is not None))

    def sum_out(self, node: str, axis: int) -> Pair:
        """Sum a node's dimension out, whose masses are among the weights."""
        if self.log is None or node not in self.log.nodes:
            raise AssertionError("a dimension without its masses")
        return self._weigh_out(self.log, axis, frozenset({node}))

    def _weigh_out(self, log: Score, axis: int, gone: frozenset[str] = frozenset()) -> Pair:
        """Sum a dimension out: the log of the total weight, and the mean of the value under the weights."""
        total = log.tensor.logsumexp(axis, keepdim=True)
        if self.value is None:
            return Pair(Score(total, log.nodes - gone))
        value = ((log.tensor - total).exp() * self.value.tensor).sum(axis, keepdim=True)
        return Pair(Score(total, log.nodes - gone), Score(value, (log.nodes | self.value.nodes) - gone))

    def varies(self, axis: int) -> bool:
        return any(part is not None and part.tensor.shape[axis] > 1 for part in (self.log, self.value))

    def mean_out(self, axis: int) -> Pair:
        """Average a dimension out whose masses are 1/n: the samples'."""
        log, value = self.log, self.value
        if log is None or log.tensor.shape[axis] == 1:
            return Pair(log, None if value is None else Score(value.tensor.mean(axis, keepdim=True), value.nodes))
        summed = self._weigh_out(log, axis)
        assert summed.log is not None
        return Pair(Score(summed.log.tensor - math.log(log.tensor.shape[axis]), log.nodes), summed.value)


def join(pairs: Sequence[Pair]) -> Pair:
    """Multiply factors: their logarithms add, and so do their values."""
    return Pair(_add([p.log for p in pairs]), _add([p.value for p in pairs]))


def _add(parts: Sequence[Score | None]) -> Score | None:
    total: Score | None = None
    for part in parts:
        if part is not None:
            total = part if total is None else total + part
    return total


@dataclass(frozen=True)
class Eliminated:
    """What a sweep gives: log Σ m w and the weighted mean of the values, each [B]; and what was summed out."""

    log: Tensor
    value: Tensor
    steps: tuple[tuple[str, Score], ...]  # node and the log-weights it was summed out of
    samples: Tensor | None  # the log-weights of the samples, None where they are alike


def sum_enumerated(
    pairs: Sequence[Pair], order: Sequence[str], layout: Layout
) -> tuple[list[Pair], tuple[tuple[str, Score], ...]]:
    """Sum the enumerated dimensions out, in `order`.

    Returns: the factors that are left; and, by node, the log-weights it was summed out of, in order.
    """
    left: dict[int, Pair] = {}
    holders: dict[str, set[int]] = {node: set() for node in order}

    def enter(place: int, pair: Pair) -> None:
        left[place] = pair
        for node in pair.nodes & holders.keys():
            holders[node].add(place)

    for place, pair in enumerate(pairs):
        enter(place, pair)
    steps: list[tuple[str, Score]] = []
    for count, node in enumerate(order):
        places = sorted(place for place in holders[node] if place in left)
        if not places:
            continue
        joined = join([left.pop(place) for place in places])
        assert joined.log is not None
        steps.append((node, joined.log))
        enter(len(pairs) + count, joined.sum_out(node, layout.axes[node]))
    return list(left.values()), tuple(steps)


def average_samples(pairs: Sequence[Pair], layout: Layout) -> tuple[list[Pair], Tensor | None]:
    """Average the samples out; give the factors that are left, and the samples' log-weights (None: all alike)."""
    axis = layout.sample_axis
    touching = [pair for pair in pairs if pair.varies(axis)]
    if not touching:
        return list(pairs), None
    joined = join(touching)
    log = None if joined.log is None else joined.log.tensor
    return [*(pair for pair in pairs if not pair.varies(axis)), joined.mean_out(axis)], log


def eliminate(pairs: Sequence[Pair], order: Sequence[str], layout: Layout, like: Tensor) -> Eliminated:
    """Sum every particle out: the enumerated dimensions in `order`, then the samples.

    pairs: factors over [*enumerated, S, B], each dimension of size 1 where a factor does not vary. like: a tensor of
    the type and device wanted.
    """
    left, steps = sum_enumerated(pairs, order, layout)
    left, sample_log = average_samples(left, layout)
    joined = join(left)
    zero = like.new_zeros(layout.rows)

    def rows(part: Score | None) -> Tensor:
        return zero if part is None else part.tensor.reshape(-1).expand(layout.rows)

    return Eliminated(rows(joined.log), rows(joined.value), steps, sample_log)
