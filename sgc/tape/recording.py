"""A computation recorded as a straight list of operations, forward and backward, and run again on other tensors.

A step of training decides nothing that depends on the values of its rows: whatever it looks up, it looks up alike in
every step with the same patterns and sizes. So one step is watched below autograd, where each operation on tensors
passes by with the tensors that it takes and gives, those of the backward pass too; the list of them, without what
nobody needs, is the step. Running the list gives the same numbers, to the bit, without the work around them.

What the computation reads of values itself (`bool(tensor)`) becomes a guard: the list is good for tensors that give the
same answer. What reads a real number (`float(tensor)`), or has numbers from elsewhere, cannot be recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten

_READS = {aten._local_scalar_dense.default, aten.is_nonzero.default}
_UNSAID = {  # what they give lies in the memory of what they take, and they do not say so
    aten._unsafe_view.default,
    aten.unsafe_split.Tensor,
    aten.unsafe_split_with_sizes.default,
}
_MASKS = {torch.bool, torch.uint8}

_BATCH_NORMS = {aten.native_batch_norm.default, aten.cudnn_batch_norm.default, aten.miopen_batch_norm.default}
_RUNNING = {"running_mean", "running_var"}  # which these change without saying so


class NotRecordable(Exception):
    """Why a computation is no list of operations on tensors."""


class _Source:
    """Stands for the generator of a step in a recorded call."""


GENERATOR = _Source()
NOTHING = -1  # the slot of what an operation leaves out of its results


@dataclass(frozen=True)
class Slot:
    """A tensor of the computation, by number."""

    number: int


@dataclass(frozen=True)
class Call:
    """One operation: what it takes, with slots in place of tensors, and the slots of what it gives."""

    function: Any  # an operation of torch
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    given: tuple[int, ...]  # slots; of an operation that gives several tensors, all of them, or NOTHING
    several: bool

    taken: tuple[int, ...] = field(init=False, compare=False)  # the slots that it takes
    changes: tuple[int, ...] = field(init=False, compare=False)  # those whose values it changes in place

    def __post_init__(self) -> None:
        taken: list[int] = []
        _add_slots((self.args, *self.kwargs.values()), taken)
        changes: list[int] = []
        for place, name in _facts(self.function).written:
            _add_slots(self.args[place] if place < len(self.args) else self.kwargs.get(name), changes)
        object.__setattr__(self, "taken", tuple(taken))
        object.__setattr__(self, "changes", tuple(changes))

    @property
    def draws(self) -> bool:
        """Tell whether it takes random numbers."""
        return _facts(self.function).draws

    @property
    def aliases(self) -> bool:
        """Tell whether what it gives lies in the memory of what it takes first."""
        return _facts(self.function).aliases

    @property
    def fills(self) -> bool:
        """Tell whether it writes what it gives into tensors that it takes by name, and gives these."""
        return _facts(self.function).fills


@dataclass(frozen=True)
class _Facts:
    """What is so of an operation whatever it takes."""

    draws: bool
    aliases: bool
    fills: bool
    written: tuple[tuple[int, str], ...]  # places and names of the arguments whose values it changes


@cache
def _facts(function: Any) -> _Facts:  # Any: an operation of torch
    schema = function._schema
    fills = any(argument.kwarg_only and _is_written(argument) for argument in schema.arguments)
    aliases = function in _UNSAID or any(result.alias_info is not None for result in schema.returns)
    return _Facts(
        torch.Tag.nondeterministic_seeded in function.tags,
        aliases and not fills,
        fills,
        tuple(
            (place, argument.name)
            for place, argument in enumerate(schema.arguments)
            if _is_written(argument) or (function in _BATCH_NORMS and argument.name in _RUNNING)
        ),
    )


def _is_written(argument: Any) -> bool:  # Any: an argument of a schema
    return argument.alias_info is not None and argument.alias_info.is_write


def _add_slots(value: object, slots: list[int]) -> None:
    """Add the slots in an argument to a list, in order."""
    if isinstance(value, Slot):
        slots.append(value.number)
    elif isinstance(value, list | tuple):
        for element in value:
            _add_slots(element, slots)


def renamed(call: Call, names: Mapping[int, int]) -> Call:
    """Put other slots in place of some that a call takes."""
    if not any(slot in names for slot in call.taken):
        return call

    def name(value: Any) -> Any:  # Any: an argument of an operation
        if isinstance(value, Slot):
            return Slot(names.get(value.number, value.number))
        return tuple(map(name, value)) if isinstance(value, tuple) else value

    return replace(call, args=name(call.args), kwargs={key: name(value) for key, value in call.kwargs.items()})


_current: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


def not_recordable(why: str) -> None:
    """Say of the code around that what it does is no list of operations on tensors."""
    recorder = _current.get()
    if recorder is not None:
        recorder.refuse(why)


class Recorder(TorchDispatchMode):
    """Watches operations and lists them. Tensors that it has not met are constants: weights, and what modules keep."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # as in `sgc.randomness`: to keep torch._dynamo out, torch would import it

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.refusal = ""
        self.calls: list[Call] = []
        self.constants: dict[int, Tensor] = {}
        self.guards: list[tuple[int, int]] = []
        self._slot: dict[int, int] = {}
        self.tensors: list[Tensor] = []  # all of them, so that none takes the place of another
        self.inputs = [self._new(tensor) for tensor in inputs]

    def refuse(self, why: str) -> None:
        """Give the recording up; the first reason stays."""
        self.refusal = self.refusal or why

    def slot_of(self, tensor: Tensor, *, new: bool = False) -> int:
        """Give the slot of a tensor; one that was not met is a constant, unless it was made just now."""
        slot = self._slot.get(id(tensor))
        if slot is None:
            slot = self._new(tensor)
            if not new:
                self.constants[slot] = tensor
        return slot

    def _new(self, tensor: Tensor) -> int:
        self._slot[id(tensor)] = number = len(self.tensors)
        self.tensors.append(tensor)
        return number

    def _refer(self, value: Any) -> Any:  # Any: an argument of an operation
        if isinstance(value, Tensor):
            return Slot(self.slot_of(value))
        if isinstance(value, torch.Generator):
            return GENERATOR
        if isinstance(value, list | tuple):
            return tuple(map(self._refer, value))
        return value

    def _turned(self, function: Any, args: Any, kwargs: Any) -> Any:  # Any: an operation of torch, and what it takes
        """Take in that a tensor sees its memory another way: from now on it is another slot."""
        tensor = args[0]
        before, place = self.slot_of(tensor), tensor.untyped_storage().data_ptr()
        self.tensors[before] = old = tensor.detach()
        out = function(*args, **kwargs)
        if out.numel() != old.numel() or out.untyped_storage().data_ptr() != place:
            self.refuse(f"{function} takes other memory")
        if before in self.constants:
            self.constants[before] = old
        turned = self._new(tensor)
        self.calls.append(Call(aten.alias.default, (Slot(before),), {}, (turned,), several=False))
        return out

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.refusal:
            return function(*args, **kwargs)
        self.refuse(_obstacle(function, args))
        taken, named = self._refer(tuple(args)), {name: self._refer(value) for name, value in kwargs.items()}
        if torch.Tag.inplace_view in function.tags:
            return self._turned(function, args, kwargs)
        out = function(*args, **kwargs)
        if function in _READS:
            if args[0].dtype.is_floating_point:
                self.refuse("a number is read")
            else:
                self.guards.append((taken[0].number, int(out)))
            return out
        several = isinstance(out, list | tuple)
        results = list(out) if several else [out]
        if not all(isinstance(result, Tensor | None) for result in results):
            self.refuse(f"{function} gives no tensor")
            return out
        given = tuple(NOTHING if result is None else self.slot_of(result, new=True) for result in results)
        call = Call(function, taken, named, given, several)
        if call.draws and GENERATOR not in (*taken, *named.values()):
            self.refuse(f"{function} draws from no generator of the step's")
        self.calls.append(call)
        return out


def _obstacle(function: Any, args: Sequence[Any]) -> str:  # Any: an operation of torch, and what it takes
    """Say why an operation has no place in a list of operations on tensors; empty where it has."""
    if torch.Tag.dynamic_output_shape in function.tags:
        masks = function is not aten.index.Tensor or any(i is not None and i.dtype in _MASKS for i in args[1])
        if masks:
            return f"{function} gives a shape that follows from values"
    return ""


@contextmanager
def recording(inputs: Sequence[Tensor]) -> Iterator[Recorder]:
    """List the operations in the block; inputs: the tensors that differ from one run to the next."""
    recorder = Recorder(inputs)
    token = _current.set(recorder)
    try:
        with recorder:
            yield recorder
    finally:
        _current.reset(token)
