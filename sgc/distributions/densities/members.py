"""A member of a family as formulas read it: its parameters in float64."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.distributions import Distribution


def widen(value: Tensor) -> Tensor:
    """Give a tensor in float64, where its device has that."""
    return value.float() if value.device.type == "mps" else value.double()


@final
class Member:
    """A distribution whose parameters are read in float64, each converted once: gradients are summed, then rounded."""

    def __init__(self, own: Distribution) -> None:
        self.own = own
        self.types: set[torch.dtype] = set()  # of the parameters that were read

    def __getattr__(self, name: str) -> Tensor:
        """Convert a parameter when it is first read."""
        value: Tensor = getattr(self.own, name)
        self.types.add(value.dtype)
        wide = widen(value)
        setattr(self, name, wide)
        return wide

    def has(self, name: str) -> bool:
        """Tell whether the distribution was made of a parameter, or has computed it."""
        return vars(self.own).get(name) is not None

    @property
    def floats(self) -> torch.finfo:
        """The limits of the type that results have, see `narrow`."""
        import torch

        return torch.finfo(functools.reduce(torch.promote_types, self.types))

    def narrow(self, result: Tensor) -> Tensor:
        """Give a result the type that torch would give it, by the types of the parameters that were read."""
        import torch

        return result.to(functools.reduce(torch.promote_types, self.types)) if self.types else result
