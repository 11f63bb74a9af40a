"""The errors that pydantic finds in a spec -> faults, at their place in the file, in the words of the spec language."""

from __future__ import annotations

import re
import types
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from sgc.errors import Path, nearest, suggest
from sgc.spec.document import Plain
from sgc.spec.findings import Findings
from sgc.spec.scopes import NO_NAME
from sgc.spec.spec import Spec
from sgc.value_words import LIMITS, SIZES, TYPES, describe

TEXTS = {"string_too_short": ("min_length", "at least"), "string_too_long": ("max_length", "at most")}
OPTIONS = ("activation", "norm", "dropout", "args", "output")  # keys that may be beside the key that names a kind
_TAG = re.compile(r"^<(.*)>$")
_KEY_TAG = re.compile(r"^\{(.*)\}$")


@dataclass(frozen=True)
class _Error:
    """One of pydantic's errors, located: `path` is that of the wrong value, or of a missing key.

    `piece` must be taken out before the rest can be validated: the outermost choice of a kind that holds the fault,
    because a part of it might be taken for another kind.
    """

    kind: str
    message: str
    context: dict[str, Any]  # Any: pydantic's
    loc: tuple[int | str, ...]
    path: Path
    piece: Path
    value: Plain


def report(problem: ValidationError, plain: Plain, findings: Findings, model: type[BaseModel] = Spec) -> list[Path]:
    """Add the faults of one validation of `plain` to the findings; return the pieces to take out before the next.

    model: of the whole.

    An unknown key is taken for the one that it resembles, which is then not missing.
    """
    errors = [_located(error, plain) for error in problem.errors(include_url=False)]
    unknown = [error for error in errors if error.kind == "extra_forbidden"]
    missing: dict[Path, list[str]] = {}  # by mapping
    for error in errors:
        if error.kind == "missing":
            missing.setdefault(error.path[:-1], []).append(str(error.path[-1]))
    meant: dict[Path, str] = {}
    for error in unknown:
        needed, word = missing.get(error.path[:-1], []), str(error.path[-1])
        similar = nearest(word, needed, cutoff=0.5)
        if similar:
            needed.remove(similar)
        meant[error.path] = similar or nearest(word, _keys_for(error, plain, findings, model))
    for path, key in meant.items():
        if key and not findings.hurt(*path):
            findings.add(path, f"unknown key '{path[-1]}'", f"did you mean '{key}'?", at="key")
            findings.breaks((*path[:-1], key))
    for error in errors:
        if not findings.hurt(*error.path) and not _of_unknown_kind(error, findings):
            _report(error, plain, findings, model)
        findings.breaks(error.path)
    return [error.piece for error in errors]


def _of_unknown_kind(error: _Error, findings: Findings) -> bool:
    """Say whether a key is unknown only because the kind of its mapping is."""
    return error.kind == "extra_forbidden" and findings.lost(*error.path[:-1], "source")


def _report(error: _Error, plain: Plain, findings: Findings, model: type[BaseModel]) -> None:
    """Word one error."""
    kind, path, value, context = error.kind, error.path, error.value, error.context
    add, got = findings.add, f"got {describe(value)}"
    if kind == "missing":
        add(path[:-1], f"missing key '{path[-1]}'", at="key", about=path)
    elif kind == "extra_forbidden":
        hint = suggest(str(path[-1]), _keys_for(error, plain, findings, model))
        add(path, f"unknown key '{path[-1]}'", hint, at="key")
    elif kind == "unknown_kind":
        _report_kind(error, findings)
    elif kind in ("excludes", "excluded_key"):
        add(path, error.message, at="key")
    elif kind == "unknown_name":
        add(path, error.message, suggest(str(value), context.get("allowed", [])))
    elif kind == "literal_error":
        _report_literal(error, findings)
    elif kind in TYPES:
        add(path, f"expected {TYPES[kind]}, {got}", _form(path, value))
    elif kind in LIMITS:
        key, words = LIMITS[kind]
        limit = context[key]
        noun = "an integer" if isinstance(limit, int) else "a number"
        add(path, f"expected {noun} {words} {limit if isinstance(limit, int) else f'{limit:g}'}, {got}")
    elif kind in SIZES:
        key, words = SIZES[kind]
        wanted, count = context[key], len(value)
        add(path, f"expected {words} {wanted} {'entry' if wanted == 1 else 'entries'}, got {count}")
    elif kind in TEXTS:
        key, words = TEXTS[kind]
        wanted = context[key]
        add(path, f"expected a string of {words} {wanted} {'letter' if wanted == 1 else 'letters'}, {got}")
    elif kind == "string_pattern_mismatch":
        add(path, f"'{value}' {NO_NAME}")
    elif kind == "expected":
        add(path, f"{error.message}, {got}")
    else:
        add(path, error.message[:1].lower() + error.message[1:])


def _form(path: Path, value: Plain) -> str:
    """Return a hint on the form of a piece that is often written wrongly; empty if there is none."""
    match path:
        case ("data", "columns", str()) if isinstance(value, str):
            return f"written {{column: {value}}}"
        case ("data", "columns", str(), "transforms", int(), "crop"):
            return "written [rows, columns], or {size: [rows, columns], from: [row, column]}"
        case ("data", "columns", str(), "transforms", int()) if value in ("angle", "direction"):
            return f"written {{{value}: degrees}}"
        case ("recognition",):
            return "allowed: auto, {parents: auto, network: …}"
        case ("nodes", str(), "recognition", "parents") if value == "auto":
            return "'recognition: auto' belongs at the top level, for all nodes"
    return ""


