"""New rows, from a file or from Python, encoded as those of a run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgc.data.annotated import IDS, annotated_columns, is_annotated, read_h5ad
from sgc.data.arrays import array_columns, frame_columns, is_frame
from sgc.data.columns import MISSING, Array, Origin, SourceColumn, SourceColumns
from sgc.data.dataset import Rows, encode_rows
from sgc.data.element_names import matched
from sgc.data.empty_cells import MARKS
from sgc.data.encoder import Encoder, fit_encoder, read_cells
from sgc.data.existing_steps import check_known_counts, mark_absent
from sgc.data.file_search import known_columns
from sgc.data.idx import read_idx
from sgc.data.large_columns import EncodedColumn
from sgc.data.mat import read_mat
from sgc.data.numpy_files import read_npz
from sgc.data.shards import SCHEMES, scheme_of
from sgc.data.source_columns import Part, assemble, node_columns
from sgc.data.sources.cell_source import ENDING as CELLS
from sgc.data.sources.file_sources import TABLES, Images, Table
from sgc.data.sources.shard_sources import Parquet, ShardSource
from sgc.data.sources.source import FileSource
from sgc.data.sources.source_section import DataSection
from sgc.data.tables import index_column, read_table, table_chunks
from sgc.data.variables import Variable
from sgc.errors import DataError, check_regular


@dataclass(frozen=True)
class NewRows:
    """New rows, encoded.

    `given` marks, for each partial node that is evidence, the rows that have a value, `(N,)`; `ignored` counts these
    rows for each other partial node. `ids` is the column of the rows' own ids; `paths` are the files of pictures.
    """

    rows: Rows
    given: Mapping[str, NDArray[np.bool_]]
    ignored: Mapping[str, int]
    ids: SourceColumn | None = None
    paths: Array | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, start: int, stop: int) -> NewRows:
        """Take these rows, with values in memory; `ignored` counts those of all rows in the part that begins."""
        index = np.arange(start, min(stop, len(self)))
        values = {
            name: value.take(index) if isinstance(value, EncodedColumn) else value[index]
            for name, value in self.rows.values.items()
        }
        return NewRows(
            replace(self.rows, values=values, rows=self.rows.rows[index]),
            {node: has_value[index] for node, has_value in self.given.items()},
            self.ignored if start == 0 else dict.fromkeys(self.ignored, 0),
            None if self.ids is None else _part_of(self.ids, start, stop),
            None if self.paths is None else self.paths[index],
        )


def _part_of(column: SourceColumn, start: int, stop: int) -> SourceColumn:
    null = None if column.null is None else column.null[start:stop]
    return replace(column, values=column.values[start:stop], null=null, lines=None, absent=None)


@dataclass(frozen=True)
class RowFile:
    """A file of new rows, and how a run reads them: as a whole, or a table chunk by chunk.

    `wanted` are the columns of each node; `taken` the partial nodes whose values are evidence. `needed` and `optional`
    are the columns that are read, `index` that of the rows' own ids and `listed` that of the files of pictures.
    """

    data: DataSection | None
    variables: Mapping[str, Variable]
    encoders: Mapping[str, Encoder]
    path: Path
    wanted: Mapping[str, tuple[str, ...]]
    taken: tuple[str, ...]
    needed: tuple[str, ...]
    optional: tuple[str, ...]
    index: str | None
    listed: str | None

    @classmethod
    def of(
        cls,
        data: DataSection | None,
        variables: Mapping[str, Variable],
        encoders: Mapping[str, Encoder],
        path: Path,
        *,
        evidence: Collection[str] | None = None,
        id_column: str | None = None,
    ) -> RowFile:
        """Find out how to read a file; the parameters are as in `read_rows`. Raises: DataError."""
        check_regular(path)
        wanted = node_columns(data, variables)
        partial = [node for node in wanted if variables[node].supervision == "partial"]
        needed = [name for node, names in wanted.items() if node not in partial for name in names]
        listed = data.names_files_in(path) if isinstance(data, Images) and data.takes(path) else None
        index = _index_column(data, path) if id_column is None else id_column
        more = [column for column in (listed, index if id_column is None else None) if column is not None]
        return cls(
            data,
            variables,
            encoders,
            path,
            wanted,
            tuple(node for node in partial if evidence is None or node in evidence),
            (*needed, *([] if id_column is None else [id_column])),
            (*(name for node in partial for name in wanted[node]), *more),
            index,
            listed,
        )

    @property
    def in_chunks(self) -> bool:
        """Whether it is a table, which can be read chunk by chunk."""
        if not self.path.is_file() or not self.path.name.lower().endswith(TABLES):
            return False
        return isinstance(self.data, Table) or not (isinstance(self.data, FileSource) and self.data.takes(self.path))

    def read(self) -> NewRows:
        """Read and encode all rows. Raises: DataError."""
        return self.encode(_read(self.data, self.path, list(self.needed), list(self.optional)))

    def chunks(self, size: int, skip: int = 0) -> Iterator[SourceColumns]:
        """Read the columns of a table so many rows at a time, without the first `skip`. Raises: DataError."""
        return table_chunks(
            self.path,
            self.needed,
            size=size,
            skip=skip,
            separator=self.data.separator if isinstance(self.data, Table) else ",",
            missing_values=self.data.missing_values if isinstance(self.data, Table | Parquet) else MARKS,
            optional=self.optional,
        )

    def encode(self, columns: SourceColumns) -> NewRows:
        """Encode the rows of these columns, which may be a chunk of the file. Raises: DataError."""
        partial = [node for node in self.wanted if self.variables[node].supervision == "partial"]
        wanted = {
            node: own
            for node, own in self.wanted.items()
            if node in self.taken or node not in partial or {*own} <= columns.keys()
        }
        others = () if self.index is None else (self.index,)
        part = _part(self.data, self.variables, columns, wanted, others, file=str(self.path))
        filled = {node: _with_value(part.nodes[node], self.variables[node]) for node in partial if node in part.nodes}
        used = {node: own for node, own in part.nodes.items() if node in self.taken or node not in partial}
        rows = _encoded(self.data, self.variables, self.encoders, replace(part, nodes=used))
        first = next(iter(columns.values())).first
        return NewRows(
            replace(rows, rows=rows.rows + first),
            {node: rows_filled for node, rows_filled in filled.items() if node in self.taken},
            {node: int(rows_filled.sum()) for node, rows_filled in filled.items() if node not in self.taken},
            None if self.index is None else part.others[self.index],
            columns[self.listed].values if self.listed in columns else None,
        )


def read_rows(
    data: DataSection | None,
    variables: Mapping[str, Variable],
    encoders: Mapping[str, Encoder],
    path: Path,
    *,
    evidence: Collection[str] | None = None,
    id_column: str | None = None,
) -> NewRows:
    """Read new rows: a file with the spec's column names (npz, mat, csv, parquet), or one IDX file.

    A file that the spec's own source can read, or a folder of pictures, is read as the spec says.

    Columns of partial nodes may be absent: their values are then missing in all rows. One IDX file is enough where the
    model needs exactly one column.

    evidence: the partial nodes whose values are used, all of them if None; of the others only the number of values is
    reported. id_column: the column of the rows' own ids; None: the index column of a table, if pandas wrote one.

    Raises:
        DataError: as `open_dataset`; or a file of none of these formats, or evidence without a column.
    """
    return RowFile.of(data, variables, encoders, path, evidence=evidence, id_column=id_column).read()


def read_arrays(
    data: DataSection | None,
    variables: Mapping[str, Variable],
    encoders: Mapping[str, Encoder] | None,
    arrays: Any,  # Any: as in open_dataset
    *,
    seed: int,
) -> tuple[Rows, frozenset[str]]:
    """Read new rows from a mapping by node, or a data frame by column; return them and the nodes that have columns.

    Without the `encoders` of a run, the transforms are those of the spec, and none of them may learn; `seed` is then
    that of a static binarisation.

    Raises:
        DataError: as `open_dataset`; or a transform that learns.
    """
    wanted = node_columns(data, variables)
    if is_annotated(arrays):
        required = [name for node, own in wanted.items() if _needed(variables[node]) for name in own]
        columns = annotated_columns(arrays, required, [name for own in wanted.values() for name in own])
        wanted = {n: own for n, own in wanted.items() if _needed(variables[n]) or not columns.keys().isdisjoint(own)}
    elif is_frame(arrays):
        names = {str(name) for name in arrays.columns}
        wanted = {node: own for node, own in wanted.items() if _needed(variables[node]) or not names.isdisjoint(own)}
        columns = frame_columns(arrays, [name for own in wanted.values() for name in own])
    else:
        columns = array_columns(arrays)
        known_columns(columns, variables, file=None)
        wanted = {node: (node,) for node in variables if node in columns or _needed(variables[node])}
    part = _part(data, variables, columns, wanted, ())
    return _encoded(data, variables, encoders, part, seed=seed), frozenset(wanted)


def _needed(variable: Variable) -> bool:
    return variable.supervision != "partial"


def _part(
    data: DataSection | None,
    variables: Mapping[str, Variable],
    columns: Mapping[str, SourceColumn],
    wanted: Mapping[str, tuple[str, ...]],
    others: tuple[str, ...],
    *,
    file: str = "",
) -> Part:
    """Give each node its columns; those of partial nodes may be absent. Raises: DataError."""
    present: dict[str, tuple[str, ...]] = {}
    for node, names in wanted.items():
        if _needed(variables[node]) or any(name in columns for name in names):
            known_columns(names, columns, file=file or None)
            present[node] = names
    return assemble(columns, present, others, data)


def _encoded(
    data: DataSection | None,
    variables: Mapping[str, Variable],
    encoders: Mapping[str, Encoder] | None,
    part: Part,
    *,
    seed: int = 0,
) -> Rows:
    """Encode all rows of a part. Raises: DataError."""
    if encoders is None:
        encoders = _bare_encoders(data, variables, part, seed)
    else:
        part = replace(part, nodes=matched(part.nodes, {name: each.elements for name, each in encoders.items()}))
    steps = {name: encoder.transforms for name, encoder in encoders.items()}
    part = mark_absent(part, variables, lambda name: steps.get(name, ()))
    check_known_counts(part, variables)
    return encode_rows(part, variables, encoders, np.arange(part.size, dtype=np.int64))


def _bare_encoders(
    data: DataSection | None, variables: Mapping[str, Variable], part: Part, seed: int
) -> dict[str, Encoder]:
    """Make encoders by the spec alone. Raises: DataError where a transform learns from training rows."""
    encoders: dict[str, Encoder] = {}
    rows = np.arange(part.size, dtype=np.int64)
    for node, columns in part.nodes.items():
        transforms = data.columns[node].transforms if data is not None and node in data.columns else ()
        origin = Origin(node, columns, rows, variables[node].steps)
        learns = next((transform.name for transform in transforms if transform.learns), None)
        if learns is not None:
            raise origin.error(
                f"the transform '{learns}' learns from training rows: take the model of a run (sgc.open)"
            )
        cells = read_cells(origin, variables[node], transforms)
        encoders[node], _ = fit_encoder(variables[node], transforms, cells, origin, seed)
    return encoders


def _index_column(data: DataSection | None, path: Path) -> str | None:
    """Name the index column of a table, or of cells; None where there is none, or another file."""
    if path.name.lower().endswith(CELLS):
        return IDS
    if not path.is_file() or not path.name.lower().endswith(TABLES):
        return None
    return index_column(path, data.separator if isinstance(data, Images | Table) and data.takes(path) else ",")


def _with_value(columns: tuple[SourceColumn, ...], variable: Variable) -> NDArray[np.bool_]:
    """Tell for each row whether it has a value, whatever it is: `(N,)`. A value that is whole needs all of its cells.

    Of a node of a repeat: whether some step has a value.
    """
    filled = np.stack([_filled(column, variable).reshape(len(column), -1) for column in columns], axis=2)
    if variable.whole and not variable.steps:
        return np.asarray(filled.reshape(len(filled), -1).all(1))
    return np.asarray(filled.reshape(len(filled), -1).any(1))


def _filled(column: SourceColumn, variable: Variable) -> NDArray[np.bool_]:
    """Mark the cells of a column that are not empty: `(N, *event)`."""
    values, empty = np.asarray(column.values), column.missing
    gone = np.zeros(values.shape, dtype=bool) if empty is None else empty
    if values.dtype.kind == "f":
        gone = gone | np.isnan(values)
    if variable.categories is not None and values.dtype.kind in "if":
        gone = gone | (values == MISSING)
    if values.dtype.kind in "US":
        texts = np.char.lower(values.astype(str))
        named = variable.values is not None and str(MISSING) in map(str, variable.values)
        gone = gone | np.isin(texts, ["", "nan", *([] if variable.categories is None or named else [str(MISSING)])])
    return np.asarray(~gone)


def _read(data: DataSection | None, path: Path, needed: list[str], optional: list[str]) -> SourceColumns:
    if not path.exists():
        address = str(path).replace(":/", "://", 1)  # as it was, before it was taken for a path
        if scheme_of(address) in SCHEMES:
            raise DataError("is far away: new rows are read from this machine, so fetch the file first", file=address)
        raise DataError("no such file", file=str(path))
    if isinstance(data, FileSource | ShardSource) and data.takes(path):
        return data.read_file(path, needed, optional)
    if path.is_dir():
        raise DataError("is a folder: a run on 'source: images' reads one of pictures", file=str(path))
    endings = [suffix.lower() for suffix in path.suffixes]
    if endings[-1:] == [".npz"]:
        return read_npz(path, needed, optional=optional)
    if endings[-1:] == [".mat"]:
        return read_mat(path, needed, optional=optional)
    if path.name.lower().endswith(CELLS):
        return annotated_columns(read_h5ad(path), needed, optional, file=str(path))
    if path.name.lower().endswith(TABLES):
        marks = data.missing_values if isinstance(data, Parquet) else MARKS
        return read_table(path, needed, missing_values=marks, optional=optional)
    if "ubyte" in path.name or ".idx" in endings or endings[-1:] == [".gz"]:
        if len(needed) != 1:
            names = ", ".join(f"'{name}'" for name in needed) or "none"
            raise DataError(f"one IDX file holds one column, and the model needs {names}: wanted an npz", str(path))
        return {needed[0]: SourceColumn(needed[0], read_idx(path), str(path))}
    known = ".npz, .mat, .csv, .parquet, .h5ad, or an IDX file (…-ubyte, .idx)"
    raise DataError(f"cannot tell the format of '{path.name}': wanted {known}", file=str(path))
