"""How the rows of a batch are shared out over processes, and where a process's own rows lie in a tensor.

Of B rows over W processes each has as many, max(2, ⌈B/W⌉): the last ones repeat the last row, and these copies count
nothing. So every process computes on the same shapes, whatever B is, and a dimension of size 1 is never that of rows,
unless there is one row in all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sgc.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Sharing:
    """Over how many processes rows are shared out, and which of them this is, from 0."""

    rank: int
    size: int

    def of(self, count: int) -> RowShare:
        """Give the share of this process in so many rows."""
        return _share(count, self.rank, self.size)


@lru_cache(maxsize=1024)
def _share(count: int, rank: int, size: int) -> RowShare:
    return RowShare(count, rank, size)


@dataclass(frozen=True)
class RowShare:
    """The rows of a batch that one of several processes has.

    count: of all rows.
    """

    count: int
    rank: int
    size: int

    @property
    def rows(self) -> int:
        """How many rows each process has, copies included."""
        return 1 if self.count == 1 else max(2, -(-self.count // self.size))

    @property
    def real(self) -> int:
        """How many of them, from the first on, are no copies."""
        return max(0, min(self.rows, self.count - self.rank * self.rows))

    @cached_property
    def places(self) -> np.ndarray:
        """The place of each in the whole batch."""
        return np.minimum(np.arange(self.rows) + self.rank * self.rows, self.count - 1)

    @cached_property
    def counting(self) -> np.ndarray:
        """1.0 for rows that count, 0.0 for copies."""
        return (np.arange(self.rows) < self.real).astype(float)

    def own(self, places: np.ndarray) -> np.ndarray:
        """Give, of places in the whole batch, those of this process by their place here."""
        here = places - self.rank * self.rows
        return here[(here >= 0) & (here < self.real)]


Part = tuple[tuple[int, ...], RowShare]  # the leading shape of a group here, rows last, and its share


class Found(NamedTuple):
    """Where rows lie in a tensor: leading dimensions from `axis` on, here and in the tensor of all rows.

    flat: the dimensions are one, of which each row has a piece.
    """

    axis: int
    here: tuple[int, ...]
    whole: tuple[int, ...]
    layout: RowLayout
    flat: bool = False


class RowLayout:
    """The leading dimensions that the rows of a process have, and those that all rows would have.

    Of one group they are its own, `[*enumerated, S, B]`; of several that meet a network, one dimension of all rows, one
    group after the other.
    """

    def __init__(self, parts: Sequence[Part], *, joined: bool) -> None:
        """Lay parts out. joined: their leading dimensions are one."""
        self.parts = tuple(parts)
        self.joined = joined
        self.here = (sum(math.prod(leading) for leading, _ in parts),) if joined else parts[0][0]

    def _whole_of(self, part: Part) -> tuple[int, ...]:
        leading, share = part
        return leading if self._is_constant(part) else (*leading[:-1], share.count)

    @staticmethod
    def _is_constant(part: Part) -> bool:
        """Tell whether a part does not vary over rows: every process has all of it."""
        leading, share = part
        return leading[-1] != share.rows or share.count == 1

    @cached_property
    def whole(self) -> tuple[int, ...]:
        """The leading dimensions of all rows."""
        shapes = [self._whole_of(part) for part in self.parts]
        return (sum(map(math.prod, shapes)),) if self.joined else shapes[0]

    @cached_property
    def _places(self) -> np.ndarray:
        """The place of each element here among those of all rows."""
        places, start = [], 0
        for part in self.parts:
            share, shape = part[1], self._whole_of(part)
            own = np.arange(math.prod(shape)).reshape(-1, shape[-1])
            own = own if self._is_constant(part) else own[:, share.places]
            places.append(start + own.reshape(-1))
            start += math.prod(shape)
        return np.concatenate(places)

    @cached_property
    def index(self) -> Tensor:
        """The same as a tensor of integers."""
        return _tensor(self._places)

    @cached_property
    def order(self) -> Tensor:
        """For each element of all rows its place in what all processes have, one after the other."""
        size, number = self.parts[0][1].size, math.prod(self.here)
        places = np.concatenate([RowLayout(self._of(rank), joined=self.joined)._places for rank in range(size)])
        order = np.full(math.prod(self.whole), -1)
        order[places[::-1]] = np.arange(size * number)[::-1]  # the first that has it: no copy
        return _tensor(order)

    def _of(self, rank: int) -> list[Part]:
        return [(leading, RowShare(share.count, rank, share.size)) for leading, share in self.parts]

    @cached_property
    def counting(self) -> Tensor:
        """What each element here counts, so that each of all rows counts 1 in the sum over processes."""
        counts = []
        for part in self.parts:
            leading, share = part
            of_row = np.full(leading[-1], 1 / share.size) if self._is_constant(part) else share.counting
            counts.append(np.tile(of_row, math.prod(leading[:-1])))
        return _tensor(np.concatenate(counts))

    def find(self, shape: Sequence[int]) -> Found | None:
        """Find the rows in a shape; None where it does not vary over them. Raises: UsageError."""
        shape, here = tuple(shape), self.here
        rank, rows = len(here), here[-1]
        for axis in (0, 1):
            if shape[axis : axis + rank] == here:
                return Found(axis, here, self.whole, self)
        aligned = rank > 1 and len(shape) >= rank and shape[rank - 1] == rows > 1
        if aligned and all(own and full % own == 0 for own, full in zip(shape, here[:-1], strict=False)):
            smaller = RowLayout([(shape[:rank], self.parts[0][1])], joined=False)  # as where a draw is for two samples
            return Found(0, smaller.here, smaller.whole, smaller)
        number = math.prod(here)
        if shape and shape[0] and shape[0] % number == 0 and number > 1:
            return Found(0, here, self.whole, self, flat=True)
        if rows > 1 and rows in shape and not all(map(self._is_constant, self.parts)):
            raise UsageError(
                f"the rows of a batch cannot be found in what is drawn, of the shape {list(shape)}: with several "
                f"processes an own layer or distribution has to draw with rows first, {list(here)} and what is more"
            )
        return None


def _tensor(values: np.ndarray) -> Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(values))


@lru_cache(maxsize=1024)
def layout_of(parts: tuple[Part, ...], *, joined: bool) -> RowLayout:
    """Give the layout of parts, made once."""
    return RowLayout(parts, joined=joined)


_layout: ContextVar[RowLayout | None] = ContextVar("row_layout", default=None)
_groups: ContextVar[Sequence[RowShare | None]] = ContextVar("shares_of_groups", default=())


def current_layout() -> RowLayout | None:
    """Give where rows lie in what is computed now; None where they are not shared out."""
    return _layout.get()


@contextmanager
def rows_in(leading: Sequence[int], share: RowShare | None) -> Iterator[None]:
    """Say of the block that what it draws has these leading dimensions, the rows' last."""
    token = _layout.set(None if share is None else layout_of(((tuple(leading), share),), joined=False))
    try:
        yield
    finally:
        _layout.reset(token)


