"""The package as it is built: the same files by every way, enough for `check` and `inspect`, and extras by name."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from test_cli import DIGITS, call

import sgc
from sgc.data.annotated import read_h5ad
from sgc.data.hub_blocks import load_part
from sgc.errors import DataError, UsageError
from sgc.evaluation.confusion import Confusion, clustering
from sgc.export.exporting import check_onnx, check_torch

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
FOR_DEVELOPERS = {"all", "docs", "browser", "test"}  # of which no command of a user's has need by itself


# ---- what is built


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the wheel, which is built from the sdist alone."""
    if find_spec("hatchling") is None:
        pytest.skip("the build backend is not installed")
    folder = tmp_path_factory.mktemp("built")
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run([*build, "-t", "sdist"], cwd=ROOT, check=True, capture_output=True)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as files:
        files.extractall(folder, filter="data")
    subprocess.run([*build, "-t", "wheel"], cwd=folder / sdist.name[: -len(".tar.gz")], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-compile"]
    subprocess.run(
        [*pip, "--no-deps", "--no-index", "--target", str(folder / "installed"), str(wheel)],
        check=True,
        capture_output=True,
    )
    return folder / "installed"


def files_under(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")


def test_the_wheel_of_the_sdist_holds_every_module_and_spec_and_nothing_else(built: Path) -> None:
    wanted = {path.relative_to(ROOT): path for path in files_under(ROOT / "sgc")}
    specs = [*(ROOT / "specs").glob("*.yaml"), *(ROOT / "specs" / "sweeps").glob("*")]
    wanted |= {Path("sgc/shipped_specs", path.relative_to(ROOT / "specs")): path for path in specs}
    assert Path("sgc/py.typed") in wanted
    assert {path.relative_to(built) for path in files_under(built / "sgc")} == set(wanted)
    assert [name for name, path in wanted.items() if (built / name).read_bytes() != path.read_bytes()] == []


def test_the_package_says_what_it_is(built: Path) -> None:
    """Its version is that of the module, its requirements and extras those of pyproject.toml."""
    (file,) = built.glob("sgc-*.dist-info/METADATA")
    lines = file.read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    assert f"Version: {sgc.__version__}" in lines
    assert "Requires-Python: >=3.11" in lines
    assert {line.split(": ")[1] for line in lines if line.startswith("Provides-Extra: ")} == set(EXTRAS)
    plain = {Requirement(line.split(": ", 1)[1]).name for line in lines if re.match("Requires-Dist: [^;]*$", line)}
    assert plain == {Requirement(each).name for each in PROJECT["dependencies"]}


def test_every_extra_is_on_the_page_that_says_how_to_install() -> None:
    page = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert [extra for extra in sorted({*EXTRAS} - FOR_DEVELOPERS) if f"`sgc[{extra}]`" not in page] == []


def test_every_requirement_has_a_lower_bound() -> None:
    """It is what `make compat` installs as the oldest."""
    every = [*PROJECT["dependencies"], *(each for extra in EXTRAS.values() for each in extra)]
    ours = [Requirement(each) for each in every if not each.startswith(("sgc[", "types-"))]
    assert [str(each) for each in ours if not re.search(r">=\d", str(each.specifier))] == []


def needed(names: Iterable[str]) -> Iterator[str]:
    """List what these requirements bring in the present environment, by name, each once."""
    todo, seen = [Requirement(name) for name in names], set()
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        if name in seen or (wanted.marker is not None and not wanted.marker.evaluate({"extra": ""})):
            continue
        seen.add(name)
        try:
            todo += map(Requirement, distribution(name).requires or ())
        except PackageNotFoundError:  # another system's
            continue
        yield name


def test_alone_it_checks_and_inspects_and_needs_no_torch_for_it(built: Path, tmp_path: Path) -> None:
    """In an environment with the dependencies of the core but torch, and nothing else."""
    venv.create(tmp_path / "clean")
    (packages,) = (tmp_path / "clean").glob("**/site-packages")
    core = [each for each in PROJECT["dependencies"] if not each.startswith("torch")]
    for name in needed(core):
        for top in {
            file.parts[0] for file in distribution(name).files or () if file.parts[0] not in ("..", "__pycache__")
        }:
            (packages / top).symlink_to(Path(str(distribution(name).locate_file(top))))
    for path in built.iterdir():
        (packages / path.name).symlink_to(path)
    (python,) = (tmp_path / "clean").glob("bin/python")

    def sgc_there(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(python), "-I", "-B", "-m", "sgc", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert sgc_there("--version").stdout == f"sgc {sgc.__version__}\n"
    assert sgc_there("init", "digits").stdout == "digits.yaml\n"
    checked = sgc_there("check", "digits.yaml")
    assert (checked.returncode, checked.stderr) == (0, ""), checked
    assert checked.stdout.startswith("digits.yaml: valid, ")
    shown = sgc_there("inspect", "digits.yaml", "-o", "model.html")
    assert (shown.returncode, (tmp_path / "model.html").is_file()) == (0, True), shown
    known = sgc_there("check", "digits.yaml", "--data")
    assert "pip install 'sgc[digits]'" in known.stderr


# ---- what is not installed

MODULES = {"scikit-learn": "sklearn", "pillow": "PIL"}
HIDDEN_WITH = {"scipy": ["sklearn"], "pyarrow": ["datasets"]}  # what cannot be imported without it


def lacking(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Hide a package, and what cannot be there without it; torch, without which nothing is, is an older one."""
    if package == "torch":
        monkeypatch.setattr("torch.__version__", "2.6.0+cpu")
        return
    for top in (MODULES.get(package, package), *HIDDEN_WITH.get(package, ())):
        for name in [name for name in sys.modules if name == top or name.startswith(f"{top}.")]:
            monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setitem(sys.modules, top, None)


def said(action: Callable[[], object]) -> str:
    """Give the words that an action ends with, refused or not."""
    try:
        return str(action())
    except (DataError, UsageError, ImportError) as problem:
        return str(problem)


def check_data(folder: Path, **data: object) -> str:
    """Check the digits' spec on other data."""
    spec = {**DIGITS, "data": {**data, "columns": {"x": {"column": "image"}, "y": {"column": "label"}}}}
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    return call("check", folder / "spec.yaml", "--data").told


def sweep(folder: Path, *words: str, **keys: object) -> str:
    (folder / "sweep.yaml").write_text(yaml.safe_dump({"version": 1, **keys}), encoding="utf-8")
    (folder / "spec.yaml").write_text(yaml.safe_dump(DIGITS), encoding="utf-8")
    return call("sweep", folder / "spec.yaml", folder / "sweep.yaml", "-o", folder / "runs", *words).told


def picture(folder: Path) -> str:
    (folder / "spec.yaml").write_text(yaml.safe_dump(DIGITS), encoding="utf-8")
    return call("inspect", folder / "spec.yaml", "-o", folder / "graph.svg").told


def files_of(kind: str) -> Callable[[Path], str]:
    """Check data in a file of this kind, which need not be read: what reads it is missing."""

    def check(folder: Path) -> str:
        (folder / f"d.{kind}").write_bytes(b"MATLAB 5.0 MAT-file" if kind == "mat" else b"PAR1")
        return check_data(folder, source=kind, file=f"d.{kind}")

    return check


def folder_of_pictures(folder: Path) -> str:
    (folder / "pictures" / "a").mkdir(parents=True)
    (folder / "pictures" / "a" / "0.png").write_bytes(b"")
    return check_data(folder, source="images", root="pictures", mode="grey")


def import_estimators(_: Path) -> str:
    return said(lambda: importlib.reload(importlib.import_module("sgc.sklearn")))


def tell(tracker: str) -> Callable[[Path], str]:
    """Train under a tracker."""

    def train(folder: Path) -> str:
        (folder / "spec.yaml").write_text(yaml.safe_dump(DIGITS), encoding="utf-8")
        return call("train", folder / "spec.yaml", "-o", folder / "run", "--set", f"train.loggers=[{tracker}]").told

    return train


def search(folder: Path) -> str:
    space = {"objective.alpha": {"low": 1, "high": 100}}
    return sweep(folder, search={"trials": 2, "space": space, "measure": "validation_error.y"})


PAIRS = Confusion(("a", "b"), np.array([[0, 0, 3], [1, 1, 3]]))
ACTIONS: dict[tuple[str, str], Callable[[Path], str]] = {  # (extra, package): what a user does that needs it
    ("cells", "anndata"): lambda folder: said(lambda: read_h5ad(folder / "d.h5ad")),
    ("datasets", "datasets"): lambda _: said(lambda: load_part(None, "imdb", None, None, "train")),
    ("datasets", "pyarrow"): lambda _: said(lambda: load_part(None, "imdb", None, None, "train")),
    ("digits", "scikit-learn"): lambda folder: check_data(folder, source="digits"),
    ("export", "torch"): lambda _: said(check_torch),
    ("export", "onnx"): lambda _: said(check_onnx),
    ("export", "onnxscript"): lambda _: said(check_onnx),
    ("fetch", "pooch"): lambda folder: check_data(folder, source="fashion-mnist"),
    ("images", "pillow"): folder_of_pictures,
    ("mat", "scipy"): files_of("mat"),
    ("metrics", "scikit-learn"): lambda _: said(lambda: clustering({(): PAIRS})),
    ("metrics", "scipy"): lambda _: said(lambda: clustering({(): PAIRS})),
    ("mlflow", "mlflow"): tell("mlflow"),
    ("notebook", "latex2mathml"): lambda _: sgc.compile(sgc.load(DIGITS)).plan({"y"})._repr_html_(),
    ("parquet", "pyarrow"): files_of("parquet"),
    ("parquet", "fsspec"): lambda folder: check_data(folder, source="parquet", file="s3://bucket/d.parquet"),
    ("plots", "matplotlib"): picture,
    ("sklearn", "scikit-learn"): import_estimators,
    ("sweeps", "optuna"): search,
    ("sweeps", "submitit"): lambda folder: sweep(folder, "--submit", "local", grid={"objective.alpha": [1, 2]}),
    ("tensorboard", "tensorboard"): tell("tensorboard"),
    ("wandb", "wandb"): tell("wandb"),
}


@pytest.mark.parametrize(
    ("extra", "package"),
    [(extra, Requirement(each).name) for extra in sorted({*EXTRAS} - FOR_DEVELOPERS) for each in EXTRAS[extra]],
)
def test_what_is_missing_is_told_with_the_extra_that_brings_it(
    extra: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SGC_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    lacking(monkeypatch, package)
    words = ACTIONS[extra, package](tmp_path).replace("&#x27;", "'")
    assert re.search(rf"pip install 'sgc\[{extra}\]'", words), words
