"""The streams of a run, as its spec says: the rows of each step, and what each of them weighs."""

from __future__ import annotations

import numpy as np

from sgc.errors import UsageError
from sgc.runtime.streams import Streams, TensorRows, batch_sizes
from sgc.runtime.training_weights import RowWeights, row_weights
from sgc.spec.check_weights import by_node
from sgc.spec.spec import Spec


def streams_of(spec: Spec, rows: TensorRows) -> Streams:
    """Make the streams over the training rows of a run. Raises: UsageError where a stream has no rows."""
    objective, settings = spec.objective, spec.train
    try:
        return Streams(
            rows,
            batch=batch_sizes(settings.batch_size),
            gamma=objective.gamma,
            rate=objective.supervision_rate,
            seed=settings.seed,
            also_unlabelled=settings.labelled_also_unlabelled,
            supervised=not spec.maximised.generative,
            weights=_row_weights(spec, rows),
        )
    except ValueError as problem:
        raise UsageError(str(problem)) from None


def _row_weights(spec: Spec, rows: TensorRows) -> RowWeights | None:
    chosen = by_node(spec)
    every = np.arange(rows.count)
    labels = {name: rows.take(name, every).numpy() for name in chosen if name in rows.names}
    chosen = {name: weights for name, weights in chosen.items() if name in labels}
    return row_weights(rows.count, rows.weights, labels, chosen)
