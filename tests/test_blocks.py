"""Rows that stay in their files: values, encoders and fingerprint as in memory, read in blocks, within bounds."""

from __future__ import annotations

import io
import json
import signal
import tarfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
from data_files import opened, section
from small_runs import At, Raw, changed, finished_files
from test_sources import add_member, fails, write_tar

import sgc
from sgc.data.block_order import BlockOrder
from sgc.data.block_store import BlockArray, BlockStore, block_columns, store_of
from sgc.data.blocks import Blocks, Cells, Field, Room
from sgc.data.columns import Rows
from sgc.data.dataset import DataSet
from sgc.data.large_columns import EncodedColumn
from sgc.data.parquet_blocks import ParquetBlocks
from sgc.data.shards import find_shards
from sgc.data.sources.shard_sources import ShardSource
from sgc.data.variables import Variable
from sgc.errors import DataError, Interrupted
from sgc.runtime.data_variables import open_data
from sgc.runtime.streams import TensorRows
from sgc.spec.resolver import outline
from sgc.training.run_streams import streams_of
from sgc.training.trainer import train

ROWS, WIDE, GROUP, FILES = 420, 512, 20, 3  # 0.8 MiB of x, which half of 1 MiB does not hold


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SGC_DATA", raising=False)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write parquet files, sorted by y; of w, another large node, some rows have no value."""
    folder, draw = tmp_path_factory.mktemp("shards"), np.random.default_rng(0)
    y = np.sort(draw.integers(0, 3, ROWS))
    x = (draw.normal(size=(ROWS, WIDE)) + y[:, None]).astype(np.float32)
    w: list[list[float] | None] = [None if row % 4 else [float(row), 1.5] * 130 for row in range(ROWS)]
    for number in range(FILES):
        rows = slice(number * ROWS // FILES, (number + 1) * ROWS // FILES)
        table = {
            "x": pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(x[rows].ravel()), WIDE),
            "y": pyarrow.array(y[rows]),
            "name": pyarrow.array([None if row % 5 == 0 else "abc"[kind] for row, kind in enumerate(y[rows])]),
            "w": pyarrow.array(w[rows], pyarrow.list_(pyarrow.float32())),
        }
        pyarrow.parquet.write_table(pyarrow.table(table), folder / f"part-{number}.parquet", row_group_size=GROUP)
    return folder


def spec(transforms: list[Any], memory: int = 1, **train_keys: Any) -> Raw:  # Any: plain data
    hidden = {"parents": ["x"], "network": {"mlp": [4]}}
    return {
        "version": 1,
        "name": "shards",
        "data": {
            "source": "parquet",
            "file": ".",
            "memory": memory,
            "columns": {"x": {"column": "x", "transforms": transforms}, "y": {"column": "name"}, "w": {"column": "w"}},
            "split": {"validation": 40, "test": 30},
            "labels": {"y": {"count": 12}, "w": {"count": 9}},
        },
        "nodes": {
            "x": {"distribution": "Normal", "shape": [WIDE], "supervision": "full"}
            | {"generative": {"parents": ["y", "w"], "network": {"mlp": [4]}}},
            "y": {"distribution": "Categorical", "values": ["a", "b", "c"], "supervision": "partial"}
            | {"recognition": hidden},
            "w": {"distribution": "Normal", "shape": [260], "supervision": "partial", "recognition": hidden},
        },
        "train": {"epochs": 2, "batch_size": {"unlabelled": 30, "labelled": 5}, **train_keys},
        "evaluate": {"samples": 2},
    }


def store_in(dataset: DataSet) -> BlockStore:
    assert dataset.train.store is not None
    return dataset.train.store


def images_read(store: BlockStore) -> list[int]:
    """How often each block of the wide columns was read."""
    return [count for (_, group), count in store.reads.items() if not group]


# ---- what is read


