"""The table of predictions: its columns and their names, and how it is written in each format."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sgc.data.columns import Array, SourceColumn
from sgc.data.tables import UNNAMED
from sgc.errors import UsageError, option
from sgc.runs.file_formats import json_text, npz_bytes
from sgc.spec.outline import Outline

INDEX = "__index_level_"  # how the names of unnamed indices begin in a parquet file


@dataclass(frozen=True)
class PredictionTable:
    """Predictions for rows.

    `labels`: by name, `(N,)` each, what identifies the rows and what they were conditioned on. `columns`: of nodes,
    `(N, *event)`, by the node's name, also with `.mean`, `.sd` or `.probability` appended. `names`: by node whose
    values have names, these names, which of a category stand along the last axis of its probabilities. `types`: of
    labels that are Python objects, the type that they had in their file.
    """

    labels: Mapping[str, Array]
    columns: Mapping[str, Array]
    names: Mapping[str, Sequence[object]]
    outline: Outline = field(repr=False)
    types: Mapping[str, np.dtype[Any]] = field(default_factory=dict)

    @property
    def categories(self) -> dict[str, Sequence[object]]:
        """The names of the categories of nodes, by node."""
        return {node: names for node, names in self.names.items() if self.outline.outer[node].categories is not None}

    @classmethod
    def joined(cls, tables: Sequence[PredictionTable]) -> PredictionTable:
        """Put the rows of several tables one after the other."""
        first = tables[0]
        labels, columns = (
            {name: np.concatenate([getattr(table, key)[name] for table in tables]) for name in getattr(first, key)}
            for key in ("labels", "columns")
        )
        return replace(first, labels=labels, columns=columns)

    def npz(self) -> bytes:
        """Write it as arrays by name."""
        return npz_bytes({name: _without_objects(value) for name, value in self._arrays().items()})

    def json(self) -> bytes:
        """Write it as lists by name."""
        return json_text({name: value.tolist() for name, value in self._arrays().items()}).encode()

    def _arrays(self) -> dict[str, Array]:
        names = {f"{name}.categories": np.array([*names], dtype=object) for name, names in self.categories.items()}
        return {**self.labels, **self.columns, **names}

    def csv_head(self) -> bytes:
        """Write the line of its header, as `.csv` has it."""
        return _csv_lines([list(self._flat())])

    def csv_rows(self) -> bytes:
        """Write its rows, a line each."""
        return _csv_lines(zip(*(_csv_cells(value) for value in self._flat().values()), strict=True))

    def batch(self) -> Any:  # Any: of arrow
        """Make it a batch of arrow, with the columns of the csv, each of its own type; what is missing is null."""
        import pyarrow as arrow

        types = {**{name: arrow.from_numpy_dtype(kind) for name, kind in self.types.items() if kind.kind in "iufb"}}
        types |= {name: _arrow_type(names) for name, names in self.names.items()}
        arrays: dict[str, Any] = {}
        for name, value in self.labels.items():
            arrays[name] = _arrow_array(value, types.get(name, arrow.string()))
        for column, values in self.columns.items():
            for name, value in self._by_step(column, values).items():
                for flat_name, flat in self._by_place(column, name, value).items():
                    arrays[flat_name] = _arrow_array(flat, types.get(column, arrow.string()))
        return arrow.record_batch(list(arrays.values()), names=list(arrays))

    def _flat(self) -> dict[str, Array]:
        """Give every column of the csv, `(N,)`, by the name in its header."""
        flat: dict[str, Array] = dict(self.labels)
        for column, values in self.columns.items():
            for name, value in self._by_step(column, values).items():
                flat |= self._by_place(column, name, value)
        return flat

    def _by_place(self, column: str, name: str, value: Array) -> dict[str, Array]:
        """Give each place of an event a column, `(N,)`."""
        if value.ndim == 1:
            return {name: value}
        wide = value.reshape(len(value), -1)
        return {f"{name}[{place}]": wide[:, i] for i, place in enumerate(self._places(column, value.shape[1:]))}

    def _places(self, column: str, event: tuple[int, ...]) -> list[str]:
        """Name the places of an event by number, those of probabilities by category."""
        node = column.removesuffix(".probability")
        categories = self.categories
        if node == column or node not in categories:
            return [str(i) for i in range(int(np.prod(event)))]
        names = [cell_text(category) for category in categories[node]]
        elements = int(np.prod(event[:-1]))
        return names if elements == 1 else [f"{i},{name}" for i in range(elements) for name in names]

    def _by_step(self, column: str, value: Array) -> dict[str, Array]:
        """Give each step of a node of a repeat a column, named by its own node: `digit.at.sd` as `digit.at@1.sd`."""
        outline = self.outline
        suffix = next((s for s in SUFFIXES if column.endswith(s)), "")
        if column in outline.stepped or column in outline.outer:
            suffix = ""
        owner = column.removesuffix(suffix)
        if owner not in outline.stepped:
            return {column: value}
        stepped = outline.stepped[owner]
        flat = value.reshape(len(value), len(stepped.nodes), *value.shape[1 + len(stepped.steps) :])
        return {f"{node}{suffix}": flat[:, i] for i, node in enumerate(stepped.nodes)}


SUFFIXES = (".probability", ".mean", ".sd")  # of further columns of a node


def unused(name: str, taken: Collection[str]) -> str:
    """Give a column a name that is not taken yet.

    >>> unused("row", {"x"}), unused("row", {"row"})
    ('row', 'row_')
    """
    while name in taken:
        name += "_"
    return name


def own_ids(column: SourceColumn) -> tuple[str, Array]:
    """Give the name of an id column, `id` for an unnamed index, and its values as they are in the file.

    Raises: UsageError for a column with more than one value per row.
    """
    values = column.values
    if values.ndim != 1:
        flag = option("id", column.name, python=f"id_column={column.name!r}")
        raise UsageError(f"{flag}: found rows of the shape {list(values.shape[1:])}, wanted one value a row")
    cells = [cell.decode(errors="replace") if isinstance(cell, bytes) else cell for cell in values.tolist()]
    if values.dtype.kind == "f":  # ids that a missing one has made floats
        cells = [int(cell) if float(cell).is_integer() else cell for cell in cells]
    ids = np.array([*cells, None], dtype=object)[:-1]  # the None keeps numpy from choosing another type
    if column.missing is not None:
        ids[column.missing] = None
    name = "id" if column.name in UNNAMED or column.name.startswith(INDEX) else column.name
    return name, ids


def cell_text(cell: object) -> str:
    """Write a cell as a spec would.

    >>> cell_text(True), cell_text("a"), cell_text(1.5)
    ('true', 'a', '1.5')
    """
    return str(cell).lower() if isinstance(cell, bool) else f"{cell:.6g}" if isinstance(cell, float) else str(cell)


def _csv_lines(rows: Iterable[Sequence[object]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue().encode()


def _csv_cells(values: Array) -> list[str]:
    """Write the cells of a column, empty where a value is missing."""
    cells = values.tolist()
    if values.dtype.kind == "f":  # as `cell_text` does, in a third of the time
        return ["" if cell != cell else f"{cell:.6g}" for cell in cells]
    return ["" if cell is None or cell != cell else cell_text(cell) for cell in cells]


def _arrow_type(names: Sequence[object]) -> Any:  # Any: of arrow
    """Choose the type of a column whose values have these names."""
    import pyarrow as arrow

    kinds = {type(name) for name in names}
    for of, kind in (({bool}, arrow.bool_()), ({int}, arrow.int64()), ({int, float}, arrow.float64())):
        if kinds and kinds <= of:
            return kind
    return arrow.string()


def _arrow_array(values: Array, of_objects: Any) -> Any:  # Any: of arrow
    """Make an array of arrow; of_objects: the type of one of Python objects. What is None or NaN is null."""
    import pyarrow as arrow

    if values.dtype != object:
        return arrow.array(values, from_pandas=True)
    cells = values.tolist()
    if of_objects == arrow.string():
        cells = [None if cell is None else cell if isinstance(cell, str) else cell_text(cell) for cell in cells]
    return arrow.array(cells, of_objects, from_pandas=True)


def _without_objects(column: Array) -> Array:
    """Write names of categories as text, unless all are numbers: an archive holds no Python objects."""
    if column.dtype != object:
        return column
    cells = column.ravel().tolist()
    plain = all(isinstance(cell, (int, float)) and not isinstance(cell, bool) for cell in cells)
    written: Array = np.array(cells if plain else ["" if cell is None else cell_text(cell) for cell in cells])
    return written.reshape(column.shape)
