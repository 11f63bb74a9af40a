"""Starting specs: valid as they stand, and true to the file they were made from."""

from __future__ import annotations

import csv
import datetime
import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import scipy.io
from PIL import Image

import sgc
from sgc.errors import DataError, UsageError
from sgc.runtime.data_variables import open_data
from sgc.spec.document import parse
from sgc.spec.loader import load
from sgc.spec.resolver import outline
from sgc.starter.starting_spec import starting_spec
from sgc.starter.table_columns import TableColumn

HEART = """patient id,age,rest bp,chol,no,sex,disease
1,30,120.5,,1,f,ill
2,41,130,200,0,m,
3,52,110,210,1,"f",healthy
4,63,NA,220,0,m,ill
5,74,120,230,0,m,healthy
6,35,125,240,1,f,?
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def started(path: Path | None, name: str = "start") -> Any:
    """Load a starting spec, and give it as plain data with its text."""
    text = starting_spec(name, path)
    load(parse(text).data)
    assert all(len(line) <= 120 for line in text.split("\n") if "file:" not in line and "root:" not in line)
    return parse(text).data, text


def test_without_data_it_is_the_digits_model() -> None:
    data, text = started(None)
    assert data["data"]["source"] == "digits"
    assert data["nodes"]["x"]["shape"] == [1, 8, 8]
    assert [node["supervision"] for node in data["nodes"].values()] == ["full", "partial", "none"]
    assert data["data"]["columns"]["x"]["transforms"] == [{"divide": 16}]
    assert set(data["data"]["split"]) == {"test", "validation", "seed"}
    assert text.count("#") > 10


@pytest.mark.parametrize("name", ["no", "y", "true", "a-b_c"])
def test_any_name_stays_a_name(name: str) -> None:
    assert started(None, name)[0]["name"] == name


def test_a_table_gives_its_columns(tmp_path: Path) -> None:
    data, text = started(write(tmp_path, "heart.csv", HEART))
    assert data["data"]["source"] == "table"
    assert data["data"]["missing_values"] == ["", "?", "NA"]
    assert data["data"]["columns"]["x"] == {"column": ["rest bp"], "transforms": ["standardize"]}
    assert data["data"]["columns"]["counts"] == {"column": ["age", "chol"]}
    assert data["data"]["columns"]["flags"] == {"column": ["no"]}
    assert data["data"]["columns"]["sex"] == {"column": "sex"}
    assert data["data"]["columns"]["y"] == {"column": "disease"}
    assert [data["nodes"][node]["shape"] for node in ("x", "counts", "flags")] == [[1], [2], [1]]
    assert data["nodes"]["x"]["supervision"] == "partial"  # 'rest bp' and 'chol' have empty cells
    assert data["nodes"]["x"]["missing"] == "drop"
    assert data["nodes"]["sex"]["values"] == ["f", "m"]
    assert data["nodes"]["sex"]["supervision"] == "full"
    assert data["nodes"]["y"]["values"] == ["healthy", "ill"]
    assert data["nodes"]["y"]["recognition"]["parents"] == ["x", "counts", "flags", "sex"]
    assert "labels" not in data["data"]
    assert "# Left out: patient id (it only tells rows apart)." in text
    assert "no label: 2 of those" in text


def test_a_number_in_the_last_column_is_a_target(tmp_path: Path) -> None:
    lines = "\n".join(f"{i / 7};{i * i};{i / 3}" for i in range(50))
    data, _ = started(write(tmp_path, "energy.csv", f"size;count;heating\n{lines}\n"))
    assert data["data"]["separator"] == ";"
    assert data["data"]["columns"]["y"] == {"column": "heating", "transforms": ["standardize"]}
    assert data["nodes"]["y"]["distribution"] == "Normal"
    assert data["data"]["labels"] == {"y": {"fraction": 0.1}}


def test_a_column_named_class_is_the_label_wherever_it_stands(tmp_path: Path) -> None:
    lines = "\n".join(f"{i % 3},{i / 7},{i / 3}" for i in range(50))
    data, _ = started(write(tmp_path, "a.csv", f"class,b,c\n{lines}\n"))
    assert data["data"]["columns"]["y"]["column"] == "class"
    assert data["nodes"]["y"]["values"] == [0, 1, 2]


@pytest.mark.parametrize("family", ["Poisson", "NegativeBinomial"])
@pytest.mark.parametrize("mean", [2, 400])
def test_whole_numbers_become_counts_that_train(family: str, mean: int, tmp_path: Path) -> None:
    """Of a Poisson's own counts half vary more than their mean, by chance: the family is told by more than chance."""
    draw = np.random.default_rng(0)
    rate = mean if family == "Poisson" else draw.gamma(1, mean, (80, 5))
    rows = "\n".join(
        f"c{i},{','.join(map(str, row))},{'TB'[i % 2] if i % 3 else ''}"
        for i, row in enumerate(draw.poisson(rate, (80, 5)))
    )
    data, text = started(write(tmp_path, "cells.csv", f"cell_id,g1,g2,g3,g4,g5,kind\n{rows}\n"))
    assert data["data"]["columns"]["counts"] == {"column": ["g1", "g2", "g3", "g4", "g5"]}
    assert data["nodes"]["counts"]["distribution"] == family
    assert data["data"]["columns"]["y"]["column"] == "kind"
    assert (
        "# whole numbers from 0 up, taken for counts; what is measured, as an age or a price, belongs in a vector x"
        in text
    )
    assert ("# of few values: g1, g2, g3 and 2 more;" in text) == (mean == 2)
    (tmp_path / "start.yaml").write_text(text)
    run = sgc.train(sgc.load(tmp_path / "start.yaml", overrides=["train.epochs=1"]), output=tmp_path / "run")
    assert (run.folder / "best.safetensors").exists()


