"""The blocks of a page of the documentation, and what is done with each: written, run, loaded, compared.

A block says what it is by the first word of its fence, and by a file name, a place or a mark behind it:

- ```` ```console ````: each line that begins with `$ ` is a command, run in the folder of the page; the lines below it
  are what it prints. `…` stands for anything: alone on a line for any lines, within a line for any words. What check,
  inspect, init, list, schema and `--help` print is compared word for word. Of all else numbers are compared to the
  digits that are shown, as long as nothing was trained on the page; from the first training on, and where a line tells
  a time, as `#`, for trainings are short here, and clocks differ. Lines of warnings and of notes may be missing on the
  page. `exits-2` behind the word says how the last command of the block ends.
- ```` ```yaml spec.yaml ````, or a `{code-block}` with `:caption: spec.yaml`: written to that file, whatever the
  language. Python without a file is run, in one namespace a page; `pycon` is a doctest in it.
- ```` ```yaml ````: a whole spec (with `version`), or sections of one, or ```` ```yaml nodes.y ````, a piece of one at
  that place. A piece is put into the last whole spec of the page that is a file, or into `specs/digits.yaml`, and
  loaded. A key of a node, an option of a section, or the section `data` is replaced by what is shown.
- ```` ```text ````: lines of what the last command or python block printed, in their order.
- A mark of NOT_RUN behind the word: not run, for that reason. `pip install` of sgc alone does nothing: it is there.

The folder of a page holds copies of `specs/` and `examples/`, and nothing else before its first block.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

import sgc
from sgc import cli
from sgc.runtime.model import Model
from sgc.spec.document import read
from sgc.spec.spec import Spec
from sgc.sweeps.sweep_file import read_sweep

ROOT = Path(__file__).resolve().parent.parent

NOT_RUN = {
    "not-run-installs": "it installs packages",
    "not-run-make": "continuous integration runs it by itself",
    "not-run-gpu": "it needs a GPU",
    "not-run-processes": "it starts processes of its own",
    "not-run-data": "it needs data that no test has",
    "not-run-serves": "it serves until it is stopped",
    "not-run-theirs": "it is code of another library, which is not installed",
    "diagram": "it is a drawing in letters",
}
INERT = {"bibtex", "latex"}  # languages of which nothing can be run
EXACT = {"check", "inspect", "init", "list", "schema"}
PROGRAMS = {"cat", "cp", "head", "ls", "mkdir", "mv", "tail", "wc"}
FILE = re.compile(r"[\w./-]+\.(?:csv|json|py|txt|yaml|yml)")
SWEEP = {"grid", "cells", "seeds", "search"}  # a file with one of these is no spec
CODE = ("code-block", "code", "sourcecode")
NUMBER = re.compile(r"[-−+±]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
TIME = re.compile(r"\d (?:m?s|min|h|minutes|seconds)\b")


@dataclass(frozen=True)
class Block:
    """One block of a page: where it begins, its language, the words behind that, and its text."""

    line: int
    language: str
    words: tuple[str, ...]
    text: str

    @property
    def file(self) -> str:
        """The file that it is; empty where it is none."""
        return next((word for word in self.words if FILE.fullmatch(word)), "")

    @property
    def not_run(self) -> str:
        """The mark that says why it is not run; empty where it is."""
        return next((word for word in self.words if word in NOT_RUN), "")


def blocks(text: str, above: int = 0) -> Iterator[Block]:
    """List the blocks of a page, those inside directives included."""
    for token in MarkdownIt().parse(text):
        if token.type == "code_block":
            raise AssertionError(f"line {above + token.map[0] + 1}: an indented block; fence it")
        if token.type != "fence":
            continue
        line = above + token.map[0] + 1
        directive = re.match(r"\{([\w:.-]+)\}\s*(.*)", token.info)
        if directive is None:
            language, *words = token.info.split() or [""]
            yield Block(line, language, tuple(words), token.content)
        elif directive[1] in CODE:
            options = dict(re.findall(r"^:(\w+):\s*(.*)$", token.content, flags=re.MULTILINE))
            body = re.sub(r"\A(?::\w+:.*\n)+\n?", "", token.content)
            words = [options.get("caption", ""), *options.get("class", "").split()]
            yield Block(line, directive[2], tuple(word for word in words if word), body)
        elif directive[1] in ("note", "tip", "warning", "important", "admonition", "dropdown", "hint"):
            yield from blocks(token.content, line)


@dataclass
class PageRun:
    """The blocks of one page, run one after the other in a folder."""

    page: str
    folder: Path
    patch: pytest.MonkeyPatch
    namespace: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})
    printed: str = ""
    whole: Any = None  # the last whole spec, as plain data
    trained: bool = False  # whether something was, so that what follows may depend on how long

    def run(self, block: Block) -> None:
        """Do what a block asks for. Raises: AssertionError, which says where and what was expected."""
        try:
            self._run(block)
        except AssertionError as wrong:
            raise AssertionError(f"{self.page}, line {block.line}: {wrong}") from None

    def _run(self, block: Block) -> None:
        if block.not_run or block.language in INERT:
            return
        if block.file:
            path = self.folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
            if block.language == "yaml" and "version:" in block.text:
                written = read(path).data
                if SWEEP & set(written):
                    read_sweep(path)
                else:
                    self.whole = written
        elif block.language == "console":
            self._console(block)
        elif block.language == "python":
            self.printed = self._python(block)
        elif block.language == "pycon":
            self._doctest(block)
        elif block.language == "yaml":
            self._load(block)
        elif block.language in ("text", ""):
            told = in_order(block.text.splitlines(), self.printed.splitlines(), by_value=not self.trained)
            assert told is None, f"nothing printed this line:\n{told}\nbut:\n{self.printed}"
        else:
            raise AssertionError(f"no rule for a block of '{block.language}' that is no file: mark it, see page_blocks")

    # ---- specs

    def _load(self, block: Block) -> None:
        place = next((word for word in block.words if word not in NOT_RUN and not FILE.fullmatch(word)), "")
        text = block.text
        for key in reversed(place.split(".") if place else []):
            text = f"{key}:\n" + "".join(f"  {line}\n" for line in text.splitlines())
        given = self._plain(text)
        assert isinstance(given, dict), "no mapping"
        if "version" not in given:
            unknown = [key for key in given if key not in Spec.model_fields]
            assert not unknown, f"{unknown} are no sections of a spec: say where it belongs, ```yaml nodes.y"
            given = merged(self.whole or read(ROOT / "specs" / "digits.yaml").data, given)
        sgc.load(given, trust=True)

    def _plain(self, text: str) -> Any:  # Any: plain data
        path = self.folder / ".piece.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            return read(path).data
        finally:
            path.unlink()

    # ---- Python

    def _python(self, block: Block) -> str:
        code = compile("\n" * block.line + block.text, self.page, "exec")
        with captured() as out:
            exec(code, self.namespace)
        return out.getvalue()

    def _doctest(self, block: Block) -> None:
        flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        test = doctest.DocTestParser().get_doctest(
            block.text.replace("…", "..."), self.namespace, self.page, self.page, block.line
        )
        told = io.StringIO()
        runner = doctest.DocTestRunner(optionflags=flags)
        runner.run(test, out=told.write, clear_globs=False)
        self.namespace.update(test.globs)
        assert runner.failures == 0, told.getvalue()

    # ---- the shell

    def _console(self, block: Block) -> None:
        status = next((int(word.removeprefix("exits-")) for word in block.words if word.startswith("exits-")), 0)
        pairs = list(commands(block.text))
        assert pairs, "no line begins with '$ '"
        for number, (command, shown) in enumerate(pairs):
            self.printed, ended, exact = "", 0, True
            for part in re.split(r"\s&&\s|\s*;\s", command):
                printed, ended, compared = self._command(part)
                self.printed += printed
                exact = exact and compared
            expected = status if number == len(pairs) - 1 else 0
            assert ended == expected, f"$ {command}\nended with {ended}, not {expected}:\n{self.printed}"
            if not shown:
                continue
            actual = self.printed.splitlines()
            if exact:
                assert matches(shown, actual), f"$ {command}\nprints:\n{self.printed}"
            else:
                told = in_order(shown, actual, by_value=not self.trained)
                assert told is None, f"$ {command}\nprints no such line here:\n{told}\nbut:\n{self.printed}"

    def _command(self, command: str) -> tuple[str, int, bool]:
        """Run one command: what it printed, its exit status, and whether that is compared word for word."""
        words = shlex.split(command, comments=True)
        while words and re.match(r"[A-Z_]+=", words[0]):
            name, _, value = words.pop(0).partition("=")
            self.patch.setenv(name, os.path.expandvars(value))
        if not words or words[0] == "export":
            for setting in words[1:]:
                name, _, value = setting.partition("=")
                self.patch.setenv(name, os.path.expandvars(value))
            return "", 0, True
        words = [os.path.expandvars(word) for word in words]
        goal = None
        if ">" in words:
            goal = words[words.index(">") + 1]
            words = words[: words.index(">")]
        if words[:3] == ["python", "-m", "sgc"]:
            words = ["sgc", *words[3:]]
        program, *rest = words
        if program == "sgc":
            text, status = shell(rest)
            exact = bool(rest) and (rest[0] in EXACT or "--help" in rest)
        elif program == "pip" and rest[0] == "install" and all(re.match(r"(sgc|\.)(\[|$)", word) for word in rest[1:]):
            text, status, exact = "", 0, False  # it is installed here
        elif program == "cd":
            self.patch.chdir(rest[0])
            text, status, exact = "", 0, True
        elif program == "python" and rest and rest[0].endswith(".py"):
            self.patch.setattr(sys, "argv", rest)
            with captured() as out:
                runpy.run_path(rest[0], run_name="__main__")
            text, status, exact = out.getvalue(), 0, False
        else:
            assert program in PROGRAMS, f"no rule for '{program}': mark the block, see page_blocks"
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            text, status, exact = done.stdout + done.stderr, done.returncode, False
        if goal is not None:
            Path(goal).write_text(text, encoding="utf-8")
            text = ""
        return text, status, exact


@contextlib.contextmanager
def captured() -> Iterator[io.StringIO]:
    """Keep what is printed, to both streams in its order."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), warnings.catch_warnings():
        yield out