@pytest.mark.parametrize("transforms", [[], ["standardize"], [{"divide": 3}, "standardize", {"divide": 2}]])
def test_in_blocks_all_is_what_it_is_in_memory(transforms: list[Any], shards: Path) -> None:
    """Values, encoders, labels and fingerprints to the bit, and each block is read once, within the room for blocks."""
    sets = [open_data(outline(sgc.load(spec(transforms, memory))), shards) for memory in (1, 64)]
    left, whole = sets
    assert [type(each.train.values["x"]) for each in sets] == [EncodedColumn, np.ndarray]
    assert left.encoders == whole.encoders
    states = [each.fingerprint.state() for each in sets]
    assert {*states[0]} - {*states[1]} == {"nodes/train/files of the source"}
    assert all(np.array_equal(states[0][key], states[1][key]) for key in states[1])
    assert all(np.array_equal(left.labelled_rows[name], rows) for name, rows in whole.labelled_rows.items())
    assert any("21 blocks of up to 20 rows" in note for note in left.notes)
    store = store_in(left)
    assert store.most <= store.room.blocks
    draw = np.random.default_rng(1)
    for part in ("train", "validation", "test"):
        for name in "xyw":
            mine, held = (getattr(each, part).values[name] for each in sets)
            index = draw.permutation(len(held))
            taken = mine.take(index) if isinstance(mine, EncodedColumn) else mine[index]
            np.testing.assert_array_equal(taken, held[index])


def test_opening_data_reads_each_block_once(shards: Path) -> None:
    text = "{source: parquet, file: part-*.parquet, memory: 1, columns: {x: {column: x, transforms: [standardize]}}}"
    dataset = opened(text, Variable("x", (WIDE,)), beside=shards)
    store = store_in(dataset)
    assert images_read(store) == [1] * 21
    again = opened(text, Variable("x", (WIDE,)), beside=shards, fitted=dataset.encoders)
    assert images_read(store_in(again)) == [1]  # of a run, the first block alone says whether it is the same


def test_files_at_an_address_are_those_of_a_folder(shards: Path) -> None:
    system = fsspec.filesystem("memory")
    for path in shards.glob("*.parquet"):
        system.pipe(f"/bucket/{path.name}", path.read_bytes())
    wanted = find_shards([str(shards)], "", Path(), [".parquet"])
    for names, root in ((["memory://bucket/part-{0..2}.parquet"], ""), (["*.parquet"], "memory://bucket")):
        far = find_shards(names, root, Path(), [".parquet"])
        assert [each.name.rpartition("/")[2] for each in far] == [each.name.rpartition("/")[2] for each in wanted]
        blocks = ParquetBlocks(far, ["x"])
        np.testing.assert_array_equal(
            blocks.read(8, ["x"])["x"].values, ParquetBlocks(wanted, ["x"]).read(8, ["x"])["x"][0]
        )


def test_a_fault_in_a_row_names_its_file(shards: Path) -> None:
    text = "{source: parquet, file: part-*.parquet, memory: 1, columns: {x: {column: x}, w: {column: w}}}"
    with pytest.raises(DataError) as caught:
        opened(text, Variable("x", (WIDE,)), Variable("w", (260,)), beside=shards)
    assert (
        str(caught.value).replace(str(shards), "DIR").startswith("DIR/part-0.parquet: row 1: node 'w': found no value")
    )


# ---- the order


class Numbered(Blocks):
    """Blocks of these sizes; a row holds its id."""

    def __init__(self, *sizes: int) -> None:
        self.starts: Rows = np.cumsum([0, *sizes])
        self.files, self.owners = ["f"], np.zeros(len(sizes), dtype=np.int64)
        self.fields: Mapping[str, Field] = {"x": Field(np.dtype(np.int64))}

    def read(self, block: int, names: Collection[str]) -> Mapping[str, Cells]:
        return {"x": Cells(np.arange(self.starts[block], self.starts[block + 1]), None)}

    def digest(self) -> str:
        return ""


