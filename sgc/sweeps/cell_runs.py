"""One run of a sweep: trained, evaluated and written down, in processes of its own: none takes others along."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from sgc.errors import Interrupted
from sgc.spec.spec import Spec
from sgc.sweeps.cells import Cell, value_text
from sgc.sweeps.outcomes import Outcome, SweepFolder, digest, validation_of
from sgc.sweeps.sweep_file import SweepFile
from sgc.training.launch_environment import ALONE, import_path

GRACE = 60.0  # seconds that a run has to write its checkpoint when it is asked to stop
INTERRUPTED = 130  # the exit status of a run that somebody stopped
LINES = 3  # of a failed run's last words


class Children:
    """The processes that are running, so that all can be asked to stop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self.stopping = False

    def call(self, words: Sequence[str], threads: int | None, output: IO[bytes], log: IO[bytes]) -> int:
        """Run a command of sgc to its end; give its exit status. Raises: Interrupted, where all are to stop."""
        environment = {name: value for name, value in os.environ.items() if name not in ALONE} | import_path()
        if threads is not None:
            environment["OMP_NUM_THREADS"] = str(threads)
        command = [sys.executable, "-m", "sgc.cli.attached_command", *words]
        with self._lock:
            if self.stopping:
                raise Interrupted("")
            child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=output, stderr=log, env=environment, start_new_session=True
            )
            self._running.add(child)
        try:
            status = child.wait()
        finally:
            with self._lock:
                self._running.discard(child)
            if child.stdin is not None:
                child.stdin.close()
        if self.stopping:
            raise Interrupted("")
        return status

    def stop(self) -> None:
        """Ask all to stop, which write their checkpoints; kill what does not."""
        with self._lock:
            self.stopping = True
            running = list(self._running)
        for child in running:
            child.send_signal(signal.SIGINT)
        for child in running:
            try:
                child.wait(GRACE)
            except subprocess.TimeoutExpired:
                child.kill()


@dataclass(frozen=True)
class CellRunner:
    """Runs cells of one sweep. spec: the path of the spec. threads: of each process; None leaves them alone."""

    spec: str
    sweep: SweepFile
    folder: SweepFolder
    trust: bool = False
    threads: int | None = None
    force: bool = False
    children: Children = field(default_factory=Children)

    def __call__(self, cell: Cell, spec: Spec) -> Outcome:
        """Train and evaluate one run, from where it stopped, and write down what came of it. Raises: Interrupted."""
        log = self.folder.log(cell)
        log.parent.mkdir(parents=True, exist_ok=True)
        run = self.folder.run(cell)
        run.parent.mkdir(parents=True, exist_ok=True)
        trust = ["--trust"] if self.trust else []
        sets = [word for text in cell.overrides(self.sweep) for word in ("--set", text)]
        way = "--force" if self.force else "--resume"
        with log.open("wb" if self.force else "ab") as words:
            before = words.tell()
            told = self.tags(cell) if spec.train.loggers else []
            status = self.children.call(
                ["train", self.spec, *sets, "-o", str(run), way, *told, *trust], self.threads, words, words
            )
            if status:
                return self._failed(cell, spec, "training", status, last_words(log, before))
            result = log.with_suffix(".result")
            with result.open("wb") as output:
                status = self.children.call(
                    ["evaluate", str(run), *self._options(), "--json", *trust], self.threads, output, words
                )
        text = result.read_text(encoding="utf-8")
        result.unlink()
        if status and not text:
            return self._failed(cell, spec, "evaluation", status, last_words(log, before))
        validation, seconds = validation_of(run / "metrics.jsonl")
        return self._kept(
            cell,
            Outcome(
                of=digest(spec, self.sweep),
                settings=dict(cell.settings),
                seed=cell.seed,
                state="failed" if status else "done",  # some rows have no finite scores: the rest is measured
                message=last_words(log, before) if status else "",
                run=str(Path("runs") / cell.name),
                seconds=seconds,
                validation=validation,
                evaluation=json.loads(text),
            ),
        )

    def tags(self, cell: Cell) -> list[str]:
        """Say to trackers which cell of which sweep it is."""
        tags = {"sweep": self.folder.path.resolve().name, "cell": cell.name}
        tags |= {key: value_text(value) for key, value in cell.settings}
        return [word for key, value in tags.items() for word in ("--tag", f"{key}={value}")]

    def _options(self) -> list[str]:
        how = self.sweep.evaluate
        words = ["--split", how.split, "--checkpoint", how.checkpoint]
        words += [] if how.samples is None else ["--samples", str(how.samples)]
        return [*words, "--classifier"] if how.classifier else words

    def _failed(self, cell: Cell, spec: Spec, what: str, status: int, words: str) -> Outcome:
        how = f"killed by {signal.Signals(-status).name}" if status < 0 else words or f"exit status {status}"
        outcome = Outcome(
            of=digest(spec, self.sweep),
            settings=dict(cell.settings),
            seed=cell.seed,
            state="failed",
            message=f"{what}: {how}",
        )
        return outcome if status == INTERRUPTED else self._kept(cell, outcome)  # which goes on the next time

    def _kept(self, cell: Cell, outcome: Outcome) -> Outcome:
        self.folder.keep(cell, outcome)
        return outcome


def last_words(log: Path, since: int = 0) -> str:
    """Give what a run said last: the lines of its errors, or its last line. since: bytes of the log that are older."""
    text = log.read_bytes()[since:].decode("utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return "; ".join(errors[-LINES:]) if errors else "".join(lines[-1:])
