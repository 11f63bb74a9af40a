"""The sets that parameters lie in: their words, what a spec may fix, maps from unconstrained numbers and back."""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, final

from sgc.distributions.supports import NONNEGATIVE, NONNEGATIVE_INTEGER, POSITIVE, REAL, SIMPLEX, UNIT_INTERVAL, Support

if TYPE_CHECKING:
    from torch import Tensor

Rows = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Constraint(ABC):
    """A set of values of a parameter.

    word: as in specs and messages. dims: how many dimensions one value has. elements: the set of each of its numbers,
    of a matrix of those on its diagonal. middle: the value of a parameter of which nothing else is known; None: equal
    shares. layers: the last layers of networks whose numbers all lie in it.
    """

    word: str
    dims: int
    elements: Support
    middle: float | None
    layers: tuple[str, ...] = ()

    @abstractmethod
    def constrain(self, raw: Tensor) -> Tensor:
        """Map unconstrained numbers into the set, at least the type's epsilon ε away from its boundary.

        The shape stays, but of matrices: (*leading, n(n+1)/2) -> (*leading, n, n).
        """

    @abstractmethod
    def unconstrain(self, value: Tensor) -> Tensor:
        """Invert `constrain`; infinite or NaN for a value that it cannot give."""

    def neutral(self, event: tuple[int, ...]) -> float:
        """Give the value of a parameter of an event of which nothing else is known."""
        return 1 / event[-1] if self.middle is None else self.middle

    def floored(self, value: Tensor) -> Tensor:
        """Move numbers that were rounded to an excluded end of the set back into it.

        Positive numbers are at least the type's least normal number, and those below 1 at most the largest below it.
        """
        import torch

        low, high = self.elements.ends
        if isinstance(self, Matrix) or self.elements.total is not None or not self.elements.bounded:
            return value
        kind = torch.finfo(value.dtype)
        most = None if high == math.inf else high - kind.eps / 2 if self.elements.open_high else high
        return value.clamp(kind.tiny if self.elements.open_low else low, most)

    def misfit(self, value: Tensor) -> tuple[tuple[int, ...], str] | None:
        """Find the first number that is not finite, or outside the set: its place, and what is wanted; None: none is.

        Of a matrix only whether its numbers are finite.
        """
        wanted = None if isinstance(self, Matrix) else self.elements
        masks = [~value.isfinite(), *(fault.mask for fault in (wanted.faults(value) if wanted is not None else ()))]
        wrong = next((mask for mask in masks if bool(mask.any())), None)
        if wrong is None:
            return None
        return tuple(wrong.nonzero()[0].tolist()), "finite numbers" if wanted is None else wanted.range

    def refusal(self, number: float) -> str:
        """Say what a number that a spec fixes must be; empty where it is so. Of a matrix it multiplies the identity."""
        (low, high), lies = self.elements.ends, self.elements
        if high < math.inf and not low <= number <= high:
            return f"from {low:g} to {high:g}"
        if low > -math.inf and not (number > low if lies.open_low else number >= low):
            return f"greater than {low:g}" if lies.open_low else f"at least {low:g}"
        return f"less than {high:g}" if lies.open_high and number == high else ""


@final
@dataclass(frozen=True)
class Unconstrained(Constraint):
    """Every number."""

    def constrain(self, raw: Tensor) -> Tensor:
        return raw

    def unconstrain(self, value: Tensor) -> Tensor:
        return value


@final
@dataclass(frozen=True)
class Positive(Constraint):
    """softplus(x) + ε."""

    def constrain(self, raw: Tensor) -> Tensor:
        return _positive(raw)

    def unconstrain(self, value: Tensor) -> Tensor:
        return _inverse_softplus(value - _epsilon(value))


@final
@dataclass(frozen=True)
class Unit(Constraint):
    """ε + (1 − 2ε) σ(x)."""

    def constrain(self, raw: Tensor) -> Tensor:
        tiny = _epsilon(raw)
        return tiny + (1 - 2 * tiny) * raw.sigmoid()

    def unconstrain(self, value: Tensor) -> Tensor:
        tiny = _epsilon(value)
        return ((value - tiny) / (1 - 2 * tiny)).logit()


@final
@dataclass(frozen=True)
class Shares(Constraint):
    """(softmax(x) + ε) / (1 + Kε)."""

    def constrain(self, raw: Tensor) -> Tensor:
        tiny = _epsilon(raw)
        return (raw.softmax(-1) + tiny) / (1 + raw.shape[-1] * tiny)

    def unconstrain(self, value: Tensor) -> Tensor:
        tiny = _epsilon(value)
        return (value * (1 + value.shape[-1] * tiny) - tiny).log()


