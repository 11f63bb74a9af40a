"""Runs side by side: in what their specs differ, what they reached, and how much of that is the seed."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sgc.arguments import path_of
from sgc.data.fingerprint import Fingerprint
from sgc.data.outputs import check_output
from sgc.errors import DataError, RunError, UsageError, option
from sgc.metrics.metric import Metric
from sgc.run_report.run_report import ENDINGS
from sgc.run_report.training_history import History, at_epoch, history, last
from sgc.runs.run_folder import RunFolder
from sgc.spec.measured_nodes import metric_of
from sgc.spec.outline import Outline
from sgc.spec.resolver import outline
from sgc.trained.run_evaluation import SPLITS, evaluate_run

ABSENT = "—"  # a key that a spec does not have
UNCOMPARED = ("name", "description")  # keys that change nothing
SEED = "seed"


@dataclass(frozen=True)
class Measure:
    """A number that runs are compared by: its title and, of a node's error, its metric."""

    title: str
    metric: Metric | None = None
    unit: str = ""

    def write(self, value: float | None, spread: float = math.nan) -> str:
        """Write a value, with the standard deviation over seeds where it is known."""
        if value is None:
            return ""
        if self.metric is not None:
            return self.metric.write(value, spread)
        if float(value).is_integer() and math.isnan(spread):
            return f"{value:,.0f}{self.unit}"
        return f"{value:.2f}" + ("" if math.isnan(spread) else f" ± {spread:.2f}") + self.unit


@dataclass(frozen=True)
class ComparedRun:
    """One run: its spec by dotted key, its history, its numbers by title, and what it was made with."""

    name: str
    path: str
    spec: Mapping[str, Any]  # Any: values of a spec
    history: History
    finished: bool
    seed: int
    versions: Mapping[str, str]
    values: Mapping[str, float | None]

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Give it as plain data."""
        values = {"run": self.path, "finished": self.finished, "seed": self.seed, "versions": dict(self.versions)}
        return {**values, "values": dict(self.values)}


@dataclass(frozen=True)
class RunGroup:
    """Runs whose specs differ by seeds alone, under a letter."""

    letter: str
    runs: tuple[ComparedRun, ...]

    def known(self, title: str) -> list[float]:
        """Give the numbers that its runs have of a measure."""
        return [value for run in self.runs if (value := run.values.get(title)) is not None]

    def mean(self, title: str) -> float | None:
        """Average a measure over its runs."""
        known = self.known(title)
        return statistics.fmean(known) if known else None

    def deviation(self, title: str) -> float:
        """Give the standard deviation over its runs; NaN for one, and for a number that is the same in all of them."""
        known = self.known(title)
        return statistics.stdev(known) if len(set(known)) > 1 else math.nan


@dataclass(frozen=True)
class RunComparison:
    """Runs in groups, the keys in which the groups' specs differ with the value of each, measures, and notes.

    split: whose rows were measured anew; empty where the numbers are those that training wrote down.
    """

    groups: tuple[RunGroup, ...]
    differences: Mapping[str, tuple[str, ...]]
    measures: tuple[Measure, ...]
    notes: tuple[str, ...]
    split: str

    @property
    def runs(self) -> tuple[ComparedRun, ...]:
        """All runs, by group."""
        return tuple(run for group in self.groups for run in group.runs)

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Give it as plain data."""
        groups = [
            {
                "group": group.letter,
                "runs": [run.plain() for run in group.runs],
                "mean": {measure.title: group.mean(measure.title) for measure in self.measures},
                "sd": {measure.title: group.deviation(measure.title) for measure in self.measures},
            }
            for group in self.groups
        ]
        letters = [group.letter for group in self.groups]
        differences = {key: dict(zip(letters, values, strict=True)) for key, values in self.differences.items()}
        return {"split": self.split, "differences": differences, "groups": groups, "notes": list(self.notes)}


