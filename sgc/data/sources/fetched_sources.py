"""Sources that are published data sets, by name: their files are fetched once, and their checksums are compared."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import model_validator

from sgc.data.sources.source import Source, refuse_second_test

if TYPE_CHECKING:
    from sgc.data.columns import Opened, SourceColumn


class Fetched(Source):
    """A published data set with a test part of its own.

    Its files are looked for under $SGC_DATA/NAME and in NAME beside the spec, then in the cache ($SGC_CACHE, or the
    platform's), and else fetched.
    """

    source: str

    _exclude = model_validator(mode="before")(refuse_second_test)

    def read(self, beside: Path, columns: Collection[str], training: Collection[str] = ()) -> Opened:
        from sgc.data.columns import Opened

        return Opened(self.part("train", beside, columns), self.part("test", beside, columns))

    @abstractmethod
    def part(self, name: Literal["train", "test"], beside: Path, columns: Collection[str]) -> dict[str, SourceColumn]:
        """Read these columns of the training or the test part. Raises: DataError."""


class FetchedIdx(Fetched):
    """A published data set in MNIST's format; columns image, `(N, 28, 28)` bytes, and label, 0 to 9."""

    files: ClassVar[dict[str, dict[str, str]]] = {
        "train": {"image": "train-images-idx3-ubyte.gz", "label": "train-labels-idx1-ubyte.gz"},
        "test": {"image": "t10k-images-idx3-ubyte.gz", "label": "t10k-labels-idx1-ubyte.gz"},
    }

    def part(self, name: Literal["train", "test"], beside: Path, columns: Collection[str]) -> dict[str, SourceColumn]:
        from sgc.data.columns import SourceColumn
        from sgc.data.downloads import published_file
        from sgc.data.file_search import known_columns
        from sgc.data.idx import read_idx

        files = self.files[name]
        known_columns(columns, files, file=self.source)
        paths = {column: published_file(self.source, files[column], beside) for column in columns}
        return {column: SourceColumn(column, read_idx(path), str(path)) for column, path in paths.items()}


@final
class Mnist(FetchedIdx):
    """`source: mnist`: 60,000 and 10,000 handwritten digits; columns image, `(N, 28, 28)` bytes, and label, 0 to 9."""

    source: Literal["mnist"]


@final
class FashionMnist(FetchedIdx):
    """`source: fashion-mnist`: 60,000 and 10,000 pieces of clothing; columns image, `(N, 28, 28)` bytes, and label."""

    source: Literal["fashion-mnist"]


@final
class Svhn(Fetched):
    """`source: svhn`: 73,257 and 26,032 house numbers' digits; columns X, `(N, 3, 32, 32)` bytes, and y.

    y is 1 to 10, and 10 stands for the digit 0, as in its files.
    """

    source: Literal["svhn"]

    def part(self, name: Literal["train", "test"], beside: Path, columns: Collection[str]) -> dict[str, SourceColumn]:
        from sgc.data.downloads import published_file
        from sgc.data.file_search import known_columns
        from sgc.data.mat import read_mat

        known_columns(columns, ("X", "y"), file=self.source)
        return read_mat(published_file(self.source, f"{name}_32x32.mat", beside), columns)
