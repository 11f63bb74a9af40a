"""Measure a step of training as sgc and its peers take it: `make bench`, or `python -m benchmarks.bench`.

Every contender has a process of its own, which stays. In each round each takes some steps, one contender after the
other; ratios are of the same round, so that what else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from statistics import fmean, median

from benchmarks import problem
from benchmarks.contenders import ENTRIES, PEERS
from benchmarks.problem import Problem
from benchmarks.resident import Lost, Resident
from benchmarks.results import Measured, Step, disagreements, table

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- the last table -->", "<!-- end of the last table -->"
LIBRARIES = ("torch", "pyro-ppl", "numpyro", "jax", "pixyz")
TINY = "tiny "
STEPS = [*problem.STEPS, *(TINY + name for name in problem.STEPS)]
WHOLE = 8  # steps of a turn are a multiple of this: sgc takes more of every eighth


def options(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.bench", description="Measure a step of training, side by side.")
    parser.add_argument("--quick", action="store_true", help="a minute: 20 rows a batch, few rounds, processes shared")
    parser.add_argument("--steps", help=f"some of {', '.join(STEPS)}; all but tiny A3, and tiny A1 if quick")
    parser.add_argument("--contenders", default=",".join(PEERS), help=f"some of {', '.join(ENTRIES)}")
    parser.add_argument("--batch", type=int, metavar="B", help="rows with labels a step, and as many without; 100")
    parser.add_argument("--threads", type=int, default=1, help="threads, and cores, of each contender")
    parser.add_argument("--rounds", type=int, help="rounds; 9, or 3 if quick")
    parser.add_argument("--turn", type=int, metavar="N", help="steps of a turn; as many as take a second")
    parser.add_argument("--draws", type=int, help="losses to average at the start; 32, or 8 if quick")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/README.md")
    chosen = parser.parse_args(words)
    defaults = (
        ("steps", "A1,A2,A3,tiny A1,tiny A2", "A1,A2,A3,tiny A2"),
        ("rounds", 9, 3),
        ("draws", 32, 8),
        ("batch", None, 20),
        ("turn", None, WHOLE),
    )
    for key, full, quick in defaults:
        if getattr(chosen, key) is None:
            setattr(chosen, key, quick if chosen.quick else full)
    for key, known in (("steps", STEPS), ("contenders", list(ENTRIES))):
        names = [name.strip() for name in getattr(chosen, key).split(",")]
        if unknown := [name for name in names if name not in known]:
            parser.error(f"--{key}: '{unknown[0]}' is none of {', '.join(known)}")
        setattr(chosen, key, names)
    return chosen


def problem_of(name: str, batch: int | None) -> Problem:
    """Give the problem of a row of the table."""
    small = name.startswith(TINY)
    found = problem.read(name.removeprefix(TINY), batch)
    return problem.tiny(found) if small else found


def say(text: str) -> None:
    """Tell how it goes, on standard error."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def residents(names: Sequence[str], threads: int) -> Iterator[dict[str, Resident]]:
    """Start contenders, and stop them in the end."""
    started: dict[str, Resident] = {}
    try:
        for name in names:
            started[name] = Resident(name, threads)
        yield started
    finally:
        for each in started.values():
            each.stop()


@contextmanager
def losing(measured: Measured) -> Iterator[None]:
    """Note in its row why a contender cannot go on; the others do."""
    try:
        yield
    except Lost as why:
        measured.lost = str(why)


def measure(given: Problem, processes: dict[str, Resident], chosen: argparse.Namespace) -> Step:
    """Measure a step by every contender that can take it."""
    step = {name: Measured(ENTRIES[name].title) for name in processes}
    seconds: dict[str, float] = {}
    for name, process in processes.items():
        with losing(step[name]):
            seconds[name] = prepare(step[name], process, given, chosen.draws)
    turn = chosen.turn or WHOLE * max(1, round(1 / (WHOLE * median(seconds.values() or [1.0]))))
    for number in range(chosen.rounds):
        for name in rotated(list(seconds), number):
            if not step[name].lost:
                with losing(step[name]):
                    take_turn(step[name], processes[name], turn)
    for name in seconds:
        if not step[name].lost:
            with losing(step[name]):
                step[name].later = fmean(processes[name].ask("loss", draws=chosen.draws)["losses"])
    return step


