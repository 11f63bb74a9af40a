"""Published data sets that are fetched by name: where from, with which checksums, and where they are kept."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sgc.data.file_search import look_for
from sgc.errors import DataError


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
    found = look_for((file.removesuffix(".gz"), file), name, beside)
    return found if found is not None else _fetch(name, file, beside)


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
