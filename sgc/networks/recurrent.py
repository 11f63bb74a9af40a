"""Recurrent layers: a sequence [steps, *features], the steps first, to one state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from sgc.networks.layer import Joining, Shape, ShapeFault, Width, shape_text

if TYPE_CHECKING:
    from torch import nn


class Gru(Joining):
    """A gated recurrent unit over all steps, to its last state (Cho et al. 2014); inputs without steps come at each."""

    name: ClassVar[str] = "gru"
    hidden_size: Width

    def joined_shape(self, shapes: Sequence[Shape]) -> Shape:
        came = ", ".join(map(shape_text, shapes))
        steps = {shape[0] for shape in shapes if len(shape) > 1}
        if not steps:
            raise ShapeFault(f"gru reads a sequence [steps, *features], got {came}")
        if len(steps) > 1:
            raise ShapeFault(f"the sequences of one gru have as many steps, got {came}")
        if steps == {1}:
            raise ShapeFault(f"gru reads a sequence [steps, *features], got {came}: one step")
        return (self.hidden_size,)

    def joined_count(self, shapes: Sequence[Shape]) -> int:
        return 3 * self.hidden_size * (_features(shapes) + self.hidden_size + 2)

    def joining_module(self, shapes: Sequence[Shape]) -> nn.Module:
        import torch
        from torch import Tensor, nn

        steps = next(shape[0] for shape in shapes if len(shape) > 1)
        stepped = [len(shape) > 1 for shape in shapes]

        class Steps(nn.Module):
            def __init__(self, gru: nn.GRU) -> None:
                super().__init__()
                self.gru = gru

            def forward(self, *inputs: Tensor) -> Tensor:
                read = [
                    value.flatten(2) if by_step else value.reshape(len(value), 1, -1).expand(-1, steps, -1)
                    for value, by_step in zip(inputs, stepped, strict=True)
                ]
                last: Tensor = self.gru(torch.cat(read, -1))[1][0]
                return last

        return Steps(nn.GRU(_features(shapes), self.hidden_size, batch_first=True))


def _features(shapes: Sequence[Shape]) -> int:
    """Count the numbers that come at a step."""
    return sum(math.prod(shape[1:] if len(shape) > 1 else shape) for shape in shapes)
