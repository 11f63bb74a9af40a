"""The facts of a run: what it is of, how far it came, with what it was made, and its spec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sgc.data.dataset import DataSet
from sgc.runs.file_formats import spec_yaml
from sgc.runs.run_folder import RunFolder
from sgc.runtime.model import Model


@dataclass(frozen=True)
class RunFacts:
    """What a run is. epoch: of the checkpoint's weights. labels: training rows that kept their label, by node."""

    run: str
    name: str
    description: str
    checkpoint: str
    epoch: float
    finished: bool
    seed: int
    parameters: int
    bound: str
    samples: int
    data: str  # `spec` or `arrays`
    rows: dict[str, int]  # of training, by stream
    labels: dict[str, int]
    versions: dict[str, str]
    platform: str
    threads: int | None
    spec: str  # in YAML, every default written out
    trust: bool = False  # whether the spec names own code, which commands must allow

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Give it as plain data."""
        return dict(vars(self))


@dataclass(frozen=True)
class LabelCounts:
    """How many training rows are labelled with each category of a node, in the order of its categories."""

    node: str
    names: tuple[str, ...]
    counts: tuple[int, ...]

    def plain(self) -> list[dict[str, Any]]:  # Any: what JSON can say
        """Give it as plain data."""
        return [{"category": name, "labels": count} for name, count in zip(self.names, self.counts, strict=True)]


def facts_of(folder: RunFolder, model: Model, checkpoint: str) -> RunFacts:
    """Gather the facts of a run. Raises: UsageError where its files cannot be read."""
    record, spec = folder.record(), model.spec
    return RunFacts(
        run=str(folder.path),
        name=spec.name,
        description=spec.description or "",
        checkpoint=checkpoint,
        epoch=float(model.epoch),
        finished=record.finished,
        seed=record.seed,
        parameters=model.outline.parameter_count(),
        bound=str(spec.maximised.name),
        samples=spec.objective.samples,
        data=record.data,
        rows=record.rows.model_dump(),
        labels={name: len(ids) for name, ids in folder.labelled_rows().items()},
        versions=dict(record.versions),
        platform=record.platform,
        threads=record.threads,
        spec=spec_yaml(spec),
        trust=bool(spec.own_code()),
    )


def label_counts(model: Model, dataset: DataSet) -> tuple[LabelCounts, ...]:
    """Count the labels that training had, by category, of the nodes that have categories and some labels."""
    counted = []
    for name, variable in model.outline.outer.items():
        values = dataset.train.values.get(name)
        if variable.supervision != "partial" or variable.categories is None or not isinstance(values, np.ndarray):
            continue
        labels = values[values >= 0].reshape(-1)
        if not len(labels):
            continue
        encoder = dataset.encoders.get(name)
        names = (None if encoder is None else encoder.names) or variable.values or range(variable.categories)
        counts = np.bincount(labels, minlength=variable.categories).tolist()
        counted.append(LabelCounts(name, tuple(map(_word, names)), tuple(counts)))
    return tuple(counted)


def _word(name: object) -> str:
    return str(name).lower() if isinstance(name, bool) else str(name)
