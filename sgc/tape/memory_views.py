"""How tensors see memory, and how several of them see it as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Shape = tuple[int, ...]


Layout = tuple[torch.Size, Shape, int, torch.dtype]  # shape, strides, offset, type


def layout_of(tensor: Tensor) -> Layout:
    """Say how a tensor sees memory, and as which numbers."""
    return tensor.shape, tensor.stride(), int(tensor.storage_offset()), tensor.dtype


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
        left = [place for place, out in enumerate(dims) if not out]
        return View(self.root, tuple(self.shape[i] for i in left), tuple(self.stride[i] for i in left), self.offset)

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
    strides = [0] * len(wanted)
    place = len(wanted) - 1
    chunk = seen = 1
    base = stride[-1] if stride else 1
    for i in reversed(range(len(shape))):
        chunk *= shape[i]
        if i > 0 and (shape[i - 1] == 1 or stride[i - 1] == chunk * base):
            continue
        while place >= 0 and (seen < chunk or wanted[place] == 1):
            strides[place] = seen * base
            seen *= wanted[place]
            place -= 1
        if seen != chunk:
            return None
        if i > 0:
            base, chunk, seen = stride[i - 1], 1, 1
    return tuple(strides) if place < 0 or all(n == 1 for n in wanted[: place + 1]) else None


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
        rows = [joint for joint in flat if joint is not None]
        if len(rows) < len(pieces) or any(joint[0].shape[1:] != rows[0][0].shape[1:] for joint in rows):
            continue
        joined = [_stacked_rows(column) for column in zip(*rows, strict=True)]
        if all(joint is not None for joint in joined):
            return [joint for joint in joined if joint is not None]
    return None


def _as_rows(operands: Sequence[View], last: int) -> list[View] | None:
    shape = operands[0].shape
    lead = len(shape) - last
    wanted = (math.prod(shape[:lead]), *shape[lead:])
    views = [view.reshaped(wanted) for view in operands]
    return None if any(view is None for view in views) else [view for view in views if view is not None]


def _stacked_rows(column: Sequence[View]) -> View | None:
    """Join what lies one after the other, or is one row repeated throughout."""
    if len(column) == 1:
        return column[0]
    first, rows = column[0], sum(view.shape[0] for view in column)
    step, offset = first.stride[0], first.offset
    if first.shape[0] == 1:
        step = column[1].offset - offset
        if step < 0:
            return None
    joined = View(first.root, (rows, *first.shape[1:]), (step, *first.stride[1:]), offset)
    for view in column:
        same = view.root == first.root and view.stride[1:] == first.stride[1:] and view.offset == offset
        if not same or (view.stride[0] != step and view.shape[0] > 1):
            return None
        offset += step * view.shape[0]
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
        if step < 0 or any(view.root != first.root or view.stride != first.stride for view in column):
            return None
        if any(view.offset != first.offset + place * step for place, view in enumerate(column)):
            return None
        joined.append(View(first.root, (len(column), *first.shape), (step, *first.stride), first.offset))
    return joined
