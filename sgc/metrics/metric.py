"""What a metric is: how far each prediction is from its label, and how that is averaged, named and written.

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


@dataclass(frozen=True)
class MeasuredNode:
    """What is known of a node without its data; of a node of a repeat, of one step.

    event: the shape of a value, of categories with their axis. named: its column holds names, which a transform
    numbers. points: a transform makes unit vectors of what stands in its column, so that angles have a meaning.
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

    name: ClassVar[str]  # as specs and JSON write it
    title: ClassVar[str]  # as the table of `evaluate` writes it
    abbreviation: ClassVar[str] = ""  # where a sentence has no room for the title; empty: the title
    unit: ClassVar[str] = ""  # that it is written in; empty: that of the data, or none
    scale: ClassVar[float] = 1.0  # what a value is multiplied by where it is written: 100 of a share in %
    lower_is_better: ClassVar[bool] = True
    directions: ClassVar[bool] = False  # whether it compares directions: unit vectors, angles, or whole values

    def refuse(self, node: MeasuredNode) -> str:
        """Say why it means nothing for a node; an empty string where it does."""
        return ""

    @abstractmethod
    def distances(self, pairs: Pairs) -> Tensor:
        """Give how far each element of a prediction is from its label, [n, …]; those of a row are averaged."""

    def average(self, mean: float, standard_error: float) -> tuple[float, float]:
        """Turn the mean of all distances and its standard error, which may be NaN, into the value and its own."""
        return mean, standard_error

    def more(self, value: float) -> dict[str, float]:
        """Say a value in other numbers too, by the names they have in JSON."""
        return {}

    def aside(self, value: float) -> str:
        """Say a value in other words too, as the table writes them behind it."""
        return ""

    @final
    def of_rows(self, pairs: Pairs) -> Tensor:
        """Average the distances of each row over its elements: [n]. Raises: UsageError where they are none."""
        import torch

        found, rows = self.distances(pairs), len(pairs.label)
        if not isinstance(found, torch.Tensor):
            raise UsageError(f"'{self}': its distances are a {type(found).__name__}, wanted a tensor")
        if not found.dim() or len(found) != rows:
            raise UsageError(f"'{self}': its distances are {list(found.shape)}, wanted [{rows}, …]: some for each row")
        return found.reshape(rows, -1).double().mean(1)

    @final
    def write(self, value: float, standard_error: float = math.nan) -> str:
        """Write a value with its standard error, where it is known, and its unit.

        >>> from sgc.metrics.metrics import METRICS
        >>> METRICS["error"].write(0.0987, 0.003)
        '9.87 ± 0.30 %'
        """
        spread = "" if math.isnan(standard_error) else f" ± {standard_error * self.scale:.2f}"
        return f"{value * self.scale:.2f}{spread}{' ' + self.unit if self.unit else ''}"

    @property
    def short(self) -> str:
        """Its title, in a sentence."""
        return self.abbreviation or self.title

    @property
    def short_unit(self) -> str:
        """Its unit behind a number of a sentence; degrees stand close to it."""
        return self.unit if self.unit in ("", "°") else f" {self.unit}"

    def __str__(self) -> str:
        return self.name
