"""Training: the *streams* scheme with the expected gradient of Eq. (2), validation, checkpoints, resumption.

Whatever a step draws follows from the seed and the step alone, so that a run that was stopped anywhere goes on to
exactly the result of one that was not.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sgc.arguments import path_of, truth, whole_number
from sgc.data.dataset import DataSet
from sgc.errors import Interrupted, ProcessLost, RunError, UsageError, option
from sgc.evaluation.collapse import Alarms, collapsed
from sgc.evaluation.measurement import validate
from sgc.randomness import Generators, drawing_from
from sgc.runs.folder_claim import claim
from sgc.runs.run_folder import RunFolder
from sgc.runs.run_lock import locked
from sgc.runs.run_records import TrainingState
from sgc.runtime.batch import PatternRows
from sgc.runtime.compiler import model_of_run, take_all_weights
from sgc.runtime.data_variables import open_data
from sgc.runtime.model import Model
from sgc.runtime.modes import as_a_run
from sgc.runtime.streams import NOISE, Rates, TensorRows, seed_for
from sgc.runtime.weight_files import own_state
from sgc.spec.files_of_spec import spec_inputs
from sgc.spec.loader import load
from sgc.spec.outline import Outline
from sgc.spec.resolver import outline
from sgc.spec.spec import Spec
from sgc.trackers.tracker import Logger
from sgc.training import engine
from sgc.training.epoch_totals import EpochTotals, sums_of
from sgc.training.gradient_check import check_weights
from sgc.training.gradient_variance import due, probe
from sgc.training.launch_environment import launched
from sgc.training.learner import UNTOUCHED, Learner
from sgc.training.precision import own_device, precision_of
from sgc.training.processes import Processes, together
from sgc.training.run import Run
from sgc.training.run_start import begin, best_of, check_same_data, go_on, settled
from sgc.training.run_streams import streams_of
from sgc.training.tracking import Tracking, check_loggers
from sgc.training.training_state import StateFault, restore, restore_average
from sgc.training.unread_steps import ON_A_GPU, ReadStep, UnreadSteps, can_wait
from sgc.training.watchers import Muted, Watcher, check_watcher, watching

if TYPE_CHECKING:
    from sgc.training.keeper import Keeper


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
    window: int | None = None,
    loggers: Sequence[Logger] = (),
    tags: Mapping[str, str] | None = None,
) -> Run:
    """Train a model and keep the run in a folder.

    spec: loaded, or what `sgc.load` takes. data: arrays by node (scipy's sparse ones too), a data frame, or an AnnData,
    in place of the spec's own. output: the run folder, `runs/NAME` if None. resume: go on where the run in the folder
    stopped, or to another end, where the spec differs in that alone (train.epochs, train.stop). force: start over in a
    folder that holds a run. beside: where files that the spec names are looked for, the spec's own folder if None; a
    run that is resumed by its own spec.yaml knows. debug: validate the arguments of every distribution. trust: as for
    `sgc.load`; a spec that is loaded already keeps what was said then. window: after how many steps their numbers are
    read from the device, 16 on a GPU and 1 on a CPU if None; the result is the same. loggers: as Lightning has them,
    beside those of train.loggers. tags: what these note of the run.

    Raises: SpecError, DataError, UsageError, RunError (a term that is not finite), Interrupted (a checkpoint is kept).
    """
    for name, said in {"resume": resume, "force": force, "debug": debug, "trust": trust}.items():
        truth(name, said, error=UsageError)
    if resume and force:
        raise UsageError(f"{option('resume', '-')} beside {option('force', '-')}: go on, or start over")
    check_watcher(watcher)
    if window is not None:
        window = whole_number("window", window, error=UsageError)
    spec = spec if isinstance(spec, Spec) else load(spec, trust=trust)
    tags = {} if tags is None else tags
    trackers = check_loggers(spec, loggers, tags)
    place = Path(os.path.realpath(path_of("beside", beside))) if beside is not None else spec.folder
    folder = RunFolder(path_of("output", output) if output is not None else Path("runs") / spec.name)
    found = launched()
    if found is not None and found.restarts and force:  # a first attempt has started over
        resume, force = True, False
    with ExitStack() as stack:
        processes = stack.enter_context(together(found, gpu=spec.train.device != "cpu" and torch.cuda.is_available()))
        left = stack.enter_context(locked(folder.path)) if processes.leads else False
        stack.enter_context(as_a_run())
        watched = stack.enter_context(watching(watcher if processes.leads else Muted(), spec.name))
        tracking = Tracking(watched, trackers if processes.leads else (), tags)

        def claimed() -> tuple[TrainingState | None, Path]:
            looked_in = place
            if resume and folder.exists() and place == folder.path.resolve():
                looked_in = Path(folder.record().beside)  # the spec is the run's own spec.yaml
            state = claim(folder, spec, resume=resume, force=force, left=left)
            if state is None:
                folder.check_inputs(spec_inputs(spec, None, looked_in))
            return state, looked_in

        state, place = processes.from_leader(claimed)
        return _train(folder, spec, data, place, state, tracking, processes, debug=debug, window=window)


def _train(
    folder: RunFolder,
    spec: Spec,
    data: Any,  # Any: as above
    place: Path,
    state: TrainingState | None,
    tracking: Tracking,
    processes: Processes,
    **how: Any,  # Any: `debug` and `window` of a trainer
) -> Run:
    """Train in a folder that is locked, from a state on or anew."""
    spec, changes, chosen = processes.from_leader(lambda: settled(folder, spec, state))
    resolved = outline(spec)
    read = partial(processes.from_leader, partial(folder.encoders, resolved))
    dataset = open_data(resolved, place, data, resumed=None if state is None else read)
    check_same_data(dataset, processes)
    trainer = Trainer(resolved, dataset, folder, tracking, processes, **how)
    for note in [*changes, *chosen, *dataset.notes]:
        tracking.note(note)
    model = trainer.model
    if state is None:
        take_all_weights(model, place)
        processes.same_weights(list(own_state(model).values()))
        processes.from_leader(
            lambda: begin(folder, model, dataset, trainer.streams, processes, place, given=data is not None)
        )
    else:
        for note in processes.from_leader(lambda: go_on(folder, model, dataset, processes, changes, state.epoch)):
            tracking.note(note)
        trainer.restore(state)
    with tracking.of(folder, model, dataset, resumed=state is not None):
        trainer.train()
        best, lines = (
            best_of(folder, trainer.learner.whole, processes, trust=spec.trusted),
            processes.from_leader(folder.metrics),
        )
        tracking.show_best(best, dataset, lines)
    return Run(folder.path, best, trainer.epoch, lines)


class Trainer:
    """One run in progress: the model, its streams, its optimiser, and where it stands."""

    def __init__(
        self,
        resolved: Outline,
        dataset: DataSet,
        folder: Keeper,
        watcher: Watcher,
        processes: Processes | None = None,
        *,
        debug: bool,
        window: int | None = None,
    ) -> None:
        """Prepare a run. processes: that train together. window: as for `train`."""
        self.resolved, self.spec, self.folder, self.watcher = resolved, resolved.spec, folder, watcher
        self.processes = processes = processes or Processes()
        self.settings = resolved.spec.train
        device = own_device(self.settings.device, processes)
        self.precision = precision_of(self.settings.precision, device)
        self.model = self._new_model()
        if self.settings.shard and not processes.alone:
            from sgc.training.weight_shards import move_but_networks

            move_but_networks(self.model, device)
        else:
            self.model.to(device)
        self.model.validate_args = debug or Model.validate_args
        like = self.model.like
        sharing = processes.sharing
        self.rows = TensorRows(dataset.train, resolved, like, sharing=sharing)
        self.held_out = TensorRows(dataset.validation, resolved, like, dataset.encoders, sharing)
        self.held_out.drawn_once(self.settings.seed)
        self.streams = streams_of(self.spec, self.rows)
        self._stand_at(0.0)
        self.supervised = not self.spec.maximised.generative
        if self.settings.stop is not None and (self.supervised or not self.held_out.count):
            lack = "the supervised bound has none without labels" if self.supervised else "there are no validation rows"
            raise UsageError(f"train.stop waits for a better validation bound, but {lack}")
        self.stop = self.asked = False  # of this process; and whether one of them is, which all know after a step
        allowed = not debug and not resolved.spec.own_code()
        given = (self.model, self.streams, self.precision, watcher.note)
        self.learner = Learner(*given, allowed=allowed, processes=processes, asked=lambda: self.asked)
        self.parameters, self.optimizer = self.learner.parameters, self.learner.optimizer
        self.steps = self.learner.steps
        self.epoch = 0  # epochs that are done
        self.step = 0  # steps that are done
        self.best_bound, self.best_epoch = -math.inf, 0
        self.totals, self.alarms = EpochTotals(self.model.outline), Alarms()
        self.seconds = 0.0
        limit = (ON_A_GPU if device.type == "cuda" else 1) if window is None else window
        limit = limit if processes.alone else 1  # all have to agree whether a step holds before the next one
        self.unread = UnreadSteps(limit if can_wait(self.optimizer) else 1, device)

    # the loop

    def train(self) -> None:
        """Run to the end, or until asked to stop. Raises: RunError, Interrupted."""
        if self.settings.shard:
            self.watcher.note(f"train.shard: {self.learner.share_out(self._new_model)}")
        self.watcher.begin(self.settings.epochs, self.streams.steps, self.step)
        with engine.repeatable(), engine.stopping(self._ask_to_stop):
            while self.epoch < self.settings.epochs and not self._patience_over():
                self._epoch()
            if self.processes.leads:
                self.folder.finish()

    def _new_model(self) -> Model:
        with drawing_from(Generators(seed_for(self.settings.seed, 0))):
            return model_of_run(self.resolved)

    def _ask_to_stop(self) -> None:
        self.asked = True
        self.stop = self.processes.alone  # else all stop after the same step

    def _patience_over(self) -> bool:
        stop = self.settings.stop
        return stop is not None and self.epoch - self.best_epoch >= stop.patience and self.epoch > 0

    def _epoch(self) -> None:
        began = time.perf_counter()
        self.model.train()
        self.processes.same_weights(self.learner.common_tensors())  # if machines round otherwise
        last = (self.epoch + 1) * self.streams.steps
        self._steps_to(last)
        check_weights(self.learner.tensors(), f"step {self.step} (epoch {self.epoch + 1})", UNTOUCHED)
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
        if self.processes.leads:
            self.folder.append_metrics(line)
        self._save_state()
        with self.learner.averaged():
            self.watcher.epoch(line)

    def _stand_at(self, epoch: float) -> None:
        """Move the model, and how labelled rows weigh, to where schedules stand."""
        self.model.epoch = epoch
        self.rates: Rates = self.streams.rates_at(epoch)
        self.model.gamma, self.model.rate = self.rates.gamma, self.rates.rate

    def _steps_to(self, last: int) -> None:
        """Take steps to the last one, or until asked to stop, and read what they leave."""
        while self.step < last and not self.stop:
            while self.step + len(self.unread) < last and not self.stop:
                self._step()
            self._read()

    def _step(self, *, wait: bool = True) -> None:
        """Take the next step. wait: its numbers may be read later."""
        number = self.step + len(self.unread)
        self._stand_at(number / self.streams.steps)
        engine.move_optimizer(self.optimizer, self.settings.optimizer, self.model.epoch)
        noise = seed_for(self.settings.seed, NOISE, number)
        with drawing_from(Generators(noise)):
            parts, weights = self.streams.take(number)
            if wait and self.unread.limit > 1 and self._taken_unread(parts, weights):
                return
            if not self._read():  # the step is another one now
                return
            result = self.learner.learn(parts, weights, number, noise, terms=self.wants_terms)
        if self.learner.shared is not None:
            self.stop = self.learner.shared.stop
        sums = sums_of(result.parts)
        self._count(ReadStep(result.loss, sums, sums.numbers()))

    @property
    def wants_terms(self) -> bool:
        """Whether the terms of the next step are to be taken in."""
        return self.totals.wants_terms(ahead=len(self.unread))

    def _taken_unread(self, parts: list[PatternRows], weights: Sequence[float | Tensor]) -> bool:
        """Take a step whose numbers are read later, if it can be replayed; say whether it was taken."""
        step = self.learner.learn_unread(parts, weights, self.unread.holds, terms=self.wants_terms)
        if step is None:
            return False
        self.unread.add(step, sums_of(step.parts))
        if self.unread.full:
            self._read()
        return True

    def _read(self) -> bool:
        """Count the steps that wait for it, and take the first one anew that does not hold; say whether all do."""
        waiting = len(self.unread)
        steps, all_hold = self.unread.read()
        if self.learner.average is not None:
            self.learner.average.take_back(waiting - len(steps))
        for step in steps:
            self._count(step)
        if not all_hold:
            self._step(wait=False)
        return all_hold

    def _count(self, step: ReadStep) -> None:
        self.totals.add(step.loss, step.sums, step.numbers)
        self.step += 1
        self.watcher.step(self.epoch + 1, self.step - self.epoch * self.streams.steps, self.streams.steps, -step.loss)

    # what is kept

    def _line(self) -> dict[str, Any]:  # Any: what JSON can say
        self._stand_at(float(self.epoch))
        totals = self.totals.over(self.processes, self.model.outline)
        line: dict[str, Any] = {"epoch": self.epoch, "step": self.step, **totals.means()}
        line["collapsed"] = collapsed(line["terms"])
        bound = math.nan
        if self.held_out.count:
            self.model.eval()
            with self._blaming("validation"), self.learner.averaged():
                validation = validate(self.model, self.held_out, self.settings.seed)
            if not self.supervised:
                bound = validation.bound
                line |= {"validation_bound": bound, "active_units": validation.active_units}
            line["validation_error"] = validation.errors
        if due(self.epoch, self.streams.steps) and self.learner.shards is None:
            with self._blaming("gradient"):
                given = (self.model, self.streams, self.settings.seed, self.epoch, self.precision.autocast)
                line["gradient"] = probe(*given, self.processes.sum)
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
        except ProcessLost:
            raise
        except RunError as problem:
            where = f"step {self.step} (epoch {self.epoch}), {measured}"
            raise RunError(f"{where}: {problem}; {UNTOUCHED}") from None

    def _save_weights(self, checkpoint: str) -> None:
        self._stand_at(self.step / self.streams.steps)
        info = {"epoch": self.model.epoch, "gamma": self.rates.gamma, "rate": self.rates.rate}
        with self.learner.averaged():
            model = self.learner.gathered()
            if self.processes.leads:
                self.folder.write_weights(checkpoint, model, info)

    def _save_state(self) -> None:
        totals = self.totals.over(self.processes, self.model.outline)
        average = self.learner.kept_average()
        model, optimizer = self.learner.gathered(), self.learner.kept_state()
        if not self.processes.leads:
            return
        self.folder.write_state(
            {
                "model": own_state(model),
                "optimizer": optimizer,
                **({"average": average} if average else {}),
                "precision": self.precision.state_dict(),
                "epoch": self.epoch,
                "step": self.step,
                "best_bound": self.best_bound,
                "best_epoch": self.best_epoch,
                "sums": totals.state(),
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
            learned = dict(self.model.named_parameters())
            restore_average(self.learner.average, state, self.streams.steps, learned)
        except StateFault as fault:
            raise UsageError(f"{self.folder.state_path}: does not fit the spec ({fault})") from None
        self.epoch, self.step, self.seconds = state.epoch, state.step, state.seconds
        self.best_bound, self.best_epoch = state.best_bound, state.best_epoch
        self.totals = EpochTotals.of(state.sums, self.model.outline)
        if not self.processes.leads:
            self.totals.emptied()
        self.alarms = Alarms.of(state.alarms)
        self.model.running_means.restore(state.running_means)
