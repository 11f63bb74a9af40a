"""Columns from a class of the user's own, and that they are what was promised."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from sgc.data.arrays import array_columns, frame_columns, is_frame
from sgc.data.columns import Opened, SourceColumn
from sgc.data.file_search import known_columns
from sgc.errors import DataError
from sgc.own_code import OwnCode, failure, raised


def read_own(code: OwnCode, options: Mapping[str, Any], columns: Collection[str]) -> Opened:  # any: plain data
    """Make the class with these options and have it read these columns.

    Raises:
        UsageError: the class is not trusted, cannot be imported, or has no `read`.
        DataError: it fails, or gives something else than a mapping of the columns to arrays, or two of them.
    """
    own: Any = code.load(object, method="read")  # any: the user's class
    try:
        step = "made with " + (", ".join(options) or "no options")
        made = own(**options)
        step = "read"
        found = made.read(list(columns))
    except (Exception, SystemExit) as error:  # whatever the user's class may raise
        raise DataError(f"tried {step}: {failure(error) or raised(error)}", file=code.path) from error
    parts = found if isinstance(found, tuple) else (found,)
    if len(parts) > 2 or not parts or not all(isinstance(part, Mapping) or is_frame(part) for part in parts):
        kinds = f"a tuple of {', '.join(type(part).__name__ for part in parts)}" if isinstance(found, tuple) else ""
        message = (
            f"its read gave {kinds or type(found).__name__}, wanted a mapping of columns to arrays, or two of them"
        )
        raise DataError(f"{message} (training and test rows)", file=code.path)
    return Opened(*(_part(part, columns, code) for part in parts))


def _part(found: Any, columns: Collection[str], code: OwnCode) -> dict[str, SourceColumn]:  # any: as it came
    try:
        if is_frame(found):
            read = frame_columns(found, columns)
        else:
            known_columns(columns, [str(name) for name in found], file=None)
            read = array_columns({name: found[name] for name in columns})
    except DataError as error:
        raise DataError(error.message, file=code.path) from error
    return {name: replace(column, file=code.path) for name, column in read.items()}
