"""The start and the end of a run in its folder: first files, checks that it goes on as it began, its best weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from sgc.data.dataset import DataSet
from sgc.errors import UsageError, option
from sgc.runs.extension import extended
from sgc.runs.folder_claim import other_processes, same_data, same_threads
from sgc.runs.run_folder import RunFolder, open_run
from sgc.runs.run_records import TrainingState
from sgc.runtime.model import Model
from sgc.runtime.streams import Streams
from sgc.runtime.weight_files import own_state
from sgc.spec.loader import load
from sgc.spec.spec import Spec
from sgc.training.precision import with_precision
from sgc.training.processes import Processes


def settled(folder: RunFolder, spec: Spec, state: TrainingState | None) -> tuple[Spec, list[str], list[str]]:
    """Give the spec that a run has, with notes on what is other than before, and on what was chosen for it."""
    changes: list[str] = []
    if state is not None and folder.spec_path.exists():
        # the same but for its end; its nodes may stand in another order, and weights go by order
        before, place_of_spec, trusted = load(folder.spec_path, trust=spec.trusted), spec.folder, spec.trusted
        spec, changes = extended(folder.path, before, spec, state)
        spec = spec.stands_in(place_of_spec, trusted=trusted)
    spec, chosen = with_precision(spec)
    return spec, changes, chosen


def begin(
    folder: RunFolder,
    model: Model,
    dataset: DataSet,
    streams: Streams,
    processes: Processes,
    place: Path,
    *,
    given: bool,
) -> None:
    """Write the first files of a run. place: where the data are looked for. given: the data are arrays."""
    spec, rates = model.spec, streams.rates_at(0.0)
    info: dict[str, Any] = {  # Any: what JSON can say
        "seed": spec.train.seed,
        "gamma": rates.gamma,
        "rate": rates.rate,
        "alpha": {name: float(alpha) for name, alpha in model.settings().alpha.items()},
        "beside": str(place),
        "data": "arrays" if given else "spec",
        "threads": torch.get_num_threads(),
        "rows": dict(zip(("unlabelled", "labelled"), streams.counts, strict=True)),
    }
    if not processes.alone:
        info["processes"] = processes.size
    if spec.own_code():
        info["code"] = str(spec.folder)
    folder.start(spec, info)
    folder.write_data(dataset)


def go_on(
    folder: RunFolder, model: Model, dataset: DataSet, processes: Processes, changes: Sequence[str], epoch: int
) -> list[str]:
    """Check that a run goes on as it began, and open its folder again; give notes for the user. Raises: UsageError.

    changes: of its end. epoch: after which it goes on.
    """
    same_data(folder, dataset, f"bring them back as they were, or start over with {option('force', '-')}")
    notes = other_processes(folder, processes.size)
    if not notes:
        same_threads(folder, model.like.device)
    folder.trim_metrics(epoch)
    if changes:
        folder.reopen(model.spec)
    return notes


def check_same_data(dataset: DataSet, processes: Processes) -> None:
    """Check that all processes have read the same data. Raises: UsageError."""
    own = dataset.fingerprint
    if any(other != (own.ids, own.nodes) for other in processes.of_all((own.ids, own.nodes))):
        raise UsageError("the processes have read different data: let all of them read the same files")


def best_of(folder: RunFolder, model: Model, processes: Processes, *, trust: bool) -> Model:
    """Give the model of a finished run with its best weights, as the leader reads them. model: one of its making."""
    if processes.leads:
        model = open_run(folder.path, trust=trust)
    if not processes.alone:
        model.epoch, model.gamma, model.rate = processes.from_leader(lambda: (model.epoch, model.gamma, model.rate))
        processes.same_weights(list(own_state(model).values()))
    return model.eval()
