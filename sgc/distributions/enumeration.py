"""The whole finite support of an event."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def enumerate_product(values: Tensor, event: tuple[int, ...]) -> Tensor:
    """Give every assignment of elementary values to the elements of an event, the last element running fastest.

    values: (k, *elementary) -> (k^n, *event), where event is n elements of the elementary shape.
    """
    import torch

    elementary = values.shape[1:]
    elements = math.prod(event[: len(event) - len(elementary)])
    size = values.shape[0]
    place = size ** torch.arange(elements - 1, -1, -1, device=values.device)
    digits = torch.arange(size**elements, device=values.device)[:, None] // place % size
    return values[digits].reshape(-1, *event)
