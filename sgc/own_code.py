"""Own code: classes of the user's that a spec names as `python: module:Class`; nothing is imported without trust.

In a spec such a name is inert: `check` and `inspect` read it and import nothing. What runs a model calls
`OwnCode.load`, the one place where own code is imported, and that refuses where nobody has said `--trust`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, TypeGuard, final

from pydantic import AfterValidator, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from sgc.errors import UsageError, option, suggest
from sgc.piece import Piece

_NAME = "[A-Za-z_][A-Za-z0-9_]*"
FORM = rf"^{_NAME}(\.{_NAME})*:{_NAME}$"


def is_import_path(value: object) -> TypeGuard[str]:
    """Tell whether a value is written as an import path.

    >>> is_import_path("mine.families:Logistic"), is_import_path("os.system"), is_import_path("a:b.c")
    (True, False, False)
    """
    return isinstance(value, str) and re.fullmatch(FORM, value) is not None


def _check_form(path: str) -> str:
    if not is_import_path(path):
        raise PydanticCustomError("import_path", "'{path}' is no import path, expected module:Class", {"path": path})
    return path


ImportPath = Annotated[str, AfterValidator(_check_form), WithJsonSchema({"type": "string", "pattern": FORM})]


class OwnPiece(Piece):
    """A piece of a spec that names a class of the user's own."""

    python: ImportPath


def wants_trust(path: str) -> tuple[str, str]:
    """Word the refusal of a name that nobody has trusted, and the hint beside it."""
    return f"own code: it would import '{path}'", f"allowed with {option('trust', '-')}"


@final
@dataclass(frozen=True)
class OwnCode:
    """A class by its import path, the folder it is looked for in first, and whether it may be imported.

    It is looked for beside the spec, then on Python's path, then in the current folder.
    """

    path: str  # module:Class
    folder: Path
    trusted: bool

    def load(self, base: type, *, method: str = "") -> type:
        """Import the class. base: what it has to be derived from. method: what it has to have.

        Raises: UsageError where it is not trusted, cannot be imported, is missing, or is no such class.
        """
        if not self.trusted:
            message, hint = wants_trust(self.path)
            raise UsageError(f"{message}, {hint}")
        name, _, word = self.path.partition(":")
        module = self._import(name)
        found = getattr(module, word, None)
        file = getattr(module, "__file__", None) or "a module without a file"
        if found is None:
            classes = [each for each, value in vars(module).items() if isinstance(value, type)]
            hint = suggest(word, classes)
            raise UsageError(f"'{self.path}': no '{word}' in {file}" + (f" ({hint})" if hint else ""))
        if not (isinstance(found, type) and issubclass(found, base)):
            wanted = "" if base is object else f" derived from {base.__module__}.{base.__name__}"
            raise UsageError(f"'{self.path}': '{word}' in {file} is no class{wanted}")
        if method and not callable(getattr(found, method, None)):
            raise UsageError(f"'{self.path}': '{word}' in {file} has no method '{method}'")
        _own.add(name)
        return found

    def _import(self, name: str) -> ModuleType:
        with _looking_in(self.folder):
            try:
                module = importlib.import_module(name)
            except ModuleNotFoundError as problem:
                if problem.name is None or not f"{name}.".startswith(f"{problem.name}."):
                    raise UsageError(f"'{self.path}' cannot be imported: {_words(problem, name)}") from None
                where = f"in {self.folder}, on Python's path or in the current folder"
                raise UsageError(f"'{self.path}' cannot be imported: no module '{problem.name}' {where}") from None
            except (Exception, SystemExit) as problem:  # whatever the user's module may do
                raise UsageError(f"'{self.path}' cannot be imported: {_words(problem, name)}") from None
        return module


_own: set[str] = set()  # the modules that were imported as own code
_beside: dict[str, Path] = {}  # top-level modules that stand beside a spec, and in which folder


@contextlib.contextmanager
def _looking_in(folder: Path) -> Iterator[None]:
    """Look for modules beside a spec first; those of the same name beside another spec are forgotten."""
    importlib.invalidate_caches()
    for name in [each for each, where in _beside.items() if where != folder]:
        if PathFinder.find_spec(name, [str(folder)]) is not None:
            for loaded in [each for each in sys.modules if each == name or each.startswith(f"{name}.")]:
                del sys.modules[loaded]
            del _beside[name]
    before = {name.partition(".")[0] for name in sys.modules}
    path = list(sys.path)
    around = [str(folder), *path, os.getcwd()]
    sys.path[:] = around
    try:
        yield
    finally:
        sys.path[:] = [*path, *(each for each in sys.path if each not in around)]  # what a module added stays
        for name in {name.partition(".")[0] for name in sys.modules} - before:
            file = Path(getattr(sys.modules.get(name), "__file__", None) or os.devnull)
            if folder in (file.parent, file.parent.parent):
                _beside[name] = folder


def raised(problem: BaseException) -> str:
    """Name an exception in one line."""
    text = str(problem).splitlines()
    return f"{type(problem).__name__}: {text[0]}" if text else type(problem).__name__


def _words(problem: BaseException, module: str) -> str:
    """Say what own code raised, and where in it."""
    said = raised(problem)
    if isinstance(problem, SyntaxError) and problem.filename:
        return f"{said} ({problem.filename}, line {problem.lineno})" if "line" not in said else said
    frames = [each for each in traceback.walk_tb(problem.__traceback__) if _is_own(each[0].f_globals, module)]
    return f"{said} ({frames[-1][0].f_code.co_filename}, line {frames[-1][1]})" if frames else said


def _is_own(names: dict[str, Any], module: str = "") -> bool:  # Any: a module's globals
    name = names.get("__name__", "")
    return name == module or name in _own or name.partition(".")[0] in _beside


def failure(problem: BaseException) -> str:
    """Say where own code failed, if an exception came out of it; an empty string if it did not."""
    seen: BaseException | None = problem
    while seen is not None:
        if any(_is_own(frame.f_globals) for frame, _ in traceback.walk_tb(seen.__traceback__)):
            return f"own code failed: {_words(seen, '')}"
        seen = seen.__cause__ or seen.__context__
    return ""


class OwnObject(OwnPiece):
    """An object of a class of the user's own, made with `options` as keywords, that says of itself what it is."""

    options: dict[str, Any] = {}  # noqa: RUF012 - a frozen pydantic default; Any: whatever YAML can say

    def make(self, code: OwnCode, base: type, texts: Iterable[str]) -> Any:  # Any: of the class `base`
        """Import and make it. texts: the attributes that have to be texts.

        Raises: UsageError where it is not trusted, is no such class, cannot be made, or says no such text.
        """
        kind = code.load(base)
        try:
            made = kind(**self.options)
        except ValidationError as problem:
            first = problem.errors()[0]
            where = ".".join(map(str, first["loc"])) or "options"
            raise UsageError(f"'{self.python}': {where}: {first['msg']}") from None
        except Exception as problem:  # whatever the user's class may do
            raise UsageError(f"'{self.python}' cannot be made: {raised(problem)}") from None
        for text in texts:
            if not isinstance(getattr(made, text, None), str):
                raise UsageError(f"'{self.python}': its class says no '{text}', a text")
        return made
