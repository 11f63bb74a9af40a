"""A diagnostic: what was found in a run, how bad it is, what to do, and what to read; and what a run is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sgc.evaluation.disentanglement import Disentanglement
from sgc.evaluation.measurement import Evaluation
from sgc.run_report.run_facts import LabelCounts, RunFacts
from sgc.run_report.training_history import History
from sgc.spec.outline import Outline

Level = Literal["bad", "warning", "note", "good"]
LEVELS: tuple[Level, ...] = ("bad", "warning", "note", "good")  # the worst first

GUIDES = {  # the page of docs/guides/, by the name that pages call it
    "Alpha and the KL weight": "alpha-and-kl-weight",
    "Effective samples": "effective-samples",
    "Estimators": "estimators",
    "Labels by row": "labels-by-row",
}


@dataclass(frozen=True)
class Diagnostic:
    """What was found, how bad it is, what to do, and the guide to read; both empty where nothing is to be done."""

    level: Level
    text: str
    advice: str = ""
    guide: str = ""

    def plain(self) -> dict[str, str]:
        """Give it as plain data."""
        return dict(vars(self))


@dataclass(frozen=True)
class Measured:
    """What a run is judged by. evaluation is None where the data are not at hand."""

    outline: Outline
    facts: RunFacts
    history: History
    evaluation: Evaluation | None
    counts: tuple[LabelCounts, ...]
    codes: Mapping[str, Disentanglement | str]
    explained: Mapping[str, float] = field(default_factory=dict)  # of variance, by nodes of one number
