"""Steps of training that are recorded once and replayed: for rows with the patterns and sizes of steps before.

The first step of its kind is computed as it stands, the second one is recorded while it is computed, the third one is
computed both ways, and what does not agree to the bit is never replayed; from the fourth step on the list of operations
runs alone (`sgc.tape.tape`). A replayed step gives the same bits, so a run that is stopped and resumed, and so
records other steps, comes to the same result.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sgc.errors import RunError
from sgc.evaluation.mean_terms import Terms, terms_of
from sgc.evaluation.measurement import blame
from sgc.randomness import generator_on
from sgc.runtime.batch import PatternRows
from sgc.runtime.model import Model
from sgc.runtime.sums import Sums
from sgc.tape.memory import Store
from sgc.tape.recording import NotRecordable, Recorder, recording
from sgc.tape.tape import tape_of
from sgc.training.gradient_check import gradient_norm
from sgc.training.shared_gradients import SharedGradients
from sgc.training.step_results import PartResult, StepResult, UnreadStep, alike, values_of

KEPT = 16  # recordings that are kept
UNUSED = 2048  # steps without a replay, after which a recording makes room for another
RECORDED = 128  # recordings that are made in all
MET = 4096  # kinds of steps that are remembered, the last ones
FAILED, ALL_FAILED = 3, 12  # replays that did not hold, after which it is recorded anew, and never again
WORTH = 64  # steps that a run must have left for a recording to pay


@dataclass
class Kind:
    """Steps whose rows have the same patterns and sizes, under the same numbers of the objective."""

    met: int = 0
    last: int = 0  # step at which it was met
    refusal: str = ""
    run: Callable[..., tuple[Tensor, ...]] | None = None
    changed: list[Tensor] = field(default_factory=list)  # by the step itself: the means of batch norms
    guards: list[Tensor] = field(default_factory=list)  # what is read of values, and has to come out the same
    with_gradient: list[bool] = field(default_factory=list)  # by parameter
    names: list[tuple[tuple[str, str], ...]] = field(default_factory=list)  # of the terms, by part
    checked: bool = False
    failed: int = 0  # replays

    def fail(self) -> None:
        """Take in that a replay did not hold. After some it is recorded anew, as where a weight comes to 1."""
        self.failed += 1
        if self.failed % FAILED == 0:
            self.run, self.checked = None, False
        if self.failed == ALL_FAILED:
            self.refusal = "what it decides changes from step to step"


class RecordedSteps:
    """Computes losses and their gradients, step after step; those of a kind that was met before by replay."""

    without_gradient: Callable[[], AbstractContextManager[Any]] = staticmethod(torch.inference_mode)
    problem = "a guard does not hold"  # why the last replay failed

    def __init__(
        self,
        model: Model,
        parameters: Sequence[torch.nn.Parameter],
        autocast: Callable[[], AbstractContextManager[Any]],
        backward: Callable[[Tensor], object],
        unscale: Callable[[], object],
        *,
        allowed: bool,
        shared: SharedGradients | None = None,
    ) -> None:
        """Compute the steps of a model.

        autocast, backward, unscale: how a step is computed as it stands. allowed: whether steps may be recorded at all.
        shared: what sums gradients over the processes of the training. All of these take the same way, whatever one of
        them finds: rows are shared out so that kinds of steps are the same everywhere, and whether one holds is agreed
        on with its gradient.
        """
        self.shared = shared
        self.model, self.parameters = model, list(parameters)
        self.autocast, self.backward, self.unscale, self.allowed = autocast, backward, unscale, allowed
        self._like, self._by_rate = model.like, model.spec.objective.follows_rate
        self._kinds: OrderedDict[Hashable, Kind] = OrderedDict()
        self._store = Store()
        self._steps = self._recorded = 0
        self._numbers = model.take_schedules_as_tensors()

    def take(
        self, parts: list[PatternRows], weights: Sequence[float | Tensor], *, terms: bool = False, left: int = 0
    ) -> StepResult:
        """Compute the loss of these rows and its gradient.

        weights: what a row counts, by part. terms: whether the terms of the bound are wanted. left: how many steps the
        run has left. Raises: RunError where the loss is not finite.
        """
        counts = self.counts(weights)
        if not self.allowed:
            return self._compute(parts, counts, terms)
        kind = self._met(self._key(parts, counts, terms))
        if kind.refusal or kind.met == 1:
            return self._compute(parts, counts, terms)
        if kind.run is None:
            if left < WORTH or not self._room():
                return self._compute(parts, counts, terms)
            self._recorded += 1
            return self._record(kind, parts, counts, terms)
        if not kind.checked:
            return self._check(kind, parts, counts, terms)
        replayed = self._replay(kind, parts, counts)
        if replayed is not None:
            return replayed
        kind.fail()
        return self._compute(parts, counts, terms)

    def counts(self, weights: Sequence[float | Tensor]) -> list[Tensor]:
        """Give what rows count as tensors."""
        return [w if isinstance(w, Tensor) else torch.tensor(w, dtype=self._like.dtype) for w in weights]

    def take_unread(
        self, parts: list[PatternRows], weights: Sequence[float | Tensor], before: Tensor, *, terms: bool = False
    ) -> UnreadStep | None:
        """Replay a step and read nothing of it; None, and nothing has changed, where it is not one to replay.

        before: whether the steps before it hold, a boolean scalar; where one does not, this one changes nothing.
        """
        counts = self.counts(weights)
        key = self._key(parts, counts, terms)
        kind = self._kinds.get(key)
        if not self.allowed or kind is None or not self._replays(kind):
            return None
        unchanged = self._state_of(kind)
        outputs = self._outputs(kind, parts, counts)
        if outputs is None:
            self._restore(kind, unchanged)
            return None
        self._met(key)
        loss, norm, results, guards = self._apart(kind, parts, outputs)
        holds = before & torch.isfinite(loss + norm)
        for guard, wanted in zip(guards, kind.guards, strict=True):
            holds = holds & (guard == wanted).all()
        with torch.no_grad():
            for tensor, old in zip(kind.changed, unchanged[1], strict=True):
                tensor.copy_(torch.where(holds, tensor, old))
        return UnreadStep(holds, loss, norm, results)

    def _replays(self, kind: Kind) -> bool:
        """Tell whether steps of a kind are replayed by now."""
        return kind.checked and not kind.refusal

    def _key(self, parts: Sequence[PatternRows], weights: Sequence[Tensor], terms: bool) -> Hashable:
        """Give what tells kinds of steps apart. Whatever it is, a recording holds it fixed."""
        return (
            terms,
            tuple(schedule.at(self.model.epoch) for schedule in self._numbers),
            self.model.rate if self._by_rate else None,
            tuple(map(_tensor_key, weights)),
            tuple(
                (
                    *(part.observed, part.size, None if part.share is None else part.share.count),
                    *((name, _tensor_key(value)) for name, value in _inputs_of(part)),
                )
                for part in parts
            ),
        )

    def _met(self, key: Hashable) -> Kind:
        """Count a step of a kind."""
        kind = self._kinds.setdefault(key, Kind())
        self._kinds.move_to_end(key)
        if len(self._kinds) > MET:
            self._kinds.popitem(last=False)
        self._steps += 1
        kind.met, kind.last = kind.met + 1, self._steps
        return kind

    def _room(self) -> bool:
        """Make room for another recording where there is none; say whether there is."""
        recorded = [kind for kind in self._kinds.values() if kind.run is not None]
        if len(recorded) >= KEPT:
            oldest = min(recorded, key=lambda kind: kind.last)
            if self._steps - oldest.last < UNUSED:
                return False
            oldest.run, oldest.checked = None, False
        return self._recorded < RECORDED

    # ---- the ways to compute a step

    def _compute(
        self, parts: list[PatternRows], weights: Sequence[Tensor], terms: bool, *, summed: bool = True
    ) -> StepResult:
        """Compute a step as it stands. summed: its gradient over all processes."""
        with self.autocast():
            loss, sums = self.model(parts, weights)
        value = _finite(loss, sums)
        for parameter in self.parameters:
            parameter.grad = None
        self.backward(loss)
        if self.shared is not None and summed:
            value, _ = self.shared.add_up(value)
        self.unscale()
        norm = self._norm()
        terms_of_parts = [_terms(part_sums) if terms else None for part_sums in sums]
        return StepResult(value, norm, _results(parts, [part_sums.last_bound for part_sums in sums], terms_of_parts))

    def _record(self, kind: Kind, parts: list[PatternRows], weights: Sequence[Tensor], terms: bool) -> StepResult:
        inputs = _inputs(parts, weights)
        with recording(inputs) as recorder, self.autocast():
            loss, sums = self.model(parts, weights)
            gradients = _owned(torch.autograd.grad(loss, self.parameters, allow_unused=True), self.parameters)
            norm = gradient_norm([gradient for gradient in gradients if gradient is not None])
            bounds = [part_sums.last_bound.detach() for part_sums in sums]
            terms_of_parts = [_terms(part_sums) for part_sums in sums] if terms else []
        value = _finite(loss, sums)
        kind.refusal = recorder.refusal
        kind.with_gradient = [gradient is not None for gradient in gradients]
        kind.names = [part_terms.names for part_terms in terms_of_parts]
        if not kind.refusal:
            outputs = [
                loss,
                norm,
                *bounds,
                *(part_terms.values for part_terms in terms_of_parts),
                *(g for g in gradients if g is not None),
            ]
            try:
                self._function_of(recorder, outputs, kind)
            except NotRecordable as problem:
                kind.refusal = str(problem)
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        if self.shared is not None:
            value, all_can = self.shared.add_up(value, holds=not kind.refusal)
            norm = self._norm()
            if not all_can:
                kind.refusal, kind.run = kind.refusal or "another process cannot record it", None
        return StepResult(value, norm, _results(parts, bounds, terms_of_parts or [None] * len(parts)))

    def _norm(self) -> Tensor:
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        return gradient_norm(gradients) if self.shared is None else self.shared.norm(gradients)

    def _function_of(self, recorder: Recorder, outputs: Sequence[Tensor], kind: Kind) -> None:
        """Make the function that takes steps of a kind from now on. Raises: NotRecordable."""
        tape = tape_of(recorder, outputs, self.model.moving_tensors(), self._store)
        kind.run, kind.guards = tape.function(), [answers for _, answers in tape.guards_together()]
        lasting = tape.constants.keys() - tape.scratch
        kind.changed = [tape.constants[slot] for slot in tape.changed() & lasting]

    def _replay(
        self, kind: Kind, parts: list[PatternRows], weights: Sequence[Tensor], *, summed: bool = True
    ) -> StepResult | None:
        """Run the recorded operations; None, and nothing has changed, where they do not hold for these rows.

        summed: the gradient over all processes; it is None where they do not hold in one of these.
        """
        before = self._state_of(kind)
        outputs = self._outputs(kind, parts, weights)
        if outputs is not None:
            loss, norm, results, guards = self._apart(kind, parts, outputs)
            value = float(loss)
            holds = math.isfinite(value) and all(map(torch.equal, guards, kind.guards))
            if self.shared is not None and summed:
                value, holds = self.shared.add_up(value, holds=holds)
                norm = self._norm()
            if holds:
                return StepResult(value, norm, results)
        elif self.shared is not None:  # what it should have exchanged with the others is lost
            raise RunError(f"torch refuses an operation that it took before ({self.problem})")
        self._restore(kind, before)
        return None

    def _outputs(self, kind: Kind, parts: list[PatternRows], weights: Sequence[Tensor]) -> tuple[Tensor, ...] | None:
        """Run the recorded operations; None where torch refuses one of them, for a reason that is kept."""
        assert kind.run is not None
        try:
            with self.without_gradient():
                return kind.run(*_inputs(parts, weights), generator_on(self._like.device))
        except Exception as problem:
            self.problem = str(problem).partition("\n")[0]
            return None

    def _apart(
        self, kind: Kind, parts: list[PatternRows], outputs: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, list[PartResult], tuple[Tensor, ...]]:
        """Take apart what a replay gives: the loss, the norm of the gradient, what it leaves of the parts, the guards.

        Gradients are laid at the parameters.
        """
        loss, norm, *others = outputs
        rest = iter(others)
        bounds = [next(rest) for _ in parts]
        terms_of_parts: list[Terms | None] = [Terms(names, next(rest)) for names in kind.names] or [None] * len(parts)
        for parameter, there in zip(self.parameters, kind.with_gradient, strict=True):
            parameter.grad = next(rest) if there else None
        return loss, norm, _results(parts, bounds, terms_of_parts), tuple(rest)

    def _state_of(self, kind: Kind) -> tuple[Tensor | None, list[Tensor]]:
        """Keep what a replay changes: the state of the generator, and the tensors that the step itself changes."""
        generator = generator_on(self._like.device)
        return None if generator is None else generator.get_state(), [tensor.clone() for tensor in kind.changed]

    @torch.no_grad()
    def _restore(self, kind: Kind, state: tuple[Tensor | None, list[Tensor]]) -> None:
        draws, tensors = state
        for tensor, old in zip(kind.changed, tensors, strict=True):
            tensor.copy_(old)
        generator = generator_on(self._like.device)
        if generator is not None and draws is not None:
            generator.set_state(draws)

    def _check(self, kind: Kind, parts: list[PatternRows], weights: Sequence[Tensor], terms: bool) -> StepResult:
        """Compute a step both ways, and never replay it where they differ in a bit."""
        before = self._state_of(kind)
        replayed = self._replay(kind, parts, weights, summed=False)
        gradients = [parameter.grad for parameter in self.parameters]
        changed = [tensor.clone() for tensor in kind.changed]
        self._restore(kind, before)
        result = self._compute(parts, weights, terms, summed=False)
        same = replayed is not None and (
            replayed.loss == result.loss
            and alike([replayed.norm], [result.norm])
            and alike(gradients, [parameter.grad for parameter in self.parameters])
            and alike(changed, kind.changed)
            and alike(values_of(replayed), values_of(result))
        )
        held = replayed is not None
        if self.shared is not None:
            value, held = self.shared.add_up(result.loss, holds=held)
            same = self.shared.agree(same)
            result = StepResult(value, self._norm(), result.parts)
        if not held:
            kind.fail()
            return result
        kind.checked = True
        if not same:
            kind.refusal, kind.run = "a replayed step is not the same", None
        return result


def _finite(loss: Tensor, sums: Sequence[Sums]) -> float:
    value = float(loss.detach())
    if not math.isfinite(value):
        raise RunError(blame(sums))
    return value


@torch.no_grad()
def _terms(sums: Sums) -> Terms:
    return terms_of(sums)


def _inputs_of(part: PatternRows) -> list[tuple[str, Tensor]]:
    return [*part.values.items(), *part.labelled.items()]


def _inputs(parts: Sequence[PatternRows], weights: Sequence[Tensor]) -> list[Tensor]:
    """List the tensors that differ from step to step."""
    values = [value for part in parts for _, value in _inputs_of(part)]
    return [*values, *weights]


def _tensor_key(tensor: Tensor) -> Hashable:
    return tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.storage_offset()


def _results(parts: Sequence[PatternRows], bounds: Sequence[Tensor], terms: Sequence[Terms | None]) -> list[PartResult]:
    return [PartResult(*result) for result in zip(parts, (b.detach() for b in bounds), terms, strict=True)]


def _owned(gradients: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> list[Tensor | None]:
    """Give gradients that lie as their parameters do, each in memory of its own, as `backward` leaves them."""
    taken = set[int]()
    owned: list[Tensor | None] = []
    for gradient, parameter in zip(gradients, parameters, strict=True):
        if gradient is not None:
            place = gradient.untyped_storage().data_ptr()
            if gradient.stride() != parameter.stride() or place in taken:
                gradient = torch.empty_like(parameter).copy_(gradient)
            taken.add(place)
        owned.append(gradient)
    return owned
