"""Published data sets by name: found, fetched from a server of this machine's own, held to checksums, and kept."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import REAL_DATA
from test_sources import COLOUR, GREY, LABELS, fails, source, write_idx, write_mat

from sgc.data.sources.fetched_sources import PUBLISHED, Published

MNIST = "{source: mnist, %s}"
SVHN = "{source: svhn, columns: {x: {column: X}}}"
FIRST = "train-images-idx3-ubyte.gz"


class Server:
    """Serves the files of a folder, and counts what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, []
        outer = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args, directory=str(folder))

            def do_GET(self) -> None:
                outer.asked.append(self.path.lstrip("/"))
                super().do_GET()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    asked: list[str]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Publish small data sets, with true checksums, on a server of their own; the cache is empty."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SGC_DATA"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("SGC_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "server"
    write_idx(folder)
    write_mat(folder, "{}_32x32.mat")
    server = Server(folder)
    sums = {path.name: f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" for path in folder.iterdir()}
    for name in PUBLISHED:
        monkeypatch.setitem(PUBLISHED, name, Published((server.address,), sums))
    yield server
    server.server.shutdown()
    server.server.server_close()


def images(folder: Path, text: str = MNIST, column: str = "image") -> np.ndarray:
    found: np.ndarray = source(text, folder).read(folder, [column]).train[column].values
    return found


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_a_data_set_is_fetched_once(served: Server, tmp_path: Path, name: str) -> None:
    text = MNIST.replace("mnist", name)
    np.testing.assert_array_equal(images(tmp_path, text), GREY["train"])
    assert sorted(served.asked) == ["t10k-images-idx3-ubyte.gz", FIRST]
    assert (tmp_path / "cache" / name / FIRST).is_file()
    served.server.shutdown()
    np.testing.assert_array_equal(images(tmp_path, text), GREY["train"])
    assert len(served.asked) == 2


def test_svhn_is_fetched(served: Server, tmp_path: Path) -> None:
    opened = source(SVHN, tmp_path).read(tmp_path, ["X", "y"])
    np.testing.assert_array_equal(opened.train["X"].values, COLOUR["train"])
    assert opened.test is not None
    np.testing.assert_array_equal(opened.test["y"].values, LABELS["test"] + 1)


def test_files_of_the_users_go_first_and_nothing_is_fetched(
    served: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_idx(tmp_path / "mnist", zipped=False)
    np.testing.assert_array_equal(images(tmp_path), GREY["train"])
    write_idx(tmp_path / "data" / "mnist")
    monkeypatch.setenv("SGC_DATA", str(tmp_path / "data"))
    np.testing.assert_array_equal(images(tmp_path / "server"), GREY["train"])
    assert served.asked == []


def test_a_damaged_cache_is_fetched_again(served: Server, tmp_path: Path) -> None:
    images(tmp_path)
    kept = tmp_path / "cache" / "mnist" / FIRST
    kept.write_bytes(kept.read_bytes()[:-9])
    np.testing.assert_array_equal(images(tmp_path), GREY["train"])
    assert served.asked.count(FIRST) == 2


def test_another_checksum_is_refused_and_not_kept(served: Server, tmp_path: Path) -> None:
    path = served.folder / FIRST
    path.write_bytes(path.read_bytes() + b"\0")
    assert fails(MNIST, tmp_path) == (
        f"mnist/{FIRST}: not here, and cannot be fetched ({served.address}: its checksum is another): put it into "
        "'DIR/mnist' or under $SGC_DATA/mnist"
    )
    assert not (tmp_path / "cache" / "mnist" / FIRST).exists()


def test_a_server_without_the_file_or_that_is_not_there(
    served: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (served.folder / FIRST).unlink()
    gone = "http://127.0.0.1:9/"
    monkeypatch.setitem(PUBLISHED, "mnist", Published((gone, served.address), PUBLISHED["mnist"].files))
    assert fails(MNIST, tmp_path) == (
        f"mnist/{FIRST}: not here, and cannot be fetched ({gone}: no connection; {served.address}: 404 File not "
        "found): put it into 'DIR/mnist' or under $SGC_DATA/mnist"
    )


def test_a_second_address_serves_where_the_first_does_not(
    served: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = ("http://127.0.0.1:9/", served.address)
    monkeypatch.setitem(PUBLISHED, "mnist", Published(both, PUBLISHED["mnist"].files))
    np.testing.assert_array_equal(images(tmp_path), GREY["train"])


def test_a_cache_that_cannot_be_written_is_told(
    served: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SGC_CACHE", str(tmp_path / "file"))
    found = fails(MNIST, tmp_path)
    assert found.startswith(f"mnist/{FIRST}: cannot be kept in 'DIR/file/mnist': ")


@pytest.mark.real
def test_the_checksums_of_mnist_are_those_of_the_files() -> None:
    for name, known in PUBLISHED["mnist"].files.items():
        assert known == f"sha256:{hashlib.sha256((REAL_DATA / 'mnist' / name).read_bytes()).hexdigest()}"
