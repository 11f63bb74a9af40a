"""What a spec writes for a family: the parameters that it fixes, and its options, checked against the family."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sgc.distributions.constraints import Matrix
from sgc.distributions.families import COUNTED, FAMILIES
from sgc.distributions.family import Family
from sgc.distributions.row_totals import OWN_SUM, TOTAL
from sgc.distributions.table import BY, Option
from sgc.distributions.zero_inflated import INFLATED, OF, zero_inflated
from sgc.errors import OutlineFault, suggest
from sgc.networks.layer import Shape, shape_text
from sgc.schedules import Number, Schedule, value_at
from sgc.spec.conditionals import LearnedConstant
from sgc.value_words import describe

PLACES = 1000  # epochs at which two schedules are compared
NUMBERS_OF: Mapping[int, tuple[float, float, float]] = {  # by bits: the least normal number, the largest, rounding
    32: (2.0**-126, (2 - 2.0**-23) * 2.0**127, 2.0**-23),
    64: (sys.float_info.min, sys.float_info.max, sys.float_info.epsilon),
}
Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Constant:
    """A parameter that no network gives: its value, a schedule or a feature's name, and whether it is learned."""

    value: float | Schedule | tuple[Any, ...] | str  # Any: numbers nested as deep as the event
    learn: bool


def check_name(place: Place, family: Family, key: str, written: Sequence[str]) -> None:
    """Check a parameter's name against its family, and against those beside it in the file. Raises: OutlineFault."""
    if key not in family.constraints or key in family.taken:
        others = [other for other in family.constraints if other not in (*written, *family.taken)]
        raise OutlineFault(place, f"unknown parameter '{key}' of {family.name}", suggest(key, others), at="key")
    head = family.alternatives.get
    first = next(name for name in written if head(name, name) == head(key, key))
    if first != key:
        raise OutlineFault(place, f"'{key}' beside '{first}': two ways to say one parameter", at="key")


def fix(place: Place, owner: str, family: Family, key: str, value: Any, event: Shape) -> Constant:  # Any: as written
    """Take a number or a schedule, a number for each element, or a start to learn from. Raises: OutlineFault."""
    wanted, constraint = family.parameter_shape(key, event), family.constraints[key]
    total = constraint.elements.total
    learn = isinstance(value, LearnedConstant) and value.learn
    at, numbers_written = ((*place, "start"), value.start) if isinstance(value, LearnedConstant) else (place, value)
    if not isinstance(numbers_written, tuple):
        if total is not None:
            raise OutlineFault(at, f"'{key}' needs one number for each category, that sum to {total:g}")
        if isinstance(numbers_written, Schedule):  # what lies between its ends is in any range that they are in
            _check_number((*place, "from"), family, key, numbers_written.start)
            _check_number((*place, "to"), family, key, numbers_written.to)
            return Constant(numbers_written, False)
        _check_number(at, family, key, float(numbers_written), learn=learn)
        return Constant(float(numbers_written), learn)
    numbers = _numbers(numbers_written)
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
        for wrong in (row_sum for row_sum in sums if abs(row_sum - total) > 1e-4):
            raise OutlineFault(at, f"'{key}' must sum to {total:g}, got {wrong:g}")
    return Constant(numbers_written, learn)


def fix_without_event(place: Place, owner: str, family: Family, key: str, value: Any) -> Constant:  # Any: as written
    """Take a parameter of a node of unknown event; numbers and schedules are checked against their range.

    Raises: OutlineFault for what is wrong with any event.
    """
    start = value.start if isinstance(value, LearnedConstant) else value
    if isinstance(start, str | tuple):
        return Constant(start, False)
    return fix(place, owner, family, key, value, (2,) * family.event_dim)


def check_precision(place: Place, family: Family, key: str, constant: Constant, bits: Literal[32, 64]) -> None:
    """Check that so many bits can represent the numbers of a parameter, and learn from them. Raises: OutlineFault.

    A learned number lies as far inside its set as rounding reaches, see `Constraint.constrain`.
    """
    lies, (least, largest, rounding) = family.constraints[key].elements, NUMBERS_OF[bits]
    value = constant.value
    ends = (value.start, value.to) if isinstance(value, Schedule) else value
    nested = None if isinstance(ends, str) else _numbers(ends)
    hint = "" if bits == 64 else "train.precision: 64-true has finer and larger numbers"
    shape, flat = ((), []) if nested is None else nested
    matrix = isinstance(family.constraints[key], Matrix) and bool(shape)
    for i, number in enumerate(flat):
        if abs(number) > largest or 0 < abs(number) < least:
            end = f"end at {largest:.2g}" if abs(number) > 1 else f"begin at {least:.2g}"
            raise OutlineFault(place, f"'{key}' of '{family.name}' is {number:g}: {bits} bits {end}", hint)
        beside = matrix and i // shape[-1] % shape[-1] != i % shape[-1]  # off the diagonal any number is allowed
        if not constant.learn or beside or not lies.bounded:
            continue
        low, high = lies.ends
        if number <= low + rounding or number >= high - rounding:
            reach = f"above {low + rounding:.2g}" + (f" and below {high:g} by as much" if high < math.inf else "")
            message = f"'{key}' of '{family.name}' cannot be learned from {number!r}: with {bits} bits it stays {reach}"
            raise OutlineFault((*place, "start"), message, hint)


def check_order(place: Place, low: Number, high: Number) -> None:
    """Check that a range is not empty, in every epoch where its ends move. Raises: OutlineFault."""
    moving = [schedule.epochs for schedule in (low, high) if isinstance(schedule, Schedule)]
    last = max(moving, default=0)
    for epoch in sorted({0.0, *map(float, moving), *(last * i / PLACES for i in range(PLACES) if last)}):
        below, above = value_at(low, epoch), value_at(high, epoch)
        if not below < above:
            epoch_text = f" in epoch {epoch:g}" if moving else ""
            raise OutlineFault(place, f"'low' must be less than 'high', got {below:g} and {above:g}{epoch_text}")


