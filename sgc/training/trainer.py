"""Training: the *streams* scheme with the expected gradient of Eq. (2), validation, checkpoints, resumption.

Whatever a step draws follows from the seed and the step alone, so that a run that was stopped anywhere goes on to
exactly the result of one that was not.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgc.arguments import path_of, truth
from sgc.data.dataset import DataSet
from sgc.errors import Interrupted, RunError, UsageError, option
from sgc.evaluation.collapse import Alarms, collapsed
from sgc.evaluation.measurement import validate
from sgc.randomness import Generators, drawing_from
from sgc.runs.extension import extended
from sgc.runs.folder_claim import claim, same_data, same_threads
from sgc.runs.run_folder import RunFolder, open_run
from sgc.runs.run_lock import locked
from sgc.runs.run_records import TrainingState
from sgc.runtime.batch import PatternRows
from sgc.runtime.compiler import model_of_run, take_all_weights
from sgc.runtime.data_variables import open_data
from sgc.runtime.model import Model
from sgc.runtime.modes import as_a_run
from sgc.runtime.streams import NOISE, Rates, Streams, TensorRows, batch_sizes, seed_for
from sgc.runtime.training_weights import RowWeights, row_weights
from sgc.runtime.weight_files import own_state
from sgc.schedules import value_at
from sgc.spec.check_weights import by_node
from sgc.spec.files_of_spec import spec_inputs
from sgc.spec.loader import load
from sgc.spec.outline import Outline
from sgc.spec.resolver import outline
from sgc.spec.spec import Spec
from sgc.training import engine
from sgc.training.compiled_steps import steps_of
from sgc.training.epoch_totals import EpochTotals
from sgc.training.gradient_check import blame_gradient, clip, is_finite
from sgc.training.gradient_variance import due, probe
from sgc.training.precision import device_of, precision_of
from sgc.training.recorded_steps import StepResult
from sgc.training.run import Run
from sgc.training.training_state import StateFault, optimizer_state, restore
from sgc.training.watchers import Watcher, check_watcher, watching

UNTOUCHED = "the last checkpoint is untouched"


def train(
    spec: Spec | str | Path | Mapping[str, Any],  # Any: plain data
    data: Any = None,  # Any: a mapping to arrays, or a data frame
    *,
    output: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    beside: str | Path | None = None,
    watcher: Watcher | None = None,
    debug: bool = False,
    trust: bool = False,
) -> Run:
    """Train a model and keep the run in a folder.

    spec: loaded, or what `sgc.load` takes. data: arrays by node, or a data frame, in place of the spec's own. output:
    the run folder, `runs/NAME` if None. resume: go on where the run in the folder stopped, or to another end, where the
    spec differs in that alone (train.epochs, train.stop). force: start over in a folder that holds a run. beside: where
    files that the spec names are looked for, the spec's own folder if None. debug: validate the arguments of every
    distribution. trust: as for `sgc.load`; a spec that is loaded already keeps what was said then.

    Raises: SpecError, DataError, UsageError, RunError (a term that is not finite), Interrupted (stopped, with its
    checkpoint).
    """
    for name, said in (("resume", resume), ("force", force), ("debug", debug), ("trust", trust)):
        truth(name, said, error=UsageError)
    if resume and force:
        raise UsageError(f"{option('resume', '-')} beside {option('force', '-')}: go on, or start over")
    check_watcher(watcher)
    spec = spec if isinstance(spec, Spec) else load(spec, trust=trust)
    place = Path(os.path.realpath(path_of("beside", beside))) if beside is not None else spec.folder
    folder = RunFolder(path_of("output", output) if output is not None else Path("runs") / spec.name)
    with locked(folder.path) as left, as_a_run(), watching(watcher, spec.name) as watched:
        state = claim(folder, spec, resume=resume, force=force, left=left)
        if state is None:
            folder.check_inputs(spec_inputs(spec, None, place))
        return _train(folder, spec, data, place, state, watched, debug=debug)


def _train(
    folder: RunFolder, spec: Spec, data: Any, place: Path, state: TrainingState | None, watcher: Watcher, *, debug: bool
) -> Run:  # Any: as above
    """Train in a folder that is locked, from a state on or anew."""
    changes: list[str] = []
    if state is not None and folder.spec_path.exists():
        # the same but for its end; its nodes may stand in another order, and weights go by order
        before, place_of_spec, trusted = load(folder.spec_path, trust=spec.trusted), spec.folder, spec.trusted
        spec, changes = extended(folder.path, before, spec, state)
        spec = spec.stands_in(place_of_spec, trusted=trusted)
    resolved = outline(spec)
    dataset = open_data(resolved, place, data)
    trainer = Trainer(resolved, dataset, folder, watcher, debug=debug)
    for note in [*changes, *dataset.notes]:
        watcher.note(note)
    if state is None:
        take_all_weights(trainer.model, place)
        info: dict[str, Any] = {  # Any: what JSON can say
            "seed": spec.train.seed,
            "gamma": trainer.rates.gamma,
            "rate": trainer.rates.rate,
            "alpha": {name: float(alpha) for name, alpha in trainer.model.settings().alpha.items()},
            "beside": str(place),
            "data": "arrays" if data is not None else "spec",
            "threads": torch.get_num_threads(),
            "rows": dict(zip(("unlabelled", "labelled"), trainer.streams.counts, strict=True)),
        }
        if spec.own_code():
            info["code"] = str(spec.folder)
        folder.start(spec, info)
        folder.write_data(dataset)
    else:
        same_data(folder, dataset, f"bring them back as they were, or start over with {option('force', '-')}")
        same_threads(folder, trainer.model.like.device)
        trainer.restore(state)
        folder.trim_metrics(trainer.epoch)
        if changes:
            folder.reopen(spec)
    trainer.train()
    return Run(folder.path, trainer.best_model(), trainer.epoch, folder.metrics())


class Trainer:
    """One run in progress: the model, its streams, its optimiser, and where it stands."""

    def __init__(
        self, resolved: Outline, dataset: DataSet, folder: RunFolder, watcher: Watcher, *, debug: bool
    ) -> None:
        self.spec, self.folder, self.watcher = resolved.spec, folder, watcher
        self.settings = resolved.spec.train
        device = device_of(self.settings.device)
        self.precision = precision_of(self.settings.precision, device)
        with drawing_from(Generators(seed_for(self.settings.seed, 0))):
            self.model = model_of_run(resolved).to(device)
        self.model.validate_args = debug or Model.validate_args
        like = self.model.like
        self.rows = TensorRows(dataset.train, resolved, like)
        self.held_out = TensorRows(dataset.validation, resolved, like, dataset.encoders).drawn_once(self.settings.seed)
        self.streams = self._streams()
        self._stand_at(0.0)
        self.supervised = not self.spec.maximised.generative
        if self.settings.stop is not None and (self.supervised or not self.held_out.count):
            lack = "the supervised bound has none without labels" if self.supervised else "there are no validation rows"
            raise UsageError(f"train.stop waits for a better validation bound, but {lack}")
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        if not parameters:
            raise UsageError("the model has nothing to learn: every distribution is fixed")
        self.parameters = parameters
        self.optimizer = engine.make_optimizer(self.settings.optimizer, parameters)
        self.precision.prepare(self.model)
        unscale = (lambda: None) if self.settings.clip_norm is None else partial(self.precision.unscale, self.optimizer)
        allowed = not debug and not resolved.spec.own_code() and self.precision.scaler is None
        self.steps = steps_of(self.model, parameters, self.precision, unscale, watcher.note, allowed=allowed)
        self.epoch = 0  # epochs that are done
        self.step = 0  # steps that are done
        self.best_bound, self.best_epoch = -math.inf, 0
        self.totals, self.alarms = EpochTotals(self.model.outline), Alarms()
        self.seconds = 0.0
        self.stop = False

    def _streams(self) -> Streams:
        objective, settings = self.spec.objective, self.settings
        try:
            return Streams(
                self.rows,
                batch=batch_sizes(settings.batch_size),
                gamma=objective.gamma,
                rate=objective.supervision_rate,
                seed=settings.seed,
                also_unlabelled=settings.labelled_also_unlabelled,
                supervised=not self.spec.maximised.generative,
                weights=self._row_weights(),
            )
        except ValueError as problem:
            raise UsageError(str(problem)) from None

    def _row_weights(self) -> RowWeights | None:
        chosen = by_node(self.spec)
        every = np.arange(self.rows.count)
        labels = {name: self.rows.take(name, every).numpy() for name in chosen if name in self.rows.names}
        chosen = {name: each for name, each in chosen.items() if name in labels}
        return row_weights(self.rows.count, self.rows.weights, labels, chosen)

    # the loop

    def train(self) -> None:
        """Run to the end, or until asked to stop. Raises: RunError, Interrupted."""
        self.watcher.begin(self.settings.epochs, self.streams.steps, self.step)
        with engine.repeatable(), engine.stopping(self._ask_to_stop):
            while self.epoch < self.settings.epochs and not self._patience_over():
                self._epoch()
            self.folder.finish()

    def _ask_to_stop(self) -> None:
        self.stop = True

    def _patience_over(self) -> bool:
        stop = self.settings.stop
        return stop is not None and self.epoch - self.best_epoch >= stop.patience and self.epoch > 0

    def _epoch(self) -> None:
        began = time.perf_counter()
        self.model.train()
        last = (self.epoch + 1) * self.streams.steps
        while self.step < last and not self.stop:
            self._step()
        self._check_weights()
        self.seconds += time.perf_counter() - began
        if self.step < last:
            self._save_weights("last")
            self._save_state()
            raise Interrupted(
                f"stopped in epoch {self.epoch + 1} after {self.step} steps; {option('resume', '-')} goes on"
            )
        self.epoch += 1
        line = self._line()
        if line["best"]:
            self.best_bound, self.best_epoch = line["selected_by"], self.epoch
            self._save_weights("best")
        line.pop("selected_by")
        self.totals = EpochTotals(self.model.outline)
        self.seconds = 0.0
        self._save_weights("last")
        self.folder.append_metrics(line)
        self._save_state()
        self.watcher.epoch(line)

    def _stand_at(self, epoch: float) -> None:
        """Move the model, and how labelled rows weigh, to where schedules stand."""
        self.model.epoch = epoch
        self.rates: Rates = self.streams.rates_at(epoch)
        self.model.gamma, self.model.rate = self.rates.gamma, self.rates.rate

    def _step(self) -> None:
        self._stand_at(self.step / self.streams.steps)
        engine.move_optimizer(self.optimizer, self.settings.optimizer, self.model.epoch)
        noise = seed_for(self.settings.seed, NOISE, self.step)
        with drawing_from(Generators(noise)):
            parts, weights = self.streams.take(self.step)
            result = self.learn(parts, weights, noise, terms=self.totals.wants_terms)
        self.totals.add(result)
        self.step += 1
        self.watcher.step(self.epoch + 1, self.step - self.epoch * self.streams.steps, self.streams.steps, -result.loss)

    def learn(
        self,
        parts: list[PatternRows],
        weights: Sequence[float | Tensor],
        noise: int | None = None,
        *,
        terms: bool = False,
    ) -> StepResult:
        """Take one step down the loss of these rows. Raises: RunError.

        noise: the seed of what is drawn for the step, rows included, by which it can be run again. terms: whether the
        terms of the bound are wanted.
        """
        where = f"step {self.step + 1} (epoch {self.epoch + 1})"
        try:
            left = self.settings.epochs * self.streams.steps - self.step
            result = self.steps.take(parts, weights, terms=terms, left=left)
        except RunError as problem:  # a parameter that no distribution can have, or a loss that is not finite
            raise RunError(f"{where}: {problem}; {UNTOUCHED}") from None
        limit = self.settings.clip_norm
        if not is_finite(self.parameters, result.norm):
            if not self.precision.skips_steps:
                raise RunError(f"{where}: {self._blamed(parts, weights, noise)}; {UNTOUCHED}")
        elif limit is not None:
            clip(self.parameters, result.norm, value_at(limit, self.model.epoch))
        if refused := engine.take_step(
            partial(self.precision.step, self.optimizer), self.settings.optimizer, self.model.epoch
        ):
            raise RunError(f"{where}: {refused}; {UNTOUCHED}")
        return result

    def _blamed(self, parts: list[PatternRows], weights: Sequence[float | Tensor], noise: int | None) -> str:
        """Run a step again to say by which term its gradient is not finite."""
        with drawing_from(None if noise is None else Generators(noise)), self.precision.autocast():
            if noise is not None:
                parts, weights = self.streams.take(self.step)
            sums = self.model.sums(parts, kept=True)
            return blame_gradient(self.model, self.model.loss(sums, weights), sums)

    def _check_weights(self) -> None:
        for name, tensor in own_state(self.model).items():
            if not bool(torch.isfinite(tensor).all()):
                owner = name.split(".")[1].removesuffix("_")
                raise RunError(
                    f"step {self.step} (epoch {self.epoch + 1}): node '{owner}': its weights are not finite after the "
                    f"update; {UNTOUCHED}"
                )

    # what is kept

    def _line(self) -> dict[str, Any]:  # Any: what JSON can say
        self._stand_at(float(self.epoch))
        line: dict[str, Any] = {"epoch": self.epoch, "step": self.step, **self.totals.means()}
        line["collapsed"] = collapsed(line["terms"])
        bound = math.nan
        if self.held_out.count:
            self.model.eval()
            with self._blaming("validation"):
                validation = validate(self.model, self.held_out, self.settings.seed)
            if not self.supervised:
                bound = validation.bound
                line |= {"validation_bound": bound, "active_units": validation.active_units}
            line["validation_error"] = validation.errors
        if due(self.epoch, self.streams.steps):
            with self._blaming("gradient"):
                line["gradient"] = probe(
                    self.model, self.streams, self.settings.seed, self.epoch, self.precision.autocast
                )
        warnings = self.alarms.hear(line, self.spec.objective.samples)
        if warnings:
            line["warnings"] = warnings
        # without validation rows there is nothing to choose by; and the classifier alone has no bound without labels,
        # its last weights count, chosen by no label that was hidden
        chosen = math.isnan(bound) or self.supervised or bound > self.best_bound
        line |= {"best": chosen, "selected_by": bound}
        return line | {"lr": self.optimizer.param_groups[0]["lr"], "seconds": round(self.seconds, 3)}

    @contextmanager
    def _blaming(self, measured: str) -> Iterator[None]:
        """Say of a fault in what is measured after an epoch where it was. Raises: RunError."""
        try:
            yield
        except RunError as problem:
            where = f"step {self.step} (epoch {self.epoch}), {measured}"
            raise RunError(f"{where}: {problem}; {UNTOUCHED}") from None

    def _save_weights(self, checkpoint: str) -> None:
        self._stand_at(self.step / self.streams.steps)
        info = {"epoch": self.model.epoch, "gamma": self.rates.gamma, "rate": self.rates.rate}
        self.folder.write_weights(checkpoint, self.model, info)

    def _save_state(self) -> None:
        self.folder.write_state(
            {
                "model": own_state(self.model),
                "optimizer": optimizer_state(self.optimizer),
                "precision": self.precision.state_dict(),
                "epoch": self.epoch,
                "step": self.step,
                "best_bound": self.best_bound,
                "best_epoch": self.best_epoch,
                "sums": self.totals.state(),
                "alarms": self.alarms.state(),
                "running_means": self.model.running_means.state(),
                "seconds": self.seconds,
            }
        )

    def restore(self, state: TrainingState) -> None:
        """Go on from a saved state. Raises: UsageError where it does not fit the model."""
        try:
            tensors, given = own_state(self.model), self.settings.optimizer
            chooses = bool(self.held_out.count) and not self.supervised
            restore(state, tensors, self.optimizer, given, self.precision, self.streams.steps, chooses=chooses)
        except StateFault as fault:
            raise UsageError(f"{self.folder.state_path}: does not fit the spec ({fault})") from None
        self.epoch, self.step, self.seconds = state.epoch, state.step, state.seconds
        self.best_bound, self.best_epoch = state.best_bound, state.best_epoch
        self.totals = EpochTotals.of(state.sums, self.model.outline)
        self.alarms = Alarms.of(state.alarms)
        self.model.running_means.restore(state.running_means)

    def best_model(self) -> Model:
        """Give the model with its best weights."""
        return open_run(self.folder.path, trust=self.spec.trusted)
