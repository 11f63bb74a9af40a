"""The runs of a sweep: those that are not done yet, several at a time, here or where a scheduler puts them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from sgc.errors import Interrupted, UsageError, option
from sgc.spec.spec import Spec
from sgc.sweeps.cell_runs import CellRunner
from sgc.sweeps.cells import Cell, cells_of, load_cells
from sgc.sweeps.outcomes import Outcome, SweepFolder, digest
from sgc.sweeps.sweep_file import SweepFile, read_sweep

STOPPED = "stopped; the same command goes on from here"

Tell = Callable[[Cell, Outcome], None]


@dataclass(frozen=True)
class Shard:
    """Every n-th run, from the i-th: 1/n to n/n are all of them."""

    index: int
    count: int

    @classmethod
    def of(cls, text: str) -> Shard:
        """Read `i/n`. Raises: UsageError."""
        first, slash, second = text.partition("/")
        if slash and first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second):
            return cls(int(first), int(second))
        raise UsageError(f"{option('shard', text)}: expected i/n, for example 1/4, with i from 1 to n")

    def take(self, cells: Sequence[Cell]) -> list[Cell]:
        """Give the runs of this shard."""
        return list(cells[self.index - 1 :: self.count])


@dataclass(frozen=True)
class Ended:
    """How a sweep stands: what came of its runs, in their order; those that are not there have not ended."""

    outcomes: dict[Cell, Outcome]
    cells: Sequence[Cell]

    @property
    def failed(self) -> dict[Cell, Outcome]:
        return {cell: outcome for cell, outcome in self.outcomes.items() if outcome.state == "failed"}

    @property
    def missing(self) -> list[Cell]:
        return [cell for cell in self.cells if cell not in self.outcomes]


def ended(folder: SweepFolder, sweep: SweepFile, specs: dict[Cell, Spec]) -> Ended:
    """Read what has come of the runs so far. What came of another spec or evaluation does not count."""
    outcomes = {cell: folder.outcome(cell) for cell in specs}
    current = {
        cell: outcome
        for cell, outcome in outcomes.items()
        if outcome is not None and outcome.of == digest(specs[cell], sweep)
    }
    return Ended(current, list(specs))


def to_do(state: Ended, *, retry: bool, force: bool) -> list[Cell]:
    """List the runs to be made: those without an end, with `retry` the failed ones too, with `force` all."""
    if force:
        return list(state.cells)
    return [cell for cell in state.cells if cell in state.missing or (retry and cell in state.failed)]


def threads_for(jobs: int) -> int | None:
    """Share the cores among jobs; None where there is one job, or the user says by $OMP_NUM_THREADS."""
    if jobs == 1 or os.environ.get("OMP_NUM_THREADS"):
        return None
    return max(1, len(os.sched_getaffinity(0)) // jobs if hasattr(os, "sched_getaffinity") else 1)


def run_here(runner: CellRunner, cells: Sequence[Cell], specs: dict[Cell, Spec], jobs: int, tell: Tell) -> None:
    """Make runs on this machine, `jobs` at a time; a failure stops no other.

    Ctrl-C asks those under way to write their checkpoints. Raises: Interrupted.
    """
    with ThreadPoolExecutor(jobs) as pool:
        futures: dict[Future[Outcome], Cell] = {pool.submit(runner, cell, specs[cell]): cell for cell in cells}
        try:
            for future in _as_they_end(futures):
                tell(futures[future], future.result())
        except BaseException as problem:
            for future in futures:
                future.cancel()
            runner.children.stop()
            if isinstance(problem, KeyboardInterrupt | Interrupted):
                raise Interrupted(STOPPED) from None
            raise


def _as_they_end(futures: dict[Future[Outcome], Cell]) -> Iterator[Future[Outcome]]:
    waiting = set(futures)
    while waiting:
        done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)  # wakes up for Ctrl-C
        yield from done


def run_one(spec: str, file: str, folder: str, name: str, trust: bool, force: bool) -> str:
    """Make one run by its name, where a scheduler has put it; give its state."""
    sweep, document = read_sweep(file)
    cells = [cell for cell in cells_of(sweep) if cell.name == name]
    specs = load_cells(spec, sweep, document, cells, trust=trust)
    runner = CellRunner(spec, sweep, SweepFolder(Path(folder)), trust=trust, force=force)
    return runner(cells[0], specs[cells[0]]).state


def hand_over(
    runner: CellRunner, file: Path, cells: Sequence[Cell], cluster: str, parameters: dict[str, Any]
) -> list[str]:  # Any: what submitit takes
    """Hand runs to SLURM, or to processes of this machine (`local`), by submitit; give the jobs' ids.

    file: the sweep. Raises: UsageError, where submitit is missing or refuses the cluster or a parameter.
    """
    try:
        submitit = import_module("submitit")
    except ModuleNotFoundError:
        raise UsageError(f"{option('submit')} needs submitit: pip install 'sgc[sweeps]'") from None
    words = [str(Path(path).resolve()) for path in (runner.spec, file, runner.folder.path)]
    try:
        executor = submitit.AutoExecutor(folder=runner.folder.path / "jobs", cluster=cluster)
        executor.update_parameters(**parameters)
        with executor.batch():
            jobs = [executor.submit(run_one, *words, cell.name, runner.trust, runner.force) for cell in cells]
    except (RuntimeError, TypeError, ValueError, NameError) as problem:
        raise UsageError(f"{option('submit', cluster)}: {problem}") from None
    return [str(job.job_id) for job in jobs]


def prepare(path: Path, written: Path) -> SweepFolder:
    """Make the folder of a sweep, which keeps a copy of its file. Raises: UsageError where it is a folder of others."""
    own = {"runs", "logs", "outcomes", "jobs", "sweep.yaml", "search.journal"}
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path}: is a file, wanted a folder for the sweep")
    foreign = sorted(entry.name for entry in path.iterdir() if entry.name not in own) if path.exists() else []
    if foreign and not (path / "sweep.yaml").exists():
        raise UsageError(f"{path}: holds no sweep, but {foreign[0]}: take another folder by -o")
    from sgc.data.outputs import write_output

    path.mkdir(parents=True, exist_ok=True)
    write_output(path / "sweep.yaml", written.read_bytes())
    return SweepFolder(path)
