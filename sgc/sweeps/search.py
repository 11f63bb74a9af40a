"""A search by Optuna: it proposes settings, runs answer with their validation, and its journal keeps both.

Test rows are never looked at: what is made small is a validation error, or what is made large the validation bound.
"""

from __future__ import annotations

import statistics
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from sgc.errors import Interrupted, UsageError, suggest
from sgc.spec.spec import Spec
from sgc.sweeps.cell_runs import CellRunner
from sgc.sweeps.cells import Cell, seeded, value_text
from sgc.sweeps.outcomes import digest, measures_of
from sgc.sweeps.sweep_file import Choice, Range, Search, Settings, Value
from sgc.sweeps.sweep_runs import STOPPED, Tell

LoadCells = Callable[[Sequence[Cell]], dict[Cell, Spec]]


def _optuna() -> Any:  # Any: the module, which is not annotated for us
    try:
        return import_module("optuna")
    except ModuleNotFoundError:
        raise UsageError("a search needs Optuna: pip install 'sgc[sweeps]'") from None


@dataclass(frozen=True)
class Best:
    """The best of a search: trials with an answer, its settings and what they reached."""

    trials: int
    settings: Settings
    value: float
    measure: str

    def words(self) -> str:
        """Say it in a line."""
        settings = ", ".join(f"{key}={value_text(value)}" for key, value in self.settings.items())
        return f"{settings}: {self.measure} {self.value:.4f}"


class Searching:
    """A study of Optuna, in a journal beside the runs, that several processes may share."""

    def __init__(self, runner: CellRunner, search: Search, load: LoadCells) -> None:
        self.runner, self.search, self.load = runner, search, load
        check_measure(search.measure, next(iter(load(list(seeded(runner.sweep, ()))).values())))
        self.optuna = _optuna()
        self.optuna.logging.set_verbosity(self.optuna.logging.WARNING)
        backend = self.optuna.storages.journal.JournalFileBackend(str(runner.folder.path / "search.journal"))
        self.study = self.optuna.create_study(
            study_name=runner.sweep.name,
            storage=self.optuna.storages.JournalStorage(backend),
            sampler=self.optuna.samplers.TPESampler(seed=search.seed),
            direction="maximize" if search.measure == "validation_bound" else "minimize",
            load_if_exists=True,
        )
        self._lock = threading.Lock()

    def run(self, jobs: int, tell: Tell) -> None:
        """Make trials until there are as many as asked for, those of a stopped search counted. Raises: Interrupted."""
        state = self.optuna.trial.TrialState
        for trial in self.study.get_trials(deepcopy=False, states=(state.RUNNING,)):
            self.study.enqueue_trial(trial.params)  # of a search that was killed: its runs go on
            self.study.tell(trial.number, state=state.FAIL)
        with ThreadPoolExecutor(jobs) as pool:
            workers = [pool.submit(self._work, tell) for _ in range(jobs)]
            try:
                for worker in workers:
                    while not worker.done():
                        try:
                            worker.result(timeout=0.5)
                        except TimeoutError:
                            continue
                    worker.result()
            except BaseException as problem:
                self.runner.children.stop()
                if isinstance(problem, KeyboardInterrupt | Interrupted):
                    raise Interrupted(STOPPED) from None
                raise

    def cells(self) -> list[Cell]:
        """List the runs of all trials, in their order."""
        settings = dict.fromkeys(tuple(t.params.items()) for t in self.study.get_trials(deepcopy=False))
        return [
            cell for chosen in settings for cell in seeded(self.runner.sweep, tuple(self._plain(dict(chosen)).items()))
        ]

    def best(self) -> Best | None:
        """Tell the best trial; None where none has an answer."""
        done = self.study.get_trials(deepcopy=False, states=(self.optuna.trial.TrialState.COMPLETE,))
        if not done:
            return None
        best = self.study.best_trial
        return Best(len(done), self._plain(best.params), best.value, self.search.measure)

    def _work(self, tell: Tell) -> None:
        while not self.runner.children.stopping:
            with self._lock:
                state = self.optuna.trial.TrialState
                if (
                    len(self.study.get_trials(deepcopy=False, states=(state.COMPLETE, state.RUNNING, state.PRUNED)))
                    >= self.search.trials
                ):
                    return
                trial = self.study.ask()
                settings = {key: self._ask(trial, key, room) for key, room in self.search.space.items()}
            value = self._answer(settings, tell)
            if value is None:
                self.study.tell(trial, state=self.optuna.trial.TrialState.PRUNED)  # a failed run counts as a trial
            else:
                self.study.tell(trial, value)

    def _ask(self, trial: Any, key: str, room: Range | Choice) -> Value:  # Any: Optuna's trial
        if isinstance(room, Choice):
            return room.choices[trial.suggest_categorical(key, list(range(len(room.choices))))]
        if room.whole:
            return trial.suggest_int(key, int(room.low), int(room.high), step=int(room.step or 1), log=room.log)
        return _rounded(trial.suggest_float(key, room.low, room.high, step=room.step, log=room.log))

    def _plain(self, params: Settings) -> Settings:
        """Give the values behind Optuna's parameters: of choices it keeps the places."""
        rooms = {key: room for key, room in self.search.space.items() if key in params}
        return {
            key: room.choices[params[key]] if isinstance(room, Choice) else _rounded(params[key])
            for key, room in rooms.items()
        }

    def _answer(self, settings: Settings, tell: Tell) -> float | None:
        """Make the runs of a trial and give the mean of the measure over seeds; None where one failed."""
        cells = list(seeded(self.runner.sweep, tuple(settings.items())))
        specs = self.load(cells)
        values = []
        for cell in cells:
            outcome = self.runner.folder.outcome(cell)
            if outcome is None or outcome.of != digest(specs[cell], self.runner.sweep):
                outcome = self.runner(cell, specs[cell])
                tell(cell, outcome)
            value = measures_of(outcome).get(self.search.measure) if outcome.state == "done" else None
            if value is None:
                return None
            values.append(value)
        return statistics.fmean(values)


def _rounded(value: float) -> float:
    """Round a number to four digits, so that the names of runs can be read: no result turns on the fifth."""
    return value if isinstance(value, int) else float(f"{value:.4g}")


def check_measure(measure: str, spec: Spec) -> None:
    """Check that validation rows give what a search looks at. Raises: UsageError."""
    labelled = [f"validation_error.{name}" for name, node in spec.nodes.items() if node.supervision == "partial"]
    allowed = ["validation_bound", *labelled]
    if measure not in allowed:
        hint = suggest(measure, allowed)
        raise UsageError(f"search.measure: no '{measure}' on validation rows ({hint}); test rows choose nothing")