def shell(words: list[str]) -> tuple[str, int]:
    """Run a command of `sgc` in this process: what it printed, and its exit status."""
    with captured() as out:
        try:
            cli.app(words)
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    return out.getvalue(), status


def commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """List the commands of a block of the console, each with the lines that are shown below it."""
    command, shown, goes_on = None, [], False
    for line in text.splitlines():
        if goes_on or line.startswith("$ "):
            if not goes_on and command is not None:
                yield command, trimmed(shown)
            part = line.removeprefix("$ ").strip()
            command = f"{command} {part}" if goes_on else part
            goes_on = part.endswith("\\")
            command, shown = command.removesuffix("\\"), []
        else:
            assert command is not None, f"'{line}' stands before the first command"
            shown.append(line)
    if command is not None:
        yield command, trimmed(shown)


def trimmed(lines: list[str]) -> list[str]:
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    return lines


def pattern_of(line: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(piece) for piece in line.rstrip().split("…")))


def matches(shown: list[str], actual: list[str]) -> bool:
    """Tell whether lines are those that are shown, where a line of `…` stands for any lines."""
    if not shown:
        return not trimmed(actual)
    if shown[0].strip() == "…":
        return any(matches(shown[1:], actual[skipped:]) for skipped in range(len(actual) + 1))
    return bool(actual) and bool(pattern_of(shown[0]).fullmatch(actual[0].rstrip())) and matches(shown[1:], actual[1:])


