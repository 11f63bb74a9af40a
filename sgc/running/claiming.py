"""Whether a folder may take a run, or go on with the one it holds: same spec, same data, nothing overwritten."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from sgc.data.dataset import DataSet
from sgc.data.large import EncodedColumn
from sgc.errors import UsageError, option
from sgc.language.loading import load
from sgc.language.spec import Spec
from sgc.running.folder import RunFolder


def claim(folder: RunFolder, spec: Spec, *, resume: bool, force: bool) -> dict[str, Any] | None:  # Any: a torch state
    """See whether the folder may be written to; give the state to go on from, None to start anew."""
    if folder.path.exists() and not folder.path.is_dir():
        raise UsageError(f"{folder.path}: is a file, wanted a folder for the run")
    if not folder.exists():
        foreign = folder.foreign()
        if foreign:
            raise UsageError(f"{folder.path}: holds {foreign[0]} and no run, wanted a new or empty folder")
        return None
    if force:
        return None
    finished = folder.info_path.exists() and bool(folder.info().get("finished"))
    if not resume:
        anew = f"{option('force', '-')} starts over"
        more = anew if finished else f"{option('resume', '-')} goes on, {anew}"
        raise UsageError(f"{folder.path}: holds {'a finished' if finished else 'an unfinished'} run; {more}")
    # to compare: own code is trusted here in name only, for nothing is imported of it
    before = load(folder.spec_path, trust=True).plain() if folder.spec_path.exists() else spec.plain()
    if before != spec.plain():
        keys = difference(before, spec.plain())
        raise UsageError(f"{folder.path}: holds a run of another spec, which differs at {', '.join(keys[:3])}")
    if folder.state_path.exists():
        folder.info()  # wanted at the end of the run: a fault in it is told now
        return folder.state()
    if finished:
        anew = option("force", "-")
        raise UsageError(f"{folder.path}: holds a finished run without its training.pt; {anew} starts over")
    return None


def same_data(folder: RunFolder, dataset: DataSet) -> None:
    """See that a resumed run meets the rows, values and labels that it was started on. Raises: UsageError."""
    before = folder.labelled_rows()
    for name, rows in dataset.labelled_rows.items():
        if name not in before or not np.array_equal(before[name], rows):
            raise UsageError(
                f"{folder.path}: the data are not those the run was started on: other rows carry a label of '{name}'"
            )
    found = digest(dataset)
    if folder.info().get("digest", found) != found:
        raise UsageError(f"{folder.path}: the data are not those the run was started on: other rows or values")


def digest(dataset: DataSet) -> str:
    """Sum up the training values and the rows of every split, to tell whether two data sets are the same."""
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
