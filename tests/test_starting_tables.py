"""Starting specs of tables as people have them: each checks, trains from where it starts, and says what it guessed."""

from __future__ import annotations

import csv
import datetime
import gzip
import itertools
import json
import math
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import sgc
from sgc.spec.document import parse
from sgc.starter.starting_spec import starting_spec
from sgc.starter.table_columns import LETTERS, TableColumn

Rows = Sequence[Sequence[object]]


def cells(draw: np.random.Generator, rows: int = 150) -> tuple[list[str], Rows]:
    """Write the counts of 24 genes, of which many are seldom seen, and the type of every fifth cell."""
    kind = draw.integers(0, 3, rows)
    mean = draw.gamma(0.6, 2, (3, 24))[kind] * draw.lognormal(0, 0.4, (rows, 1))
    counts = draw.negative_binomial(2, 2 / (2 + mean))
    table = [[f"AAAC{i:04d}-1", *counts[i], "TBM"[kind[i]] if i % 5 == 0 else ""] for i in range(rows)]
    return ["cell_id", *(f"GENE{i}" for i in range(24)), "cell_type"], table


def heart(draw: np.random.Generator, rows: int = 150) -> tuple[list[str], Rows]:
    """Write patients, with marks and codes as numbers, and question marks where something is unknown."""
    table = []
    for i in range(rows):
        vessels = "?" if i % 40 == 3 else draw.integers(0, 4)
        row = [int(draw.normal(54, 9)), i % 2, draw.integers(1, 5), "?" if i % 17 == 4 else int(draw.normal(246, 51))]
        table.append([*row, f"{max(0, draw.normal(1, 1)):.1f}", vessels, draw.integers(0, 5)])
    return ["age", "sex", "cp", "chol", "oldpeak", "ca", "num"], table


def survey(draw: np.random.Generator, rows: int = 150) -> tuple[list[str], Rows]:
    """Write answers: text with few values, with many, and free; items of one scale; incomes; ids that come again."""
    words = ["good", "bad", "very", "slow", "staff"]
    table: list[list[object]] = []
    for i in range(rows):
        answers = draw.integers(1, 6, 4)
        table.append([f"H{i // 3}", ["female", "male"][i % 2], f"town {int(draw.exponential(12))}", *answers])
        recommends = ["no", "yes", ""][draw.integers(0, 3)]
        table[-1] += [int(draw.lognormal(10, 0.5)), " ".join(draw.choice(words, 5)), recommends]
    items = [f"item {i}" for i in range(1, 5)]
    return ["household_id", "gender", "town", *items, "income", "comment", "would recommend"], table


def sensors(draw: np.random.Generator, rows: int = 150) -> tuple[list[str], Rows]:
    """Write what tells rows apart, times, marks in words, a constant, numbers below 0, and numbers but for a word."""
    start = datetime.datetime(2023, 1, 1)
    table: list[list[object]] = []
    for i in range(rows):
        ids = [draw.bytes(16).hex(), 10**17 + i, 9007199254740993 + 37 * i]
        table.append([str(start + datetime.timedelta(minutes=7 * i)), *ids])
        table[-1] += ["True" if draw.random() < 0.3 else "False", "v1", f"{draw.normal():.4f}", draw.integers(-20, 20)]
        table[-1] += [1672531200 + 420 * i, f"{draw.integers(0, 99999):05d}"]
        table[-1] += ["off" if i % 9 == 0 else f"{draw.normal():.2f}"]
    header = ["time", "uuid", "user", "part", "active", "firmware", "reading", "shift", "epoch", "zip", "level"]
    return header, table


def europe(draw: np.random.Generator, rows: int = 150) -> tuple[list[str], Rows]:
    """Write a table with decimal commas, and so with semicolons."""
    table = [
        [f"{draw.normal(70, 12):.2f}".replace(".", ","), draw.poisson(1.5), ["Süd", "Nord"][i % 2]] for i in range(rows)
    ]
    return ["Gewicht, kg", "Kinder", "Region"], table


