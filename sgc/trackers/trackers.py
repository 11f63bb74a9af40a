"""The trackers that specs name."""

from __future__ import annotations

from typing import Any

from sgc.piece import tagged
from sgc.trackers.mlflow_tracker import MLflow
from sgc.trackers.tensorboard_tracker import TensorBoard
from sgc.trackers.tracker import Tracker
from sgc.trackers.wandb_tracker import Wandb

_KINDS: tuple[type[Tracker], ...] = (TensorBoard, MLflow, Wandb)
TRACKERS: dict[str, type[Tracker]] = {kind.name: kind for kind in _KINDS}


def _tag(value: Any) -> str | None:  # Any: whatever YAML can say
    if isinstance(value, str):
        return value if value in TRACKERS else None
    if isinstance(value, dict) and len(value) == 1:
        return next((key for key in value if key in TRACKERS), None)
    return getattr(value, "name", None)


TrackerChoice = tagged(dict(TRACKERS), "tracker", _tag, key=True)
