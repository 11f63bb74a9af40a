"""Continuing a run to another end than it was started with: what may change, and what its schedules then do.

Trackers, which change nothing of a run, may be others too, and weights be shared out over processes or not.

The value of a schedule depends on the epoch alone, and `train.epochs` changes no schedule, so a continued run gives the
same result as one that had the later end from the start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sgc.errors import UsageError, option
from sgc.runs.run_records import TrainingState
from sgc.schedules import Schedule, value_at
from sgc.spec.spec import Spec

TRACKED = ("loggers", "pictures")  # keys of `train` that say what trackers get
KEYS = {"from", "to", "epochs", "curve"}  # of a schedule in a resolved spec


def only_the_end(keys: Iterable[str]) -> bool:
    """Tell whether keys of a spec only determine when a run ends, or who is told of it.

    >>> only_the_end(["train.epochs", "train.stop.patience"]), only_the_end(["train.epochs", "train.seed"])
    (True, False)
    """
    others = [f"train.{key}" for key in (*TRACKED, "shard")]
    return all(key in ("train.epochs", *others) or f"{key}.".startswith("train.stop.") for key in keys)


def extended(folder: Path, before: Spec, wanted: Spec, state: TrainingState) -> tuple[Spec, list[str]]:
    """Give the spec of a run with the end, trackers and shards that are wanted now, and notes about it for the user.

    before: the spec of the run, whose nodes keep their order; it is returned as it is if these are the same.

    Raises: UsageError if the run is already beyond that end, or if more epochs would learn nothing.
    """
    tracked = {key: getattr(wanted.train, key) for key in TRACKED}
    told = []
    if tracked != {key: getattr(before.train, key) for key in TRACKED}:
        before = before.model_copy(update={"train": before.train.model_copy(update=tracked)})
        names = [tracker.name for tracker in wanted.train.loggers or ()]
        told = [f"goes on with {' and '.join(names) or 'no'} tracker{'s' * (len(names) != 1)}"]
    if wanted.train.shard != before.train.shard:
        before = before.model_copy(update={"train": before.train.model_copy(update={"shard": wanted.train.shard})})
        told.append(f"goes on with train.shard {str(wanted.train.shard).lower()}")
    ends = {"epochs": wanted.train.epochs, "stop": wanted.train.stop}
    if ends == {"epochs": before.train.epochs, "stop": before.train.stop}:
        return before, told
    spec = before.model_copy(update={"train": before.train.model_copy(update=ends)})
    start_over = f"start over with {option('force', '-')}"
    begun, end = state.epoch + bool(state.sums.steps), spec.train.epochs
    if end < begun:
        raise UsageError(
            f"{folder}: holds a run that is in epoch {begun}, and train.epochs is {end}: "
            f"give {begun} or more, or {start_over}"
        )
    if end > state.epoch:
        _check_more(folder, spec, state, start_over)
    notes = [f"goes on after epoch {state.epoch} to epoch {end}, not {before.train.epochs}"]
    notes += [f"{path}: {outlook(schedule, state.epoch, end)}" for path, schedule in schedules(spec.plain())]
    return spec, told + notes


def _check_more(folder: Path, spec: Spec, state: TrainingState, start_over: str) -> None:
    lr, stop = spec.train.optimizer.lr, spec.train.stop
    if isinstance(lr, Schedule) and lr.to == 0 and lr.epochs <= state.epoch:
        raise UsageError(
            f"{folder}: train.optimizer.lr came down to 0 with epoch {lr.epochs} and stays there, so that more epochs "
            f"would learn nothing: {start_over} and a longer schedule"
        )
    waited = state.epoch - state.best_epoch
    if stop is not None and state.epoch and waited >= stop.patience:
        raise UsageError(
            f"{folder}: ended after {waited} epochs without a better validation bound, and train.stop.patience is "
            f"{stop.patience}: give a greater one too, or {start_over}"
        )


def schedules(plain: Any, path: str = "") -> Iterator[tuple[str, Schedule]]:  # Any: plain data
    """Find the schedules of a resolved spec, each with its path."""
    if isinstance(plain, dict) and plain.keys() == KEYS and not isinstance(plain["from"], dict):
        yield path, Schedule.model_validate(plain)
        return
    entries = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for key, value in entries:
        yield from schedules(value, f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}" if path else key)


def outlook(schedule: Schedule, now: int, end: int) -> str:
    """Say what a schedule does from now to the end, both in finished epochs.

    >>> outlook(Schedule.model_validate({"from": 1, "to": 0, "epochs": 10}), 4, 20)
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