def prepare(measured: Measured, process: Resident, given: Problem, draws: int) -> float:
    """Make a contender ready, with all that is measured once; give the seconds of one of its steps. Raises: Lost."""
    measured.resident = process.greeting()["resident"]
    process.ask("prepare", problem=problem.plain_data(given))
    start = process.ask("loss", draws=draws)
    measured.losses, measured.exact = start["losses"], start["exact"]
    settled = process.ask("settle")
    measured.setup = settled["setup"]
    measured.operators = process.ask("operators")["operators"]
    return float(settled["cpu"])


def take_turn(measured: Measured, process: Resident, steps: int) -> None:
    """Let a contender take the steps of a round. Raises: Lost."""
    taken = process.ask("run", steps=steps)
    measured.cpu.append(taken["cpu"] / steps)
    measured.wall.append(taken["wall"] / steps)
    measured.faults.append(taken["faults"] / steps)
    measured.peak = max(measured.peak, taken["peak"])


def rotated(names: list[str], by: int) -> list[str]:
    """Let another one begin in each round."""
    by %= max(1, len(names))
    return names[by:] + names[:by]


def measure_all(chosen: argparse.Namespace) -> dict[str, Step]:
    """Measure every step, each with new processes; if quick, with the same ones."""
    found: dict[str, Step] = {}
    if chosen.quick:
        with residents(chosen.contenders, chosen.threads) as processes:
            for name in chosen.steps:
                say(f"{name} ...")
                found[name] = measure(problem_of(name, chosen.batch), processes, chosen)
        return found
    for name in chosen.steps:
        say(f"{name} ...")
        with residents(chosen.contenders, chosen.threads) as processes:
            found[name] = measure(problem_of(name, chosen.batch), processes, chosen)
    return found


# ---- where and how it was measured


def machine() -> str:
    """Name the processor, its cores, and the system."""
    info, name = Path("/proc/cpuinfo"), platform.processor()
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
    system = f"{platform.system()}, Python {platform.python_version()}"
    return f"{name or platform.machine()}, {os.cpu_count()} cores, {system}"


def load() -> float:
    """Give how many processes wanted a core in the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan


def versions() -> str:
    """Name the versions of the libraries that are there."""
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"{name} not there")
    return ", ".join(found)


def account(words: Sequence[str], chosen: argparse.Namespace, before: float) -> str:
    """Say in a few lines what the table is of."""
    kept = [word for i, word in enumerate(words) if "--json" not in words[max(0, i - 1) : i + 1]]
    command = shlex.join(["python", "-m", "benchmarks.bench", *kept])
    return "\n".join(
        (
            f"Command: `{command}`, {chosen.rounds} rounds, {chosen.threads} thread{'s' * (chosen.threads > 1)}.",
            f"Machine: {machine()}; {before:.1f} processes wanted a core when it began, {load():.1f} when it ended.",
            f"Versions: {versions()}.",
        )
    )


def write(page: Path, text: str, marks: tuple[str, str] = (BEGIN, END)) -> None:
    """Put a text between two marks of a page."""
    before, begin, rest = page.read_text().partition(marks[0])
    _, end, after = rest.partition(marks[1])
    assert begin, f"{page} has lost its marks"
    assert end, f"{page} has lost its marks"
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


def main(words: Sequence[str]) -> int:
    """Measure, print, write; the status is 1 where losses differ."""
    chosen, before = options(words), load()
    steps = measure_all(chosen)
    told, printed = account(words, chosen, before), table(steps)
    print(f"{told}\n\n{printed}\n")
    wrong = disagreements(steps)
    print("\n".join(wrong) if wrong else "The losses at the start agree.")
    if chosen.json is not None:
        plain = {name: {who: asdict(each) for who, each in step.items()} for name, step in steps.items()}
        chosen.json.write_text(json.dumps({"account": told, "steps": plain}, indent=1) + "\n")
    if chosen.write:
        write(README, f"{told}\n\n{printed}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
