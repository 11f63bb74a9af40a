"""scikit-learn's handwritten digits as a source."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Literal, final

from sgc.data.file_search import known_columns
from sgc.data.sources.source import Source
from sgc.errors import DataError

if TYPE_CHECKING:
    from sgc.data.columns import Opened


@final
class Digits(Source):
    """`source: digits`: scikit-learn's 1797 handwritten digits; columns image `(N, 8, 8)` of 0 to 16, and label."""

    source: Literal["digits"] = "digits"

    def read(self, beside: Path, columns: Collection[str], training: Collection[str] = ()) -> Opened:
        from sgc.data.columns import Opened, SourceColumn

        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise DataError("the source 'digits' needs scikit-learn: pip install 'sgc[digits]'") from error
        known_columns(columns, ("image", "label"), file="digits")
        loaded = load_digits()
        values = {"image": loaded.images.astype("uint8"), "label": loaded.target.astype("int64")}
        return Opened({name: SourceColumn(name, values[name], "digits") for name in columns})