def words(draw: np.random.Generator, rows: int = 150) -> tuple[list[str], Rows]:
    table = [[draw.choice(["red", "green"]), draw.choice(["fig", "pear", "plum"]), f"note {i}"] for i in range(rows)]
    return ["colour", "fruit", "note"], table


def genes(draw: np.random.Generator, rows: int = 150) -> tuple[list[str], Rows]:
    """Write counts and nothing else."""
    return [f"g{i}" for i in range(12)], draw.poisson(draw.gamma(1, 2, 12), (rows, 12)).tolist()


TABLES = {make.__name__: make for make in (cells, heart, survey, sensors, europe, words, genes)}
SEPARATORS = {"europe": ";", "words": "\t"}


def written(name: str, folder: Path) -> Path:
    header, rows = TABLES[name](np.random.default_rng(0))
    path = folder / f"{name}.{'tsv' if name == 'words' else 'csv'}"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=SEPARATORS.get(name, ",")).writerows([header, *rows])
    return path


def started(name: str, folder: Path) -> tuple[dict[str, Any], str]:
    text = starting_spec("start", written(name, folder))
    return parse(text).data, text


def epochs(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line)["bound"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", TABLES)
def test_a_started_spec_trains_from_where_it_starts(name: str, tmp_path: Path) -> None:
    """In float32, as it is written: the bound is finite from the first epoch on, and rises."""
    _, text = started(name, tmp_path)
    assert all(len(line) <= 120 for line in text.splitlines() if "file:" not in line)
    (tmp_path / "start.yaml").write_text(text, encoding="utf-8")
    sgc.train(sgc.load(tmp_path / "start.yaml", overrides=["train.epochs=4"]), output=tmp_path / "run")
    bounds = epochs(tmp_path / "run")
    assert all(math.isfinite(value) for bound in bounds for value in bound.values())
    assert bounds[-1]["unlabelled"] > bounds[0]["unlabelled"]
    assert min(bounds[0].values()) > -1e5  # as a count, a time in seconds starts at -3e10


@pytest.mark.parametrize("name", TABLES)
def test_every_column_is_used_offered_or_named_with_its_reason(name: str, tmp_path: Path) -> None:
    data, text = started(name, tmp_path)
    header, _ = TABLES[name](np.random.default_rng(0))
    used = [entry["column"] for entry in data["data"]["columns"].values()]
    modelled = {column for each in used for column in (each if isinstance(each, list) else [each])}
    flat = " ".join(
        line.removeprefix("#").strip() for line in itertools.takewhile("version: 1".__ne__, text.split("\n"))
    )
    for column in header:
        assert (column in modelled) != bool(re.search(rf"[:,] {re.escape(column)}[ ,]", flat)), column


LEFT_OUT = {
    "cells": ["cell_id (it only tells rows apart)"],
    "survey": [
        "household_id (it names groups of rows: `group` under `split` keeps those of one on one side)",
        "comment (text with many different values)",
        "town (categories, more than 20, offered below in comments: take '# ' away, in both places, to model them)",
    ],
    "sensors": [
        "time (dates or times: write what they mean here, as an age or a month, as numbers)",
        "uuid, user, zip (it only tells rows apart)",
        "part (numbers of more digits than are kept apart)",
        "firmware (a single value)",
        "level (numbers, but for 'off': name what stands for an empty cell under `missing_values`)",
    ],
    "europe": ["Gewicht, kg (numbers written with a comma, which are not read: write 1234.5 for 1.234,5 or 1,234.5)"],
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_left_out_is_said_with_its_reason(name: str, tmp_path: Path) -> None:
    _, text = started(name, tmp_path)
    head = itertools.takewhile("version: 1".__ne__, text.split("\n"))
    flat = " ".join(line.removeprefix("#").strip() for line in head)
    assert [each for each in LEFT_OUT[name] if f"Left out: {each}." not in flat] == []


NODES = {
    "cells": {"counts": "NegativeBinomial", "y": "Categorical", "z": "Normal"},
    "heart": {"x": "Normal", "counts": "NegativeBinomial", "flags": "Bernoulli", "cp": "Categorical"}
    | {"ca": "Categorical", "y": "Categorical", "z": "Normal"},
    "survey": {"counts": "NegativeBinomial", "gender": "Categorical", "item": "Categorical"}
    | {"y": "Categorical", "z": "Normal"},
    "sensors": {"x": "Normal", "flags": "Bernoulli", "z": "Normal"},
    "genes": {"counts": "Poisson", "z": "Normal"},
}


@pytest.mark.parametrize("name", NODES)
def test_each_node_has_the_family_of_its_columns(name: str, tmp_path: Path) -> None:
    data, _ = started(name, tmp_path)
    nodes = {node: entry["distribution"] for node, entry in data["nodes"].items()}
    if name == "sensors":
        nodes.pop("y")  # a guess: the last column that can be one
    assert nodes == NODES[name]
    if name == "cells":
        assert data["data"]["columns"]["counts"]["column"] == [f"GENE{i}" for i in range(24)]  # the rare ones too
    if name == "survey":
        assert data["nodes"]["item"]["shape"] == [4]
        assert data["nodes"]["item"]["values"] == [1, 2, 3, 4, 5]


def test_a_column_with_few_holes_is_no_column_of_labels(tmp_path: Path) -> None:
    data, text = started("heart", tmp_path)
    assert data["data"]["columns"]["y"]["column"] == "num"
    assert data["nodes"]["ca"]["missing"] == "drop"
    assert "it could also be sex, cp, ca: then take that name here" in text


@pytest.mark.parametrize("mean", [0.5, 4, 300])
def test_dispersion_is_the_deviation_of_its_chi_square(mean: float) -> None:
    """Against scipy's χ²: the cube root is off by less than 0.03 of a deviation, from 100 rows on."""
    counts = np.random.default_rng(0).poisson(mean, 100 if mean > 1 else 1000)
    index = (len(counts) - 1) * counts.var(ddof=1) / counts.mean()
    wanted = stats.norm.isf(stats.chi2.sf(index, len(counts) - 1))
    assert TableColumn("a", tuple(map(str, counts)), 0).dispersion == pytest.approx(wanted, abs=0.03)


def test_a_gene_seen_three_times_is_not_judged() -> None:
    """Two of them in one cell happen by chance, and are 40 deviations from what χ² allows for."""
    assert TableColumn("a", ("2", "1", *["0"] * 3000), 0).dispersion == 0


def test_a_name_of_classes_makes_categories_of_many_values(tmp_path: Path) -> None:
    """A column that is called `species` is one of categories, be they more than are guessed elsewhere."""
    path = tmp_path / "a.csv"
    path.write_text("size,species\n" + "".join(f"{i / 7},species {i % 30}\n" for i in range(120)))
    data = parse(starting_spec("start", path)).data
    assert len(data["nodes"]["y"]["values"]) == 30


def test_no_more_is_held_of_a_table_than_is_looked_at(tmp_path: Path) -> None:
    """A gzip of a megabyte with 4,000 rows of 100,000 letters, 400 MB: less than a quarter of it is held."""
    path = tmp_path / "a.csv.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"a,b\n")
        for i in range(4000):
            file.write(b"%d," % (i % 7) + b" " * 100_000 + b"%d.5\n" % i)
    code = (
        "import resource, sys; from pathlib import Path; from sgc.starter.starting_spec import starting_spec\n"
        "import sgc.data.tables; before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "text = starting_spec('m', Path(sys.argv[1]))\n"
        "print(text.splitlines()[0]); print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert not done.stderr
    head, more = done.stdout.splitlines()
    assert f"the first {LETTERS // 100_000 + 1} rows" in head
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(more) * unit < 100_000_000
