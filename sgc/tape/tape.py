"""A tape: the list of operations of a recording, without what nobody needs, and as a function that runs it.

Every pass keeps each number to the bit: it leaves operations out, or does once what was done twice.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import BuiltinFunctionType
from typing import Any

import torch
from torch import Tensor, fx

from sgc.tape.equal_calls import shared
from sgc.tape.joining import Joiner
from sgc.tape.layouts import Layouts
from sgc.tape.memory import Plan, Store
from sgc.tape.memory_views import View, layout_of
from sgc.tape.recording import GENERATOR, NOTHING, Call, NotRecordable, Recorder, Slot, renamed
from sgc.tape.tape_graph import Graph

aten = torch.ops.aten

MADE = {  # their values are those of no tensor
    aten.arange.default,
    aten.arange.start,
    aten.arange.start_step,
    aten.eye.default,
    aten.full.default,
    aten.full_like.default,
    aten.new_full.default,
    aten.new_ones.default,
    aten.new_zeros.default,
    aten.ones.default,
    aten.ones_like.default,
    aten.scalar_tensor.default,
    aten.zeros.default,
    aten.zeros_like.default,
}


def _direct(function: Any) -> Any:  # Any: an operation of torch
    """Find the same operation where Python reaches it faster than in torch.ops; itself where it is nowhere else."""
    name = function.__name__.split(".")[0]
    builtin = getattr(torch, name, None) or getattr(torch._C._nn, name, None)
    return builtin if isinstance(builtin, BuiltinFunctionType) else function


def _kept(tensor: Tensor) -> Tensor:
    """Copy a tensor that whoever recorded it may change. Raises: NotRecordable."""
    copy = tensor.detach().clone()
    if layout_of(copy) != layout_of(tensor):
        raise NotRecordable("what is computed once lies in other memory")
    return copy


@dataclass(frozen=True)
class Tape:
    """A list of operations from inputs to outputs, and the guards under which it is good."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    calls: tuple[Call, ...]
    constants: dict[int, Tensor]
    guards: tuple[tuple[int, int], ...]
    still: frozenset[int]  # the constants whose values never change
    tensors: Sequence[Tensor]  # as they were when they were recorded, by slot; of joined ones the layout alone
    scratch: frozenset[int] = frozenset()  # the constants that every run fills anew before it reads them
    devices: Mapping[int, torch.device] = field(default_factory=dict)  # of slots whose tensors do not say

    # ---- what is known of its slots

    def roots(self) -> dict[int, int]:
        """Map each slot that lies in another's memory to the slot that this memory was made for."""
        roots: dict[int, int] = {}
        for call in self.calls:
            if call.aliases and call.taken:
                for slot in call.given:
                    if slot != call.taken[0]:
                        roots[slot] = roots.get(call.taken[0], call.taken[0])
        return roots

    def changed(self) -> set[int]:
        """List the slots whose memory some call changes in place."""
        roots = self.roots()
        written = {roots.get(slot, slot) for call in self.calls for slot in call.changes}
        known = {slot for call in self.calls for slot in (*call.taken, *call.given)} | {*self.constants}
        return {slot for slot in known if roots.get(slot, slot) in written}

    # ---- passes

    def renamed(self, calls: Sequence[Call], names: Mapping[int, int]) -> Tape:
        """Take other calls, and other slots in place of some."""
        return replace(
            self,
            calls=tuple(renamed(call, names) for call in calls),
            outputs=tuple(names.get(slot, slot) for slot in self.outputs),
            guards=tuple(dict.fromkeys((names.get(slot, slot), value) for slot, value in self.guards)),
        )

    def with_views_of_roots(self) -> Tape:
        """See each piece of memory from the tensor that it was made for, in one step, or as it is."""
        roots, names = self.roots(), dict[int, int]()
        calls: list[Call] = []
        for call in self.calls:
            if not call.aliases or not call.taken or call.changes:
                calls.append(call)
                continue
            root = roots.get(call.given[0], call.given[0])
            whole = layout_of(self.tensors[root])
            for slot in call.given:
                shape, stride, offset, kind = seen = layout_of(self.tensors[slot])
                if seen == whole:
                    names |= {slot: root} if slot != root else {}
                else:
                    if kind != whole[3]:
                        raise NotRecordable("memory is seen as another type")
                    args = (Slot(root), tuple(shape), tuple(stride), offset)
                    calls.append(Call(aten.as_strided.default, args, {}, (slot,), several=False))
        return self.renamed(calls, names)

    def with_constants_made_once(self) -> Tape:
        """Compute once what depends on constants alone: views of weights, and whatever is made of still constants."""
        changed, constants, still = self.changed(), dict(self.constants), {*self.still}
        calls: list[Call] = []
        for call in self.calls:
            if call.draws or {*call.given, *call.taken} & changed or NOTHING in call.given:
                calls.append(call)
            elif call.function in MADE or (call.taken and still.issuperset(call.taken)):
                if call.function is aten.as_strided.default:
                    constants[call.given[0]] = constants[call.taken[0]].detach().as_strided(*call.args[1:])
                else:
                    constants |= {slot: _kept(self.tensors[slot]) for slot in call.given}
                still.update(call.given)
            else:
                calls.append(call)
        guards = tuple((slot, value) for slot, value in self.guards if slot not in still)  # which always hold
        return replace(self, calls=tuple(calls), constants=constants, still=frozenset(still), guards=guards)

    def with_constants_seen_once(self) -> Tape:
        """See constants as other shapes once."""
        constants, scratch = dict(self.constants), {*self.scratch}
        calls: list[Call] = []
        for call in self.calls:
            if call.function is aten.as_strided.default and call.taken[0] in constants:
                with torch.no_grad():
                    constants[call.given[0]] = constants[call.taken[0]].as_strided(*call.args[1:])
                scratch |= {*call.given} if call.taken[0] in scratch else set()
            else:
                calls.append(call)
        return replace(self, calls=tuple(calls), constants=constants, scratch=frozenset(scratch))

    def with_pieces_joined(self) -> Tape:
        """Do at once what is done alike to pieces of the same memory."""
        guarded = [slot for slot, _ in self.guards]
        graph = Graph(self.calls, self.inputs, [*self.constants], self.guards, self.outputs, self.tensors)
        Joiner(graph).join()
        layouts = Layouts(graph, (*self.inputs, *self.constants), [*self.outputs, *guarded])
        calls = tuple(layouts.calls())
        noise: dict[int, Tensor] = {}
        for root, shape in graph.unmade().items():
            kind, device = graph.type[root]
            noise[root] = torch.empty(shape, dtype=kind, device=device)
        return replace(
            self,
            calls=calls,
            outputs=tuple(layouts.places[slot] for slot in self.outputs),
            guards=tuple(dict.fromkeys((layouts.places[slot], value) for slot, value in self.guards)),
            constants={**self.constants, **noise},
            tensors=layouts.tensors,
            scratch=frozenset(noise),
            devices=layouts.devices(),
        )

    def with_memory_planned(self, store: Store) -> Tape:
        """Write results into memory that is there once and for all."""
        noise = [slot for slot in self.scratch if View.of(slot, self.constants[slot]).is_dense]
        plan = Plan(self.calls, self.tensors, self.devices, noise, self.outputs, [slot for slot, _ in self.guards])
        there = plan.tensors_in(store)
        return replace(
            self,
            calls=tuple(plan.written()),
            constants={**self.constants, **there},
            tensors=plan.tensors,
            scratch=self.scratch | {*there},
        )

    def with_equal_calls_shared(self) -> Tape:
        """Do once what is done alike to the same tensors, and copy no tensor that is only read."""
        calls, names = shared(self.calls, self.tensors, self.still, self.changed())
        return self.renamed(calls, names)

    def without_unused(self) -> Tape:
        """Leave out what leads to no output, guard or change of a constant; draws stay, for their order."""
        roots = self.roots()
        used = {*self.outputs, *(slot for slot, _ in self.guards)}
        needed = {roots.get(slot, slot) for slot in used | {*self.constants}}
        calls: list[Call] = []
        for call in reversed(self.calls):
            writes = any(roots.get(slot, slot) in needed for slot in call.changes)
            if writes or call.draws or not used.isdisjoint(call.given):
                calls.append(call)
                used.update(call.taken)
                needed |= {roots.get(slot, slot) for slot in call.taken}
        return replace(self, calls=tuple(reversed(calls)))

    def with_outputs_apart(self) -> Tape:
        """Give each output memory of its own, so that whoever changes one in place changes nothing else."""
        roots, taken = self.roots(), {*self.inputs, *self.constants}
        calls, outputs = list(self.calls), list[int]()
        tensors = list(self.tensors)
        for slot in self.outputs:
            root = roots.get(slot, slot)
            if root in taken:
                tensors.append(tensors[slot].detach().clone())
                calls.append(Call(aten.clone.default, (Slot(slot),), {}, (len(tensors) - 1,), several=False))
                outputs.append(len(tensors) - 1)
            else:
                taken.add(root)
                outputs.append(slot)
        return replace(self, calls=tuple(calls), outputs=tuple(outputs), tensors=tensors)

    # ---- running it

    def guards_together(self) -> list[tuple[list[int], Tensor]]:
        """List the slots of guards that are read at once, and the answers that they have to give."""
        by_kind: dict[object, list[tuple[int, int]]] = {}
        for slot, value in self.guards:
            tensor = self.tensors[slot]
            kind = tensor.dtype, tensor.shape, self.devices.get(slot, tensor.device)
            by_kind.setdefault(kind, []).append((slot, value))
        together: list[tuple[list[int], Tensor]] = []
        for guards in by_kind.values():
            slots = [slot for slot, _ in guards]
            first = self.tensors[slots[0]]
            answers = torch.tensor([value for _, value in guards], dtype=first.dtype)
            device = self.devices.get(slots[0], first.device)
            together.append((slots, answers.to(device).reshape(-1, *(1,) * first.dim())))
        return together

    def function(self) -> Callable[..., tuple[Tensor, ...]]:
        """Give the function of the inputs, and of a generator at last: of the outputs and then the guards, by kind.

        It takes tensors laid out as those that were recorded, and leaves no gradient.
        """
        module, constants = self.module()
        run: Callable[..., tuple[Tensor, ...]] = module.forward
        return lambda *inputs: run(*inputs, *constants)

    def module(self, *, draws: bool = True) -> tuple[fx.GraphModule, tuple[Tensor, ...]]:
        """Give the operations as a module, and the constants that it takes after inputs and, for draws, a generator."""
        graph = fx.Graph()
        nodes = {slot: graph.placeholder(f"input_{slot}") for slot in self.inputs}
        generator = graph.placeholder("generator") if draws else None
        guards = self.guards_together()
        last = [*self.outputs, *(slot for slots, _ in guards for slot in slots)]
        needed = {slot for call in self.calls for slot in call.taken} | {*last}
        constants = {slot: tensor for slot, tensor in self.constants.items() if slot in needed}
        for slot in constants:  # as arguments, which are reached faster than attributes
            nodes[slot] = graph.placeholder(f"constant_{slot}")

        def resolve(value: Any) -> Any:  # Any: an argument of an operation
            if isinstance(value, Slot):
                return nodes[value.number]
            if value is GENERATOR:
                return generator
            return [resolve(argument) for argument in value] if isinstance(value, tuple) else value

        for call in self.calls:
            kwargs = {key: resolve(argument) for key, argument in call.kwargs.items()}
            args = tuple(resolve(argument) for argument in call.args)
            first = bool(call.args) and isinstance(call.args[0], Slot) and call.changes[:1] == (call.args[0].number,)
            if (
                first and not call.fills and not any(isinstance(argument, tuple) for argument in call.args)
            ):  # as a tensor's method
                node = graph.call_method(call.function.__name__.split(".")[0], args, kwargs)
            else:
                # places that are left open, which torch.ops alone takes
                holes = any(isinstance(argument, tuple) and None in argument for argument in call.args)
                node = graph.call_function(call.function if holes else _direct(call.function), args, kwargs)
            if not call.several:
                nodes[call.given[0]] = node
                continue
            for place, slot in enumerate(call.given):
                if slot != NOTHING:
                    nodes[slot] = graph.call_function(operator.getitem, (node, place))
        read = [graph.call_function(torch.stack, ([nodes[slot] for slot in slots],)) for slots, _ in guards]
        graph.output((*(nodes[slot] for slot in self.outputs), *read))
        return fx.GraphModule({}, graph), tuple(constants.values())


