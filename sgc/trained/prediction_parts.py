"""What a prediction of many rows has written so far, beside its output, so that the same command can go on from there.

OUT.part        the output as it grows
OUT.part.json   what it is of, how many of its bytes and of the rows are done, and the sums over these rows

The file grows first, and then the record says so: what lies behind the record is cut off when a prediction goes on.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from sgc.data.outputs import PART, Inputs, check_place
from sgc.data.record import Count, Versioned, read_record
from sgc.errors import UsageError, check_run_file, writing
from sgc.runs.file_formats import json_text, write_whole
from sgc.trained.prediction_chunks import Chunk
from sgc.trained.prediction_formats import GrowingFormat
from sgc.trained.prediction_sums import PredictionSums, SumsRecord

try:
    import fcntl
except ImportError:  # only Unix has it
    fcntl = None  # type: ignore[assignment]

SIZES = "rows a "  # of a block, of a chunk: they follow from the other options and the version
EVERY = 1.0  # seconds between two records


class PartRecord(Versioned):
    """OUT.part.json. `of`: run, data and options, each in words; `total`: how many rows the data have."""

    of: dict[str, str]
    total: Count
    size: Count
    sums: SumsRecord


class Part:
    """A prediction that grows. Use it as a context, which holds the file for this process alone.

    `sums` are those over the rows that are written; `total` is how many rows there are, 0 before it is known.
    """

    def __init__(self, output: Path, kind: GrowingFormat, of: Mapping[str, str], inputs: Inputs) -> None:
        """Find what an earlier prediction left. Raises: UsageError where it is of something else."""
        self.output, self.kind, self.of = Path(os.path.realpath(output)), kind, dict(of)
        self.path = self.output.with_name(self.output.name + PART)
        self.record_path = self.path.with_name(self.path.name + ".json")
        for path in (self.path, self.record_path):
            check_place(path, inputs)
        self.sums, self.total, self.size = PredictionSums(), 0, 0
        self.kept = 0  # rows that are recorded
        self._file = -1
        self._recorded = time.monotonic()
        self._head: bytes | None = None
        self._read()

    @property
    def begun(self) -> bool:
        """Whether rows are done."""
        return self.sums.rows > 0

    def _read(self) -> None:
        if not os.path.lexists(self.path):
            return  # a record alone was left behind by a file that is complete
        check_run_file(self.path)
        check_run_file(self.record_path)
        use = f"{self.path}: is in the way, and not what an interrupted prediction left: move it"
        try:
            plain = json.loads(self.record_path.read_text(encoding="utf-8"))
            record = read_record(PartRecord, plain, use)
            self.sums = PredictionSums.of(record.sums)
        except (OSError, ValueError, RecursionError):
            raise UsageError(use) from None
        self._check(record)
        self.total, self.size, self.kept = record.total, record.size, record.sums.rows

    def _check(self, record: PartRecord) -> None:
        other = [name for name in {**self.of, **record.of} if self.of.get(name) != record.of.get(name)]
        if not other:
            return
        other = [name for name in other if not name.startswith(SIZES)] or other
        words = ", ".join(f"{name}: {record.of.get(name, 'none')}, now {self.of.get(name, 'none')}" for name in other)
        raise UsageError(
            f"{self.path}: is what another prediction left when it was stopped ({words}): repeat that one to go on "
            "with it, or remove the file to begin anew"
        )

    def __enter__(self) -> Part:
        """Open the file and lock it; cut off what is not recorded. Raises: UsageError where another process does."""
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        with writing(self.path):
            file = os.open(self.path, flags, 0o666)
            try:
                if fcntl is not None:
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        raise UsageError(f"{self.path}: another process writes it: wait for it, or stop it") from None
                    except OSError:  # a file system without locks
                        pass
                if os.fstat(file).st_size < self.size:
                    raise UsageError(f"{self.path}: is cut short: remove it to begin anew")
                os.ftruncate(file, self.size)
                os.lseek(file, self.size, os.SEEK_SET)
            except BaseException:
                os.close(file)
                raise
        self._file = file
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Record what is done, and close the file; one without rows is removed."""
        if self._file < 0:
            return
        try:
            with suppress(OSError):  # of a full disk: what was recorded before is whole
                if self.begun:
                    self.record()
            if not self.kept:
                with suppress(OSError):
                    self.path.unlink()
        finally:
            os.close(self._file)
            self._file = -1

    def add(self, chunk: Chunk) -> None:
        """Write a chunk, and record it if some time has passed since the last. Raises: OSError."""
        content = chunk.rows if self.size else chunk.head + chunk.rows
        if chunk.rows:
            assert self._head in (None, chunk.head), "all chunks have the same columns"
            self._head = chunk.head
        with writing(self.path):
            left = memoryview(content)
            while left:
                left = left[os.write(self._file, left) :]
        self.size += len(content)
        self.sums.add(chunk.sums)
        if time.monotonic() - self._recorded >= EVERY:
            self.record()

    def record(self) -> None:
        """Write down how far it is. Raises: OSError."""
        with writing(self.path):
            os.fsync(self._file)
        record = {"version": 1, "of": self.of, "total": self.total, "size": self.size, "sums": self.sums.plain()}
        write_whole(self.record_path, json_text(record).encode())
        self._recorded, self.kept = time.monotonic(), self.sums.rows

    def complete(self) -> None:
        """Put the file into the place of the output. Raises: OSError."""
        self.record()
        self._close()
        self.kind.complete(self.path, self.output)
        with suppress(OSError):
            self.record_path.unlink()

    def discard(self) -> None:
        """Remove what is written."""
        self.kept = 0
        self._close()
        for path in (self.path, self.record_path):
            with suppress(OSError):
                path.unlink()

    def _close(self) -> None:
        os.close(self._file)
        self._file = -1
