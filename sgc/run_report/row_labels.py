"""What held-out rows are labelled with, as columns of numbers in the units of the data: to colour and to compare."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sgc.evaluation.disentanglement import Factor
from sgc.run_report.inferred_rows import InferredRows, Numbers
from sgc.runtime.steps import nodes_of, steps_of
from sgc.spec.measured_nodes import measured

ELEMENTS = 4  # of a node's value that are taken; nodes of more than `MANY` are no labels to colour by
MANY = 12


@dataclass(frozen=True)
class RowLabel:
    """One labelled quantity of rows: numbers [n], NaN where a row has none; of categories places among the `names`.

    turn: a whole turn in the unit of the numbers, for angles; 0 for other numbers.
    """

    node: str
    name: str
    values: Numbers
    names: tuple[str, ...] = ()
    turn: float = 0.0

    @property
    def categorical(self) -> bool:
        """Whether rows have categories."""
        return bool(self.names)

    def factors(self) -> list[Factor]:
        """Give it as factors of disentanglement: an angle is two, so that no two of its values are far apart."""
        if not self.turn:
            return [Factor(self.name, self.values, self.categorical)]
        angle = self.values * (2 * math.pi / self.turn)
        return [Factor(f"cos {self.name}", np.cos(angle), False), Factor(f"sin {self.name}", np.sin(angle), False)]

    def take(self, rows: np.ndarray) -> RowLabel:
        """Give it for some of the rows."""
        return RowLabel(self.node, self.name, self.values[rows], self.names, self.turn)


def turns_of(inferred: InferredRows, name: str, columns: int) -> tuple[float, ...]:
    """Give a whole turn for each column of a node's decoded values, 0 where it is no angle."""
    outline, encoder = inferred.rows.outline, inferred.rows.encoders.get(name)
    turns = next((step.turns for step in encoder.transforms if step.turns), ()) if encoder is not None else ()
    if turns:
        return tuple(turns[column % len(turns)] for column in range(columns))
    return (2 * math.pi if measured(outline, name).periodic else 0.0,) * columns


def column_names(inferred: InferredRows, name: str, count: int) -> tuple[str, ...]:
    """Name the columns of a node's decoded values: as the data do where each has a column of its own."""
    encoder = inferred.rows.encoders.get(name)
    if count == 1:
        return (name,)
    columns = () if encoder is None else encoder.columns
    if len(columns) == count:
        return tuple(f"{name}: {column}" for column in columns)
    return tuple(f"{name}[{place}]" for place in range(count))


def labels_of(inferred: InferredRows, name: str) -> tuple[Numbers, tuple[str, ...]]:
    """Give a node's labels in the data's units, [n, steps, columns], NaN without one; and its categories' names."""
    rows, outline = inferred.rows, inferred.rows.outline
    steps = math.prod(steps_of(outline, name)) if name in outline.stepped else 1
    present = rows.labels_of(name)[inferred.index]
    value = rows.take(name, inferred.index).numpy()
    node, encoder = measured(outline, name), rows.encoders.get(name)
    if node.categories is not None:
        variable = outline.variables[nodes_of(outline, name)[0]]
        words = (None if encoder is None else encoder.names) or variable.values or range(node.categories)
        places = value.reshape(len(value), steps, -1).astype(np.float64)
        places[places < 0] = np.nan
        names: tuple[str, ...] = tuple(_word(word) for word in words)
    else:
        cells = value.astype(np.float64) if encoder is None else encoder.decode(value)
        places, names = np.asarray(cells, dtype=np.float64).reshape(len(value), steps, -1).copy(), ()
        if node.nominal and not bool(((places != 0) & (places != 1) & ~np.isnan(places)).any()):
            names = ("0", "1")
    places[~present] = np.nan
    return places, names


def row_labels(inferred: InferredRows, name: str) -> list[RowLabel]:
    """Give the labels of a node by column, over rows and steps, [n · steps]; none for a node of many elements."""
    values, names = labels_of(inferred, name)
    count = values.shape[2]
    if count > MANY:
        return []
    turns = (0.0,) * count if names else turns_of(inferred, name, count)
    titles = column_names(inferred, name, count)
    return [
        RowLabel(name, titles[place], values[:, :, place].reshape(-1), names, turns[place])
        for place in range(min(count, ELEMENTS))
    ]


def _word(name: object) -> str:
    return str(name).lower() if isinstance(name, bool) else str(name)
