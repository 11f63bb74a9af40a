"""Records that sgc writes into files and reads again: strict models with a version, whose faults name the key."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, ValidationError, ValidatorFunctionWrapHandler, model_validator
from pydantic_core import PydanticCustomError

from sgc.errors import Path, UsageError, path_text, printable
from sgc.piece import Piece
from sgc.value_words import LIMITS, SIZES, TYPES, describe

VERSION = 1  # of all files of a run; the oldest files have none

Count = Annotated[int, Field(ge=0, lt=2**63)]
Some = Annotated[int, Field(ge=1, lt=2**63)]


class Record(Piece):
    """A mapping that sgc wrote, as strict as a piece of a spec, so that nothing else is mistaken for it."""


class Versioned(Record):
    """The whole of a file of a run."""

    version: Literal[1] = 1

    @model_validator(mode="wrap")
    @classmethod
    def _of_this_version(cls, value: Any, inner: ValidatorFunctionWrapHandler) -> Any:  # Any: whatever a file can say
        version = value.get("version") if isinstance(value, dict) else None
        if isinstance(version, int) and version > VERSION:
            number = version if version < 2**63 else found_text(version)
            text = f"found version {number}, written by a newer sgc, and this one reads up to {VERSION}"
            raise PydanticCustomError("newer", "{text}", {"text": text})
        if isinstance(value, dict) and "version" not in value:
            value = {**cls.of_before(value), "version": VERSION}
        return inner(value)

    @classmethod
    def of_before(cls, value: dict[str, Any]) -> dict[str, Any]:  # Any: whatever a file can say
        """Convert the content of a file without a version to version 1."""
        return value


def _is_path(value: str) -> str:
    try:
        valid = b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        valid = False
    if not valid:
        raise PydanticCustomError("path", "not the name of a file")
    return value


PathText = Annotated[str, AfterValidator(_is_path)]
"""The name of a file or folder, as the system allows."""

R = TypeVar("R", bound=Record)


def read_record(kind: type[R], plain: Any, use: str) -> R:  # Any: whatever a file can say
    """Make a record of what a file says. use: the file, and what it cannot be used as.

    Raises: UsageError, with the first key that is wrong.
    """
    try:
        return kind.model_validate(plain)
    except ValidationError as problem:
        raise UsageError(f"{use} ({fault_text(problem)})") from None


def fault_text(problem: ValidationError) -> str:
    """Say in one line what is wrong with a record: its first fault, and how many more there are."""
    errors = problem.errors(include_url=False)
    first = errors[0]
    place = tuple(
        part for part in first["loc"] if not (isinstance(part, str) and part and (part[0] in "<{" or part == "[key]"))
    )
    more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    return f"{key_text(place)}{_words(first)}{more}"


def key_text(place: Path) -> str:
    """Name the key at a place; nothing where it is the whole.

    >>> key_text(("rows", "labelled"))
    "key 'rows.labelled': "
    """
    return f"key '{printable(path_text(place))}': " if place else ""


def _words(error: Any) -> str:  # Any: pydantic's dict of an error
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    got = found_text(value)
    if kind == "missing":
        return "missing"
    if kind == "extra_forbidden":
        return "unknown"
    if kind in TYPES:
        return f"expected {TYPES[kind]}, got {got}"
    if kind in LIMITS:
        key, words = LIMITS[kind]
        return f"expected a number {words} {context[key]}, got {got}"
    if kind in SIZES:
        key, words = SIZES[kind]
        return f"expected {words} {context[key]} entries, got {len(value)}"
    if kind == "literal_error":
        return f"expected {context['expected']}, got {got}"
    if kind == "is_instance_of":
        return f"expected a {context['class'].lower()}, got {got}"
    text: str = error["msg"]
    return printable(text[:1].lower() + text[1:])


def found_text(value: Any) -> str:  # Any: whatever a file can hold
    """Name what was found, by its type and, if short, by its value, so that the text is never long."""
    plain = value is None or isinstance(value, bool | int | float | str | list | tuple | dict)
    if isinstance(value, int) and value.bit_length() > 1000:
        return f"an integer of {value.bit_length()} bits"
    return printable(describe(value)) if plain else f"a {type(value).__name__.lower()}"
