"""An own source: a class of the user's, named by import path, that gives the columns of a spec as arrays.

`{source: python, python: module:Class, options: {folder: scans}}`
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, final

from pydantic import Field, PrivateAttr

from sgc.data.file_search import known_columns
from sgc.data.sources.source import Source
from sgc.errors import DataError
from sgc.own_code import OwnCode, OwnPiece, failure, raised

if TYPE_CHECKING:
    from sgc.data.columns import Opened, SourceColumns


@final
class OwnSource(Source, OwnPiece):
    """`source: python`: a class of the user's own by import path; nothing of it is imported without trust.

    The class is made with `options` as keywords. Its `read(columns)` is given the names of the columns that are wanted
    and returns a mapping of them to arrays `(N, *event)`, with the rows first, of numbers or text, or two such
    mappings, of the training and of the test rows.
    """

    _code: OwnCode | None = PrivateAttr(default=None)

    source: Literal["python"]
    options: dict[str, Any] = Field(  # Any: whatever YAML can say
        {},
        description="The keywords that the class is made with.",
        examples=[{"folder": "scans"}],
    )

    def standing_in(self, folder: Path, *, trusted: bool) -> Self:
        source = self.model_copy()
        source._code = OwnCode(self.python, folder, trusted)
        return source

    def needs(self) -> str:
        return f"whatever its class {self.python} reads"

    def read(self, beside: Path, columns: Collection[str], training: Collection[str] = ()) -> Opened:
        """Open these columns, as the class gives them.

        Raises:
            UsageError: the class is not trusted, cannot be imported, or has no `read`.
            DataError: it fails, or gives something else than a mapping of the columns to arrays, or two of them.
        """
        from sgc.data.arrays import is_frame
        from sgc.data.columns import Opened

        code = self._code or OwnCode(self.python, beside, trusted=False)
        own: Any = code.load(object, method="read")  # Any: the user's class
        step = "made with " + (", ".join(self.options) or "no options")
        try:
            source = own(**self.options)
            step = "read"
            result = source.read(list(columns))
        except (Exception, SystemExit) as error:  # whatever the user's class may raise
            raise DataError(f"tried {step}: {failure(error) or raised(error)}", file=code.path) from error
        parts = result if isinstance(result, tuple) else (result,)
        if len(parts) > 2 or not parts or not all(isinstance(part, Mapping) or is_frame(part) for part in parts):
            kinds = (
                f"a tuple of {', '.join(type(part).__name__ for part in parts)}" if isinstance(result, tuple) else ""
            )
            wanted = "wanted a mapping of columns to arrays, or two of them (training and test rows)"
            raise DataError(f"its read() returned {kinds or type(result).__name__}, {wanted}", file=code.path)
        return Opened(*(_part(part, columns, code.path) for part in parts))


def _part(result: Any, columns: Collection[str], path: str) -> SourceColumns:  # Any: as it came
    from sgc.data.arrays import array_columns, frame_columns, is_frame

    try:
        if is_frame(result):
            read = frame_columns(result, columns)
        else:
            known_columns(columns, [str(name) for name in result], file=None)
            read = array_columns({name: result[name] for name in columns})
    except DataError as error:
        raise DataError(error.message, file=path) from error
    return {name: replace(column, file=path) for name, column in read.items()}
