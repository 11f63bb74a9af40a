"""YAML -> Spec, or every fault of the file at once: what pydantic finds, located in the text, then what `check` finds.

A piece that is wrong is reported, taken out, and the rest is validated again, so that one fault hides no other.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from sgc.check import check
from sgc.document import Document, Plain, describe, from_mapping, override, read
from sgc.errors import Fault, FaultList, Path, SpecError, suggest
from sgc.spec import Spec

TYPES = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a string",
    "bool_type": "a boolean",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
LIMITS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_TAG = re.compile(r"^<.*>$")
_KEY_TAG = re.compile(r"^\{(.*)\}$")


def load(
    path: str | FilePath | Mapping[str, Any], overrides: Sequence[str] = (), *, trust: bool = False
) -> Spec:  # Any: plain data
    """Read and validate a spec.

    path: a YAML file, or the spec as plain data. overrides: as `--set`, e.g. "train.epochs=10". trust: allow the
    spec to name code of its own.

    Raises: SpecError, which holds the list of faults.
    """
    if isinstance(path, Mapping):
        document = from_mapping(copy.deepcopy(dict(path)))
    else:
        document = read(path)
    override(document, list(overrides))
    return validate(document)


def validate(document: Document) -> Spec:
    """Validate what was read. Raises: SpecError, with all faults in the order of the file."""
    known = FaultList(list(document.faults))
    for fault in document.faults:
        known.taint(fault.path)
    if not isinstance(document.data, dict):
        message = f"expected a mapping with 'version' and 'nodes', got {describe(document.data)}"
        raise SpecError([document.fault((), message)])
    written = document.data
    pruned = copy.deepcopy(written)
    spec: Spec | None = None
    for _ in range(200):  # each round takes out at least one piece
        try:
            spec = Spec.model_validate(pruned)
            break
        except ValidationError as problem:
            removed = _prune(problem, pruned, document, known)
            if not removed:
                break
    faults = known.faults
    if spec is not None:
        faults = [*faults, *check(spec, document, known)]
    if faults:
        raise SpecError(document.sort(faults))
    assert spec is not None
    return spec


def _prune(problem: ValidationError, pruned: Plain, document: Document, known: FaultList) -> bool:
    """Report each error and take the piece out that it stands in; tell whether anything could be taken out."""
    doomed: list[Path] = []
    for error in problem.errors(include_url=False):
        path, models = _locate(error["loc"], pruned)
        fault, drop = _fault(error, path, models, document, pruned)
        if error["type"] == "missing" and _written(document, path):
            doomed.append(drop)  # it stands there, is wrong, and was taken out before: told already
            continue
        if not any(fault.path[: len(t)] == t and len(t) > 0 and t != fault.path for t in known.tainted):
            known.faults.append(fault)
        known.taint(fault.path)
        doomed.append(drop)
    removed = False
    for path in sorted(set(doomed), key=len, reverse=True):
        removed |= _remove(pruned, path)
    return removed


def _locate(loc: tuple[int | str, ...], data: Plain) -> tuple[Path, Plain]:
    """Turn pydantic's place into the file's: without tags, and down the key that names a kind."""
    path: list[str | int] = []
    here = data
    for part in loc:
        key: str | int = part
        if isinstance(part, str) and _TAG.match(part):
            continue
        inner = _KEY_TAG.match(part) if isinstance(part, str) else None
        if inner:
            if not (isinstance(here, dict) and inner[1] in here):
                continue
            key = inner[1]
        path.append(key)
        try:
            here = here[key]
        except (TypeError, KeyError, IndexError):
            here = None
    return tuple(path), here


def _fault(
    error: Any, path: Path, value: Plain, document: Document, pruned: Plain
) -> tuple[Fault, Path]:  # Any: pydantic's dict of an error
    """Word one error; return it with the piece of the data that has to go."""
    kind, context = error["type"], error.get("ctx", {})
    drop = path
    while drop and isinstance(drop[-1], int):
        drop = drop[:-1]
    if kind == "missing":
        parent = path[:-1]
        return document.fault(parent, f"missing key '{path[-1]}'", at="key"), parent
    if kind == "extra_forbidden":
        hint = suggest(str(path[-1]), _keys_at(error["loc"][:-1], _value(pruned, path[:-1])))
        return document.fault(path, f"unknown key '{path[-1]}'", hint, at="key"), path
    if kind == "unknown_kind":
        what, *allowed = error["msg"].split("|")
        return _unknown(what, allowed, path, value, document), drop
    if kind in ("excludes", "excluded_key"):
        key = context.get("key")
        place = (*path, key) if key is not None and path[-1:] != (key,) else path
        return document.fault(place, error["msg"], at="key"), place
    if kind == "unknown_name":
        section = _value(pruned, path[:-1])
        for key in [k for k in section if k not in ("source", "columns", "split", "labels")]:
            del section[key]  # fields of a source that nobody knows
        return document.fault(path, error["msg"], suggest(str(value), context.get("allowed", []))), drop
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", context.get("expected", "")) or [context.get("expected", "")]
        if isinstance(value, str):
            word = path[-1] if path and isinstance(path[-1], str) else "value"
            return document.fault(path, f"unknown {word} '{value}'", suggest(value, allowed)), drop
        wanted = " or ".join(f"'{each}'" if not each.isdigit() else each for each in allowed)
        return document.fault(path, f"expected {wanted}, got {describe(value)}"), drop
    if kind == "empty" or (value is None and kind in TYPES):
        wanted = TYPES.get(kind, "a value")
        return document.fault(path, f"expected {wanted}, got empty"), drop
    if kind in TYPES:
        return document.fault(path, f"expected {TYPES[kind]}, got {describe(value)}"), drop
    if kind in LIMITS:
        key, words = LIMITS[kind]
        noun = "an integer" if isinstance(context[key], int) and not isinstance(value, float) else "a number"
        return document.fault(path, f"expected {noun} {words} {context[key]:g}, got {describe(value)}"), drop
    if kind == "too_short":
        fewest = context["min_length"]
        return document.fault(path, f"expected at least {fewest} entries, got {context['actual_length']}"), drop
    if kind == "string_pattern_mismatch":
        message = f"'{value}' is not a name: a letter, then letters, digits, '_' or '-'"
        return document.fault(path, message), drop
    if kind == "value_error":
        return document.fault(path, str(context.get("error", error["msg"]))), drop
    message = error["msg"]
    return document.fault(path, message[:1].lower() + message[1:]), drop


def _unknown(what: str, allowed: list[str], path: Path, value: Plain, document: Document) -> Fault:
    """Word an unknown kind, at the word itself: the value where it is a string, its key where it is a mapping."""
    words = [] if what in ("number", "parameter", "batch size") else allowed
    if isinstance(value, str):
        return document.fault(path, f"unknown {what} '{value}'", suggest(value, words))
    if isinstance(value, dict) and value:
        options = {"activation", "norm", "dropout"}
        key = next((k for k in value if k not in options), next(iter(value)))
        return document.fault((*path, key), f"unknown {what} '{key}'", suggest(str(key), words), at="key")
    return document.fault(path, f"expected the name of a {what}, got {describe(value)}", suggest("", words))


def _value(data: Plain, path: Path) -> Plain:
    here = data
    for part in path:
        try:
            here = here[part]
        except (TypeError, KeyError, IndexError):
            return None
    return here


def _remove(data: Plain, path: Path) -> bool:
    """Take a piece out of plain data; tell whether it was there."""
    if not path:
        return False
    parent = _value(data, path[:-1])
    last = path[-1]
    if isinstance(parent, dict) and last in parent:
        del parent[last]
        return True
    return bool(parent is None) and _remove(data, path[:-1])


def _written(document: Document, path: Path) -> bool:
    parent = _value(document.data, path[:-1])
    return isinstance(parent, dict) and path[-1] in parent


def _keys_at(loc: tuple[int | str, ...], value: Plain) -> list[str]:
    """Name the keys that may stand in the mapping at pydantic's place `loc`, but for those that already do."""
    annotation: Any = Spec  # Any: types at run time
    for part in loc:
        annotation = _step(annotation, part)
    model = _strip(annotation)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return []
    there = value if isinstance(value, dict) else {}
    return [f.alias or name for name, f in model.model_fields.items() if (f.alias or name) not in there]


