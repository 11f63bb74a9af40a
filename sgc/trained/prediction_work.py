"""The way of a prediction through its rows: checked first, then read, answered and written chunk by chunk."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Collection, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from math import prod
from pathlib import Path
from typing import Protocol

import torch

from sgc.data.columns import SourceColumns
from sgc.data.new_rows import NewRows
from sgc.data.outputs import Inputs, write_output
from sgc.errors import DataError, Interrupted, RunError, UsageError, option
from sgc.evaluation.measurement import chunk_rows
from sgc.runs.run_folder import RunFolder
from sgc.runtime.model import Model
from sgc.trained.prediction_chunks import Chunk, Predictor, Question, Rows
from sgc.trained.prediction_formats import Format, GrowingFormat, WholeFormat
from sgc.trained.prediction_parts import Part
from sgc.trained.prediction_sums import PredictionSums
from sgc.trained.prediction_table import own_ids
from sgc.version import __version__

NUMBERS, ROWS = 1 << 18, 5000  # of a chunk at most: what is in memory at once, and what a kill undoes


class Watcher(Protocol):
    """Is told how a prediction goes."""

    def note(self, text: str) -> None:
        """Hear what a user should know."""

    def checked(self, rows: int) -> None:
        """Hear how many rows are read and checked, before any is predicted."""

    def predicted(self, done: int, total: int) -> None:
        """Hear how many rows are done; first of all how many were done before."""


class Silence:
    """A watcher that says nothing."""

    def note(self, text: str) -> None: ...

    def checked(self, rows: int) -> None: ...

    def predicted(self, done: int, total: int) -> None: ...


@dataclass(frozen=True)
class Sizes:
    """How many rows are answered together, which share what is drawn, and how many are in memory at once.

    The size of a chunk, a multiple of the block's, changes no value.
    """

    block: int
    chunk: int

    @classmethod
    def of(cls, model: Model, samples: int) -> Sizes:
        """Choose them by the model and the number of samples, so that all fits in memory easily."""
        block = chunk_rows(model, samples)
        most = min(ROWS, NUMBERS // numbers_a_row(model))
        return cls(block, block * max(1, most // block))


def numbers_a_row(model: Model, nodes: Collection[str] | None = None) -> int:
    """Count the numbers of a row in memory; nodes: only those that are predicted of these."""
    outer = model.outline.outer
    if nodes is None:
        return sum(2 * prod(variable.event) for variable in model.outline.variables.values()) or 1
    return sum((1 if outer[name].categories else 2) * prod(_laid(model, name)) for name in nodes)


def _laid(model: Model, name: str) -> tuple[int, ...]:
    stepped = model.outline.stepped.get(name)
    return (*(() if stepped is None else stepped.steps), *model.outline.outer[name].event)


@dataclass
class Work:
    """One prediction: how it is read, answered and written. `given`: the nodes that must have a column.

    `size`: rows of a chunk. `done` and `seconds`: how many rows this process has answered, in which time.
    """

    predictor: Predictor
    given: Collection[str]
    size: int
    jobs: int | None
    watcher: Watcher
    done: int = 0
    seconds: float = 0.0

    @property
    def question(self) -> Question:
        return self.predictor.question

    def run(self, kind: Format, inputs: Inputs) -> PredictionSums:
        """Write the output, and give the sums over its rows. inputs: files that must not be overwritten.

        Raises: UsageError, DataError, RunError, Interrupted.
        """
        mark = data_mark(self.question.data)
        part = None
        if isinstance(kind, GrowingFormat):
            part = Part(self.question.output, kind, self._marks(mark), inputs)
            if part.begun:
                words = f"{part.path} holds {part.sums.rows:,} of {part.total:,} rows: goes on from there"
                self.watcher.note(words)
                return self._grow(part, self._rest(part.sums.rows), mark)
        total, chunks, several = self._begin()
        if part is not None and several:
            part.total = total
            return self._grow(part, chunks, mark)
        if isinstance(kind, WholeFormat):
            kind.check_size(self.question.output, total, numbers_a_row(self.predictor.model, self.question.nodes))
        return self._at_once(kind, chunks, total, mark)

    def _begin(self) -> tuple[int, Iterator[Rows], bool]:
        """Read and check all rows; give how many there are, their chunks, and whether there are several."""
        file = self.predictor.file
        if not file.in_chunks:
            rows = file.read()
            self._check(rows)
            return len(rows), self._parts(rows, 0), len(rows) > self.size
        stream = file.chunks(self.size)
        first = list(islice(stream, 2))
        if len(first) == 1:
            rows = file.encode(first[0])
            self._check(rows)
            return len(rows), iter([rows]), False
        total = 0
        columns: SourceColumns
        for columns in chain(first, stream):
            rows = file.encode(columns)
            if not total:
                self._check(rows)
            total += len(rows)
            self.watcher.checked(total)
        return total, iter(file.chunks(self.size)), True

    def _rest(self, skip: int) -> Iterator[Rows]:
        """Give the chunks behind the first `skip` rows."""
        file = self.predictor.file
        return iter(file.chunks(self.size, skip)) if file.in_chunks else self._parts(file.read(), skip)

    def _parts(self, rows: NewRows, skip: int) -> Iterator[Rows]:
        return (rows.part(start, start + self.size) for start in range(skip, len(rows), self.size))

    def _check(self, rows: NewRows) -> None:
        """Check what the first rows tell of all. Raises: UsageError."""
        for name in self.given:
            if name not in rows.given:
                raise UsageError(f"{option('given', name)}: {self.question.data} has no column of '{name}'")
        if rows.ids is not None:
            own_ids(rows.part(0, 1).ids or rows.ids)

    def _at_once(self, kind: Format, chunks: Iterator[Rows], total: int, mark: str) -> PredictionSums:
        """Answer all rows in memory, then write them."""
        sums, tables, grown = PredictionSums(), [], b""
        with closing(self._answers(chunks, 0, total, one=isinstance(kind, GrowingFormat))) as answers:
            for chunk in answers:
                sums.add(chunk.sums)
                tables += [] if chunk.table is None else [chunk.table]
                grown = chunk.head + chunk.rows
        self._check_end(sums, total, mark)
        content = kind.whole(grown) if isinstance(kind, GrowingFormat) else kind.whole(tables)
        write_output(self.question.output, content)
        return sums

    def _grow(self, part: Part, chunks: Iterator[Rows], mark: str) -> PredictionSums:
        """Answer the rows that are left, and write them as they come."""
        total = part.total
        try:
            with part, closing(self._answers(chunks, part.sums.rows, total)) as answers:
                if part.sums.rows < total:
                    for chunk in answers:
                        part.add(chunk)
                self._check_end(part.sums, total, mark, part)
                part.complete()
        except (RunError, OSError, KeyboardInterrupt) as problem:
            if not part.kept:
                raise
            rows = f"the first {part.kept:,} of {total:,} rows"
            kept = f"{rows} are kept in {part.path}: the same command goes on from there"
            if isinstance(problem, KeyboardInterrupt):
                raise Interrupted(f"stopped; {kept}") from None
            what = f"{problem.filename}: {problem.strerror}" if isinstance(problem, OSError) else str(problem)
            raise RunError(f"{what}; {kept}") from problem
        return part.sums

    def _answers(
        self, chunks: Iterator[Rows], before: int, total: int, *, one: bool = False
    ) -> Generator[Chunk, None, None]:
        """Answer chunks in their order, and tell how far it is. one: there is only one chunk."""
        self.watcher.predicted(before, total)
        began = time.monotonic()

        def tick(rows: int) -> None:
            self.watcher.predicted(before + self.done + rows, total)

        def alone() -> Generator[Chunk, None, None]:
            with _threads(self.jobs):
                for rows in chunks:
                    yield self.predictor.chunk(rows, tick)

        if self.jobs is None or self.jobs == 1 or one:
            answers = alone()
        else:
            from sgc.trained.prediction_jobs import in_processes

            answers = in_processes(self.question, chunks, self.jobs)
        with closing(answers):
            for chunk in answers:
                self.done += chunk.sums.rows
                self.seconds = time.monotonic() - began
                self.watcher.predicted(before + self.done, total)
                yield chunk

    def _check_end(self, sums: PredictionSums, total: int, mark: str, part: Part | None = None) -> None:
        """Check that the data stayed as they were, and that some row has an answer. Raises: DataError, RunError."""
        if sums.rows != total or data_mark(self.question.data) != mark:
            raise DataError("changed while its rows were predicted: predict them again", str(self.question.data))
        if not sums.answered:
            if part is not None:
                part.discard()
            raise RunError(f"no row has finite scores, so nothing is written: {sums.reasons_words()}")

    def _marks(self, mark: str) -> dict[str, str]:
        """Name all that the output follows from."""
        asked = self.question
        return {
            "run": run_mark(asked.run, asked.checkpoint),
            "data": mark,
            "checkpoint": asked.checkpoint,
            "nodes": ", ".join(asked.nodes),
            "from": asked.answer,
            "samples": str(asked.samples),
            "given": ", ".join(sorted(self.given)) or "none",
            "id": asked.id_column or "none",
            "rows a block": str(asked.block),
            "rows a chunk": str(self.size),
            "sgc": __version__,
            "torch": torch.__version__,
        }


@contextmanager
def _threads(jobs: int | None) -> Iterator[None]:
    """Compute in one thread while inside, as each process of several does; None: in as many as torch has."""
    before = torch.get_num_threads()
    if jobs is not None:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def data_mark(path: Path) -> str:
    """Tell whether data are still the same, by their names, sizes and times of change; '' where there are none."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        listed = "\n".join(f"{file.relative_to(path)} {_stamp(file)}" for file in files)
        digest = hashlib.sha256(os.fsencode(listed))
        return f"{path.name} of {len(files):,} files, {digest.hexdigest()[:16]}"
    return f"{path.name} of {_stamp(path)}" if path.exists() else ""


def _stamp(file: Path) -> str:
    state = file.stat()
    changed = datetime.fromtimestamp(state.st_mtime_ns / 1e9).isoformat(" ", "microseconds")
    return f"{state.st_size:,} bytes, {changed}"


def run_mark(run: Path, checkpoint: str) -> str:
    """Tell whether a run is still the same: a digest of its spec, its weights and what its transforms learned."""
    folder, digest = RunFolder(run), hashlib.sha256()
    for path in (folder.spec_path, folder.weights_path(checkpoint), folder.columns_path):
        digest.update(path.read_bytes())
    return f"{run.name} {digest.hexdigest()[:16]}"
