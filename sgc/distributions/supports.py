"""The sets that values of distributions lie in: their words, the check of values, a legal value; without torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, final

Kind = Literal["number", "angle", "binary", "categories", "count", "composition", "counts"]
Bound = float | tuple[Any, ...]  # one for all elements, or nested as deep as the event; Any: deeper tuples


@dataclass(frozen=True)
class Fault:
    """Values of one kind outside a support: which, what each of them is, and what was wanted.

    mask: booleans [*leading] or [*leading, *elements]; measured: numbers of that shape. Any: numpy's or torch's, as
    the values were. summed: whether a number is the sum of a vector's elements.
    """

    mask: Any
    measured: Any
    wanted: str
    summed: bool = False

    def text(self, found: str) -> str:
        """Word the fault about one of its numbers, as written."""
        return f"found a sum of {found}, {self.wanted}" if self.summed else f"found {found}, wanted {self.wanted}"


@final
@dataclass(frozen=True)
class Support:
    """A set of values, each of which every member of a family gives a finite density.

    word: as in specs and messages. kind: what a value is; a `composition` is a vector of shares, `counts` a vector of
    counts. low, high: the bounds of an element, excluded where `open_low`, `open_high`. whole: integers alone.
    total: what the elements of a vector sum to, up to `tolerance`; None where it is not known.
    """

    word: str
    kind: Kind = "number"
    low: Bound = -math.inf
    high: Bound = math.inf
    open_low: bool = False
    open_high: bool = False
    whole: bool = False
    vector: bool = False
    total: float | None = None
    tolerance: float = 1e-5  # more than float32 rounds a sum by

    # ---- kinds

    @property
    def bounded(self) -> bool:
        """Whether an element has a least or a largest value."""
        return self.low != -math.inf or self.high != math.inf

    @property
    def upper(self) -> float | None:
        """The largest number that a whole element may be, where it is known."""
        return float(self.high) if self.whole and isinstance(self.high, float | int) and self.high < math.inf else None

    # ---- members

    def within(self, low: Bound, high: Bound) -> Support:
        """Give the support with bounds that a spec has fixed; each a number, or one for each element."""
        return replace(self, low=low, high=high)

    def up_to(self, upper: float | None) -> Support:
        """Give the support of integers, or of counts that sum to it, that ends at a number; as it is if None."""
        if upper is None:
            return self
        return replace(self, total=float(upper)) if self.kind == "counts" else replace(self, high=float(upper))

    # ---- compared with others

    def contains(self, other: Support) -> bool:
        """Tell whether every element of the other's values may be one of this; a composition has those alone."""
        if (self.kind == "composition" and other.kind not in ("composition", "categories")) or (
            self.whole and not other.whole
        ):
            return False
        return other._from() >= self._from() and other._to() >= self._to()

    def with_zero(self) -> Support:
        """Give the smallest interval that has the elements of this and 0."""
        low, high = self._ends()
        return replace(
            SUPPORTS["interval"],
            low=min(low, 0.0),
            high=max(high, 0.0),
            open_low=self.open_low and low < 0,
            open_high=self.open_high and high > 0,
        )

    def met(self, other: Support) -> Support:
        """Give the set of what is in both; a composition where one is, and whole numbers where one is whole."""
        if self.contains(other) or other.contains(self):
            return other if self.contains(other) else self
        start, end = max(self._from(), other._from()), max(self._to(), other._to())
        if self.whole or other.whole:
            return SUPPORTS["integer_interval"].within(_first(*start), -_first(*end))
        return _spanned(start, end)

    @property
    def element(self) -> Support:
        """Where each number of a value lies, whatever stands beside it."""
        return replace(self, kind="number", vector=False, total=None) if self.vector else self

    def joined(self, other: Support) -> Support:
        """Give the smallest interval that has the elements of both."""
        if self.contains(other) or other.contains(self):
            return (self if self.contains(other) else other).element
        return _spanned(min(self._from(), other._from()), min(self._to(), other._to()))

    # ---- checks

    @property
    def range(self) -> str:
        """Say which numbers an element may be.

        >>> SUPPORTS["positive"].range, SUPPORTS["integer_interval"].up_to(9).range
        ('a number above 0', 'an integer from 0 to 9')
        """
        kind = "an integer" if self.whole else "a number"
        low, high = self._ends()
        first = f"{'above' if self.open_low else 'from'} {low:.6g}"
        if high == math.inf:
            return kind if low == -math.inf else f"{kind} {first}" + ("" if self.open_low else " up")
        if low == -math.inf:
            return f"{kind} {'below' if self.open_high else 'up to'} {high:.6g}"
        if self.open_low and self.open_high:
            return f"{kind} between {low:.6g} and {high:.6g}, neither of them"
        return f"{kind} {first} {'to below' if self.open_high else 'to'} {high:.6g}"

    def _ends(self) -> tuple[float, float]:
        return min(_flat(self.low)), max(_flat(self.high))

    def _from(self) -> tuple[float, bool]:
        """Give where it begins and whether that is left out: what begins later, or leaves out more, is larger."""
        return self._ends()[0], self.open_low

    def _to(self) -> tuple[float, bool]:
        """Give minus where it ends and whether that is left out, so that what ends sooner is larger."""
        return -self._ends()[1], self.open_high

    def faults(self, values: Any) -> Iterator[Fault]:  # Any: an array of numpy's or a tensor of torch's, alike here
        """Tell what lies outside: single elements first, then the sums of vectors. NaN, a missing value, does not.

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
        """Tell from the extremes alone that all is well; NaN, where something is missing, tells nothing."""
        if self.whole or not isinstance(self.low, float | int) or not isinstance(self.high, float | int):
            return False
        above = least > self.low if self.open_low else least >= self.low
        below = largest < self.high if self.open_high else largest <= self.high
        return above and below and -math.inf < least and largest < math.inf

    def _outside(self, values: Any) -> Any:  # Any: as for `faults`
        low, high = _like(values, self.low), _like(values, self.high)
        outside = abs(values) == math.inf
        outside |= values <= low if self.open_low else values < low
        outside |= values >= high if self.open_high else values > high
        if self.whole:
            outside |= (values != values.round()) & (values == values)
        return outside

    # ---- a legal value

    def legal(self, event: tuple[int, ...]) -> Any:  # Any: numbers nested as deep as the event
        """Give a value that every member scores finitely, as nested lists: [*event]."""
        if self.vector:
            *outer, size = event
            value: Any = [self._element()] * size
            if self.kind == "composition":
                value = [1 / size] * size
            elif self.kind in ("categories", "counts"):
                value = [self.total, *[0.0] * (size - 1)]
            return _nested(value, tuple(outer))
        if isinstance(self.low, tuple) or isinstance(self.high, tuple):
            pairs = zip(_spread(self.low, event), _spread(self.high, event), strict=True)
            return _shaped([_between(low, high) for low, high in pairs], event)
        return _nested(self._element(), event)

    def _element(self) -> float:
        low, high = self._ends()
        if self.whole or low == high:
            return low if low > -math.inf else 0.0
        return _between(low, high)

    # ---- as data of a file

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Give it as JSON can hold it: its word and the bounds that are its own; see `read`."""
        known = SUPPORTS[self.word]
        keys = ("low", "high", "total")
        return {"word": self.word} | {k: getattr(self, k) for k in keys if getattr(self, k) != getattr(known, k)}

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Support:  # Any: as for `plain`
        """Make the support that gave this. Raises: KeyError for a word that there is not."""
        own = {key: _tuples(plain[key]) for key in ("low", "high", "total") if plain.get(key) is not None}
        return replace(SUPPORTS[plain["word"]], **own)


