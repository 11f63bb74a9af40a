"""Parameters that a spec fixes: held to the shapes and constraints of their family."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sgc.distributions.families import Family
from sgc.errors import OutlineFault, suggest
from sgc.kinds.layer import Shape, shape_text
from sgc.kinds.schedules import Number, Schedule, value_at
from sgc.language.spec import LearnedConstant

POSITIVE = ("positive", "positive_vector", "positive_definite", "lower_cholesky")  # a number is a multiple of I
UNIT = ("unit_interval", "half_open_unit_interval", "simplex")
PLACES = 1000  # where two schedules are compared on their way
NUMBERS_OF: Mapping[int, tuple[float, float, float]] = {  # by bits: the least normal number, the largest, rounding
    32: (2.0**-126, (2 - 2.0**-23) * 2.0**127, 2.0**-23),
    64: (sys.float_info.min, sys.float_info.max, sys.float_info.epsilon),
}
Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Constant:
    """A parameter that no network gives: its value or a schedule, or a feature's name, and whether it is learned."""

    value: float | Schedule | tuple[Any, ...] | str  # Any: numbers nested as deep as the event
    learn: bool


def check_name(place: Place, family: Family, key: str, written: Sequence[str]) -> None:
    """Hold a parameter's name to the family, and to those beside it in the file. Raises: OutlineFault."""
    if key not in family.constraints or key in family.taken:
        others = [other for other in family.constraints if other not in (*written, *family.taken)]
        raise OutlineFault(place, f"unknown parameter '{key}' of {family.name}", suggest(key, others), at="key")
    apart = (*family.heads[:-1], *family.taken)
    ways = [each for each in family.constraints if family.heads and each not in apart]
    first = next(each for each in written if each == key or (each in ways and key in ways))
    if first != key:
        raise OutlineFault(place, f"'{key}' beside '{first}': two ways to say one parameter", at="key")


def fix(place: Place, owner: str, family: Family, key: str, value: Any, event: Shape) -> Constant:  # Any: as written
    """Take a number or a schedule, a number for each element, or a start to learn from. Raises: OutlineFault."""
    wanted, word = family.parameter_shape(key, event), family.constraints[key]
    learn = isinstance(value, LearnedConstant) and value.learn
    at, given = ((*place, "start"), value.start) if isinstance(value, LearnedConstant) else (place, value)
    if not isinstance(given, tuple):
        if word == "simplex":
            raise OutlineFault(at, f"'{key}' needs one number for each category, that sum to 1")
        if isinstance(given, Schedule):  # what lies between its ends is in any range that they are in
            _check_number((*place, "from"), family, key, given.start)
            _check_number((*place, "to"), family, key, given.to)
            return Constant(given, False)
        _check_number(at, family, key, float(given), learn=learn)
        return Constant(float(given), learn)
    numbers = _numbers(given)
    if numbers is None:
        raise OutlineFault(at, "expected finite numbers in evenly nested lists")
    shape, flat = numbers
    if shape != wanted:
        raise OutlineFault(at, f"'{key}' of '{owner}' got shape {shape_text(shape)}, wanted {shape_text(wanted)}")
    if word in ("lower_cholesky", "positive_definite"):
        _check_matrices(at, family, key, flat, shape[-1])
    else:
        for number in flat:
            _check_number(at, family, key, number, learn=learn)
    for i in range(0, len(flat), shape[-1]) if word == "simplex" else ():
        if abs(sum(flat[i : i + shape[-1]]) - 1) > 1e-4:
            raise OutlineFault(at, f"'{key}' must sum to 1, got {sum(flat[i : i + shape[-1]]):g}")
    return Constant(given, learn)


def fix_without_event(place: Place, owner: str, family: Family, key: str, value: Any) -> Constant:  # Any: as written
    """Take what a node of no known event has for a parameter, a number or a schedule held to its range.

    Raises: OutlineFault for what no event could mend.
    """
    given = value.start if isinstance(value, LearnedConstant) else value
    if isinstance(given, str | tuple):
        return Constant(given, False)
    return fix(place, owner, family, key, value, (2,) * family.event_dim)


