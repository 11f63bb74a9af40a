"""Every source on small files in its true format: values, types, order and gaps as written, and its damaged twins."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import scipy.io
from data_files import idx_bytes, section
from PIL import Image
from sklearn.datasets import load_digits

from sgc.data.columns import SourceColumn
from sgc.data.sources.source_section import SOURCES
from sgc.errors import DataError

DRAW = np.random.default_rng(7)
PARTS = {"train": 6, "test": 3}
GREY = {part: DRAW.integers(0, 256, (size, 4, 5), dtype=np.uint8) for part, size in PARTS.items()}
COLOUR = {part: DRAW.integers(0, 256, (size, 3, 4, 5), dtype=np.uint8) for part, size in PARTS.items()}
LABELS = {"train": np.array([2, 0, 1, 1, 0, 2]), "test": np.array([1, 0, 2])}
NAMES = {part: np.array(["ab", "b", "ccc"])[labels] for part, labels in LABELS.items()}
HEIGHTS = {"train": [1.5, -2, None, 4e-3, 5, 6], "test": [7.0, 8, 9]}
COLUMNS = "columns: {x: {column: image}}"


@dataclass(frozen=True)
class Case:
    """A section, what writes its files into a folder, and the columns that they hold, by part.

    `victim` is the file that the damaged twins have damaged; `gaps` are the rows of the training part that lack a cell.
    """

    text: str
    write: Callable[[Path], None]
    columns: Mapping[str, Mapping[str, Any]]
    victim: str = ""
    dtypes: Mapping[str, str] = field(default_factory=dict)
    gaps: Mapping[str, list[int]] = field(default_factory=dict)


def write_idx(folder: Path, zipped: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part, name in (("train", "train"), ("test", "t10k")):
        for kind, array in (("images-idx3", GREY[part]), ("labels-idx1", LABELS[part].astype(np.uint8))):
            content = idx_bytes(array)
            path = folder / f"{name}-{kind}-ubyte{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(content) if zipped else content)


def write_npz(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        np.savez(folder / f"{part}.npz", image=GREY[part], label=LABELS[part], name=NAMES[part])


def write_mat(folder: Path, name: str = "{}.mat") -> None:
    """Write SVHN's layout: the rows last, the labels upright, a row of numbers, and words."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        pictures = COLOUR[part].transpose(2, 3, 1, 0)
        arrays = {"X": pictures, "y": LABELS[part][:, None] + 1.0, "flat": LABELS[part][None], "name": NAMES[part]}
        arrays["d"] = GREY[part].reshape(-1, 20).astype(np.float32)
        scipy.io.savemat(folder / name.format(part), arrays, do_compression=True)


def write_csv(folder: Path) -> None:
    for part in PARTS:
        rows = zip(NAMES[part], HEIGHTS[part], strict=True)
        lines = "".join(f"{name};{'NA' if height is None else height}\n" for name, height in rows)
        (folder / f"{part}.csv").write_text("name;height\n" + lines)


def write_parquet(folder: Path) -> None:
    for part in PARTS:
        flat = GREY[part].reshape(len(GREY[part]), -1)
        table = {
            "name": pyarrow.array([None if each == "ccc" else str(each) for each in NAMES[part]]),
            "height": pyarrow.array(HEIGHTS[part], pyarrow.float32()),
            "whole": pyarrow.array([None if each == 2 else int(each) for each in LABELS[part]], pyarrow.int16()),
            "yes": pyarrow.array([bool(each) for each in LABELS[part]]),
            "kind": pyarrow.array(list(NAMES[part])).dictionary_encode(),
            "vector": pyarrow.array(flat.tolist(), pyarrow.list_(pyarrow.uint8())),
            "picture": pyarrow.array(GREY[part].tolist(), pyarrow.list_(pyarrow.list_(pyarrow.uint8(), 5))),
        }
        pyarrow.parquet.write_table(pyarrow.table(table), folder / f"{part}.parquet", row_group_size=2)