def _spanned(start: tuple[float, bool], end: tuple[float, bool]) -> Support:
    """Give the interval of these ends, as `_from` and `_to` give them."""
    return replace(SUPPORTS["interval"], low=start[0], high=-end[0], open_low=start[1], open_high=end[1])


def _between(low: float, high: float) -> float:
    if low > -math.inf:
        return low + 1 if high == math.inf else (low + high) / 2
    return 0.0 if high == math.inf else high - 1


def _first(low: float, is_open: bool) -> float:
    """Give the first integer from a number on, or above it; an infinite one as it is."""
    if not math.isfinite(low):
        return low
    return float(math.floor(low) + 1 if is_open else math.ceil(low))


def _flat(bound: Bound) -> list[float]:
    return [number for each in bound for number in _flat(each)] if isinstance(bound, tuple) else [bound]


def _spread(bound: Bound, event: tuple[int, ...]) -> list[float]:
    flat = _flat(bound)
    return flat if isinstance(bound, tuple) else flat * math.prod(event)


def _nested(value: Any, shape: tuple[int, ...]) -> Any:  # Any: as for `legal`
    for size in reversed(shape):
        value = [value] * size
    return value


def _shaped(flat: list[float], shape: tuple[int, ...]) -> Any:  # Any: as for `legal`
    if not shape:
        return flat[0]
    step = len(flat) // shape[0]
    return [_shaped(flat[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


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


_ALL = (
    Support("real"),
    Support("real_vector", vector=True),
    Support("circle", "angle"),  # any number: angles modulo 2π
    Support("positive", low=0.0, open_low=True),
    Support("nonnegative", low=0.0),
    Support("bounded_below", low=0.0),  # by an option of the family
    Support("interval", low=0.0, high=1.0),  # between parameters of the family
    Support("unit_interval", low=0.0, high=1.0),
    Support("open_unit_interval", low=0.0, high=1.0, open_low=True, open_high=True),
    Support("boolean", "binary", low=0.0, high=1.0, whole=True),
    Support("grey", "binary", low=0.0, high=1.0),  # scored by cross-entropy
    Support("integer_interval", "count", low=0.0, whole=True),
    Support("nonnegative_integer", "count", low=0.0, whole=True),
    Support("positive_integer", "count", low=1.0, whole=True),
    Support("one_hot", "categories", low=0.0, high=1.0, vector=True, total=1.0, tolerance=1e-3),  # grey as well
    Support("simplex", "composition", low=0.0, high=1.0, vector=True, total=1.0),
    Support("open_simplex", "composition", low=0.0, high=1.0, open_low=True, vector=True, total=1.0),
    Support("multinomial", "counts", low=0.0, whole=True, vector=True, tolerance=0.0),
)
SUPPORTS: Mapping[str, Support] = {support.word: support for support in _ALL}
