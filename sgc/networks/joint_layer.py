"""A layer that takes several inputs at once, where it is the first of a network; abstract."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sgc.distributions.supports import REAL, Support
from sgc.networks.layer import Layer, Shape

if TYPE_CHECKING:
    from torch import nn


class Joining(Layer):
    """Takes a tensor [R, *shape] for each parent, rows in step; abstract."""

    @abstractmethod
    def joined_shape(self, shapes: Sequence[Shape]) -> Shape:
        """Return the shape it makes of inputs of these shapes. Raises: ShapeFault."""

    @abstractmethod
    def joined_count(self, shapes: Sequence[Shape]) -> int:
        """Count its parameters on inputs of these shapes."""

    @abstractmethod
    def joining_module(self, shapes: Sequence[Shape]) -> nn.Module:
        """Build it: a module of as many arguments, [R, *shape] each."""

    def joined_range(self, shapes: Sequence[Shape], incoming: Sequence[Support]) -> Support:
        """Say where every number lies that it makes of inputs in `incoming`: anywhere, unless a layer says better."""
        return REAL

    def output_shape(self, shape: Shape) -> Shape:
        return self.joined_shape([shape])

    def parameter_count(self, shape: Shape) -> int:
        return self.joined_count([shape])

    def module(self, shape: Shape) -> nn.Module:
        return self.joining_module([shape])
