"""What the readers of MATLAB files, parquet files and pictures refuse, and what they make of odd files, in words."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import scipy.io
import scipy.sparse
from data_files import section
from PIL import Image
from test_sources import COLUMNS, fails, save

from sgc.data.columns import SourceColumn
from sgc.data.transforms.image_transforms import Resize


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SGC_DATA", raising=False)


def read(text: str, folder: Path, *columns: str) -> dict[str, SourceColumn]:
    return dict(section(text.replace("%s", COLUMNS)).read(folder, columns).train)


# MATLAB

MAT = "{source: mat, file: d.mat, %s}"


def write_mat(folder: Path, **arrays: Any) -> None:
    scipy.io.savemat(folder / "d.mat", arrays)


@pytest.mark.parametrize(
    ("shape", "rows", "expected"),
    [
        ((8, 9, 3, 7), None, (7, 3, 8, 9)),
        ((8, 9, 3, 7), "last", (7, 3, 8, 9)),
        ((8, 9, 3, 7), "first", (8, 9, 3, 7)),
        ((7, 8, 9), None, (7, 8, 9)),
        ((8, 9, 7), "last", (7, 8, 9)),
        ((7, 5), None, (7, 5)),
        ((5, 7), "last", (7, 5)),
        ((7, 1), None, (7,)),
        ((7, 1), "first", (7,)),
        ((7, 1), "last", (7,)),
        ((1, 7), None, (7,)),
        ((1, 7), "last", (7,)),
        ((1, 7), "first", (1, 7)),
    ],
)
def test_rows_of_a_matlab_array(
    tmp_path: Path, shape: tuple[int, ...], rows: str | None, expected: tuple[int, ...]
) -> None:
    array = np.arange(np.prod(shape)).reshape(shape)
    write_mat(tmp_path, image=array)
    text = MAT if rows is None else MAT.replace("%s", f"rows: {rows}, %s")
    found = read(text, tmp_path, "image")["image"].values
    assert found.shape == expected
    for row in range(expected[0]):
        whole = array.reshape(-1) if 1 in shape and len(expected) == 1 else array
        last = len(expected) > 1 and expected[0] == shape[-1] != shape[0]
        one = whole[..., row] if last else whole[row]
        np.testing.assert_array_equal(found[row], one.transpose(2, 0, 1) if last and one.ndim == 3 else one)


def test_a_matlab_file_of_bytes_in_the_other_order(tmp_path: Path) -> None:
    with open(tmp_path / "d.mat", "wb") as file:  # version 4, big-endian: type 1000, 2 x 2, not complex, a name of 6
        file.write(np.array([1000, 2, 2, 0, 6], dtype=">i4").tobytes() + b"image\0")
        file.write(np.array([1, 3, 2, 4], dtype=">f8").tobytes())
    found = read(MAT, tmp_path, "image")["image"].values
    np.testing.assert_array_equal(found, [[1, 2], [3, 4]])
    assert found.dtype == np.dtype("float64")
    assert found.dtype.isnative


OBJECTS = np.array([[1], [2, 3]], dtype=object)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"imagen": np.zeros(3)}, "no column named 'image'; did you mean 'imagen'?"),
        (
            {"image": OBJECTS},
            "column 'image': found a MATLAB cell, wanted an array of numbers or text: save it as numbers or text",
        ),
        (
            {"image": {"a": 1}},
            "column 'image': found a MATLAB struct, wanted an array of numbers or text: save it as numbers or text",
        ),
        (
            {"image": scipy.sparse.eye(3).tocsc()},
            "column 'image': found a MATLAB sparse, wanted an array of numbers or text: full(…) makes an array of it",
        ),
        ({"image": np.ones((3, 2)) * 1j}, "column 'image': found complex numbers, wanted real ones"),
        (
            {"image": np.zeros((5, 4, 3)), "y": np.zeros((3, 1))},
            "found different numbers of rows: 5 in 'image' (5 x 4 x 3) and 3 in 'y' (3 x 1); they come first, but last "
            "where there are four axes: say 'rows: first' or 'rows: last'",
        ),
    ],
)
def test_what_a_matlab_file_may_not_hold(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    write_mat(tmp_path, **arrays)
    assert fails(MAT, tmp_path, "image", *(["y"] if "y" in arrays else [])) == f"DIR/d.mat: {message}"


def test_other_variables_of_a_matlab_file_may_be_anything(tmp_path: Path) -> None:
    write_mat(tmp_path, image=np.zeros((4, 2)), notes=OBJECTS, about={"a": 1})
    assert read(MAT, tmp_path, "image")["image"].values.shape == (4, 2)


def test_a_matlab_file_of_version_7_3(tmp_path: Path) -> None:
    (tmp_path / "d.mat").write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n")
    assert fails(MAT, tmp_path) == (
        "DIR/d.mat: a MATLAB file of version 7.3, which is HDF5: save it again in MATLAB with save(FILE, '-v7')"
    )


# parquet

PARQUET = "{source: table, file: d.parquet, missing_values: ['', '?', -9], %s}"


def write_parquet(folder: Path, **columns: Any) -> None:
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "d.parquet")


def lists(values: Any, of: Any) -> Any:
    return pyarrow.array(values, of)


def test_cells_of_a_parquet_file_that_are_missing(tmp_path: Path) -> None:
    inner = pyarrow.int32()
    vectors = [[1, 2], None, [3, None], [-9, 4]]
    write_parquet(
        tmp_path,
        text=["a", " ?", None, ""],
        number=[1.0, -9.0, None, float("nan")],
        some=lists(vectors, pyarrow.list_(inner)),
        fixed=lists(vectors, pyarrow.list_(inner, 2)),
        large=lists(vectors, pyarrow.large_list(inner)),
        none=lists([None] * 4, pyarrow.null()),
        decimal=lists([1, 2, None, 4], pyarrow.decimal128(5, 2)),
        kind=lists(["u", None, "v", "?"], pyarrow.string()).dictionary_encode(),
    )
    found = read(PARQUET, tmp_path, "text", "number", "some", "fixed", "large", "none", "decimal", "kind")
    gaps = [[False, False], [True, True], [False, True], [True, False]]
    expected: dict[str, Any] = {
        "text": [False, True, True, True],
        "number": [False, True, True, False],  # what is no number says so itself
        **dict.fromkeys(("some", "fixed", "large"), gaps),
        "none": [True] * 4,
        "decimal": [False, False, True, False],
        "kind": [False, True, False, True],
    }
    for name, missing in expected.items():
        np.testing.assert_array_equal(found[name].missing, missing, err_msg=name)
    for name in ("some", "fixed", "large"):
        np.testing.assert_array_equal(np.where(gaps, 0, found[name].values), [[1, 2], [0, 0], [3, 0], [0, 4]])
        assert found[name].values.dtype == np.int32
    np.testing.assert_array_equal(found["decimal"].values, [1, 2, 0, 4])


WANTED = "wanted numbers, text, booleans, or lists of one length"


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"imagen": [1]}, "no column named 'image'; did you mean 'imagen'?"),
        ({"image": [datetime.date(2020, 1, 1)]}, f"column 'image': found values of the type date32[day], {WANTED}"),
        ({"image": [b"a"]}, f"column 'image': found values of the type binary, {WANTED}"),
        ({"image": [{"a": 1}]}, f"column 'image': found values of the type struct<a: int64>, {WANTED}"),
        (
            {"image": [None, [1, 2], [1]]},
            "row 2: column 'image': found a list of 1, wanted 2, as in the rows above",
        ),
    ],
)
def test_what_a_parquet_file_may_not_hold(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    write_parquet(tmp_path, **columns)
    assert fails(PARQUET, tmp_path) == f"DIR/d.parquet: {message}"


def test_a_parquet_column_that_stands_twice(tmp_path: Path) -> None:
    twice = pyarrow.Table.from_arrays([pyarrow.array([1]), pyarrow.array([2])], names=["image", "image"])
    pyarrow.parquet.write_table(twice, tmp_path / "d.parquet")
    assert fails(PARQUET, tmp_path) == "DIR/d.parquet: found 2 columns named 'image', wanted one"


# pictures

GREY = "{source: images, mode: grey, root: d, %s}"
COLOUR = GREY.replace("grey", "colour")
LISTED = "{source: images, mode: grey, file: d.csv, path: file, %s}"
PICTURE = np.arange(20, dtype=np.uint8).reshape(4, 5)


def test_pictures_of_every_mode_become_bytes(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    (tmp_path / "d").mkdir()
    made = Image.fromarray(colours)
    alpha = Image.fromarray(np.concatenate([colours, PICTURE[..., None]], axis=2))
    for name, picture in {"a": made, "b": alpha, "c": made.convert("P"), "d": made.convert("1")}.items():
        picture.save(tmp_path / "d" / f"{name}.png")
    found = read(COLOUR, tmp_path, "image")["image"].values
    assert found.shape == (4, 3, 4, 5)
    np.testing.assert_array_equal(found[0], colours.transpose(2, 0, 1))
    np.testing.assert_array_equal(found[1], found[0])
    assert set(np.unique(found[3])) == {0, 255}
    grey = read(GREY, tmp_path, "image")["image"].values
    assert grey.shape == (4, 1, 4, 5)
    luma = colours @ [0.299, 0.587, 0.114]  # ITU-R 601-2
    np.testing.assert_allclose(grey[0, 0], luma, atol=1)


def test_a_picture_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6  # to be seen turned right by a quarter
    Image.fromarray(PICTURE).save(tmp_path / "d" / "a.png", exif=turned)
    np.testing.assert_array_equal(read(GREY, tmp_path, "image")["image"].values[0, 0], np.rot90(PICTURE, -1))


@pytest.mark.parametrize("size", [(2, 5), (3, 4), (8, 10)])
def test_pictures_are_brought_to_one_size_as_the_transform_would(tmp_path: Path, size: tuple[int, int]) -> None:
    draw = np.random.default_rng(1)
    pictures = [draw.integers(0, 256, shape, dtype=np.uint8) for shape in ((4, 5), (9, 11))]
    for row, picture in enumerate(pictures):
        save(tmp_path / "d" / f"{row}.png", picture)
    text = GREY.replace("%s", f"size: [{size[0]}, {size[1]}], %s")
    found = read(text, tmp_path, "image")["image"].values
    assert found.shape == (2, 1, *size)
    for picture, each in zip(pictures, found, strict=True):
        averaged = Resize(resize=size).apply(picture[None, None].astype(np.float64), {}, np.zeros)[0]
        np.testing.assert_allclose(each, averaged, atol=0.51)


def write_deep(folder: Path) -> None:
    Image.fromarray(PICTURE.astype(np.uint16) * 1000).save(folder / "d" / "b.png")


def write_mixed(folder: Path) -> None:
    save(folder / "d" / "cat" / "b.png", PICTURE)


def write_huge(folder: Path) -> None:
    Image.new("1", (10_000, 10_000)).save(folder / "d" / "b.png")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            lambda folder: save(folder / "d" / "b.png", PICTURE.T),
            "DIR/d/b.png: row 1: found a picture of 5 x 4 (rows x columns), wanted 4 x 5, as 'a.png': "
            "'size: [rows, columns]' brings all to one size",
        ),
        (
            write_deep,
            "DIR/d/b.png: row 1: found a picture of more than 8 bits a value (mode I;16), wanted bytes: "
            "convert it, or use npz",
        ),
        (
            write_huge,
            "DIR/d/b.png: row 1: more than 89,478,485 pixels, which are not loaded: bring it to a smaller size",
        ),
        (
            write_mixed,
            "DIR/d: found pictures in it (a.png) and in its folders (cat/b.png), wanted one or the other",
        ),
        (
            lambda folder: (folder / "d" / "b.png").write_bytes((folder / "d" / "a.png").read_bytes()[:45]),
            "DIR/d/b.png: row 1: the picture is cut short or damaged",
        ),
        (
            lambda folder: (folder / "d" / "b.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 5\n"),
            "DIR/d/b.png: row 1: not a picture of a known format, or a damaged one",
        ),
        (
            lambda folder: (folder / "d" / "a.png").unlink(),
            "DIR/d: found no pictures in the folder: wanted files that end in .png, .jpg, .jpeg, .bmp, .gif, .tif, "
            ".tiff, .webp, .ppm, .pgm, .pbm, .pnm",
        ),
    ],
)
def test_what_a_folder_of_pictures_may_not_hold(tmp_path: Path, write: Callable[[Path], Any], message: str) -> None:
    save(tmp_path / "d" / "a.png", PICTURE)
    write(tmp_path)
    assert fails(GREY, tmp_path) == message


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert fails(GREY, tmp_path) == (
        "d: no such file or folder; looked in 'DIR/d'; SGC_DATA, the folder of data sets, is not set"
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("file\nd/a.png\n/etc/a.png\n", "found '/etc/a.png', wanted a path below the table's folder, without '..'"),
        ("file\nd/a.png\n../a.png\n", "found '../a.png', wanted a path below the table's folder, without '..'"),
        ("file\nd/a.png\nd/../a.png\n", "found 'd/../a.png', wanted a path below the table's folder, without '..'"),
        ("file\nd/a.png\nC:\\a.png\n", "found 'C:\\a.png', wanted a path below the table's folder, without '..'"),
    ],
)
def test_a_table_of_pictures_leads_nowhere_else(tmp_path: Path, lines: str, message: str) -> None:
    save(tmp_path / "d" / "a.png", PICTURE)
    (tmp_path / "d.csv").write_text(lines)
    assert fails(LISTED, tmp_path) == f"DIR/d.csv: row 1: column 'file': {message} (line 3 of the file)"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("file,y\nd/a.png,1\n,2\n", "DIR/d.csv: row 1: no path in column 'file' (line 3 of the file)"),
        ("path,y\nd/a.png,1\n", "DIR/d.csv: no column named 'file'; allowed: image, path, y"),
        ("file,y\nd/a.png,1\nd/b.png,1\n", "DIR/d/b.png: row 1: no such file"),
    ],
)
def test_what_a_table_of_pictures_may_not_hold(tmp_path: Path, lines: str, message: str) -> None:
    save(tmp_path / "d" / "a.png", PICTURE)
    (tmp_path / "d.csv").write_text(lines)
    assert fails(LISTED, tmp_path, "image", "y") == message


def test_a_table_of_pictures_is_a_table_where_no_picture_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("file,y\ngone.png,1\n")
    assert read(LISTED, tmp_path, "y")["y"].values.tolist() == ["1"]


# what is not installed


@pytest.mark.parametrize(
    ("module", "text", "message"),
    [
        ("scipy.io", MAT, "DIR/d.mat: a .mat file needs scipy: pip install 'sgc[mat]'"),
        ("pyarrow", PARQUET, "DIR/d.parquet: a .parquet file needs pyarrow: pip install 'sgc[parquet]'"),
        ("PIL", GREY, "pictures need Pillow: pip install 'sgc[images]'"),
        (
            "pooch",
            "{source: mnist, %s}",
            "mnist/train-images-idx3-ubyte.gz: not here, and fetching it needs pooch: pip install 'sgc[fetch]'; or put "
            "it into 'DIR/mnist' or under $SGC_DATA/mnist",
        ),
    ],
)
def test_what_is_not_installed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, text: str, message: str
) -> None:
    write_mat(tmp_path, image=np.zeros(3))
    write_parquet(tmp_path, image=[1])
    save(tmp_path / "d" / "a.png", PICTURE)
    monkeypatch.setitem(sys.modules, module, None)
    assert fails(text, tmp_path) == message