def test_a_poisson_is_seldom_taken_for_more() -> None:
    """Of 2,000 columns of 200 counts; the normal tail above 4 deviations, thicker for χ², is well below 0.2%."""
    draw = np.random.default_rng(0)
    columns = [draw.poisson(mean, 200) for mean in (0.5, 2, 20, 4000) for _ in range(500)]
    found = [TableColumn("a", tuple(map(str, column)), 0).overdispersed for column in columns]
    assert sum(found) <= 4
    assert TableColumn("a", tuple(map(str, draw.negative_binomial(2, 0.1, 200))), 0).overdispersed


@pytest.mark.parametrize(
    ("cells", "node"),
    [
        (range(30), "counts"),
        ([1, 2, 3, 4, 5] * 20, "seen"),  # an answer from 1 to 5
        ([*range(1, 13)] * 8, "seen"),  # a month
        ([0, 1] * 40, "flags"),
        (["True", "False"] * 40, "flags"),
        ([0, 1, 2, 3, 4, 5, 6, 7] * 10, "counts"),
        ([0, 1, 2, 3] * 20, "seen"),  # codes, each as often
        ([0] * 50 + [1] * 20 + [2] * 8 + [3] * 2, "counts"),  # of something rare
        ([12, 15, 17, 18, 20, 22, 23, 25, 30] * 10, "counts"),
        ([20, 21, 22, 24, 25, 26, 27] * 10, "x"),  # which vary less than counts
        ([3, 6, 7] * 20, "seen"),
        (["1.0", "2.0", "3.0"] * 20, "seen"),  # codes as tools write them that hold floats
        ([-1, 1] * 40, "seen"),
        ([f"{i}.0" for i in range(30)], "x"),  # written as measurements
        ([*(f"{i}.0" for i in range(30)), ""], "counts"),  # as other tools write whole numbers beside an empty cell
        ([i - 5 for i in range(30)], "x"),
        ([1950 + i for i in range(70)], "x"),  # of such large numbers counts vary more
        ([int(10**5 * 1.2**i) for i in range(30)], "x"),  # too large for a network to start near
    ],
)
def test_a_column_goes_where_its_numbers_belong(cells: list[object], node: str, tmp_path: Path) -> None:
    shuffled = np.random.default_rng(0).permutation(np.array([str(cell) for cell in cells]))
    lines = "\n".join(f"{cell},{i / 7},{'ab'[i % 2]}" for i, cell in enumerate(shuffled))
    data, _ = opens(write(tmp_path, "a.csv", f"seen,size,kind\n{lines}\n"))
    assert {"counts", "seen", "flags"} & set(data["nodes"]) == {node} - {"x"}
    column = data["data"]["columns"][node]["column"]
    assert column == "seen" if node == "seen" else "seen" in column


def test_text_of_more_values_is_offered_in_comments(tmp_path: Path) -> None:
    """What is offered stands where it belongs: without its marks of a comment the spec reads the column."""
    lines = "\n".join(f"{i / 7},city {i % 30},note {i},{'ab'[i % 2]}" for i in range(90))
    file = write(tmp_path, "a.csv", f"size,city,note,kind\n{lines}\n")
    data, text = started(file)
    assert list(data["nodes"]) == ["x", "y", "z"]
    offered = (
        "# Left out: city (categories, more than 20, offered below in comments: take '# ' away, in both places, to"
    )
    assert offered in text
    assert "# Left out: note (it only tells rows apart)." in text
    body = text[text.index("  columns:") :]
    taken = parse(text.replace(body, re.sub(r"(?m)^( +)# (?=city|  )", r"\1", body))).data
    assert taken["data"]["columns"]["city"] == {"column": "city"}
    assert set(taken["nodes"]["city"]["values"]) == {f"city {i}" for i in range(30)}
    assert len(open_data(outline(load(taken)), tmp_path).train) == 63


