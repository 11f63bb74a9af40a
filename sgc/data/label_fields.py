"""The keys `split` and `labels` of a data section: which rows go into which part, and which keep a label."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias, final

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from sgc.piece import Maybe, Piece


@dataclass(frozen=True)
class Refused:
    """Takes the place of the value of a forbidden key, so that the error is located at that key."""

    type: str
    message: str
    context: Mapping[str, Any] = field(default_factory=dict)  # Any: pydantic's own type for an error's context


def _raise_refused(value: object) -> object:
    if isinstance(value, Refused):
        raise PydanticCustomError(value.type, value.message, dict(value.context))
    return value


Refusable = BeforeValidator(_raise_refused)


def refuse_later(section: object, exclusive: Collection[frozenset[str]]) -> object:
    """Mark, of every two keys that exclude each other, the later one in the file."""
    if not isinstance(section, dict):
        return section
    accepted: list[str] = []
    marked: dict[object, object] = {}
    for key, value in section.items():
        absent = value is None or value is False  # which means the same as leaving the key out
        rival = None if absent else next((other for other in accepted if frozenset((other, key)) in exclusive), None)
        if rival is None:
            marked[key] = value
            accepted += [] if absent else [key]
        else:
            names = {"key": key, "other": rival}
            marked[key] = Refused("excluded_key", "'{key}' cannot stand beside '{other}': leave out one", names)
    return marked


def pairs(keys: Collection[str]) -> set[frozenset[str]]:
    """List every two of these keys."""
    return {frozenset((first, second)) for first in keys for second in keys if first != second}


def _share_form(value: object) -> str:
    return "<count>" if type(value) is int else "<fraction>"


Share: TypeAlias = Annotated[
    Annotated[int, Field(ge=0), Tag("<count>")] | Annotated[float, Field(ge=0, lt=1), Tag("<fraction>")],
    Discriminator(_share_form),
]
"""A number of rows (an integer), or a share of them in [0, 1)."""


@final
class Split(Piece):
    """`{test: 0.2, validation: 10000, stratify: COLUMN, group: COLUMN, seed: 0}`: what is held out, by row and seed."""

    test: Annotated[Maybe[Share], Refusable] = Field(
        None,
        description="Rows of the test: a number of them, or a share. Not where the source brings a test part.",
        examples=[0.2],
    )
    validation: Maybe[Share] = Field(
        None,
        description="Rows that training does not see and that choose the best epoch: a number, or a share.",
        examples=[10000],
    )
    stratify: Annotated[Maybe[str], Refusable] = Field(
        None,
        description="A column each of whose values has its share in every part.",
        examples=["label"],
    )
    group: Annotated[Maybe[str], Refusable] = Field(
        None,
        description="A column no value of which is in two parts: a patient, a recording.",
        examples=["person"],
    )
    seed: Annotated[int, Field(ge=0)] = Field(
        0,
        description="What the drawing of parts follows from.",
        examples=[1],
    )

    @model_validator(mode="before")
    @classmethod
    def _exclude(cls, value: object) -> object:
        return refuse_later(value, pairs(("stratify", "group")))


WAYS = ("count", "fraction", "per_category", "same_rows_as", "rows")
_EXCLUSIVE = (
    pairs(WAYS)
    | {frozenset(("balanced", way)) for way in ("per_category", "same_rows_as", "rows")}
    | {frozenset(("seed", way)) for way in ("same_rows_as", "rows")}
)


@final
class LabelRule(Piece):
    """Which training rows keep their label: one way of choosing, by row and seed.

    `count` and `fraction` (of the training rows; with `balanced`, equally many of each category), `per_category`,
    `same_rows_as: NODE`, `rows: FILE` (one row id a line, or .npy).
    """

    count: Annotated[Maybe[Annotated[int, Field(ge=0)]], Refusable] = Field(
        None,
        description="How many rows keep their label.",
        examples=[100],
    )
    fraction: Annotated[Maybe[Annotated[float, Field(ge=0, le=1)]], Refusable] = Field(
        None,
        description="Which share of the rows keeps its label.",
        examples=[0.1],
    )
    per_category: Annotated[Maybe[Annotated[int, Field(ge=0)]], Refusable] = Field(
        None,
        description="How many rows of each category keep theirs; of a rarer one all do.",
        examples=[5],
    )
    same_rows_as: Annotated[Maybe[str], Refusable] = Field(
        None,
        description="Another node: the rows that keep its label keep this one.",
        examples=["y"],
    )
    rows: Annotated[Maybe[str], Refusable] = Field(
        None,
        description="A file of the rows that keep it: a row id a line, or `.npy`.",
        examples=["labelled.txt"],
    )
    balanced: Annotated[bool, Refusable] = Field(
        False,
        description="Beside `count` or `fraction`: equally many of each category.",
        examples=[True],
    )
    seed: Annotated[Maybe[Annotated[int, Field(ge=0)]], Refusable] = Field(
        None,
        description="What the drawing follows from. Absent: `train.seed`.",
        examples=[1],
    )

    @model_validator(mode="before")
    @classmethod
    def _exclude(cls, value: object) -> object:
        return refuse_later(value, _EXCLUSIVE)

    @model_validator(mode="after")
    def _one_way(self) -> LabelRule:
        if all(getattr(self, way) is None for way in WAYS):
            raise PydanticCustomError(
                "way_missing", "no way of choosing rows: wanted one of {ways}", {"ways": ", ".join(WAYS)}
            )
        return self
