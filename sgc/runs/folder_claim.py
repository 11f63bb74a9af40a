"""Whether a folder may take a run, or go on with the one it holds: same spec, same data, nothing overwritten."""

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
from sgc.spec.loader import load
from sgc.spec.spec import Spec
from sgc.runs.extension import only_the_end
from sgc.runs.run_folder import RunFolder
from sgc.runs.run_lock import locked
from sgc.runs.run_records import TrainingState


def claim(folder: RunFolder, spec: Spec, *, resume: bool, force: bool, left: bool = False) -> TrainingState | None:
    """See whether the folder, which is locked, may be written to; give the state to go on from, None to start anew.

    left: a start that was killed has left its lock there. Raises: UsageError.
    """
    if not folder.exists():
        foreign = folder.foreign(left=left)
        if foreign:
            raise UsageError(f"{folder.path}: holds {foreign[0]} and no run, wanted a new or empty folder")
        return None
    if force:
        inner = RunFolder(folder.path / "classifier")
        if inner.path.exists():  # it goes too: a fault in it is told now
            with locked(inner.path):
                inner.exists()
        return None
    finished = folder.record().finished
    if not resume:
        anew = f"{option('force', '-')} starts over"
        more = anew if finished else f"{option('resume', '-')} goes on, {anew}"
        raise UsageError(f"{folder.path}: holds {'a finished' if finished else 'an unfinished'} run; {more}")
    # to compare: own code is trusted here in name only, for nothing is imported of it
    before = load(folder.spec_path, trust=True).plain() if folder.spec_path.exists() else spec.plain()
    if before != spec.plain():
        keys = difference(before, spec.plain())
        if not only_the_end(keys):
            raise UsageError(f"{folder.path}: holds a run of another spec, which differs at {', '.join(keys[:3])}")
    if folder.state_path.exists():
        if not folder.spec_path.exists():
            anew = option("force", "-")
            raise UsageError(f"{folder.path}: holds a run without its spec.yaml; {anew} starts over")
        return folder.state()
    if finished:
        anew = option("force", "-")
        raise UsageError(f"{folder.path}: holds a finished run without its training.pt; {anew} starts over")
    return None


def same_data(folder: RunFolder, dataset: DataSet, way_on: str) -> None:
    """See that a run meets the rows, values and labels that it was started on again.

    way_on: what to do where it does not. Raises: UsageError, which says what differs.
    """
    before, now = folder.fingerprint(), dataset.fingerprint
    labels, rows = folder.labelled_rows(), dataset.labelled_rows
    other = [repr(name) for name in rows if name not in labels or not np.array_equal(labels[name], rows[name])]
    if before is None:
        what = "" if folder.record().digest == digest_of_before(dataset) else "other rows or values"
    else:
        what = changes(before, now)
    if other and (before is None or same_rows(before, now)):
        what = f"other rows carry a label of {' and '.join(other)}"
    if what:
        raise UsageError(f"{folder.path}: the data are not those the run was started on: {what}; {way_on}")


def same_threads(folder: RunFolder, device: torch.device) -> None:
    """Warn where a run goes on with another number of threads than it began with: sums are rounded in another order."""
    before, now = folder.record().threads, torch.get_num_threads()
    if device.type == "cpu" and before is not None and before != now:
        warnings.warn(
            f"{folder.path}: was started with {_threads(before)} and goes on with {now}: sums are rounded in another "
            f"order, and the result is not to the last bit that of one run; OMP_NUM_THREADS={before} gives that",
            stacklevel=3,
        )


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count != 1 else ''}"


def digest_of_before(dataset: DataSet) -> str:
    """Sum up the training values and the rows of every split, as runs of before there was rows.npz were known by."""
    found = hashlib.blake2b(digest_size=16)
    for part in (dataset.train, dataset.validation, dataset.test):
        found.update(np.ascontiguousarray(part.rows).data)
    for name in sorted(dataset.train.values):
        values = dataset.train.values[name]
        for chunk in values.chunks() if isinstance(values, EncodedColumn) else [values]:
            found.update(np.ascontiguousarray(chunk).data)
    return found.hexdigest()


def difference(one: Any, other: Any, path: str = "") -> list[str]:  # Any: plain data
    """Name the places where two pieces of plain data differ.

    >>> difference({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}})
    ['b.c']
    """
    if isinstance(one, dict) and isinstance(other, dict):
        keys = [*one, *[key for key in other if key not in one]]
        below = [(key, one.get(key), other.get(key)) for key in keys]
        return [place for key, a, b in below for place in difference(a, b, f"{path}.{key}" if path else str(key))]
    return [] if one == other else [path]
