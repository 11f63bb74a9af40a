"""How a step of training scales over processes of this machine: `python -m benchmarks.processes`.

One process with one thread, one with as many threads as there are processes, and so many processes with one thread
each, all at the same global batch; in turn, some rounds, each in processes of their own. Efficiency is t₁ / (n tₙ) by
wall time, and by the CPU time of all processes together, which holds on a machine that does other things too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

import sgc
from benchmarks.problem import Problem, read
from sgc.runs.run_folder import RunFolder
from sgc.runtime.data_variables import open_data
from sgc.spec.resolver import outline
from sgc.training.launch_environment import Launched
from sgc.training.processes import together
from sgc.training.trainer import Trainer
from sgc.training.watchers import Silent

WARM = 8  # steps before the clock starts: the fourth is the first that is replayed


@dataclass(frozen=True)
class Time:
    """What a step takes, ms."""

    wall: float
    cpu: float  # of all processes


def measured(problem: Problem, processes: int, threads: int, steps: int, folder: Path) -> Time:
    """Take steps in processes of their own."""
    meeting, children = folder / f"meeting{time.monotonic_ns()}", []
    for rank in range(processes):
        child = os.fork()
        if child:
            children.append(child)
            continue
        status = 1
        try:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
            found = Launched(rank, processes, rank, f"file://{meeting}") if processes > 1 else None
            times = _steps(problem, found, threads, steps)
            (folder / f"time{rank}").write_text(json.dumps(times))
            status = 0
        finally:
            os._exit(status)
    if any(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children):
        raise SystemExit("a process failed, see above")
    every = [json.loads((folder / f"time{rank}").read_text()) for rank in range(processes)]
    return Time(max(wall for wall, _ in every), sum(cpu for _, cpu in every))


def _steps(problem: Problem, found: Launched | None, threads: int, steps: int) -> tuple[float, float]:
    torch.set_num_threads(threads)
    spec = sgc.load(problem.spec, [*problem.overrides(), "train.epochs=100000", "train.precision=32-true"])
    rows = problem.rows()
    labels = np.concatenate((rows.labels.astype(float), np.full(len(rows.labels), np.nan)))
    made = outline(spec)
    data = open_data(made, Path(), {"x": rows.x, "y": labels})
    with together(found, gpu=False) as group:
        trainer = Trainer(made, data, RunFolder(Path("never-written")), Silent(), group, debug=False)
        trainer.model.train()
        for _ in range(WARM):
            trainer._step()
        began, spent = time.perf_counter(), time.process_time()
        for _ in range(steps):
            trainer._step()
        return (time.perf_counter() - began) / steps * 1e3, (time.process_time() - spent) / steps * 1e3


def main() -> None:
    """Measure, and print a table."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--step", default="A1", help="A1, A2 or A3 of benchmarks/README.md")
    words.add_argument("--batch", type=int, default=200, help="rows with labels in a step, and as many without")
    words.add_argument("--processes", type=int, default=2)
    words.add_argument("--steps", type=int, default=40)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--json", type=Path)
    given = words.parse_args()
    problem, count = read(given.step, given.batch), given.processes
    ways = {"1 process, 1 thread": (1, 1), f"1 process, {count} threads": (1, count)}
    ways[f"{count} processes, 1 thread each"] = (count, 1)
    times: dict[str, list[Time]] = {way: [] for way in ways}
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(given.rounds):
            for way, (processes, threads) in ways.items():
                times[way].append(measured(problem, processes, threads, given.steps, Path(folder)))
    alone = times["1 process, 1 thread"]
    after = os.getloadavg()[0]
    print(f"{given.step}, {given.batch} rows with labels and as many without, torch {torch.__version__}")
    print(f"{platform.machine()}, {os.cpu_count()} cores; load {before:.1f} before, {after:.1f} after")
    print(f"{'':<28}{'wall ms':>9}{'CPU ms':>9}{'efficiency':>12}{'of CPU':>8}")
    for way, found in times.items():
        workers = max(ways[way])
        wall = statistics.median(one.wall / (workers * each.wall) for one, each in zip(alone, found, strict=True))
        cpu = statistics.median(one.cpu / each.cpu for one, each in zip(alone, found, strict=True))
        middle = [statistics.median(getattr(each, name) for each in found) for name in ("wall", "cpu")]
        print(f"{way:<28}{middle[0]:>9.1f}{middle[1]:>9.1f}{wall:>12.2f}{cpu:>8.2f}")
    if given.json is not None:
        with suppress(OSError):
            given.json.parent.mkdir(parents=True, exist_ok=True)
        plain = {way: [asdict(each) for each in found] for way, found in times.items()}
        given.json.write_text(json.dumps({**vars(given), "json": str(given.json), "times": plain}, indent=1))


if __name__ == "__main__":
    main()
