"""The sets that values of distributions lie in: their words, checks, legal and nearest values, and views."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

from sgc.distributions.views import CENTRED, CIRCULAR, LOG1P, VALUE, View

if TYPE_CHECKING:
    from torch import Tensor

Bound = float | tuple[Any, ...]  # one for all elements, or nested as deep as the event; Any: deeper tuples


@dataclass(frozen=True)
class Fault:
    """Values outside a support: which they are, their numbers, and what was wanted.

    mask: booleans [*leading] or [*leading, *elements]; measured: numbers of that shape. Any: numpy's or torch's, as
    the values were. summed: whether a number is the sum of a vector's elements.
    """

    mask: Any
    measured: Any
    wanted: str
    summed: bool = False

    def text(self, number: str) -> str:
        """Word the fault about one of its numbers, written as `found`."""
        return f"found a sum of {number}, {self.wanted}" if self.summed else f"found {number}, wanted {self.wanted}"


@final
@dataclass(frozen=True)
class Support:
    """A set of values, each of which every member of a family gives a finite density.

    word: as in specs and messages. low, high: the bounds of an element, excluded where `open_low`, `open_high`.
    integers: whether all elements are integers. total: the sum of the elements of a vector, up to `tolerance`; None:
    not known. nominal: values are names without an order, categories or bits; values between two of them are scored,
    but never drawn. periodic: angles, equal modulo 2π. wants_upper: an option or the spec gives the largest integer.
    by_parameters: its ends are the parameters `low` and `high`. view: what networks read of a value.
    """

    word: str
    low: Bound = -math.inf
    high: Bound = math.inf
    open_low: bool = False
    open_high: bool = False
    integers: bool = False
    vector: bool = False
    total: float | None = None
    tolerance: float = 1e-5  # more than float32 rounds a sum by
    nominal: bool = False
    periodic: bool = False
    wants_upper: bool = False
    by_parameters: bool = False
    view: View = VALUE

    # ---- what a value is

    @property
    def categorical(self) -> bool:
        """Whether a value is one of several categories, as a one-hot vector."""
        return self.nominal and self.vector

    @property
    def composition(self) -> bool:
        """Whether a value is a vector of shares."""
        return self.vector and self.total is not None and not (self.integers or self.nominal)

    @property
    def discrete(self) -> bool:
        """Whether values have probabilities and not densities."""
        return self.integers or self.nominal

    @property
    def counts(self) -> bool:
        """Whether elements are numbers of events: integers from 0 up that networks read as log(1 + count)."""
        return self.integers and not self.nominal and self.low == 0 and self.view is LOG1P

    @property
    def finite(self) -> bool:
        """Whether a single element, or a one-hot vector, has finitely many values once its largest is given."""
        return self.nominal or (self.integers and not self.vector and (self.wants_upper or self.upper is not None))

    @property
    def bounded(self) -> bool:
        """Whether an element has a least or a largest value."""
        return self.low != -math.inf or self.high != math.inf

    @property
    def upper(self) -> float | None:
        """The largest number that an integer element may be, where it is known."""
        return (
            float(self.high) if self.integers and isinstance(self.high, float | int) and self.high < math.inf else None
        )

    # ---- members

    def within(self, low: Bound, high: Bound) -> Support:
        """Give the support with bounds that a spec has fixed; each a number, or one for each element."""
        return replace(self, low=low, high=high)

    def up_to(self, upper: float | None) -> Support:
        """Give the support of integers up to a number, or of counts that sum to it; unchanged if None."""
        if upper is None:
            return self
        return replace(self, total=float(upper)) if self.vector else replace(self, high=float(upper))

    def moved(self, ends: Mapping[str, Bound]) -> Support:
        """Give the support where some of the parameters `low` and `high` are fixed; unchanged where these are no ends.

        A bound that a network gives, or that is learned, is not known here, and counts as infinite.
        """
        return self.within(ends.get("low", -math.inf), ends.get("high", math.inf)) if self.by_parameters else self

    # ---- compared with others

    def contains(self, other: Support) -> bool:
        """Tell whether all elements of the other's values are in this set; a composition has only those of shares."""
        summing = other.composition or other.categorical
        if (self.composition and not summing) or (self.integers and not other.integers):
            return False
        return other._from() >= self._from() and other._to() >= self._to()

    def with_zero(self) -> Support:
        """Give the smallest interval of its elements and 0."""
        low, high = self.ends
        return replace(
            INTERVAL,
            low=min(low, 0.0),
            high=max(high, 0.0),
            open_low=self.open_low and low < 0,
            open_high=self.open_high and high > 0,
        )

    def met(self, other: Support) -> Support:
        """Give the intersection of both; a composition if one is, of integers if one is."""
        if self.contains(other) or other.contains(self):
            return other if self.contains(other) else self
        start, end = max(self._from(), other._from()), max(self._to(), other._to())
        if self.integers or other.integers:
            return INTEGER_INTERVAL.within(_first(*start), -_first(*end))
        return _spanned(start, end)

    @property
    def element(self) -> Support:
        """The set of each number of a value, whatever the others are."""
        return replace(self, nominal=False, vector=False, total=None) if self.vector else self

    def joined(self, other: Support) -> Support:
        """Give the smallest interval of the elements of both."""
        if self.contains(other) or other.contains(self):
            return (self if self.contains(other) else other).element
        return _spanned(min(self._from(), other._from()), min(self._to(), other._to()))

    # ---- checks

    @property
    def range(self) -> str:
        """Say which numbers an element may be.

        >>> POSITIVE.range, INTEGER_INTERVAL.up_to(9).range
        ('a number above 0', 'an integer from 0 to 9')
        """
        kind = "an integer" if self.integers else "a number"
        low, high = self.ends
        first = f"{'above' if self.open_low else 'from'} {low:.6g}"
        if high == math.inf:
            return kind if low == -math.inf else f"{kind} {first}" + ("" if self.open_low else " up")
        if low == -math.inf:
            return f"{kind} {'below' if self.open_high else 'up to'} {high:.6g}"
        if self.open_low and self.open_high:
            return f"{kind} between {low:.6g} and {high:.6g}, neither of them"
        return f"{kind} {first} {'to below' if self.open_high else 'to'} {high:.6g}"

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest number that an element may be."""
        return min(_flat(self.low)), max(_flat(self.high))

    def _from(self) -> tuple[float, bool]:
        """Give the lower end, and whether it is excluded: of a higher beginning, the pair is larger."""
        return self.ends[0], self.open_low

    def _to(self) -> tuple[float, bool]:
        """Give minus the upper end, and whether it is excluded: of a lower ending, the pair is larger."""
        return -self.ends[1], self.open_high

    def faults(self, values: Any) -> Iterator[Fault]:  # Any: an array of numpy's or a tensor of torch's, alike here
        """Find the values outside: single elements first, then the sums of vectors. NaN, a missing value, is no fault.

        values: [*leading, *event].
        """
        if not math.prod(values.shape):
            return
        if not self._holds(float(values.min()), float(values.max())):
            mask = self._outside(values)
            if bool(mask.any()):
                yield Fault(mask, values, self.range)
        if self.total is not None and self.vector:
            sums = vector_sums(values)
            mask = abs(sums - self.total) > self.tolerance
            if bool(mask.any()):
                yield Fault(mask, sums, f"wanted values that sum to {self.total:.6g}", summed=True)

    def _holds(self, least: float, largest: float) -> bool:
        """Tell from the extremes that all values are inside; False where that is not known, as with a NaN."""
        if self.integers or not isinstance(self.low, float | int) or not isinstance(self.high, float | int):
            return False
        above = least > self.low if self.open_low else least >= self.low
        below = largest < self.high if self.open_high else largest <= self.high
        return above and below and -math.inf < least and largest < math.inf

    def _outside(self, values: Any) -> Any:  # Any: as for `faults`
        low, high = _like(values, self.low), _like(values, self.high)
        outside = abs(values) == math.inf
        outside |= values <= low if self.open_low else values < low
        outside |= values >= high if self.open_high else values > high
        if self.integers:
            outside |= (values != values.round()) & (values == values)
        return outside

    # ---- a legal value

    def legal(self, event: tuple[int, ...]) -> Any:  # Any: numbers nested as deep as the event
        """Give a value that every member scores finitely, as nested lists: [*event]."""
        if self.vector:
            *outer, size = event
            value: Any = [self._element()] * size
            if self.composition:
                value = [1 / size] * size
            elif self.discrete:
                value = [self.total, *[0.0] * (size - 1)]
            return _nested(value, tuple(outer))
        if isinstance(self.low, tuple) or isinstance(self.high, tuple):
            import numpy as np

            ends = np.broadcast_arrays(np.empty(event), self.low, self.high)[1:]
            return np.vectorize(_between, otypes=[float])(*ends).tolist()
        return _nested(self._element(), event)

    def _element(self) -> float:
        low, high = self.ends
        if self.integers or low == high:
            return low if low > -math.inf else 0.0
        return _between(low, high)

    # ---- values as tensors

    def size(self, event: tuple[int, ...]) -> int:
        """Count the values of a single element, or of the one-hot vector that an event ends with."""
        assert self.finite, self.word
        return event[-1] if self.vector else int(self.ends[1]) + 1

    def values(self, event: tuple[int, ...]) -> Tensor:
        """List these values: [K], or [K, K] of one-hot vectors."""
        import torch

        return torch.eye(self.size(event)) if self.vector else torch.arange(self.size(event))

    def nearest(self, mean: Tensor) -> Tensor:
        """Make a mean a value, [*leading, *event]: the most probable category, the nearest integer, or itself."""
        if self.categorical:
            return mean.new_zeros(mean.shape).scatter(-1, mean.argmax(-1, keepdim=True), 1)
        return mean.round() if self.discrete else mean

    def apart(self, value: Tensor, center: Tensor) -> Tensor:
        """Give the difference of two values, of angles the shorter way around; they broadcast."""
        difference = value - center
        return (difference + math.pi) % (2 * math.pi) - math.pi if self.periodic else difference

    # ---- how values are read and shown

    @property
    def viewed(self) -> Support:
        """The set of the numbers that networks read of a value."""
        return self if self.view.ends is None else INTERVAL.within(*self.view.ends)

    def look(self, value: Tensor) -> Tensor:
        """Give what networks read of values, [*leading, *event] -> [*leading, *view.shape(event)]."""
        return self.view.look(value, self.ends[1])

    @property
    def shades(self) -> tuple[float, float] | None:
        """The numbers that a picture shows in black and in white; None: those of the values to be shown."""
        if self.upper is not None:
            return 0.0, self.upper
        return (0.0, 1.0) if (self.low, self.high) == (0, 1) else None

    # ---- as data of a file

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Give it in JSON's types: its word, and the bounds that differ from the word's; see `read`."""
        known = SUPPORTS[self.word]
        keys = ("low", "high", "total")
        return {"word": self.word} | {k: getattr(self, k) for k in keys if getattr(self, k) != getattr(known, k)}

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Support:  # Any: as for `plain`
        """Make the support that gave this. Raises: KeyError for an unknown word."""
        own = {key: _tuples(plain[key]) for key in ("low", "high", "total") if plain.get(key) is not None}
        return replace(SUPPORTS[plain["word"]], **own)


