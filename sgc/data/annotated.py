"""AnnData: cells with layers, annotations and embeddings, whose parts are columns by name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sgc.data.arrays import array_column
from sgc.data.columns import SourceColumns
from sgc.data.element_names import named
from sgc.data.empty_cells import Mark
from sgc.data.raw_files import reading
from sgc.errors import DataError, suggest

IDS = "obs_names"  # the cells' own names
MATRIX, RAW = "X", "raw"
GROUPS = ("layers", "obsm", "obs")  # the parts that have names of their own: layers/counts, obsm/X_pca, obs/cell_type


def is_annotated(data: object) -> bool:
    """Tell an AnnData, without importing anndata."""
    return hasattr(data, "obs_names") and hasattr(data, "obsm") and hasattr(data, "layers")


def annotated_names(cells: Any) -> list[str]:  # Any: an AnnData
    """List the columns that an AnnData has, each by its whole name."""
    names = [MATRIX] if cells.X is not None else []
    names += [RAW] if cells.raw is not None else []
    named = {"layers": layer_names(cells), "obsm": cells.obsm.keys(), "obs": cells.obs.keys()}
    return [*names, *(f"{group}/{name}" for group in GROUPS for name in named[group]), IDS]


def layer_names(cells: Any) -> list[str]:  # Any: as above
    """List the layers that have a name: anndata 0.13 takes X for one as well, whose name is None."""
    return [name for name in cells.layers if name is not None]


def annotated_columns(
    cells: Any,  # Any: an AnnData
    columns: Collection[str],
    optional: Collection[str] = (),
    *,
    file: str = "",
    marks: tuple[Mark, ...] | None = None,
) -> SourceColumns:
    """Take these columns of an AnnData, and those of `optional` that it has; sparse counts stay sparse.

    `X`, `raw` (the counts of `.raw`), `layers/NAME`, `obsm/NAME`, `obs/NAME` and `obs_names`; NAME alone where only one
    of the three has it.

    Raises:
        DataError: no such column, or a name that several parts have.
    """
    known = annotated_names(cells)
    taken: SourceColumns = {}
    for name in dict.fromkeys([*columns, *optional]):
        places = list(_places(name, known))
        if not places and name not in columns:
            continue
        if not places:
            bare = [whole.partition("/")[2] for whole in known if "/" in whole]
            raise DataError(f"no column named '{name}'; {suggest(name, [*known, *bare])}", file=file or None)
        if len(places) > 1:
            raise DataError(f"'{name}' is in several parts of the cells: name one, {' or '.join(places)}", file or None)
        values = _values(cells, places[0])
        values = values.to_memory() if hasattr(values, "to_memory") else values  # sparse counts in backed mode
        column = replace(array_column(name, values), file=file, marks=marks)
        taken[name] = named(column, _elements(cells, places[0]))
    return taken


def _places(name: str, known: Collection[str]) -> Iterator[str]:
    if name in known:
        yield name
        return
    yield from (f"{group}/{name}" for group in GROUPS if f"{group}/{name}" in known)


def _values(cells: Any, whole: str) -> Any:  # Any: as above
    if whole == MATRIX:
        return cells.X
    if whole == RAW:
        return cells.raw.X
    if whole == IDS:
        return np.asarray(cells.obs_names.to_numpy(), dtype=object)
    group, _, name = whole.partition("/")
    values = getattr(cells, group)[name]
    return values.to_numpy() if hasattr(values, "columns") and hasattr(values, "to_numpy") else values


def _elements(cells: Any, whole: str) -> Sequence[object]:  # Any: as above
    """Name the numbers of a row: genes, or the columns of a table in obsm; none of what has one number a row."""
    group, _, name = whole.partition("/")
    if whole == MATRIX or group == "layers":
        return list(cells.var_names)
    if whole == RAW:
        return list(cells.raw.var_names)
    return list(getattr(cells.obsm[name], "columns", ())) if group == "obsm" else ()


def read_h5ad(path: Path) -> Any:  # Any: an AnnData
    """Read a file of cells as a whole; its counts stay sparse. Raises: DataError."""
    try:
        import anndata
    except ImportError as error:
        raise DataError("a .h5ad file needs anndata: pip install 'sgc[cells]'", file=str(path)) from error
    with reading(path), open(path, "rb"):
        pass  # an error of the disk names the file
    try:
        return anndata.read_h5ad(path)
    except Exception as error:  # h5py raises errors of every kind for a file that is damaged
        lines = str(error).splitlines()
        raise DataError(f"cannot be read as h5ad: {lines[0] if lines else type(error).__name__}", str(path)) from error