def shape(line: str) -> str:
    """Leave the words of a line: numbers are #, and spaces and rules as short as can be."""
    return re.sub(r"\s+", " ", re.sub(r"[-─━=]{3,}", "---", NUMBER.sub("#", line))).strip()


def spaced(line: str) -> str:
    """Make spaces and rules as short as can be, and leave the numbers."""
    return re.sub(r"\s+", " ", re.sub(r"[-─━=]{3,}", "---", line)).strip()


def says(shown: str, actual: str, *, by_value: bool) -> bool:
    """Tell whether a line is the one that is shown. by_value: also its numbers, to the digits that are shown."""
    if not by_value or TIME.search(shown):
        return bool(pattern_of(shape(shown)).fullmatch(shape(actual)))
    words = re.split(f"({NUMBER.pattern}|…)", spaced(shown))
    kinds = {True: f"({NUMBER.pattern})", False: ".*"}
    pattern = "".join(kinds[word != "…"] if i % 2 else re.escape(word) for i, word in enumerate(words))
    found = re.fullmatch(pattern, spaced(actual))
    numbers = [word for word in words[1::2] if word != "…"]
    return found is not None and all(map(close, numbers, found.groups()))


def close(shown: str, actual: str) -> bool:
    """Tell whether a number is the one that is shown, up to one of its last digit."""
    value, other = (float(re.sub("[,±+]", "", word.replace("−", "-"))) for word in (shown, actual))
    digits, _, power = shown.partition("e")
    last = 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))
    return abs(value - other) <= (1.01 * last if "." in shown or power else 0)


