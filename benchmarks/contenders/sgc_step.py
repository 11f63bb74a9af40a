"""The step of `sgc train`: the spec of the problem, a trainer on arrays, and its own step, recorded and replayed."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import sgc
from benchmarks.problem import Problem, Rows
from benchmarks.torch_contender import TorchContender
from sgc.randomness import Generators, drawing_from
from sgc.runs.run_folder import RunFolder
from sgc.runtime.batch import PatternRows
from sgc.runtime.data_variables import open_data
from sgc.spec.resolver import outline
from sgc.training.trainer import Trainer
from sgc.training.watchers import Silent


class SgcStep(TorchContender):
    """A run of the problem's spec that stands at its first step; nothing is written.

    A kind of steps is computed, recorded, compared, and replayed from the fourth on. Every eighth step takes the terms
    of the bound too, and is a kind of its own: of the steps 0, 8 and 16 none is replayed.
    """

    settles, period = 17, 8

    def __init__(self, problem: Problem, overrides: Sequence[str] = ()) -> None:
        made = outline(sgc.load(problem.spec, [*problem.overrides(), *overrides]))
        rows = problem.rows()
        labels = np.concatenate((rows.labels.astype(float), np.full(len(rows.labels), np.nan)))
        data = open_data(made, Path(), {"x": rows.x, "y": labels})
        folder = RunFolder(Path(tempfile.gettempdir()) / "sgc-benchmark")  # written after an epoch, so never
        self.problem = problem
        self.trainer = Trainer(made, data, folder, Silent(), debug=False)
        self.trainer.model.train()
        self._start(problem)
        self.parts, self.weights = self._first(rows)
        self.draws = Generators(problem.seed)

    def _start(self, problem: Problem) -> None:
        """Put in the weights that every contender starts from; first layers are split by parent."""
        named = dict(self.trainer.model.named_parameters())
        with torch.no_grad():
            for node, layers in problem.weights().items():
                density = f"{'generative' if node == 'x' else 'recognition'}.{node}_"
                (first, bias), (second, second_bias), (last, last_bias) = layers
                columns = np.split(first, np.cumsum(problem.inputs()[node])[:-1], axis=1)
                values = {f"trunk.first.weights.{i}": each for i, each in enumerate(columns)}
                values |= {"trunk.first.bias": bias, "trunk.rest.1.weight": second, "trunk.rest.1.bias": second_bias}
                values |= {"heads.weight": last, "heads.bias": last_bias}
                for name, value in values.items():
                    named.pop(f"{density}.{name}").copy_(torch.from_numpy(value))
        assert not named, f"weights that the problem does not give: {', '.join(named)}"

    def _first(self, rows: Rows) -> tuple[list[PatternRows], list[float | Tensor]]:
        """Lay out the rows that losses are compared on, as the streams lay out those of a step."""
        bare, labelled = rows.first()
        data = self.trainer.rows
        parts = [data.part(bare, frozenset()), *data.parts(labelled)]
        rate = self.trainer.rates.rate
        return parts, [(1 - rate) / len(bare), *(rate / len(labelled) for _ in parts[1:])]

    def step(self) -> None:
        self.trainer._step()

    def loss(self) -> float:
        with torch.no_grad(), drawing_from(self.draws):
            loss, _ = self.trainer.model(self.parts, self.weights)
        return float(loss)

    def exact(self) -> dict[str, float]:
        if self.problem.z_first:
            return {}
        values = self.parts[1].values
        with torch.no_grad(), drawing_from(self.draws):
            terms = self.trainer.model.objective({"x": values["x"], "y": values["y"].argmax(-1)}).terms
        return {"label": float(terms["y"]["label"].mean()) / self.problem.alpha}


def make(problem: Problem, way: str) -> SgcStep:
    """Make the contender."""
    return SgcStep(problem, [f"train.{way}"] if way else [])
