"""New rows, of a file or from Python, encoded as those of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sgc.data.arrays import array_columns, frame_columns, is_frame
from sgc.data.columns import Array, Origin, SourceColumn
from sgc.data.dataset import Rows, encode_rows
from sgc.data.encoder import Encoder, fit_encoder, read_cells
from sgc.data.finding import known_columns
from sgc.data.gathering import Part, assemble, node_columns
from sgc.data.idx import read_idx
from sgc.data.mat import read_mat
from sgc.data.npz import read_npz
from sgc.data.steps import check_known_counts, mark_absent
from sgc.data.tables import read_table
from sgc.data.variables import Variable
from sgc.errors import DataError
from sgc.kinds.file_sources import TABLES, Images
from sgc.kinds.source import FileSource
from sgc.kinds.sources import DataSection


@dataclass(frozen=True)
class NewRows:
    """New rows, encoded, and of pictures the file of each, as text `(N,)`."""

    rows: Rows
    paths: Array | None = None


def read_rows(
    data: DataSection | None, variables: Mapping[str, Variable], encoders: Mapping[str, Encoder], path: Path
) -> NewRows:
    """Read new rows: a file with the spec's column names (npz, mat, csv, parquet), or one IDX file.

    What the spec's own source can read, a folder of pictures too, is read as the spec says.

    Columns of partial nodes may be absent: their values are then missing in all rows. One IDX file serves where the
    model needs exactly one column.

    Raises:
        DataError: as `open_dataset`; or a file of none of these formats.
    """
    wanted = node_columns(data, variables)
    needed = [name for node, names in wanted.items() if variables[node].supervision != "partial" for name in names]
    optional = [name for node, names in wanted.items() if variables[node].supervision == "partial" for name in names]
    listed = data.names_files_in(path) if isinstance(data, Images) and data.takes(path) else None
    columns = _read(data, path, needed, [*optional, *([] if listed is None else [listed])])
    rows = _encoded(data, variables, encoders, columns, wanted, file=str(path))
    return NewRows(rows, columns[listed].values if listed in columns else None)


def read_arrays(
    data: DataSection | None,
    variables: Mapping[str, Variable],
    encoders: Mapping[str, Encoder] | None,
    arrays: Any,  # any: as in open_dataset
    *,
    seed: int,
) -> tuple[Rows, frozenset[str]]:
    """Read new rows from a mapping by node, or a data frame by column, and say which nodes it has columns for.

    Without `encoders`, of a run, the transforms are those of the spec, none of which may have to learn anything; `seed`
    is then that of a static binarisation.

    Raises:
        DataError: as `open_dataset`; or a transform that learns.
    """
    wanted = node_columns(data, variables)
    if is_frame(arrays):
        names = {str(name) for name in arrays.columns}
        wanted = {node: own for node, own in wanted.items() if _needed(variables[node]) or not names.isdisjoint(own)}
        columns = frame_columns(arrays, [name for own in wanted.values() for name in own])
    else:
        columns = array_columns(arrays)
        known_columns(columns, variables, file=None)
        wanted = {node: (node,) for node in variables if node in columns or _needed(variables[node])}
    return _encoded(data, variables, encoders, columns, wanted, seed=seed), frozenset(wanted)


def _needed(variable: Variable) -> bool:
    return variable.supervision != "partial"


def _encoded(
    data: DataSection | None,
    variables: Mapping[str, Variable],
    encoders: Mapping[str, Encoder] | None,
    columns: Mapping[str, SourceColumn],
    wanted: Mapping[str, tuple[str, ...]],
    *,
    file: str = "",
    seed: int = 0,
) -> Rows:
    """Encode all rows of these columns, of which those of partial nodes may be absent. Raises: DataError."""
    present: dict[str, tuple[str, ...]] = {}
    for node, names in wanted.items():
        if _needed(variables[node]) or any(name in columns for name in names):
            known_columns(names, columns, file=file or None)
            present[node] = names
    part = assemble(columns, present, (), data)
    if encoders is None:
        encoders = _bare_encoders(data, variables, part, seed)
    steps = {name: encoder.transforms for name, encoder in encoders.items()}
    part = mark_absent(part, variables, lambda name: steps.get(name, ()))
    check_known_counts(part, variables)
    return encode_rows(part, variables, encoders, np.arange(part.size, dtype=np.int64))


def _bare_encoders(
    data: DataSection | None, variables: Mapping[str, Variable], part: Part, seed: int
) -> dict[str, Encoder]:
    """Make encoders by the spec alone. Raises: DataError where a transform learns from training rows."""
    found: dict[str, Encoder] = {}
    rows = np.arange(part.size, dtype=np.int64)
    for node, columns in part.nodes.items():
        transforms = data.columns[node].transforms if data is not None and node in data.columns else ()
        origin = Origin(node, columns, rows, variables[node].steps)
        learns = next((each.name for each in transforms if each.learns), None)
        if learns is not None:
            raise origin.error(
                f"the transform '{learns}' learns from training rows: take the model of a run (sgc.open)"
            )
        cells = read_cells(origin, variables[node], transforms)
        found[node], _ = fit_encoder(variables[node], transforms, cells, origin, seed)
    return found


def _read(data: DataSection | None, path: Path, needed: list[str], optional: list[str]) -> dict[str, SourceColumn]:
    if not path.exists():
        raise DataError("no such file", file=str(path))
    if isinstance(data, FileSource) and data.takes(path):
        return data.read_file(path, needed, optional)
    if path.is_dir():
        raise DataError("is a folder: a run on 'source: images' reads one of pictures", file=str(path))
    endings = [each.lower() for each in path.suffixes]
    if endings[-1:] == [".npz"]:
        return read_npz(path, needed, optional=optional)
    if endings[-1:] == [".mat"]:
        return read_mat(path, needed, optional=optional)
    if path.name.lower().endswith(TABLES):
        return read_table(path, needed, optional=optional)
    if "ubyte" in path.name or ".idx" in endings or endings[-1:] == [".gz"]:
        if len(needed) != 1:
            names = ", ".join(f"'{name}'" for name in needed) or "none"
            raise DataError(f"one IDX file holds one column, and the model needs {names}: wanted an npz", str(path))
        return {needed[0]: SourceColumn(needed[0], read_idx(path), str(path))}
    known = ".npz, .mat, .csv, .parquet, or an IDX file (…-ubyte, .idx)"
    raise DataError(f"cannot tell the format of '{path.name}': wanted {known}", file=str(path))
