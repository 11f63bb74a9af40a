"""A tape compiled by torch.compile: what is drawn is drawn before, and the rest is one graph.

A graph of torch.compile takes no generator. So noise, which depends on nothing, is drawn into memory of its own first,
in the order in which it was recorded, and the graph reads it there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from sgc.tape.recording import GENERATOR, NotRecordable, Slot
from sgc.tape.tape import Tape
from sgc.tape.tape_graph import Graph


def compiled(tape: Tape, mode: str | None) -> Callable[..., tuple[Tensor, ...]]:
    """Compile a whole tape: the function that `Tape.function` gives, equal to it up to rounding.

    mode: of torch.compile. The first call compiles, which takes some ten seconds.

    Raises: NotRecordable where what is drawn depends on what is computed.
    """
    graph = Graph(tape.calls, tape.inputs, [*tape.constants], tape.guards, tape.outputs, tape.tensors)
    noise = {root: torch.empty_like(tape.tensors[root]) for root in graph.fresh}
    tensors = {
        slot: noise[view.root].as_strided(view.shape, view.stride, view.offset)
        for slot, view in graph.view.items()
        if view.root in noise
    }
    draws = [call for call in graph.calls if call.changes and tensors.keys() >= {*call.taken}]
    later = [call for call in graph.calls if not tensors.keys() & {*call.given}]
    for call in later:
        if call.draws:
            raise NotRecordable(f"{call.function} draws by what is computed")
    pure = replace(
        tape,
        calls=tuple(later),
        constants=tape.constants | {slot: tensors[slot] for call in later for slot in call.taken if slot in tensors},
        outputs=tuple(graph.now.get(slot, slot) for slot in tape.outputs),
        guards=tuple((graph.now.get(slot, slot), value) for slot, value in tape.guards),
        tensors=graph.tensors,
    )
    module, constants = pure.module(draws=False)
    run = torch.compile(module, fullgraph=True, dynamic=False, mode=mode)

    def function(*inputs: Any) -> tuple[Tensor, ...]:  # Any: tensors, and a generator at last
        *values, generator = inputs

        def put(value: Any) -> Any:  # Any: an argument of an operation
            return generator if value is GENERATOR else tensors[value.number] if isinstance(value, Slot) else value

        for call in draws:
            call.function(*map(put, call.args), **{name: put(value) for name, value in call.kwargs.items()})
        if mode is None:
            outputs: tuple[Tensor, ...] = run(*values, *constants)
            return outputs
        torch.compiler.cudagraph_mark_step_begin()
        return tuple(output.clone() for output in run(*values, *constants))  # the next run writes over what it gave

    return function