def check_precision(place: Place, family: Family, key: str, constant: Constant, bits: Literal[32, 64]) -> None:
    """Hold the numbers of a parameter to what so many bits can say and learn from. Raises: OutlineFault.

    What is learned lies as far inside its set as rounding reaches, see `sgc.distributions.constraints.constrain`.
    """
    word, (least, largest, rounding) = family.constraints[key], NUMBERS_OF[bits]
    value = constant.value
    ends = (value.start, value.to) if isinstance(value, Schedule) else value
    found = None if isinstance(ends, str) else _numbers(ends)
    hint = "" if bits == 64 else "train.precision: 64-true has finer and larger numbers"
    shape, flat = ((), []) if found is None else found
    matrix = word in ("lower_cholesky", "positive_definite") and bool(shape)
    for i, number in enumerate(flat):
        if abs(number) > largest or 0 < abs(number) < least:
            end = f"end at {largest:.2g}" if abs(number) > 1 else f"begin at {least:.2g}"
            raise OutlineFault(place, f"'{key}' of '{family.name}' is {number:g}: {bits} bits {end}", hint)
        beside = matrix and i // shape[-1] % shape[-1] != i % shape[-1]  # the diagonal, where any number may stand
        if not constant.learn or beside or word not in (*POSITIVE, "nonnegative", *UNIT):
            continue
        if number <= rounding or (word in UNIT and number >= 1 - rounding):
            reach = f"above {rounding:.2g}" + (" and below 1 by as much" if word in UNIT else "")
            message = f"'{key}' of '{family.name}' cannot be learned from {number!r}: with {bits} bits it stays {reach}"
            raise OutlineFault((*place, "start"), message, hint)


def check_order(place: Place, low: Number, high: Number) -> None:
    """Hold the ends of a range apart, in every epoch where they move. Raises: OutlineFault."""
    moving = [each.epochs for each in (low, high) if isinstance(each, Schedule)]
    last = max(moving, default=0)
    for epoch in sorted({0.0, *map(float, moving), *(last * i / PLACES for i in range(PLACES) if last)}):
        below, above = value_at(low, epoch), value_at(high, epoch)
        if not below < above:
            where = f" in epoch {epoch:g}" if moving else ""
            raise OutlineFault(place, f"'low' must be less than 'high', got {below:g} and {above:g}{where}")


def _check_number(place: Place, family: Family, key: str, value: float, *, learn: bool = False) -> None:
    word, text = family.constraints[key], f"'{key}' of {family.name} must be"
    if word in POSITIVE and not value > 0:
        raise OutlineFault(place, f"{text} greater than 0, got {value:g}")
    if word == "nonnegative" and value < 0:
        raise OutlineFault(place, f"{text} at least 0, got {value:g}")
    if word in UNIT and not 0 <= value <= 1:
        raise OutlineFault(place, f"{text} from 0 to 1, got {value:g}")
    if word == "half_open_unit_interval" and value == 1:
        raise OutlineFault(place, f"{text} less than 1, got 1")
    if learn and (value == 0 if word == "nonnegative" else word in UNIT and value in (0, 1)):
        raise OutlineFault(place, f"'{key}' of {family.name} cannot be learned from {value:g}, the end of its range")


def _check_matrices(place: Place, family: Family, key: str, flat: Sequence[float], n: int) -> None:
    """Hold each n × n matrix to its word: lower triangular with a positive diagonal, or positive definite."""
    triangular = family.constraints[key] == "lower_cholesky"
    wanted = "lower triangular with a positive diagonal" if triangular else "symmetric and positive definite"
    for start in range(0, len(flat), n * n):
        rows = [flat[start + i * n : start + (i + 1) * n] for i in range(n)]
        pairs = list(itertools.combinations(range(n), 2))
        if triangular:
            right = all(rows[i][i] > 0 for i in range(n)) and all(rows[i][j] == 0 for i, j in pairs)
        else:
            right = all(rows[i][j] == rows[j][i] for i, j in pairs) and all(pivot > 0 for pivot in _pivots(rows))
        if not right:
            raise OutlineFault(place, f"'{key}' of {family.name} must be {wanted}")


def _pivots(rows: Sequence[Sequence[float]]) -> Iterator[float]:
    """Give the pivots of Gaussian elimination, up to the first that is not positive."""
    left = [list(row) for row in rows]
    for k, row in enumerate(left):
        yield row[k]
        if row[k] <= 0:
            return
        for below in left[k + 1 :]:
            factor = below[k] / row[k]
            below[k:] = [b - factor * a for a, b in zip(row[k:], below[k:], strict=True)]


def _numbers(value: Any) -> tuple[Shape, list[float]] | None:  # Any: nested as deep as the user likes
    """Read nested lists of numbers: their shape and the numbers, or None where they are uneven or not numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float | list | tuple):
        return None
    if isinstance(value, int | float):
        return ((), [float(value)]) if math.isfinite(value) else None
    parts = [_numbers(each) for each in value]
    known = [part for part in parts if part is not None]
    if not parts or len(known) < len(parts) or len({shape for shape, _ in known}) > 1:
        return None
    return (len(parts), *known[0][0]), [number for _, flat in known for number in flat]