def _check_number(place: Place, family: Family, key: str, value: float, *, learn: bool = False) -> None:
    constraint = family.constraints[key]
    refusal = constraint.refusal(value)
    if refusal:
        raise OutlineFault(place, f"'{key}' of {family.name} must be {refusal}, got {value:g}")
    if learn and value in constraint.elements.ends:
        raise OutlineFault(place, f"'{key}' of {family.name} cannot be learned from {value:g}, the end of its range")


def _numbers(value: Any) -> tuple[Shape, list[float]] | None:  # Any: nested as deep as the user likes
    """Read nested lists of numbers: their shape and the numbers; None if they are uneven or hold something else."""
    if isinstance(value, bool) or not isinstance(value, int | float | list | tuple):
        return None
    if isinstance(value, int | float):
        return ((), [float(value)]) if math.isfinite(value) else None
    parts = [_numbers(entry) for entry in value]
    known = [part for part in parts if part is not None]
    if not parts or len(known) < len(parts) or len({shape for shape, _ in known}) > 1:
        return None
    return (len(parts), *known[0][0]), [number for _, flat in known for number in flat]


def with_options(place: tuple[str, ...], family: Family, options: Any) -> Family:  # Any: as written
    """Return a family with the options that are written. Raises: OutlineFault."""
    if not isinstance(options, Mapping):
        raise OutlineFault(place, f"expected a mapping, got {describe(options)}")
    if family.inflates:
        return zero_inflated(_inflated(place, options))
    if BY in options and family.forms:
        family = _by(place, family, options[BY])
        options = {key: value for key, value in options.items() if key != BY}
    _check_options(place, family, options)
    numbers = {key: value for key, value in options.items() if not takes_total(family, key, value)}
    return (family if len(numbers) == len(options) else family.counted()).with_options(numbers)


def _by(place: tuple[str, ...], family: Family, word: Any) -> Family:  # Any: as written
    """Return the form of a family whose parameters a word chooses. Raises: OutlineFault."""
    forms = {family.by: family, **family.forms}
    if not isinstance(word, str) or word not in forms:
        allowed = " or ".join(f"'{form}'" for form in forms)
        hint = suggest(word, forms) if isinstance(word, str) else ""
        raise OutlineFault((*place, BY), f"expected {allowed}, got {describe(word)}", hint)
    return forms[word]


def _inflated(place: tuple[str, ...], options: Mapping[str, Any]) -> Family:  # Any: as written
    """Return the family of counts whose zeros are inflated. Raises: OutlineFault."""
    known = f"a family of counts ({', '.join(COUNTED)})"
    for key in options:
        if key != OF:
            raise OutlineFault((*place, key), f"unknown key '{key}'", suggest(str(key), [OF]), at="key")
    if OF not in options:
        message = f"missing key '{OF}': {INFLATED} needs {known}"
        raise OutlineFault(place, message, at="key", missing=OF)
    written, at = options[OF], (*place, OF)
    if isinstance(written, Mapping) and "name" in written:
        name, inner, below = written["name"], written.get("options", {}), (*at, "options")
    elif isinstance(written, Mapping) and len(written) == 1:
        (name, inner), *_ = written.items()
        below = (*at, str(name))
    else:
        name, inner, below = written, {}, at
    if not isinstance(name, str):
        raise OutlineFault(at, f"expected {known}, got {describe(written)}")
    if name not in FAMILIES:
        raise OutlineFault(at, f"unknown family '{name}'", suggest(name, COUNTED))
    if name not in COUNTED:
        raise OutlineFault(at, f"expected {known}, got '{name}'")
    return with_options(below, FAMILIES[name], inner)


def takes_total(family: Family, option: str, value: object) -> bool:
    """Say whether an option gives each row a total of its own: by an input's name, or as the row's sum."""
    return option == TOTAL and option in family.options and isinstance(value, str)


def _check_options(place: tuple[str, ...], family: Family, options: Mapping[str, Any]) -> None:  # Any: as written
    """Check options against those of a family. Raises: OutlineFault."""
    for key, value in options.items():
        if key not in family.options:
            words = [*family.options, *([BY] if family.forms else [])]
            hint = suggest(key, [option for option in words if option not in options])
            raise OutlineFault((*place, key), f"unknown key '{key}'", hint, at="key")
        if not family.options[key].accepts(value) and not takes_total(family, key, value):
            wanted = _option_words(family, key, family.options[key])
            raise OutlineFault((*place, key), f"expected {wanted}, got {describe(value)}")
    for key, option in family.options.items():
        if key not in options and option.default is None:
            message = f"missing key '{key}': {family.name} needs {_option_words(family, key, option)}"
            raise OutlineFault(place, message, at="key", missing=key)


def _option_words(family: Family, key: str, option: Option) -> str:
    """Say what an option takes.

    >>> from sgc.distributions.families import FAMILIES
    >>> _option_words(FAMILIES["Multinomial"], "total_count", Option("int", 1))
    "an integer at least 1, the name of an input, or 'sum', the row's own"
    """
    noun = "an integer" if option.type == "int" else "a number"
    most = "" if option.high == math.inf else f" and at most {option.high:g}"
    words = f"{noun} {'greater than' if option.open_low else 'at least'} {option.low:g}{most}"
    if key != TOTAL:
        return words
    if not family.event_dim:
        return f"{words}, or the name of an input"
    return f"{words}, the name of an input, or '{OWN_SUM}', the row's own"