def test_what_only_tells_rows_apart_is_left_out_whatever_its_name(tmp_path: Path) -> None:
    lines = "\n".join(f'{1000 + i},{i / 7},"{i},5",{"ab"[i % 2]}' for i in range(40))
    data, text = started(write(tmp_path, "a.csv", f"respondent,size,paid,kind\n{lines}\n"))
    assert data["data"]["columns"]["x"]["column"] == ["size"]
    assert "# Left out: respondent (it only tells rows apart)." in text
    assert (
        "# Left out: paid (numbers written with a comma, which are not read: write 1234.5 for 1.234,5 or 1,234.5)."
        in text
    )


def test_a_gzip_file_that_is_cut_short_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.csv.gz"
    file.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 1000)[:-20])
    with pytest.raises(DataError, match="the gzip file is cut short or damaged: fetch it again"):
        starting_spec("a", file)


def test_a_column_of_few_values_that_some_rows_lack_is_the_label(tmp_path: Path) -> None:
    """Labels that are known for some rows are what such a model is for; a full column behind them is none."""
    lines = "\n".join(f"{i / 7},{'uvw'[i % 3] if i % 4 == 0 else ''},{i / 3},{'ab'[i % 2]}" for i in range(60))
    data, text = started(write(tmp_path, "a.csv", f"a,kind,b,side\n{lines}\n"))
    assert data["data"]["columns"]["y"]["column"] == "kind"
    assert data["nodes"]["y"]["values"] == ["u", "v", "w"]
    assert data["nodes"]["side"]["values"] == ["a", "b"]
    assert "a guess: the last column of few values, some of them missing" in text
    assert "no label: 45 of those" in text


def test_test_rows_of_their_own_are_named_and_not_split_off(tmp_path: Path) -> None:
    both = [write(tmp_path, name, HEART) for name in ("heart.csv", "test.csv")]
    text = starting_spec("heart", both[0], both[1], beside=tmp_path)
    data = parse(text).data["data"]
    assert data["files"] == {"train": str(both[0]), "test": str(both[1])}
    assert "file" not in data
    assert set(data["split"]) == {"validation", "seed"}
    assert "files: {train: ..., test: ...}" in started(both[0])[1]
    assert "test: ..." not in text
    with pytest.raises(UsageError, match="test: wanted data too"):
        starting_spec("heart", None, both[1])
    with pytest.raises(UsageError, match="a file of the same kind"):
        starting_spec("heart", both[0], write(tmp_path, "test.npz", ""))


def test_a_table_of_pictures_becomes_a_model_of_them(tmp_path: Path) -> None:
    for row in range(6):
        Image.new("L", (8, 4)).save(tmp_path / f"{row}.png")
    lines = [f"{row}.png,{row % 3},{['', 'cat', 'dog'][row % 3]}" for row in range(6)]
    data, text = started(write(tmp_path, "pictures.csv", "path,site,kind\n" + "\n".join(lines)))
    assert data["data"]["source"] == "images"
    assert data["nodes"]["x"]["shape"] == [1, 4, 8]
    assert data["data"]["columns"]["y"] == {"column": "kind"}
    assert data["nodes"]["y"]["values"] == ["cat", "dog"]
    assert "Left out: site" in text
    assert "no label: 2 of those" in text
    load(parse(text).data)


def test_wide_tables_and_odd_names_survive(tmp_path: Path) -> None:
    names = [f"a column: {i} # [x]" for i in range(60)] + ['say ""hi""', "true", "été"]
    header = ",".join(f'"{name}"' for name in names)
    lines = "\n".join(",".join(str(i * j / 7) for j in range(1, len(names) + 1)) for i in range(30))
    data, _ = started(write(tmp_path, "wide table.csv", f"{header}\n{lines}\n"))
    assert data["data"]["columns"]["x"]["column"] == [*names[:60], 'say "hi"', "true"]
    assert data["data"]["file"].endswith("wide table.csv")


