"""What networks read of a value: itself, log(1 + value), an angle's cosine and sine, levels around 0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from sgc.distributions.discretized_logistic import centred

if TYPE_CHECKING:
    from torch import Tensor


@final
@dataclass(frozen=True)
class View:
    """A way to read values.

    word: what is read, in words. look: (values [*leading, *event], the largest value of an element) ->
    [*leading, *event, *behind]. ends: the bounds of the numbers that it gives; None: those of the values.
    """

    word: str
    look: Callable[[Tensor, float], Tensor]
    ends: tuple[float, float] | None = None
    behind: tuple[int, ...] = ()

    def shape(self, event: tuple[int, ...]) -> tuple[int, ...]:
        """Give the shape of what is read of an event."""
        return (*event, *self.behind)


def _as_it_is(value: Tensor, largest: float) -> Tensor:
    return value


def _log1p(value: Tensor, largest: float) -> Tensor:
    return value.log1p()


def _circular(value: Tensor, largest: float) -> Tensor:
    import torch

    return torch.stack([value.cos(), value.sin()], -1)


def _centred(value: Tensor, largest: float) -> Tensor:
    return centred(value, int(largest) + 1)


VALUE = View("itself", _as_it_is)
LOG1P = View("log(1 + value)", _log1p, (0.0, float("inf")))
CIRCULAR = View("cosine and sine", _circular, (-1.0, 1.0), (2,))
CENTRED = View("levels around 0", _centred, (-1.0, 1.0))


def flagged_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Give the shape of a view with its flags: its first axis is twice as long; a scalar and its flag are a vector."""
    return (2 * (shape[0] if shape else 1), *shape[1:])


def with_flags(view: Tensor, present: Tensor, dims: int) -> Tensor:
    """Set a view to 0 where elements are missing, and put as many flags behind it: 1 where one is present.

    Both are side by side on the first axis of the view's `dims`, so that a picture keeps its rows and columns.

    view: [*leading, *shape]; present: booleans [*leading, *elements] -> [*leading, *flagged_shape(shape)].
    """
    import torch

    flags = present.reshape(*present.shape, *(1,) * (view.dim() - present.dim())).expand(view.shape)
    both = [torch.where(flags, view, 0.0), flags.to(view.dtype)]
    return torch.cat(both, -dims) if dims else torch.stack(both, -1)
