"""The table of predictions: its columns and their names, and the files it is written to."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

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
    `(N, *event)`, by the node's name, also with `.mean`, `.sd` or `.probability` appended. `categories`: by node, the
    names along the last axis of its probabilities.
    """

    labels: Mapping[str, Array]
    columns: Mapping[str, Array]
    categories: Mapping[str, Sequence[object]]
    outline: Outline = field(repr=False)

    def bytes(self, ending: str) -> bytes:
        """Write it as `.csv` (a line for each row), `.npz` (arrays by name) or `.json` (lists by name)."""
        if ending == ".csv":
            return self._csv().encode()
        names = {
            f"{name}.categories": np.array([*categories], dtype=object) for name, categories in self.categories.items()
        }
        arrays = {**self.labels, **self.columns, **names}
        if ending == ".json":
            return json_text({name: value.tolist() for name, value in arrays.items()}).encode()
        return npz_bytes({name: _without_objects(value) for name, value in arrays.items()})

    def _csv(self) -> str:
        flat: dict[str, Array] = dict(self.labels)
        for column, values in self.columns.items():
            for name, value in self._by_step(column, values).items():
                if value.ndim == 1:
                    flat[name] = value
                else:
                    wide = value.reshape(len(value), -1)
                    places = self._places(column, value.shape[1:])
                    flat |= {f"{name}[{place}]": wide[:, i] for i, place in enumerate(places)}
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(flat)
        for row in zip(*(value.tolist() for value in flat.values()), strict=True):
            writer.writerow([_csv_cell(cell) for cell in row])
        return buffer.getvalue()

    def _places(self, column: str, event: tuple[int, ...]) -> list[str]:
        """Name the places of an event by number, those of probabilities by category."""
        node = column.removesuffix(".probability")
        if node == column or node not in self.categories:
            return [str(i) for i in range(int(np.prod(event)))]
        names = [cell_text(category) for category in self.categories[node]]
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


def _csv_cell(cell: object) -> str:
    """Write a cell of a table, empty if the value is missing."""
    return "" if cell is None or cell != cell else cell_text(cell)


def _without_objects(column: Array) -> Array:
    """Write names of categories as text, unless all are numbers: an archive holds no Python objects."""
    if column.dtype != object:
        return column
    cells = column.ravel().tolist()
    plain = all(isinstance(cell, (int, float)) and not isinstance(cell, bool) for cell in cells)
    written: Array = np.array(cells if plain else ["" if cell is None else cell_text(cell) for cell in cells])
    return written.reshape(column.shape)
