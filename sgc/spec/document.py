"""YAML text -> plain data, with the place of every key and value; the faults of the text itself are found here.

YAML 1.2 scalars (`no` and `on` are strings, `1e-3` is a number), no tags, no duplicate keys, and limits on size,
nesting and expansion, so that a stranger's file can do no harm.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path as FilePath
from typing import Any

import yaml

from sgc.errors import Fault, Path, SpecError, special_file
from sgc.value_words import describe

MAX_BYTES = 1_000_000
MAX_DEPTH = 60
MAX_NODES = 50_000  # as expanded: an alias counts as its value
MAX_DIGITS = 300  # of an integer; a longer one would not even be a float

_WORDS = (
    dict.fromkeys(("", "~", "null", "Null", "NULL"))
    | dict.fromkeys(("true", "True", "TRUE"), True)
    | dict.fromkeys(("false", "False", "FALSE"), False)
)
_INTEGERS = {10: re.compile(r"^[-+]?[0-9]+$"), 8: re.compile(r"^0o[0-7]+$"), 16: re.compile(r"^0x[0-9a-fA-F]+$")}
_FLOAT = re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$")
_SPECIAL = {".inf": float("inf"), "+.inf": float("inf"), "-.inf": float("-inf"), ".nan": float("nan")}
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what YAML takes for the end of a line

Plain = Any  # what YAML can say: None, bool, int, float, str, lists and mappings of these, to any depth


@dataclass(frozen=True)
class Mark:
    """A place in the text: line and column from 1, and the number of characters there.

    Line 0: written in Python, where the column counts the pieces of the whole, to keep them in order.
    """

    line: int
    column: int
    width: int = 1


@dataclass
class Document:
    """A spec as it was written: plain data, and the place of each piece in the file, or the flag that set it."""

    file: str
    lines: list[str]
    data: Plain = None
    keys: dict[Path, Mark] = field(default_factory=dict)
    values: dict[Path, Mark] = field(default_factory=dict)
    flags: dict[Path, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)  # those beside which the rest could be read
    unread: set[Path] = field(default_factory=set)  # what could not be read

    def fault(self, path: Path, message: str, hint: str = "", *, at: str = "value", about: Path | None = None) -> Fault:
        """Locate a fault: at the value or the key of `path`, or if that does not exist, at the nearest key above.

        about: what is missing, if that is the fault; a flag may have taken it out.
        """
        set_at = path if about is None else about
        flag = next((self.flags[set_at[:n]] for n in range(len(set_at), 0, -1) if set_at[:n] in self.flags), "")
        if flag:
            return Fault(path, message, hint, self.file, flag=flag)
        mark = (self.keys.get(path) if at == "key" else None) or self.values.get(path)
        above = path[:-1]
        while mark is None and above:
            mark, above = self.keys.get(above), above[:-1]
        return self.fault_at(mark or self.values.get((), Mark(1, 1)), path, message, hint)

    def fault_at(self, mark: Mark, path: Path, message: str, hint: str = "") -> Fault:
        """Put a fault at a place in the text."""
        source = self.lines[mark.line - 1] if 0 < mark.line <= len(self.lines) else ""
        return Fault(path, message, hint, self.file, mark.line, mark.column, mark.width, source)

    def get(self, path: Path) -> Plain:
        """Return what is written at `path`. Raises: KeyError, if nothing is."""
        value = self.data
        for part in path:
            try:
                value = value[part]
            except (TypeError, IndexError, KeyError):
                raise KeyError(path) from None
        return value

    def has(self, path: Path) -> bool:
        """Say whether something is written at `path`."""
        try:
            self.get(path)
        except KeyError:
            return False
        return True

    def below(self, place: Path) -> list[Path]:
        """List the places at and below one, from the top."""
        places = [place]
        for path in places:
            places += self._children.get(path, ())
        return places

    @cached_property
    def _children(self) -> dict[Path, list[Path]]:
        children: dict[Path, list[Path]] = {}
        for path in dict.fromkeys([*self.keys, *self.values]):
            if path:
                children.setdefault(path[:-1], []).append(path)
        return children

    def order(self, path: Path) -> tuple[int, int]:
        """Rank a value by its place in the file."""
        mark = self.values.get(path, Mark(0, 0))
        return mark.line, mark.column

    def sort(self, faults: Sequence[Fault]) -> list[Fault]:
        """Sort faults by their place in the file, those of flags last, and drop duplicates."""
        unique: dict[object, Fault] = {}
        for f in faults:  # an alias has the same fault on several paths
            unique.setdefault((f.flag, f.file, f.line, f.column, f.message, () if f.line else f.path), f)
        return sorted(unique.values(), key=lambda f: (bool(f.flag), f.file != self.file, f.file, f.line, f.column))


def read(file: str | FilePath) -> Document:
    """Read a YAML file. Raises: SpecError, with everything that is wrong with the text."""
    path, name = FilePath(file), str(file)
    if kind := special_file(path):
        raise SpecError([Fault((), f"is {kind}, expected a YAML file", file=name)])
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise SpecError([Fault((), "no such file", file=name)]) from None
    except IsADirectoryError:
        raise SpecError([Fault((), "is a folder, expected a YAML file", file=name)]) from None
    except (OSError, ValueError) as problem:
        raise SpecError([Fault((), getattr(problem, "strerror", "") or "cannot be read", file=name)]) from None
    if len(raw) > MAX_BYTES:
        raise SpecError([Fault((), f"the file is too large, a spec has at most {MAX_BYTES} bytes", file=name)])
    raw = raw.removeprefix(codecs.BOM_UTF8)  # a decoder that does it counts bytes from behind it
    try:
        text = raw.decode()
    except UnicodeDecodeError as problem:
        lines = _BREAK.split(raw.decode(errors="replace"))
        before = _BREAK.split(raw[: problem.start].decode())
        mark = Mark(len(before), len(before[-1]) + 1)
        message = f"not UTF-8 text: byte 0x{raw[problem.start]:02x}"
        raise SpecError([Document(name, lines).fault_at(mark, (), message)]) from None
    return parse(text, name)


def parse(text: str, file: str = "spec") -> Document:
    """Parse YAML text. Raises: SpecError, with what keeps the text from being read."""
    document = Document(file, _BREAK.split(text))
    try:
        composer = _Composer(text)
        try:
            root = composer.get_single_node()
        finally:
            composer.dispose()
    except _TooLarge as problem:
        place = Mark(problem.mark.line + 1, problem.mark.column + 1)
        raise SpecError([document.fault_at(place, (), str(problem))]) from None
    except yaml.MarkedYAMLError as problem:
        raise SpecError([_syntax_fault(problem, document)]) from None
    except yaml.reader.ReaderError as problem:
        before = _BREAK.split(text[: problem.position])
        code = problem.character if isinstance(problem.character, int) else ord(problem.character[:1])
        message = f"not YAML: character #x{code:04x} is not allowed"
        raise SpecError([document.fault_at(Mark(len(before), len(before[-1]) + 1), (), message)]) from None
    if root is None:
        message = "the file is empty, expected a mapping with 'version' and 'nodes'"
        raise SpecError([document.fault_at(Mark(1, 1), (), message)])
    _check_expansion(root, document)
    document.data = _build(root, (), document, composer.tags)
    return document


def from_mapping(data: Mapping[Any, Any], file: str = "spec") -> Document:
    """Make a document of a spec that is plain data in Python; its faults have paths, but no lines.

    Any: whatever a caller passes. Raises: SpecError, if it is nested too deep or too large.
    """
    document = Document(file, [])
    document.data = _take(data, (), document)
    return document


class _TooLarge(Exception):
    """A limit that a text exceeds, and the place where it does."""

    def __init__(self, message: str, mark: yaml.Mark) -> None:
        super().__init__(message)
        self.mark = mark


class _Composer(yaml.SafeLoader):
    """Composes nodes down to a limit of depth and number, and notes those with a tag."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = self.count = 0
        self.tags: dict[int, str] = {}  # by the identity of the node

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]  # Any: some events have a tag
        mark: Any = event.start_mark  # Any: the stubs of yaml know two classes of marks
        if self.depth >= MAX_DEPTH and isinstance(event, yaml.CollectionStartEvent):
            raise yaml.MarkedYAMLError(None, None, f"nested more than {MAX_DEPTH} deep", mark)
        self.count += 1
        if self.count > MAX_NODES:  # before the rest is read, which may be twenty times as much
            raise _TooLarge(f"more than {MAX_NODES} values", mark)
        self.depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        tag = getattr(event, "tag", None)
        if node is not None and tag is not None and not isinstance(event, yaml.AliasEvent):
            self.tags[id(node)] = tag.replace("tag:yaml.org,2002:", "!!", 1)
        return node