def store_of_sizes(*sizes: int, window: int | None, memory: int = 1 << 20, threads: int = 0) -> BlockStore:
    return BlockStore(Numbered(*sizes), ["x"], Room(memory, window, threads))


def test_a_pass_permutes_rows_within_windows_of_permuted_blocks() -> None:
    store = store_of_sizes(7, 1, 12, 5, 9, 9, 2, window=3)
    ids = np.setdiff1d(np.arange(45), [0, 7, 20, 21, 22, 23, 24])  # of a block of 1 and one of 5 none is left
    rows = np.flatnonzero(ids % 11 > 0)
    order, twin = (BlockOrder(rows, ids, store, (3, 1)) for _ in range(2))
    passes = [order.take(number, 0, len(rows)) for number in range(3)]
    for taken in passes:
        assert sorted(taken) == rows.tolist()
        blocks = store.block_of(ids[taken])
        starts = np.flatnonzero(np.diff([len(set(blocks[: i + 1])) for i in range(len(blocks))], prepend=0))
        assert len({*blocks[: starts[3]]}) == 3  # three blocks are through before a fourth begins
        assert not set(blocks[: starts[3]]) & set(blocks[starts[3] :])
    assert not np.array_equal(passes[0], passes[1])
    np.testing.assert_array_equal(twin.take(2, 11, 19), passes[2][11:19])  # whatever was taken before


