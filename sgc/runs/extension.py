"""Going on with a run to another end than it was started for: what may change, and how its schedules were read.

A schedule's value follows from the epoch alone, and `train.epochs` moves none: a run that goes on comes to what one
comes to that had the later end from the start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sgc.errors import UsageError, option
from sgc.schedules import Schedule, value_at
from sgc.spec.spec import Spec
from sgc.runs.run_records import TrainingState

KEYS = {"from", "to", "epochs", "curve"}  # of a schedule, as a resolved spec has it


def only_the_end(keys: Iterable[str]) -> bool:
    """Tell whether keys of a spec say no more than when a run ends.

    >>> only_the_end(["train.epochs", "train.stop.patience"]), only_the_end(["train.epochs", "train.seed"])
    (True, False)
    """
    return all(key == "train.epochs" or f"{key}.".startswith("train.stop.") for key in keys)


def extended(folder: Path, before: Spec, wanted: Spec, state: TrainingState) -> tuple[Spec, list[str]]:
    """Give the spec of a run with the end that is wanted now, and what a user should know of that.

    before: of the run, whose nodes keep their order; it comes back where the end is the same.

    Raises: UsageError where the run is beyond that end, or where more epochs would learn nothing.
    """
    ends = {"epochs": wanted.train.epochs, "stop": wanted.train.stop}
    if ends == {"epochs": before.train.epochs, "stop": before.train.stop}:
        return before, []
    made = before.model_copy(update={"train": before.train.model_copy(update=ends)})
    anew = f"start over with {option('force', '-')}"
    begun = state.epoch + bool(state.sums.steps)
    if made.train.epochs < begun:
        raise UsageError(
            f"{folder}: holds a run that is in epoch {begun}, and train.epochs is {made.train.epochs}: "
            f"give {begun} or more, or {anew}"
        )
    if made.train.epochs > state.epoch:
        _check_more(folder, made, state, anew)
    notes = [f"goes on after epoch {state.epoch} to epoch {made.train.epochs}, not {before.train.epochs}"]
    for path, schedule in schedules(made.plain()):
        notes.append(f"{path}: {reading(schedule, state.epoch, made.train.epochs)}")
    return made, notes


def _check_more(folder: Path, made: Spec, state: TrainingState, anew: str) -> None:
    lr, stop = made.train.optimizer.lr, made.train.stop
    if isinstance(lr, Schedule) and lr.to == 0 and lr.epochs <= state.epoch:
        raise UsageError(
            f"{folder}: train.optimizer.lr came down to 0 with epoch {lr.epochs} and stays there, so that more epochs "
            f"would learn nothing: {anew} and a longer schedule"
        )
    waited = state.epoch - state.best_epoch
    if stop is not None and state.epoch and waited >= stop.patience:
        raise UsageError(
            f"{folder}: ended after {waited} epochs without a better validation bound, and train.stop.patience is "
            f"{stop.patience}: give a greater one too, or {anew}"
        )


def schedules(plain: Any, path: str = "") -> Iterator[tuple[str, Schedule]]:  # Any: plain data
    """Find the schedules of a resolved spec, by where they stand."""
    if isinstance(plain, dict) and plain.keys() == KEYS and not isinstance(plain["from"], dict):
        yield path, Schedule.model_validate(plain)
        return
    named = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for key, below in named:
        yield from schedules(below, f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}" if path else key)


def reading(schedule: Schedule, now: int, end: int) -> str:
    """Say what a schedule gives from now on to the end, both in epochs that are done.

    >>> reading(Schedule.model_validate({"from": 1, "to": 0, "epochs": 10}), 4, 20)
    'goes on from 0.6 to 0 at epoch 10, where it stays'
    """
    if schedule.epochs <= now:
        return f"came to {schedule.to:g} at epoch {schedule.epochs}, where it stays"
    if schedule.epochs <= end:
        return f"goes on from {value_at(schedule, now):g} to {schedule.to:g} at epoch {schedule.epochs}, where it stays"
    return (
        f"goes on from {value_at(schedule, now):g} to {value_at(schedule, end):g} at epoch {end}; "
        f"it would come to {schedule.to:g} at epoch {schedule.epochs}"
    )