def _syntax_fault(problem: yaml.MarkedYAMLError, document: Document) -> Fault:
    mark = problem.problem_mark or problem.context_mark
    problems = [str(part) for part in (problem.problem, problem.context) if part]
    message = "not YAML: " + (", ".join(problems) or "cannot be parsed")
    return document.fault_at(Mark(mark.line + 1, mark.column + 1) if mark else Mark(1, 1), (), message)


def _check_expansion(root: yaml.Node, document: Document) -> None:
    """Refuse aliases that expand without end, too often or too deep; a node is measured once."""
    measured: dict[int, tuple[int, int, int]] = {}
    above: set[int] = set()

    def refuse(node: yaml.Node, message: str) -> None:
        mark = Mark(node.start_mark.line + 1, node.start_mark.column + 1)
        raise SpecError([document.fault_at(mark, (), message)])

    def measure(node: yaml.Node) -> tuple[int, int, int]:
        """Count the values, the levels and the letters below a node, itself included."""
        if id(node) in above:
            refuse(node, "an alias is inside the value that it names")
        if id(node) not in measured:
            above.add(id(node))
            pairs = node.value if isinstance(node, yaml.MappingNode) else []
            parts = [part for pair in pairs for part in pair] if pairs else node.value
            sizes = [measure(part) for part in parts] if isinstance(node, yaml.CollectionNode) else []
            above.discard(id(node))
            count, depth = 1 + sum(n for n, _, _ in sizes), 1 + max((d for _, d, _ in sizes), default=0)
            letters = sum(n for _, _, n in sizes) if sizes else len(node.value)
            measured[id(node)] = count, depth, letters
            if count > MAX_NODES:
                refuse(node, f"more than {MAX_NODES} values, aliases expanded")
            if depth > MAX_DEPTH + 1:
                refuse(node, f"nested more than {MAX_DEPTH} deep, aliases expanded")
            if letters > MAX_BYTES:
                refuse(node, f"more than {MAX_BYTES} letters, aliases expanded")
        return measured[id(node)]

    measure(root)