def _report_kind(error: _Error, findings: Findings) -> None:
    """Word an unknown kind, at the word itself: the value where it is a string, its key where it is a mapping."""
    what, *allowed = error.message.split("|")
    article = "an" if what[0] in "aeiou" else "a"
    path, value = error.path, error.value
    names = [key for key in value if key not in OPTIONS] if isinstance(value, dict) else []
    known = [key for key in names if key in allowed]
    if isinstance(value, str):
        findings.add(path, f"unknown {what} '{value}'", suggest(value, allowed))
    elif known:
        other = next(key for key in names if key != known[0])
        findings.add((*path, other), f"'{other}' beside '{known[0]}': give one {what} an entry", at="key")
    elif names:
        hint = suggest(names[0], allowed)
        findings.add((*path, names[0]), f"unknown {what} '{names[0]}'", hint, at="key")
    else:
        findings.add(path, f"expected {article} {what}, got {describe(value)}", suggest("", allowed))


def _report_literal(error: _Error, findings: Findings) -> None:
    """Word a value that is not one of the allowed words."""
    expected, value, path = str(error.context.get("expected", "")), error.value, error.path
    allowed = re.findall(r"'([^']*)'", expected)
    flags = [word.lower() for word in re.findall(r"\b(?:True|False)\b", re.sub(r"'[^']*'", "", expected))]
    if allowed and flags:  # a switch that knows a word, too
        allowed = [*flags, *allowed]
        got = f"'{value}'" if isinstance(value, str) else describe(value)
        findings.add(path, f"expected {', '.join(allowed[:-1])} or {allowed[-1]}, got {got}")
    elif not allowed:
        findings.add(path, f"expected {expected}, got {describe(value)}")
    elif isinstance(value, str):
        findings.add(path, f"unknown {_noun(path)} '{value}'", suggest(value, allowed))
    else:
        findings.add(path, f"expected a string, got {describe(value)}", suggest("", allowed))


def _noun(path: Path) -> str:
    """Say what a word at a path is: `optimizer.name` names an optimizer, and each of `metrics` is a metric."""
    keys = [part for part in path if isinstance(part, str)]
    if keys[-1] == "name":
        return keys[-2]
    return {"metrics": "metric", "parameters": "constraint"}.get(keys[-2], keys[-1]) if len(keys) > 1 else keys[-1]


def _located(error: Any, data: Plain) -> _Error:  # Any: pydantic's dict of an error
    """Turn pydantic's place into the file's: without tags, down the key that names a kind, and past short forms."""
    kind, context = error["type"], dict(error.get("ctx", {}))
    *parts, last = error["loc"] or ("",)
    path: Path = ()
    pieces: list[Path] = []
    value = data
    for part in (*parts, last):
        tag = _KEY_TAG.match(part) if isinstance(part, str) and not _holds(value, part) else None
        key = tag[1] if tag else part
        if _holds(value, key):
            path, value = (*path, key), value[key]
        elif kind == "missing" and part is last:
            path = (*path, key)
        elif isinstance(part, str) and (tag or _TAG.match(part)):
            pieces.append(path)
    if isinstance(value, dict) and error["input"] is not value:  # under the key that names a kind
        for key, inner in value.items():
            if inner is error["input"] and _TAG.match(str(last)):
                path, value = (*path, key), inner
                break
    if kind in ("excludes", "expected") and "key" in context:
        path, value = (*path, context["key"]), value[context["key"]]
    return _Error(kind, error["msg"], context, error["loc"], path, (pieces or [path])[0], value)


def _holds(value: Plain, key: int | str) -> bool:
    if isinstance(value, dict):
        return key in value
    return isinstance(value, list) and isinstance(key, int) and key < len(value)


def _value(data: Plain, path: Path) -> Plain:
    for part in path:
        if not _holds(data, part):
            return None
        data = data[part]
    return data


def _keys_for(error: _Error, plain: Plain, findings: Findings, model: type[BaseModel]) -> list[str]:
    """List the keys that may have been meant by an unknown one: those not there, or all if a flag sets it."""
    annotation: Any = model  # Any: types at run time
    for part in error.loc[:-1]:
        annotation = _step(annotation, part)
    piece = _strip(annotation)
    if not (isinstance(piece, type) and issubclass(piece, BaseModel)):
        return []
    present = () if error.path in findings.document.flags else _value(plain, error.path[:-1])
    return [f.alias or name for name, f in piece.model_fields.items() if (f.alias or name) not in present]


def _strip(annotation: Any) -> Any:  # Any: types at run time
    """Take Annotated and Optional away."""
    while True:
        parts = [member for member in get_args(annotation) if member is not type(None)]
        if hasattr(annotation, "__metadata__") or (_is_union(annotation) and len(parts) == 1):
            annotation = parts[0]
        else:
            return annotation


def _is_union(annotation: Any) -> bool:  # Any: types at run time
    return get_origin(annotation) in (Union, types.UnionType)


def _step(annotation: Any, part: int | str) -> Any:  # Any: types at run time
    """Go down one step of pydantic's place: a tag of a union, an index, a key or a field."""
    plain = _strip(annotation)
    if _is_union(plain):
        branches = get_args(plain)
        tagged = (b for b in branches if any(getattr(m, "tag", None) == part for m in getattr(b, "__metadata__", ())))
        return next(tagged, None)
    if isinstance(plain, type) and issubclass(plain, BaseModel):
        fields = plain.model_fields.items()
        return next((field.annotation for name, field in fields if part in (name, field.alias)), None)
    arguments = [argument for argument in get_args(plain) if argument is not Ellipsis]
    return arguments[-1] if arguments else None
