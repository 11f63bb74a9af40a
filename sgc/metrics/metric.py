"""The base of metrics: how far each prediction is from its label, and how that is averaged, named and written.

A new metric is one file with one class derived from `Metric`, and a line in `sgc.metrics.metrics`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from sgc.distributions.supports import Support
from sgc.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

Z = 1.959964  # standard errors on each side of 95 %


@dataclass(frozen=True)
class MeasuredNode:
    """A node as it is known without its data; of a node of a repeat, one step.

    event: the shape of a value, of categories with their axis. named: its column holds names, which a transform
    numbers. points: a transform makes unit vectors of its column, so that angles have a meaning.
    """

    name: str
    support: Support
    event: tuple[int, ...]
    categories: int | None = None
    named: bool = False
    points: bool = False

    @property
    def nominal(self) -> bool:
        """Whether a value is a category, or 0 or 1, and a prediction gives probabilities."""
        return self.support.nominal

    @property
    def periodic(self) -> bool:
        """Whether its values are angles in radians, alike modulo 2π."""
        return self.support.periodic


@dataclass(frozen=True, eq=False)
class Pairs:
    """Predictions of n rows (of a node of a repeat, n steps) beside their labels, both in float64.

    Of categories, `predicted` holds probabilities [n, elements, categories] and `label` whole numbers from 0 up,
    [n, elements]; of 0 and 1, the probabilities of 1, and 0 or 1, both [n, elements]; else both hold numbers in the
    units of the data, [n, elements]. For a metric of directions both are vectors [n, directions, dimensions].
    """

    node: MeasuredNode
    predicted: Tensor
    label: Tensor

    def numbers(self) -> tuple[Tensor, Tensor]:
        """Give both as numbers of one shape, [n, …]: a category is 1 at its own place, 0 at the others."""
        import torch

        if self.node.categories is None:
            return self.predicted, self.label
        return self.predicted, torch.nn.functional.one_hot(self.label.long(), self.node.categories).double()


class Metric(ABC):
    """A number that says how good predictions of a node are: a mean over labels, or a function of one."""

    name: ClassVar[str]  # in specs and JSON
    title: ClassVar[str]  # in the table of `evaluate`
    abbreviation: ClassVar[str] = ""  # in sentences, where the title is too long; empty: the title
    unit: ClassVar[str] = ""  # empty: that of the data, or none
    scale: ClassVar[float] = 1.0  # by which a value is multiplied when it is written: 100 for a share in %
    lower_is_better: ClassVar[bool] = True
    share: ClassVar[bool] = False  # whether it is a share of values that are right or wrong, from 0 to 1
    directions: ClassVar[bool] = False  # whether it compares directions: unit vectors, angles, or whole values

    def refuse(self, node: MeasuredNode) -> str:
        """Say why it is not meaningful for a node; an empty string where it is."""
        return ""

    @abstractmethod
    def distances(self, pairs: Pairs) -> Tensor:
        """Give how far each element of a prediction is from its label, [n, …]; those of a row are averaged."""

    def average(self, mean: float, standard_error: float) -> tuple[float, float]:
        """Turn the mean of all distances and its standard error, which may be NaN, into the value and its own."""
        return mean, standard_error

    def more(self, value: float) -> dict[str, float]:
        """Give further numbers of a value, by their names in JSON."""
        return {}

    def aside(self, value: float) -> str:
        """Give further words for a value, which the table writes behind it."""
        return ""

    @final
    def of_rows(self, pairs: Pairs) -> Tensor:
        """Average the distances of each row over its elements: [n]. Raises: UsageError for any other result."""
        import torch

        distances, rows = self.distances(pairs), len(pairs.label)
        if not isinstance(distances, torch.Tensor):
            raise UsageError(f"'{self}': its distances are a {type(distances).__name__}, wanted a tensor")
        if not distances.dim() or len(distances) != rows:
            shape = list(distances.shape)
            raise UsageError(f"'{self}': its distances are {shape}, wanted [{rows}, …]: some for each row")
        return distances.reshape(rows, -1).double().mean(1)

    @final
    def write(self, value: float, standard_error: float = math.nan, rows: int = 0) -> str:
        """Write a value with its standard error, where it is known, and its unit.

        Of a share that is 0 or 1 the standard error is 0, whatever the number of rows: in its place stands how far it
        may be from there, by the 95 % interval of Wilson (1927) over `rows` rows, where they are known.

        >>> from sgc.metrics.metrics import METRICS
        >>> METRICS["error"].write(0.0987, 0.003), METRICS["error"].write(0.0, 0.0, 100)
        ('9.87 ± 0.30 %', '0.00 % (at most 3.70 %)')
        """
        if self.share and rows and value in (0, 1):
            room = Z**2 / (rows + Z**2)
            side, limit = ("at most", room) if value == 0 else ("at least", 1 - room)
            unit = f" {self.unit}" if self.unit else ""
            return f"{value * self.scale:.2f}{unit} ({side} {limit * self.scale:.2f}{unit})"
        spread = "" if math.isnan(standard_error) else f" ± {standard_error * self.scale:.2f}"
        return f"{value * self.scale:.2f}{spread}{' ' + self.unit if self.unit else ''}"

    @property
    def short(self) -> str:
        """Its title, in a sentence."""
        return self.abbreviation or self.title

    @property
    def short_unit(self) -> str:
        """Its unit behind a number in a sentence, with a space unless it is °."""
        return self.unit if self.unit in ("", "°") else f" {self.unit}"

    def __str__(self) -> str:
        return self.name