def add_member(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    head = tarfile.TarInfo(name)
    head.size = len(content)
    archive.addfile(head, io.BytesIO(content))


def write_tar(folder: Path, rows: int = 3) -> None:
    """Write samples of a picture, an array, a class, words and JSON, so many to a file; the third has no height."""
    for part in PARTS:
        for start in range(0, PARTS[part], rows):
            with tarfile.open(folder / f"{part}-{start // rows}.tar", "w") as archive:
                for row in range(start, min(start + rows, PARTS[part])):
                    picture, vector = io.BytesIO(), io.BytesIO()
                    Image.fromarray(GREY[part][row]).save(picture, "png")
                    np.save(vector, GREY[part][row].reshape(-1))
                    words = {"height": HEIGHTS[part][row], "kind": str(NAMES[part][row])}
                    add_member(archive, f"s/{row:03d}.png", picture.getvalue())
                    add_member(archive, f"s/{row:03d}.v.npy", vector.getvalue())
                    add_member(archive, f"s/{row:03d}.json", json.dumps(words).encode())
                    add_member(archive, f"s/{row:03d}.txt", f"{NAMES[part][row]}\n".encode())
                    if LABELS[part][row] != 2:
                        add_member(archive, f"s/{row:03d}.cls", str(LABELS[part][row]).encode())


def save(path: Path, picture: np.ndarray) -> None:
    """Write a picture `(H, W)` or `(3, H, W)`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture if picture.ndim == 2 else np.ascontiguousarray(picture.transpose(1, 2, 0))).save(path)


def write_classes(folder: Path) -> None:
    """Write pictures into folders of their labels, out of order, beside what is none."""
    for part in PARTS:
        order = np.argsort(NAMES[part], kind="stable")
        for row in reversed(range(len(order))):
            save(folder / part / str(NAMES[part][order[row]]) / f"{row:02d}.png", COLOUR[part][order[row]])
    (folder / "train" / "ab" / "README.txt").write_text("no picture")
    (folder / "train" / ".thumbs").mkdir()
    save(folder / "train" / ".thumbs" / "0.png", GREY["train"][0])


def by_class(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {part: arrays[part][np.argsort(NAMES[part], kind="stable")] for part in PARTS}


def class_paths(part: str) -> np.ndarray:
    names = np.sort(NAMES[part])
    return np.array([f"{name}/{row:02d}.png" for row, name in enumerate(names)])


def write_flat(folder: Path) -> None:
    for part in PARTS:
        for row in range(len(GREY[part])):
            save(folder / "root" / part / f"{row}.{'bmp' if row % 2 else 'PNG'}", GREY[part][row])


def write_listed(folder: Path) -> None:
    for part in PARTS:
        lines = ["scan,name"]
        for row in reversed(range(len(GREY[part]))):
            save(folder / "scans" / part / f"{row}.tif", GREY[part][row])
            lines.append(f"scans/{part}/{row}.tif,{'' if NAMES[part][row] == 'ccc' else NAMES[part][row]}")
        (folder / f"{part}.csv").write_text("\n".join(lines))


def write_own(folder: Path) -> None:
    write_npz(folder)
    module = f"readers_{abs(hash(folder))}"
    (folder / "module.txt").write_text(module)
    (folder / f"{module}.py").write_text(
        "import numpy as np, pathlib\n"
        "class Rows:\n"
        "    def __init__(self, names):\n        self.names = names\n"
        "    def read(self, columns):\n"
        "        here = pathlib.Path(__file__).parent\n"
        "        return tuple(dict(np.load(here / f'{name}.npz')) for name in self.names)\n"
    )


def reverse(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {part: array[::-1] for part, array in arrays.items()}


def lacking(names: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {part: np.where(array == "ccc", "", array) for part, array in names.items()}


def channels(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {part: array[:, None] for part, array in arrays.items()}


IDX = {"image": GREY, "label": LABELS}
HOLES = {part: [0 if each is None else each for each in heights] for part, heights in HEIGHTS.items()}
TEXT_HEIGHTS = {part: ["NA" if each is None else str(each) for each in heights] for part, heights in HEIGHTS.items()}
SVHN = {"X": COLOUR, "y": {part: labels + 1 for part, labels in LABELS.items()}}
MORE = {"flat": LABELS, "name": NAMES, "d": {part: grey.reshape(-1, 20) for part, grey in GREY.items()}}
PARQUET = {
    "name": lacking(NAMES),
    "height": HOLES,
    "whole": {part: np.where(labels == 2, 0, labels) for part, labels in LABELS.items()},
    "yes": {part: labels > 0 for part, labels in LABELS.items()},
    "kind": NAMES,
    "vector": {part: grey.reshape(-1, 20) for part, grey in GREY.items()},
    "picture": GREY,
}
LISTED = {"image": channels(reverse(GREY)), "name": reverse(lacking(NAMES))}
CASES: dict[str, Case] = {
    "idx": Case("{source: idx, root: d, %s}", lambda f: write_idx(f / "d"), IDX, "d/train-images-idx3-ubyte.gz"),
    "npz": Case(
        "{source: npz, files: {train: train.npz, test: test.npz}, %s}",
        write_npz,
        {**IDX, "name": NAMES},
        "train.npz",
    ),
    "mat": Case(
        "{source: mat, files: {train: train.mat, test: test.mat}, %s}",
        write_mat,
        {**SVHN, **MORE},
        "train.mat",
        {"X": "uint8", "d": "float32"},
    ),
    "table": Case(
        "{source: table, files: {train: train.csv, test: test.csv}, separator: ';', missing_values: [NA], %s}",
        write_csv,
        {"name": NAMES, "height": TEXT_HEIGHTS},
        gaps={"height": [2]},
    ),
    "table of parquet": Case(
        "{source: table, files: {train: train.parquet, test: test.parquet}, %s}",
        write_parquet,
        PARQUET,
        "train.parquet",
        {"height": "float32", "whole": "int16", "yes": "bool", "vector": "uint8", "picture": "uint8"},
        {"name": [0, 5], "height": [2], "whole": [0, 5]},
    ),
    "parquet": Case(
        "{source: parquet, files: {train: train*.parquet, test: [test.parquet]}, %s}",
        write_parquet,
        {**PARQUET, "height": {part: np.array(heights, dtype=float) for part, heights in HEIGHTS.items()}},
        "train.parquet",
        {"height": "float32", "whole": "int16", "yes": "bool", "vector": "uint8", "picture": "uint8"},
        {"name": [0, 5], "whole": [0, 5]},
    ),
    "tar": Case(
        "{source: tar, mode: grey, files: {train: 'train-{0..1}.tar', test: test-*.tar}, %s}",
        write_tar,
        {
            "png": channels(GREY),
            "v.npy": PARQUET["vector"],
            "cls": PARQUET["whole"],
            "txt": NAMES,
            "json.kind": NAMES,
            "json.height": {part: np.array(heights, dtype=float) for part, heights in HEIGHTS.items()},
            "__key__": {part: np.array([f"s/{row:03d}" for row in range(size)]) for part, size in PARTS.items()},
        },
        "train-1.tar",
        {"png": "uint8", "v.npy": "uint8", "json.height": "float64"},
        {"cls": [0, 5]},
    ),
    "images in folders of their labels": Case(
        "{source: images, mode: colour, files: {train: train, test: test}, %s}",
        write_classes,
        {"image": by_class(COLOUR), "label": by_class(NAMES), "path": {part: class_paths(part) for part in PARTS}},
        "train/b/02.png",
        {"image": "uint8"},
    ),
    "images in a folder": Case(
        "{source: images, mode: grey, root: root, files: {train: train, test: test}, %s}",
        write_flat,
        {"image": channels(GREY)},
        "root/train/2.PNG",
        {"image": "uint8"},
    ),
    "images of a table": Case(
        "{source: images, mode: grey, path: scan, files: {train: train.csv, test: test.csv}, %s}",
        write_listed,
        LISTED,
        "scans/train/3.tif",
        {"image": "uint8"},
        {"name": [0, 5]},
    ),
    "mnist": Case("{source: mnist, %s}", lambda f: write_idx(f / "mnist"), IDX, "mnist/train-labels-idx1-ubyte.gz"),
    "fashion-mnist": Case(
        "{source: fashion-mnist, %s}",
        lambda f: write_idx(f / "fashion-mnist", zipped=False),
        IDX,
        "fashion-mnist/train-images-idx3-ubyte",
    ),
    "svhn": Case("{source: svhn, %s}", lambda f: write_mat(f / "svhn", "{}_32x32.mat"), SVHN, "svhn/train_32x32.mat"),
    "multi-mnist": Case(
        "{source: multi-mnist, %s}", lambda f: write_npz(f / "multi-mnist"), IDX, "multi-mnist/test.npz"
    ),
    "python": Case(
        "{source: python, python: MODULE:Rows, options: {names: [train, test]}, %s}", write_own, {**IDX, "name": NAMES}
    ),
}
DAMAGED = [name for name, case in CASES.items() if case.victim]


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SGC_DATA", raising=False)
    monkeypatch.setenv("SGC_CACHE", str(tmp_path / "cache"))


def source(text: str, folder: Path) -> Any:
    """Read a section as it stands in a folder, trusted."""
    module = folder / "module.txt"
    text = text.replace("MODULE", module.read_text()) if module.exists() else text
    return section(text.replace("%s", COLUMNS)).standing_in(folder, trusted=True)


def fails(text: str, folder: Path, *columns: str) -> str:
    with pytest.raises(DataError) as caught:
        source(text, folder).read(folder, columns or ["image"])
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(folder), "DIR")


def missing_rows(column: SourceColumn) -> list[int]:
    return [] if column.missing is None else np.flatnonzero(column.missing).tolist()


def test_every_source_has_a_case() -> None:
    # those of packages that bring many are tried in files of their own: `test_hub_datasets`, `test_cells`
    others = {"digits", "datasets", "h5ad"}
    assert {case.split(" ")[0] for case in CASES} | others == set(SOURCES)


def test_digits() -> None:
    opened = section("{source: digits, %s}".replace("%s", COLUMNS)).read(Path(), ["label", "image"])
    known = load_digits()
    np.testing.assert_array_equal(opened.train["image"].values, known.images)
    np.testing.assert_array_equal(opened.train["label"].values, known.target)


@pytest.mark.parametrize("name", CASES)
def test_a_source_gives_what_its_files_hold(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    case.write(tmp_path)
    opened = source(case.text, tmp_path).read(tmp_path, list(case.columns))
    for part, columns in (("train", opened.train), ("test", opened.test)):
        assert set(columns) == set(case.columns)
        for column, expected in case.columns.items():
            found = columns[column]
            np.testing.assert_array_equal(found.values, np.asarray(expected[part], dtype=found.values.dtype))
            assert len(found) == PARTS[part]
            if column in case.dtypes:
                assert found.values.dtype == np.dtype(case.dtypes[column])
            if part == "train":
                assert missing_rows(found) == case.gaps.get(column, [])
            rows = np.array([2, 0])
            np.testing.assert_array_equal(
                found.values[rows], np.asarray(expected[part])[rows].astype(found.values.dtype)
            )


@pytest.mark.parametrize("name", CASES)
def test_a_single_column_is_the_same_as_among_others(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    case.write(tmp_path)
    whole = source(case.text, tmp_path).read(tmp_path, list(case.columns)).train
    for column in case.columns:
        alone = source(case.text, tmp_path).read(tmp_path, [column]).train
        assert list(alone) == [column]
        np.testing.assert_array_equal(alone[column].values, whole[column].values)


@pytest.mark.parametrize("name", CASES)
def test_an_unknown_column_is_told_with_those_that_there_are(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    case.write(tmp_path)
    near = max(case.columns, key=len)
    message = fails(case.text, tmp_path, near + "e" if len(near) > 1 else "zz")
    assert "no column named '" in message
    assert f"'{near}'" in message or near in message.partition("allowed: ")[2]


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("damage", ["half", "empty", "other"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, damage: str) -> None:
    case = CASES[name]
    case.write(tmp_path)
    victim = tmp_path / case.victim
    content = victim.read_bytes()
    half = content[: len(content) // 2]
    victim.write_bytes({"half": half, "empty": b"", "other": b"\x93something else \xff\xfe" * 40}[damage])
    assert fails(case.text, tmp_path, *case.columns).startswith(f"DIR/{case.victim}: ")


@pytest.mark.parametrize("name", DAMAGED)
def test_whatever_is_damaged_raises_nothing_but_data_errors(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    case.write(tmp_path)
    victim = tmp_path / case.victim
    content = victim.read_bytes()
    draw = np.random.default_rng(5)
    for _ in range(25):
        damaged = bytearray(content)
        for at in draw.integers(0, len(content), 3):
            damaged[at] = draw.integers(0, 256)
        victim.write_bytes(bytes(damaged[: draw.integers(1, 2 * len(content))]))
        with contextlib.suppress(DataError):
            source(case.text, tmp_path).read(tmp_path, list(case.columns))


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("python", "table", "table of parquet")])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    case.write(tmp_path)
    (tmp_path / case.victim).unlink()
    if "folder" in name:  # a folder has what it has
        assert len(source(case.text, tmp_path).read(tmp_path, ["image"]).train["image"]) == PARTS["train"] - 1
    elif SOURCES[name.split(" ")[0]].__mro__[1].__name__.startswith("Fetched"):
        monkeypatch.setattr("sgc.data.sources.fetched_sources.PUBLISHED", {name: _unreachable(name)})
        assert Path(case.victim).name.removesuffix(".gz") in fails(case.text, tmp_path, *case.columns)
    else:
        assert "no such file" in fails(case.text, tmp_path, *case.columns)


def _unreachable(name: str) -> Any:
    from dataclasses import replace

    from sgc.data.sources.fetched_sources import PUBLISHED

    return replace(PUBLISHED[name], addresses=("http://127.0.0.1:9/",))
