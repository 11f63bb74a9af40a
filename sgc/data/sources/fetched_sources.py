"""Sources that are published data sets, by name: their files are fetched once, and their checksums are compared."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, final

from pydantic import model_validator

from sgc.data.file_search import known_columns, look_for
from sgc.data.sources.source import Source, refuse_second_test
from sgc.errors import DataError

if TYPE_CHECKING:
    from sgc.data.columns import Opened, SourceColumns


@dataclass(frozen=True)
class Published:
    """A data set: the addresses of its files, tried in turn, and each file's checksum."""

    addresses: tuple[str, ...]
    files: Mapping[str, str]


PUBLISHED: dict[str, Published] = {
    # LeCun, Cortes & Burges, 1998
    "mnist": Published(
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        {
            "train-images-idx3-ubyte.gz": "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte.gz": "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3-ubyte.gz": "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte.gz": "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
    ),
    # Xiao, Rasul & Vollgraf, 2017, with the checksums that its authors give
    "fashion-mnist": Published(
        (
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        {
            "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
    # Netzer et al., 2011, the cropped digits, with the checksums of torchvision
    "svhn": Published(
        ("http://ufldl.stanford.edu/housenumbers/",),
        {
            "train_32x32.mat": "md5:e26dedcc434d2e4c54c9b2d4a06d8373",
            "test_32x32.mat": "md5:eb5a983be6a315427106f1b164d9cef3",
        },
    ),
}


def published_file(name: str, file: str, beside: Path) -> Path:
    """Find a file of a data set: under $SGC_DATA/NAME, beside the spec in NAME, in the cache, or at its publisher's.

    A fetched file must have its checksum, and is kept in $SGC_CACHE/NAME, or the platform's cache folder. Files that
    the user has put there are taken as they are, with or without `.gz`.

    Raises:
        DataError: it cannot be fetched; it says where to put it by hand.
    """
    path = look_for((file.removesuffix(".gz"), file), name, beside)
    return path if path is not None else _fetch(name, file, beside)


def _fetch(name: str, file: str, beside: Path) -> Path:
    by_hand = f"put it into '{beside / name}' or under $SGC_DATA/{name}"
    try:
        import pooch
        import requests
    except ImportError as error:
        message = f"not here, and fetching it needs pooch: pip install 'sgc[fetch]'; or {by_hand}"
        raise DataError(message, file=f"{name}/{file}") from error
    failures: list[str] = []
    folder = Path(os.environ.get("SGC_CACHE") or pooch.os_cache("sgc")) / name
    for address in PUBLISHED[name].addresses:
        try:
            return Path(pooch.retrieve(address + file, PUBLISHED[name].files[file], fname=file, path=folder))
        except ValueError:  # of a wrong checksum; the file is deleted
            failures.append(f"{address}: its checksum is another")
        except requests.HTTPError as error:
            answer = error.response
            failures.append(f"{address}: {'refused' if answer is None else f'{answer.status_code} {answer.reason}'}")
        except requests.Timeout:
            failures.append(f"{address}: no answer in time")
        except requests.RequestException:
            failures.append(f"{address}: no connection")
        except OSError as error:
            raise DataError(f"cannot be kept in '{folder}': {error.strerror or error}", f"{name}/{file}") from error
    raise DataError(f"not here, and cannot be fetched ({'; '.join(failures)}): {by_hand}", file=f"{name}/{file}")


class Fetched(Source):
    """A published data set with a test part of its own.

    Its files are looked for under $SGC_DATA/NAME and in NAME beside the spec, then in the cache ($SGC_CACHE, or the
    platform's), and else fetched.
    """

    source: str

    _exclude = model_validator(mode="before")(refuse_second_test)

    def needs(self) -> str:
        return f"the files of {self.source}, which are fetched once and kept (pip install 'sgc[fetch]')"

    def read(self, beside: Path, columns: Collection[str], training: Collection[str] = ()) -> Opened:
        from sgc.data.columns import Opened

        return Opened(self.part("train", beside, columns), self.part("test", beside, columns))

    @abstractmethod
    def part(self, name: Literal["train", "test"], beside: Path, columns: Collection[str]) -> SourceColumns:
        """Read these columns of the training or the test part. Raises: DataError."""


class FetchedIdx(Fetched):
    """A published data set in MNIST's format; columns image, `(N, 28, 28)` bytes, and label, 0 to 9."""

    files: ClassVar[dict[str, dict[str, str]]] = {
        "train": {"image": "train-images-idx3-ubyte.gz", "label": "train-labels-idx1-ubyte.gz"},
        "test": {"image": "t10k-images-idx3-ubyte.gz", "label": "t10k-labels-idx1-ubyte.gz"},
    }

    def part(self, name: Literal["train", "test"], beside: Path, columns: Collection[str]) -> SourceColumns:
        from sgc.data.columns import SourceColumn
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

    def part(self, name: Literal["train", "test"], beside: Path, columns: Collection[str]) -> SourceColumns:
        from sgc.data.mat import read_mat

        known_columns(columns, ("X", "y"), file=self.source)
        return read_mat(published_file(self.source, f"{name}_32x32.mat", beside), columns)
