"""Own code: classes of the user's that a spec names as `python: module:Class`; nothing is imported without trust.

In a spec such a name is inert: without `--trust`, `check` and `inspect` import nothing. `OwnCode.load` is the one place
where own code is imported.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, TypeGuard, final, get_type_hints

from pydantic import AfterValidator, Field, PydanticUserError, TypeAdapter, ValidationError, WithJsonSchema
from pydantic_core import PydanticCustomError

from sgc.errors import UsageError, option, suggest
from sgc.piece import Piece

_NAME = "[A-Za-z_][A-Za-z0-9_]*"
FORM = rf"^{_NAME}(\.{_NAME})*:{_NAME}$"


def is_import_path(value: object) -> TypeGuard[str]:
    """Say whether a value is written as an import path.

    >>> is_import_path("mine.families:Logistic"), is_import_path("os.system"), is_import_path("a:b.c")
    (True, False, False)
    """
    return isinstance(value, str) and re.fullmatch(FORM, value) is not None


def _check_form(path: str) -> str:
    if not is_import_path(path):
        raise PydanticCustomError(
            "import_path", "'{path}' is not an import path, expected module:Class", {"path": path}
        )
    return path


ImportPath = Annotated[str, AfterValidator(_check_form), WithJsonSchema({"type": "string", "pattern": FORM})]


class OwnPiece(Piece):
    """A piece of a spec that names a class of the user's own."""

    python: ImportPath = Field(
        description="The class by its import path, `module:Class`.",
        examples=["mine:Logistic"],
    )


def wants_trust(path: str) -> tuple[str, str]:
    """Word the refusal to import a class that is not trusted, and the hint."""
    return f"own code: it would import '{path}'", f"allowed with {option('trust', '-')}"


@final
@dataclass(frozen=True)
class OwnCode:
    """A class by its import path, and whether it may be imported.

    It is looked for in `folder`, beside the spec, then on Python's path, then in the current folder.
    """

    path: str  # module:Class
    folder: Path
    trusted: bool

    def load(self, base: type, *, method: str = "") -> type:
        """Import the class. base: the class it must be derived from. method: one that it must have.

        Raises: UsageError if it is not trusted, cannot be imported, is missing, or is no such class.
        """
        if not self.trusted:
            message, hint = wants_trust(self.path)
            raise UsageError(f"{message}, {hint}")
        module_name, _, name = self.path.partition(":")
        module = self._import(module_name)
        own = getattr(module, name, None)
        file = getattr(module, "__file__", None) or "a module without a file"
        if own is None:
            hint = suggest(name, [word for word, value in vars(module).items() if isinstance(value, type)])
            raise UsageError(f"'{self.path}': no '{name}' in {file}" + (f" ({hint})" if hint else ""))
        if not (isinstance(own, type) and issubclass(own, base)):
            wanted = "" if base is object else f" derived from {base.__module__}.{base.__name__}"
            raise UsageError(f"'{self.path}': '{name}' in {file} is not a class{wanted}")
        if method and not callable(getattr(own, method, None)):
            raise UsageError(f"'{self.path}': '{name}' in {file} has no method '{method}'")
        _own_modules.add(module_name)
        return own

    def _import(self, name: str) -> ModuleType:
        with _looking_in(self.folder):
            try:
                return importlib.import_module(name)
            except ModuleNotFoundError as problem:
                if problem.name is None or not f"{name}.".startswith(f"{problem.name}."):
                    raise UsageError(f"'{self.path}' cannot be imported: {_words(problem, name)}") from None
                places = f"in {self.folder}, on Python's path or in the current folder"
                raise UsageError(f"'{self.path}' cannot be imported: no module '{problem.name}' {places}") from None
            except (Exception, SystemExit) as problem:  # whatever the user's module may do
                raise UsageError(f"'{self.path}' cannot be imported: {_words(problem, name)}") from None


_own_modules: set[str] = set()  # those that were imported as own code
_beside: dict[str, Path] = {}  # top-level modules beside a spec, and their folder


