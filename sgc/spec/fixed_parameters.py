"""Parameters that a spec fixes: held to the shapes and constraints of their family."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sgc.distributions.constraints import Matrix
from sgc.distributions.family import Family
from sgc.errors import OutlineFault, suggest
from sgc.networks.layer import Shape, shape_text
from sgc.schedules import Number, Schedule, value_at
from sgc.spec.spec import LearnedConstant

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
    wanted, constraint = family.parameter_shape(key, event), family.constraints[key]
    total = constraint.elements.total
    learn = isinstance(value, LearnedConstant) and value.learn
    at, given = ((*place, "start"), value.start) if isinstance(value, LearnedConstant) else (place, value)
    if not isinstance(given, tuple):
        if total is not None:
            raise OutlineFault(at, f"'{key}' needs one number for each category, that sum to {total:g}")
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
        raise OutlineFault(at, f"'{key}' of {owner} got shape {shape_text(shape)}, wanted {shape_text(wanted)}")
    if isinstance(constraint, Matrix):
        n = shape[-1]
        matrices = ([flat[k : k + n] for k in range(start, start + n * n, n)] for start in range(0, len(flat), n * n))
        if not all(map(constraint.holds, matrices)):
            raise OutlineFault(at, f"'{key}' of {family.name} must be {constraint.wanted}")
    else:
        for number in flat:
            _check_number(at, family, key, number, learn=learn)
    if total is not None:
        sums = (sum(flat[i : i + shape[-1]]) for i in range(0, len(flat), shape[-1]))
        for wrong in (each for each in sums if abs(each - total) > 1e-4):
            raise OutlineFault(at, f"'{key}' must sum to {total:g}, got {wrong:g}")
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

    What is learned lies as far inside its set as rounding reaches, see `Constraint.constrain`.
    """
    lies, (least, largest, rounding) = family.constraints[key].elements, NUMBERS_OF[bits]
    value = constant.value
    ends = (value.start, value.to) if isinstance(value, Schedule) else value
    found = None if isinstance(ends, str) else _numbers(ends)
    hint = "" if bits == 64 else "train.precision: 64-true has finer and larger numbers"
    shape, flat = ((), []) if found is None else found
    matrix = isinstance(family.constraints[key], Matrix) and bool(shape)
    for i, number in enumerate(flat):
        if abs(number) > largest or 0 < abs(number) < least:
            end = f"end at {largest:.2g}" if abs(number) > 1 else f"begin at {least:.2g}"
            raise OutlineFault(place, f"'{key}' of '{family.name}' is {number:g}: {bits} bits {end}", hint)
        beside = matrix and i // shape[-1] % shape[-1] != i % shape[-1]  # the diagonal, where any number may stand
        if not constant.learn or beside or not lies.bounded:
            continue
        low, high = lies.ends
        if number <= low + rounding or number >= high - rounding:
            reach = f"above {low + rounding:.2g}" + (f" and below {high:g} by as much" if high < math.inf else "")
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
    constraint = family.constraints[key]
    refusal = constraint.refusal(value)
    if refusal:
        raise OutlineFault(place, f"'{key}' of {family.name} must be {refusal}, got {value:g}")
    if learn and value in constraint.elements.ends:
        raise OutlineFault(place, f"'{key}' of {family.name} cannot be learned from {value:g}, the end of its range")


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
