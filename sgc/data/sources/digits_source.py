"""scikit-learn's handwritten digits as a source."""

from __future__ import annotations

import gzip
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, final

from sgc.data.file_search import known_columns
from sgc.data.sources.source import Source
from sgc.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sgc.data.columns import Opened


@final
class Digits(Source):
    """`source: digits`: scikit-learn's 1797 handwritten digits; columns image `(N, 8, 8)` of 0 to 16, and label."""

    source: Literal["digits"] = "digits"

    def needs(self) -> str:
        return "scikit-learn's digits, which pip install 'sgc[digits]' brings"

    def read(self, beside: Path, columns: Collection[str], training: Collection[str] = ()) -> Opened:
        from sgc.data.columns import Opened, SourceColumn

        known_columns(columns, ("image", "label"), file="digits")
        table = _digits()
        values = {"image": table[:, :-1].reshape(-1, 8, 8).astype("uint8"), "label": table[:, -1].astype("int64")}
        return Opened({name: SourceColumn(name, values[name], "digits") for name in columns})


def _digits() -> NDArray[np.float64]:
    """Give the rows of scikit-learn, 64 pixels and the label in each. Raises: DataError.

    They are read from its file: to import scikit-learn for it would take as long as to import torch.
    """
    import numpy as np

    package = find_spec("sklearn")
    for folder in [] if package is None else package.submodule_search_locations or []:
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            with gzip.open(file, "rt") as rows:
                return np.loadtxt(rows, delimiter=",", ndmin=2)
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError("the source 'digits' needs scikit-learn: pip install 'sgc[digits]'") from error
    loaded = load_digits()
    return np.column_stack([loaded.data, loaded.target])
