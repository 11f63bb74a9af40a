"""Options of families as a spec writes them: numbers, or for a total what gives each row its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sgc.distributions.family import Family
from sgc.distributions.row_totals import OWN_SUM, TOTAL
from sgc.distributions.table import Option
from sgc.errors import OutlineFault, suggest
from sgc.value_words import describe


def with_options(place: tuple[str, str], family: Family, options: Any) -> Family:  # Any: as written
    """Give a family with the options that are written. Raises: OutlineFault."""
    _check(place, family, options)
    numbers = {key: value for key, value in options.items() if not takes_total(family, key, value)}
    return (family if len(numbers) == len(options) else family.counted()).with_options(numbers)


def takes_total(family: Family, option: str, value: object) -> bool:
    """Tell whether an option of a family is a total that each row has of its own: an input's name, or the row's sum."""
    return option == TOTAL and option in family.options and isinstance(value, str)


def _check(place: tuple[str, str], family: Family, options: Any) -> None:  # Any: as written
    """Hold a family's options to what it takes. Raises: OutlineFault."""
    if not isinstance(options, Mapping):
        raise OutlineFault(place, f"expected a mapping, got {describe(options)}")
    for key, value in options.items():
        if key not in family.options:
            hint = suggest(key, [each for each in family.options if each not in options])
            raise OutlineFault((*place, key), f"unknown key '{key}'", hint, at="key")
        if not family.options[key].accepts(value) and not takes_total(family, key, value):
            wanted = _words(family, key, family.options[key])
            raise OutlineFault((*place, key), f"expected {wanted}, got {describe(value)}")
    for key, option in family.options.items():
        if key not in options and option.default is None:
            message = f"missing key '{key}': {family.name} needs {_words(family, key, option)}"
            raise OutlineFault(place, message, at="key", missing=key)


def _words(family: Family, key: str, option: Option) -> str:
    """Say what an option takes.

    >>> from sgc.distributions.families import FAMILIES
    >>> _words(FAMILIES["Multinomial"], "total_count", Option("int", 1))
    "an integer at least 1, the name of an input, or 'sum', the row's own"
    """
    noun = "an integer" if option.type == "int" else "a number"
    most = "" if option.high == math.inf else f" and at most {option.high:g}"
    words = f"{noun} {'greater than' if option.open_low else 'at least'} {option.low:g}{most}"
    if key != TOTAL:
        return words
    return (
        f"{words}, the name of an input, or '{OWN_SUM}', the row's own"
        if family.event_dim
        else (f"{words}, or the name of an input")
    )
