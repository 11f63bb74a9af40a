"""Predictions for a chunk of the rows of a file, which may be one of very many.

Rows are answered in blocks, each with draws of its own, which follow from the seed of the run and the number of the
block. So neither the size of a chunk nor which process answers it changes a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sgc.data.columns import Array, SourceColumns
from sgc.data.encoder import Encoder
from sgc.data.new_rows import NewRows, RowFile
from sgc.runs.run_folder import RunFolder, open_run
from sgc.runtime.data_variables import data_variables
from sgc.runtime.inference import Answer
from sgc.runtime.model import Model
from sgc.runtime.streams import TensorRows
from sgc.trained.block_answers import answer_block
from sgc.trained.prediction_formats import GrowingFormat, format_of
from sgc.trained.prediction_sums import PredictionSums
from sgc.trained.prediction_table import PredictionTable, own_ids, unused

Rows = NewRows | SourceColumns  # encoded, or as they are in their file
Tick = Callable[[int], None]  # called with how many rows are done in a chunk


@dataclass(frozen=True)
class Question:
    """What is asked: which run, about which file, of which nodes. It can be handed to another process.

    `evidence`: the partial nodes whose values are. `block`: rows that are answered together. `shell`: whether options
    are worded as flags.
    """

    run: Path
    checkpoint: str
    trust: bool
    data: Path
    output: Path
    nodes: tuple[str, ...]
    evidence: tuple[str, ...]
    id_column: str | None
    answer: Answer
    samples: int
    block: int
    shell: bool

    def predictor(self, model: Model | None = None) -> Predictor:
        """Make what answers it. model: that of the run, where it is open. Raises: SpecError, UsageError, DataError."""
        if model is None:
            model = open_run(self.run, self.checkpoint, trust=self.trust)
        encoders = RunFolder(self.run).encoders(model.outline)
        file = RowFile.of(
            model.spec.data,
            data_variables(model.outline),
            encoders,
            self.data,
            evidence=self.evidence,
            id_column=self.id_column,
        )
        return Predictor(self, model, encoders, file)


@dataclass(frozen=True)
class Chunk:
    """Answers for consecutive rows, from the row `first` on: as a file holds them, or as a table."""

    first: int
    sums: PredictionSums
    head: bytes = b""
    rows: bytes = b""
    table: PredictionTable | None = None


@dataclass(frozen=True)
class Predictor:
    """Answers chunks of the rows of one file."""

    question: Question
    model: Model
    encoders: Mapping[str, Encoder]
    file: RowFile

    def chunk(self, rows: Rows, tick: Tick = lambda done: None) -> Chunk:
        """Answer rows, of which the first begins a block. Raises: DataError, RunError."""
        new = rows if isinstance(rows, NewRows) else self.file.encode(rows)
        first, size = int(new.rows.rows[0]), self.question.block
        assert first % size == 0
        sums = PredictionSums(rows=len(new))
        for counts, of in ((sums.given, new.given), (sums.ignored, new.ignored)):
            counts.update({name: int(np.sum(value)) for name, value in of.items()})
        tables = []
        for start in range(0, len(new), size):
            table = self._block(new.part(start, start + size), (first + start) // size, sums)
            tables += [] if table is None else [table]
            tick(min(start + size, len(new)))
        if not tables:
            return Chunk(first, sums)
        joined, kind = PredictionTable.joined(tables), format_of(self.question.output)
        if isinstance(kind, GrowingFormat):
            return Chunk(first, sums, kind.head(joined), kind.rows(joined))
        return Chunk(first, sums, table=joined)

    def _block(self, new: NewRows, number: int, sums: PredictionSums) -> PredictionTable | None:
        """Answer the rows of one block, and add them to sums; None where no row has an answer."""
        model, asked = self.model, self.question
        table = TensorRows(new.rows, model.outline, model.like).drawn_once(model.spec.train.seed, number)
        answers = answer_block(model, table, self.encoders, asked.samples, asked.nodes, asked.answer, number)
        ids = None if new.ids is None else own_ids(new.ids)
        for place, why in answers.broken.items():
            row = int(new.rows.rows[place])
            sums.leave_out(row, why, None if ids is None else ids[1][place], named=ids is not None)
        sums.answered += int(answers.answered.sum())
        sums.add_effective(answers.effective)
        if not answers.columns:
            return None
        labels = {name: value[answers.answered] for name, value in self._labels(new, ids, answers.columns).items()}
        types = {} if ids is None or new.ids is None else {list(labels)[1]: new.ids.values.dtype}
        return PredictionTable(labels, answers.columns, self._names(), model.outline, types)

    def _labels(self, new: NewRows, ids: tuple[str, Array] | None, columns: Mapping[str, Array]) -> dict[str, Array]:
        """Identify rows, and name the nodes they were conditioned on: arrays [N], under names that no column has."""
        outline = self.model.outline
        taken = {*columns, *outline.variables, *outline.outer}
        labels: dict[str, Array] = {unused("row", taken): new.rows.rows}

        def add(name: str, value: Array) -> None:
            labels[unused(name, {*taken, *labels})] = value

        if ids is not None:
            add(*ids)
        if new.paths is not None and "path" not in labels:
            add("path", new.paths)
        if any(variable.supervision == "partial" for variable in outline.outer.values()):
            evidence = [
                " ".join(name for name, has_value in new.given.items() if has_value[row]) for row in range(len(new))
            ]
            add("given", np.array(evidence, dtype=str))
        return labels

    def _names(self) -> dict[str, tuple[Any, ...]]:  # Any: a name of a category
        """Name the values of nodes as in the data, by node; those that are numbers have no names."""
        outer = self.model.outline.outer
        names = {
            name: (self.encoders[name].names if name in self.encoders else outer[name].values) or ()
            for name in self.question.nodes
        }
        return {name: of for name, of in names.items() if of}
