"""The rows that the page may begin with: held-out and training rows of the run, and rows that the user brings."""

from __future__ import annotations

import base64
import binascii
import tempfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from torch import Tensor

from sgc.data.dataset import DataSet
from sgc.data.encoder import Encoder
from sgc.data.new_rows import read_arrays, read_rows
from sgc.data.pictures import ENDINGS, opened
from sgc.errors import DataError, UsageError, printable
from sgc.runtime.data_variables import data_variables
from sgc.runtime.model import Model
from sgc.runtime.steps import join
from sgc.runtime.streams import TensorRows
from sgc.samples.panels import picture_shape
from sgc.samples.shown_rows import SPLITS, category_word

KEPT = 8  # tables of rows that the user brought, the newest
READ = (".csv", ".npz", ".mat", ".parquet")


@dataclass(frozen=True)
class Row:
    """One row: what is always observed of it, and its labels, by node, [1, *event]; and its number in its file."""

    rows: str
    place: int
    number: int
    count: int
    observed: dict[str, Tensor]
    labels: dict[str, Tensor]


class RowSource:
    """The rows of a run by split, and those that were brought; `missing` says why the run's own are not there."""

    def __init__(
        self, model: Model, encoders: Mapping[str, Encoder], dataset: DataSet | None, missing: str = ""
    ) -> None:
        self.model, self.encoders, self.missing = model, encoders, missing
        self._draw = np.random.default_rng()
        self.splits: dict[str, TensorRows] = {}
        for name in SPLITS if dataset is not None else ():
            rows = TensorRows(getattr(dataset, name), model.outline, model.like)
            if rows.count:
                self.splits[name] = rows.drawn_once(model.spec.train.seed)
        self.brought: OrderedDict[str, TensorRows] = OrderedDict()
        self._number = 0

    def table(self, name: str) -> TensorRows:
        """Find rows by the name of their split, or that of what was brought. Raises: UsageError."""
        rows = self.splits.get(name) or self.brought.get(name)
        if rows is None:
            raise UsageError(
                f"no rows named '{printable(name)}': they were brought to an earlier start, or given up since"
            )
        return rows

    def row(self, name: str, place: int) -> Row:
        """Take one row. Raises: UsageError."""
        rows = self.table(name)
        if place >= rows.count:
            raise UsageError(f"the {name} rows end at {rows.count - 1}")
        index = np.array([place])
        carried = [node for node, label in zip(rows.partial, rows.labels[place], strict=True) if label]
        observed = dict(rows.part(index, frozenset()).values)
        both = rows.part(index, frozenset(carried)).values if carried else observed
        labels = {node: both[node] for node in carried}
        return Row(name, place, int(rows.row_ids[place]), rows.count, observed, labels)

    def plain(self) -> dict[str, Any]:  # Any: what JSON can say
        """Describe them for the page."""
        return {
            "splits": [{"name": name, "count": rows.count} for name, rows in self.splits.items()],
            "missing": self.missing,
            "labels": self._labels(),
        }

    def _labels(self) -> dict[str, list[str]]:
        """Name the nodes with a category in a row that rows can be searched by, and their categories."""
        found: dict[str, list[str]] = {}
        for name, variable in self.model.outline.outer.items():
            if variable.categories is None or len(variable.event) != 1:
                continue
            if any(name in rows.names and bool(rows.present(name).any()) for rows in self.splits.values()):
                found[name] = [category_word(self.model, name, place) for place in range(variable.categories)]
        return found

    # ---- from one row to another

    def walk(self, name: str, place: int, way: str, value: int, node: str) -> int:
        """Find the place of another row; see `Walk`. Raises: UsageError where there is none."""
        rows = self.table(name)
        if way == "random":
            return int(self._draw.integers(rows.count))
        if way == "step":
            return (place + value) % rows.count
        if way == "number":
            places = np.flatnonzero(rows.row_ids == value)
            if not len(places):
                low, high = int(rows.row_ids.min()), int(rows.row_ids.max())
                raise UsageError(f"no {name} row has the number {value}: their numbers lie between {low} and {high}")
            return int(places[0])
        if node not in rows.names or node not in self._labels():
            raise UsageError(f"rows cannot be searched by '{printable(node)}'")
        places = np.flatnonzero(rows.take(node, np.arange(rows.count)).numpy() == value)
        if not len(places):
            raise UsageError(f"no {name} row has the label {node} = {category_word(self.model, node, value)}")
        later = places[places > place]
        return int(later[0] if len(later) else places[0])

    # ---- rows that are brought

    def bring(self, file: str, content: str, *, inverted: bool = False) -> str:
        """Take rows from the contents of a file, in base64, and give them a name.

        file: its name, whose ending says what it is. inverted: dark and light of a picture are exchanged.

        Raises: DataError or UsageError.
        """
        try:
            data = base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError):
            raise UsageError("what was brought is not in base64") from None
        ending = PurePath(file).suffix.lower()
        if ending not in (*READ, *ENDINGS):
            raise UsageError(f"cannot read '{ending or printable(file)}': wanted {', '.join(READ)} or a picture")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"rows{ending}"
            path.write_bytes(data)
            try:
                rows = self._picture(path, inverted) if ending in ENDINGS else self._table(path)
            except DataError as problem:
                where = printable(file) if problem.file == str(path) else problem.file
                message = problem.message.replace(str(path), printable(file))
                raise DataError(message, where, problem.row) from None
        self._number += 1
        name = f"{printable(PurePath(file).name)[:60]} ({self._number})"
        self.brought[name] = rows.drawn_once(self.model.spec.train.seed)
        if len(self.brought) > KEPT:
            self.brought.popitem(last=False)
        return name

    def _table(self, path: Path) -> TensorRows:
        outline = self.model.outline
        rows = read_rows(outline.spec.data, data_variables(outline), self.encoders, path).rows
        return self._some(TensorRows(rows, outline, self.model.like))

    def _picture(self, path: Path, inverted: bool) -> TensorRows:
        """Read one picture as the value of the only picture that rows have, brought to its size and shades."""
        outline = self.model.outline
        pictures = [
            name
            for name, variable in outline.outer.items()
            if variable.supervision != "none" and name not in outline.stepped and picture_shape(variable.event)
        ]
        if len(pictures) != 1:
            found = " and ".join(pictures) or "none"
            raise UsageError(f"a picture is taken where the rows have one of their own, and here they have {found}")
        (name,) = pictures
        encoder = self.encoders[name]
        cells = self._cells(name, encoder)
        shape = picture_shape(cells.shape[1:]) or picture_shape(outline.outer[name].event)
        assert shape is not None
        with opened(path, 0) as file:
            from PIL import ImageOps

            colour = len(shape) == 3
            picture = ImageOps.exif_transpose(file).convert("RGB" if colour else "L")
            picture = picture.resize((shape[-1], shape[-2]))
        shades = np.asarray(picture, dtype=np.float64) / 255
        shades = 1 - shades if inverted else shades
        shades = shades.transpose(2, 0, 1) if shades.ndim == 3 else shades
        low, high = float(np.nanmin(cells)), float(np.nanmax(cells))
        raw = (low + (high - low) * shades).reshape(1, *cells.shape[1:])
        rows, _ = read_arrays(outline.spec.data, data_variables(outline), self.encoders, {name: raw}, seed=0)
        return self._some(TensorRows(rows, outline, self.model.like))

    def _cells(self, name: str, encoder: Encoder) -> np.ndarray:
        """Give some values of a node as data have them, whose ends are black and white."""
        if self.splits:
            rows = next(iter(self.splits.values()))
            return encoder.decode(rows.take(name, np.arange(min(rows.count, 200))).double().numpy())
        variable = self.model.outline.outer[name]
        ends = np.array(variable.support.shades or (0.0, 1.0)).reshape(2, *(1,) * len(variable.event))
        return encoder.decode(np.broadcast_to(ends, (2, *variable.event)))

    def _some(self, rows: TensorRows) -> TensorRows:
        if not rows.count:
            raise UsageError("what was brought has no rows")
        return rows


def own_values(model: Model, row: Row) -> dict[str, Tensor]:
    """Give what a row shows of itself, its labels too, by outer name: [1, *steps, *event]."""
    return join(model.outline, {**row.observed, **row.labels})
