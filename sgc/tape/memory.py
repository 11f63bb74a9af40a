"""Where the results of operations lie: in memory that is there once and for all, and shared by results in turn.

A result lives from the operation that gives it to the last one that reads it. So results need little memory, which is
laid out before the first run: operations write into it instead of asking for memory in every run, and what sees a
result as another shape is a tensor that is there already. What is joined to one tensor is written to its place in it.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from sgc.tape.memory_views import Shape, View, dense
from sgc.tape.operations import BEGINS, ELEMENTWISE, WritingForm, aten, heeds_place, is_even, writing_form
from sgc.tape.recording import NOTHING, Call, Slot

ALIGNED = 64  # bytes


@dataclass
class Store:
    """Memory that recordings share, since never two of them run at once."""

    memory: dict[torch.device, list[Tensor]] = field(default_factory=lambda: defaultdict(list))

    def of(self, device: torch.device, size: int) -> Tensor:
        """Give as many bytes."""
        for block in self.memory[device]:
            if block.numel() >= size:
                return block
        self.memory[device].append(torch.empty(size, dtype=torch.uint8, device=device))
        return self.memory[device][-1]


@dataclass(frozen=True)
class Place:
    """A piece of the result of another operation, where the result of one is written."""

    root: int
    stride: tuple[int, ...]
    offset: int


class Plan:
    """Finds for the result of each operation a place in memory."""

    def __init__(
        self,
        calls: Sequence[Call],
        tensors: Sequence[Tensor],
        devices: Mapping[int, torch.device],
        noise: Iterable[int],
        outside: Iterable[int],
        lasting: Iterable[int],
    ) -> None:
        """Plan memory.

        tensors: how each slot lies. devices: of the slots whose tensors do not say. noise: slots of memory that is
        filled anew in every run. outside: those that need memory of their own. lasting: those that are read afterwards.
        """
        self.calls, self.tensors, self.devices = calls, list(tensors), devices
        self.noise = set(noise)
        self.view: dict[int, View] = {}
        self.forms: dict[int, WritingForm] = {}  # by root
        self.place: dict[int, Place] = {}
        self.copied: dict[int, list[int]] = {}  # by the root of what is joined, the parts that are copied to it
        self._find_roots(outside)
        self._place_parts()
        self._find_lives(lasting)
        self._allocate()

    def _find_roots(self, outside: Iterable[int]) -> None:
        for root in self.noise:
            self.view[root] = View.of(root, self.tensors[root])
        for call in self.calls:
            if call.function is aten.as_strided.default:
                source = self.view.get(call.taken[0])
                if source is not None:
                    self.view[call.given[0]] = View(source.root, *call.args[1:])
                continue
            form = writing_form(call.function) if len(call.given) == 1 and not call.aliases else None
            if form is None or call.changes:
                continue
            (slot,) = call.given
            whole = View.of(slot, self.tensors[slot])
            if whole.is_dense and self.tensors[slot].numel():
                self.view[slot], self.forms[slot] = replace(whole, offset=0), form
        changed = {self.view[slot].root for call in self.calls for slot in call.changes if slot in self.view}
        for root in (changed - self.noise) | {self.view[slot].root for slot in outside if slot in self.view}:
            self.forms.pop(root, None)
        self.view = {
            slot: view for slot, view in self.view.items() if view.root in self.forms or view.root in self.noise
        }

    # ---- what is written to its place in another result

    def _place_parts(self) -> None:
        makers = {call.given[0]: call for call in self.calls if call.given}
        readers = self._readers()
        seen = {view.root for slot, view in self.view.items() if slot != view.root}
        for call in self.calls:
            if call.function is not aten.cat.default or call.given[0] not in self.forms:
                continue
            (root,) = call.given
            rank = self.tensors[root].dim()
            if any(self.tensors[part].dim() != rank for part in call.taken):
                continue
            dim = call.args[1] % rank if len(call.args) > 1 else 0
            there: dict[int, Place] = {}
            for part, place in zip(call.taken, self._parts(call, dim), strict=True):
                others = [reader for reader in readers[part] if reader is not call]
                maker, start = makers.get(part), place.offset * self.tensors[root].element_size()
                together = _lies_together(tuple(self.tensors[part].shape), place.stride)
                together &= start % BEGINS == 0 or not any(heeds_place(reader.function) for reader in others)
                apart = maker is not None and maker.function in ELEMENTWISE and is_even(maker)
                apart &= not others and part not in seen and part not in self.copied
                if call.taken.count(part) == 1 and self._is_free(part, root) and (together or apart):
                    there[part] = place
            if len(call.taken) - len(there) <= 1:
                self.place |= there
                self.copied[root] = []
                for part, place in zip(call.taken, self._parts(call, dim), strict=True):
                    if part not in there:
                        self.copied[root].append(len(self.tensors))
                        self.view[len(self.tensors)] = View(
                            root, tuple(self.tensors[part].shape), place.stride, place.offset
                        )
                        self.tensors.append(self.tensors[part])

    def _readers(self) -> dict[int, list[Call]]:
        """List what reads each result, itself or a piece of it, by root."""
        readers: dict[int, list[Call]] = defaultdict(list)
        for call in self.calls:
            if call.function is not aten.as_strided.default:
                for slot in {self.view[taken].root for taken in call.taken if taken in self.view}:
                    readers[slot].append(call)
        return readers

    def _parts(self, call: Call, dim: int) -> Iterator[Place]:
        whole = dense(self.tensors[call.given[0]].shape)
        offset = 0
        for part in call.taken:
            yield Place(call.given[0], whole, offset)
            offset += self.tensors[part].shape[dim] * whole[dim]

    def _is_free(self, part: int, root: int) -> bool:
        """Tell whether a result may be written to a place in another one."""
        return part in self.forms and part not in self.place and self.tensors[part].dtype == self.tensors[root].dtype

    def where(self, view: View) -> View:
        """See a result in the memory that it was given."""
        while view.root in self.place:
            place = self.place[view.root]
            shape = tuple(self.tensors[view.root].shape)
            if _lies_together(shape, place.stride):
                view = View(place.root, view.shape, view.stride, place.offset + view.offset)
            else:  # what is seen as a whole alone
                view = View(place.root, view.shape, place.stride, place.offset)
        return view

    # ---- from when to when a result lives

    def _find_lives(self, lasting: Iterable[int]) -> None:
        self.first: dict[int, int] = {}
        self.last: dict[int, int] = {}
        for place, call in enumerate(self.calls):
            for slot in (*call.given, *call.taken):
                if slot in self.view:
                    root = self.where(self.view[slot]).root
                    self.first.setdefault(root, place)
                    self.last[root] = place
        for slot in lasting:
            if slot in self.view:
                self.last[self.where(self.view[slot]).root] = len(self.calls)

    def _allocate(self) -> None:
        """Give each result bytes that no other one needs while it lives."""
        starts: dict[int, list[int]] = defaultdict(list)
        ends: dict[int, list[int]] = defaultdict(list)
        for root, place in self.first.items():
            starts[place].append(root)
            ends[self.last[root]].append(root)
        self.offset: dict[int, int] = {}
        self.size: dict[torch.device, int] = defaultdict(int)
        unused: dict[torch.device, list[tuple[int, int]]] = defaultdict(list)  # size and offset
        taken: dict[int, tuple[int, int]] = {}
        for place in range(len(self.calls)):
            for root in starts[place]:
                tensor = self.tensors[root]
                device, size = self.device(root), _aligned(tensor.numel() * tensor.element_size())
                fitting = bisect_left(unused[device], (size, 0))
                if fitting < len(unused[device]) and unused[device][fitting][0] <= 2 * size:
                    taken[root] = unused[device].pop(fitting)
                else:
                    taken[root] = (size, self.size[device])
                    self.size[device] += size
                self.offset[root] = taken[root][1]
            for root in ends[place]:
                insort(unused[self.device(root)], taken[root])

    def device(self, slot: int) -> torch.device:
        """Tell on which device the tensor of a slot lies."""
        return self.devices.get(slot, self.tensors[slot].device)

    # ---- what comes of it

    def tensors_in(self, store: Store) -> dict[int, Tensor]:
        """Give the tensors of all slots that lie in the memory of a store."""
        memory = {device: store.of(device, size) for device, size in self.size.items()}
        tensors: dict[int, Tensor] = {}
        for slot, seen in self.view.items():
            view = self.where(seen)
            kind = self.tensors[view.root].dtype
            if view.root not in self.offset:
                continue
            start, size = self.offset[view.root], math.prod(self.tensors[view.root].shape) * kind.itemsize
            whole = memory[self.device(view.root)][start : start + size].view(kind)
            tensors[slot] = whole.as_strided(view.shape, view.stride, whole.storage_offset() + view.offset)
        return tensors

    def written(self) -> Iterator[Call]:
        """Write the operations down."""
        free = len(self.tensors)
        for call in self.calls:
            slot = call.given[0] if call.given else NOTHING
            if slot in self.copied:
                copied = [part for part in call.taken if part not in self.place or self.place[part].root != slot]
                for part, piece in zip(copied, self.copied[slot], strict=True):
                    yield Call(aten.copy_.default, (Slot(piece), Slot(part)), {}, (free,), several=False)
                    free += 1
            elif slot in self.forms:
                form = self.forms[slot]
                into = {**call.kwargs, form.name: Slot(slot)}
                yield Call(form.function, (*call.args, *form.more), into, (free,), several=False)
                free += 1
            elif call.function is not aten.as_strided.default or slot not in self.view:
                yield call


def _lies_together(shape: Shape, stride: Shape) -> bool:
    """Tell whether the elements of a piece lie one after the other."""
    return View(0, shape, stride, 0).is_dense


def _aligned(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED
