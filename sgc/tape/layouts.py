"""At which shape each joined operation runs, so that few tensors have to be seen as another shape."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgc.tape.memory_views import Shape, View, dense
from sgc.tape.operations import BY_ROW, Kind, aten, heeds_place, writing_form
from sgc.tape.recording import Call, Slot
from sgc.tape.tape_graph import Graph, Node


class Layouts:
    """Chooses the shape of each operation from what is wanted of it, last to first, and writes the calls down."""

    def __init__(self, graph: Graph, lasting: Iterable[int], wanted: Sequence[int]) -> None:
        """Lay out a graph. kept: slots of inputs and constants. wanted: slots that are asked for, as recorded."""
        self.graph, self.nodes = graph, graph.ordered()
        for node in self.nodes:
            node.views = graph.views(node)
        self.tensors = [*graph.tensors, *(torch.empty(0) for _ in range(graph.next - len(graph.tensors)))]
        self.whole: dict[int, View] = {}  # how each root lies
        self.demands: dict[int, list[View]] = defaultdict(list)
        self.taken: dict[Node, list[View]] = {}
        self.summed_out: set[Node] = set()
        self.seen: dict[View, int] = {}  # slots of views that are no whole roots
        for slot in (*lasting, *(slot for node in self.nodes if node.kind is Kind.OTHER for slot in node.call.given)):
            if slot in graph.type and slot < len(graph.tensors):
                self.whole[slot] = View.of(slot, self.tensors[slot])
        for node in self.nodes:
            if node.kind is Kind.OTHER and node.call.given[0] >= len(graph.tensors):  # rows that were laid together
                self._lie(node.call.given[0], (sum(view.shape[0] for view in node.views),))
        for root, shape in graph.unmade().items():
            self._lie(root, shape)
        self.views = {slot: graph.seen(slot) for slot in wanted}
        for view in self.views.values():
            self.demands[view.root].append(view)
        for node in reversed(self.nodes):
            self._choose(node)
            for view in self.taken[node]:
                self.demands[view.root].append(view)

    def _lie(self, root: int, shape: Shape) -> None:
        self.whole[root] = View(root, shape, dense(shape), 0)
        kind, _ = self.graph.type[root]
        self.tensors[root] = torch.empty(shape, dtype=kind, device="meta")

    def devices(self) -> dict[int, torch.device]:
        """Give the devices of slots, those of views once these are written down."""
        own = {slot: device for slot, (_, device) in self.graph.type.items()}
        return own | {slot: own[view.root] for view, slot in self.seen.items()}

    # ---- which shape

    def _choose(self, node: Node) -> None:
        if node.into is not None:
            self.taken[node] = [*self._least(node, node.views, node.shape), node.into]
            return
        if node.kind is Kind.OTHER:
            self.taken[node] = node.views
            self._drop_summed(node)
            return
        (root,) = node.call.given
        best: tuple[int, Shape, list[View]] | None = None
        for shape in self._candidates(node, root):
            views = [view.reshaped(shape) for view in node.views]
            if any(view is None for view in views):
                continue
            operands = self._least(node, [view for view in views if view is not None], shape)
            out = _shape_of_result(node, shape)
            score = sum(1 for view in {*operands} if self._is_whole(view))
            score += sum(1 for view in {*self.demands[root]} if _lies_as(view, out))
            if best is None or score > best[0]:
                best = score, out, operands
        assert best is not None, "its own shape is one that it can run at"
        _, out, self.taken[node] = best
        self._lie(root, out)

    def _drop_summed(self, node: Node) -> None:
        """Leave the dimensions out that a sum is over, where nobody wants them."""
        if node.call.function is not aten.sum.dim_IntList or node.call.args[2:] != (True,) or node.call.kwargs:
            return
        (root,) = node.call.given
        rank = len(node.views[0].shape)
        summed = {dim % rank for dim in node.call.args[1]}
        shape = tuple(n for dim, n in enumerate(node.views[0].shape) if dim not in summed)
        if all(_lies_as(view, shape) for view in self.demands[root]):
            self.summed_out.add(node)
            self._lie(root, shape)

    def _candidates(self, node: Node, root: int) -> Iterator[Shape]:
        """List shapes that an operation may run at: its own, those that are wanted, those that its tensors have."""
        yield node.shape
        if node.kind is Kind.OF_ALL:
            for view in node.views:
                if view.root in self.whole and self.whole[view.root].size == view.size:
                    yield self.whole[view.root].shape
            return
        size, row = math.prod(node.shape), node.shape[-1:]
        for view in self.demands[root]:
            if node.kind is Kind.OF_ROWS:
                if view.is_dense and view.size * row[0] == size and view.shape and view.offset == 0:
                    yield (*view.shape, *row)
            elif view.is_dense and view.size == size and view.offset == 0 and self._keeps_row(node, view.shape):
                yield view.shape
        for view in node.views:
            whole = self.whole.get(view.root)
            if whole is not None and whole.size == size and self._keeps_row(node, whole.shape):
                yield whole.shape

    def _keeps_row(self, node: Node, shape: Shape) -> bool:
        if node.kind is Kind.ELEMENTWISE:
            return bool(shape)
        return len(shape) > 1 and shape[-1] == node.shape[-1]

    def _least(self, node: Node, views: list[View], shape: Shape) -> list[View]:
        """See operands without what they repeat, as long as together they still have the shape."""
        if node.kind is not Kind.ELEMENTWISE:
            return views
        lone = self.graph.lone(node)
        # beside a number of another type they keep their dimensions, by which they decide about the type of the result
        small = [
            view if any(lone) and not alone else view.unexpanded() for view, alone in zip(views, lone, strict=True)
        ]
        if np.broadcast_shapes(*(view.shape for view in small)) != shape:  # torch's imports sympy
            kind = self.graph.type[node.call.given[0]][0]
            first = next((i for i, view in enumerate(views) if self.graph.type[view.root][0] == kind), 0)
            small[first] = views[first]
        return small

    def _is_whole(self, view: View, *, exact: bool = False) -> bool:
        """Tell whether a view sees all of a root; exact: with the strides of dimensions of one element."""
        whole = self.whole.get(view.root)
        return whole is not None and (view == whole if exact else view.sees_as(whole))

    # ---- writing it down

    def calls(self) -> Iterator[Call]:
        """Write the operations down, with what they see of each other's results."""
        seen = self.seen
        for node in self.nodes:
            slots: list[Slot] = []
            exact = node.kind is Kind.OTHER and heeds_place(node.call.function)
            for view in self.taken[node]:
                yield from self._see(view, seen, exact=exact)
                slots.append(Slot(self._slot(view, seen, exact=exact)))
            yield self._written(node, slots)
        for view in self.views.values():
            yield from self._see(view, seen)
        self.places = {slot: self._slot(view, seen) for slot, view in self.views.items()}

    def _slot(self, view: View, seen: Mapping[View, int], *, exact: bool = False) -> int:
        return view.root if self._is_whole(view, exact=exact) else seen[view]

    def _see(self, view: View, seen: dict[View, int], *, exact: bool = False) -> Iterator[Call]:
        if self._is_whole(view, exact=exact) or view in seen:
            return
        seen[view] = slot = len(self.tensors)
        kind, _ = self.graph.type[view.root]
        self.tensors.append(_seen(view, kind))
        args = (Slot(view.root), view.shape, view.stride, view.offset)
        yield Call(aten.as_strided.default, args, {}, (slot,), several=False)

    def _written(self, node: Node, slots: list[Slot]) -> Call:
        rest = iter(slots)

        def put(value: Any) -> Any:  # Any: an argument of an operation
            if isinstance(value, Slot):
                return next(rest)
            return tuple(map(put, value)) if isinstance(value, tuple) else value

        call = node.call
        form = writing_form(call.function) if node.into is not None else None
        if form is not None:
            into = slots.pop()
            rest = iter(slots)
            kwargs = {key: put(value) for key, value in call.kwargs.items()}
            return Call(
                form.function, (*put(call.args), *form.more), {**kwargs, form.name: into}, call.given, call.several
            )
        args, kwargs = put(call.args), {key: put(value) for key, value in call.kwargs.items()}
        if node.kind is Kind.BY_ROW:
            place = BY_ROW[call.function]
            args = (*args[:place], -1, *args[place + 1 :])
        elif node.kind is Kind.OF_ROWS:
            args = (args[0], -1 if call.function is aten.all.dim else (-1,))
        elif node in self.summed_out:
            args = args[:2]
        return Call(call.function, args, kwargs, call.given, call.several)


def _shape_of_result(node: Node, shape: Shape) -> Shape:
    if node.kind is Kind.OF_ALL:
        return ()
    return shape[:-1] if node.kind is Kind.OF_ROWS else shape


def _lies_as(view: View, shape: Shape) -> bool:
    return view.shape == shape and view.is_dense and view.offset == 0


def _seen(view: View, kind: torch.dtype) -> Tensor:
    last = view.offset + sum((n - 1) * s for n, s in zip(view.shape, view.stride, strict=True))
    reach = 1 + last if view.size else view.offset
    return torch.empty(reach, dtype=kind, device="meta").as_strided(view.shape, view.stride, view.offset)
