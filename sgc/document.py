"""YAML text -> plain data, with the place of every key and value; the faults of the text itself are found here.

YAML 1.2 scalars (`no` and `on` are strings, `1e-3` is a number), no tags that make objects, no duplicate keys, and
limits on size, nesting and expansion, so that a stranger's file can do no harm.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import yaml

from sgc.errors import Fault, Path, SpecError, suggest

MAX_BYTES = 1_000_000
MAX_DEPTH = 60
MAX_NODES = 50_000  # as expanded: an alias counts as what it stands for

_NULL = re.compile(r"^(?:~|null|Null|NULL|)$")
_TRUE = re.compile(r"^(?:true|True|TRUE)$")
_FALSE = re.compile(r"^(?:false|False|FALSE)$")
_INTEGER = re.compile(r"^[-+]?[0-9]+$")
_OCTAL, _HEX = re.compile(r"^0o[0-7]+$"), re.compile(r"^0x[0-9a-fA-F]+$")
_FLOAT = re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$")
_SPECIAL = {".inf": float("inf"), "+.inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan")}
_OVERRIDE = re.compile(r"^\s*([A-Za-z_][^=]*?)\s*=(.*)$", re.DOTALL)

Plain = Any  # what YAML can say: None, bool, int, float, str, lists and mappings of these, to any depth


@dataclass(frozen=True)
class Mark:
    """A place in the text: line and column from 1, and how many characters stand there."""

    line: int
    column: int
    width: int


@dataclass
class Document:
    """A spec as it was written: plain data, where each part of it stands, and which flag brought it in."""

    file: str
    lines: list[str]
    data: Plain = None
    keys: dict[Path, Mark] = field(default_factory=dict)
    values: dict[Path, Mark] = field(default_factory=dict)
    flags: dict[Path, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)  # of the text, which do not keep the rest from being read

    def fault(self, path: Path, message: str, hint: str = "", *, at: str = "value") -> Fault:
        """Locate a fault: at the value or the key of `path`, or at the nearest key above what does not exist."""
        flag = next((self.flags[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.flags), "")
        mark = (self.keys if at == "key" else self.values).get(path)
        above = path
        while mark is None and above:
            mark = self.values.get(above) if above == path else self.keys.get(above)
            above = above[:-1]
        if mark is None:
            mark = next(iter(self.keys.values()), Mark(1, 1, 1)) if self.lines else None
        if mark is None or flag:
            return Fault(path, message, hint, self.file, flag=flag)
        source = self.lines[mark.line - 1] if mark.line <= len(self.lines) else ""
        return Fault(path, message, hint, self.file, mark.line, mark.column, mark.width, source)

    def get(self, path: Path) -> Plain:
        """Return what is written at `path`; Raises KeyError where nothing is."""
        here = self.data
        for part in path:
            try:
                here = here[part]
            except (TypeError, IndexError, KeyError):
                raise KeyError(path) from None
        return here

    def sort(self, faults: Sequence[Fault]) -> list[Fault]:
        """Order faults as the file has them; those of flags come last, and no fault stands twice."""
        unique = {(f.flag, f.line, f.column, f.path, f.message): f for f in faults}
        return sorted(unique.values(), key=lambda f: (bool(f.flag), f.line, f.column))


def read(file: str | FilePath) -> Document:
    """Read a YAML file. Raises: SpecError, with everything that is wrong with the text."""
    path = FilePath(file)
    name = str(file)
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise SpecError([Fault((), f"the file has {size} bytes, a spec at most {MAX_BYTES}", file=name)])
        raw = path.read_bytes()
    except FileNotFoundError:
        raise SpecError([Fault((), "no such file", file=name)]) from None
    except IsADirectoryError:
        raise SpecError([Fault((), "is a folder, expected a YAML file", file=name)]) from None
    except OSError as problem:
        raise SpecError([Fault((), problem.strerror or "cannot be read", file=name)]) from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        line = raw[: problem.start].count(b"\n") + 1
        raise SpecError([Fault((), f"line {line} is not UTF-8 text", file=name)]) from None
    return parse(text, name)


def parse(text: str, file: str = "spec") -> Document:
    """Parse YAML text. Raises: SpecError, with everything that is wrong with the text."""
    document = Document(file, text.split("\n"))
    document.lines = [line.rstrip("\r") for line in document.lines]
    _check_nesting(text, document)
    try:
        loader = yaml.SafeLoader(text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()  # type: ignore[no-untyped-call]
    except yaml.MarkedYAMLError as problem:
        raise SpecError([_syntax_fault(problem, document)]) from None
    except yaml.reader.ReaderError as problem:
        line = text[: problem.position].count("\n") + 1
        code = problem.character if isinstance(problem.character, int) else ord(problem.character[:1])
        message = f"character #x{code:04x} is not allowed in YAML"
        raise SpecError([_at(document, line, 1, message)]) from None
    if root is None:
        raise SpecError([Fault((), "the file is empty, expected a mapping with 'version' and 'nodes'", file=file)])
    _check_expansion(root, document)
    document.data = _build(root, (), document)
    return document


def from_mapping(data: Plain, file: str = "spec") -> Document:
    """Take a spec that was written in Python as plain data; its faults have paths, but no lines."""
    return Document(file, [], data)


def override(document: Document, assignments: Sequence[str]) -> None:
    """Set values as `--set key=value` does: dots between keys, [i] for entries of lists, YAML for the value.

    Raises: SpecError, naming the flag.
    """
    faults: list[Fault] = []
    for text in assignments:
        flag = f"--set {text}"
        match = _OVERRIDE.match(text)
        if not match:
            faults.append(Fault((), "expected key=value", "for example train.epochs=10", document.file, flag=flag))
            continue
        path = tuple(int(p) if p.isdigit() else p for p in re.split(r"\.|\[|\]\.?", match[1].strip()) if p)
        try:
            parsed = parse(match[2], "--set") if match[2].strip() else Document("--set", [])
            problems = parsed.faults
        except SpecError as problem:
            problems = problem.faults
        if problems:
            faults.append(Fault(path, problems[0].message, "", document.file, flag=flag))
            continue
        value = parsed.data
        fault = _assign(document, path, value, flag)
        if fault:
            faults.append(fault)
    if faults:
        raise SpecError(faults)


def _assign(document: Document, path: Path, value: Plain, flag: str) -> Fault | None:
    if not isinstance(document.data, dict):
        return None  # the file's own fault is told elsewhere
    here = document.data
    for depth, part in enumerate(path[:-1]):
        if isinstance(here, dict) and isinstance(part, str):
            here = here.setdefault(part, {})
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            here = here[part]
        else:
            return Fault(path, f"nothing at {path_of(path[: depth + 1])} to set a value in", "", flag=flag)
        if here is None or not isinstance(here, dict | list):
            below = path_of(path[: depth + 1])
            return Fault(path, f"'{below}' is {describe(here)}, nothing can be set below it", "", flag=flag)
    last = path[-1]
    if isinstance(here, list) and not (isinstance(last, int) and last < len(here)):
        return Fault(
            path, f"the list has {len(here)} entries", suggest(str(last), map(str, range(len(here)))), flag=flag
        )
    here[last] = value
    document.flags[path] = flag
    return None


def path_of(path: Path) -> str:
    return ".".join(str(part) for part in path)


def describe(value: Plain) -> str:
    """Name a value by its type as users know it: integer, number, string, boolean, list, mapping, empty.

    >>> describe("abc"), describe(3), describe(None)
    ("string 'abc'", 'integer 3', 'empty')
    """
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return f"boolean {str(value).lower()}"
    if isinstance(value, int):
        return f"integer {value}"
    if isinstance(value, float):
        return f"number {value:g}"
    if isinstance(value, str):
        return f"string '{value if len(value) <= 40 else value[:37] + '...'}'"
    return "a list" if isinstance(value, list | tuple) else "a mapping"


def _check_nesting(text: str, document: Document) -> None:
    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    mark = event.start_mark
                    message = f"nested more than {MAX_DEPTH} deep"
                    raise SpecError([_at(document, mark.line + 1, mark.column + 1, message)])
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
    except yaml.MarkedYAMLError as problem:
        raise SpecError([_syntax_fault(problem, document)]) from None
    except yaml.reader.ReaderError:
        return  # told by the caller, with its place
    except RecursionError:
        raise SpecError([Fault((), f"nested more than {MAX_DEPTH} deep", file=document.file)]) from None


def _syntax_fault(problem: yaml.MarkedYAMLError, document: Document) -> Fault:
    mark = problem.problem_mark or problem.context_mark
    message = f"not YAML: {problem.problem or problem.context or 'cannot be parsed'}"
    if problem.context and problem.problem:
        message += f", {problem.context}"
    if mark is None:
        return Fault((), message, file=document.file)
    return _at(document, mark.line + 1, mark.column + 1, message.replace("\t", "\\t").replace("\n", " "))


def _at(document: Document, line: int, column: int, message: str) -> Fault:
    source = document.lines[line - 1] if 0 < line <= len(document.lines) else ""
    if len(source) > 400:  # a wall of brackets helps nobody
        source = source[: column + 40][:400]
        column = min(column, len(source) + 1)
    return Fault((), message, "", document.file, line, column, 1, source)


def _check_expansion(root: yaml.Node, document: Document) -> None:
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def size(node: yaml.Node) -> int:
        key = id(node)
        if key in open_nodes:
            mark = node.start_mark
            message = "an alias stands inside what it names"
            raise SpecError([_at(document, mark.line + 1, mark.column + 1, message)])
        if key not in sizes:
            open_nodes.add(key)
            total = 1
            if isinstance(node, yaml.MappingNode):
                total += sum(size(part) for pair in node.value for part in pair)
            elif isinstance(node, yaml.SequenceNode):
                total += sum(size(part) for part in node.value)
            open_nodes.discard(key)
            sizes[key] = total
        if sizes[key] > MAX_NODES:
            mark = node.start_mark
            message = f"more than {MAX_NODES} values once its aliases are expanded"
            raise SpecError([_at(document, mark.line + 1, mark.column + 1, message)])
        return sizes[key]

    size(root)


def _mark(node: yaml.Node, document: Document) -> Mark:
    start, end = node.start_mark, node.end_mark
    line = document.lines[start.line] if start.line < len(document.lines) else ""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:
        width = 1  # a block starts here; what it holds stands in other lines
    elif end.line == start.line:
        width = end.column - start.column
    else:
        width = len(line.rstrip()) - start.column
    return Mark(start.line + 1, start.column + 1, max(1, width))


def _build(node: yaml.Node, path: Path, document: Document) -> Plain:
    faults = document.faults
    document.values[path] = _mark(node, document)
    plain_tags = ("tag:yaml.org,2002:", "!")
    if not str(node.tag).startswith(plain_tags[0]) or str(node.tag)[len(plain_tags[0]) :].startswith("python"):
        faults.append(document.fault(path, f"the tag '{node.tag}' is not allowed, a spec is plain data"))
        return None
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return [_build(part, (*path, i), document) for i, part in enumerate(node.value)]
    mapping: dict[Hashable, Plain] = {}
    for key_node, value_node in node.value:
        key = _scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
        place = _mark(key_node, document)
        if not isinstance(key, str):
            source = document.lines[place.line - 1]
            word = describe(key) if isinstance(key_node, yaml.ScalarNode) else "a list or mapping"
            message = f"expected a string as key, got {word}"
            faults.append(Fault(path, message, "", document.file, place.line, place.column, place.width, source))
            continue
        below = (*path, key)
        if key in mapping:
            first = document.keys[below].line
            source = document.lines[place.line - 1]
            message = f"duplicate key '{key}', first in line {first}"
            faults.append(Fault(below, message, "", document.file, place.line, place.column, place.width, source))
            continue
        document.keys[below] = place
        mapping[key] = _build(value_node, below, document)
    return mapping


def _scalar(node: yaml.ScalarNode) -> Plain:
    text: str = node.value
    if node.style is not None:  # quoted, or a block: always a string
        return text
    if _NULL.match(text):
        return None
    if _TRUE.match(text) or _FALSE.match(text):
        return bool(_TRUE.match(text))
    if _INTEGER.match(text):
        return int(text) if len(text) < 400 else float("inf")
    if _OCTAL.match(text):
        return int(text[2:], 8)
    if _HEX.match(text):
        return int(text[2:], 16)
    if _FLOAT.match(text):
        return float(text)
    return _SPECIAL.get(text.lower(), text)