def _mark(node: yaml.Node, document: Document) -> Mark:
    start, end = node.start_mark, node.end_mark
    line = document.lines[start.line] if start.line < len(document.lines) else ""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:
        width = 1  # a block starts here; its content is in other lines
    elif end.line == start.line:
        width = end.column - start.column
    else:
        width = len(line.rstrip()) - start.column
    return Mark(start.line + 1, start.column + 1, max(1, width))


def _build(node: yaml.Node, path: Path, document: Document, tags: Mapping[int, str]) -> Plain:
    place = document.values[path] = _mark(node, document)
    if id(node) in tags:
        message = f"the tag '{tags[id(node)]}' is not allowed, a spec is plain data"
        document.faults.append(document.fault_at(place, path, message))
        document.unread.add(path)
        return None
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return [_build(part, (*path, i), document, tags) for i, part in enumerate(node.value)]
    mapping: dict[str, Plain] = {}
    for key_node, value_node in node.value:
        key = _scalar(key_node) if isinstance(key_node, yaml.ScalarNode) and id(key_node) not in tags else key_node
        place = _mark(key_node, document)
        if not isinstance(key, str):
            document.faults.append(_key_fault(key, place, path, document))
        elif key in mapping:
            message = f"duplicate key '{key}', first in line {document.keys[(*path, key)].line}"
            document.faults.append(document.fault_at(place, (*path, key), message))
        else:
            document.keys[(*path, key)] = place
            mapping[key] = _build(value_node, (*path, key), document, tags)
    return mapping


def _key_fault(key: Plain, place: Mark, path: Path, document: Document) -> Fault:
    plain = key is None or isinstance(key, bool | int | float)
    document.unread.add((*path, str(key)))
    return document.fault_at(
        place, path, f"expected a string as key, got {describe(key) if plain else 'a list, mapping or tag'}"
    )


def _scalar(node: yaml.ScalarNode) -> Plain:
    text: str = node.value
    if node.style is not None:  # quoted, or a block: always a string
        return text
    if text in _WORDS:
        return _WORDS[text]
    for base, form in _INTEGERS.items():
        if form.match(text):
            return int(text, base) if len(text) <= MAX_DIGITS else float("inf")
    if _FLOAT.match(text):
        return float(text)
    return _SPECIAL.get(text.lower(), text)


def _take(value: Any, path: Path, document: Document) -> Plain:  # Any: whatever a caller hands over
    """Copy plain data, and number its pieces in order."""
    ordinal = len(document.keys) + len(document.values)
    document.values[path] = Mark(0, ordinal)
    if len(path) > MAX_DEPTH or len(document.values) > MAX_NODES:
        limit = f"nested more than {MAX_DEPTH} deep" if len(path) > MAX_DEPTH else f"more than {MAX_NODES} values"
        raise SpecError([document.fault_at(Mark(0, ordinal), path[:6], limit)])
    if isinstance(value, list | tuple):
        return [_take(part, (*path, i), document) for i, part in enumerate(value)]
    if isinstance(value, Mapping):
        copy: dict[str, Plain] = {}
        for key, part in value.items():
            place = Mark(0, len(document.keys) + len(document.values))
            if isinstance(key, str):
                document.keys[(*path, key)] = place
                copy[key] = _take(part, (*path, key), document)
            else:
                document.faults.append(_key_fault(key, place, path, document))
        return copy
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**MAX_DIGITS:
        return float("inf")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    document.faults.append(document.fault(path, f"expected plain data, got an object of {type(value).__name__}"))
    document.unread.add(path)
    return None
