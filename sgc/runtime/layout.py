"""The particle layout `[*enumerated, S, B, *event]`, and the sums over particles.

Every value has one leading dimension for each node that may be enumerated, one for the samples and one for the rows;
each has size 1 where the value does not vary over it, so that what is constant is visible in the shape.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Which leading dimension belongs to which enumerated node; the samples' and the rows' come after them."""

    axes: Mapping[str, int]
    samples: int
    rows: int

    @property
    def sample_axis(self) -> int:
        return len(self.axes)

    @property
    def row_axis(self) -> int:
        return len(self.axes) + 1

    @property
    def rank(self) -> int:
        """How many leading dimensions every value has."""
        return len(self.axes) + 2

    def clamp(self, value: Tensor) -> Tensor:
        """Lay out the values of rows: [B, *event] -> [1, ..., 1, B, *event]."""
        return value.reshape((1,) * (self.rank - 1) + tuple(value.shape))

    def spread(self, support: Tensor, node: str) -> Tensor:
        """Lay out a whole support on its node's own dimension: [K, *event] -> [1, .., K, .., 1, *event]."""
        leading = [1] * self.rank
        leading[self.axes[node]] = support.shape[0]
        return support.reshape(*leading, *support.shape[1:])

    def drawn(self, batch_shape: Sequence[int]) -> tuple[int, ...]:
        """Give the leading shape of a draw: of its parameters, and always every sample and row."""
        full = (1,) * len(self.axes) + (self.samples, self.rows)
        return tuple(torch.broadcast_shapes(tuple(batch_shape), full))


@dataclass(frozen=True)
class Pair:
    """A factor of a sum over particles: the logarithm of what it weighs by, and the value that it adds.

    None stands for zero. Products of factors add both; summing a dimension out gives the logarithm of the total weight
    and the mean of the value under the weights. So one sweep gives log Σ m w and Σ m w f / Σ m w, which is
    d/dλ log Σ m w exp(λ f) at λ = 0, at the cost of variable elimination.
    """

    log: Tensor | None = None
    value: Tensor | None = None

    def touches(self, axis: int) -> bool:
        return any(part is not None and part.shape[axis] > 1 for part in (self.log, self.value))

    def sum_out(self, axis: int) -> Pair:
        """Sum a dimension out whose masses are among the weights."""
        if self.log is None or self.log.shape[axis] == 1:
            raise AssertionError("a dimension without its masses")
        total = self.log.logsumexp(axis, keepdim=True)
        if self.value is None:
            return Pair(total)
        return Pair(total, ((self.log - total).exp() * self.value).sum(axis, keepdim=True))

    def mean_out(self, axis: int) -> Pair:
        """Average a dimension out whose masses are 1/n."""
        if self.log is None or self.log.shape[axis] == 1:
            return Pair(self.log, None if self.value is None else self.value.mean(axis, keepdim=True))
        total = self.log.logsumexp(axis, keepdim=True)
        value = None if self.value is None else ((self.log - total).exp() * self.value).sum(axis, keepdim=True)
        return Pair(total - math.log(self.log.shape[axis]), value)


def join(pairs: Sequence[Pair]) -> Pair:
    """Multiply factors: their logarithms add, and so do their values."""
    return Pair(_add([p.log for p in pairs]), _add([p.value for p in pairs]))


def _add(parts: Sequence[Tensor | None]) -> Tensor | None:
    total: Tensor | None = None
    for part in parts:
        if part is not None:
            total = part if total is None else total + part
    return total


@dataclass(frozen=True)
class Eliminated:
    """What a sweep gives: log Σ m w and the weighted mean of the values, each [B]; and what was summed out."""

    log: Tensor
    value: Tensor
    steps: tuple[tuple[str, Tensor], ...]  # node and the log-weights it was summed out of
    samples: Tensor | None  # the log-weights of the samples, None where they are alike


def sum_enumerated(
    pairs: Sequence[Pair], order: Sequence[str], layout: Layout, keep: Collection[int] = ()
) -> tuple[list[Pair], tuple[tuple[str, Tensor], ...]]:
    """Sum the enumerated dimensions out, in `order`, but for the axes to `keep`.

    Returns: the factors that are left; and, by node, the log-weights it was summed out of, in order.
    """
    left = list(pairs)
    steps: list[tuple[str, Tensor]] = []
    for node in order:
        axis = layout.axes[node]
        touching = [pair for pair in left if pair.touches(axis)]
        if not touching or axis in keep:
            continue
        joined = join(touching)
        assert joined.log is not None
        steps.append((node, joined.log))
        left = [pair for pair in left if not pair.touches(axis)] + [joined.sum_out(axis)]
    return left, tuple(steps)


def average_samples(pairs: Sequence[Pair], layout: Layout) -> tuple[list[Pair], Tensor | None]:
    """Average the samples out; give the factors that are left, and the samples' log-weights (None: all alike)."""
    axis = layout.sample_axis
    touching = [pair for pair in pairs if pair.touches(axis)]
    if not touching:
        return list(pairs), None
    joined = join(touching)
    return [*(pair for pair in pairs if not pair.touches(axis)), joined.mean_out(axis)], joined.log


def eliminate(pairs: Sequence[Pair], order: Sequence[str], layout: Layout, like: Tensor) -> Eliminated:
    """Sum every particle out: the enumerated dimensions in `order`, then the samples.

    pairs: factors over [*enumerated, S, B], each dimension of size 1 where a factor does not vary. like: a tensor of
    the type and device wanted.
    """
    left, steps = sum_enumerated(pairs, order, layout)
    left, sample_log = average_samples(left, layout)
    whole = join(left)
    zero = like.new_zeros(layout.rows)

    def rows(part: Tensor | None) -> Tensor:
        return zero if part is None else part.reshape(-1).expand(layout.rows)

    return Eliminated(rows(whole.log), rows(whole.value), steps, sample_log)


@contextmanager
def drawing_from(generator: torch.Generator | None) -> Iterator[None]:
    """Draw from a generator, where torch.distributions knows only the global one; None: the global one.

    The generator moves on as it would have, and the global state is as before.
    """
    if generator is None:
        yield
        return
    on_gpu = generator.device.type == "cuda"
    before = torch.cuda.get_rng_state(generator.device) if on_gpu else torch.get_rng_state()

    def put(state: Tensor) -> None:
        if on_gpu:
            torch.cuda.set_rng_state(state, generator.device)
        else:
            torch.set_rng_state(state)

    put(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(torch.cuda.get_rng_state(generator.device) if on_gpu else torch.get_rng_state())
        put(before)


def reseed(seed: int, device: torch.device) -> None:
    """Seed the global generators that draws on a device come from.

    torch.manual_seed would, on a machine without a GPU, note down a stack trace at every call.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
