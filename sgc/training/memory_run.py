"""Training without a run folder: the weights stay in memory, and a small model is not held up by the disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from sgc.data.encoder import Encoder
from sgc.errors import RunError, UsageError
from sgc.randomness import Generators, drawing_from
from sgc.runtime.compiler import model_of_run, take_all_weights
from sgc.runtime.data_variables import open_data
from sgc.runtime.model import Model
from sgc.runtime.modes import as_a_run
from sgc.runtime.weight_files import own_state
from sgc.spec.outline import Outline
from sgc.spec.resolver import outline
from sgc.spec.spec import Spec
from sgc.training.learner import UNTOUCHED
from sgc.training.precision import with_precision
from sgc.training.trainer import Trainer
from sgc.training.watchers import Silent


@dataclass(frozen=True)
class MemoryRun:
    """A run that was trained in memory: its model with the best weights, on the CPU; encoders; a line for each epoch.

    encoders: what transforms learned, by node. lines: as those of metrics.jsonl.
    """

    model: Model
    encoders: Mapping[str, Encoder]
    lines: list[dict[str, Any]]  # Any: what JSON can say


@final
@dataclass
class MemoryFolder:
    """What stands in the place of a run folder while a model is trained in memory: it keeps the best weights."""

    path: Path = Path()
    best: dict[str, Tensor] = field(default_factory=dict)
    info: dict[str, float] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)  # Any: what JSON can say

    @property
    def state_path(self) -> Path:
        """Where a state would be, which nothing is resumed from."""
        return self.path

    def write_weights(self, checkpoint: str, model: Model, info: Mapping[str, float]) -> None:
        """Keep the best weights."""
        if checkpoint == "best":
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in own_state(model).items()}
            self.info = dict(info)

    def append_metrics(self, line: Mapping[str, Any]) -> None:  # Any: what JSON can say
        """Keep the line of an epoch."""
        self.lines.append(dict(line))

    def write_state(self, state: Mapping[str, Any]) -> None:  # Any: tensors, and what JSON can say
        """Leave the state be: a run in memory is not resumed."""

    def finish(self) -> None:
        """Note nothing: there is no record of the run."""

    def model(self, resolved: Outline) -> Model:
        """Build the model with the weights that were kept, in evaluation mode."""
        with drawing_from(Generators(0)):  # starting weights, which are then replaced
            model = model_of_run(resolved)
        with torch.no_grad():
            for name, tensor in own_state(model).items():
                tensor.copy_(self.best[name])
        model.epoch, model.gamma, model.rate = self.info["epoch"], self.info["gamma"], self.info["rate"]
        return model.eval()


class Quiet(Silent):
    """A watcher that says nothing."""

    def note(self, text: str) -> None:
        """Keep quiet."""


def train_in_memory(spec: Spec, data: Any) -> MemoryRun:  # Any: as for `sgc.train`
    """Train a model on arrays or a data frame and write nothing; a message of it is not shown.

    Raises: SpecError, DataError, UsageError, RunError (a term that is not finite), Interrupted.
    """
    if spec.train.loggers:
        raise UsageError("train.loggers: a model that is trained in memory has no run to tell of: take it out")
    with as_a_run():
        spec, _ = with_precision(spec)
        resolved = outline(spec)
        dataset = open_data(resolved, spec.folder, data)
        folder = MemoryFolder()
        trainer = Trainer(resolved, dataset, folder, Quiet(), debug=False)
        take_all_weights(trainer.model, spec.folder)
        try:
            trainer.train()
        except RunError as problem:  # there is no checkpoint to tell of
            raise RunError(str(problem).removesuffix(f"; {UNTOUCHED}")) from None
        return MemoryRun(folder.model(resolved), dict(dataset.encoders), folder.lines)
