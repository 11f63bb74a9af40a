"""A run that was trained, as `sgc.train` gives it back: its folder, its model, what each epoch did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from sgc.notebook import Shown
from sgc.report.best_epoch import best_line
from sgc.runtime.model import Model


@dataclass(repr=False)
class Run(Shown):
    """A run that was trained: its folder, its model with the best weights, its metrics by epoch.

    lines: those of metrics.jsonl, a mapping for each epoch.
    """

    notebook_view: ClassVar[str] = "sgc.report.pages.notebook_views:run_html"

    folder: Path
    model: Model
    epochs: int = 0  # that were trained
    lines: list[dict[str, Any]] = field(default_factory=list)  # Any: what JSON can say

    @property
    def metrics(self) -> Any:  # Any: of pandas, or the lines
        """The metrics as a data frame with a row for each epoch, nested keys joined by dots; without pandas, `lines`.

        `run.metrics["validation_bound"].plot()`; `run.metrics["bound.unlabelled"]` of the rows without labels.
        """
        try:
            import pandas
        except ImportError:
            return self.lines
        records = [dict(_flat(line)) for line in self.lines]
        return pandas.DataFrame(records or {"epoch": []}).set_index("epoch")

    @property
    def best(self) -> dict[str, Any] | None:  # Any: as above
        """The line of the epoch whose weights the model has; None where there is none."""
        return best_line(self.lines)

    def __repr__(self) -> str:
        words = [f"{self.epochs} epoch" + ("" if self.epochs == 1 else "s")]
        if self.best is not None:
            words.append(f"best epoch {self.best['epoch']}")
            if self.best.get("validation_bound") is not None:
                words.append(f"validation bound {self.best['validation_bound']:.3f} nats")
            errors = (self.best.get("validation_error") or {}).items()
            words += [f"error of {name} {error:.4g}" for name, error in errors if error is not None]
        return f"Run({str(self.folder)!r}: {', '.join(words)})"


def _flat(line: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:  # Any: as above
    """Give the values of a line with the keys that lead to them, but for the version of its format."""
    for key, value in line.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif prefix or key != "version":
            yield prefix + key, value
