"""The metrics that specs name, and the default one of a node."""

from __future__ import annotations

from sgc.metrics.angle_between import AngleBetween
from sgc.metrics.error_rate import ErrorRate
from sgc.metrics.mean_absolute import MeanAbsolute
from sgc.metrics.metric import MeasuredNode, Metric
from sgc.metrics.root_mean_square import RootMeanSquare

ERROR, RMSE = ErrorRate(), RootMeanSquare()
METRICS: dict[str, Metric] = {metric.name: metric for metric in (ERROR, RMSE, MeanAbsolute(), AngleBetween())}


def default(node: MeasuredNode) -> Metric:
    """Choose the metric of a node if its spec names none: the error rate of categories, else the root mean square."""
    return ERROR if node.nominal else RMSE


def possible(node: MeasuredNode) -> list[str]:
    """Name the metrics that are meaningful for a node."""
    return [name for name, metric in METRICS.items() if not metric.refuse(node)]
