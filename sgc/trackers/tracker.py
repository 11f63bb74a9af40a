"""A tracker as a spec names it, the logger that it opens, and what a logger is told of a run when it is opened."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Protocol

from sgc.errors import UsageError
from sgc.piece import Named

Setting = str | int | float | bool


class Logger(Protocol):
    """Takes the measures of a run: the methods that the loggers of Lightning and of its Fabric have too.

    One that also has `log_image(key, images, step=…)`, as Lightning's WandbLogger, gets pictures.
    """

    @property
    def name(self) -> str | None: ...

    @property
    def version(self) -> int | str | None: ...  # which of the runs of that name it is

    def log_hyperparams(self, params: Any) -> None: ...  # Any: a mapping, which Lightning's take as a namespace too

    def log_metrics(self, metrics: Any, step: int | None = None) -> None: ...  # Any: a mapping to numbers, as above

    def finalize(self, status: str) -> None: ...  # `success`, or `failed` where the run did not come to its end


@dataclass(frozen=True)
class TrackedRun:
    """A run as a logger is opened for it.

    folder: for files of trackers, within the run's. model: the name of the spec. version: that the tracker gave the run
    when it was first opened, '' then. told: the last epoch that it was told of, 0 before the first. goals: the measures
    by which runs are compared.
    """

    name: str
    folder: Path
    model: str
    version: str = ""
    told: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    goals: Sequence[str] = ()


class Tracker(Named):
    """A tracker that a spec names, with its options: it opens a logger."""

    package: ClassVar[str]  # that it needs
    extra: ClassVar[str]  # of sgc, which brings the package
    late: ClassVar[bool] = False  # whether it keeps what it is told in memory for a while, and a kill loses it

    def check(self) -> None:
        """Check that its package is installed, without importing it. Raises: UsageError."""
        if find_spec(self.package) is None:
            raise UsageError(f"train.loggers: {self.name} needs {self.package}: pip install 'sgc[{self.extra}]'")

    @property
    def elsewhere(self) -> str:
        """Where the measures go, if not into the folder of the run; '' if there."""
        return ""

    @property
    def place(self) -> str:
        """Which of its places of runs is chosen, without secrets; '' for the usual one. A run in another is another."""
        return ""

    @abstractmethod
    def open(self, run: TrackedRun) -> Logger:
        """Open a logger for a run, which goes on if it has a version. Raises: whatever the package raises."""


def is_logger(value: object) -> bool:
    """Tell whether an object has the methods of a logger."""
    return all(callable(getattr(value, name, None)) for name in ("log_metrics", "log_hyperparams", "finalize"))


def allowed(name: str, letters: str) -> str:
    """Write a name in the letters and digits that a tracker takes, and these; others become `_`.

    >>> allowed("terms/digit.size@2", "/._")
    'terms/digit.size_2'
    """
    return "".join(c if (c.isascii() and c.isalnum()) or c in letters else "_" for c in name)