@dataclass(frozen=True)
class Matrix(Constraint):
    """A set of matrices, which no number of a matrix decides by itself."""

    wanted: ClassVar[str]  # what a matrix must be

    @abstractmethod
    def holds(self, rows: Rows) -> bool:
        """Tell whether a matrix lies in the set."""


@final
@dataclass(frozen=True)
class LowerCholesky(Matrix):
    """The entries row by row, those on the diagonal made positive."""

    wanted: ClassVar[str] = "lower triangular with a positive diagonal"

    def holds(self, rows: Rows) -> bool:
        above = itertools.combinations(range(len(rows)), 2)
        return all(row[i] > 0 for i, row in enumerate(rows)) and all(rows[i][j] == 0 for i, j in above)

    def constrain(self, raw: Tensor) -> Tensor:
        return _lower(raw)

    def unconstrain(self, value: Tensor) -> Tensor:
        return _packed(value)


@final
@dataclass(frozen=True)
class PositiveDefinite(Matrix):
    """L Lᵀ of a lower triangular matrix with a positive diagonal."""

    wanted: ClassVar[str] = "symmetric and positive definite"

    def holds(self, rows: Rows) -> bool:
        pairs = itertools.combinations(range(len(rows)), 2)
        return all(rows[i][j] == rows[j][i] for i, j in pairs) and all(pivot > 0 for pivot in _pivots(rows))

    def constrain(self, raw: Tensor) -> Tensor:
        lower = _lower(raw)
        return lower @ lower.mT

    def unconstrain(self, value: Tensor) -> Tensor:
        import torch

        return _packed(torch.linalg.cholesky(value))


def _epsilon(like: Tensor) -> float:
    import torch

    return torch.finfo(like.dtype).eps


def _positive(raw: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.softplus(raw) + _epsilon(raw)


def _inverse_softplus(positive: Tensor) -> Tensor:
    return positive + (-(-positive).expm1()).log()


def _lower(raw: Tensor) -> Tensor:
    import torch

    size = (math.isqrt(1 + 8 * raw.shape[-1]) - 1) // 2
    row, column = torch.tril_indices(size, size, device=raw.device)
    packed = torch.where(row == column, _positive(raw), raw)
    lower = raw.new_zeros(*raw.shape[:-1], size, size)
    lower[..., row, column] = packed
    return lower


def _packed(lower: Tensor) -> Tensor:
    import torch

    row, column = torch.tril_indices(lower.shape[-1], lower.shape[-1], device=lower.device)
    packed = lower[..., row, column]
    # The unused branch of a `where` may be nan: no gradient runs through start values.
    return torch.where(row == column, _inverse_softplus(packed - _epsilon(lower)), packed)


def _pivots(rows: Rows) -> Iterator[float]:
    """Give the pivots of Gaussian elimination, up to the first that is not positive."""
    left = [list(row) for row in rows]
    for k, row in enumerate(left):
        yield row[k]
        if row[k] <= 0:
            return
        for below in left[k + 1 :]:
            factor = below[k] / row[k]
            below[k:] = [b - factor * a for a, b in zip(row[k:], below[k:], strict=True)]


_ABOVE_ZERO = ("Softplus", "Exp")
_ALL: tuple[Constraint, ...] = (
    Unconstrained("real", 0, REAL, 0.0),
    Unconstrained("real_vector", 1, REAL, 0.0),
    Unconstrained("nonnegative_integer", 0, NONNEGATIVE_INTEGER, 0.0),  # given by a name only, and never learned
    Positive("positive", 0, POSITIVE, 1.0, _ABOVE_ZERO),
    Positive("nonnegative", 0, NONNEGATIVE, 1.0, _ABOVE_ZERO),
    Positive("positive_vector", 1, POSITIVE, 1.0, _ABOVE_ZERO),
    Unit("unit_interval", 0, UNIT_INTERVAL, 0.5, ("Sigmoid",)),
    Unit("half_open_unit_interval", 0, replace(UNIT_INTERVAL, open_high=True), 0.5, ("Sigmoid",)),
    Shares("simplex", 1, SIMPLEX, None, ("Softmax",)),
    LowerCholesky("lower_cholesky", 2, POSITIVE, 1.0),
    PositiveDefinite("positive_definite", 2, POSITIVE, 1.0),
)
CONSTRAINTS: Mapping[str, Constraint] = {constraint.word: constraint for constraint in _ALL}


def middles(constraints: Mapping[str, Constraint]) -> dict[str, float] | None:
    """Give each parameter the middle of its set; None where a set has none."""
    known = {name: constraint.middle for name, constraint in constraints.items() if constraint.middle is not None}
    return known if len(known) == len(constraints) else None
