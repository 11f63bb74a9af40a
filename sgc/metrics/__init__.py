"""What predictions of a node are held against its labels by: metrics, each in one file.

What a metric of one's own is made of can be imported from here.
"""

from sgc.metrics.metric import MeasuredNode, Metric, Pairs

__all__ = ["MeasuredNode", "Metric", "Pairs"]
