"""Opening a run for the page: its model, its rows where the data are at hand, and what values its nodes have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from sgc.data.dataset import DataSet
from sgc.distributions.row_totals import OWN_SUM
from sgc.errors import DataError, RunError, UsageError
from sgc.explorer.controls import KnownValues, controls_of
from sgc.explorer.exploration import Exploration
from sgc.explorer.row_source import RowSource
from sgc.randomness import Generators, drawing_from
from sgc.runs.run_folder import RunFolder, open_run
from sgc.runtime.model import Model
from sgc.runtime.streams import TensorRows
from sgc.trained.run_evaluation import run_data

LOOKED_AT = 2000  # rows of which values are taken
INFERRED = 128  # rows of which latent nodes are inferred
DRAWN = 512  # rows that are generated


def open_exploration(run: Path, checkpoint: str = "best", *, trust: bool = False) -> Exploration:
    """Open a run for the page; without its data, it is explored by its latent nodes and labels alone.

    trust: allow own code that the run's spec names. Raises: SpecError, UsageError.
    """
    folder = RunFolder(run)
    model = open_run(run, checkpoint, trust=trust)
    model.requires_grad_(False)
    encoders = folder.encoders(model.outline)
    dataset: DataSet | None = None
    missing = ""
    if folder.record().data == "arrays":
        missing = "the run was trained on arrays from Python, which it does not hold: bring rows, as an .npz file"
    else:
        try:
            dataset = run_data(folder, model)
        except (DataError, UsageError) as problem:
            missing = str(problem)
    rows = RowSource(model, encoders, dataset, missing)
    with torch.inference_mode():
        known = _known_values(model, rows)
    return Exploration(model, encoders, rows, controls_of(model, encoders, known))


def _known_values(model: Model, rows: RowSource) -> KnownValues:
    """Collect values of nodes: of labels and inputs from the data, of latent nodes from p and from q."""
    outer = model.outline.outer
    latent = [name for name, variable in outer.items() if variable.supervision == "none" and not variable.categories]
    values: dict[str, list[np.ndarray]] = {}
    for table in rows.splits.values():
        index = np.unique(np.linspace(0, table.count - 1, min(table.count, LOOKED_AT)).round().astype(np.int64))
        for name in table.names:
            if table.categories(name) is None:
                values.setdefault(name, []).append(table.take(name, index).double().cpu().numpy())
    held = next(iter(rows.splits.values()), None)
    with drawing_from(Generators(model.spec.train.seed)):
        for name, value in _generated(model, held).items():
            if name in latent or (name in outer and outer[name].categories is None and name not in values):
                values.setdefault(name, []).append(value)
        inferred = {} if held is None else _inferred(model, held)
    return KnownValues(
        {name: np.concatenate(parts) for name, parts in values.items()},
        {name: value for name, value in inferred.items() if name in latent},
    )


def _generated(model: Model, held: TensorRows | None) -> dict[str, np.ndarray]:
    """Draw rows from p, with the inputs of rows of the data; nothing where it cannot be done."""
    given: dict[str, torch.Tensor] = {}
    if held is not None:
        index = np.random.default_rng(model.spec.train.seed).integers(held.count, size=DRAWN)
        own = [name for name, variable in model.outline.outer.items() if variable.total == OWN_SUM]
        for name in [*model.outline.inputs, *own]:
            if name in held.names:
                given[name] = held.take(name, index)
    try:
        drawn = model.generation(DRAWN, given).values
    except (ValueError, KeyError, RunError):
        return {}
    return {name: value.double().cpu().numpy() for name, value in drawn.items()}


def _inferred(model: Model, held: TensorRows) -> dict[str, np.ndarray]:
    """Infer latent nodes of some rows by q: means, by outer name."""
    index = np.unique(np.linspace(0, held.count - 1, min(held.count, INFERRED)).round().astype(np.int64))
    try:
        found = model.inference(held.part(index, frozenset()).values, 1, "q")
    except (ValueError, KeyError, RunError):
        return {}
    return {name: answer.mean.double().cpu().numpy() for name, answer in found.nodes.items()}
