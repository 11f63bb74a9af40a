"""Small data files in their true formats, written by the tests that read them."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import TypeAdapter

from sgc.data.dataset import DataSet, open_dataset
from sgc.data.sources.source_section import DataSection
from sgc.data.variables import Variable
from sgc.distributions.supports import SUPPORTS

REAL_DATA = Path(os.environ.get("SGC_DATA") or Path(__file__).parents[2] / "shared" / "data")

SECTION: TypeAdapter[Any] = TypeAdapter(DataSection)
CODES = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}

IMAGE = Variable("x", (1, 4, 4), support=SUPPORTS["grey"])
CLASS = Variable("y", (), 10, support=SUPPORTS["integer_interval"], supervision="partial")


def section(text: str) -> Any:
    """Read a `data` section as a spec would."""
    return SECTION.validate_python(yaml.safe_load(text))


def opened(
    text: str | None, *variables: Variable, beside: Path = Path(), seed: int = 0, arrays: Any = None, fitted: Any = None
) -> DataSet:
    """Open a section for these variables."""
    data = None if text is None else section(text)
    named = {each.name: each for each in variables}
    return open_dataset(data, named, beside=beside, seed=seed, arrays=arrays, fitted=fitted)


def idx_bytes(array: np.ndarray) -> bytes:
    """Write the IDX format by hand."""
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, CODES[array.dtype.name], array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_mnist(folder: Path, train: int = 60, test: int = 20, zipped: bool = True) -> None:
    """Write four IDX files of 4 x 4 pictures, whose labels go 0 … 9 in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(3)
    for name, size in (("train", train), ("t10k", test)):
        images = draw.integers(0, 256, (size, 4, 4), dtype=np.uint8)
        labels = (np.arange(size) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            content = idx_bytes(array)
            path = folder / f"{name}-{kind}-ubyte{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(content) if zipped else content)
