"""Multinomial: torch's, which also keeps what it was made of."""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def multinomial() -> Any:  # Any: the base class is torch's, which is not imported before it is needed
    """Define the class, once."""
    import torch
    from torch import Tensor

    class Multinomial(torch.distributions.Multinomial):
        """torch's own normalises the logits in their own precision; n of them, summed, show what was rounded."""

        def __init__(
            self,
            total_count: int,
            probs: Tensor | None = None,
            logits: Tensor | None = None,
            validate_args: bool | None = None,
        ) -> None:
            super().__init__(total_count, probs, logits, validate_args)
            self.given_probs, self.given_logits = probs, logits

        def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
            assert _instance is None
            made: Any = super().expand(batch_shape, Multinomial.__new__(Multinomial))  # type: ignore[no-untyped-call]
            wide = (*batch_shape, *self.event_shape)
            made.given_probs, made.given_logits = (
                None if each is None else each.expand(wide) for each in (self.given_probs, self.given_logits)
            )
            return made

    return Multinomial
