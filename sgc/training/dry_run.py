"""A dry run: one step on rows of each pattern of labels that the data have, and nothing is kept."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sgc.randomness import Generators, drawing_from
from sgc.runs.run_folder import RunFolder
from sgc.runtime.batch import patterns_of
from sgc.runtime.compiler import take_all_weights
from sgc.runtime.data_variables import open_data
from sgc.runtime.steps import rows_text
from sgc.runtime.streams import NOISE, batch_sizes, seed_for
from sgc.spec.resolver import outline
from sgc.spec.spec import Spec
from sgc.training.trainer import Trainer
from sgc.training.watchers import Silent

PATTERNS_TRIED = 32  # a step of each of so many, one of the rest: n labels can have 2ⁿ patterns


def dry(spec: Spec, *, beside: Path, debug: bool = False) -> list[dict[str, Any]]:  # Any: what JSON can say
    """Run one step of each pattern that the data have, and keep nothing. Raises: DataError, UsageError, RunError."""
    resolved = outline(spec)
    dataset = open_data(resolved, beside)
    trainer = Trainer(resolved, dataset, RunFolder(Path()), Silent(), debug=debug)
    take_all_weights(trainer.model, beside)
    return try_patterns(trainer)


def try_patterns(trainer: Trainer) -> list[dict[str, Any]]:  # Any: what JSON can say
    """Take one step on rows of each pattern; the weights move, nothing is written. Raises: RunError."""
    reports = []
    sizes = batch_sizes(trainer.settings.batch_size)
    streams = trainer.streams
    nothing: frozenset[str] = frozenset()
    groups = {} if streams.unlabelled is None else {nothing: streams.unlabelled.rows[: sizes[0]]}
    labelled = np.array([], dtype=int) if streams.labelled is None else streams.labelled.rows
    kinds, kind = patterns_of(trainer.rows.carried[labelled])
    for i, carried in enumerate(kinds[:PATTERNS_TRIED]):
        names = frozenset(name for name, has_label in zip(trainer.rows.partial, carried, strict=True) if has_label)
        groups[names] = labelled[kind == i][: sizes[1]]
    others = labelled[kind >= PATTERNS_TRIED][: sizes[1]]
    with drawing_from(Generators(seed_for(trainer.settings.seed, NOISE))):
        steps = [("", [trainer.rows.part(places, observed)]) for observed, places in groups.items()]
        if len(others):
            steps.append((f"rows of {len(kinds) - PATTERNS_TRIED} more patterns", trainer.rows.parts(others)))
        for rows, parts in steps:
            began = time.perf_counter()
            count = sum(part.size for part in parts)
            result = trainer.learner.learn(parts, [1 / count] * len(parts))
            bound = float(torch.cat([part.bound for part in result.parts]).mean())
            seconds = time.perf_counter() - began
            rows = rows or rows_text(
                trainer.model.outline, trainer.model.plan(parts[0].observed, maybe_labelled=parts[0].labelled)
            )
            reports.append({"rows": rows, "count": count, "bound": bound, "seconds": seconds})
    return reports