def test_how_well_a_sorted_file_is_mixed() -> None:
    """Of a class with the share p, batches of B from W of K blocks of n have the share's sd of two samplings.

    It is √(p(1−p)((1 − B/(Wn))/B + (1 − (W−1)/(K−1))/W)), both without replacement; places are uniform.
    """
    blocks, size, window, batch = 200, 50, 10, 50
    store = store_of_sizes(*[size] * blocks, window=window)
    count = blocks * size
    rows = np.arange(count)
    order = BlockOrder(rows, rows, store, (0, 1))
    shares, correlations = [], []
    for number in range(20):
        taken = order.take(number, 0, count)
        shares.append((taken < count // 2).reshape(-1, batch).mean(1))
        correlations.append(np.corrcoef(taken, rows)[0, 1])
    of_rows, of_blocks = 1 - batch / (window * size), 1 - (window - 1) / (blocks - 1)
    expected = np.sqrt(0.25 * (of_rows / batch + of_blocks / window))
    assert abs(np.std(shares) / expected - 1) < 0.15  # 400 windows: 1/√800 is 0.035, and a false alarm of one in 10⁴
    assert abs(np.mean(correlations)) < 4 / np.sqrt(20 * blocks)


def test_prefetch_changes_no_bit_and_is_bounded() -> None:
    sizes = [8] * 30
    stores = [store_of_sizes(*sizes, window=4, memory=2048, threads=threads) for threads in (0, 2)]
    rows = np.arange(240)
    orders = [BlockOrder(rows, rows, store, (1, 1)) for store in stores]
    for start in range(0, 240, 6):
        taken = [order.take(0, start, start + 6) for order in orders]
        np.testing.assert_array_equal(taken[0], taken[1])
        for store in stores:
            np.testing.assert_array_equal(BlockArray(store, "x")[taken[0]], taken[0])
    assert sorted(set(stores[0].reads.values())) == [1]
    assert max(store.most for store in stores) <= 1024


# ---- training


def test_a_run_goes_on_to_the_bit_and_reads_its_window_alone(shards: Path, tmp_path: Path) -> None:
    """A resumed run reads the blocks with labels, the first one, which tells whether files changed, and its window."""
    made = changed(spec(["standardize"]), nodes__w=None, data__columns__w=None, data__labels__w=None)
    made["nodes"]["x"]["generative"]["parents"] = ["y"]
    train(made, output=tmp_path / "whole", beside=shards)
    with pytest.raises(Interrupted):
        train(made, output=tmp_path / "run", beside=shards, watcher=At(14, signal.SIGINT))
    train(made, output=tmp_path / "run", beside=shards, resume=True)
    assert finished_files(tmp_path / "run") == finished_files(tmp_path / "whole")

    loaded = sgc.load(made)
    encoders = open_data(outline(loaded), shards).encoders
    dataset = open_data(outline(loaded), shards, resumed=lambda: dict(encoders))
    store = store_in(dataset)
    streams = streams_of(loaded, TensorRows(dataset.train, outline(loaded), torch.zeros(())))
    labelled = {*store.block_of(dataset.labelled_rows["y"]).tolist()}
    assert {number for number, _ in store.reads} == labelled | {0}
    assert streams.unlabelled is not None
    taken = streams.unlabelled.take(12)
    streams.take(12)
    window = {*store.block_of(dataset.train.rows[taken]).tolist()}
    assert {number for number, _ in store.reads} == labelled | {0} | window
    assert len(window) <= store.window()
    assert {*images_read(store)} == {1}


# ---- faults


def shard(folder: Path, name: str, rows: int = 4, **columns: Any) -> None:
    table = {"image": pyarrow.array([[1.0, 2.0]] * rows), **columns}
    table = {name: column for name, column in table.items() if column is not None}
    pyarrow.parquet.write_table(pyarrow.table(table), folder / name)


def other_type(folder: Path) -> None:
    shard(folder, "a.parquet")
    shard(folder, "b.parquet", image=pyarrow.array(["x"] * 4))


def other_length(folder: Path) -> None:
    shard(folder, "a.parquet")
    shard(folder, "b.parquet", image=pyarrow.array([[1.0]] * 4))


def lacking(folder: Path) -> None:
    shard(folder, "a.parquet")
    shard(folder, "b.parquet", image=None, other=pyarrow.array([1]))


def nothing(folder: Path) -> None:
    shard(folder, "a.parquet", rows=0, image=pyarrow.array([], pyarrow.list_(pyarrow.float32())))


def short_tar(folder: Path) -> None:
    write_tar(folder)
    content = (folder / "train-1.tar").read_bytes()
    (folder / "train-1.tar").write_bytes(content[: content.rindex(b"s/005.txt") + 512 + 100])


def pickled(folder: Path) -> None:
    with tarfile.open(folder / "p.tar", "w") as archive:
        add_member(archive, "0.pyd", b"cos\nsystem\n(S'echo'\ntR.")


def other_array(folder: Path) -> None:
    with tarfile.open(folder / "p.tar", "w") as archive:
        for row, kind in enumerate(("u1", "u1", "f4")):
            content = io.BytesIO()
            np.save(content, np.ones(3, kind))
            add_member(archive, f"{row}.npy", content.getvalue())


def sparse(folder: Path) -> None:
    with tarfile.open(folder / "p.tar", "w") as archive:
        head = tarfile.TarInfo("0.cls")
        head.type, head.size = tarfile.GNUTYPE_SPARSE, 512
        archive.addfile(head, io.BytesIO(bytes(512)))


def ragged(folder: Path) -> None:
    with tarfile.open(folder / "p.tar", "w") as archive:
        add_member(archive, "0.json", b'{"a": [[1, 2], [3]]}')


def chained(folder: Path) -> None:
    head = tarfile.TarInfo("x")
    head.type, head.size = tarfile.XHDTYPE, 8
    (folder / "p.tar").write_bytes((head.tobuf(tarfile.USTAR_FORMAT) + b"8 a=bbb\n".ljust(512, b"\0")) * 3000)


FAULTS: dict[str, tuple[Callable[[Path], None], str, str, str]] = {
    "another type": (
        other_type,
        "{source: parquet, file: '*.parquet', %s}",
        "image",
        "DIR/b.parquet: column 'image': found values of the type string, wanted list<element: double>, "
        "as in DIR/a.parquet",
    ),
    "another length": (
        other_length,
        "{source: parquet, file: '*.parquet', %s}",
        "image",
        "DIR/b.parquet: row 4: column 'image': found lists of the shape [1], wanted [2], as in the rows above "
        "(row 0 of the file)",
    ),
    "a column that lacks": (
        lacking,
        "{source: parquet, file: '*.parquet', %s}",
        "image",
        "DIR/b.parquet: no column named 'image'; allowed: other",
    ),
    "no rows": (nothing, "{source: parquet, file: a.parquet, %s}", "image", "DIR/a.parquet: found no rows"),
    "a number of a set that lacks": (
        lambda folder: [shard(folder, f"p-{n}-of-3.parquet") for n in (0, 2)] and None,
        "{source: parquet, file: 'p-*.parquet', %s}",
        "image",
        "DIR/p-1-of-3.parquet: no such file: found 2 of the 3 files of its set",
    ),
    "a number of a range that lacks": (
        lambda folder: shard(folder, "p-0.parquet"),
        "{source: parquet, file: 'p-{0..1}.parquet', %s}",
        "image",
        "p-1.parquet: no such file or folder; looked in 'DIR'; SGC_DATA, the folder of data sets, is not set",
    ),
    "a range that goes down": (
        lambda folder: None,
        "{source: parquet, file: 'p-{3..1}.parquet', %s}",
        "image",
        "p-{3..1}.parquet: found the range {3..1}, wanted one that goes up",
    ),
    "braces for more names than there can be": (
        lambda folder: None,
        "{source: parquet, file: '{0..999999}{0..999999}', %s}",
        "image",
        "{0..999999}{0..999999}: braces for too many names, wanted at most 1,000,000",
    ),
    "a file that is trained on and tested": (
        lambda folder: [shard(folder, f"{name}.parquet") for name in "ab"] and None,
        "{source: parquet, files: {train: '*.parquet', test: b.parquet}, %s}",
        "image",
        "DIR/b.parquet: is in 'train' and in 'test': the test would be of rows that are trained on",
    ),
    "a table that is trained on and tested": (
        lambda folder: (folder / "a.csv").write_text("image\n1\n") and None,
        "{source: table, files: {train: a.csv, test: ./a.csv}, %s}",
        "image",
        "DIR/a.csv: is in 'train' and in 'test': the test would be of rows that are trained on",
    ),
    "a member that is sparse": (
        sparse,
        "{source: tar, file: p.tar, %s}",
        "cls",
        "DIR/p.tar: the member '0.cls' is sparse, which is not read",
    ),
    "lists of several lengths": (
        ragged,
        "{source: tar, file: p.tar, %s}",
        "json.a",
        "DIR/p.tar: row 0: column 'json.a': found lists of several lengths, wanted one length",
    ),
    "heads of heads of a tar": (
        chained,
        "{source: tar, file: p.tar, %s}",
        "cls",
        "DIR/p.tar: not a tar file, or one that is cut short or damaged: heads of heads without end",
    ),
    "a folder without any": (
        lambda folder: (folder / "d").mkdir(),
        "{source: parquet, file: d, %s}",
        "image",
        "DIR/d: found no files that end in .parquet or .pq in the folder",
    ),
    "a tar that is cut short": (
        short_tar,
        "{source: tar, mode: grey, file: 'train-*.tar', %s}",
        "png",
        "DIR/train-1.tar: not a tar file, or one that is cut short or damaged: unexpected end of data",
    ),
    "arrays of another type": (
        other_array,
        "{source: tar, file: p.tar, %s}",
        "npy",
        "DIR/p.tar: row 0: column 'npy': found numbers of the type float32, wanted numbers of the type uint8, as in "
        "the samples before",
    ),
    "pictures of an unsaid mode": (
        write_tar,
        "{source: tar, file: 'train-*.tar', %s}",
        "png",
        "column 'png' has pictures: say with 'mode: grey' or 'mode: colour' how they are read",
    ),
    "a pickle": (
        pickled,
        "{source: tar, file: p.tar, %s}",
        "pyd",
        "column 'pyd': members that end in .pyd are not read: pickles are never loaded, since loading one can run "
        "code; wanted pictures (png, jpg, …), npy, json, json.KEY, cls, txt",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_in_words(name: str, tmp_path: Path) -> None:
    write, text, column, message = FAULTS[name]
    write(tmp_path)
    assert fails(text, tmp_path, column) == message


def test_a_column_that_is_rarely_filled_has_the_shape_of_its_first_value(tmp_path: Path) -> None:
    rows: list[list[float] | None] = [None] * 99 + [[1.0, 2.0]]
    shard(tmp_path, "a.parquet", image=pyarrow.array(rows))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for row, own in enumerate(rows):  # of those without it, half have no such key
            add_member(archive, f"{row:03}.json", json.dumps({"a": own} if own or row % 2 else {}).encode())
    for source, column in (("parquet", "image"), ("tar", "json.a")):
        text = f"{{source: {source}, file: a.{source}, columns: {{x: {{column: {column}}}}}}}"
        read = section(text).read(tmp_path, [column]).train[column]
        np.testing.assert_array_equal(read.values[-1], [1, 2])
        assert np.flatnonzero(~np.isnan(read.values[:, 0])).tolist() == [99]


def test_a_name_means_the_file_that_has_it(tmp_path: Path) -> None:
    folder = tmp_path / "fold-1-of-5"  # a number of its own, which is not that of its files
    folder.mkdir()
    shard(folder, "a[1].parquet")
    for names in (["fold-1-of-5/a[1].parquet"], ["fold-1-of-5"], ["fold-1-of-5/*.parquet"]):
        assert [Path(found.name).name for found in find_shards(names, "", tmp_path, [".parquet"])] == ["a[1].parquet"]
    shard(tmp_path, "b[1]-1-of-2.parquet")  # of new rows one file is enough
    source = section("{source: parquet, file: x, columns: {x: {column: image}}}")
    assert isinstance(source, ShardSource)
    assert len(source.read_file(tmp_path / "b[1]-1-of-2.parquet", ["image"])["image"]) == 4


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("s3://key:secret@bucket/x.parquet", "credentials never stand in a spec"),
        ("ftp://host/x.parquet", "an address that begins with s3://"),
        ("simplecache::s3://bucket/x", "an address that begins with s3://"),
    ],
)
def test_addresses_that_are_refused(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        section("{source: parquet, file: '%s', columns: {x: {column: x}}}" % name)  # noqa: UP031


def test_a_window_that_does_not_fit(shards: Path) -> None:
    blocks = ParquetBlocks(find_shards([str(shards)], "", Path(), [".parquet"]), ["x"])
    for room, words in (
        (Room(1 << 20, window=64), "data.window is 64 blocks of up to 1 MiB, and half of data.memory holds 12: give"),
        (Room(50_000), "a block of 20 rows takes 1 MiB, and half of data.memory, for blocks, is 1 MiB: write smaller"),
    ):
        store = store_of(block_columns(blocks, ["x"], room, marks=None)["x"])
        assert store is not None
        with pytest.raises(DataError, match=words):
            store.window()


def test_hub_datasets(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="sgc[datasets], which brings many packages")
    from PIL import Image

    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 256, (9, 6, 7), dtype=np.uint8)
    features = {"image": datasets.Image(), "y": datasets.ClassLabel(names=["a", "b"])}
    rows = {"image": [Image.fromarray(each) for each in pictures], "y": [0, 1, 1, 0, 0, 1, None, 1, 0]}
    saved = datasets.Dataset.from_dict(rows, features=datasets.Features(features))
    datasets.DatasetDict({"train": saved}).save_to_disk(str(tmp_path / "saved"))
    text = "{source: datasets, dataset: saved, mode: grey, columns: {x: {column: image}}}"
    found = section(text).read(tmp_path, ["image", "y"]).train
    np.testing.assert_array_equal(found["image"].values, pictures[:, None])
    assert found["y"].missing is not None
    assert np.flatnonzero(found["y"].missing).tolist() == [6]
