"""Whether a folder may take a new run, or the run in it may go on: same spec, same data, nothing overwritten."""

from __future__ import annotations

import hashlib
import warnings
from typing import Any

import numpy as np
import torch

from sgc.data.dataset import DataSet
from sgc.data.fingerprint import changes, same_rows
from sgc.data.large_columns import EncodedColumn
from sgc.errors import UsageError, option
from sgc.runs.extension import only_the_end
from sgc.runs.run_folder import RunFolder
from sgc.runs.run_lock import locked
from sgc.runs.run_records import TrainingState
from sgc.spec.loader import load
from sgc.spec.spec import Spec


def claim(folder: RunFolder, spec: Spec, *, resume: bool, force: bool, left: bool = False) -> TrainingState | None:
    """Check that the locked folder may be written to; give the state to go on from, or None to start from nothing.

    left: a killed process has left its lock there. Raises: UsageError.
    """
    if not folder.exists():
        foreign = folder.foreign(left=left)
        if foreign:
            raise UsageError(f"{folder.path}: holds {foreign[0]} and no run, wanted a new or empty folder")
        return None
    if force:
        if folder.classifier.path.exists():  # it is removed too: a fault in it is reported now
            with locked(folder.classifier.path):
                folder.classifier.exists()
        return None
    finished = folder.record().finished
    start_over = f"{option('force', '-')} starts over"
    if not resume:
        more = start_over if finished else f"{option('resume', '-')} goes on, {start_over}"
        raise UsageError(f"{folder.path}: holds {'a finished' if finished else 'an unfinished'} run; {more}")
    # trusting own code is safe here: the specs are only compared, and nothing is imported
    wanted = spec.plain()
    before = load(folder.spec_path, trust=True).plain() if folder.spec_path.exists() else wanted
    if wanted["train"]["precision"] == "auto":  # of which the run keeps what was chosen as it began
        wanted["train"]["precision"] = before["train"]["precision"]
    if before != wanted:
        keys = difference(before, wanted)
        if not only_the_end(keys):
            raise UsageError(f"{folder.path}: holds a run of another spec, which differs at {', '.join(keys[:3])}")
    if folder.state_path.exists():
        if not folder.spec_path.exists():
            raise UsageError(f"{folder.path}: holds a run without its spec.yaml; {start_over}")
        return folder.state()
    if finished and folder.record().exported:
        raise UsageError(
            f"{folder.path}: was exported, without the state of training that a run goes on from: resume the run itself"
        )
    if finished:
        raise UsageError(f"{folder.path}: holds a finished run without its training.pt; {start_over}")
    return None


def same_data(folder: RunFolder, dataset: DataSet, advice: str) -> None:
    """Check that the rows, values and labels are those that a run was started on.

    advice: what to do if they are not. Raises: UsageError, which says what differs.
    """
    before, now = folder.fingerprint(), dataset.fingerprint
    labels, rows = folder.labelled_rows(), dataset.labelled_rows
    other = [repr(name) for name in rows if name not in labels or not np.array_equal(labels[name], rows[name])]
    if before is None:
        differs = "" if folder.record().digest == digest_of_before(dataset) else "other rows or values"
    else:
        differs = changes(before, now)
    if other and (before is None or same_rows(before, now)):
        differs = f"other rows carry a label of {' and '.join(other)}"
    if differs:
        raise UsageError(f"{folder.path}: the data are not those the run was started on: {differs}; {advice}")


def same_threads(folder: RunFolder, device: torch.device) -> None:
    """Warn if a run goes on with another number of threads: sums are then rounded in another order."""
    before, now = folder.record().threads, torch.get_num_threads()
    if device.type == "cpu" and before is not None and before != now:
        warnings.warn(
            f"{folder.path}: was started with {before} thread{'s' * (before != 1)} and goes on with {now}: sums are "
            f"rounded in another order, so the last digits may differ from those of an uninterrupted run; "
            f"OMP_NUM_THREADS={before} gives the same digits",
            stacklevel=3,
        )


def other_processes(folder: RunFolder, now: int) -> list[str]:
    """Give a note where a run goes on with another number of processes: the result is the same but for rounding."""
    before = folder.record().processes or 1
    if before == now:
        return []
    started = f"{before} process{'es' * (before != 1)}"
    same = "rows and draws are the same, sums are rounded in another order"
    return [f"was started by {started} and goes on with {now}: {same}"]


def digest_of_before(dataset: DataSet) -> str:
    """Hash the training values and the rows of every split as older runs did, which have no rows.npz."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (dataset.train, dataset.validation, dataset.test):
        digest.update(np.ascontiguousarray(part.rows).data)
    for name in sorted(dataset.train.values):
        values = dataset.train.values[name]
        for chunk in values.chunks() if isinstance(values, EncodedColumn) else [values]:
            digest.update(np.ascontiguousarray(chunk).data)
    return digest.hexdigest()


def difference(before: Any, after: Any, path: str = "") -> list[str]:  # Any: plain data
    """List the paths at which two pieces of plain data differ.

    >>> difference({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}})
    ['b.c']
    """
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [*before, *[key for key in after if key not in before]]
        paths = {key: f"{path}.{key}" if path else str(key) for key in keys}
        return [place for key in keys for place in difference(before.get(key), after.get(key), paths[key])]
    return [] if before == after else [path]
