"""Hints speak the reader's language: flags in the shell, arguments in Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from small_runs import NPZ, small, small_arrays

import sgc
from sgc.errors import SpecError, UsageError, in_shell, option

ROOT = Path(sgc.__file__).parent
FLAG = re.compile(r"(^|[^-\w])--[a-z][\w-]*(?![\w-]*:\S)")  # no property of a style sheet
COMMAND = re.compile(r"\bsgc [a-z]+\b[^.;]*")  # a whole command of the shell, for readers of a page
WORD = re.compile(r"--[a-z-]+")  # a flag and nothing else: a word of a command that is run
STARTS_COMMANDS = ROOT / "sweeps" / "cell_runs.py"  # runs commands of the shell, each in a process of its own


def texts(source: str) -> Iterator[tuple[int, str]]:
    """Give the texts of a module that may reach a reader: all but docstrings."""
    tree = ast.parse(source)
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    said = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, holders) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            said |= {id(piece) for piece in node.values}
            pieces = [piece.value if isinstance(piece, ast.Constant) else "…" for piece in node.values]
            yield node.lineno, "".join(map(str, pieces))
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.lineno, node.value


def by_hand(source: str) -> list[tuple[int, str]]:
    """List the texts with a flag outside a whole command."""
    return [(line, text) for line, text in texts(source) if FLAG.search(COMMAND.sub("", text))]


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_command_line_writes_flags_by_hand(path: Path) -> None:
    if path.parent != ROOT / "cli":
        told = by_hand(path.read_text())
        assert [text for text in told if not (path == STARTS_COMMANDS and WORD.fullmatch(text[1]))] == []


def test_the_search_for_flags_finds_them() -> None:
    source = '"""Of --force."""\ndef f() -> str:\n    """As --force."""\n    return f"{1}: --force starts over"\n'
    assert [text for _, text in by_hand(source)] == ["…: --force starts over"]
    assert by_hand('"".join(["sgc train SPEC --resume", "--color: red"])') == [(1, "--color: red")]
    assert by_hand('f"sgc train SPEC -o {run} --resume"; "style=\'--natural:1px\'"') == []


def test_an_option_is_worded_for_its_reader() -> None:
    said = [
        option("force", "-"),
        option("checkpoint", "last"),
        option("given", "y=VALUE", python="given={'y': VALUE}"),
        option("given"),
    ]
    assert said == ["force=True", "checkpoint='last'", "given={'y': VALUE}", "given"]
    with in_shell():
        said = [option("force", "-"), option("checkpoint", "last"), option("given", "y=VALUE"), option("given")]
    assert said == ["--force", "--checkpoint last", "--given y=VALUE", "--given"]
    assert option("force", "-") == "force=True"


def finished(folder: Path) -> Path:
    return sgc.train(small(train__epochs=1), data=small_arrays(), output=folder / "run").folder


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "train": (
        lambda run: sgc.train(small(train__epochs=1), data=small_arrays(), output=run),
        "holds a finished run; force=True starts over",
    ),
    "open": (lambda run: sgc.open(run), "no such file, the run has not finished an epoch; checkpoint='last' is there"),
    "evaluate": (
        lambda run: sgc.evaluate(run / "split", split="test", data=small_arrays()),
        "the test split has no rows: split='validation' has some",
    ),
    "load": (lambda run: sgc.load(small(), overrides=["train.epochs=x"]), "overrides: train.epochs=x: train.epochs: "),
    "trust": (
        lambda run: sgc.load(small(nodes__x__distribution={"python": "a:B", "parameters": {}, "support": "real"})),
        "allowed with trust=True",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_from_python_no_hint_speaks_of_flags(case: str, tmp_path: Path) -> None:
    act, words = REFUSED[case]
    folder = finished(tmp_path)
    if case == "open":
        (folder / "best.safetensors").unlink()
    if case == "evaluate":
        section = {**NPZ, "split": {"validation": 12}, "labels": {}}
        sgc.train(small(train__epochs=1, data=section), data=small_arrays(), output=folder / "split")
    with pytest.raises((UsageError, SpecError)) as told:
        act(folder)
    assert words in str(told.value)
    assert not FLAG.search(str(told.value))
