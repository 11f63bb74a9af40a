"""Schedules: a number that moves over the epochs, written where a plain number may stand."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from sgc.piece import Piece, tagged


class Schedule(Piece):
    """A number that goes `from` one value `to` another over the first `epochs` epochs, and then stays."""

    start: float = Field(alias="from")
    to: float
    epochs: int = Field(ge=1)
    curve: Literal["linear", "cosine", "exponential"] = "linear"

    def at(self, epoch: float) -> float:
        """Return the value at an epoch (a fraction is a place within one).

        >>> Schedule.model_validate({"from": 1, "to": 0, "epochs": 10}).at(5)
        0.5
        """
        share = min(max(epoch / self.epochs, 0.0), 1.0)
        if share == 1:
            return self.to
        if self.curve == "exponential":
            value = float(self.start * (self.to / self.start) ** share)
        else:
            along = (1 - math.cos(math.pi * share)) / 2 if self.curve == "cosine" else share
            value = self.start + (self.to - self.start) * along
        return min(max(value, min(self.start, self.to)), max(self.start, self.to))  # rounding leaves no range


Number = float | Schedule


def value_at(number: Number, epoch: float) -> float:
    """Return a number or, of a schedule, its value at `epoch`."""
    return number.at(epoch) if isinstance(number, Schedule) else float(number)


def ends(number: Number) -> tuple[float, ...]:
    """List the values that a number goes between: itself, or both ends of a schedule."""
    return (number.start, number.to) if isinstance(number, Schedule) else (float(number),)


def is_schedule(value: Any) -> bool:  # Any: whatever YAML can say
    """Tell whether a value is a schedule, or is written as one."""
    return isinstance(value, Schedule) or (isinstance(value, dict) and "from" in value)


def scheduled(
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    to_zero: bool = False,
) -> Any:
    """Make the type of a schedule that stays in a range, or may end at 0. Any: made at run time."""
    limits = {"ge": ge, "gt": gt, "le": le, "lt": lt}
    words = {"ge": "at least", "gt": "greater than", "le": "at most", "lt": "less than"}
    tests = {"ge": float.__ge__, "gt": float.__gt__, "le": float.__le__, "lt": float.__lt__}

    def in_range(schedule: Schedule) -> Schedule:
        for key, end in (("from", schedule.start), ("to", schedule.to)):
            for name, limit in limits.items():
                if to_zero and key == "to" and end == 0:
                    continue
                if limit is not None and not tests[name](float(end), float(limit)):
                    wanted = {"key": key, "words": words[name], "limit": f"{limit:g}"}
                    raise PydanticCustomError("expected", "expected a number {words} {limit}", wanted)
            if schedule.curve == "exponential" and end <= 0:
                message = "expected a number greater than 0 for an exponential curve"
                raise PydanticCustomError("expected", message, {"key": key})
        return schedule

    return Annotated[Schedule, AfterValidator(in_range)]


def number(
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    to_zero: bool = False,
) -> Any:
    """Make the type of a number in a range, or a schedule that stays in it, or may end at 0. Any: made at run time."""
    plain = Annotated[float, Field(ge=ge, gt=gt, le=le, lt=lt)]
    return tagged(
        {"number": plain, "schedule": scheduled(ge=ge, gt=gt, le=le, lt=lt, to_zero=to_zero)},
        "number",
        lambda value: "schedule" if isinstance(value, dict | Schedule) else "number",
    )
