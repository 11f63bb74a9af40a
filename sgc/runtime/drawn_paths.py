"""Draws whose gradient is multiplied by a weight that is known only later, and modules with parameters kept fixed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor, nn

from sgc.distributions.points import Point
from sgc.errors import RunError
from sgc.runtime.layout import Score


@dataclass(eq=False)
class PathWeight:
    """The weight of the draws of a node, [*enumerated, S, B], known only once the bound is."""

    event: int  # how many dimensions a value has
    there: Score | None = None  # the particles in which the node exists; None: all
    weight: Tensor | None = field(default=None)

    def watched(self, drawn: Point) -> Point:
        """Give the same draw for scoring; the gradient of what reads it is multiplied by the weight."""
        return Point(self._watched(drawn.value), tuple(map(self._watched, drawn.exact)))

    def _watched(self, value: Tensor) -> Tensor:
        if not value.requires_grad:
            return value
        watched = value.view_as(value)
        watched.register_hook(self._weigh)
        return watched

    def _weigh(self, gradient: Tensor) -> Tensor:
        assert self.weight is not None, "a gradient before the bound"
        return gradient * self.weight.reshape(*self.weight.shape, *(1,) * self.event).to(gradient.dtype)


@contextmanager
def frozen(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Keep the parameters of modules fixed inside the block; gradients still run through what the modules read.

    Raises: RunError where a module would not compute the same again: dropout and batch norm, while training.
    """
    parameters: list[nn.Parameter] = []
    for module in modules:
        for part in module.modules():
            noisy = isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0
            if part.training and (noisy or isinstance(part, nn.modules.batchnorm._BatchNorm)):
                name = type(part).__name__
                raise RunError(
                    f"gradient: dreg computes what q reads of a draw twice, and {name} gives another result "
                    "the second time"
                )
        parameters += [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