def compare_runs(
    paths: Sequence[str | Path],
    *,
    split: str | None = None,
    samples: int | None = None,
    checkpoint: str = "best",
    output: Path | None = None,
    watch: Callable[[int, int], None] | None = None,
    trust: bool = False,
) -> RunComparison:
    """Compare runs by what training wrote down of their validation rows in their best epochs, and by their specs.

    split: also measure each run anew on these rows, as `sgc evaluate` does, with so many samples and this checkpoint.
    output: where a page will be written, which is checked first.

    Raises: SpecError; UsageError for fewer than two runs, the same run twice, or a folder that holds none.
    """
    folders = [RunFolder(path_of("path", path)) for path in paths]
    if len(folders) < 2:
        raise UsageError("one run has nothing to be compared with: give two or more")
    seen: dict[Path, Path] = {}
    for folder in folders:
        if before := seen.get(folder.path.resolve()):
            raise UsageError(f"{folder.path}: is compared with itself, as {before}")
        seen[folder.path.resolve()] = folder.path
    if split is not None and split not in SPLITS:
        raise UsageError(f"unknown split '{split}': {' or '.join(SPLITS)}")
    if output is not None:
        check_output(output, ENDINGS)
    outlines = [outline(folder.spec(trust=trust)) for folder in folders]
    if output is not None:
        for folder, resolved in zip(folders, outlines, strict=True):
            check_output(output, ENDINGS, folder.inputs(resolved.spec))
    measures: dict[str, Measure] = {}
    notes: list[str] = []
    runs = []
    for folder, resolved, name in zip(folders, outlines, _names(folders), strict=True):
        values = dict(_recorded(folder, resolved, measures))
        if split is not None:
            try:
                values |= _measured(folder.path, split, samples, checkpoint, watch, trust, measures)
            except (DataError, RunError, UsageError) as problem:
                notes.append(f"{name} is not measured: {problem}")
        runs.append(_run(folder, resolved, name, values))
    groups = _grouped(runs)
    notes += _notes(runs, folders, outlines)
    order = sorted(measures, key=lambda title: title in _LAST)
    return RunComparison(
        groups, _differences(groups), tuple(measures[title] for title in order), tuple(notes), split or ""
    )


def _names(folders: Sequence[RunFolder]) -> list[str]:
    """Name runs by their folders; by their paths where two folders are called alike."""
    names = [folder.path.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder.path) for folder in folders]


TIME, EPOCHS, PARAMETERS = "time of training", "best epoch", "parameters"
_LAST = (EPOCHS, TIME, PARAMETERS)


def _recorded(folder: RunFolder, resolved: Outline, measures: dict[str, Measure]) -> Iterator[tuple[str, float | None]]:
    """Give what training wrote down: of the best epoch where there is one, else of the last."""
    past = history(folder, resolved.spec.train.epochs)

    def put(measure: Measure, value: float | None) -> tuple[str, float | None]:
        measures.setdefault(measure.title, measure)
        return measure.title, value

    points = past.bounds.get("validation", ())
    if points:
        value = at_epoch(points, past.best) if past.best else last(points)
        yield put(Measure("validation bound", unit=" nats"), value)
    for name, errors in past.errors.items():
        metric = metric_of(resolved, name)
        value = at_epoch(errors, past.best) if past.best else last(errors)
        yield put(Measure(f"validation {metric.short} of {name}", metric), value)
    yield put(Measure(EPOCHS), float(past.best or past.done))
    yield put(Measure(TIME, unit=" s"), past.seconds)
    yield put(Measure(PARAMETERS), float(resolved.parameter_count()))


def _measured(
    path: Path,
    split: str,
    samples: int | None,
    checkpoint: str,
    watch: Callable[[int, int], None] | None,
    trust: bool,
    measures: dict[str, Measure],
) -> dict[str, float | None]:
    """Measure a run on held-out rows."""
    warned: list[str] = []
    report = evaluate_run(
        path, checkpoint=checkpoint, split=split, samples=samples, watch=watch, warn=warned.append, trust=trust
    )
    evaluation = report.evaluation
    values: dict[str, float | None] = {}
    for way, errors in (("q", evaluation.from_q), ("posterior", evaluation.from_posterior)):
        for name, error in errors.items():
            measure = Measure(f"{split} {error.metric.short} of {name}, {way}", error.metric)
            values[measures.setdefault(measure.title, measure).title] = error.value
    if evaluation.bounds is not None:
        for title, value in (("ELBO", evaluation.bounds.elbo), ("log p(x)", evaluation.bounds.log_evidence)):
            measure = Measure(f"{split} {title}", unit=" nats")
            values[measures.setdefault(measure.title, measure).title] = value
    return values