def test_columns_of_words_alone_become_nodes(tmp_path: Path) -> None:
    lines = "\n".join(f"{'uvw'[i % 3]},{'no' if i % 2 else 'yes'},{'ab'[i % 2]}" for i in range(40))
    data, _ = started(write(tmp_path, "words.csv", f"x,2nd one,kind\n{lines}\n"))
    assert list(data["nodes"]) == ["x_", "c_2nd_one", "y", "z"]
    assert data["nodes"]["c_2nd_one"]["values"] == ["no", "yes"]


def test_a_single_column_is_modelled_without_a_label(tmp_path: Path) -> None:
    data, _ = started(write(tmp_path, "one.csv", "a\n" + "\n".join(str(i / 3) for i in range(40)) + "\n"))
    assert list(data["nodes"]) == ["x", "z"]


def test_an_archive_gives_its_arrays(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    images, labels = draw.integers(0, 256, (50, 6, 5), dtype=np.uint8), draw.integers(-1, 4, 50)
    objects = np.array([{}] * 50, dtype=object)
    np.savez(tmp_path / "a.npz", images=images, label=labels, more=draw.normal(size=(50, 3)), odd=objects)
    data, text = started(tmp_path / "a.npz")
    assert data["data"]["columns"]["x"] == {"column": "images", "transforms": [{"divide": 255}]}
    assert data["nodes"]["x"]["distribution"] == "Bernoulli"
    assert data["nodes"]["x"]["shape"] == [6, 5]
    assert data["nodes"]["y"]["values"] == [0, 1, 2, 3]
    assert "odd (Python objects, which are never loaded)" in text
    assert "more (one array is modelled)" in text


def test_an_archive_of_numbers_gives_a_regression(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    np.savez(tmp_path / "a.npz", x=draw.normal(size=(50, 3)), t=draw.normal(size=50))
    data, _ = started(tmp_path / "a.npz")
    assert data["nodes"]["x"]["distribution"] == data["nodes"]["y"]["distribution"] == "Normal"
    np.savez(tmp_path / "b.npz", x=draw.random(size=(50, 3)), t=np.array(["a", "b"] * 25))
    data, _ = started(tmp_path / "b.npz")
    assert data["nodes"]["x"]["distribution"] == "Bernoulli"
    assert data["nodes"]["y"]["values"] == ["a", "b"]


def test_the_file_is_found_from_where_the_spec_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "heart.csv", HEART)
    (tmp_path / "specs").mkdir()
    data = parse(starting_spec("a", Path("heart.csv"), beside=Path("specs"))).data
    assert data["data"]["file"] == "../heart.csv"
    assert parse(starting_spec("a", Path("heart.csv"))).data["data"]["file"] == "heart.csv"


FAULTS = {
    "empty.csv": ("", "the file is empty, wanted a header line and rows"),
    "header.csv": ("a,b\n", "found a header and no rows"),
    "uneven.csv": ("a,b\n1,2\n3\n", "row 1: found 1 cells, wanted 2, as in the header (line 3 of the file)"),
    "twice.csv": ("a,a\n1,2\n", "two columns named 'a'"),
    "numbers.csv": ("1,2\n3,4\n", "the first line holds numbers, wanted a header with the columns' names"),
    "same.csv": ("a,b\n1,x\n1,x\n", "no column of numbers or of few categories to model"),
    "quotes.csv": ('a,b\n"1"2,3\n', "not a csv file: ',' expected after '\"'"),
    "bad.npz": ("PK no", "not an npz archive, or one that is cut short"),
    "bad.csv.gz": ("not gzip", "found a header and no rows"),  # its bytes tell what it is
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_file_that_cannot_be_used_is_told_in_one_line(name: str, tmp_path: Path) -> None:
    path = write(tmp_path, name, FAULTS[name][0])
    with pytest.raises(DataError) as caught:
        starting_spec("a", path)
    assert str(caught.value) == f"{path}: {FAULTS[name][1]}"


def test_text_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n\xff\xfe,3\n")
    with pytest.raises(DataError, match="not a text file in UTF-8"):
        starting_spec("a", tmp_path / "a.csv")


def test_wrong_calls_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'1a' is not a name"):
        starting_spec("1a")
    with pytest.raises(UsageError, match=r"no\.csv': no such file, wanted a file that ends in \.csv"):
        starting_spec("a", tmp_path / "no.csv")
    with pytest.raises(DataError, match="found no pictures in the folder"):
        starting_spec("a", tmp_path)
    with pytest.raises(UsageError) as caught:
        starting_spec("a", write(tmp_path, "a.xlsx", ""))
    kinds = "a file that ends in .csv, .tsv (or .gz), .parquet, .npz, .mat or .h5ad, or a folder of pictures"
    assert str(caught.value) == f"'{tmp_path / 'a.xlsx'}': wanted {kinds}"


# other formats


def opens(path: Path) -> tuple[Any, str]:
    """Start from a file, and open it as the spec says."""
    data, text = started(path)
    made = outline(load(data))
    assert len(open_data(made, path.parent).train) > 10
    return data, text


def test_a_parquet_file_gives_its_columns(tmp_path: Path) -> None:
    rows = 40
    table = {
        "id": list(range(rows)),
        "dose": [None if each % 9 == 4 else each / 8 for each in range(rows)],
        "grade": pyarrow.array([each % 3 for each in range(rows)], pyarrow.float32()),
        "site": pyarrow.array(["north", "south"] * (rows // 2)).dictionary_encode(),
        "day": [datetime.date(2020, 1, 1 + each % 20) for each in range(rows)],
        "scan": [[1.0, 2.0]] * rows,
        "ill": [each % 5 == 0 for each in range(rows)],
    }
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "trial.parquet")
    data, text = opens(tmp_path / "trial.parquet")
    assert data["data"]["source"] == "table"
    assert "missing_values" not in data["data"]
    assert data["data"]["columns"]["x"]["column"] == ["dose"]
    assert data["nodes"]["grade"]["values"] == [0, 1, 2]
    assert data["nodes"]["x"]["missing"] == "drop"
    assert data["nodes"]["site"]["values"] == ["north", "south"]
    assert data["data"]["columns"]["y"] == {"column": "ill"}
    assert data["nodes"]["y"]["values"] == [0, 1]
    for left_out in ("day (neither numbers nor text)", "scan (lists: ", "id (it only tells rows apart)"):
        assert f"Left out: {left_out}" in text


def test_a_matlab_file_gives_its_arrays(tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (8, 9, 3, 40), dtype=np.uint8)
    labels = np.arange(40)[:, None] % 10 + 1.0
    scipy.io.savemat(tmp_path / "digits.mat", {"X": pictures, "y": labels, "about": {"a": 1}})
    data, text = opens(tmp_path / "digits.mat")
    assert data["data"]["source"] == "mat"
    assert data["nodes"]["x"]["shape"] == [3, 8, 9]
    assert data["nodes"]["y"]["values"] == list(range(1, 11))
    assert "Left out: about (a MATLAB struct)." in text


@pytest.mark.parametrize("other", [False, True])
def test_a_folder_of_pictures_gives_a_model_of_pictures(tmp_path: Path, other: bool) -> None:
    draw = np.random.default_rng(0)
    for row in range(24):
        shape = (5, 6, 3) if other and not row else (5, 7)
        path = tmp_path / "my pets" / ("cat", "no")[row % 2] / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, shape, dtype=np.uint8)).save(path)
    data, _ = opens(tmp_path / "my pets")
    assert data["data"]["mode"] == ("colour" if other else "grey")
    assert data["data"].get("size") == ([32, 32] if other else None)
    assert data["nodes"]["x"]["shape"] == ([3, 32, 32] if other else [1, 5, 7])
    assert data["nodes"]["y"]["values"] == ["cat", "no"]


HOSTILE = (
    *("a\nversion: 2", "b\x1b[31m", "c\x9bd", "e\u2028f: g", "h\x85i", "j\u202ek"),
    *("x\ufeffl", "m\x7f", "n # o", "p: {q", "😀"),
)


@pytest.mark.parametrize("odd", HOSTILE)
def test_no_name_or_value_of_a_file_says_anything_in_the_spec(odd: str, tmp_path: Path) -> None:
    """As a column that is kept, one that is left out in a comment, and a value; of a csv and of arrays."""
    path = tmp_path / "rows.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([odd, f"{odd} text", "label"])
        writer.writerows([i * 0.75 % 7, f"{odd}{i}", odd if i % 2 else "other"] for i in range(40))
    numbers = tmp_path / "rows.npz"
    np.savez(numbers, **{odd.replace(":", ""): np.ones((9, 2)), "label": np.arange(9) % 2})  # type: ignore[arg-type]
    for file_ in (path, numbers):
        data, text = started(file_)
        assert all(line.isprintable() for line in text.split("\n"))
        assert list(data) == list(started(numbers)[0])
    data, _ = started(path)
    assert data["data"]["columns"]["y"]["column"] == "label"
    assert sorted(data["nodes"]["y"]["values"]) == sorted([odd, "other"])
    assert data["data"]["columns"]["x"]["column"] in (odd, [odd])
