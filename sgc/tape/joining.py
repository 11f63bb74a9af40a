"""Operations alike on pieces of the same memory, done at once.

The patterns of a step run through networks as rows of one product, and then each by itself: the same operations, on
pieces of the same tensors. Here such operations become one, on the whole; what they give are pieces of one tensor
again, so that the operations after them, and those of the backward pass, join as well. What is joined comes out the
same to the bit (`sgc.tape.operations`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from sgc.tape.memory_views import Shape, View, dense, one_after_the_other, side_by_side
from sgc.tape.operations import BEGINS, Kind, aten, heeds_place, is_even, writing_form
from sgc.tape.recording import Call, Slot
from sgc.tape.tape_graph import Graph, Node, in_order

SEARCHED = 200_000  # operations, in all, that are looked at for what those need that are to be joined


class Joiner:
    """Joins the operations of a graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.alike: dict[object, dict[Node, None]] = defaultdict(dict)
        self.keys: dict[Node, list[object]] = {}
        self.rows: dict[tuple[View, ...], View] = {}  # that were laid one after the other
        self.searched = 0
        for node in graph.nodes:
            self._index(node)

    # ---- what is alike

    def _index(self, node: Node) -> None:
        for key in self.keys.pop(node, []):
            self.alike[key].pop(node, None)
        if node.kind is Kind.OTHER or node.joined is not None or node.into is not None:
            return
        scalars = (node.call.function, _scalars(node.call.args), _scalars(tuple(node.call.kwargs.items())))
        views = self.graph.views(node)
        roots = tuple(view.root for view in views)
        loose = tuple(self._token(view) for view in views)
        types = tuple(self.graph.type[slot] for slot in node.call.taken)
        self.keys[node] = [(scalars, roots)]
        if loose != roots:
            self.keys[node].append((scalars, loose, types, node.shape[-1:]))
        for key in self.keys[node]:
            self.alike[key][node] = None

    def _token(self, view: View) -> int | str:
        """Name the memory of a view: as such, or by what other memory can be laid beside it."""
        if _repeats(view):
            return "a number for each row"
        return "noise" if view.root in self.graph.fresh else view.root

    def join(self) -> None:
        """Join what can be joined, one operation after the other."""
        for node in list(self.graph.nodes):
            if node.call.function is aten.cat.default and not node.places_inputs and self._lies_there(node):
                continue
            for place, key in enumerate(self.keys.get(node, [])):
                if len(self.alike[key]) > 1 and self._join(list(self.alike[key]), loose=place > 0):
                    break

    def _lies_there(self, node: Node) -> bool:
        """Find what is joined to one tensor where it lies so already, and see it there."""
        views, (slot,) = self.graph.views(node), node.call.given
        if node.call.args[1:] not in ((), (0,)) or not node.steady or any(not view.shape for view in views):
            return False
        whole = one_after_the_other([[view] for view in views], least=len(views[0].shape) - 1)
        if whole is None or not whole[0].is_dense or whole[0].size != self.graph.tensors[slot].numel():
            return False
        if not self._begins_alike(slot, whole[0].offset):
            return False
        node.left_out = True
        del self.graph.producer[slot]
        self._move(slot, whole[0].root, whole[0].offset)
        return True

    def _join(self, group: list[Node], *, loose: bool) -> bool:
        for members in (group, *_of_one_shape(group)):
            if len(members) > 1 and self._join_all(members, loose=loose):
                return True
        return False

    def _join_all(self, members: list[Node], *, loose: bool) -> bool:
        members = self._in_memory_order(members)
        pieces = [_squeezed(self.graph.views(node)) for node in members]
        first = members[0]
        if any(views == pieces[0] for views in pieces[1:]):
            return self._share(members, pieces)
        unlike = loose or any(node.after for node in members)
        if unlike and not self._independent(members):
            return False
        places = self._laid_together(pieces) if loose else {}
        if places is None:
            return False
        rest = [[view for i, view in enumerate(views) if i not in places] for views in pieces]
        least = 0 if first.kind in (Kind.ELEMENTWISE, Kind.OF_ALL) else 1
        joined = one_after_the_other(rest, least=least, most=1 if places else None) if rest[0] else []
        if joined is None and not places:
            joined = side_by_side(pieces)
        if joined is None:
            return False
        if not is_even(first.call):
            return bool(joined) and self._write_side_by_side(members, joined[0].shape)
        if first.kind is not Kind.OF_ALL and not self._fit([node.call.given[0] for node in members]):
            return False
        views = self._lay(pieces, joined, places) if places else joined
        if views is None or not all(map(in_order, views)) or self._makes_several_of_one(first, views):
            return False
        self._replace(members, views)
        return True

    def _makes_several_of_one(self, node: Node, views: Sequence[View]) -> bool:
        """Tell whether a number of another type would become several, which have a say in the type of the result."""
        if node.kind is not Kind.ELEMENTWISE:
            return False
        return any(lone and view.unexpanded().shape for lone, view in zip(self.graph.lone(node), views, strict=True))

    def _laid_together(self, pieces: list[list[View]]) -> dict[int, str] | None:
        """Say which operands lie in different memory, and what they are; None where they cannot be laid together."""
        places: dict[int, str] = {}
        for i, column in enumerate(zip(*pieces, strict=True)):
            if len({view.root for view in column}) == 1:
                continue
            tokens = {self._token(view) for view in column}
            token = tokens.pop()
            if tokens or not isinstance(token, str):
                return None
            places[i] = token
        return places

    def _lay(self, pieces: list[list[View]], joined: list[View], places: dict[int, str]) -> list[View] | None:
        """Lay operands of different memory together: noise is drawn where it is wanted, numbers of rows are copied."""
        inner = joined[0].shape[1:] if joined else pieces[0][0].shape[-1:]
        rows = [_rows_of(views[0], inner) for views in pieces]
        if any(count is None for count in rows):
            return None
        total = sum(count for count in rows if count is not None)
        laid: dict[int, View] = {}
        for i, token in places.items():
            column = [views[i] for views in pieces]
            view = self._noise(column, (total, *inner)) if token == "noise" else self._rows(column, rows, inner)
            if view is None:
                return None
            laid[i] = view
        rest = iter(joined)
        return [laid[i] if i in laid else next(rest) for i in range(len(pieces[0]))]

    def _noise(self, column: list[View], shape: Shape) -> View | None:
        if any(
            v.root in self.graph.scratch or not v.is_dense or v.size != self.graph.tensors[v.root].numel()
            for v in column
        ):
            return None
        if not self._fit([view.root for view in column]):
            return None
        root = self.graph.new_root(*self.graph.type[column[0].root])
        offset = 0
        for view in column:
            self._move(view.root, root, offset)
            offset += view.size
        self.graph.scratch[root] = shape
        self.graph.fresh.add(root)
        return View(root, shape, dense(shape), 0)

    def _rows(self, column: list[View], rows: Sequence[int | None], inner: Shape) -> View | None:
        flat: list[View] = []
        for view, count in zip(column, rows, strict=True):
            assert count is not None
            at = view.reshaped((count, *inner))
            if at is None or any(at.stride[1:]):
                return None
            flat.append(View(at.root, (count,), at.stride[:1], at.offset))
        known = self.rows.get(tuple(flat))
        if known is None:
            total = sum(view.shape[0] for view in flat)
            root = self.graph.new_root(*self.graph.type[column[0].root])
            call = Call(aten.cat.default, (tuple(Slot(view.root) for view in flat),), {}, (root,), several=False)
            node = Node(call, 0, Kind.OTHER, flat)
            node.order = max(
                (self.graph.producer[v.root].order for v in flat if v.root in self.graph.producer), default=0
            )
            self.graph.nodes.append(node)
            self.graph.producer[root] = node
            for view in flat:
                self.graph.users[view.root].add(node)
            known = self.rows[tuple(flat)] = View(root, (total,), (1,), 0)
        return View(known.root, (*known.shape, *inner), (1, *(0,) * len(inner)), 0)

    def _in_memory_order(self, members: list[Node]) -> list[Node]:
        """Order operations as what they take lies in memory, or what those take that follow them."""

        def place(node: Node) -> tuple[tuple[int, ...], int]:
            views = [view for view in self.graph.views(node) if not isinstance(self._token(view), str)]
            if not views:
                mine = {self.graph.at_home(self.graph.view[slot]).root for slot in node.call.given}
                for user in sorted(self._users_of(node), key=lambda user: user.order):
                    others = [v for v in self.graph.views(user) if v.root not in mine]
                    views = views or [v for v in others if not isinstance(self._token(v), str)]
            return tuple(view.offset for view in views), node.order

        return sorted(members, key=place)

    def _users_of(self, node: Node) -> set[Node]:
        return {
            user
            for slot in node.call.given
            for user in self.graph.users[self.graph.at_home(self.graph.view[slot]).root]
        }

    def _write_side_by_side(self, members: Sequence[Node], shape: Shape) -> bool:
        """Let operations stay as they are, but give pieces of one tensor."""
        if writing_form(members[0].call.function) is None or not self._independent(members):
            return False
        if any(slot in self.graph.outputs for node in members for slot in node.call.given):
            return False
        if not self._fit([node.call.given[0] for node in members]):
            return False
        root = self.graph.new_root(*self.graph.type[members[0].call.given[0]])
        self.graph.scratch[root] = shape
        self.graph.writers[root] = list(members)
        offset = 0
        for node in members:
            (slot,) = node.call.given
            node.into = View(root, node.shape, dense(node.shape), offset)
            for key in self.keys.pop(node):
                self.alike[key].pop(node, None)
            offset += math.prod(node.shape)
            del self.graph.producer[slot]
            self._move(slot, root, node.into.offset)
        return True

    def _independent(self, members: Sequence[Node]) -> bool:
        """Tell whether none of some operations needs what another one gives."""
        wanted, seen = {*members}, set[Node]()
        todo = [earlier for node in members for earlier in self.graph.before(node)]
        while todo:
            node = todo.pop()
            if node in wanted:
                return False
            if node not in seen:
                seen.add(node)
                self.searched += 1
                if self.searched > SEARCHED:
                    return False
                todo += self.graph.before(node)
        return True

    # ---- where memory begins

    def _fit(self, roots: Sequence[int]) -> bool:
        """Tell whether all that reads memory gives the same bits where one piece of it is laid after the other."""
        offset = 0
        for root in roots:
            if not self._begins_alike(root, offset):
                return False
            offset += math.prod(self.graph.shape(root))
        return True

    def _begins_alike(self, root: int, offset: int) -> bool:
        """Tell whether what reads memory gives the same bits where that begins at an offset in other memory."""
        if offset * self.graph.type[root][0].itemsize % BEGINS == 0:
            return True
        return not any(user.kind is Kind.OTHER and heeds_place(user.call.function) for user in self.graph.users[root])

    # ---- putting one in the place of several

    def _move(self, root: int, home: int, offset: int) -> None:
        """Let memory be a piece of other memory from now on."""
        self.graph.home[root] = (home, offset)
        self.graph.users[home] |= self.graph.users[root]
        for user in list(self.graph.users[root]):
            self._index(user)

    def _share(self, members: list[Node], pieces: list[list[View]]) -> bool:
        """Do once what several do to the same tensors."""
        first = members[0]
        for node, views in zip(members[1:], pieces[1:], strict=True):
            if views == pieces[0] and self.graph.shape(node.call.given[0]) == self.graph.shape(first.call.given[0]):
                node.joined = first
                first.after |= node.after
                self._index(node)
                self._move(node.call.given[0], first.call.given[0], 0)
        self._index(first)
        return True

    def _replace(self, members: list[Node], views: list[View]) -> None:
        first = members[0]
        shape = views[0].shape
        types = self.graph.type[first.call.given[0]]
        root = self.graph.new_root(*types)
        self.graph.joined[root] = {Kind.OF_ROWS: shape[:-1], Kind.OF_ALL: ()}.get(first.kind, shape)
        node = Node(replace(first.call, given=(root,)), min(m.order for m in members), first.kind, views, shape)
        node.after = {earlier for member in members for earlier in member.after}
        self.graph.producer[root] = node
        self.graph.nodes.append(node)
        for view in views:
            self.graph.users[view.root].add(node)
        offset = 0
        for member in members:
            member.joined = node
            self._index(member)
            (slot,) = member.call.given
            self._move(slot, root, 0 if first.kind is Kind.OF_ALL else offset)
            offset += math.prod(self.graph.shape(slot))


