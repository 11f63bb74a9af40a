"""A watcher of a training that also tells trackers what each epoch measured, and shows them pictures.

They are told what stands in metrics.jsonl, after the checkpoint is written: what a kill kept from them they are told
when the run goes on. A tracker that fails is told nothing more, and the training goes on.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgc.data.dataset import DataSet
from sgc.errors import RunError, UsageError, option, printable
from sgc.report.best_epoch import best_line
from sgc.runs.run_folder import RunFolder
from sgc.runs.told_trackers import FOLDER, Told
from sgc.runtime.model import Model
from sgc.spec.spec import Spec
from sgc.trackers.tracker import Logger, Setting, TrackedRun, Tracker, is_logger
from sgc.training.watchers import Watcher

WORDS = 200  # letters of what a tracker says when it fails

Line = Mapping[str, Any]  # of metrics.jsonl; Any: what JSON can say


def check_loggers(spec: Spec, loggers: object, tags: object) -> list[Tracker | Logger]:
    """Give the trackers of a spec, which have to be installed, and loggers from Python. Raises: UsageError."""
    for tracker in spec.train.loggers or ():
        tracker.check()
    checked: list[Tracker | Logger] = [*(spec.train.loggers or ())]
    if not isinstance(loggers, list | tuple):
        raise UsageError(f"loggers: is of the type '{type(loggers).__name__}', wanted a list of loggers")
    for logger in loggers:
        if isinstance(logger, type):
            raise UsageError(
                f"loggers: found the class {logger.__name__}, wanted one of its loggers: {logger.__name__}()"
            )
        if not is_logger(logger):
            wanted = "log_hyperparams, log_metrics, finalize, name and version, as those of Lightning"
            raise UsageError(f"loggers: found a {type(logger).__name__}, wanted loggers with {wanted}")
        checked.append(logger)
    if not isinstance(tags, Mapping):
        raise UsageError(f"tags: is of the type '{type(tags).__name__}', wanted a mapping, as {{'who': 'me'}}")
    if tags and not checked:
        raise UsageError(f"{option('tag', python='tags')}: there is no tracker to take them: name one in train.loggers")
    return checked


def measures(line: Line) -> dict[str, float]:
    """Give the finite numbers of a line by the keys that lead to them; lists are counted, and warnings left out.

    >>> measures({"version": 1, "epoch": 2, "bound": {"labelled": -1.5}, "collapsed": ["z"], "error": None})
    {'epoch': 2, 'bound/labelled': -1.5, 'collapsed': 1}
    """

    def numbers(value: Any, key: str) -> Iterator[tuple[str, float]]:  # Any: what JSON can say
        if isinstance(value, Mapping):
            for name, inner in value.items():
                yield from numbers(inner, f"{key}/{name}" if key else str(name))
        elif isinstance(value, list | tuple):
            yield key, len(value)
        elif isinstance(value, int | float) and math.isfinite(value):
            yield key, int(value) if isinstance(value, bool) else value

    return dict(numbers({key: value for key, value in line.items() if key not in ("version", "warnings")}, ""))


def settings(spec: Spec) -> dict[str, Setting]:
    """Give the settings of a resolved spec by their keys, as `--set` takes them, without places of this machine.

    Lists are text.
    """
    from sgc.runs.placeless import placeless_settings  # of runs with trackers alone

    def leaves(value: Any, key: str) -> Iterator[tuple[str, Setting]]:  # Any: plain data
        if isinstance(value, Mapping) and value:
            for name, inner in value.items():
                yield from leaves(inner, f"{key}.{name}" if key else str(name))
        elif isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value):
            for place, inner in enumerate(value):
                yield from leaves(inner, f"{key}[{place}]")
        else:
            yield key, value if isinstance(value, str | int | float) else str(value)

    return dict(leaves(placeless_settings(spec, relative=True), ""))


@dataclass
class Feed:
    """A logger, the name under which the run folder notes what it was told, and that.

    late: it is noted only when the logger is finalized.
    """

    key: str
    logger: Logger
    told: Told
    late: bool = False
    fails: bool = False


class Tracking:
    """A watcher that hands everything on to another one, and within `of` tells trackers of each epoch."""

    def __init__(self, watcher: Watcher, loggers: Sequence[Tracker | Logger], tags: Mapping[str, str]) -> None:
        self.watcher, self.loggers, self.tags = watcher, loggers, tags
        self.note = watcher.note
        self.feeds: list[Feed] = []
        self.folder: RunFolder | None = None
        self.draw: Callable[[], np.ndarray] | None = None
        self.every = 0

    # of a watcher

    def begin(self, epochs: int, steps: int, done: int) -> None:
        """Hand on how much there is to do."""
        self.watcher.begin(epochs, steps, done)

    def step(self, epoch: int, step: int, steps: int, bound: float) -> None:
        """Hand on a step."""
        self.watcher.step(epoch, step, steps, bound)

    def epoch(self, line: Line) -> None:
        """Hand on an epoch, and tell the trackers of it."""
        self.watcher.epoch(line)
        due = self.every and line["epoch"] % self.every == 0 and self.feeds
        picture = self._picture() if due else None
        for feed in self.feeds:
            self._tell(feed, [line], picture)

    # of trackers

    @contextmanager
    def of(self, folder: RunFolder, model: Model, dataset: DataSet, *, resumed: bool) -> Iterator[None]:
        """Tell the trackers of a training in the block, and before what they were not told of its lines.

        Raises: UsageError where one cannot be opened, and the run that would begin is removed; of a run that goes on
        it is noted.
        """
        if not self.loggers:
            yield
            return
        from sgc.training.tracked_pictures import has_pictures, overview_array  # with all that draws

        self.folder = folder
        self.every = model.spec.train.pictures or 0
        self.draw = (lambda: overview_array(model, dataset)) if has_pictures(model) else None
        begins, status = not resumed, "failed"
        try:
            self._open(folder, model, resumed=resumed)
            begins = False
            yield
            status = "success"
        finally:
            for feed in [feed for feed in self.feeds if not feed.fails]:
                with self._forgiven(feed):
                    feed.logger.finalize(status)
                    feed.late = False
                    self._note_told(feed)
            if begins:
                with suppress(OSError):  # why it does not begin is said
                    folder.remove()

    def show_best(self, best: Model, dataset: DataSet, lines: Sequence[Line]) -> None:
        """Show the trackers pictures of the best weights, once."""
        line = best_line([dict(line) for line in lines])
        if line is None or self.draw is None:
            return
        wanting = [feed for feed in self.feeds if feed.told.best != line["epoch"] and not feed.fails]
        if not wanting:
            return
        from sgc.training.tracked_pictures import overview_array

        self.draw = lambda: overview_array(best, dataset)
        picture = self._picture()
        if picture is None:
            return
        for feed in wanting:
            with self._forgiven(feed):
                _show(feed.logger, "pictures/best", picture, line["epoch"])
                self._note_told(feed, best=line["epoch"])

    def _open(self, folder: RunFolder, model: Model, *, resumed: bool) -> None:
        known, lines = folder.told(), folder.metrics()
        last = lines[-1]["epoch"] if lines else 0
        goals = ["validation_bound", *(f"validation_error/{name}" for name in model.outline.graphs.partial)]
        alike: Counter[str] = Counter()
        for tracker in self.loggers:
            name = tracker.name if isinstance(tracker, Tracker) else type(tracker).__name__
            try:
                if isinstance(tracker, Tracker):
                    key = f"{name} {tracker.place}".rstrip()
                    before = known.get(key, Told(version=""))
                    told = min(before.epoch, last)
                    given = (folder.path.resolve().name, folder.path / FOLDER, model.spec.name, before.version, told)
                    logger = tracker.open(TrackedRun(*given, self.tags, goals))
                    version = str(logger.version)
                    if tracker.elsewhere:
                        self.note(f"train.loggers: {name} is told at {tracker.elsewhere}")
                    if remark := getattr(logger, "remark", ""):
                        self.note(f"train.loggers: {name}: {printable(remark)}")
                else:
                    logger = tracker
                    key, version = f"{name} {logger.name}/{logger.version}", ""
                    alike[key] += 1
                    key += f" #{alike[key]}" if alike[key] > 1 else ""  # of those that nothing else tells apart
                    told = min(known.get(key, Told(version="")).epoch, last)
                best = known[key].best if key in known else 0
                feed = Feed(key, logger, Told(version=version, epoch=told, best=best))
                feed.late = isinstance(tracker, Tracker) and tracker.late
                if key not in known:
                    tags = {} if isinstance(tracker, Tracker) else {f"tags.{k}": v for k, v in self.tags.items()}
                    try:
                        logger.log_hyperparams({**settings(model.spec), **tags})
                    except NotImplementedError:  # as of Fabric's CSVLogger, which has the method
                        self.note(f"train.loggers: {name} takes no settings, and is told of epochs alone")
            except Exception as problem:  # of any library
                words = f"train.loggers: {name} cannot be told of the run ({failure_words(problem)})"
                if not resumed:
                    raise UsageError(f"{words}: mend it, or take it out") from None
                self.note(f"{words}; training goes on without it")
                continue
            self.feeds.append(feed)
            self._write(feed)
            self._tell(feed, [line for line in lines if line["epoch"] > told])

    def _tell(self, feed: Feed, lines: Sequence[Line], picture: np.ndarray | None = None) -> None:
        """Tell a tracker of epochs. picture: of the last one."""
        if feed.fails:
            return
        with self._forgiven(feed):
            for line in lines:
                if picture is not None and line is lines[-1]:
                    _show(feed.logger, "pictures/epoch", picture, line["epoch"])
                feed.logger.log_metrics(measures(line), step=line["epoch"])
            self._note_told(feed, epoch=lines[-1]["epoch"] if lines else feed.told.epoch)

    @contextmanager
    def _forgiven(self, feed: Feed) -> Iterator[None]:
        """Let a tracker fail in the block, and say so. Raises: RunError where the run folder cannot be written."""
        try:
            yield
        except RunError:
            raise
        except Exception as problem:  # of any library
            feed.fails = True
            self.note(
                f"train.loggers: {feed.key} is told nothing more, it fails ({failure_words(problem)}); training goes "
                f"on, and {option('resume', '-')} tells the rest"
            )

    def _note_told(self, feed: Feed, **changes: int) -> None:
        """Note what a tracker was told, in the run folder too."""
        feed.told = feed.told.model_copy(update=changes)
        if not feed.late:
            self._write(feed)

    def _write(self, feed: Feed) -> None:
        assert self.folder is not None
        self.folder.write_told(self.folder.told() | {feed.key: feed.told})

    def _picture(self) -> np.ndarray | None:
        """Draw a picture; where that cannot be, say why, and draw none from then on."""
        if self.draw is None:
            return None
        try:
            return self.draw()
        except (UsageError, RunError) as problem:
            self.note(f"trackers get no pictures: {problem}")
            self.draw = None
            return None


def _show(logger: Logger, key: str, picture: np.ndarray, epoch: int) -> None:
    """Give a picture to a logger that takes pictures."""
    take = getattr(logger, "log_image", None)
    if callable(take):
        take(key, [picture], step=epoch)


def failure_words(problem: Exception) -> str:
    """Say in one line how a tracker fails, without a user and password that stand in an address.

    >>> failure_words(ConnectionError("no https://me:secret@host/a"))
    'ConnectionError: no https://host/a'
    """
    words = printable(re.sub(r"//[^/\s]*@", "//", " ".join(str(problem).split())))
    if isinstance(problem, UsageError):
        return words
    return f"{type(problem).__name__}: {words}"[:WORDS] if words else type(problem).__name__