def in_order(shown: list[str], actual: list[str], *, by_value: bool = False) -> str | None:
    """Find the first line that is shown and does not follow in what was printed; None where there is none."""
    left = actual
    for line in shown:
        if not line.strip() or line.strip() == "…":
            continue
        at = next((index for index, found in enumerate(left) if says(line, found, by_value=by_value)), None)
        if at is None:
            if line.startswith(("warning: ", "note: ")):  # a short training is warned of otherwise
                continue
            return line
        left = left[at + 1 :]
    return None


def merged(base: Any, piece: Any, depth: int = 0, name: str = "") -> Any:  # Any: plain data
    """Put a piece into a spec: sections and nodes are joined, their keys are replaced."""
    limit = {"": 1, "data": 1, "nodes": 3, "repeat": 3, "inputs": 2, "features": 2, "networks": 2}.get(name, 2)
    if depth >= limit or not (isinstance(base, dict) and isinstance(piece, dict)):
        return piece
    return {
        **base,
        **{key: merged(base.get(key), value, depth + 1, name or key) for key, value in piece.items()},
    }


@contextlib.contextmanager
def page_run(page: str, folder: Path, patch: pytest.MonkeyPatch) -> Iterator[PageRun]:
    """Prepare a folder and short trainings for a page, and take its modules out again."""
    for name in ("specs", "examples"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    from sgc.training import trainer

    train, run = trainer.train, PageRun(page, folder, patch)

    def short(spec: Any, data: Any = None, **options: Any) -> Any:  # Any: as the interface has it
        run.trained = True
        loaded = spec if isinstance(spec, Spec) else sgc.load(spec, trust=options.get("trust", False))
        epochs = 2 if options.get("resume") else 1
        settings = loaded.train.model_copy(update={"epochs": epochs})
        scored = loaded.evaluate.model_copy(update={"samples": min(loaded.evaluate.samples, 3)})
        return train(loaded.model_copy(update={"train": settings, "evaluate": scored}), data, **options)

    patch.setattr(trainer, "train", short)
    patch.setattr(Model, "validate_args", False)
    patch.setenv("MPLBACKEND", "agg")
    patch.setenv("COLUMNS", "120")
    patch.chdir(folder)
    patch.syspath_prepend(folder)
    before = set(sys.modules)
    try:
        yield run
    finally:
        for name in set(sys.modules) - before:
            if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
                del sys.modules[name]