def whole_tape_of(recorder: Recorder, outputs: Sequence[Tensor], moving: Iterable[Tensor] = ()) -> Tape:
    """Take the way to some outputs from a recording, without what leads nowhere or is done twice.

    moving: tensors that the computation has not made, and whose values are others in another run, as weights'.

    Raises: NotRecordable.
    """
    moves = {id(tensor) for tensor in moving}
    tape = Tape(
        tuple(recorder.inputs),
        tuple(recorder.slot_of(tensor) for tensor in outputs),
        tuple(recorder.calls),
        dict(recorder.constants),
        tuple(recorder.guards),
        frozenset(slot for slot, tensor in recorder.constants.items() if id(tensor) not in moves),
        recorder.tensors,
    )
    tape = tape.with_views_of_roots().without_unused().with_constants_made_once().with_constants_seen_once()
    tape = tape.with_equal_calls_shared().with_views_of_roots().with_equal_calls_shared().without_unused()
    if {slot for slot, _ in tape.guards} & tape.changed():
        raise NotRecordable("what is read is changed later")
    return tape


def tape_of(
    recorder: Recorder, outputs: Sequence[Tensor], moving: Iterable[Tensor] = (), store: Store | None = None
) -> Tape:
    """Take the way to some outputs from a recording, in as few operations as give the same bits.

    moving: as for `whole_tape_of`. store: memory for results, where other tapes share it that never run at once.

    Raises: NotRecordable.
    """
    tape = whole_tape_of(recorder, outputs, moving).with_pieces_joined().without_unused().with_outputs_apart()
    return tape.with_memory_planned(Store() if store is None else store).with_constants_seen_once()
