"""What networks read of a value: it as it is, log(1 + value), an angle's cosine and sine, levels around 0."""

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

    look: (values [*leading, *event], the largest that an element may be) -> [*leading, *event, *behind]. ends: between
    which numbers all lie that it gives; None: where the values do.
    """

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


VALUE = View(_as_it_is)
LOG1P = View(_log1p, (0.0, float("inf")))
CIRCULAR = View(_circular, (-1.0, 1.0), (2,))
CENTRED = View(_centred, (-1.0, 1.0))
