"""Schedules: numbers that change over the epochs, allowed wherever a plain number is."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict, Unpack

from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from sgc.piece import Piece, by_form, tagged
from sgc.value_words import LIMITS

if TYPE_CHECKING:
    from torch import Tensor


class Schedule(Piece):
    """A number that goes `from` one value `to` another over the first `epochs` epochs, and then stays."""

    start: float = Field(
        alias="from",
        description="The value at the beginning.",
        examples=[1],
    )
    to: float = Field(
        description="The value at the end, which then stays.",
        examples=[0.5],
    )
    epochs: int = Field(
        ge=1,
        description="Over how many epochs it goes there.",
        examples=[50],
    )
    curve: Literal["linear", "cosine", "exponential"] = Field(
        "linear",
        description="The way there: a line, half a cosine, or equal ratios.",
        examples=["cosine"],
    )

    def at(self, epoch: float) -> float:
        """Return the value at an epoch, which may be a fraction.

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
        low, high = sorted((self.start, self.to))
        return min(max(value, low), high)  # rounding does not leave the range


Number = float | Schedule


def value_at(number: Number, epoch: float) -> float:
    """Return a number or, of a schedule, its value at `epoch`."""
    return number.at(epoch) if isinstance(number, Schedule) else float(number)


class Moment(float):
    """An epoch at which schedules have their values as tensors, so that a step can be recorded once for all epochs."""

    numbers: Mapping[Schedule, Tensor]

    @classmethod
    def at(cls, epoch: float, numbers: Mapping[Schedule, Tensor]) -> Moment:
        """Stand at an epoch. numbers: the values of schedules there, float64 tensors without dimensions."""
        moment = cls(epoch)
        moment.numbers = numbers
        return moment


def number_at(number: Number, epoch: float) -> Any:  # Any: a float or a tensor, which compute alike
    """Return a number or, of a schedule, its value at `epoch`: at a `Moment` that has it, as a tensor."""
    if isinstance(number, Schedule) and isinstance(epoch, Moment) and number in epoch.numbers:
        return epoch.numbers[number]
    return value_at(number, epoch)


def ends(number: Number) -> tuple[float, ...]:
    """Return the values between which a number lies: itself, or both ends of a schedule."""
    return (number.start, number.to) if isinstance(number, Schedule) else (float(number),)


def schedules_in(value: object) -> list[Schedule]:
    """List the schedules in a piece of a spec, in order."""
    if isinstance(value, Schedule):
        return [value]
    if isinstance(value, BaseModel):
        return schedules_in([getattr(value, name) for name in type(value).model_fields])
    if isinstance(value, Mapping):
        return schedules_in(list(value.values()))
    return [schedule for part in value for schedule in schedules_in(part)] if isinstance(value, list | tuple) else []


def is_schedule(value: Any) -> bool:  # Any: whatever YAML can say
    """Say whether a value is a schedule, or is written as one."""
    return isinstance(value, Schedule) or (isinstance(value, dict) and "from" in value)


class Limits(TypedDict, total=False):
    """The range of a number, in pydantic's words."""

    ge: float
    gt: float
    le: float
    lt: float


def scheduled(*, to_zero: bool = False, **limits: Unpack[Limits]) -> Any:
    """Make the type of a schedule that stays in a range, or may end at 0. Any: made at run time."""
    words = dict(LIMITS.values())

    def in_range(schedule: Schedule) -> Schedule:
        for key, end in (("from", schedule.start), ("to", schedule.to)):
            for name, limit in limits.items() if not (to_zero and key == "to" and end == 0) else ():
                if not getattr(operator, name)(end, limit):
                    wanted = {"key": key, "words": words[name], "limit": f"{limit:g}"}
                    raise PydanticCustomError("expected", "expected a number {words} {limit}", wanted)
            if schedule.curve == "exponential" and end <= 0:
                message = "expected a number greater than 0 for an exponential curve"
                raise PydanticCustomError("expected", message, {"key": key})
        return schedule

    return Annotated[Schedule, AfterValidator(in_range)]


def number(*, to_zero: bool = False, **limits: Unpack[Limits]) -> Any:
    """Make the type of a number in a range, or a schedule that stays in it, or may end at 0. Any: made at run time."""
    return tagged(
        {"number": Annotated[float, Field(**limits)], "schedule": scheduled(to_zero=to_zero, **limits)},
        "number",
        by_form("number", mapping="schedule"),
    )