@contextlib.contextmanager
def _looking_in(folder: Path) -> Iterator[None]:
    """Look for modules beside a spec first, and forget those of the same name beside another spec."""
    importlib.invalidate_caches()
    for name in [name for name, other in _beside.items() if other != folder]:
        if PathFinder.find_spec(name, [str(folder)]) is not None:
            for loaded in [loaded for loaded in sys.modules if loaded == name or loaded.startswith(f"{name}.")]:
                del sys.modules[loaded]
            del _beside[name]
    before = {name.partition(".")[0] for name in sys.modules}
    path = list(sys.path)
    around = [str(folder), *path, os.getcwd()]
    sys.path[:] = around
    try:
        yield
    finally:
        sys.path[:] = [*path, *(entry for entry in sys.path if entry not in around)]  # what a module added stays
        for name in {name.partition(".")[0] for name in sys.modules} - before:
            file = Path(getattr(sys.modules.get(name), "__file__", None) or os.devnull)
            if folder in (file.parent, file.parent.parent):
                _beside[name] = folder


def raised(problem: BaseException) -> str:
    """Name an exception in one line."""
    text = str(problem).splitlines()
    return f"{type(problem).__name__}: {text[0]}" if text else type(problem).__name__


def _words(problem: BaseException, module: str) -> str:
    """Say what own code raised, and in which of its lines."""
    words = raised(problem)
    if isinstance(problem, SyntaxError) and problem.filename:
        return f"{words} ({problem.filename}, line {problem.lineno})" if "line" not in words else words
    own = [(f.f_code, line) for f, line in traceback.walk_tb(problem.__traceback__) if _is_own(f.f_globals, module)]
    return f"{words} ({own[-1][0].co_filename}, line {own[-1][1]})" if own else words


def _is_own(names: dict[str, Any], module: str = "") -> bool:  # Any: a module's globals
    name = names.get("__name__", "")
    return name == module or name in _own_modules or name.partition(".")[0] in _beside


def failure(problem: BaseException) -> str:
    """Say where own code failed, if an exception or its cause came out of it; else an empty string."""
    cause: BaseException | None = problem
    while cause is not None:
        if any(_is_own(frame.f_globals) for frame, _ in traceback.walk_tb(cause.__traceback__)):
            return f"own code failed: {_words(cause, '')}"
        cause = cause.__cause__ or cause.__context__
    return ""


class OwnObject(OwnPiece):
    """An object of a class of the user's own, made with `options` as keywords."""

    options: dict[str, Any] = Field(  # Any: whatever YAML can say
        {},
        description="The keywords that the class is made with.",
        examples=[{"k": 2}],
    )

    def make(self, code: OwnCode, base: type, texts: Iterable[str]) -> Any:  # Any: of the class `base`
        """Import and make it. texts: the attributes that must be texts.

        Raises: UsageError if it is not trusted, is no such class, cannot be made, or has no such text.
        """
        kind = code.load(base)
        self._check_types(kind)
        try:
            own = kind(**self.options)
        except ValidationError as problem:
            first = problem.errors()[0]
            option = ".".join(map(str, first["loc"])) or "options"
            raise UsageError(f"'{self.python}': {option}: {first['msg']}") from None
        except Exception as problem:  # whatever the user's class may do
            raise UsageError(f"'{self.python}' cannot be made: {raised(problem)}") from None
        for text in texts:
            if not isinstance(getattr(own, text, None), str):
                raise UsageError(f"'{self.python}': its class lacks '{text}', which must be a text")
        return own

    def _check_types(self, kind: type) -> None:
        """Check each option against its annotation in the constructor, if that can be read. Raises: UsageError."""
        with contextlib.suppress(NameError, TypeError, PydanticUserError):
            hints = get_type_hints(kind.__init__)  # type: ignore[misc]  # of the class, no instance
            checks = {name: TypeAdapter(hints[name]) for name in self.options if name in hints}
            for name, check in checks.items():
                try:  # as JSON, in which a list is also a tuple
                    check.validate_json(json.dumps(self.options[name]), strict=True)
                except ValidationError as problem:
                    raise UsageError(f"'{self.python}': {name}: {problem.errors()[0]['msg']}") from None
