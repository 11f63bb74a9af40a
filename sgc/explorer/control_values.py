"""The values of a node or input as a control of the page shows them: categories by place, numbers in units of the data.

A control's value is a flat list: places of categories, or numbers. Numbers are those of the data where the transforms
between them and the node can be undone and done again, or else the node's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from sgc.data.encoder import Encoder
from sgc.errors import DataError, UsageError
from sgc.spec.outline import InputOutline, Variable
from sgc.trained.prediction_table import cell_text

Owner = Variable | InputOutline


@dataclass(frozen=True)
class Units:
    """How values of one node, [*event], are written for a control and read again.

    encoder: that of the node's column, of one step; None: the numbers are the node's own. cells: the shape of a row of
    numbers. names: of the places of categories, or of numbers that stand for names in the data.
    """

    name: str
    event: tuple[int, ...]
    categories: int | None
    encoder: Encoder | None
    cells: tuple[int, ...]
    names: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """How many elements a value has."""
        return prod(self.cells)

    @property
    def nominal(self) -> bool:
        """Whether the elements are places in a list of names."""
        return self.categories is not None or bool(self.names)

    def write(self, value: np.ndarray) -> list[float | int]:
        """Write a value, [*event]; of a category the most probable one. What is missing is NaN, or −1."""
        return self.write_rows(value[None])[0]

    def write_rows(self, values: np.ndarray) -> list[list[float | int]]:
        """Write values, [N, *event], see `write`."""
        flat = self.decoded(values).reshape(len(values), -1)
        if not self.nominal:
            return [[_short(number) for number in row] for row in flat.tolist()]
        places = np.where(np.isnan(flat), -1, np.clip(np.round(flat), -1, len(self.names) - 1))
        return [[int(place) for place in row] for row in places.tolist()]

    def decoded(self, values: np.ndarray) -> np.ndarray:
        """Give values, [N, *event], as numbers or places, [N, *cells]."""
        if self.categories is not None:
            missing = np.isnan(values).any(-1)
            return np.where(missing, np.nan, np.nan_to_num(values).argmax(-1).astype(np.float64))
        return values.astype(np.float64) if self.encoder is None else self.encoder.decode(values)

    def read(self, given: Sequence[float]) -> np.ndarray:
        """Read what a control holds: a value, [*event].

        Raises: UsageError for another number of elements, no such place, or a number that the node cannot have.
        """
        if len(given) != self.size:
            raise UsageError(f"'{self.name}': found {len(given)} elements, wanted {self.size}")
        numbers = np.asarray(given, dtype=np.float64).reshape(self.cells)
        if not np.isfinite(numbers).all():
            raise UsageError(f"'{self.name}': found a number that is not finite")
        if self.nominal and not np.isin(numbers, np.arange(len(self.names))).all():
            raise UsageError(f"'{self.name}': wanted places from 0 to {len(self.names) - 1}")
        if self.categories is not None:
            return np.asarray(np.eye(self.categories)[numbers.astype(np.int64)])
        if self.encoder is None:
            return numbers
        raw = numbers[None]
        if self.encoder.names is not None:
            listed = np.array([*self.encoder.names, None], dtype=object)[:-1]  # with the None it is one of objects
            raw = listed[raw.astype(np.int64)]
        try:
            return np.asarray(self.encoder.encode(raw)[0], dtype=np.float64)
        except DataError as problem:
            raise UsageError(f"'{self.name}': {problem.message}") from None


def units_of(name: str, owner: Owner, encoder: Encoder | None) -> Units:
    """Find how the values of a node, of one step of one, or of an input are shown."""
    event = owner.event if isinstance(owner, Variable) else owner.shape
    if owner.categories is not None:
        named = (None if encoder is None else encoder.names) or owner.values or range(owner.categories)
        return Units(name, event, owner.categories, None, event[:-1], tuple(cell_text(value) for value in named))
    if encoder is None:
        return Units(name, event, None, None, event)
    legal = np.asarray(owner.support.legal(event), dtype=np.float32).reshape(event)
    try:
        cells = encoder.decode(legal[None])
        names = () if encoder.names is None else tuple(cell_text(value) for value in encoder.names)
        units = Units(name, event, None, encoder, cells.shape[1:], names)
        again = units.read(cells[0].ravel().tolist()) if not names else legal
        if again.shape == legal.shape and np.allclose(again, legal, rtol=1e-3, atol=1e-4):
            return units
        if encoder.transforms and encoder.transforms[-1].points:  # any legal vector need not be a unit vector
            return units
    except (UsageError, ValueError):
        pass
    return Units(name, event, None, None, event)


def _short(number: float) -> float:
    """Keep the digits that float32 has."""
    return float(f"{number:.7g}")
