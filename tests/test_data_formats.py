"""Files in their true formats, and their damaged twins, of which each ends in a message that names file and row."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from data_files import CLASS, IMAGE, idx_bytes, opened, section, write_mnist

from sgc.data.dataset import DataSet
from sgc.data.idx import read_idx
from sgc.data.new_rows import read_rows
from sgc.data.variables import Variable
from sgc.distributions.supports import SUPPORTS
from sgc.errors import DataError

MNIST = "{source: idx, root: mnist, columns: {x: {column: image, transforms: [{divide: 255}]}, y: {column: label}}}"
NPZ = "{source: npz, file: d.npz, columns: {x: {column: image, transforms: [{divide: 255}]}, y: {column: label}}}"
TABLE = "{source: table, file: d.csv, missing_values: ['', '?'], columns: {v: {column: [a, b]}, c: {column: kind}}}"
VECTOR = Variable("v", (2,))
KIND = Variable("c", (), 2, ("good", "bad"), supervision="partial")


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SGC_DATA", raising=False)


def fails(text: str, *variables: Variable, beside: Path) -> str:
    with pytest.raises(DataError) as caught:
        opened(text, *variables, beside=beside)
    return str(caught.value).replace(str(beside), "DIR")


# IDX


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("zipped", [True, False])
def test_idx_of_each_type_reads_back(tmp_path: Path, dtype: str, zipped: bool) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    content = idx_bytes(array)
    path = tmp_path / "a-ubyte"
    path.write_bytes(gzip.compress(content) if zipped else content)
    read = read_idx(path)
    assert read.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(read, array)


@pytest.mark.parametrize("zipped", [True, False])
def test_idx_data_sets_open_with_their_own_test_part(tmp_path: Path, zipped: bool) -> None:
    write_mnist(tmp_path / "mnist", zipped=zipped)
    data = opened(MNIST, IMAGE, CLASS, beside=tmp_path)
    assert (len(data.train), len(data.validation), len(data.test)) == (60, 0, 20)
    assert data.train.values["x"].shape == (60, 1, 4, 4)
    assert data.train.values["x"].dtype == np.float32
    np.testing.assert_array_equal(data.test.values["y"], np.arange(20) % 10)
    assert data.test.values["y"].dtype == np.int64
    np.testing.assert_array_equal(data.test.rows, np.arange(20))


def test_the_data_folder_goes_before_the_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path / "data" / "mnist", train=30)
    write_mnist(tmp_path / "specs" / "mnist", train=50)
    assert len(opened(MNIST, IMAGE, CLASS, beside=tmp_path / "specs").train) == 50
    monkeypatch.setenv("SGC_DATA", str(tmp_path / "data"))
    assert len(opened(MNIST, IMAGE, CLASS, beside=tmp_path / "specs").train) == 30
    absolute = MNIST.replace("root: mnist", f"root: '{tmp_path / 'specs' / 'mnist'}'")
    assert len(opened(absolute, IMAGE, CLASS, beside=tmp_path).train) == 50


def test_idx_files_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "letters").write_bytes(idx_bytes(np.zeros((3, 4, 4), dtype=np.uint8)))
    text = "{source: idx, files: {train: {picture: letters}}, columns: {x: {column: picture}}}"
    assert len(opened(text, IMAGE, beside=tmp_path).train) == 3


def test_idx_truncated_gzip(tmp_path: Path) -> None:
    write_mnist(tmp_path / "mnist")
    path = tmp_path / "mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-200])
    assert fails(MNIST, IMAGE, CLASS, beside=tmp_path) == (
        "DIR/mnist/train-images-idx3-ubyte.gz: the gzip file is cut short or damaged: fetch it again"
    )


def test_idx_damaged_gzip(tmp_path: Path) -> None:
    write_mnist(tmp_path / "mnist")
    path = tmp_path / "mnist" / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[100:140] = bytes(40)
    path.write_bytes(bytes(content))
    message = fails(MNIST, IMAGE, CLASS, beside=tmp_path)
    assert message == "DIR/mnist/train-images-idx3-ubyte.gz: the gzip file is cut short or damaged: fetch it again"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file: found the magic number of an empty file, "),
        (b"PNG\x01" + bytes(9), "not an IDX file: found the magic number 504e4701, "),
        (b"\0\0\x07\x01" + bytes(9), "not an IDX file: found the magic number 00000701, "),
    ],
)
def test_idx_wrong_magic(tmp_path: Path, content: bytes, message: str) -> None:
    write_mnist(tmp_path / "mnist", zipped=False)
    (tmp_path / "mnist" / "train-labels-idx1-ubyte").write_bytes(content)
    assert fails(MNIST, IMAGE, CLASS, beside=tmp_path) == (
        f"DIR/mnist/train-labels-idx1-ubyte: {message}wanted 0000, a type from 08 to 0e and the number of axes"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (struct.pack(">BBBBI", 0, 0, 8, 3, 5), "cut short in its header: found 4 bytes of sizes, wanted 12"),
        (
            struct.pack(">BBBBI", 0, 0, 8, 1, 9) + bytes(4),
            "wrong length: the header says 9, 9 bytes of data; found only 4",
        ),
        (
            struct.pack(">BBBBI", 0, 0, 8, 1, 2) + bytes(4),
            "wrong length: the header says 2, 2 bytes of data; found more",
        ),
        (
            struct.pack(">BBBBIII", 0, 0, 14, 3, 2**31, 2**31, 2**31) + bytes(4),
            "wrong length: the header says 2147483648 × 2147483648 × 2147483648, "
            "79228162514264337593543950336 bytes of data; found only 4",
        ),
    ],
)
def test_idx_wrong_length(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a-ubyte").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_idx(tmp_path / "a-ubyte")
    assert str(caught.value) == f"{tmp_path / 'a-ubyte'}: {message}"


def test_idx_images_and_labels_of_different_lengths(tmp_path: Path) -> None:
    write_mnist(tmp_path / "mnist", zipped=False)
    (tmp_path / "mnist" / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(59, dtype=np.uint8)))
    assert fails(MNIST, IMAGE, CLASS, beside=tmp_path) == (
        "DIR/mnist/train-labels-idx1-ubyte: column 'label': found 59 rows, wanted 60, "
        "as in column 'image' of DIR/mnist/train-images-idx3-ubyte"
    )


def test_missing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fails(MNIST, IMAGE, CLASS, beside=tmp_path) == (
        "mnist/train-images-idx3-ubyte: no such file; looked in 'DIR/mnist'; "
        "SGC_DATA, the folder of data sets, is not set"
    )
    monkeypatch.setenv("SGC_DATA", "elsewhere")
    assert fails(MNIST, IMAGE, CLASS, beside=tmp_path) == (
        "mnist/train-images-idx3-ubyte: no such file; looked in 'elsewhere/mnist' and 'DIR/mnist'"
    )


def test_unknown_column_of_idx(tmp_path: Path) -> None:
    text = "{source: idx, root: mnist, columns: {x: {column: imago}}}"
    assert fails(text, IMAGE, beside=tmp_path) == "mnist: no column named 'imago'; did you mean 'image'?"


# npz


def save(path: Path, **arrays: object) -> None:
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def test_npz_opens(tmp_path: Path) -> None:
    save(tmp_path / "d.npz", image=np.full((7, 4, 4), 51, dtype=np.uint8), label=np.arange(7))
    data = opened(NPZ, IMAGE, CLASS, beside=tmp_path)
    np.testing.assert_allclose(data.train.values["x"], 0.2)
    assert len(data.train) == 7


def test_npz_of_two_files(tmp_path: Path) -> None:
    save(tmp_path / "a.npz", image=np.zeros((7, 4, 4)))
    save(tmp_path / "b.npz", image=np.zeros((3, 4, 4)))
    text = "{source: npz, files: {train: a.npz, test: b.npz}, columns: {x: {column: image}}}"
    data = opened(text, IMAGE, beside=tmp_path)
    assert (len(data.train), len(data.test)) == (7, 3)


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return (Path.touch, (Path("sprung"),))  # type: ignore[return-value]


def test_npz_of_python_objects_is_never_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "d.npz", image=np.zeros((1, 4, 4)), label=np.array([Trap()], dtype=object))
    assert fails(NPZ, IMAGE, CLASS, beside=tmp_path) == (
        "DIR/d.npz: column 'label': found Python objects, which are never loaded, since loading one can run code: "
        "save it as numbers or text"
    )
    assert not (tmp_path / "sprung").exists()


def test_npz_cut_short(tmp_path: Path) -> None:
    save(tmp_path / "d.npz", image=np.random.default_rng(0).random((9, 4, 4)), label=np.arange(9))
    content = (tmp_path / "d.npz").read_bytes()
    (tmp_path / "d.npz").write_bytes(content[: len(content) // 2])
    assert fails(NPZ, IMAGE, CLASS, beside=tmp_path) == "DIR/d.npz: not an npz archive, or one that is cut short"


def test_npz_damaged_inside(tmp_path: Path) -> None:
    save(tmp_path / "d.npz", image=np.random.default_rng(0).random((9, 4, 4)), label=np.arange(9))
    content = bytearray((tmp_path / "d.npz").read_bytes())
    content[300:400] = bytes(100)
    (tmp_path / "d.npz").write_bytes(bytes(content))
    message = fails(NPZ, IMAGE, CLASS, beside=tmp_path)
    assert message == "DIR/d.npz: column 'image': the array is cut short or damaged: fetch it again"


def test_npz_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "d.npz").write_text("hello")
    assert fails(NPZ, IMAGE, CLASS, beside=tmp_path) == "DIR/d.npz: not an npz archive, or one that is cut short"
    with open(tmp_path / "d.npz", "wb") as file:
        np.save(file, np.zeros(3))
    message = fails(NPZ, IMAGE, CLASS, beside=tmp_path)
    assert message == "DIR/d.npz: found a single array (.npy), wanted an npz archive of named arrays"


def test_npz_without_the_column(tmp_path: Path) -> None:
    save(tmp_path / "d.npz", image=np.zeros((1, 4, 4)), labels=np.arange(1))
    assert fails(NPZ, IMAGE, CLASS, beside=tmp_path) == "DIR/d.npz: no column named 'label'; did you mean 'labels'?"


# tables


def test_table_opens_with_lists_names_and_empty_cells(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(
        '\ufeffkind, a,b,note\ngood,1,2.5,"x, y"\n\n?, 3,-4e1,\nbad,5,6,z\n', encoding="utf-8"
    )
    data = opened(TABLE, VECTOR, KIND, beside=tmp_path)
    np.testing.assert_array_equal(data.train.values["v"], np.float32([[1, 2.5], [3, -40], [5, 6]]))
    np.testing.assert_array_equal(data.train.values["c"], [0, -1, 1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "DIR/d.csv: no column named 'a'; there are none"),
        ("a,b,kind\n", "DIR/d.csv: found no rows"),
        ("a,b\n1,2\n", "DIR/d.csv: no column named 'kind'; allowed: a, b"),
        ("a,b,kind,a\n1,2,good,3\n", "DIR/d.csv: found 2 columns named 'a', wanted one"),
        (
            "a,b,kind\n1,2,good\n1,2\n",
            "DIR/d.csv: row 1: found 2 cells, wanted 3, as in the header (line 3 of the file)",
        ),
        (
            "a,b,kind\n1,2,good\n\n1,two,bad\n",
            "DIR/d.csv: row 1: node 'v', column 'b': found 'two', wanted a number; "
            "is it a mark for an empty cell (missing_values)? (line 4 of the file)",
        ),
        (
            "a,b,kind\n1,?,good\n",
            "DIR/d.csv: row 0: node 'v', column 'b': found no value (NaN or empty): "
            "a node with supervision 'full' has a value in every row; "
            "with 'supervision: partial' and 'missing: drop' cells may be empty (line 2 of the file)",
        ),
        (
            "a,b,kind\n1,2,good\n3,4,ugly\n",
            "DIR/d.csv: row 1: node 'c', column 'kind': found 'ugly', wanted one of 'good', 'bad', "
            "or -1 where it is missing (line 3 of the file)",
        ),
        ('a,b,kind\n1,2,"good\n', "DIR/d.csv: not a csv file: unexpected end of data"),
    ],
)
def test_a_damaged_table(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "d.csv").write_text(text)
    assert fails(TABLE, VECTOR, KIND, beside=tmp_path) == message


def test_a_table_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_bytes("a,b,kind\n1,2,gééd\n".encode("latin-1"))
    message = fails(TABLE, VECTOR, KIND, beside=tmp_path)
    assert message == "DIR/d.csv: not a text file in UTF-8: invalid continuation byte at byte 14"


def test_a_zipped_table_cut_short(tmp_path: Path) -> None:
    rows = "".join(f"{each},{each * each},good\n" for each in range(1000))
    zipped = gzip.compress(("a,b,kind\n" + rows).encode())
    (tmp_path / "d.csv").write_bytes(zipped)
    assert len(opened(TABLE, VECTOR, KIND, beside=tmp_path).train) == 1000
    (tmp_path / "d.csv").write_bytes(zipped[:-20])
    message = fails(TABLE, VECTOR, KIND, beside=tmp_path)
    assert message == "DIR/d.csv: the gzip file is cut short or damaged: fetch it again"


# digits


def test_digits_open() -> None:
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    text = "{columns: {x: {column: image, transforms: [{divide: 16}]}, y: {column: label}}, split: {test: 0.2}}"
    image = Variable("x", (8, 8), support=SUPPORTS["grey"])
    data = opened(text, image, CLASS)
    assert len(data.train) + len(data.test) == 1797
    assert data.train.values["x"].max() == 1


def test_digits_without_scikit_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sklearn", "sklearn.datasets"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    message = fails("{columns: {x: {column: image}}}", IMAGE, beside=tmp_path)
    assert message == "the source 'digits' needs scikit-learn: pip install 'sgc[digits]'"


# rows to predict


@pytest.fixture
def trained(tmp_path: Path) -> DataSet:
    write_mnist(tmp_path / "mnist")
    return opened(MNIST, IMAGE, CLASS, beside=tmp_path)


def predict(trained: DataSet, path: Path) -> tuple[np.ndarray, np.ndarray]:
    rows = read_rows(section(MNIST), {"x": IMAGE, "y": CLASS}, trained.encoders, path).rows
    return rows.values["x"], rows.values["y"]


def test_new_rows_come_from_npz_or_idx(trained: DataSet, tmp_path: Path) -> None:
    images = np.full((3, 4, 4), 51, dtype=np.uint8)
    save(tmp_path / "bare.npz", image=images)
    save(tmp_path / "labelled.npz", image=images, label=np.array([1, -1, 3]))
    (tmp_path / "new-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
    for name, labels in (("bare.npz", [-1] * 3), ("labelled.npz", [1, -1, 3]), ("new-idx3-ubyte.gz", [-1] * 3)):
        x, y = predict(trained, tmp_path / name)
        np.testing.assert_allclose(x, np.full((3, 1, 4, 4), 0.2, dtype=np.float32))
        np.testing.assert_array_equal(y, labels)


def test_new_rows_come_from_csv(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("a,b,kind\n1,2,good\n3,4,bad\n")
    run = opened(TABLE, VECTOR, KIND, beside=tmp_path)
    (tmp_path / "new.csv").write_text("b,a\n7,8\n")
    rows = read_rows(section(TABLE), {"v": VECTOR, "c": KIND}, run.encoders, tmp_path / "new.csv").rows
    np.testing.assert_array_equal(rows.values["v"], [[8, 7]])
    np.testing.assert_array_equal(rows.values["c"], [-1])


def test_new_rows_are_checked_alike(trained: DataSet, tmp_path: Path) -> None:
    cases = {
        "gone.npz": "no such file",
        "a.txt": (
            "cannot tell the format of 'a.txt': wanted .npz, .mat, .csv, .parquet, .h5ad, or an IDX file "
            "(…-ubyte, .idx)"
        ),
        "pictures": "is a folder: a run on 'source: images' reads one of pictures",
        "a.npz": "no column named 'image'; allowed: picture",
        "b.npz": "row 1: node 'y', column 'label': found 12, wanted a category from 0 to 9, or -1 where it is missing",
    }
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "pictures").mkdir()
    save(tmp_path / "a.npz", picture=np.zeros((2, 4, 4)))
    save(tmp_path / "b.npz", image=np.zeros((2, 4, 4)), label=np.array([3, 12]))
    for name, message in cases.items():
        with pytest.raises(DataError) as caught:
            predict(trained, tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {message}"


def test_one_idx_file_is_not_two_columns(tmp_path: Path) -> None:
    both = {"x": IMAGE, "y": Variable("y", (), 10)}
    path = tmp_path / "a-ubyte"
    path.write_bytes(io.BytesIO(idx_bytes(np.zeros((1, 4, 4), dtype=np.uint8))).getvalue())
    with pytest.raises(DataError) as caught:
        read_rows(section(MNIST), both, {}, path)
    wanted = "one IDX file holds one column, and the model needs 'image', 'label': wanted an npz"
    assert str(caught.value) == f"{path}: {wanted}"
