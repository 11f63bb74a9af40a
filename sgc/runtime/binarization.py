"""Grey values drawn as 0 or 1, with the value as the probability of 1: anew, or once and for all."""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from torch import Tensor

from sgc.randomness import draws, generator_on
from sgc.shared_rows import current_layout

_BLOCK = 1 << 18  # numbers drawn from one state of a generator, which takes 5 kB


def binarized(value: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw 0 or 1 with the grey value as the probability of 1; what is missing stays NaN.

    generator: where draws come from; that of `drawing_from` if None.
    """
    missing = torch.isnan(value)
    if not bool(missing.any()):
        return _drawn(value, generator)
    return _drawn(value.masked_fill(missing, 0), generator).masked_fill(missing, float("nan"))


def _drawn(value: Tensor, generator: torch.Generator | None) -> Tensor:
    if generator is not None:
        return torch.bernoulli(value, generator=generator)
    if current_layout() is None:
        return torch.bernoulli(value, generator=generator_on(value.device))
    with draws():
        return torch.bernoulli(value)


class FixedDraws:
    """The draws that `binarized` would make of all rows at once, for any of them, without keeping rows or draws.

    A draw depends on its place and its value alone, so the generator's state before each block of rows is enough.
    """

    def __init__(self, shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> None:
        """Take the state before each block of rows. shape: [N, *event]; the generator moves on behind all of them."""
        self.event, self.dtype = shape[1:], like.dtype
        self.rows = max(1, _BLOCK // max(1, prod(self.event)))
        self.states: list[Tensor] = []
        for start in range(0, shape[0], self.rows):
            self.states.append(generator.get_state())
            binarized(torch.zeros(min(self.rows, shape[0] - start), *self.event, dtype=self.dtype), generator)

    def of(self, index: np.ndarray, value: Tensor) -> Tensor:
        """Draw for the grey values of the rows at these places: [n, *event]."""
        drawn = torch.empty_like(value)
        generator = torch.Generator()
        for block in np.unique(index // self.rows):
            in_block = np.flatnonzero(index // self.rows == block)
            places, within = torch.from_numpy(in_block), torch.from_numpy(index[in_block] % self.rows)
            grey = torch.zeros(int(within.max()) + 1, *self.event, dtype=self.dtype)
            grey[within] = value[places]
            drawn[places] = binarized(grey, generator.set_state(self.states[block]))[within]
        return drawn
