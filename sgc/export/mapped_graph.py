"""The graph of one row, mapped over the rows of a batch, operation by operation.

Most operations torch maps itself. Those that work on a batch, as convolutions do, it maps over a number of rows that it
takes for fixed: here the rows go into the axis of the batch, and out of it again, and their number stays a symbol.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap
from torch.fx import GraphModule, Interpreter
from torch.utils._pytree import tree_flatten, tree_unflatten

aten = torch.ops.aten
BATCHES: dict[Any, int] = {  # operations on a batch: how many of their arguments, the first ones, have it in front
    aten.convolution.default: 1,
    aten.max_pool2d_with_indices.default: 1,
    aten.avg_pool2d.default: 1,
    aten._adaptive_avg_pool2d.default: 1,
    aten.adaptive_max_pool2d.default: 1,
    aten.upsample_nearest1d.default: 1,
    aten.upsample_nearest2d.default: 1,
    aten.pixel_shuffle.default: 1,
    aten.native_layer_norm.default: 1,
    aten.group_norm.default: 1,
    aten.grid_sampler_2d.default: 2,
}


@dataclass(frozen=True)
class _Value:
    """What a node of the graph gives: tensors of one row, or, `by_row`, of all rows, [B, *shape]."""

    content: Any  # Any: a tensor or several
    by_row: bool


def mapped(graph: GraphModule, shared: Sequence[Tensor], rows: Sequence[Tensor]) -> list[Tensor]:
    """Compute a graph for B rows. shared: its first inputs, of all rows; rows: the others, [B, *shape]."""
    count = rows[0].shape[0]
    given = [_Value(tensor, False) for tensor in shared] + [_Value(tensor, True) for tensor in rows]
    values = _Mapping(graph).run(*given)
    return [v.content if v.by_row else v.content.expand(count, *v.content.shape) for v in values]


class _Mapping(Interpreter):
    """Runs a graph on such values."""

    def call_function(self, target: Any, args: Any, kwargs: Any) -> _Value:  # Any: of torch
        """Compute an operation, for the rows at once where one of its arguments is by row."""
        if target is operator.getitem:
            return _Value(args[0].content[args[1]], args[0].by_row)
        leaves, form = tree_flatten((args, kwargs))
        values = [leaf.content if isinstance(leaf, _Value) else leaf for leaf in leaves]
        axes = [0 if isinstance(leaf, _Value) and leaf.by_row else None for leaf in leaves]

        def computed(given: Sequence[object]) -> Any:  # Any: a tensor or several
            args, kwargs = tree_unflatten(given, form)
            return target(*args, **kwargs)

        if all(axis is None for axis in axes):
            return _Value(computed(values), False)
        if target in BATCHES:
            size = BATCHES[target]
            assert all(axis is None for axis in axes[size:]), "weights that differ by row"
            count, inner = next((v.shape[0], v.shape[1]) for v, axis in zip(values, axes, strict=True) if axis == 0)
            batches = [
                (value.expand(count, *value.shape) if axis is None else value).flatten(0, 1)
                for value, axis in zip(values[:size], axes, strict=False)
            ]
            made = computed([*batches, *values[size:]])
            tensors = made if isinstance(made, tuple) else (made,)
            parted = tuple(tensor.unflatten(0, (count, inner)) for tensor in tensors)
            return _Value(parted if isinstance(made, tuple) else parted[0], True)
        places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, _Value)]

        def of_row(*tensors: Tensor) -> Any:  # Any: a tensor or several
            given = dict(zip(places, tensors, strict=True))
            return computed([given.get(place, value) for place, value in enumerate(values)])

        return _Value(vmap(of_row, tuple(axes[p] for p in places))(*(values[p] for p in places)), True)


def grid_of(rows: Tensor, height: int, width: int) -> Tensor:
    """Give the places that affine maps `rows` [n, 2, 3] send the middles of pixels to: [n, height, width, 2]."""
    x, y = ((2 * torch.arange(side, dtype=rows.dtype) + 1) / side - 1 for side in (width, height))
    across, down, shift = rows.unsqueeze(1).unsqueeze(1).unbind(-1)  # [n, 1, 1, 2] each
    return across * x.view(1, 1, width, 1) + down * y.view(1, height, 1, 1) + shift