def _spanned(start: tuple[float, bool], end: tuple[float, bool]) -> Support:
    """Give the interval of these ends, as `_from` and `_to` give them."""
    return replace(INTERVAL, low=start[0], high=-end[0], open_low=start[1], open_high=end[1])


def _between(low: float, high: float) -> float:
    if low > -math.inf:
        return low + 1 if high == math.inf else (low + high) / 2
    return 0.0 if high == math.inf else high - 1


def _first(low: float, is_open: bool) -> float:
    """Give the first integer from a number on, or above it; infinity stays."""
    if not math.isfinite(low):
        return low
    return float(math.floor(low) + 1 if is_open else math.ceil(low))


def _flat(bound: Bound) -> list[float]:
    return [number for inner in bound for number in _flat(inner)] if isinstance(bound, tuple) else [bound]


def _nested(value: Any, shape: tuple[int, ...]) -> Any:  # Any: as for `legal`
    for size in reversed(shape):
        value = [value] * size
    return value


def _tuples(bound: Any) -> Any:  # Any: lists, as JSON nests them
    return tuple(map(_tuples, bound)) if isinstance(bound, list | tuple) else float(bound)


def _like(values: Any, bound: Bound) -> Any:  # Any: as for `faults`
    if not isinstance(bound, tuple):
        return bound
    if hasattr(values, "new_tensor"):
        return values.new_tensor(bound)
    import numpy as np

    return np.asarray(bound, dtype=values.dtype)


