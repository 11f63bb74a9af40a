"""A function of one row -> a program of torch.export for any number of rows, compared with the model before it is kept.

The function is traced by torch on example rows, below autograd, so that the graph holds operations alone; then it is
mapped over the rows. A trace can only repeat what Python decided by values: where rows decide differently there is no
such graph, and the model is refused.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functionalize
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx

from sgc.errors import ParameterError, RunError, UsageError
from sgc.export.mapped_graph import grid_of, mapped
from sgc.export.noise import Draw, DrawnFromNoise
from sgc.export.row_functions import RowFunction
from sgc.runtime.modes import evaluating, on_the_cpu

CLOSE = 1e-4  # relative and absolute, in float32: kernels for one row and for many add up in other orders
ROUNDED = 1e-3  # the share of whole numbers drawn that may round to the one beside it, for that reason


@dataclass
class Program:
    """A graph for any number of rows, with the names of what it takes and gives, in their order.

    `example`: the rows that it was compared on, cells and then noise; `difference`: the largest found, of 1 + |value|.
    """

    exported: torch.export.ExportedProgram
    inputs: list[str]
    noise: dict[str, Draw]
    outputs: list[str]
    example: dict[str, Tensor] = field(repr=False)
    expected: dict[str, Tensor] = field(repr=False)
    difference: float = 0.0


class _Rows(nn.Module):
    """The graph of one row, mapped over rows: inputs and outputs by name, [B, *shape]."""

    def __init__(
        self,
        graph: GraphModule,
        weights: Sequence[Tensor],
        cells: Sequence[str],
        noise: Mapping[str, Draw],
        outputs: Sequence[str],
        types: Mapping[str, torch.dtype],
    ) -> None:
        super().__init__()
        self.weights, self.types = len(weights), dict(types)
        for i, weight in enumerate(weights):
            self.register_buffer(f"weight_{i}", weight.detach())
        # not `graph`, which the exported module has itself
        self.of_row, self.cells, self.noise, self.outputs = graph, tuple(cells), dict(noise), tuple(outputs)

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        inputs = {name: _typed(inputs[name], kind) for name, kind in self.types.items()}
        given = [inputs[name].unsqueeze(1) for name in self.cells]
        weights = [self.get_buffer(f"weight_{i}") for i in range(self.weights)]
        rows = [*given, *(inputs[name].reshape(-1, *draw.shape) for name, draw in self.noise.items())]
        values = mapped(self.of_row, weights, rows)
        return {name: value.squeeze(1) for name, value in zip(self.outputs, values, strict=True)}


def _typed(value: Tensor, kind: torch.dtype) -> Tensor:
    """Copy a tensor to a type: unlike `to`, the copy stands in the graph, which then takes numbers of any type."""
    typed: Tensor = torch.ops.aten._to_copy.default(value, dtype=kind)
    return typed


def program_of(function: RowFunction, rows: Sequence[Tensor], count: int) -> Program:
    """Trace a function on `count` example rows, [count, *shape] of each cell, and compare the program with it.

    Raises: UsageError for what no graph can hold; RunError where the program computes something else.
    """
    model = function.model
    with torch.no_grad(), on_the_cpu(), evaluating(model):
        done = [_run(function, [cells[i : i + 1] for cells in rows]) for i in range(count)]
        first, mode = done[0]
        if any(_decisions(other) != _decisions(mode) for _, other in done):
            raise UsageError(
                "what the model computes of a row depends on the row's own values (steps or labels that are there in "
                "some rows alone): a graph computes the same of every row"
            )
        names = list(first)
        if not names:
            raise UsageError("every node is given, or observed in every row: nothing is left for a graph to compute")

        def of_row(*tensors: Tensor) -> list[Tensor]:
            replay = DrawnFromNoise(model.like, given=tensors[len(rows) :], answers=mode.read)
            outputs = function(tensors[: len(rows)], replay)
            return [outputs[name] for name in names]

        tensors = [*(cells[:1] for cells in rows), *mode.taken]
        traced = make_fx(of_row)(*tensors)
        weights = _lifted(traced)
        graph = make_fx(functionalize(traced))(*weights, *tensors)
        _reworded(graph)
        used = _drop_unread(graph, len(weights) + len(rows))
        draws = _named([mode.draws[place] for place in used], {*function.cells, *names})
        by_row = [[other.taken[place] for _, other in done] for place in used]
        noise = [torch.stack(n).reshape(count, *draw.short) for n, draw in zip(by_row, draws.values(), strict=True)]
        example = dict(zip([*function.cells, *draws], [*rows, *noise], strict=True))
        types = {name: value.dtype for name, value in example.items()}
        exported = _exported(_Rows(graph, weights, list(function.cells), draws, names, types), example)
        expected = {name: torch.cat([outputs[name] for outputs, _ in done]) for name in names}
        program = Program(exported, list(function.cells), draws, names, example, expected)
        program.difference = _difference(exported.module()(example), expected, function.whole)
    if program.difference > CLOSE:
        raise RunError(f"the exported graph differs from the model by {program.difference:.2g} of a value")
    return program


def _decisions(mode: DrawnFromNoise) -> list[bool]:
    """Give what Python decided by values; other numbers it reads to check them, and the comparison holds them."""
    return [answer for answer in mode.read if isinstance(answer, bool)]


def _run(function: RowFunction, row: Sequence[Tensor]) -> tuple[dict[str, Tensor], DrawnFromNoise]:
    mode = DrawnFromNoise(function.model.like)
    try:
        return function(row, mode), mode
    except ParameterError as problem:
        raise UsageError(f"{problem}: give its value instead, or leave the node out of what is exported") from None


def _lifted(graph: GraphModule) -> list[Tensor]:
    """Make the constants of a graph what it takes first, and give them.

    Else what is made in the likeness of one could not be written into, where writing is taken out.
    """
    first = next(iter(graph.graph.nodes))
    constants: dict[str, Node] = {}
    for node in [node for node in graph.graph.nodes if node.op == "get_attr"]:
        if node.target not in constants:
            with graph.graph.inserting_before(first):
                constants[node.target] = graph.graph.placeholder(f"constant_{len(constants)}")
        node.replace_all_uses_with(constants[node.target])
        graph.graph.erase_node(node)
    graph.recompile()
    return [getattr(graph, name) for name in constants]


def _reworded(graph: GraphModule) -> None:
    """Say in other operations what torch maps over a fixed number of rows: copies, one-hot vectors, new tensors.

    An operation that fails in a graph leaves torch within its map over rows, and whatever the process does next fails.
    """
    aten = torch.ops.aten
    for node in list(graph.graph.nodes):
        if node.target in (aten.view.default, aten._unsafe_view.default, aten.reshape.default):
            node.args = (node.args[0], list(node.meta["val"].shape))  # an axis of -1 has no size in a batch of no rows
        with graph.graph.inserting_before(node):
            if node.target is aten.copy.default:
                other = _copied(graph, *node.args[:2])
            elif node.target is aten.scatter.value and node.args[0].target is aten.zeros.default:
                zeros, axis, index, one = node.args
                value = zeros.meta["val"]
                if axis not in (-1, value.dim() - 1) or one != 1 or index.meta["val"].shape[-1] != 1:
                    continue
                places = graph.graph.call_function(aten.arange.default, (value.shape[-1],), {"device": value.device})
                same = graph.graph.call_function(aten.eq.Tensor, (index, places))
                other = graph.graph.call_function(aten._to_copy.default, (same,), {"dtype": value.dtype})
                other.meta["val"] = value
            elif node.target in (aten.new_zeros.default, aten.new_ones.default, aten.new_full.default):
                number = {aten.new_zeros.default: 0, aten.new_ones.default: 1}
                filler = number[node.target] if node.target in number else node.args[2]
                value = node.meta["val"]
                how = {"dtype": value.dtype, "device": value.device}
                other = graph.graph.call_function(aten.full.default, (list(value.shape), filler), how)
                other.meta["val"] = value
            elif node.target is operator.getitem and node.args[0].target is aten.native_batch_norm.default:
                if node.args[1] != 0:
                    continue
                batch, weight, bias, _, _, of_batch, _, least = node.args[0].args
                channels = batch.meta["val"].shape[1]
                if of_batch:  # of one row: of each of its channels by itself
                    other = _grouped(graph, node, batch, channels, weight, bias, least)
                else:
                    other = _normed(graph, node)
            elif node.target is operator.getitem and node.args[0].target is aten.native_group_norm.default:
                if node.args[1] != 0:
                    continue
                batch, weight, bias, _, _, _, groups, least = node.args[0].args
                other = _grouped(graph, node, batch, groups, weight, bias, least)
            elif node.target is aten.affine_grid_generator.default and not node.args[2]:
                other = graph.graph.call_function(grid_of, (node.args[0], *node.args[1][2:]))
                other.meta["val"] = node.meta["val"]
            elif node.target in (aten.cat.default, aten.stack.default):
                other = _joined(graph, node)
            else:
                continue
        node.replace_all_uses_with(other)
        graph.graph.erase_node(node)


def _grouped(graph: GraphModule, node: Node, *given: Any) -> Node:  # Any: the arguments of an operation
    """Give what a group norm gives, whose arguments say nothing of how many rows there are."""
    result = graph.graph.call_function(torch.ops.aten.group_norm.default, (*given, False))
    result.meta["val"] = node.meta["val"]
    return result


def _normed(graph: GraphModule, node: Node) -> Node:
    """Give what a batch norm gives in evaluation: (x − mean) / √(var + ε) · weight + bias, by channel."""
    aten, call = torch.ops.aten, graph.graph.call_function
    norm: Any = node.args[0]  # Any: the arguments of an operation
    source, weight, bias, mean, variance, _, _, least = norm.args
    value = node.meta["val"]
    channels = [1, -1, *[1] * (value.dim() - 2)]

    def laid(by_channel: Node) -> Node:
        return call(aten.view.default, (by_channel, channels))

    deviation = call(aten.sqrt.default, (call(aten.add.Scalar, (laid(variance), least)),))
    result = call(aten.div.Tensor, (call(aten.sub.Tensor, (source, laid(mean))), deviation))
    result = result if weight is None else call(aten.mul.Tensor, (result, laid(weight)))
    result = result if bias is None else call(aten.add.Tensor, (result, laid(bias)))
    result.meta["val"] = value
    return result


def _joined(graph: GraphModule, node: Node) -> Node:
    """Give tensors one behind the other, or side by side, as the sum of each among zeros.

    torch maps joining over a number of rows that it takes for fixed, and padding over any.
    """
    aten, call = torch.ops.aten, graph.graph.call_function
    given: Any = node.args  # Any: the arguments of an operation
    value, parts = node.meta["val"], given[0]
    axis: int = (given[1] if len(given) > 1 else 0) % value.dim()
    behind = 2 * (value.dim() - 1 - axis)  # places of the pads of later axes
    add = aten.logical_or.default if value.dtype == torch.bool else aten.add.Tensor
    start, total = 0, None
    for part in parts:
        size = part.meta["val"].shape
        if node.target is aten.stack.default:
            part, size = call(aten.unsqueeze.default, (part, axis)), (*size[:axis], 1, *size[axis:])
        elif tuple(size) == (0,):
            continue  # which aten takes for nothing, whatever the others' shapes
        pads = [*[0] * behind, start, value.shape[axis] - start - size[axis]]
        padded = call(aten.constant_pad_nd.default, (part, pads, 0))
        total = padded if total is None else call(add, (total, padded))
        start += size[axis]
    assert total is not None
    total.meta["val"] = value
    return total


def _copied(graph: GraphModule, into: Node, source: Node) -> Node:
    """Give what is copied, in the type and shape of what it is copied into."""
    value, wanted = source.meta["val"], into.meta["val"]
    if value.dtype != wanted.dtype:
        source = graph.graph.call_function(torch.ops.aten._to_copy.default, (source,), {"dtype": wanted.dtype})
    if value.shape != wanted.shape:
        source = graph.graph.call_function(torch.ops.aten.expand.default, (source, list(wanted.shape)))
    source.meta["val"] = wanted
    return source


def _drop_unread(graph: GraphModule, cells: int) -> list[int]:
    """Take noise that no output depends on out of a graph; give the places of the noise that is left."""
    graph.graph.eliminate_dead_code()
    noise = [node for node in graph.graph.nodes if node.op == "placeholder"][cells:]
    kept = [place for place, node in enumerate(noise) if node.users]
    for node in noise:
        if not node.users:
            graph.graph.erase_node(node)
    graph.recompile()
    return kept


def _named(draws: Sequence[Draw], taken: Collection[str]) -> dict[str, Draw]:
    """Name noise by what it is for, `noise_z`, or by its place, `noise_1`; all names differ."""
    named: dict[str, Draw] = {}
    for place, draw in enumerate(draws, start=1):
        name = f"noise_{re.sub(r'[^A-Za-z0-9_]', '_', draw.of) or place}"
        while name in named or name in taken:
            name += "_"
        named[name] = draw
    return named


def _exported(module: nn.Module, example: dict[str, Tensor]) -> torch.export.ExportedProgram:
    rows = torch.export.Dim("rows", min=1)
    try:
        exported = torch.export.export(
            module, (example,), dynamic_shapes=({name: {0: rows} for name in example},), strict=False
        )
    except Exception as problem:  # torch raises many kinds of errors for what it cannot trace
        words = str(problem).strip().partition("\n")[0] or type(problem).__name__
        if words.startswith("Constraints violated"):
            words = "an operation of it takes the number of rows for fixed"
        raise UsageError(f"torch cannot export the model's graph ({words})") from None
    for node in exported.graph.nodes:  # where the operations were called from, which are paths of this machine
        node.meta.pop("stack_trace", None)
    return exported


def _difference(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], whole: Collection[str] = ()) -> float:
    """Give the largest difference of two results, relative to 1 + |value|; NaN must be where NaN is.

    |value|: or, if larger, its mean over rows, for what is added up to near zero keeps the rounding of its parts.

    whole: results of draws of whole numbers, of which a few may have been rounded to the one beside it.
    """
    most = 0.0
    for name, wanted in expected.items():
        value = found[name]
        if value.dtype != wanted.dtype or not bool((value.isnan() == wanted.isnan()).all()):
            return float("inf")
        size = wanted.double().abs().nan_to_num(0)
        size = size.maximum(size.mean(0, keepdim=True))
        apart = ((value.double() - wanted.double()).abs() / (1 + size)).nan_to_num(0).flatten()
        if name in whole:
            apart = apart.sort().values[: len(apart) - int(ROUNDED * len(apart))]
        most = max(most, float(apart.max()) if apart.numel() else 0.0)
    return most