@contextmanager
def rows_not_shared() -> Iterator[None]:
    """Say of the block that what it draws has all rows, or none."""
    token = _layout.set(None)
    try:
        yield
    finally:
        _layout.reset(token)


@contextmanager
def rows_of_groups(shares: Sequence[RowShare | None]) -> Iterator[None]:
    """Say of the block which shares the groups have that meet a network, in their order."""
    token = _groups.set(shares)
    try:
        yield
    finally:
        _groups.reset(token)


@contextmanager
def rows_joined(leading: Sequence[Sequence[int]]) -> Iterator[None]:
    """Say of the block that it computes on the joined rows of groups with these leading dimensions."""
    shares = _groups.get()
    parts = tuple(
        (tuple(shape), share) for shape, share in zip(leading, shares, strict=bool(shares)) if share is not None
    )
    token = _layout.set(layout_of(parts, joined=True) if parts else None)
    try:
        yield
    finally:
        _layout.reset(token)


def groups_are_shared() -> bool:
    """Tell whether the groups that meet a network now have shares."""
    return any(share is not None for share in _groups.get())


def everywhere(flags: Tensor) -> bool:
    """Tell whether all are true, in the rows of all processes."""
    import torch

    if current_layout() is None:
        return bool(flags.all())
    return bool(torch.ops.sgc.summed(flags.logical_not().sum().double()) == 0)
