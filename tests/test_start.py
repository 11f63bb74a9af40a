"""How a command starts: what it imports, what it builds, and how seldom it searches memory for garbage."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from sgc import cli
from sgc.cli.collection import STARTING, USUAL

ROOT = Path(__file__).resolve().parent.parent
DIGITS = str(ROOT / "specs" / "digits.yaml")


# ---- imports

SHELL = {"typer", "annotated_doc", "shellingham"}
PIECES = {"pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"}
READING = SHELL | PIECES | {"yaml"}
PICTURES = {"matplotlib", "mpl_toolkits", "numpy", "PIL"} | {
    *("cycler", "dateutil", "six", "fontTools", "kiwisolver", "packaging", "pyparsing", "contourpy")
}
LEARNING = {
    "sklearn",
    "scipy",
    "joblib",
    "threadpoolctl",
    "narwhals",
    "cloudpickle",
}  # and what it takes where it is there
LEARNING |= {"pandas", "pyarrow", "psutil", "charset_normalizer", "dateutil", "six"}
COMPUTING = READING | {"numpy", "torch", "torchgen", "safetensors"} | {"tqdm"}  # that torch.hub takes where it is there

# of each command: the packages that it may import, and how many modules of sgc at most
ALLOWED: dict[str, tuple[set[str], int]] = {
    "--help": (SHELL, 23),
    "--version": (SHELL, 23),
    "schema": (READING, 136),
    "check SPEC": (READING, 179),
    "check SPEC --data": (READING | {"numpy"}, 206),
    "inspect SPEC": (READING, 185),
    "inspect SPEC --json": (READING, 183),
    "inspect SPEC --expand": (READING, 179),
    "inspect SPEC -o page.html": (READING | {"numpy"}, 207),
    "inspect SPEC -o graph.svg": (READING | PICTURES, 192),
    "inspect SPEC -o graph.pdf": (READING | PICTURES, 192),
    "init begun": (SHELL | PIECES, 56),
    "init digits": (READING, 185),
    "list": (SHELL | PIECES, 116),
    "list families": (SHELL | PIECES, 64),
    "list specs": (READING, 64),
    "train SPEC --set train.epochs=1 -o anew": (COMPUTING | {"rich"}, 310),
    "train SPEC --dry-run": (COMPUTING | {"rich"}, 310),
    "evaluate run": (COMPUTING | {"rich"}, 309),
    "predict run rows.npz -o answers.csv": (COMPUTING, 316),
    "sample run -o samples.png": (COMPUTING | PICTURES, 317),
    "sample run -o samples.npz": (COMPUTING, 317),
    "report run -o report.html": (COMPUTING | PICTURES | LEARNING | {"rich"}, 345),
    "compare run other": (COMPUTING | {"rich"}, 333),
    "prove SPEC": (COMPUTING, 257),
}


@dataclass(frozen=True)
class Imported:
    """What a command has imported when it ends: packages of others, `torch._dynamo` if it is there, modules of sgc."""

    packages: set[str]
    modules: int

    def faults(self, packages: set[str], modules: int) -> list[str]:
        """List what goes beyond these packages and this number of modules."""
        faults = sorted(self.packages - packages)
        return [*faults, f"{self.modules} modules"] if self.modules > modules else faults


def imported(words: Sequence[str], folder: Path, also: str = "sys") -> Imported:
    """Run a command in a process of its own, in a folder; also: a module that it imports before."""
    code = (
        "import atexit, json, sys\nfrom pathlib import Path\n"
        "atexit.register(lambda: Path('modules.json').write_text(json.dumps(list(sys.modules))))\n"
        f"import {also}\nfrom sgc.cli import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names: list[str] = json.loads((folder / "modules.json").read_text())
    known = {"sgc", "cython_runtime", *sys.stdlib_module_names}
    packages = {name.partition(".")[0] for name in names} - known
    return Imported(
        {name for name in packages if not name.startswith("_")} | ({"torch._dynamo"} & set(names)),
        sum(name.partition(".")[0] == "sgc" for name in names),
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run, and rows that it may answer for."""
    folder = tmp_path_factory.mktemp("place")
    for run in ("run", "other"):
        few = ["train.epochs=1", "evaluate.samples=2"]
        imported(["train", DIGITS, *(word for each in few for word in ("--set", each)), "-o", run], folder)
    np.savez(folder / "rows.npz", image=np.zeros((3, 8, 8), np.uint8))
    return folder