def _scalars(value: object) -> object:
    """Give arguments without their tensors, by type too: 1, 1.0 and True are not the same to an operation."""
    if isinstance(value, Slot):
        return "tensor"
    if isinstance(value, tuple):
        return tuple(map(_scalars, value))
    return type(value), (repr(value) if isinstance(value, float) else value)


def _repeats(view: View) -> bool:
    """Tell whether a view has one number for each row."""
    return bool(view.shape) and view.stride[-1] == 0 and view.shape[-1] > 1


def _squeezed(views: list[View]) -> list[View]:
    """Leave out the dimensions before the last one that have one element, of views of one shape."""
    shape = views[0].shape
    if any(view.shape != shape for view in views):
        return views
    dims = [n == 1 and place < len(shape) - 1 for place, n in enumerate(shape)]
    return [view.squeezed(dims) for view in views]


def _rows_of(view: View, inner: Shape) -> int | None:
    """Count the rows of a shape that a view has."""
    lead = len(view.shape) - len(inner)
    return math.prod(view.shape[:lead]) if lead >= 0 and view.shape[lead:] == inner else None


def _of_one_shape(group: Sequence[Node]) -> list[list[Node]]:
    """Part operations by shape, where there is more than one."""
    by_shape: dict[Shape, list[Node]] = defaultdict(list)
    for node in group:
        by_shape[node.shape].append(node)
    return list(by_shape.values()) if len(by_shape) > 1 else []
