"""The pages for contributors are true: what they name is there, and a spec and a batch go the way that is told.

A page names a file by its path from the root, `sgc/errors.py`; a function of it as `sgc/errors.py::in_shell`, a method
as `file.py::Class.method`; a file that whoever reads is to write, by a name in capitals, `sgc/objectives/NAME.py`.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
import typer
from test_architecture import FLOORS, TORCH_FROM, imports

import sgc
from sgc.cli import app
from sgc.report.text_report import inspect_text
from sgc.spec.resolver import outline

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "tests" / "README.md", *ROOT.glob("docs/*.md")])

AT_ROOT = r"Makefile|LICENSE|pyproject\.toml|constraints\.txt|[A-Z]+\.md"
PATH = re.compile(rf"(?<![\w./@$-])((?:(?:sgc|tests|docs|specs|examples|\.ci)/[\w.*/-]*\w/?)|{AT_ROOT})(?:::([\w.]+))?")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
TARGET = re.compile(r"(?:^|`)(?:nice )?make ([a-z]+)")
COMMAND = re.compile(r"(?:^|`)(?:\.venv/bin/)?sgc ([a-z]+)")


def code_of(page: str) -> Iterator[tuple[int, str, bool]]:
    """List the lines of a page: number, text, whether it stands in a fence."""
    fenced = False
    for number, line in enumerate(page.split("\n"), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        else:
            yield number, line, fenced


def missing(page: str, root: Path, *, fences: bool) -> list[str]:
    """List the files, folders and functions that a page names and that are not there. fences: those in fences too."""
    found = []
    for number, line, fenced in code_of(page):
        for path, name in PATH.findall(line) if fences or not fenced else ():
            if not there(root, path):
                found.append(f"line {number}: no file {path}")
            elif name and name not in names_in(root / path):
                found.append(f"line {number}: no {name} in {path}")
    return found


def there(root: Path, path: str) -> bool:
    if "*" in path:
        return any(root.glob(path))
    place = root / path
    if place.stem.isupper() and place.suffix == ".py":  # for whoever reads to write
        return place.parent.is_dir()
    return place.is_dir() if path.endswith("/") else place.exists()


@cache
def names_in(file: Path) -> frozenset[str]:
    """Name the functions, classes, methods and values of a module, as `__qualname__` does."""

    def walk(body: list[ast.stmt], above: str) -> Iterator[str]:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield above + node.name
                yield from walk(node.body, f"{above}{node.name}.") if isinstance(node, ast.ClassDef) else ()
            targets = node.targets if isinstance(node, ast.Assign) else []
            targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
            yield from (above + target.id for target in targets if isinstance(target, ast.Name))

    return frozenset(walk(ast.parse(file.read_text(encoding="utf-8")).body, ""))


def called(page: str, pattern: re.Pattern[str]) -> set[str]:
    """Name the commands on a page: at the start of a line of a fence, or in backticks."""
    lines = [(line, fenced) for _, line, fenced in code_of(page)]
    return {
        match[1]
        for line, fenced in lines
        for match in pattern.finditer(line.strip() if fenced else line)
        if fenced or match[0].startswith("`")
    }


def anchors(page: str) -> set[str]:
    """Name the headings of a page as links do."""
    titles = [
        line.lstrip("#").strip().lower() for _, line, fenced in code_of(page) if line.startswith("#") and not fenced
    ]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    own = page.name == "README.md" or page.name.startswith("adding-a")  # there, fences hold a reader's own files
    assert missing(text, ROOT, fences=not own) == []
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert called(text, TARGET) <= targets
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert called(text, COMMAND) <= set(commands)
    for link, heading in LINK.findall(text):
        goal = (page.parent / link) if link else page
        assert goal.exists(), link
        assert not heading or heading in anchors(goal.read_text(encoding="utf-8")), heading


def test_the_guard_of_pages_can_fail(tmp_path: Path) -> None:
    (tmp_path / "sgc").mkdir()
    (tmp_path / "sgc" / "plan.py").write_text("LARGE = 3\nclass Plan:\n    def text(self): ...\n")
    right = "`sgc/plan.py::Plan.text`, `sgc/plan.py::LARGE`, sgc/*.py, sgc/NAME.py, (sgc/plan.py)."
    assert missing(right, tmp_path, fences=True) == []
    wrong = "a\n```\nsgc/gone.py\n```\nsgc/plan.py::Plan.latex and Makefile, sgc/plan/, sgc/*.yaml"
    assert missing(wrong, tmp_path, fences=True) == [
        "line 3: no file sgc/gone.py",
        "line 5: no Plan.latex in sgc/plan.py",
        "line 5: no file Makefile",
        "line 5: no file sgc/plan/",
        "line 5: no file sgc/*.yaml",
    ]
    assert len(missing(wrong, tmp_path, fences=False)) == 4
    assert called("make up your mind: `make quick`\n```\nmake test  # all\n```", TARGET) == {"quick", "test"}
    assert anchors("# Set up: `make setup`\n```\n# no heading\n```\n## The way") == {"set-up-make-setup", "the-way"}


def test_the_quick_lane_names_tests_that_are_there_and_touches_every_package() -> None:
    """A package is touched where a file of the lane imports from it."""
    lines = (ROOT / "tests" / "quick.txt").read_text(encoding="utf-8").split()
    assert len(lines) == len(set(lines))
    named = [line.split("::") for line in lines]
    assert [
        line for line, (file, *test) in zip(lines, named, strict=True) if not set(test) <= names_in(ROOT / file)
    ] == []
    trees = [ast.parse((ROOT / file).read_text(encoding="utf-8")) for file, *_ in named]
    imported = {name.split(".")[1] for tree in trees for name in imports(tree, everywhere=True) if name[:4] == "sgc."}
    assert {path.parent.name for path in (ROOT / "sgc").glob("*/__init__.py")} <= imported


# ---- the glossary and the architecture


def rows(page: str, heading: str) -> list[list[str]]:
    """List the rows of the table under a heading."""
    part = re.split(r"^#+ ", page.split(f"# {heading}\n", 1)[1], flags=re.MULTILINE)[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.split("\n") if line.startswith("|")]
    return cells[2:]


def test_every_word_of_the_glossary_stands_in_its_file() -> None:
    page = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    table = rows(page, "Glossary")
    wrong = []
    for words, meaning, place in table:
        files = [path for path, _ in PATH.findall(place)]
        text = "".join((ROOT / path).read_text(encoding="utf-8") for path in files).casefold()
        for word in words.casefold().split(", "):
            if not any(spelled in text for spelled in (word, word.replace(" ", "_"), word.replace(" ", ""))):
                wrong.append(f"{word} does not stand in {place}")
        if not meaning.endswith("."):
            wrong.append(f"{words}: no sentence")
    assert wrong == []
    words = [row[0] for row in table]
    assert words == sorted(set(words), key=str.casefold)
    assert len(words) >= 40


def test_the_floors_of_the_page_are_those_that_imports_are_held_to() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    names = [re.findall(r"`sgc/(\w+)(?:\.py|/)`", row[0]) for row in rows(page, "The floors")]
    assert [sorted(each) for each in names if each] == [sorted(floor) for floor in reversed(FLOORS)]
    assert names.index([]) == len(FLOORS) - TORCH_FROM  # the row that parts what imports torch from what does not
    packages = {path.name for path in (ROOT / "sgc").iterdir() if (path / "__init__.py").exists()}
    assert {name for each in names for name in each} >= packages


# ---- the way of a spec and of a batch


def first_calls(action: Callable[[], Any]) -> list[str]:
    """List the functions of the package that an action calls, as pages name them, in the order of their first calls."""
    calls: dict[CodeType, None] = {}

    def listen(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            calls.setdefault(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(listen)
    try:
        action()
    finally:
        sys.setprofile(before)
    ours = [code for code in calls if code.co_filename.startswith(f"{ROOT}{os.sep}sgc{os.sep}")]
    return [f"{Path(code.co_filename).relative_to(ROOT).as_posix()}::{code.co_qualname}" for code in ours]


def test_a_spec_and_a_batch_go_the_way_that_is_told(tmp_path: Path) -> None:
    """Each function under a heading is called by what the heading names, in the order of the page."""
    file = str(ROOT / "specs" / "digits.yaml")
    spec = sgc.load(file)
    made, model = outline(spec), sgc.compile(spec)
    batch = {"x": [[[[0.0] * 8] * 8]] * 4, "y": [-1, -1, 3, 4]}
    actions: dict[str, Callable[[], Any]] = {
        "sgc.load": lambda: sgc.load(file),
        "sgc inspect": lambda: inspect_text(made),
        "sgc.compile": lambda: sgc.compile(spec),
        "model.objective": lambda: model.objective(batch),
        "sgc.train": lambda: sgc.train(file_of_one_epoch, output=tmp_path / "run"),
    }
    file_of_one_epoch = sgc.load(file, ["train.epochs=1", "train.batch_size=2000"])
    page = (ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8")
    parts = re.split(r"^## .*`([^`\n]+)`$", page, flags=re.MULTILINE)
    told = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert list(told) == list(actions)
    for name, part in told.items():
        steps = [f"{path}::{function}" for path, function in PATH.findall(part) if is_function(path, function)]
        assert len(steps) >= 4, name
        calls = first_calls(actions[name])
        assert [step for step in steps if step not in calls] == [], name
        assert steps == sorted(steps, key=calls.index), (
            name
        )  # fails with the order of the page first, then the true one


def is_function(path: str, name: str) -> bool:
    """Tell whether a name on a page is a function's or a method's, and no class's or value's."""
    return bool(name) and name.split(".")[-1].lstrip("_").islower()
