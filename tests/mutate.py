"""Put known faults into the derivation and the runtime, one at a time, and tell what catches each: `make mutate`.

Each fault is a change of one function, see `mutations`. What caught it is the first failing test of the files below,
and the first comparison that `sgc prove` fails on the specs below. The first run has no fault, and nothing may fail.
Exit 1 where a fault is caught by nothing. Words as arguments choose the faults in whose names they stand.

It is a plugin of pytest as well, which puts the fault of the environment's MUTATION in before anything is collected.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent
TESTS = (
    "test_bruteforce",
    "test_score_function",
    "test_estimators",
    "test_m2",
    "test_linear_gaussian",
    "test_existence",
    "test_experts",
    "test_processes",
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
    ("two-modalities",),
)
KEY = "MUTATION"


def put_in() -> None:
    """Put the fault in that the environment names, for good."""
    from mutations import FAULTS

    if os.environ.get(KEY):
        FAULTS[os.environ[KEY]](pytest.MonkeyPatch())


def pytest_configure() -> None:
    put_in()


def run(fault: str, words: Sequence[str]) -> tuple[int, str]:
    """Run Python with a fault; its exit status and what it printed."""
    paths = [str(FOLDER.parent), str(FOLDER)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), KEY: fault}
    done = subprocess.run(
        [sys.executable, *words], cwd=FOLDER.parent, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def caught_by_tests(fault: str) -> str:
    """Name the first failing test; empty where all pass."""
    files = [f"tests/{name}.py" for name in TESTS]
    status, text = run(fault, ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "mutate", *files])
    if not status:
        return ""
    failed = [line.split()[1] for line in text.split("\n") if line.startswith(("FAILED ", "ERROR "))]
    return failed[0].removeprefix("tests/") if failed else f"exit {status}"


def caught_by_prove(fault: str) -> str:
    """Name the first comparison that fails, and its spec; empty where all are proved."""
    code = "import mutate, sgc.cli; mutate.put_in(); sgc.cli.app()"
    for spec, *flags in SPECS:
        status, text = run(fault, ["-c", code, "prove", f"specs/{spec}.yaml", *flags])
        if status:
            failed = [line.strip() for line in text.split("\n") if "FAILED" in line]
            return f"{spec}: {' '.join(failed[0].split())}" if failed else f"{spec}: exit {status}"
    return ""


def main(chosen: Sequence[str]) -> int:
    """Try faults, and print what caught them."""
    from mutations import FAULTS

    tried = [fault for fault in FAULTS if not chosen or any(word in fault for word in chosen)]
    wrong: list[str] = []
    for fault in ("", *tried):
        print(fault or "no fault", flush=True)
        tests, proof = caught_by_tests(fault), caught_by_prove(fault)
        print(f"  tests  {tests or 'nothing'}\n  prove  {proof or 'nothing'}", flush=True)
        wrong += [fault or "no fault"] if bool(tests or proof) != bool(fault) else []
    print(f"wrong: {'; '.join(wrong)}" if wrong else f"all {len(tried)} faults are caught")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
