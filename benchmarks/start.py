"""Measure how long commands take to start: `python -m benchmarks.start`.

A row is a process: the CPU time of the user and of the system from its start to its end. Rounds take the rows in turn,
so that what else the machine does falls on all of them; the least time is the nearest to that of a core of its own.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.bench import README, load, machine, say, write

ROOT = Path(__file__).parent.parent
TEN_NODES = str(ROOT / "benchmarks" / "specs" / "ten-nodes.yaml")
DIGITS = str(ROOT / "specs" / "digits.yaml")
MARKS = "<!-- start times -->", "<!-- end of start times -->"

# `sgc train` until its first step is done: the loop is told of that step, and ends the process
FIRST_STEP = f"""
import os, sys
from sgc.cli import main, train_command
def begin():
    from sgc.training.trainer import Trainer
    step = Trainer._step
    Trainer._step = lambda trainer: (step(trainer), os._exit(0))
train_command.collect_as_usual = begin
sys.argv = ["sgc", "train", {DIGITS!r}, "-o", "run", "--force"]
main()
"""
SHELL = ("-m", "sgc")


@dataclass
class Row:
    """A process that is measured. must: the most seconds, above those of the row `over` where one is named."""

    title: str
    words: tuple[str, ...]
    must: float | None = None
    over: str = ""
    seconds: list[float] = field(default_factory=list)


def rows() -> list[Row]:
    """List the processes, in the order of the table."""
    return [
        Row("python", ("-c", "pass")),
        Row("import sgc", ("-c", "import sgc"), 0.05, over="python"),
        Row("sgc --help", (*SHELL, "--help"), 0.15),
        Row("sgc check, 10 nodes", (*SHELL, "check", TEN_NODES), 0.35),
        Row("sgc inspect, 10 nodes", (*SHELL, "inspect", TEN_NODES), 0.35),
        Row("sgc schema", (*SHELL, "schema")),
        Row("import torch", ("-c", "import torch")),
        Row("sgc train, to its first step", ("-c", FIRST_STEP), 1.0, over="import torch"),
    ]


def seconds_of(words: Sequence[str], folder: Path) -> float:
    """Give the CPU time of python with these words, in a folder. Raises: SystemExit where it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    child = os.fork()
    if not child:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        os.chdir(folder)
        os.execve(sys.executable, [sys.executable, *words], environment)
    _, status, used = os.wait4(child, 0)
    if status:
        sys.exit(f"python {' '.join(words)} ended with status {os.waitstatus_to_exitcode(status)}")
    return used.ru_utime + used.ru_stime


def measure(measured: list[Row], runs: int) -> None:
    """Take each row so many times, one after the other, after a round that is not counted and writes bytecode."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(runs + 1):
            say(f"round {number} of {runs} ...")
            for row in measured:
                seconds = seconds_of(row.words, Path(folder))
                row.seconds += [seconds] if number else []


def table(measured: list[Row]) -> str:
    """Write the times as a table, which reads as text and as Markdown."""
    least = {row.title: min(row.seconds) for row in measured}
    cells = [["process", "least s", "median s", "above another", "must s"]]
    for row in measured:
        above = f"{least[row.title] - least[row.over]:.3f} above {row.over}" if row.over else ""
        must = "" if row.must is None else f"{row.must:.2f}"
        cells.append([row.title, f"{least[row.title]:.3f}", f"{median(row.seconds):.3f}", above, must])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
    rule = "|".join("-" * (width + 2) for width in widths)
    return "\n".join([f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])])


def main(words: Sequence[str]) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="benchmarks.start", description="Measure how long commands take to start.")
    parser.add_argument("--runs", type=int, default=15, help="of each process; 15")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/README.md")
    chosen, before, measured = parser.parse_args(words), load(), rows()
    measure(measured, chosen.runs)
    text = (
        f"Command: `python -m benchmarks.start --runs {chosen.runs}`. Machine: {machine()}; {before:.1f} processes "
        f"wanted a core when it\nbegan, {load():.1f} when it ended.\n\n{table(measured)}"
    )
    print(text)
    if chosen.write:
        write(README, text, MARKS)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
