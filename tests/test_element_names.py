"""Genes and columns by name: new rows in another order, or with more of them, answer as those of the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sgc
from sgc.data.encoder import Encoder
from sgc.errors import DataError
from sgc.trained.predictions import predict_run

anndata = pytest.importorskip("anndata", reason="needs anndata: pip install 'sgc[cells]'")
sparse = pytest.importorskip("scipy.sparse", reason="needs scipy: pip install 'sgc[mat]'")

N, GENES = 40, ["CD3E", "CD19", "MS4A1", "NKG7", "LYZ"]
COUNTS = np.random.default_rng(0).poisson(2.0, (N, len(GENES))).astype(np.float32)
KINDS = np.where(np.arange(N) % 3, np.array(["B", "T"])[np.arange(N) % 2], "")
OTHERS = np.full((N, 2), 9, np.float32)  # of genes that the run does not know
SPEC: dict[str, Any] = {
    "version": 1,
    "name": "genes",
    "nodes": {
        "x": {
            "distribution": "Normal",
            "shape": [len(GENES)],
            "supervision": "full",
            "generative": {"parents": ["y"], "network": {"mlp": [4]}},
        },
        "y": {
            "distribution": "Categorical",
            "values": ["B", "T"],
            "supervision": "partial",
            "recognition": {"parents": ["x"], "network": {"mlp": [4]}},
        },
    },
    "train": {"epochs": 1, "batch_size": 10},
    "evaluate": {"samples": 2},
}


def index(names: Any) -> Any:
    return pd.Index(list(names), dtype=object)  # of pandas' own strings not every anndata writes


def frame(genes: list[str], counts: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(counts, columns=genes)


def cells(genes: list[str], counts: np.ndarray, form: Callable[[Any], Any]) -> Any:
    kinds = pd.Categorical(KINDS.astype(object), categories=index(["", "B", "T"]))
    obs = pd.DataFrame({"kind": kinds}, index=index(f"cell{i}" for i in range(N)))
    return anndata.AnnData(form(counts), obs=obs, var=pd.DataFrame(index=index(genes)))


def with_obsm(genes: list[str], counts: np.ndarray) -> Any:
    held = cells(["other"], np.zeros((N, 1), np.float32), np.asarray)
    held.obsm["proteins"] = frame(genes, counts).set_index(held.obs_names)
    return held


FORMS: dict[str, tuple[str | list[str], Callable[[list[str], np.ndarray], Any]]] = {  # column of x, and the data
    "cells, sparse": ("X", lambda genes, counts: cells(genes, counts, sparse.csr_matrix)),
    "cells, dense": ("X", lambda genes, counts: cells(genes, counts, np.asarray)),
    "a table of obsm": ("obsm/proteins", with_obsm),
    "a frame": (GENES, lambda genes, counts: frame(genes, counts).assign(kind=KINDS)),
    "a frame of one node": ("x", lambda genes, counts: {"x": frame(genes, counts), "y": KINDS}),
}


def train(column: str | list[str], data: Any, folder: Path) -> Any:
    columns = {"x": {"column": column, "transforms": ["standardize"]}, "y": {"column": "kind"}}
    section = {"source": "h5ad", "file": "none.h5ad", "missing_values": [""], "columns": columns}
    return sgc.train(
        sgc.load({**SPEC, "data": {**section, "split": {"test": 10, "seed": 0}}}), data=data, output=folder
    )


@pytest.mark.parametrize("form", FORMS)
def test_elements_are_matched_by_name(form: str, tmp_path: Path) -> None:
    column, make = FORMS[form]
    run = train(column, make(GENES, COUNTS), tmp_path / "run")
    order = [3, 0, 4, 1, 2]
    more = np.column_stack([OTHERS[:, 0], COUNTS[:, order], OTHERS[:, 1]])
    wanted = run.model.encode(make(GENES, COUNTS))["x"]
    measured = sgc.evaluate(run.folder, data=make(GENES, COUNTS)).plain()
    for genes, counts in (
        ([GENES[place] for place in order], COUNTS[:, order]),
        (["first", *(GENES[place] for place in order), "last"], more),
    ):
        data = make(genes, counts)
        assert run.model.encode(data)["x"].equal(wanted)
        assert sgc.evaluate(run.folder, data=data).plain() == measured  # with no word of other data
    with pytest.raises(DataError, match="LYZ"):
        run.model.encode(make(GENES[:4], COUNTS[:, :4]))


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
@pytest.mark.parametrize(
    ("genes", "words"),
    [
        (
            ["CD3E", "CD19", "MS4A1", "GNLY", "CST3"],
            "of 5 elements that the run was trained on 2 are not there: NKG7, LYZ; of other names there are 2: GNLY, "
            "CST3; add them, or train on the elements that both have",
        ),
        (
            [gene.lower() for gene in GENES],
            "of 5 elements that the run was trained on 5 are not there: CD3E, CD19, MS4A1, NKG7, LYZ; of other names "
            "there are 5: cd3e, cd19, ms4a1, nkg7, lyz; are the names of another kind, or in other letters? Rename "
            "them as the run's are",
        ),
        (
            ["CD3E", "CD19", "MS4A1", "NKG7", "LYZ", "LYZ"],
            "several elements have the same name: LYZ; give each its own",
        ),
        (
            list("01234"),
            "its elements are numbered, and the run knows theirs by name: CD3E, CD19, MS4A1, NKG7, LYZ; name them, or "
            "give an array, whose elements are taken by their place",
        ),
    ],
)
def test_names_that_do_not_fit_are_told(genes: list[str], words: str, tmp_path: Path) -> None:
    run = train("X", cells(GENES, COUNTS, sparse.csr_matrix), tmp_path / "run")
    found = cells(genes, np.resize(COUNTS, (N, len(genes))), sparse.csr_matrix)
    with pytest.raises(DataError) as caught:
        run.model.encode(found)
    assert str(caught.value) == f"'X': {words}"


@pytest.mark.parametrize(
    "names", [[7157, 672, 1956, 207, 5290], ["a", None, "b", np.nan, "c"]], ids=["numbers", "holes"]
)
def test_numbers_and_holes_among_names_are_names_too(names: list[Any], tmp_path: Path) -> None:
    """Numbers of the NCBI for genes; nothing turns matching off, and lets elements be taken by their place."""
    table = pd.DataFrame(COUNTS, columns=pd.Index(names, dtype=object))
    run = train("x", {"x": table, "y": KINDS}, tmp_path / "run")
    wanted = run.model.encode({"x": table, "y": KINDS})["x"]
    assert run.model.encode({"x": table.iloc[:, ::-1], "y": KINDS})["x"].equal(wanted)


def test_names_go_with_the_run_and_files_are_matched_too(tmp_path: Path) -> None:
    """Also those of a run from before names were kept, which takes elements by their place."""
    known = cells(GENES, COUNTS, sparse.csr_matrix)
    run = train("X", known, tmp_path / "run")
    columns = json.loads((run.folder / "columns.json").read_text())["columns"]["x"]
    assert columns["elements"] == GENES
    assert Encoder.from_state(columns).elements == tuple(GENES)
    known.write_h5ad(tmp_path / "known.h5ad")
    turned = [4, 2, 0, 1, 3]
    cells([GENES[i] for i in turned], COUNTS[:, turned], np.asarray).write_h5ad(tmp_path / "turned.h5ad")
    for name in ("known", "turned"):
        predict_run(run.folder, tmp_path / f"{name}.h5ad", tmp_path / f"{name}.csv", from_="q", samples=4)
    assert (tmp_path / "known.csv").read_bytes() == (tmp_path / "turned.csv").read_bytes()
    assert run.model.encode({"x": COUNTS})["x"].equal(run.model.encode(known)["x"])  # an array has no names
    del columns["elements"]
    assert Encoder.from_state(columns).elements == ()
