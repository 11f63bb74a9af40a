"""A metric of the user's own: its class by import path, and its options.

`{python: module:Class, options: {margin: 0.1}}`
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, final

from sgc.errors import UsageError
from sgc.metrics.metric import MeasuredNode, Metric, Pairs
from sgc.metrics.metrics import METRICS
from sgc.own_code import OwnCode, OwnObject, failure, raised

if TYPE_CHECKING:
    from torch import Tensor

TEXTS = ("name", "title", "abbreviation", "unit")
NAME = "[A-Za-z][A-Za-z0-9_]*"
TAKEN = (  # beside a metric's value in the JSON of `evaluate`
    *("standard_error", "rows", "steps", "rows_given_count", "calibration", "coverage"),
    *("balanced_error", "by_category", "confusion", "clusters"),
)
TRIED = 2  # rows that it is tried on, before anything is trained


@final
class OwnMetric(OwnObject):
    """A metric of the user's own, derived from `sgc.metrics.Metric`; `options` are the keywords of its constructor."""

    def load(self, code: OwnCode) -> Metric:
        """Import and make it. Raises: UsageError, where it is not trusted, or no metric."""
        metric: Metric = self.make(code, Metric, TEXTS)
        if metric.name in METRICS:
            raise UsageError(f"'{self.python}': '{metric.name}' is the name of another metric; give its class another")
        if not re.fullmatch(NAME, metric.name) or metric.name in TAKEN:
            wanted = f"a letter, then letters, digits or '_', and none of {', '.join(TAKEN)}"
            raise UsageError(f"'{self.python}': its name is '{metric.name}', wanted {wanted}")
        return metric


def refusal(path: str, metric: Metric, node: MeasuredNode) -> str:
    """Ask an own metric why it is not meaningful for a node. Raises: UsageError, where its class fails."""
    try:
        reason = metric.refuse(node)
    except Exception as problem:  # whatever the user's class may do
        raise UsageError(f"'{path}': tried refuse: {failure(problem) or raised(problem)}") from None
    if not isinstance(reason, str):
        raise UsageError(f"'{path}': its refuse() returned {type(reason).__name__}, wanted a text")
    return reason


def try_metric(path: str, metric: Metric, node: MeasuredNode) -> None:
    """Measure labels that are predicted well, before anything is trained. Raises: UsageError, where that fails."""
    import torch

    pairs = _trial(node, directions=metric.directions)
    step = "distances"
    try:
        distances = metric.of_rows(pairs)
        if not bool(torch.isfinite(distances).all()):
            raise UsageError(f"'{path}': its distances are {distances.tolist()} between labels and themselves")
        step = "average"
        value, error = metric.average(float(distances.mean()), 0.0)
        step = "write"
        metric.write(float(value), float(error))
        metric.aside(float(value))
        step = "more"
        {name: float(further) for name, further in metric.more(float(value)).items()}
    except UsageError:
        raise
    except (Exception, SystemExit) as problem:  # whatever the user's class may raise
        raise UsageError(f"'{path}': tried {step}: {raised(problem)}") from None


def _trial(node: MeasuredNode, *, directions: bool) -> Pairs:
    """Make right predictions of a node."""
    import torch

    label: Tensor = torch.tensor(node.support.legal(node.event), dtype=torch.float64).reshape(1, -1).repeat(TRIED, 1)
    if node.categories is not None:
        sure = label.reshape(TRIED, -1, node.categories)
        return Pairs(node, sure, sure.argmax(-1))
    if not directions:
        return Pairs(node, label, label)
    ones = torch.ones(TRIED, 1, label.shape[1] if not (node.points or node.periodic) else 2, dtype=torch.float64)
    return Pairs(node, ones, ones)
