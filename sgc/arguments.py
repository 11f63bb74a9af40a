"""Checks of what a caller passes: a whole number, a word, names, a path."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

from sgc.errors import UsageError, suggest

LARGEST = 2**31 - 1


def whole_number(name: str, value: object, *, error: type[Exception] = ValueError) -> int:
    """Take a whole number from 1 up, of any integer type.

    Raises: `error`, where it is none.
    """
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise error(f"{name} is {_shown(value)}, wanted a whole number from 1 up")
    number = int(value)
    if number < 1:
        raise error(f"{name} is {number}, wanted at least 1")
    if number > LARGEST:
        raise error(f"{name} is {number}, wanted at most {LARGEST}")
    return number


def truth(name: str, value: object, *, error: type[Exception] = ValueError) -> bool:
    """Take True or False, and no word: Python would take 'no' for true.

    Raises: `error`, where it is neither.
    """
    if isinstance(value, bool):
        return value
    raise error(f"{name} is {_shown(value)}, wanted True or False")


def one_of(name: str, value: object, allowed: Sequence[str], *, error: type[Exception] = ValueError) -> str:
    """Take one of some words.

    Raises: `error`, where it is none of them.
    """
    if isinstance(value, str) and value in allowed:
        return value
    quoted = [f"'{word}'" for word in allowed]
    listed = f"{', '.join(quoted[:-1])} or {quoted[-1]}"
    hint = suggest(value, allowed) if isinstance(value, str) else ""
    near = f"; {hint}" if hint.startswith("did you mean") else ""
    raise error(f"{name} is {_shown(value)}, wanted {listed}{near}")


def names_in(name: str, value: object) -> tuple[str, ...]:
    """Take names, or one. Raises: ValueError where it is something else."""
    if isinstance(value, str):
        return (value,)
    names = _items(value)
    for item in names:
        if not isinstance(item, str):
            raise ValueError(f"{name} holds {_shown(item)}, wanted names of nodes")
    return names


def path_of(name: str, value: object) -> Path:
    """Take a path. Raises: UsageError where it is none."""
    if isinstance(value, str | os.PathLike) and isinstance(os.fspath(value), str) and "\0" not in os.fspath(value):
        return Path(value)
    raise UsageError(f"{name} is {_shown(value)}, wanted a path")


def words_in(name: str, value: object) -> list[str]:
    """Take a list of texts, or one text. Raises: UsageError where it is something else."""
    if isinstance(value, str):
        return [value]
    texts = _items(value)
    for item in texts:
        if not isinstance(item, str):
            raise UsageError(f"{name} holds {_shown(item)}, wanted texts")
    return list(texts)


def call_of(name: str, value: object) -> None:
    """Check that something can be called, or is None. Raises: UsageError."""
    if value is not None and not callable(value):
        raise UsageError(f"{name} is {_shown(value)}, wanted a function")


def _items(value: object) -> tuple[Any, ...]:  # Any: what a caller passed
    """Give the items of a collection; what is no collection, such as an array of no dimension, is one item."""
    try:
        return tuple(value)  # type: ignore[arg-type]
    except TypeError:
        return (value,)


def _shown(value: object) -> str:
    """Write what was passed, in one line that is not long.

    >>> _shown("IWAE"), _shown(None), _shown([1, 2])
    ("'IWAE'", 'None', '[1, 2]')
    """
    text = repr(value)
    return text if len(text) <= 40 and "\n" not in text else f"of the type '{type(value).__name__}'"
