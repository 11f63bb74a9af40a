"""Predictions as AnnData holds them: a row of `obs` for each cell, matrices in `obsm`."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from sgc.data.annotated import IDS
from sgc.data.columns import Array
from sgc.trained.prediction_table import PredictionTable, cell_text

GIVEN = "given"  # the label that says what a row was conditioned on


def annotated_bytes(table: PredictionTable) -> bytes:
    """Write predictions as a .h5ad file, without counts: `adata.obs.join(…)` and `adata.obsm[…]` take them over.

    `obs_names` are the cells' own ids, or the numbers of the rows. A node of one value a row is a column of `obs`: a
    category by its name, beside it `NODE.probability`, that of the one that is named; a number and `NODE.sd`. All
    probabilities of a category, `(N, categories)`, and vectors, `(N, event)`, are in `obsm` by the same names, and the
    names of categories in `uns["NODE.categories"]`.
    """
    import anndata
    import pandas

    ids = table.labels.get(IDS, next(iter(table.labels.values())))
    # text as Python objects: of pandas' own strings anndata writes none
    index = pandas.Index([str(cell) for cell in ids.tolist()], dtype=object)
    obs: dict[str, Any] = {}
    if GIVEN in table.labels:
        obs[GIVEN] = pandas.Series(table.labels[GIVEN].astype(object), index=index, dtype=object)
    obsm: dict[str, Array] = {}
    for name, values in table.columns.items():
        if values.ndim == 1:
            obs[name] = _categorical(table, name, values)
            continue
        wide = values.reshape(len(values), -1)
        single = values.ndim == 2 and wide.shape[1] == 1
        node = name.removesuffix(".probability")
        if single:
            obs[name] = wide[:, 0]
        elif node != name and values.ndim == 2 and table.columns[node].ndim == 1:
            obs[name] = wide.max(axis=1)
        if not single:
            obsm[name] = wide if wide.dtype.kind in "biuf" else wide.astype(str)
    var = pandas.DataFrame(index=pandas.Index([], dtype=object))
    cells = anndata.AnnData(obs=pandas.DataFrame(obs, index=index), var=var, obsm=obsm)
    for node, names in table.categories.items():
        cells.uns[f"{node}.categories"] = np.array([cell_text(name) for name in names])
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ids that stand twice are the caller's
        path = Path(folder, "predictions.h5ad")
        cells.write_h5ad(path)
        return path.read_bytes()


def _categorical(table: PredictionTable, name: str, values: Array) -> Any:  # Any: of pandas
    """Give a node's values as a column: names of categories are pandas' categories, missing ones NaN."""
    import pandas

    if name not in table.categories:
        return values
    names = [cell_text(category) for category in table.categories[name]]
    texts = [None if cell is None or cell == -1 else cell_text(cell) for cell in values.tolist()]
    return pandas.Categorical(texts, categories=pandas.Index(names, dtype=object))
