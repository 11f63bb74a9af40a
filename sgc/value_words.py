"""Values in words for faults: what a value is, and what pydantic wanted instead."""

from __future__ import annotations

from typing import Any

# by the kind of pydantic's error
TYPES = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a string",
    "bool_type": "a boolean",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
LIMITS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
SIZES = {"too_short": ("min_length", "at least"), "too_long": ("max_length", "at most")}


def describe(value: Any) -> str:  # Any: what YAML can say
    """Name a value by its type as users know it: integer, number, string, boolean, list, mapping, empty.

    >>> describe("abc"), describe(3), describe(None)
    ("string 'abc'", 'integer 3', 'empty')
    """
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return f"boolean {str(value).lower()}"
    if isinstance(value, int):
        return f"integer {_short(str(value))}"
    if isinstance(value, float):
        return f"number {value}"
    if isinstance(value, str):
        return f"string '{_short(value)}'"
    return "a list" if isinstance(value, list | tuple) else "a mapping"


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
