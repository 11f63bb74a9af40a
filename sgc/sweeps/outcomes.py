"""What came of a run of a sweep: its evaluation or its fault, in one file beside the run folders."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from sgc.data.record import Record, Versioned, read_record
from sgc.errors import UsageError, check_run_file
from sgc.runs.extension import TRACKED
from sgc.runs.file_formats import Plain, json_text, write_whole
from sgc.spec.spec import Spec
from sgc.sweeps.cells import Cell
from sgc.sweeps.sweep_file import NOTHING, SweepFile

WAYS = ("q", "posterior", "classifier")
BOUNDS = ("elbo", "log_p")


class Validation(Record):
    """What the best epoch reached on the validation rows; empty without such rows."""

    bound: float | None = None
    errors: dict[str, float | None] = NOTHING
    epoch: int = 0


class Outcome(Versioned):
    """The file of one run. `of`: a digest of the resolved spec and of how it is evaluated."""

    of: str
    settings: dict[str, Any]  # Any: values of a spec
    seed: int
    state: Literal["done", "failed"]
    message: str = ""
    run: str = ""
    seconds: Annotated[float, Field(ge=0)] = 0.0  # of training
    validation: Validation = Validation()
    evaluation: dict[str, Any] = NOTHING  # Any: as `sgc evaluate --json` prints it


@dataclass(frozen=True)
class SweepFolder:
    """Where a sweep keeps its runs, what came of each, and what each printed."""

    path: Path

    def run(self, cell: Cell) -> Path:
        return self.path / "runs" / cell.name

    def log(self, cell: Cell) -> Path:
        return self.path / "logs" / f"{cell.name}.log"

    def outcome_path(self, cell: Cell) -> Path:
        return self.path / "outcomes" / f"{cell.name}.json"

    def outcome(self, cell: Cell) -> Outcome | None:
        """Read what came of a run; None where it has not ended yet. Raises: UsageError."""
        path = self.outcome_path(cell)
        if not path.exists():
            return None
        check_run_file(path)
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as problem:
            raise UsageError(f"{path}: is not what came of a run ({problem}): remove it, and it is made anew") from None
        return read_record(Outcome, plain, f"{path}: is not what came of a run: remove it, and it is made anew")

    def keep(self, cell: Cell, outcome: Outcome) -> None:
        """Write what came of a run, whole or not at all."""
        path = self.outcome_path(cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json_text(outcome.model_dump(mode="json"), indent=1).encode())


def digest(spec: Spec, sweep: SweepFile) -> str:
    """Tell runs apart by what they are trained on and how they are evaluated, whoever is told of it."""
    plain = spec.plain()
    for key in TRACKED:
        plain["train"].pop(key, None)
    content = json.dumps([plain, sweep.evaluate.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def validation_of(metrics: Path) -> tuple[Validation, float]:
    """Read the best epoch of a run, and the seconds that all its epochs took."""
    lines: list[dict[str, Plain]] = []
    for text in metrics.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        if isinstance(line, dict):
            lines.append(line)
    best = next((line for line in reversed(lines) if line.get("best")), {})
    seconds = sum(float(line.get("seconds") or 0) for line in lines)
    bound = best.get("validation_bound")
    return Validation(bound=bound, errors=best.get("validation_error", {}), epoch=best.get("epoch", 0)), seconds


def measures_of(outcome: Outcome) -> dict[str, float]:
    """Give the numbers of a run by the names of the table's columns, such as `q.y.error` and `log_p`."""
    return dict(_measures(outcome))


def _measures(outcome: Outcome) -> Iterator[tuple[str, float]]:
    evaluation: Mapping[str, Any] = outcome.evaluation  # Any: as above
    for way in WAYS:
        for node, error in evaluation.get(way, {}).items():
            for name, value in error.items():
                if name not in ("rows", "standard_error") and _is_number(value):
                    yield f"{way}.{node}.{name}", value
            for name, value in (error.get("calibration") or {}).items():
                if name in ("ece", "nll", "brier") and _is_number(value):
                    yield f"{way}.{node}.{name}", value
    yield from ((name, evaluation[name]) for name in BOUNDS if _is_number(evaluation.get(name)))
    if outcome.validation.bound is not None:
        yield "validation_bound", outcome.validation.bound
    for node, value in outcome.validation.errors.items():
        if value is not None:
            yield f"validation_error.{node}", value
    yield "seconds", outcome.seconds


def _is_number(value: Plain) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
