"""How tensors see memory, and how several of them see it as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

Shape = tuple[int, ...]


@dataclass(frozen=True)
class View:
    """What a tensor sees of the memory that was made for another one, its root."""

    root: int
    shape: Shape
    stride: Shape
    offset: int

    @classmethod
    def of(cls, root: int, tensor: Tensor) -> View:
        """See memory as a tensor does."""
        return cls(root, tuple(tensor.shape), tuple(tensor.stride()), int(tensor.storage_offset()))

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def sees_as(self, other: View) -> bool:
        """Tell whether two views are the same; the stride of a dimension of one element does not matter."""
        return (
            self.root == other.root
            and self.shape == other.shape
            and self.offset == other.offset
            and all(n == 1 or a == b for n, a, b in zip(self.shape, self.stride, other.stride, strict=True))
        )

    @property
    def is_dense(self) -> bool:
        """Whether its elements lie one after the other."""
        return all(n == 1 or a == b for n, a, b in zip(self.shape, self.stride, dense(self.shape), strict=True))

    def expanded(self, shape: Shape) -> View:
        """See it at a shape that it broadcasts to: dimensions that it repeats have the stride 0."""
        missing = len(shape) - len(self.shape)
        sizes = (1,) * missing + self.shape
        strides = (0,) * missing + self.stride
        repeated = tuple(0 if n == 1 else s for n, s in zip(sizes, strides, strict=True))
        return View(self.root, shape, repeated, self.offset)

    def unexpanded(self) -> View:
        """See it without what it repeats: the smallest shape that broadcasts to its own."""
        shape = [1 if stride == 0 else n for n, stride in zip(self.shape, self.stride, strict=True)]
        first = next((place for place, n in enumerate(shape) if n != 1), len(shape))
        return View(self.root, tuple(shape[first:]), self.stride[first:], self.offset)

    def squeezed(self, dims: Sequence[bool]) -> View:
        """Leave out dimensions, those that are marked."""
        kept = [place for place, out in enumerate(dims) if not out]
        return View(self.root, tuple(self.shape[i] for i in kept), tuple(self.stride[i] for i in kept), self.offset)

    def reshaped(self, shape: Shape) -> View | None:
        """See the same elements in the same order at another shape; None where that would need a copy."""
        stride = _stride_at(self.shape, self.stride, shape)
        return None if stride is None else View(self.root, shape, stride, self.offset)


def dense(shape: Shape) -> Shape:
    """Give the strides of elements that lie one after the other."""
    strides: list[int] = []
    step = 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def _stride_at(shape: Shape, stride: Shape, wanted: Shape) -> Shape | None:
    """Work out the strides of a view at another shape of as many elements, chunk by chunk that lies evenly."""
    if shape == wanted:
        return stride
    found = [0] * len(wanted)
    place = len(wanted) - 1
    chunk = seen = 1
    base = stride[-1] if stride else 1
    for i in reversed(range(len(shape))):
        chunk *= shape[i]
        if i > 0 and (shape[i - 1] == 1 or stride[i - 1] == chunk * base):
            continue
        while place >= 0 and (seen < chunk or wanted[place] == 1):
            found[place] = seen * base
            seen *= wanted[place]
            place -= 1
        if seen != chunk:
            return None
        if i > 0:
            base, chunk, seen = stride[i - 1], 1, 1
    return tuple(found) if place < 0 or all(n == 1 for n in wanted[: place + 1]) else None


def one_after_the_other(
    pieces: Sequence[Sequence[View]], *, least: int = 0, most: int | None = None
) -> list[View] | None:
    """See operands of several operations as those of one, whose rows are theirs, one after the other.

    pieces: by operation, its operands, all at one shape. least, most: how many of the last dimensions stay, which are
    the same in all; those before become rows. As many as possible are tried first. None where memory does not lie so.
    """
    limit = min(len(operands[0].shape) for operands in pieces) - 1
    for last in range(limit if most is None else min(most, limit), least - 1, -1):
        flat = [_as_rows(operands, last) for operands in pieces]
        rows = [each for each in flat if each is not None]
        if len(rows) < len(pieces) or any(each[0].shape[1:] != rows[0][0].shape[1:] for each in rows):
            continue
        joined = [_stacked_rows(column) for column in zip(*rows, strict=True)]
        if all(each is not None for each in joined):
            return [each for each in joined if each is not None]
    return None


def _as_rows(operands: Sequence[View], kept: int) -> list[View] | None:
    shape = operands[0].shape
    lead = len(shape) - kept
    wanted = (math.prod(shape[:lead]), *shape[lead:])
    found = [each.reshaped(wanted) for each in operands]
    return None if any(each is None for each in found) else [each for each in found if each is not None]


def _stacked_rows(column: Sequence[View]) -> View | None:
    """Join what lies one after the other, or is one row repeated throughout."""
    if len(column) == 1:
        return column[0]
    first, rows = column[0], sum(each.shape[0] for each in column)
    step, offset = first.stride[0], first.offset
    if first.shape[0] == 1:
        step = column[1].offset - offset
        if step < 0:
            return None
    joined = View(first.root, (rows, *first.shape[1:]), (step, *first.stride[1:]), offset)
    for each in column:
        same = each.root == first.root and each.stride[1:] == first.stride[1:] and each.offset == offset
        if not same or (each.stride[0] != step and each.shape[0] > 1):
            return None
        offset += step * each.shape[0]
    return joined


def side_by_side(pieces: Sequence[Sequence[View]]) -> list[View] | None:
    """See operands of several operations of one shape as those of one, along a new first dimension.

    None where memory does not lie evenly.
    """
    if any(operands[0].shape != pieces[0][0].shape for operands in pieces):
        return None
    joined: list[View] = []
    for column in zip(*pieces, strict=True):
        first, step = column[0], column[1].offset - column[0].offset
        if step < 0 or any(each.root != first.root or each.stride != first.stride for each in column):
            return None
        if any(each.offset != first.offset + place * step for place, each in enumerate(column)):
            return None
        joined.append(View(first.root, (len(column), *first.shape), (step, *first.stride), first.offset))
    return joined
