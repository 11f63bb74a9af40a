"""What keeps the things that training leaves: a run folder, or memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from sgc.runtime.model import Model


class Keeper(Protocol):
    """Keeps the weights, the metrics and the state of a training."""

    path: Path

    @property
    def state_path(self) -> Path: ...

    def write_weights(self, checkpoint: str, model: Model, info: Mapping[str, float]) -> None: ...

    def append_metrics(self, line: Mapping[str, Any]) -> None: ...  # Any: what JSON can say

    def write_state(self, state: Mapping[str, Any]) -> None: ...  # Any: tensors, and what JSON can say

    def finish(self) -> None: ...