def _strip(annotation: Any) -> Any:  # Any: types at run time
    """Take Annotated and Optional away."""
    while True:
        if hasattr(annotation, "__metadata__"):
            annotation = get_args(annotation)[0]
            continue
        parts = [each for each in get_args(annotation) if each is not type(None)]
        if _is_union(annotation) and len(parts) == 1:
            annotation = parts[0]
            continue
        return annotation


def _is_union(annotation: Any) -> bool:  # Any: types at run time
    import types
    from typing import Union

    return get_origin(annotation) in (Union, types.UnionType)


def _step(annotation: Any, part: int | str) -> Any:  # Any: types at run time
    """Go down one step of pydantic's place: a tag of a union, an index, a key or a field."""
    plain = _strip(annotation)
    if isinstance(part, str) and (_TAG.match(part) or _KEY_TAG.match(part)) and _is_union(plain):
        for branch in get_args(plain):
            if any(getattr(meta, "tag", None) == part for meta in getattr(branch, "__metadata__", ())):
                return branch
        return None
    if isinstance(plain, type) and issubclass(plain, BaseModel):
        for name, found in plain.model_fields.items():
            if part in (name, found.alias):
                if found.metadata:  # pydantic moves what stood in Annotated here
                    discriminators = [m for m in found.metadata if type(m).__name__ == "Discriminator"]
                    return found.annotation if not discriminators else found.annotation
                return found.annotation
        return None
    arguments = get_args(plain)
    return arguments[-1] if arguments and arguments[-1] is not Ellipsis else (arguments[0] if arguments else None)
