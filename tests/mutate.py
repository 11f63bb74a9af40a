"""Put known faults into the derivation and the runtime, one at a time, and tell what catches each: `make mutate`.

Each fault is a replacement of text in a copy of the tree. What caught it is the first failing test of the files below,
and the first comparison that `sgc prove` fails on the specs below. The first run has no fault, and nothing may fail.
Exit 1 where a fault is caught by nothing, 2 where its text is no longer there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = (
    "test_bruteforce",
    "test_score_function",
    "test_estimators",
    "test_m2",
    "test_linear_gaussian",
    "test_existence",
)
RELAXED = ("--set", "nodes.y.recognition.estimator=gumbel_softmax", "--set", "objective.bound=iwae")
SPECS = (
    ("digits",),
    ("digits", *RELAXED),
    ("mnist-z-then-y",),
    ("mnist-reinforce",),
    ("sdgm",),
    ("two-label",),
    ("multi-mnist-count",),
)
PARTS = ("sgc", "tests", "specs", "pyproject.toml")


@dataclass(frozen=True)
class Fault:
    """A fault: in words, in which file, and which text, found there once, becomes which."""

    name: str
    file: str
    old: str
    new: str

    def applied(self, source: str) -> str:
        """Put the fault into a source. Raises: ValueError where its text is not there exactly once."""
        if source.count(self.old) != 1:
            raise ValueError(
                f"{self.name}: {self.file} has this text {source.count(self.old)} times, wanted 1: {self.old}"
            )
        return source.replace(self.old, self.new)


FAULTS = (
    Fault(
        "a factor of w is dropped",
        "sgc/runtime/sums.py",
        "[Pair(log=log) for log in self.varying.values()] if self.normalised",
        "[Pair(log=log) for log in list(self.varying.values())[1:]] if self.normalised",
    ),
    Fault(
        "w is detached",
        "sgc/runtime/sums.py",
        "[Pair(log=log) for log in self.varying.values()] if self.normalised",
        "[Pair(log=Score(log.tensor.detach(), log.nodes)) for log in self.varying.values()] if self.normalised",
    ),
    Fault(
        "a relaxed draw is scored at its largest entry",
        "sgc/runtime/execute.py",
        "return log_score(variable, conditional, group.points.get(variable.name, value))",
        "return log_score(variable, conditional, variable.family.harden(value) if relaxed else value)",
    ),
    Fault(
        "p of a label is forgotten",
        "sgc/derivation/derive.py",
        "tuple(self.generative(n) for n in scored)",
        "tuple(self.generative(n) for n in scored if n not in self.observed)",
    ),
    Fault(
        "rows get the labels of others",
        "sgc/runtime/batch.py",
        "chosen = {n: v[rows.to(v.device)] for n, v in here.items()}",
        "chosen = {n: v[(rows.roll(1) if n in partial else rows).to(v.device)] for n, v in here.items()}",
    ),
    Fault(
        "w is held fixed in what a draw is charged with",
        "sgc/derivation/derive.py",
        'coupled = bound in ("iwae", "supervised") or (bound == "elbo" and weighed)',
        'coupled = bound in ("iwae", "supervised")',
    ),
    Fault(
        "the charge leaves out what lies below the draw",
        "sgc/derivation/derive.py",
        "found[name] |= found[reader] if reader not in self.clamped else 0",
        "found[name] |= 0",
    ),
    Fault(
        "alpha counts twice",
        "sgc/runtime/sums.py",
        "return self.settings.alpha[name]",
        "return 2 * self.settings.alpha[name]",
    ),
    Fault(
        "1/S counts twice",
        "sgc/runtime/layout.py",
        "Score(value.tensor.mean(axis, keepdim=True), value.nodes)",
        "Score(value.tensor.mean(axis, keepdim=True) / value.tensor.shape[axis], value.nodes)",
    ),
    Fault(
        "a KL in closed form though a label depends on the node",
        "sgc/derivation/derive.py",
        "labelled = self.first_below(name, self.observed_bits)",
        'labelled = ""',
    ),
    Fault(
        "the masses of an enumerated node are left out",
        "sgc/runtime/execute.py",
        "group.masses.append(mass)",
        "group.masses.append(0 * mass)",
    ),
    Fault(
        "a step that does not exist is scored",
        "sgc/runtime/execute.py",
        "group.scores[key] = existence.masked(group.scores[key], found)",
        "group.scores[key] = group.scores[key]",
    ),
    Fault(
        "a label tells nothing of the count of its step",
        "sgc/runtime/execute.py",
        "mass, weight = counts.restrict(log.tensor, allowed, axis)",
        "mass, weight = counts.restrict(log.tensor, torch.ones_like(allowed), axis)",
    ),
    Fault(
        "a q without parents shares one draw",
        "sgc/runtime/layout.py",
        "return tuple(torch.broadcast_shapes(tuple(batch_shape), full))",
        "return tuple(torch.broadcast_shapes(tuple(batch_shape), full if max(batch_shape, default=1) > 1 else ()))",
    ),
)


def run(folder: Path, words: Sequence[str]) -> tuple[int, str]:
    """Run a module of the copy; its exit status and what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def caught_by_tests(folder: Path) -> str:
    """Name the first failing test; empty where all pass."""
    files = [f"tests/{name}.py" for name in TESTS]
    status, text = run(folder, ["pytest", "-q", "-x", "-p", "no:cacheprovider", *files])
    if not status:
        return ""
    failed = [line.split()[1] for line in text.split("\n") if line.startswith(("FAILED ", "ERROR "))]
    return failed[0].removeprefix("tests/") if failed else f"exit {status}"


def caught_by_prove(folder: Path) -> str:
    """Name the first comparison that fails, and its spec; empty where all are proved."""
    for spec, *flags in SPECS:
        status, text = run(folder, ["sgc", "prove", f"specs/{spec}.yaml", *flags])
        if status:
            failed = [line.strip() for line in text.split("\n") if "FAILED" in line]
            return f"{spec}: {' '.join(failed[0].split())}" if failed else f"{spec}: exit {status}"
    return ""


def copied(folder: Path) -> Path:
    """Copy what the tests and specs need."""
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, folder / part)
    return folder


def main() -> int:
    """Try every fault, and print what caught it."""
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = copied(Path(name))
        try:
            faulty = {fault: fault.applied((folder / fault.file).read_text(encoding="utf-8")) for fault in FAULTS}
        except ValueError as problem:
            print(f"error: {problem}", file=sys.stderr)
            return 2
        for fault in (None, *FAULTS):
            words = fault.name if fault else "no fault"
            print(words, flush=True)
            if fault is not None:
                path = folder / fault.file
                right = path.read_text(encoding="utf-8")
                path.write_text(faulty[fault], encoding="utf-8")
            tests, proof = caught_by_tests(folder), caught_by_prove(folder)
            if fault is not None:
                path.write_text(right, encoding="utf-8")
            print(f"  tests  {tests or 'nothing'}\n  prove  {proof or 'nothing'}", flush=True)
            wrong += [words] if bool(tests or proof) != (fault is not None) else []
    print(f"wrong: {'; '.join(wrong)}" if wrong else f"all {len(FAULTS)} faults are caught")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
