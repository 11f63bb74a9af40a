"""Sparse matrices, sparse data frames and AnnData: the values of dense arrays, kept sparse until a batch takes them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sgc
from sgc.data.annotated import is_annotated
from sgc.data.large_columns import EncodedColumn
from sgc.errors import DataError
from sgc.runtime.data_variables import open_data
from sgc.spec.resolver import outline
from sgc.starter.starting_spec import starting_spec
from sgc.trained.predictions import predict_run

sparse = pytest.importorskip("scipy.sparse", reason="needs scipy: pip install 'sgc[mat]'")

N, GENES = 40, 6
RNG = np.random.default_rng(0)
TYPE = np.arange(N) % 2
COUNTS = RNG.poisson(np.array([[0.2, 0.1, 3, 0, 1, 0], [2, 0.1, 0, 0.5, 1, 4]])[TYPE]).astype(np.float32)
NAMES = np.where(np.arange(N) % 4 < 2, np.array(["B", "T"])[TYPE], "Unknown")


def spec(column: str = "x", **train: Any) -> sgc.spec.spec.Spec:
    return sgc.load(
        {
            "version": 1,
            "name": "cells",
            "data": {
                "source": "h5ad",
                "file": "cells.h5ad",
                "missing_values": ["", "Unknown"],
                "columns": {
                    "x": {"column": column, "transforms": [{"divide": 2}, "standardize"]},
                    "y": {"column": "cell_type"},
                },
                "split": {"validation": 0.25, "seed": 0},
            },
            "nodes": {
                "x": {
                    "distribution": "Normal",
                    "shape": [GENES],
                    "supervision": "full",
                    "generative": {"parents": ["y", "z"], "network": {"mlp": [4]}},
                },
                "y": {
                    "distribution": "Categorical",
                    "values": ["B", "T"],
                    "supervision": "partial",
                    "recognition": {"parents": ["x"], "network": {"mlp": [4]}, "estimator": "enumerate"},
                },
                "z": {
                    "distribution": "Normal",
                    "shape": [2],
                    "supervision": "none",
                    "recognition": {"parents": ["x", "y"], "network": {"mlp": [4]}},
                },
            },
            "train": {"epochs": 1, "batch_size": 10, **train},
        }
    )


def stored(form: str) -> Any:
    """Give the counts in a form that stays sparse."""
    if form == "coo":  # with entries that stand twice, which add up
        half = sparse.coo_matrix(COUNTS / 2)
        return sparse.coo_array(
            (np.tile(half.data, 2), (np.tile(half.row, 2), np.tile(half.col, 2))), shape=COUNTS.shape
        )
    return getattr(sparse, form)(COUNTS)


@pytest.mark.parametrize("form", ["csr_matrix", "csr_array", "csc_array", "coo"])
def test_sparse_rows_are_the_dense_ones_to_the_bit_and_stay_sparse(form: str, tmp_path: Path) -> None:
    resolved = outline(spec())
    matrix = stored(form)
    dense = open_data(resolved, tmp_path, {"x": COUNTS, "y": NAMES})
    held = open_data(resolved, tmp_path, {"x": matrix, "y": NAMES})
    for part in ("train", "validation"):
        values, wanted = getattr(held, part).values["x"], getattr(dense, part).values["x"]
        assert isinstance(values, EncodedColumn)
        rows = np.array([3, 0, 3])
        np.testing.assert_array_equal(values.take(rows), wanted[rows])
        np.testing.assert_array_equal(np.concatenate(list(values.chunks())), wanted)
    assert held.encoders["x"].fitted == dense.encoders["x"].fitted
    assert held.fingerprint.nodes == dense.fingerprint.nodes
    assert np.array_equal(matrix.toarray(), COUNTS)  # the caller's is as it was


def test_a_frame_of_sparse_columns_is_a_vector_that_stays_sparse(tmp_path: Path) -> None:
    genes = [f"g{i}" for i in range(GENES)]
    plain = spec().plain()
    plain["data"]["columns"]["x"]["column"] = genes
    resolved = outline(sgc.load(plain))
    frame = pd.DataFrame(COUNTS, columns=genes)
    thin = pd.DataFrame.sparse.from_spmatrix(sparse.csr_matrix(COUNTS), columns=genes)
    held = open_data(resolved, tmp_path, thin.assign(cell_type=NAMES)).train.values["x"]
    wanted = open_data(resolved, tmp_path, frame.assign(cell_type=NAMES)).train.values["x"]
    assert isinstance(held, EncodedColumn)
    np.testing.assert_array_equal(held.take(np.arange(len(held))), wanted)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (sparse.csr_array(COUNTS[:, :3]), "node 'x': found rows of the shape [3], wanted [6]"),
        (sparse.csr_array(COUNTS[:-1]), "column 'y': found 40 rows, wanted 39, as in column 'x'"),
        pytest.param(
            sparse.csr_array(COUNTS[0]),
            "'x': found a sparse array of the shape [6], wanted rows and columns",
            marks=pytest.mark.skipif(sparse.csr_array(COUNTS[0]).ndim > 1, reason="scipy < 1.13 has none of one axis"),
        ),
    ],
)
def test_faults_of_sparse_data_are_told(x: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_data(outline(spec()), tmp_path, {"x": x, "y": NAMES})
    assert str(caught.value) == words


@pytest.fixture
def cells() -> Any:
    anndata = pytest.importorskip("anndata", reason="needs anndata: pip install 'sgc[cells]'")

    def text(values: Any) -> Any:  # of pandas' own strings not every anndata writes
        return pd.Index(list(values), dtype=object)

    kinds = pd.Categorical.from_codes(
        pd.Index(["B", "T", "Unknown"]).get_indexer(NAMES), categories=text(["B", "T", "Unknown"])
    )
    obs = pd.DataFrame({"cell_type": kinds, "depth": COUNTS.sum(1)}, index=text(f"cell{i}" for i in range(N)))
    var = pd.DataFrame(index=text(f"gene{i}" for i in range(GENES)))
    matrix = sparse.csr_matrix(np.log1p(COUNTS))
    return anndata.AnnData(
        matrix, obs=obs, var=var, layers={"counts": sparse.csr_matrix(COUNTS)}, obsm={"pca": COUNTS[:, :2]}
    )


def test_cells_give_their_parts_by_name_from_memory_and_from_a_file(cells: Any, tmp_path: Path) -> None:
    import anndata

    assert is_annotated(cells)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    wanted = open_data(outline(spec()), tmp_path, {"x": COUNTS, "y": NAMES})
    for column in ("counts", "layers/counts"):
        resolved = outline(spec(column))
        for data in (cells, None):
            found = open_data(resolved, tmp_path, data)
            assert isinstance(found.train.values["x"], EncodedColumn)
            np.testing.assert_array_equal(found.train.values["x"].take(np.arange(30)), wanted.train.values["x"])
            np.testing.assert_array_equal(found.train.values["y"], wanted.train.values["y"])
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")  # its matrix is read when it is asked for
    own, found = (open_data(outline(spec("X")), tmp_path, data).train.values["x"] for data in (cells, backed))
    backed.file.close()
    np.testing.assert_array_equal(found.take(np.arange(30)), own.take(np.arange(30)))
    cells.obs["counts"] = 1
    with pytest.raises(
        DataError, match="'counts' is in several parts of the cells: name one, layers/counts or obs/coun"
    ):
        open_data(outline(spec("counts")), tmp_path, cells)
    with pytest.raises(DataError, match="no column named 'layers/count'; did you mean 'layers/counts'"):
        open_data(outline(spec("layers/count")), tmp_path, cells)


def test_predictions_for_cells_are_cells_with_their_own_ids(cells: Any, tmp_path: Path) -> None:
    import anndata

    file = tmp_path / "cells.h5ad"
    cells.write_h5ad(file)
    run = sgc.train(spec("layers/counts"), data=cells, output=tmp_path / "run")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predict_run(run.folder, file, tmp_path / "out.h5ad", from_="q", samples=4)
        predict_run(run.folder, file, tmp_path / "out.csv", from_="q", samples=4)
    found, table = anndata.read_h5ad(tmp_path / "out.h5ad"), pd.read_csv(tmp_path / "out.csv")
    assert found.obs_names.tolist() == cells.obs_names.tolist() == table["obs_names"].tolist()
    assert found.obs["y"].tolist() == table["y"].tolist()
    np.testing.assert_allclose(found.obsm["y.probability"], table[["y.probability[B]", "y.probability[T]"]], atol=1e-5)
    np.testing.assert_allclose(found.obs["y.probability"], found.obsm["y.probability"].max(1))
    np.testing.assert_allclose(found.obsm["z"], table[["z[0]", "z[1]"]], rtol=1e-4, atol=1e-5)
    assert found.uns["y.categories"].tolist() == ["B", "T"]


def test_init_reads_cells(cells: Any, tmp_path: Path) -> None:
    cells.write_h5ad(tmp_path / "cells.h5ad")
    text = starting_spec("cells", tmp_path / "cells.h5ad", beside=tmp_path)
    (tmp_path / "cells.yaml").write_text(text)
    started = sgc.load(tmp_path / "cells.yaml")
    assert started.data.columns["x"].names == ("layers/counts",)
    assert started.data.columns["y"].names == ("obs/cell_type",)
    assert started.data.missing_values == ("", "Unknown")
    assert started.nodes["y"].values == ("B", "T")
    assert open_data(outline(started), tmp_path).encoders["x"].variable.shape == (GENES,)
