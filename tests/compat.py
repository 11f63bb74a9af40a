"""Install the wheel in clean environments and try it there: each Python, the oldest and the newest dependencies.

`make compat` calls it. The Pythons are those of the classifiers in pyproject.toml; the oldest dependencies are the
lower bounds of all its requirements (of a bound that has no wheel for a Python: the first version that has one), the
newest whatever the index has. In each cell the wheel is installed alone, with its dependencies, then with all extras:

- alone: `check` and `inspect` work, and what needs an extra says which;
- commands: two epochs on the digits, evaluation, pictures, a report and a graph to deploy;
- tests: those of `quick.txt` and `compat.txt`, on the files of this checkout, which are those of the wheel.

It prints a table. A Python that is not here is told, and is no failure. Exit 1 where a cell fails, or none was tried.
uv resolves and installs: its own variables (UV_CONSTRAINT, UV_TORCH_BACKEND=cpu, UV_CACHE_DIR) hold here too. Where
they say nothing, torch comes as the index has it: with CUDA, 6 GB a cell, which is gone again when the cell has passed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RESOLUTIONS = {"oldest": "lowest-direct", "newest": "highest"}
EXTRAS = {"oldest": ("test", "datasets"), "newest": ("test", "datasets", "export")}  # `test` brings `all`
SHOWN = ("torch", "numpy", "pydantic", "typer")
LISTS = ("quick.txt", "compat.txt")
LONGEST = 1800  # seconds that a step may take
NOT_TRIED = (  # tests of the repository itself, which hold for the versions of constraints.txt
    "test_what_pages_take_from_the_code_is_what_the_code_says",  # pages are written by the newest typer
)
COMMANDS = (
    "train digits.yaml -o run --set train.epochs=2",
    "evaluate run --classifier",
    "sample run -o samples.png",
    "report run -o report.html",
)
OF_NEWEST = ("export run -o model.pt2", "export run -o model.onnx")  # which want a newer torch than the others


class Failure(Exception):
    """A step of a cell that did not do what it has to; the text says what it did."""


@dataclass
class Cell:
    """A Python with dependencies of an age, and what came of it: the seconds of each step, and what failed."""

    python: str
    age: str
    versions: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    missing: str = ""
    failed: str = ""

    @property
    def outcome(self) -> str:
        return self.missing or (f"failed: {self.failed}" if self.failed else "passed")


def pythons() -> list[str]:
    """List the Pythons of the classifiers: `3.11`, `3.12`, …"""
    found = (re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", each) for each in PROJECT["classifiers"])
    return [match[1] for match in found if match]


def interpreter(version: str) -> Path | None:
    """Find a Python of this version on PATH or among those of pyenv; a name that does not start is passed over."""
    kept = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    on_path = (Path(folder) / f"python{version}" for folder in os.environ.get("PATH", "").split(os.pathsep) if folder)
    for candidate in (*on_path, *sorted(kept.glob(f"{version}.*/bin/python"), reverse=True)):
        code = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
        if candidate.is_file():
            done = subprocess.run([candidate, "-c", code], capture_output=True, text=True, check=False)
            if done.returncode == 0 and done.stdout.strip() == version:
                return candidate
    return None


@dataclass(frozen=True)
class Workshop:
    """Where cells are made: a folder, the wheel, and uv."""

    folder: Path
    wheel: Path
    uv: str
    lists: tuple[str, ...]  # of tests

    def make(self, cell: Cell, *, keep: bool) -> None:
        """Make a cell and take it through all steps, up to the first that fails."""
        python = interpreter(cell.python)
        if python is None:
            cell.missing = f"not made: no Python {cell.python} here"
            return
        place = self.folder / f"{cell.python}-{cell.age}"
        shutil.rmtree(place, ignore_errors=True)
        (place / "work").mkdir(parents=True)
        steps = (("install", self.install), ("alone", self.alone), ("extras", self.extras))
        for name, step in (*steps, ("commands", self.commands), ("tests", self.tests)):
            start = time.monotonic()
            try:
                step(cell, place, python)
            except Failure as problem:
                cell.failed = f"{name}, {problem}"
                return
            finally:
                cell.seconds[name] = time.monotonic() - start
                print(f"{cell.python} {cell.age}: {name} {cell.seconds[name]:.0f} s", file=sys.stderr, flush=True)
        if not keep:
            shutil.rmtree(place / "venv")

    # steps

    def install(self, cell: Cell, place: Path, python: Path) -> None:
        """Install the wheel with what it depends on, and nothing else."""
        run(place, [self.uv, "venv", "--quiet", "--python", python, place / "venv"])
        self._resolved(cell, place, python, ())
        run(place, [self.uv, "pip", "install", "--quiet", "--python", place / "venv", "--no-deps", self.wheel])

    def alone(self, cell: Cell, place: Path, python: Path) -> None:
        """Check and inspect without an extra; what needs one says which."""
        sgc(place, "--version")
        sgc(place, "init digits")
        sgc(place, "check digits.yaml")
        sgc(place, "inspect digits.yaml -o model.html")
        said = sgc(place, "train digits.yaml", status=2)
        if "pip install 'sgc[digits]'" not in said:
            raise Failure(f"`sgc train` without scikit-learn does not name its extra: {said}")

    def extras(self, cell: Cell, place: Path, python: Path) -> None:
        """Install what all extras bring, and what the tests need."""
        self._resolved(cell, place, python, EXTRAS[cell.age])

    def commands(self, cell: Cell, place: Path, python: Path) -> None:
        """Run commands of the wheel on the digits."""
        for words in (*COMMANDS, *(OF_NEWEST if cell.age == "newest" else ())):
            sgc(place, words)

    def tests(self, cell: Cell, place: Path, python: Path) -> None:
        """Run tests on the files of the checkout, if any are wanted."""
        if not self.lists:
            return
        chosen = [*(f"@tests/{name}" for name in self.lists), "-k", " and ".join(f"not {name}" for name in NOT_TRIED)]
        plain = ["-p", "no:cacheprovider", "--basetemp", place / "tests"]
        run(place, [place / "venv/bin/python", "-m", "pytest", *chosen, "-n", "2", *plain], folder=ROOT)

    def _resolved(self, cell: Cell, place: Path, python: Path, extras: Sequence[str]) -> None:
        pins = place / f"{'-'.join(extras) or 'alone'}.txt"
        wanted = [word for extra in extras for word in ("--extra", extra)]
        age = ["--resolution", RESOLUTIONS[cell.age], "--only-binary", ":all:"]
        plain = ["--quiet", "--no-header", "--no-annotate", "--python", python, "--output-file", pins]
        run(place, [self.uv, "pip", "compile", ROOT / "pyproject.toml", *wanted, *age, *plain])
        run(place, [self.uv, "pip", "install", "--quiet", "--python", place / "venv", "--requirements", pins])
        cell.versions |= dict(re.findall(r"^([\w.-]+)==([\w.+]+)", pins.read_text(encoding="utf-8"), re.MULTILINE))


def sgc(place: Path, words: str, *, status: int = 0) -> str:
    """Run a command of the installed package. Raises: Failure, where it ends with another status or a traceback."""
    return run(place, [place / "venv/bin/sgc", *words.split()], folder=place / "work", status=status)


def run(place: Path, words: Sequence[str | Path], *, folder: Path | None = None, status: int = 0) -> str:
    """Run a program and append what it says to the cell's log. Raises: Failure."""
    plain = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV", "SGC_DATA")}
    plain |= {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    plain["SCIPY_ARRAY_API"] = "1"  # without which the checks of scikit-learn 1.6 cannot be imported beside scipy 1.14
    shown = " ".join(map(str, words))
    try:
        done = subprocess.run(
            list(map(str, words)),
            cwd=folder or place,
            env=plain,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=LONGEST,
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"more than {LONGEST} s: {shown}") from None
    with open(place / "log.txt", "a", encoding="utf-8") as log:
        log.write(f"$ {shown}\n{done.stdout}\n")
    if done.returncode != status or "Traceback (most recent call last)" in done.stdout:
        last = (done.stdout.strip().splitlines() or ["no output"])[-1]
        raise Failure(f"status {done.returncode} of {shown}: {last} (all of it in {place / 'log.txt'})")
    return done.stdout


def table(cells: Sequence[Cell]) -> Iterator[str]:
    """Write the cells as rows of a table in Markdown."""
    titles = ("Python", "dependencies", *SHOWN, "minutes", "outcome")
    yield f"| {' | '.join(titles)} |"
    yield f"|{'---|' * len(titles)}"
    for cell in cells:
        versions = (cell.versions.get(name, "") for name in SHOWN)
        minutes = f"{sum(cell.seconds.values()) / 60:.1f}" if cell.seconds else ""
        yield f"| {' | '.join((cell.python, cell.age, *versions, minutes, cell.outcome))} |"


def build(folder: Path, uv: str) -> Path:
    """Build the wheel, by way of the sdist. Raises: Failure."""
    shutil.rmtree(folder / "dist", ignore_errors=True)
    run(folder, [uv, "build", "--quiet", "--out-dir", folder / "dist", ROOT])
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--python", nargs="+", choices=pythons(), default=pythons(), help="the Pythons; all if not said"
    )
    parser.add_argument("--age", nargs="+", choices=RESOLUTIONS, default=list(RESOLUTIONS), help="of the dependencies")
    parser.add_argument("--tests", nargs="*", default=list(LISTS), help="lists of tests; both if not said, or none")
    parser.add_argument("--folder", type=Path, help="where cells are made and logs stay; a temporary one if not said")
    parser.add_argument("--keep", action="store_true", help="keep the environments of cells that pass")
    words = parser.parse_args()
    uv = str(Path(sys.executable).with_name("uv"))
    folder: Path = words.folder or Path(tempfile.mkdtemp(prefix="sgc-compat-"))
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        workshop = Workshop(folder, build(folder, uv), uv, tuple(words.tests))
    except Failure as problem:
        print(f"error: the wheel is not built: {problem}", file=sys.stderr)
        return 1
    cells = [Cell(python, age) for python in words.python for age in words.age]
    for cell in cells:
        workshop.make(cell, keep=words.keep)
        print("\n".join(table([cell])), file=sys.stderr, flush=True)
    print("\n".join(table(cells)))
    tried = [cell for cell in cells if not cell.missing]
    return 1 if not tried or any(cell.failed for cell in tried) else 0


if __name__ == "__main__":
    sys.exit(main())
