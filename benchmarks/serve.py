"""A contender's process: it answers each line of JSON on standard input by one on standard output, until told to stop.

    {"do": "prepare", "problem": {...}}  the weights and rows are there  -> {}
    {"do": "loss", "draws": 32}          loss of the first rows          -> {"losses": [...], "exact": {...}}
    {"do": "settle"}                     steps until all are alike       -> {"setup": s, "cpu": s}
    {"do": "operators"}                                                  -> {"operators": a step's, or null}
    {"do": "run", "steps": 16}           steps                 -> {"cpu": s, "wall": s, "peak": MiB, "faults": n}
    {"do": "stop"}

The first line, unasked, says that the library is there: {"resident": MiB}. {"cannot": why} answers where the library
has no way to take the step, {"failed": why} where something went wrong. Seconds are of CPU time but for "wall"; "setup"
is that of the import, of the making and of the first five steps, "cpu" after settling that of one more. What "run"
answers is of all steps together.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.contender import Cannot, Contender, make
from benchmarks.contenders import ENTRIES
from benchmarks.problem import Problem

FIRST = 5  # steps that belong to setting up: what is compiled or recorded is so by then
MIB = 1 << 20

Answer = dict[str, Any]  # Any: what JSON can say


class Served:
    """A contender, once it is prepared, and what it may be asked."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.made: Contender | None = None
        importlib.import_module(ENTRIES[name].module)
        self.import_seconds, self.make_seconds = time.process_time(), 0.0

    @property
    def contender(self) -> Contender:
        assert self.made is not None, "asked before it was prepared"
        return self.made

    def prepare(self, problem: Answer) -> Answer:
        """Make the contender, in the place of one that may be there."""
        self.made = None
        gc.collect()
        began = time.process_time()
        self.made = make(self.name, Problem(**problem))
        self.make_seconds = time.process_time() - began
        return {}

    def loss(self, draws: int) -> Answer:
        """Compute the loss of the first rows so many times, and what of it is not drawn."""
        return {"losses": [self.contender.loss() for _ in range(draws)], "exact": self.contender.exact()}

    def settle(self) -> Answer:
        """Take steps until all are alike, and time one more."""
        first = self.run(FIRST)["cpu"]
        self.run(max(0, self.contender.settles - FIRST))
        return {"setup": self.import_seconds + self.make_seconds + first, "cpu": self.run(1)["cpu"]}

    def operators(self) -> Answer:
        """Count the operators of a step."""
        return {"operators": self.contender.operators()}

    def run(self, steps: int) -> Answer:
        """Take steps, and time them."""
        reset_peak()
        faults_before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        wall_before, cpu_before = time.perf_counter(), time.process_time()
        for _ in range(steps):
            self.contender.step()
        self.contender.finish()
        cpu, wall = time.process_time() - cpu_before, time.perf_counter() - wall_before
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults_before
        return {"cpu": cpu, "wall": wall, "peak": peak(), "faults": faults}


def reset_peak() -> None:
    """Forget the largest memory that the process had, where the system can."""
    with suppress(OSError):  # elsewhere the peak is that of the whole life of the process
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> float:
    """Give the largest resident memory since `reset_peak`, libraries included, in MiB."""
    return _status("VmHWM") or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB


def _status(key: str) -> float | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 / MIB for line in lines if line.startswith(f"{key}:")), None)


def pin(threads: int) -> None:
    """Keep the process to as many cores as it may have threads: JAX asks how many there are, and nothing else."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


def answer_to(act: Callable[[], Answer]) -> Answer:
    """Answer with what comes of it, or why nothing does."""
    try:
        return act()
    except Cannot as why:
        return {"cannot": str(why)}
    except Exception as problem:  # whatever a library raises: its row says so, and the others go on
        traceback.print_exc()
        lines = str(problem).strip().splitlines() or [""]
        return {"failed": f"{type(problem).__name__}: {lines[0]}"}


def main(name: str, threads: int) -> None:
    """Answer until told to stop, or until nobody asks."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    served: list[Served] = []

    def begin() -> Answer:
        served.append(Served(name))
        return {"resident": _status("VmRSS") or peak()}

    print(json.dumps(answer_to(begin)), file=replies)
    if not served:
        return
    pin(threads)  # not before: libraries are imported side by side
    for line in sys.stdin:
        asked = json.loads(line)
        what = asked.pop("do")
        if what == "stop":
            break
        answer = answer_to(lambda what=what, asked=asked: getattr(served[0], what)(**asked))  # type: ignore[misc]
        print(json.dumps(answer), file=replies)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
