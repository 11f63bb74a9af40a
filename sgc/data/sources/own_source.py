"""An own source: a class of the user's, named by import path, that gives the columns of a spec as arrays.

`{source: python, python: module:Class, options: {folder: scans}}`
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, final

from pydantic import PrivateAttr

from sgc.data.sources.source import Source
from sgc.own_code import OwnCode, OwnPiece

if TYPE_CHECKING:
    from sgc.data.columns import Opened


@final
class OwnSource(Source, OwnPiece):
    """`source: python`: a class of the user's own by import path; nothing of it is imported without trust.

    The class is made with `options` as keywords. Its `read(columns)` is given the names of the columns that are wanted
    and returns a mapping of them to arrays `(N, *event)`, with the rows first, of numbers or text, or two such
    mappings, of the training and of the test rows.
    """

    _code: OwnCode | None = PrivateAttr(default=None)

    source: Literal["python"]
    options: dict[str, Any] = {}  # noqa: RUF012 - a frozen pydantic default; Any: whatever YAML can say

    def standing_in(self, folder: Path, *, trusted: bool) -> Self:
        found = self.model_copy()
        found._code = OwnCode(self.python, folder, trusted)
        return found

    def read(self, beside: Path, columns: Collection[str], training: Collection[str] = ()) -> Opened:
        """Open these columns, as the class gives them.

        Raises:
            UsageError: the class is not trusted, or cannot be imported.
            DataError: it fails, or gives something else.
        """
        from sgc.data.own_reader import read_own

        return read_own(self._code or OwnCode(self.python, beside, trusted=False), self.options, columns)
