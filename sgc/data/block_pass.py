"""One pass over data that stay in their files: it fits encoders, checks every value and takes the fingerprint.

What it fits is what would be fitted on the whole, to the bit: a transform is given the training rows in the same
chunks. A node with two transforms that learn takes a pass more for each; so does one whose learned transform may bring
a value out of what its distribution has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np

from sgc.data.block_store import BlockStore
from sgc.data.columns import Array, Origin, Rows, SourceColumn
from sgc.data.encoder import Encoder, check_fits, learn, read_cells, rows_at_a_time, transformed
from sgc.data.fingerprint import Hashes, hash_rows
from sgc.data.large_columns import EncodedColumn, LargeCells, cell_shape, in_blocks
from sgc.data.source_columns import Part
from sgc.data.split import Division
from sgc.data.transforms.transform import Fitted, Learner, Learning, learned
from sgc.data.transforms.transforms import AnyTransform
from sgc.data.variables import Variable
from sgc.distributions.supports import REAL


@final
class Fitting:
    """Fits the encoder of a node on chunks of its training rows as they come: at most one transform learns."""

    def __init__(self, variable: Variable, transforms: Sequence[AnyTransform], origin: Origin, seed: int) -> None:
        self.variable, self.transforms, self.origin, self.seed = variable, tuple(transforms), origin, seed
        self.learner = next((place for place, step in enumerate(transforms) if step.learns), None)
        self.encoder: Encoder | None = None
        self.fitted: list[Fitted] = []
        self.first: tuple[Array, Origin] | None = None
        self.learning: Learning | None = None
        self.known: Any = False  # Any: an array of booleans but at first

    def add(self, cells: Array, origin: Origin) -> None:
        """Take in a chunk; writes into its cells. Raises: DataError."""
        if self.first is None:
            self.first = cells.copy(), origin
            self._fit_up_to(len(self.transforms) if self.learner is None else self.learner)
        if self.learner is None:
            self._finish()
            return
        values = self._before(cells, origin, self.learner)
        step = self.transforms[self.learner]
        assert isinstance(step, Learner)
        check_fits(step, values, self.variable, origin.fold())
        if self.learning is None:
            self.learning = step.learning()
            next(self.learning)
        self.known = self.known | ~np.isnan(values).all(axis=0)
        with np.errstate(all="ignore"):
            self.learning.send(values)

    def end(self) -> Encoder:
        """Give the encoder, once all training rows were there. Raises: DataError."""
        if self.encoder is None and self.learner is not None and self.learning is not None:
            if not np.all(self.known):
                name = self.transforms[self.learner].name
                raise self.origin.error(f"no training row has a value for '{name}' to be fitted on")
            try:
                with np.errstate(all="ignore"):
                    self.fitted.append(learned(self.learning))
            except ValueError as error:  # numbers that the transform cannot be fitted on
                raise self.origin.error(str(error)) from error
            self._fit_up_to(len(self.transforms))
            self._finish()
        assert self.encoder is not None, "there are training rows"
        return self.encoder

    def _before(self, cells: Array, origin: Origin, place: int) -> Array:
        """Apply the transforms before one of them."""
        steps = self.transforms[:place]
        return transformed(
            self.variable.fold(cells), self.variable, steps, self.fitted[:place], origin.fold(), self.seed
        )

    def _fit_up_to(self, stop: int) -> None:
        """Fit transforms that see only the first chunk."""
        assert self.first is not None
        cells, origin = self.first
        for place in range(len(self.fitted), stop):
            values = self._before(cells.copy(), origin, place)
            self.fitted.append(learn(self.transforms[place], iter([values]), self.origin))

    def _finish(self) -> None:
        if self.encoder is None:
            assert self.first is not None
            cells, origin = self.first
            inner = self._before(cells.copy(), origin, len(self.transforms)).shape[1:]
            steps, fitted = self.transforms, tuple(self.fitted)
            self.encoder = Encoder(self.variable, self.origin.names, steps, fitted, inner, self.seed)


@final
class NodePass:
    """What a pass makes of one node: its encoder, unless it has one, and the hashes of all rows; it checks values."""

    def __init__(
        self,
        name: str,
        columns: tuple[SourceColumn, ...],
        hashed: tuple[SourceColumn, ...],
        variable: Variable,
        transforms: Sequence[AnyTransform],
        seed: int,
        *,
        cells: LargeCells | None,
        encoder: Encoder | None,
    ) -> None:
        """Prepare it. hashed: the columns as the source gives them. cells: of training rows that are not in memory."""
        self.cells, self.name, self.columns, self.hashed = cells, name, columns, hashed
        self.variable, self.transforms, self.seed, self.encoder = variable, tuple(transforms), seed, encoder
        self.hashes: Hashes = np.zeros(len(columns[0]), dtype=np.uint64)
        self.chunk = rows_at_a_time(cell_shape(columns))
        self.waiting: list[Array] = []
        self.given = 0  # training rows that were fitted on
        own_passes = sum(step.learns for step in transforms) > 1 or any(
            step.learns and not isinstance(step, Learner) for step in transforms
        )
        self.fitting = None
        if cells is not None and encoder is None and not own_passes:
            self.fitting = Fitting(variable, transforms, cells.origin, seed)

    def take(self, rows: Rows) -> None:
        """Take in the rows of a block. Raises: DataError."""
        self.hashes[rows] = hash_rows(self.name, self.hashed, rows)
        train = np.zeros(0, dtype=np.int64) if self.cells is None else self.cells.origin.rows
        low, high = np.searchsorted(train, (rows[0], rows[-1] + 1)).tolist()
        if self.cells is not None and low < high:
            cells, origin = self.cells.take(np.arange(low, high, dtype=np.int64))
            if self.fitting is not None and self.fitting.learner is not None:
                self.waiting.append(cells.copy())
                self._give(whole=False)
            elif self.fitting is not None and self.fitting.encoder is None:  # of the first rows only the shape matters
                self.fitting.add(cells.copy(), origin)
            self._check(cells, origin)
        if self.encoder is None and self.cells is None:
            return
        others = np.setdiff1d(rows, train[low:high], assume_unique=True)
        if len(others):
            origin = Origin(self.name, self.columns, others, self.variable.steps)
            self._check(read_cells(origin, self.variable, self.transforms), origin)

    def _check(self, cells: Array, origin: Origin) -> None:
        encoder = self.encoder or (None if self.fitting is None else self.fitting.encoder)
        if encoder is not None:
            encoder.encode_cells(cells, origin)

    def _give(self, *, whole: bool) -> None:
        """Fit on the rows that wait, as many at a time as if all were in memory; `whole`: also on the last few."""
        assert self.cells is not None
        assert self.fitting is not None
        while sum(map(len, self.waiting)) >= self.chunk or (whole and self.waiting):
            joined = np.concatenate(self.waiting)
            count = min(self.chunk, len(joined))
            index = np.arange(self.given, self.given + count, dtype=np.int64)
            origin = replace(self.cells.origin, rows=self.cells.origin.rows[index])
            self.waiting = [joined[count:]] if len(joined) > count else []
            self.given += count
            self.fitting.add(joined[:count], origin)

    def end(self) -> None:
        """Finish the encoder, and check what could not be checked before. Raises: DataError."""
        if self.cells is None or self.encoder is not None:
            return
        if self.fitting is None:
            self.encoder = self.cells.fit(self.transforms, self.seed)
            EncodedColumn(self.encoder, self.cells).checked()
            return
        self._give(whole=True)
        if not len(self.cells):
            self.encoder = self.cells.fit(self.transforms, self.seed)
            return
        self.encoder = self.fitting.end()
        if self.fitting.learner is None:
            return
        assert self.fitting.first is not None
        cells, origin = self.fitting.first
        self.encoder.encode_cells(cells.copy(), origin)
        if self.variable.support != REAL and not any(step.points for step in self.transforms):
            EncodedColumn(self.encoder, self.cells).checked()


def part_store(part: Part) -> BlockStore | None:
    """Give the store of what stays in its files; None where nothing does."""
    return next((store for columns in part.nodes.values() if (store := in_blocks(columns)) is not None), None)


def keep_rows(store: BlockStore | None, division: Division, labelled: Mapping[str, Rows], *, trains: bool) -> None:
    """Have the store keep rows that are taken again and again, as far as its room goes.

    In training they are those with a label, which are few and far between, and those of validation; without it, all
    that are held out.
    """
    if store is None:
        return
    kept = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *labelled.values()]))
    if not store.can_keep(len(kept)):
        kept = np.zeros(0, dtype=np.int64)
    for rows in [division.validation] if trains else [division.validation, division.test]:
        if store.can_keep(len(kept) + len(rows)):
            kept = np.union1d(kept, rows)
    store.keep(kept)


def pass_over(
    source: Part,
    part: Part,
    cells: Mapping[str, LargeCells],
    encoders: dict[str, Encoder],
    variables: Mapping[str, Variable],
    transforms: Mapping[str, tuple[AnyTransform, ...]],
    seed: int,
) -> dict[tuple[int, str], Hashes]:
    """Go once through the blocks of a part, where there are any, and give the hashes of its rows by `source` and node.

    source: the part as the source gives it. part: the same, with the steps marked that rows do not have. cells: of the
    training rows, by node. encoders: of other nodes; those that are fitted here are put beside them.

    Raises:
        DataError: names the file and the row of a value that cannot be the node's; or nothing to fit on.
    """
    store = part_store(part)
    if store is None:
        return {}
    nodes = {
        name: NodePass(
            name,
            columns,
            source.nodes[name],
            variables[name],
            transforms[name],
            seed,
            cells=cells.get(name),
            encoder=encoders.get(name),
        )
        for name, columns in part.nodes.items()
        if in_blocks(columns) is not None
    }
    for rows in store.every():
        for node in nodes.values():
            node.take(rows)
    for name, node in nodes.items():
        node.end()
        if node.encoder is not None:
            encoders[name] = node.encoder
    return {(id(source), name): node.hashes for name, node in nodes.items()}