def _run(folder: RunFolder, resolved: Outline, name: str, values: Mapping[str, float | None]) -> ComparedRun:
    record = folder.record()
    return ComparedRun(
        name=name,
        path=str(folder.path),
        spec=dict(flat(resolved.spec.plain())),
        history=history(folder, resolved.spec.train.epochs),
        finished=record.finished,
        seed=record.seed,
        versions=record.versions,
        values=values,
    )


def flat(plain: Any, path: str = "") -> Iterator[tuple[str, Any]]:  # Any: plain data
    """List the values of a spec by dotted key; a list is one value.

    >>> dict(flat({"train": {"seed": 0}, "nodes": {"x": {"shape": [2]}}}))
    {'train.seed': 0, 'nodes.x.shape': [2]}
    """
    if isinstance(plain, Mapping) and plain:
        for key, value in plain.items():
            yield from flat(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, plain


def _is_seed(key: str) -> bool:
    return key.rpartition(".")[2] == SEED


def _grouped(runs: Sequence[ComparedRun]) -> tuple[RunGroup, ...]:
    """Put runs together whose specs differ by seeds alone."""
    by_spec: dict[str, list[ComparedRun]] = {}
    for run in runs:
        same = {key: value for key, value in run.spec.items() if key not in UNCOMPARED and not _is_seed(key)}
        by_spec.setdefault(json.dumps(same, sort_keys=True, default=str), []).append(run)
    return tuple(RunGroup(_letter(place), tuple(members)) for place, members in enumerate(by_spec.values()))


def _letter(place: int) -> str:
    """Name the place of a group: A to Z, then AA.

    >>> _letter(0), _letter(25), _letter(26)
    ('A', 'Z', 'AA')
    """
    above, own = divmod(place, 26)
    return (_letter(above - 1) if above else "") + chr(ord("A") + own)


def _differences(groups: Sequence[RunGroup]) -> dict[str, tuple[str, ...]]:
    """List the keys in which the specs of groups differ, with the value of each, in the order of the specs."""
    keys = dict.fromkeys(key for group in groups for key in group.runs[0].spec)
    found: dict[str, tuple[str, ...]] = {}
    for key in keys:
        values = [group.runs[0].spec.get(key, _Missing) for group in groups]
        if key in UNCOMPARED or _is_seed(key) or all(value == values[0] for value in values):
            continue
        found[key] = tuple(ABSENT if value is _Missing else _value(value) for value in values)
    return found


class _Missing:
    """What a spec has at a key that it lacks."""


def _value(value: Any) -> str:  # Any: a value of a spec
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _notes(runs: Sequence[ComparedRun], folders: Sequence[RunFolder], outlines: Sequence[Outline]) -> Iterator[str]:
    """Say what does not bear comparison."""
    for run in runs:
        if not run.finished:
            yield f"{run.name} is unfinished: {run.history.done} of {run.history.planned} epochs"
    shared = set.intersection(*(set(resolved.outer) for resolved in outlines))
    for run, resolved in zip(runs, outlines, strict=True):
        if own := [name for name in resolved.outer if name not in shared]:
            yield f"{run.name} has nodes that others lack: {', '.join(own)}"
    prints = [_fingerprint(folder) for folder in folders]
    known = [(run, found) for run, found in zip(runs, prints, strict=True) if found is not None]
    for split in SPLITS:
        first = next((found.rows[split] for _, found in known if len(found.rows[split])), None)
        others = [
            run.name
            for run, found in known
            if first is not None and len(found.rows[split]) and not np.array_equal(found.rows[split], first)
        ]
        if others:
            whose = f"the {split} rows of {', '.join(others)}"
            yield f"{whose} are not those of {runs[0].name}: their numbers are of other rows"
    bounds = {
        (str(r.spec.maximised.name), r.spec.objective.samples if r.words.bound.importance_weighted else 1)
        for r in outlines
    }
    if len(bounds) > 1:
        kinds = ", ".join(f"{bound} of {samples}" for bound, samples in sorted(bounds))
        how = option("split", "validation")
        yield f"the validation bounds are not of one kind ({kinds} samples): {how} measures ELBO and log p(x) of all"


def _fingerprint(folder: RunFolder) -> Fingerprint | None:
    """Read what the data of a run are known by; None where it has none that can be read."""
    try:
        return folder.fingerprint()
    except UsageError:
        return None
