"""Steps of training that torch.compile compiles, forward and backward in one graph, from the first of their kind on.

A compiled step equals a computed one up to rounding, not to the bit. So it is compiled before the first step of its
kind is taken: which steps of a run are compiled does not depend on where it was stopped, and a resumed run comes to the
same result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from sgc.randomness import generator_on
from sgc.runtime.batch import PatternRows
from sgc.runtime.model import Model
from sgc.tape.compiled import compiled
from sgc.tape.recording import Recorder
from sgc.tape.tape import whole_tape_of
from sgc.training.precision import Precision
from sgc.training.recorded_steps import Kind, RecordedSteps
from sgc.training.shared_gradients import SharedGradients
from sgc.training.step_results import StepResult

COMPILED = 8  # kinds of steps that are compiled; the others are computed as they stand


class CompiledSteps(RecordedSteps):
    """Computes losses and their gradients by compiled graphs, of the kinds of steps that a run meets first."""

    without_gradient = staticmethod(torch.no_grad)

    def __init__(
        self, *given: Any, mode: str | None, tolerance: float, note: Callable[[str], object], **settings: Any
    ) -> None:  # Any: as for RecordedSteps
        """Compute the steps of a model.

        mode: of torch.compile, None for its default. tolerance: how far compiled numbers may be from computed ones, as
        a share of these. note: called with the reasons for which steps are not compiled.
        """
        super().__init__(*given, **settings)
        self.mode, self.tolerance, self.note = mode, tolerance, note
        self._noted: set[str] = set()

    def take(
        self, parts: list[PatternRows], weights: Sequence[float | Tensor], *, terms: bool = False, left: int = 0
    ) -> StepResult:
        """Compute the loss of these rows and its gradient, as `RecordedSteps.take` does."""
        counts = self.counts(weights)
        if not self.allowed:
            return self._compute(parts, counts, terms)
        kind = self._met(self._key(parts, counts, terms))
        if kind.run is None and not kind.refusal:
            self._recorded += 1
            if self._recorded <= COMPILED:
                return self._compile(kind, parts, counts, terms)
            self._refuse(kind, f"a run has more than {COMPILED} kinds of steps")
        if kind.refusal:
            return self._compute(parts, counts, terms)
        return self._replay(kind, parts, counts) or self._compute(parts, counts, terms)

    def _replays(self, kind: Kind) -> bool:
        return kind.run is not None and not kind.refusal

    def _compile(self, kind: Kind, parts: list[PatternRows], weights: Sequence[Tensor], terms: bool) -> StepResult:
        """Compile a kind of steps, and take the first one."""
        state = self._state()
        with torch.no_grad(), self.autocast():  # so that what is made at first use is there
            self.model(parts, weights)
        self._go_back(state)
        computed = self._record(kind, parts, weights, terms)
        wanted = [
            computed.norm,
            *(part.bound for part in computed.parts),
            *(parameter.grad for parameter in self.parameters),
        ]
        self._go_back(state)
        if not kind.refusal:
            result = self._replay(kind, parts, weights)
            if result is None:
                self._refuse(kind, f"torch.compile gives up: {self.problem}")
            else:
                own = [
                    result.norm,
                    *(part.bound for part in result.parts),
                    *(parameter.grad for parameter in self.parameters),
                ]
                if all(self._agree(one, other, computed.norm) for one, other in zip(own, wanted, strict=True)):
                    return result
                self._refuse(kind, "a compiled step gives other numbers than a computed one")
            self._go_back(state)
        else:
            self._refuse(kind, kind.refusal)
        return self._compute(parts, weights, terms)

    def _function_of(self, recorder: Recorder, outputs: Sequence[Tensor], kind: Kind) -> None:
        tape = whole_tape_of(recorder, outputs, self.model.moving_tensors())
        kind.run, kind.guards = compiled(tape, self.mode), [answers for _, answers in tape.guards_together()]
        kind.changed = [tape.constants[slot] for slot in tape.changed() & tape.constants.keys()]

    def _agree(self, one: Tensor | None, other: Tensor | None, norm: Tensor) -> bool:
        """Tell whether a compiled tensor is a computed one up to rounding. norm: of the whole gradient."""
        if one is None or other is None:
            return one is other
        size = torch.linalg.vector_norm(other.double()) + norm.double() * self.tolerance
        return bool(torch.linalg.vector_norm(one.double() - other.double()) <= self.tolerance * size)

    def _refuse(self, kind: Kind, why: str) -> None:
        kind.refusal = why
        if why not in self._noted:
            self._noted.add(why)
            self.note(f"train.compile: steps are computed as they stand where they cannot be compiled ({why})")

    # ---- what a step changes besides weights

    def _state(self) -> tuple[Tensor | None, dict[str, Tensor], list[Tensor]]:
        generator = generator_on(self._like.device)
        means = {key: mean.clone() for key, mean in self.model.running_means.means.items()}
        buffers = [buffer.clone() for buffer in self.model.buffers()]
        return None if generator is None else generator.get_state(), means, buffers

    @torch.no_grad()
    def _go_back(self, state: tuple[Tensor | None, dict[str, Tensor], list[Tensor]]) -> None:
        draws, means, buffers = state
        generator = generator_on(self._like.device)
        if generator is not None and draws is not None:
            generator.set_state(draws)
        for key, mean in self.model.running_means.means.items():
            mean.copy_(means.get(key, torch.full_like(mean, math.nan)))
        for buffer, before in zip(self.model.buffers(), buffers, strict=True):
            buffer.copy_(before)


def steps_of(
    model: Model,
    parameters: Sequence[torch.nn.Parameter],
    precision: Precision,
    unscale: Callable[[], object],
    note: Callable[[str], object],
    *,
    allowed: bool,
    shared: SharedGradients | None = None,
) -> RecordedSteps:
    """Give what takes the steps of a model, recorded or compiled as its spec says, see `RecordedSteps`.

    shared: what sums gradients over several processes; what they exchange inside a step is not compiled.
    """
    given = model, parameters, precision.autocast, precision.backward, unscale
    mode, kind = model.spec.train.compile, precision.half or model.like.dtype
    if mode is not False and shared is not None:
        note("train.compile: steps of several processes are recorded, not compiled")
    if mode is False or shared is not None:
        return RecordedSteps(*given, allowed=allowed, shared=shared)
    return CompiledSteps(
        *given,
        mode=None if mode is True else mode,
        tolerance=torch.finfo(kind).eps ** 0.5,
        note=note,
        allowed=allowed,
    )
