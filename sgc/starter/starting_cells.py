"""A starting spec from cells: the counts of a .h5ad file, and an annotation as the label."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from sgc.data.annotated import MATRIX, RAW, layer_names, read_h5ad
from sgc.errors import DataError
from sgc.starter.spec_text import LABELS, ROWS, DataFiles, Label, Observed, compose, quoted

# of annotations, those that the field calls the types of cells
TYPES = (
    "cell_type",
    "celltype",
    "cell_types",
    "celltypes",
    "cell_label",
    "bulk_labels",
    "annotation",
    "louvain",
    "leiden",
)
UNKNOWN = ("unknown", "unlabeled", "unlabelled", "unassigned", "nan", "na", "")
MOST = 200  # categories of a label
WIDE = 200  # genes from which networks are larger


def cells_spec(name: str, path: Path, files: DataFiles) -> str:
    """Write a spec to start from: the counts, or what X holds, an annotation as y, and a latent z.

    Raises: DataError, of a file that cannot be read or holds no matrix.
    """
    cells = read_h5ad(path)
    column, counts = _matrix(cells)
    if column is None:
        raise DataError("the cells have no matrix: neither X, nor raw, nor a layer", file=str(path))
    genes = int(_values(cells, column).shape[1])
    family = "NegativeBinomial    # of counts; by gene, and of each cell by its y and z" if counts else "Normal"
    entry = f"{{column: {_written(column)}{'' if counts else ', transforms: [standardize]'}}}"
    why = "whole numbers from 0 up, taken for counts" if counts else "numbers with fractions, taken for measurements"
    lines = (f"distribution: {family}", f"shape: [{genes}]")
    observed = [Observed("x", entry, lines, (f"{column}: {why}; sparse rows are made dense in their batch",))]
    label, unknown = _label(cells)
    source = ["source: h5ad", files.line]
    if unknown:
        marks = ", ".join(json.dumps(mark) for mark in ("", *unknown))
        source.append(f"missing_values: [{marks}]    # the marks of cells without a label")
    head = [f"A starting spec for the {cells.n_obs:,} cells of {path.name}: read it, and mend what is wrong."]
    others = [str(other) for other in cells.obs.columns if label is None or other != label.column.partition("/")[2]]
    if others:
        shown = ", ".join(others[:8]) + (f" and {len(others) - 8} more" if len(others) > 8 else "")
        head.append(f"Left out of obs: {shown}; a batch can be an input (docs/guides/covariates.md).")
    own_test = files.test is not None
    return compose(name, head, source, observed, label, counts=counts, own_test=own_test, pictures=genes >= WIDE)


def _matrix(cells: Any) -> tuple[str | None, bool]:  # Any: an AnnData
    """Choose the matrix that is modelled: counts where there are some, in a layer, in X, or in raw."""
    named = [f"layers/{layer}" for layer in sorted(layer_names(cells), key=lambda layer: layer != "counts")]
    known = [*named, *([MATRIX] if cells.X is not None else []), *([RAW] if cells.raw is not None else [])]
    whole = [column for column in known if _counted(_values(cells, column))]
    if whole:
        return whole[0], True
    return (MATRIX if MATRIX in known else known[0] if known else None), False


def _values(cells: Any, column: str) -> Any:  # Any: an AnnData; an array or a sparse matrix
    if column == MATRIX:
        return cells.X
    return cells.raw.X if column == RAW else cells.layers[column.partition("/")[2]]


def _counted(matrix: Any) -> bool:  # Any: as above
    """Tell whether the first rows are whole numbers from 0 up."""
    rows = matrix[:ROWS]
    values = np.asarray(rows.data if hasattr(rows, "tocsr") else rows)
    return bool(values.size == 0 or ((values >= 0).all() and (values == np.floor(values)).all()))


def _label(cells: Any) -> tuple[Label | None, list[str]]:  # Any: as above
    """Choose an annotation of categories, by its name or the last; and name its categories that say it is unknown."""
    usable = [str(name) for name in cells.obs.columns if 2 <= len(_kinds(cells.obs[name])) <= MOST]
    named = [name for name in usable if name.lower() in (*TYPES, *LABELS)]
    if not usable:
        return None, []
    chosen = min(named, key=lambda name: [*TYPES, *LABELS].index(name.lower())) if named else usable[-1]
    cell_types = cells.obs[chosen]
    kinds = _kinds(cell_types)
    unknown = [kind for kind in kinds if kind.lower() in UNKNOWN]
    known = [kind for kind in kinds if kind not in unknown]
    empty = int(cell_types.isna().sum() + cell_types.astype(str).isin(unknown).sum())
    why = "by its name" if named else "the last annotation of categories"
    label = Label(f"obs/{chosen}", tuple(_name(kind) for kind in known), empty, why, known=len(cell_types) - empty)
    return (label if len(known) > 1 else None), unknown if len(known) > 1 else []


def _kinds(annotation: Any) -> list[str]:  # Any: a series of pandas
    """List the different categories of an annotation; none of numbers, but of whole ones that are few."""
    present = annotation.dropna()
    if getattr(annotation.dtype, "kind", "O") in "fiuc":
        return []
    return sorted({str(kind) for kind in present.unique()})


def _name(kind: str) -> str:
    return json.dumps(kind, ensure_ascii=False) if kind.lstrip("-").isdecimal() else quoted(kind)


def _written(column: str) -> str:
    return column if column in (MATRIX, RAW) else quoted(column)
