"""Modules with numbers that move over the epochs: at an epoch they take the values of their schedules there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from sgc.schedules import Number, Schedule

if TYPE_CHECKING:
    from torch import Tensor, nn


class Moving(ABC):
    """A part of a model that holds numbers which move over the epochs; abstract."""

    @property
    def moves(self) -> bool:
        """Whether it holds any number that moves."""
        return True

    @abstractmethod
    def stand_at(self, epoch: float) -> None:
        """Take the values of an epoch (a fraction is a place within one)."""


def dropout(kind: str, p: Number) -> nn.Module:
    """Build a dropout whose probability may move. kind: its class in `torch.nn`."""
    from torch import nn

    if not isinstance(p, Schedule):
        fixed: nn.Module = getattr(nn, kind)(p)
        return fixed

    schedule = p

    class MovingDropout(nn.Module, Moving):
        def __init__(self) -> None:
            super().__init__()
            self.inner = getattr(nn, kind)(schedule.start)

        def stand_at(self, epoch: float) -> None:
            self.inner.p = schedule.at(epoch)

        def forward(self, rows: Tensor) -> Tensor:
            dropped: Tensor = self.inner(rows)
            return dropped

    return MovingDropout()
