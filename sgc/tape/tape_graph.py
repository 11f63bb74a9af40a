"""The operations of a tape as a graph: what each one takes, how that lies in memory, and what it has to follow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush
from itertools import pairwise

import torch
from torch import Tensor

from sgc.tape.memory_views import Shape, View
from sgc.tape.operations import (
    ALONE_IN_ORDER,
    BY_ROW,
    ELEMENTWISE,
    EMPTY,
    LONG,
    OF_ALL,
    OF_ROWS,
    OUT_OF_PLACE,
    UNEVEN,
    Kind,
    aten,
    heeds_place,
)
from sgc.tape.recording import NOTHING, Call, renamed


@dataclass(eq=False)
class Node:
    """One operation, before or after joining."""

    call: Call
    order: int  # among those that were recorded
    kind: Kind
    views: list[View]  # what its tensors see, in the order of its arguments
    shape: Shape = ()  # of the rows or elements that it computes
    after: set[Node] = field(default_factory=set)  # which it has to follow, though it takes nothing from them
    places_inputs: bool = False  # reads inputs from where they come, not from where it lays them
    joined: Node | None = None  # that does its work
    left_out: bool = False  # what it gives is there already
    steady: bool = False  # reads and writes nothing that changes
    into: View | None = None  # the piece of scratch memory that it writes into


class Graph:
    """The operations of a tape, as they are joined one by one."""

    def __init__(
        self,
        calls: Sequence[Call],
        inputs: Sequence[int],
        constants: Sequence[int],
        guards: Sequence[tuple[int, int]],
        outputs: Sequence[int],
        tensors: Sequence[Tensor],
    ) -> None:
        self.inputs, self.outputs, self.answers = set(inputs), set(outputs), dict(guards)
        self.tensors = list(tensors)  # as recorded, by slot
        self.next = len(tensors)  # the first slot that is free
        self.view: dict[int, View] = {}  # by slot
        self.type: dict[int, tuple[torch.dtype, torch.device]] = {}  # by slot
        self.home: dict[int, tuple[int, int]] = {}  # by root, the memory that it is a piece of, and where
        self.producer: dict[int, Node] = {}  # by root
        self.writers: dict[int, list[Node]] = {}  # by root that several operations write into, piece by piece
        self.users: dict[int, set[Node]] = defaultdict(set)  # by root
        self.fresh: set[int] = set()  # memory that is filled and then only read: noise
        self.joined: dict[int, Shape] = {}  # the shapes of results of joined operations, by root
        self.scratch: dict[int, Shape] = {}  # memory that every run fills anew before it reads it
        for slot in (*inputs, *constants):
            self._own(slot, tensors[slot])
        self.calls = self._out_of_place(calls)
        self.nodes = self._read()

    # ---- reading the calls

    def _own(self, slot: int, tensor: Tensor) -> None:
        self.view[slot] = View.of(slot, tensor)
        self.type[slot] = (tensor.dtype, tensor.device)

    def _out_of_place(self, calls: Sequence[Call]) -> list[Call]:
        """Give what changes a tensor that nobody else sees as an operation that makes another one."""
        seen: dict[int, set[int]] = defaultdict(set)  # by root, the slots that see it
        root: dict[int, int] = {}
        for call in calls:
            for result in call.given:
                if result != NOTHING and not call.fills:
                    root[result] = root.get(call.taken[0], call.taken[0]) if call.aliases and call.taken else result
                    seen[root[result]].add(result)
        now: dict[int, int] = {}
        others: list[Call] = []
        for before in calls:
            call = renamed(before, now)
            other = OUT_OF_PLACE.get(call.function)
            target = before.taken[0] if before.taken else NOTHING
            other = other if other is not None and self.tensors[target].dtype is torch.bool else None
            if other is None or target not in root or seen[root[target]] - {target, *call.given}:
                others.append(call)
                continue
            slot, self.next = self.next, self.next + 1
            self.tensors.append(self.tensors[target])
            now |= {target: slot} | dict.fromkeys(call.given, slot)
            others.append(replace(call, function=other, given=(slot,)))
        self.now = now
        self.readers: dict[int, list[Call]] = defaultdict(list)
        for call in others:
            for slot in call.taken:
                self.readers[slot].append(call)
        return others

    def _read(self) -> list[Node]:
        nodes: list[Node] = []
        writers: dict[int, Node] = {}
        readers: dict[int, list[Node]] = defaultdict(list)
        drawn: Node | None = None
        changed = self._changed()
        for order, call in enumerate(self.calls):
            if call.function is aten.as_strided.default:
                source = self.view[call.taken[0]]
                shape, stride, offset = (*call.args[1:], None)[:3]
                self.view[call.given[0]] = View(source.root, shape, stride, source.offset if offset is None else offset)
                self.type[call.given[0]] = self.type[call.taken[0]]
                continue
            node = Node(call, order, Kind.OTHER, [self.view[slot] for slot in call.taken])
            written = {self.view[slot].root for slot in call.changes}
            for slot in call.given:
                if slot == NOTHING or call.fills:
                    continue
                if call.aliases and call.taken:  # of the whole, which it changed
                    self.view[slot], self.type[slot] = self.view[call.taken[0]], self.type[call.taken[0]]
                else:
                    self._own(slot, self.tensors[slot])
                    self.producer[slot] = node
            for view in node.views:
                if view.root in changed:
                    if view.root in writers:
                        node.after.add(writers[view.root])
                    if view.root in written:
                        node.after.update(readers[view.root])
                    readers[view.root].append(node)
            writers |= dict.fromkeys(written, node)
            if call.draws:
                node.after |= {drawn} if drawn is not None else set()
                drawn = node
            node.after.discard(node)
            nodes.append(node)
        self._find_fresh(nodes, changed)
        moving = changed - self.fresh
        for node in nodes:
            lasting = not any(view.root in moving for view in node.views) and not moving.intersection(node.call.given)
            node.steady = lasting and not node.call.changes and not node.call.draws
            if node.steady and len(node.call.given) == 1:
                self._sort(node)
            for view in node.views:
                self.users[view.root].add(node)
        self._place_inputs(nodes)
        return nodes

    def _changed(self) -> set[int]:
        root: dict[int, int] = {}
        for call in self.calls:
            if call.aliases and call.taken:
                root |= dict.fromkeys(call.given, root.get(call.taken[0], call.taken[0]))
        return {root.get(slot, slot) for call in self.calls for slot in call.changes}

    def _find_fresh(self, nodes: Sequence[Node], changed: set[int]) -> None:
        """Find memory that is made empty, filled, and then only read: noise."""
        read: set[int] = set()
        late: set[int] = set()
        for node in nodes:
            written = {self.view[slot].root for slot in node.call.changes}
            late |= written & read
            read |= {view.root for view in node.views} - written
        for root in changed - late:
            maker = self.producer.get(root)
            if maker is not None and maker.call.function in EMPTY and View.of(root, self.tensors[root]).is_dense:
                self.fresh.add(root)
                maker.left_out = True  # it is scratch memory from now on
                del self.producer[root]

    def _sort(self, node: Node) -> None:
        """Say how a node may be joined, and give its tensors at the shape that it computes."""
        call, out = node.call, self.tensors[node.call.given[0]]
        shape = tuple(out.shape)
        if not out.numel() or not View.of(0, out).is_dense or out.storage_offset():
            return
        kinds = {self.type[slot][0] for slot in call.taken if self.tensors[slot].dim() or not shape}
        devices = {self.type[slot][1] for slot in call.taken}
        if call.function in ELEMENTWISE | UNEVEN and len(devices) == 1:
            mixed = kinds - {torch.bool} if call.function is aten.where.self else kinds
            if len(mixed) == 1 and all(_at_top(slot) for slot in call.args):
                node.kind, node.shape = Kind.ELEMENTWISE, shape
                node.views = [view.expanded(shape) for view in node.views]
        elif call.function in BY_ROW and len(shape) > 1 and call.args[BY_ROW[call.function]] in (-1, len(shape) - 1):
            alike = call.function not in ALONE_IN_ORDER or torch.get_num_threads() == 1
            if alike and all(view.shape == shape for view in node.views):
                node.kind, node.shape = Kind.BY_ROW, shape
        elif call.function in OF_ALL and len(call.args) == 1 and not call.kwargs and self._is_asked_only(node):
            node.kind, node.shape = Kind.OF_ALL, node.views[0].shape
        elif call.function in OF_ROWS and len(call.args) in (2, 3) and not call.kwargs:
            (view,) = node.views
            rank = len(view.shape)
            last = rank > 1 and call.args[1] in (-1, rank - 1, (-1,), (rank - 1,))
            if last and view.stride[-1] == 1 and (view.shape[-1] < LONG or torch.get_num_threads() == 1):
                node.kind, node.shape = Kind.OF_ROWS, view.shape
        if not all(in_order(view) for view in node.views):
            node.kind = Kind.OTHER

    def _is_asked_only(self, node: Node) -> bool:
        """Tell whether an answer about a tensor holds for two where it holds for both, and is used for nothing else."""
        (slot,) = node.call.given
        if slot in self.outputs:
            return False
        users = self.readers[slot]
        if node.call.function is aten.amax.default:
            return all(
                user.function is aten.gt.Scalar
                and self.answers.get(user.given[0]) == 0
                and not self.readers[user.given[0]]
                and user.given[0] not in self.outputs
                for user in users
            )
        return not users and self.answers.get(slot) == 1

    def _place_inputs(self, nodes: Sequence[Node]) -> None:
        """Read inputs that are laid one after the other anyway from where they lie then."""
        for node in nodes:
            whole = node.call.args[1:] in ((), (0,)) and all(view.is_dense for view in node.views)
            if node.call.function is not aten.cat.default or not whole:
                continue
            roots = [view.root for view in node.views]
            fits = all(view.size == self.tensors[view.root].numel() for view in node.views)
            fits = fits and all(self.type[root] == self.type[node.call.given[0]] for root in roots)
            fits = fits and not any(heeds_place(user.call.function) for root in roots for user in self.users[root])
            if fits and set(roots) <= self.inputs - self.home.keys() and len(set(roots)) == len(roots):
                node.places_inputs, offset = True, 0
                for root, view in zip(roots, node.views, strict=True):
                    self.home[root] = (node.call.given[0], offset - View.of(root, self.tensors[root]).offset)
                    offset += view.size
                    self.users[node.call.given[0]] |= self.users[root] - {node}

    def lone(self, node: Node) -> list[bool]:
        """Tell of each operand whether it is one number of another type, which has no say in the type of the result."""
        kinds = [self.type[slot][0] for slot in node.call.taken]
        main = {kind for slot, kind in zip(node.call.taken, kinds, strict=True) if self.tensors[slot].dim()}
        return [
            not self.tensors[slot].dim() and bool(main) and kind not in main
            for slot, kind in zip(node.call.taken, kinds, strict=True)
        ]

    # ---- memory

    def new_root(self, kind: torch.dtype, device: torch.device) -> int:
        """Give the number of memory that no operation has made."""
        root, self.next = self.next, self.next + 1
        self.type[root] = (kind, device)
        return root

    def shape(self, root: int) -> Shape:
        """Give the shape of a result, recorded or joined."""
        return self.joined[root] if root in self.joined else tuple(self.tensors[root].shape)

    def at_home(self, view: View) -> View:
        """See memory from the tensor that it has become a piece of."""
        while view.root in self.home:
            root, offset = self.home[view.root]
            view = View(root, view.shape, view.stride, view.offset + offset)
        return view

    def views(self, node: Node) -> list[View]:
        """List what an operation takes, as it lies now."""
        return node.views if node.places_inputs else [self.at_home(view) for view in node.views]

    def seen(self, slot: int) -> View:
        """Give how a slot that was recorded lies now."""
        return self.at_home(self.view[self.now.get(slot, slot)])

    def unmade(self) -> dict[int, Shape]:
        """Give the memory that every run fills anew before it reads it, by root."""
        own = {root: tuple(self.tensors[root].shape) for root in self.fresh if root not in self.scratch}
        return {root: shape for root, shape in (own | self.scratch).items() if root not in self.home}

    # ---- order

    def before(self, node: Node) -> Iterator[Node]:
        """List the operations that one needs."""
        for view in self.views(node):
            if view.root in self.producer:
                yield final(self.producer[view.root])
            yield from self.writers.get(view.root, ())
        for earlier in node.after:
            yield final(earlier)

    def ordered(self) -> list[Node]:
        """Order operations: each after those that it needs, and else as they were recorded."""
        nodes = [node for node in self.nodes if node.joined is None and not node.left_out]
        needs = {node: {other for other in self.before(node) if other is not node} for node in nodes}
        waiting = {node: len(other) for node, other in needs.items()}
        followers: dict[Node, list[Node]] = defaultdict(list)
        for node, needed in needs.items():
            for other in needed:
                followers[other].append(node)
        number = {node: place for place, node in enumerate(nodes)}
        ready = [(node.order, number[node]) for node in nodes if not waiting[node]]
        heapify(ready)
        order: list[Node] = []
        while ready:
            node = nodes[heappop(ready)[1]]
            order.append(node)
            for other in followers[node]:
                waiting[other] -= 1
                if not waiting[other]:
                    heappush(ready, (other.order, number[other]))
        assert len(order) == len(nodes), "operations that wait for one another"
        return order


def final(node: Node) -> Node:
    """Find the operation that does the work of one now."""
    while node.joined is not None:
        node = node.joined
    return node


def _at_top(argument: object) -> bool:
    """Tell whether an argument holds no tensors within."""
    return not isinstance(argument, tuple)


def in_order(view: View) -> bool:
    """Tell whether memory is seen in the order in which it lies, so that what is computed of it lies so, too."""
    steps = [stride for n, stride in zip(view.shape, view.stride, strict=True) if n > 1 and stride]
    return all(a >= b for a, b in pairwise(steps))
