"""What is maximised and how its gradient is estimated: bounds, estimators, schedules, each kind in one file.

What a bound or an estimator of one's own is made of can be imported from here.
"""

from sgc.objectives.bound import Bound, BoundWords, Ingredients, Message, alpha_of
from sgc.objectives.estimator import Charging, Draw, Estimator
from sgc.objectives.expressions import (
    ONE,
    Constant,
    Expression,
    LabelScore,
    LogMean,
    Mean,
    Product,
    Scale,
    Scaled,
    Score,
    Value,
    telescoped,
)

__all__ = [
    "ONE",
    "Bound",
    "BoundWords",
    "Charging",
    "Constant",
    "Draw",
    "Estimator",
    "Expression",
    "Ingredients",
    "LabelScore",
    "LogMean",
    "Mean",
    "Message",
    "Product",
    "Scale",
    "Scaled",
    "Score",
    "Value",
    "alpha_of",
    "telescoped",
]