@pytest.mark.parametrize("command", ALLOWED)
def test_a_command_imports_only_what_it_needs(command: str, place: Path) -> None:
    words = [DIGITS if word == "SPEC" else word for word in command.split()]
    assert imported(words, place).faults(*ALLOWED[command]) == []


def test_the_guard_of_imports_can_fail(place: Path) -> None:
    check = imported(["check", DIGITS], place, also="networkx, sgc.trained.sampler")
    assert {"networkx", "numpy", "torch", f"{check.modules} modules"} <= set(check.faults(*ALLOWED["check SPEC"]))
    train = imported(["train", DIGITS, "--dry-run"], place, also="torch._dynamo")
    assert {"torch._dynamo", "sympy"} <= set(train.faults(*ALLOWED["train SPEC --dry-run"]))


def test_python_imports_little_with_the_package(place: Path) -> None:
    code = "import sys, sgc\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = set(done.stdout.split())
    assert {name for name in names if name.startswith("sgc")} == {"sgc", "sgc.errors", "sgc.version"}
    assert not names & {*READING, "numpy", "torch", "networkx", "rich"}


# ---- garbage


@pytest.mark.parametrize(
    ("work", "words"),
    [
        ("sgc.training.trainer.train", ["train", DIGITS]),
        ("sgc.training.dry_run.dry", ["train", DIGITS, "--dry-run"]),
        ("sgc.trained.run_evaluation.evaluate_run", ["evaluate", "run"]),
        ("sgc.trained.predictions.predict_run", ["predict", "run", "rows.npz", "-o", "answers.csv"]),
        ("sgc.trained.sampler.sample_run", ["sample", "run", "-o", "samples.png"]),
        ("sgc.run_report.run_report.report_run", ["report", "run", "--json"]),
        ("sgc.run_report.run_comparison.compare_runs", ["compare", "run", "other"]),
        ("sgc.proof.prover.prove", ["prove", DIGITS]),
        ("sgc.data.multi_mnist.write_parts", ["data", "multi-mnist"]),
        ("sgc.report.warning_notes.warnings", ["check", DIGITS]),
    ],
)
def test_only_a_short_command_searches_memory_seldom(
    monkeypatch: pytest.MonkeyPatch, work: str, words: list[str]
) -> None:
    thresholds: list[tuple[int, int, int]] = []

    def stop(*args: object, **options: object) -> None:
        thresholds.append(gc.get_threshold())
        raise KeyboardInterrupt

    import_module("sgc.run_report.report_page")  # it takes work by name, and would keep `stop` were it first read here
    monkeypatch.setattr(work, stop)
    monkeypatch.setattr(sys, "argv", ["sgc", *words])
    with pytest.raises(SystemExit):
        cli.main()
    assert thresholds == [(STARTING, *USUAL[1:]) if words[0] == "check" else USUAL]
    assert gc.get_threshold() == USUAL


def test_what_a_command_has_made_is_not_searched_when_it_ends() -> None:
    code = (
        "import gc\nfrom sgc.cli.collection import collecting_seldom\n"
        "searches, kept = [], []\n"
        "gc.callbacks.append(lambda phase, search: searches.append(search['generation']))\n"
        "with collecting_seldom():\n    kept += [[] for _ in range(50_000)]\n    searches.clear()\n"
        "print(searches, gc.get_freeze_count())\n"
        "kept += [[] for _ in range(2_000)]\nprint(len(searches) > 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] 0\nTrue\n"


# ---- pieces


def built(*specs: str) -> set[str]:
    """Load specs in a process of their own; name the kinds whose validators it built."""
    code = (
        "import sys\nfrom sgc.piece import Piece\nfrom sgc.spec.loader import load\n"
        "for spec in sys.argv[1:]:\n    load(spec)\n"
        "kinds = [Piece]\nfor kind in kinds:\n    kinds += kind.__subclasses__()\n"
        "print(*(kind.__name__ for kind in kinds if kind.__pydantic_complete__))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *specs], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_a_spec_builds_the_validators_of_the_kinds_that_it_names() -> None:
    kinds = built(DIGITS)
    assert {"Spec", "Mlp", "Digits"} <= kinds
    assert not {"Conv", "Gru", "Idx", "Npz", "ScoreFunction", "Conv2d"} & kinds
    assert "Conv" in built(DIGITS, str(ROOT / "specs" / "mnist-conv.yaml"))
