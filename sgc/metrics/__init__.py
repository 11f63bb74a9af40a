"""Metrics, which compare predictions of a node with its labels; each is one file.

The classes that an own metric needs can be imported from here.
"""

from sgc.metrics.metric import MeasuredNode, Metric, Pairs

__all__ = ["MeasuredNode", "Metric", "Pairs"]