def vector_sums(values: Any) -> Any:  # Any: as for `faults`
    """Add up vectors in double precision: float32 would round the sum of a long one."""
    return values.double().sum(-1) if hasattr(values, "new_tensor") else values.sum(axis=-1, dtype=float)


REAL = Support("real")
REAL_VECTOR = Support("real_vector", vector=True)
CIRCLE = Support("circle", periodic=True, view=CIRCULAR)  # any number: angles modulo 2π
POSITIVE = Support("positive", low=0.0, open_low=True)
NONNEGATIVE = Support("nonnegative", low=0.0)
BOUNDED_BELOW = Support("bounded_below", low=0.0)  # by an option of the family
INTERVAL = Support("interval", low=0.0, high=1.0, by_parameters=True)
UNIT_INTERVAL = Support("unit_interval", low=0.0, high=1.0)
OPEN_UNIT_INTERVAL = Support("open_unit_interval", low=0.0, high=1.0, open_low=True, open_high=True)
BOOLEAN = Support("boolean", low=0.0, high=1.0, integers=True, nominal=True)
GREY = Support("grey", low=0.0, high=1.0, nominal=True)  # scored by cross-entropy
INTEGER_INTERVAL = Support("integer_interval", low=0.0, integers=True, wants_upper=True, view=LOG1P)
LEVELS = Support("levels", low=0.0, integers=True, wants_upper=True, view=CENTRED)  # shades of a picture, evenly apart
NONNEGATIVE_INTEGER = Support("nonnegative_integer", low=0.0, integers=True, view=LOG1P)
POSITIVE_INTEGER = Support("positive_integer", low=1.0, integers=True, view=LOG1P)
ONE_HOT = Support("one_hot", low=0.0, high=1.0, vector=True, total=1.0, tolerance=1e-3, nominal=True)  # grey as well
SIMPLEX = Support("simplex", low=0.0, high=1.0, vector=True, total=1.0)
OPEN_SIMPLEX = Support("open_simplex", low=0.0, high=1.0, open_low=True, vector=True, total=1.0)
MULTINOMIAL = Support("multinomial", low=0.0, integers=True, vector=True, tolerance=0.0, view=LOG1P)

_ALL = (
    *(REAL, REAL_VECTOR, CIRCLE, POSITIVE, NONNEGATIVE, BOUNDED_BELOW, INTERVAL, UNIT_INTERVAL, OPEN_UNIT_INTERVAL),
    *(BOOLEAN, GREY, INTEGER_INTERVAL, LEVELS, NONNEGATIVE_INTEGER, POSITIVE_INTEGER),
    *(ONE_HOT, SIMPLEX, OPEN_SIMPLEX, MULTINOMIAL),
)
SUPPORTS: Mapping[str, Support] = {support.word: support for support in _ALL}
