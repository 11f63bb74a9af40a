"""The expression tree of a bound: expectations over the particles of a row, of logs of the model's factors.

A bound is a sum of scaled parts. A part is a mean of logs under the proposal or under weights, or the log of a mean of
a product. It is plain data: text, LaTeX and JSON are written from it, and the runtime computes it and works out from it
what a draw without a gradient is charged with. None of these knows a bound by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Score:
    """A term of log p(c, l) − log r(l | c) as the plan computes it.

    role: `generative` log p(v | ·), `recognition` −log q(v | ·), `kl` both of a node at once in closed form.
    """

    node: str
    role: str


@dataclass(frozen=True)
class LabelScore:
    """log q(v | ·) of a labelled node.

    carriers: the proposals that it varies through; none: it is constant. enumerated: it varies over the values of an
    enumerated node.
    """

    node: str
    carriers: tuple[str, ...] = ()
    enumerated: bool = False

    @property
    def varies(self) -> bool:
        """Whether it varies over the particles of a row."""
        return bool(self.carriers)


Log = Score | LabelScore


@dataclass(frozen=True)
class Product:
    """exp of a sum of logs, over the particles of a row; symbol: how it is written, if not by its factors.

    power: every factor is raised to it.
    """

    logs: tuple[Log, ...]
    symbol: str = ""
    power: float = 1.0

    @property
    def varies(self) -> bool:
        """Whether it may vary over the particles."""
        return any(isinstance(log, Score) or log.varies for log in self.logs)

    @cached_property
    def labels(self) -> frozenset[str]:
        """The labelled nodes whose factors are in it."""
        return frozenset(log.node for log in self.logs if isinstance(log, LabelScore))


ONE = Product(())


@dataclass(frozen=True)
class Scale:
    """A number of the objective: a constant, and α of a label where one is named."""

    constant: float = 1.0
    alpha: str = ""  # the labelled node whose α is added


@dataclass(frozen=True)
class Value:
    """What a mean is of: the log of one factor or of a whole product, times 1 or −1."""

    log: Log | Product
    sign: int = 1

    @property
    def logs(self) -> tuple[Log, ...]:
        """The logs that it adds up."""
        return self.log.logs if isinstance(self.log, Product) else (self.log,)


@dataclass(frozen=True)
class Mean:
    """E_r[ w Σ values ], or where `normalised` E_r[ w/Z Σ values ] with Z = E_r[w].

    name: what its baselines are kept under, in the state of a run.
    """

    values: tuple[Value, ...]
    weight: Product = ONE
    normalised: bool = True
    name: str = "bound"


@dataclass(frozen=True)
class LogMean:
    """log E_r[ product ], or where something is `before` it log E_r[ before product ] − log E_r[ before ]."""

    product: Product
    before: Product = ONE
    name: str = "bound"

    @property
    def numerator(self) -> Product:
        """The product of the first mean: what comes before, times the product."""
        return Product((*self.before.logs, *self.product.logs), self.product.symbol, self.product.power)


@dataclass(frozen=True)
class Constant:
    """log of a product that is the same for all particles of a row."""

    product: Product


Part = Mean | LogMean | Constant


@dataclass(frozen=True)
class Scaled:
    """A part times a number."""

    part: Part
    scale: Scale = Scale()


@dataclass(frozen=True)
class Expression:
    """A bound: the sum of its parts. The first one holds p, if there is one that does; its weights are the bound's."""

    parts: tuple[Scaled, ...] = ()

    @property
    def weights(self) -> Product:
        """What the particles of a row are weighed by, beside their masses."""
        if not self.parts:
            return ONE
        first = self.parts[0].part
        return first.weight if isinstance(first, Mean) else first.product

    @property
    def normalised(self) -> bool:
        """Whether the first part averages: under weights that are divided by their mean, or under a logarithm."""
        first = self.parts[0].part if self.parts else None
        return not isinstance(first, Mean) or first.normalised

    @property
    def couples(self) -> bool:
        """Whether all particles meet under one logarithm."""
        return not self.parts or not isinstance(self.parts[0].part, Mean)

    def scale_of(self, node: str) -> Scale:
        """Give what log q of a label is multiplied by; where only the first part holds it, its sign there."""
        for scaled in self.parts[1:]:
            if node in _labels(scaled.part):
                return scaled.scale
        for scaled in self.parts:
            values = scaled.part.values if isinstance(scaled.part, Mean) else ()
            for value in values:
                if any(isinstance(log, LabelScore) and log.node == node for log in value.logs):
                    return Scale(float(value.sign))
        return Scale()


def _labels(part: Part) -> set[str]:
    logs = [log for value in part.values for log in value.logs] if isinstance(part, Mean) else part.product.logs
    return {log.node for log in logs if isinstance(log, LabelScore)}


def telescoped(labels: tuple[LabelScore, ...], scales: tuple[Scale, ...]) -> Iterator[Scaled]:
    """Write Σ_v scale_v (log E ∏_{u<=v} w_u − log E ∏_{u<v} w_u)."""
    for i, (label, scale) in enumerate(zip(labels, scales, strict=True)):
        yield Scaled(LogMean(Product((label,)), Product(labels[:i]), f"label {label.node}"), scale)
