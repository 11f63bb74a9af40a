"""A step down the loss: its gradient computed, checked, clipped; the weights moved; faults told by their step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor

from sgc.errors import ProcessLost, RunError, UsageError
from sgc.randomness import Generators, drawing_from
from sgc.runtime.batch import PatternRows
from sgc.runtime.model import Model
from sgc.runtime.shared_batch_norm import share_batch_norms
from sgc.runtime.streams import Streams
from sgc.runtime.weight_files import own_state
from sgc.schedules import value_at
from sgc.training import engine
from sgc.training.averaged_weights import AveragedWeights
from sgc.training.compiled_steps import steps_of
from sgc.training.gradient_check import NOBODY, blame_gradient, clip, clip_finite, is_finite
from sgc.training.parameter_groups import groups_of
from sgc.training.precision import Precision
from sgc.training.processes import Processes
from sgc.training.shared_gradients import SharedGradients
from sgc.training.step_results import StepResult, UnreadStep
from sgc.training.training_state import optimizer_state
from sgc.training.unread_steps import moving_only_where

if TYPE_CHECKING:
    from sgc.training.weight_shards import WeightShards

UNTOUCHED = "the last checkpoint is untouched"


class Learner:
    """What moves the weights of a model by the rows of its streams: the optimiser that its spec names."""

    def __init__(
        self,
        model: Model,
        streams: Streams,
        precision: Precision,
        note: Callable[[str], object],
        *,
        allowed: bool,
        processes: Processes | None = None,
        asked: Callable[[], bool] = lambda: False,
    ) -> None:
        """Prepare the steps.

        note, allowed: as for `steps_of`. processes: that train together; asked: whether this one is to stop.

        Raises: UsageError where there is nothing to learn.
        """
        self.model, self.streams, self.precision, self.settings = model, streams, precision, model.spec.train
        self.shards: WeightShards | None = None
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not self.parameters:
            raise UsageError("the model has nothing to learn: every distribution is fixed")
        self.optimizer = engine.make_optimizer(self.settings.optimizer, groups_of(model))
        precision.prepare(model)
        unscale = (lambda: None) if self.settings.clip_norm is None else partial(precision.unscale, self.optimizer)
        self.whole, self._gathered = model, False
        shared_out = self.settings.shard and processes is not None and not processes.alone
        if shared_out and precision.scaler is not None:
            raise UsageError("train.shard beside train.precision 16-mixed: take bf16-mixed")
        allowed = allowed and precision.scaler is None and not shared_out
        self.processes = processes or Processes()
        self.shared = None
        if not self.processes.alone:
            self.shared = SharedGradients(self.processes, self.parameters, asked)
            share_batch_norms(model)
            self.processes.same_weights(list(own_state(model).values()))
        self.steps = steps_of(model, self.parameters, precision, unscale, note, allowed=allowed, shared=self.shared)
        frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
        moved = {name: tensor for name, tensor in own_state(model).items() if name not in frozen}
        self._moved_names = list(moved)
        # a layer of own code may put another tensor in a buffer's place
        kept = (lambda: moved) if not model.spec.own_code() else self._moved
        average = self.settings.averaged
        self.average = None if average is None else AveragedWeights(average, kept)

    # ---- weights that are shared out

    def share_out(self, whole: Callable[[], Model]) -> str:
        """Share out the weights of networks over the processes; give what there is to say of it.

        whole: makes the model into which they are gathered. Raises: UsageError where torch cannot.
        """
        from sgc.training.weight_shards import WeightShards

        if self.shared is None:
            return "one process has all weights"
        self.whole = whole()
        self.shards = WeightShards(self.model, self.processes, self.optimizer, self.parameters)
        self.steps.parameters = list(self.parameters)
        self.shared.share_out(self.shards)
        if self.average is not None:
            self.average.moved = self._moved
            for name in self.average.means.keys() & self.shards.by_name.keys():
                rows = self.shards.rows_here(self.average.means[name])
                self.average.means[name] = rows.to(self.shards.by_name[name].own.device, copy=True)
        return "steps are computed, not replayed, and the gradient's variance is not measured"

    def tensors(self) -> dict[str, Tensor]:
        """Give the tensors of the model by name, of those that are shared out the rows that are here."""
        return own_state(self.model) if self.shards is None else self.shards.tensors()

    def common_tensors(self) -> list[Tensor]:
        """Give what all processes have alike: weights, and what the optimiser keeps."""
        means = {} if self.average is None else self.average.means
        if self.shards is None:
            return [*engine.kept(own_state(self.model), self.optimizer), *means.values()]
        whole = [mean for name, mean in means.items() if name not in self.shards.by_name]
        return [*self.shards.whole_tensors(self.optimizer), *whole]

    def _moved(self) -> dict[str, Tensor]:
        """Give the tensors that training changes by name, of those that are shared out the rows that are here."""
        tensors = self.tensors()
        return {name: tensors[name] for name in self._moved_names}

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Lay the average of the weights, if there is one, where they are, in the block."""
        if self.average is None:
            yield
            return
        with self.average.in_place():
            self._gathered = False
            yield
        self._gathered = False

    def gathered(self) -> Model:
        """Give the model with all weights as they are now, which the leader alone needs; all call it together."""
        if self.shards is not None and not self._gathered:
            self.shards.gather_into(self.whole)
        self._gathered = True
        self.whole.epoch, self.whole.gamma, self.whole.rate = self.model.epoch, self.model.gamma, self.model.rate
        return self.whole

    def kept_state(self) -> dict[str, Any]:  # Any: tensors and places
        """Give what the optimiser keeps for each weight, whole, which the leader alone needs; all call it together."""
        if self.shards is None:
            return optimizer_state(self.optimizer)
        places = list(range(len(self.parameters)))
        return {"state": self.shards.gather_state(self.optimizer), "param_groups": [{"params": places}]}

    def kept_average(self) -> dict[str, Any]:  # Any: tensors, and their number of steps
        """Give the average of the weights, whole, which the leader alone needs; all call it together."""
        if self.average is None:
            return {}
        means = self.average.means if self.average.count else {}
        if self.shards is not None and means:
            with self.averaged():
                whole = own_state(self.gathered())
                means = {name: whole[name].clone() for name in means} if self.processes.leads else {}
        return {"count": self.average.count, "means": means}

    def learn(
        self,
        parts: list[PatternRows],
        weights: Sequence[float | Tensor],
        step: int = 0,
        noise: int | None = None,
        *,
        terms: bool = False,
    ) -> StepResult:
        """Take one step down the loss of these rows. Raises: RunError.

        step: its number, from 0. noise: the seed of what is drawn for the step, rows included, by which it can be run
        again. terms: whether the terms of the bound are wanted.
        """
        self._gathered = False
        where = f"step {step + 1} (epoch {step // self.streams.steps + 1})"
        try:
            left = self.settings.epochs * self.streams.steps - step
            result = self.steps.take(parts, weights, terms=terms, left=left)
        except ProcessLost:
            raise
        except RunError as problem:  # a parameter that no distribution can have, or a loss that is not finite
            raise RunError(f"{where}: {problem}; {UNTOUCHED}") from None
        finite = is_finite(self.parameters, result.norm)
        if self.shards is not None and self.shared is not None and not bool(result.norm.isfinite()):
            finite = self.shared.agree(finite)  # each looks at its own rows alone
        if not finite:
            if not self.precision.skips_steps:
                raise RunError(f"{where}: {self._blamed(parts, weights, step, noise)}; {UNTOUCHED}")
        elif self.settings.clip_norm is not None:
            clip(self.parameters, result.norm, value_at(self.settings.clip_norm, self.model.epoch))
        if refused := self._move(partial(self.precision.step, self.optimizer)):
            raise RunError(f"{where}: {refused}; {UNTOUCHED}")
        if finite and self.average is not None and self.average.begun(self.model.epoch):
            self.average.add()
        return result

    def learn_unread(
        self, parts: list[PatternRows], weights: Sequence[float | Tensor], before: Tensor, *, terms: bool = False
    ) -> UnreadStep | None:
        """Take one step and read nothing of it, where it can be replayed; else give None, and nothing has changed.

        before: whether the steps before it hold, a boolean scalar. terms: as above.
        """
        step = self.steps.take_unread(parts, weights, before, terms=terms)
        if step is None:
            return None
        if self.settings.clip_norm is not None:
            clip_finite(self.parameters, step.norm, value_at(self.settings.clip_norm, self.model.epoch))
        with moving_only_where(self.optimizer, step.holds):
            refused = self._move(self.optimizer.step)
        if refused:
            return None  # it is refused once more by `learn`, in words
        if self.average is not None and self.average.begun(self.model.epoch):
            self.average.add(step.holds)
        return step

    def _move(self, step: Callable[[], object]) -> str:
        return engine.take_step(step, self.settings.optimizer, self.model.epoch)

    def _blamed(self, parts: list[PatternRows], weights: Sequence[float | Tensor], step: int, noise: int | None) -> str:
        """Run a step again to say by which term its gradient is not finite."""
        if self.shards is not None:  # torch gathers weights for whole backward passes alone
            return self.processes.words(NOBODY, NOBODY)
        with drawing_from(None if noise is None else Generators(noise)), self.precision.autocast():
            if noise is not None:
                parts, weights = self.streams.take(step)
            sums = self.model.sums(parts, kept=True)
            words = blame_gradient(self.model, self.model.loss(sums, weights), sums)
            return self.processes.words(words, NOBODY)
