"""What every attack shares: a command in this program under a bound of time and memory, and a tally of what came of it.

No command may end in a traceback, by a signal, after more than `bounded.SECONDS` or beyond `MEMORY`, none may run code
that a file brings, and one that fails says why.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from bounded import TooLong, bounded

from sgc.cli import app

MEMORY = 2_000  # MB above what the program had before
BATCH = 25  # cases that one process takes: one that is ended by a signal takes no other with it


@dataclass(frozen=True)
class Failure:
    """What went wrong with one case: the seed that makes it again, how it was made, the command and what it did."""

    seed: int
    how: str
    command: str
    what: str


@dataclass
class Tally:
    """What an attack found: how often each command ended with each status, and what must not have been."""

    cases: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    peak: int = 0  # MB

    def add(self, other: Tally) -> None:
        """Take another one in."""
        self.cases += other.cases
        self.statuses = dict(Counter(self.statuses) + Counter(other.statuses))
        self.failures += other.failures
        self.peak = max(self.peak, other.peak)

    def text(self, what: str) -> str:
        """Write the failures, if any, and the figures."""
        told = [f"{each.seed} {each.command}: {each.how}\n{each.what}\n" for each in self.failures]
        counts = ", ".join(f"{name}: {count}" for name, count in sorted(self.statuses.items()))
        figures = f"{self.cases} {what}, {len(self.failures)} failures, {self.peak} MB more at most"
        return "\n".join([*told, figures, counts])


Case = Callable[[int, Path, Path], Tally]  # of a seed, in what was made once, in a folder of its own


def attack(seed: int, count: int, prepare: Callable[[Path], None], case: Case) -> Tally:
    """Try `count` cases, by this seed, each in a folder of its own. prepare: makes, once, what the cases start from."""
    torch.set_num_threads(1)
    found = Tally()
    with tempfile.TemporaryDirectory() as name:
        made, copies = Path(name) / "made", Path(name) / "cases"
        made.mkdir()
        prepare(made)
        seeds = [seed * 1_000_000 + i for i in range(count)]
        for start in range(0, count, BATCH):
            batch = seeds[start : start + BATCH]
            together = _in_child(batch, case, made, copies)
            if isinstance(together, Tally):
                found.add(together)
                continue
            for each in batch:  # one by one, to know which it was
                alone = _in_child([each], case, made, copies)
                ended = Tally(cases=1, failures=[Failure(each, "", "", f"the process ended with {alone}")])
                found.add(alone if isinstance(alone, Tally) else ended)
    return found


def _in_child(seeds: Sequence[int], case: Case, made: Path, copies: Path) -> Tally | int:
    """Try these seeds in a process of their own: what it found, or the signal that ended it."""
    shutil.rmtree(copies, ignore_errors=True)
    copies.mkdir()
    report = copies.with_suffix(".json")
    report.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        status = 70
        try:
            torch.set_num_threads(1)
            found = Tally()
            for seed in seeds:
                place = copies / str(seed)
                place.mkdir()
                os.chdir(place)
                found.add(case(seed, made, place))
                shutil.rmtree(place)
            report.write_text(json.dumps(asdict(found)))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    if not report.exists():
        return os.waitstatus_to_exitcode(ended)
    plain = json.loads(report.read_text())
    failures = [Failure(**each) for each in plain.pop("failures")]
    return Tally(**plain, failures=failures)


def try_commands(seed: int, how: str, commands: Mapping[str, Sequence[str]], boom: Path) -> Tally:
    """Run commands, by name, and tell what none of them may do. boom: a file that foreign code would make."""
    found = Tally(cases=1)
    for name, words in commands.items():
        before = _memory()
        status, told = run(words)
        found.peak = max(found.peak, _memory() - before)
        counted = f"{name} {status}"
        found.statuses[counted] = found.statuses.get(counted, 0) + 1
        problem = ""
        if status == -1 or "Traceback" in told:
            problem = told.strip()[-1500:]
        elif status not in (0, 1, 2):
            problem = f"status {status}"
        elif status and not told.strip():
            problem = f"status {status} without a word"
        elif boom.exists():
            problem = "ran code"
        elif found.peak > MEMORY:
            problem = f"{found.peak} MB"
        if problem:
            found.failures.append(Failure(seed, how, " ".join(words)[:300], problem))
        if os.environ.get("SHOW"):
            print(f"{seed} {how} | {name} {status} | {told.strip()[:300]}", flush=True)
    return found


def run(words: Sequence[str]) -> tuple[int, str]:
    """Run a command in this process: its exit status, -1 for a traceback, and what it told."""
    told = io.StringIO()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(told), bounded():
            code = app(list(words), standalone_mode=False)
            status = code if isinstance(code, int) else 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except TooLong as late:
        status = -1
        told.write(str(late))
    except BaseException as problem:
        usage = type(problem).__module__.startswith(("click", "typer"))  # words that no command takes: not our own code
        status = 2 if usage else -1
        told.write(f"{problem}" if usage else traceback.format_exc())
    return status, told.getvalue()


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
