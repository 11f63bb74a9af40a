"""The keys that `--set` may set: those that the language has, and those below names that a spec has, with values."""

from __future__ import annotations

import textwrap
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from sgc.distributions.families import FAMILIES
from sgc.piece import Named, Piece, WhenUsed
from sgc.spec.document import Plain
from sgc.spec.pieces import DistributionChoice
from sgc.spec.spec import Spec

WIDEST = 80  # characters of what a key is
DEEPEST = 8  # keys below each other
FEW = 2  # pieces that may stand in one place, all of whose keys are listed though none is written


@dataclass(frozen=True)
class Setting:
    """A key that may be set. values: some that it may have, as they are written. about: what it is, in a line."""

    values: tuple[str, ...]
    about: str


@dataclass(frozen=True)
class Choices:
    """What a key may hold. words: as they are written. pieces: mappings. named: mappings by names of the spec's own."""

    words: tuple[str, ...]
    pieces: tuple[type[Piece], ...]
    named: tuple[type[Piece], ...]
    others: bool  # whether it may hold a value of another kind


def setting_keys(plain: Plain) -> dict[str, Setting]:
    """List the keys that may be set in a spec, in the order of the language. plain: the spec, as far as it is known."""
    return dict(_below(Spec, plain, ""))


def _below(kind: type[Piece], written: Plain, prefix: str) -> Iterator[tuple[str, Setting]]:
    """List the keys of a piece and below. written: what stands there."""
    if prefix.count(".") >= DEEPEST:
        return
    present: Mapping[str, Any] = written if isinstance(written, dict) else {}
    for key, field in kind.model_fields.items():
        name = field.alias or key
        path, value = prefix + name, present.get(name)
        choices = choices_of(field.annotation, field.metadata)
        if choices.words or choices.others:
            yield path, Setting(_values(choices, field, value), shorten(field.description or ""))
        plainly = choices.words or choices.others  # then a mapping is the rarer way, and offered where it is written
        for piece in () if plainly and not isinstance(value, dict) else _fitting(choices.pieces, value):
            yield from _below(piece, value, f"{path}.")
        for own, inner in value.items() if choices.named and isinstance(value, dict) else ():
            for piece in () if "." in str(own) else _fitting(choices.named, inner):  # a dot parts keys
                yield from _below(piece, inner, f"{path}.{own}.")


def _fitting(pieces: tuple[type[Piece], ...], written: Plain) -> tuple[type[Piece], ...]:
    """Choose the pieces that what is written may be; of many, none where nothing is written."""
    if not isinstance(written, dict):
        return pieces if len(pieces) <= FEW else ()
    return tuple(piece for piece in pieces if _may_be(piece, written))


def _may_be(piece: type[Piece], written: Mapping[str, Any]) -> bool:  # Any: plain data
    fields = {field.alias or key: field for key, field in piece.model_fields.items()}
    for key, value in written.items():
        words = choices_of(fields[key].annotation, fields[key].metadata).words if key in fields else ()
        if key not in fields or (key == "source" and words and value not in words):
            return False
    return True


def _values(choices: Choices, field: FieldInfo, written: Plain) -> tuple[str, ...]:
    """Give words that a key may hold, or what it holds, or its default, as far as these are a single word."""
    held = [written, *([] if field.is_required() else [field.default]), *(field.examples or ())]
    texts = [str(each).lower() if isinstance(each, bool) else str(each) for each in held if _is_word(each)]
    return tuple(dict.fromkeys([*choices.words, *texts]))


def shorten(description: str) -> str:
    """Bring a description to a line of a menu, without its marks of code."""
    return textwrap.shorten(description.replace("`", ""), WIDEST, placeholder=" …")


def _is_word(value: Plain) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and value != "" and " " not in value)


def choices_of(annotation: Any, metadata: Any = ()) -> Choices:  # Any: types of any fields, and what is said of them
    """Take the type of a field apart."""
    words: dict[str, None] = {}
    pieces: dict[type[Piece], None] = {}
    named: dict[type[Piece], None] = {}
    others = False

    def take(kind: Any, said: Any) -> None:  # Any: as above
        nonlocal others
        origin = get_origin(kind)
        used = next((each.kind for each in said if isinstance(each, WhenUsed)), kind)
        if isinstance(used, type) and issubclass(used, Piece):
            pieces[used] = None
            if issubclass(used, Named):
                words[used.name] = None
            if issubclass(used, DistributionChoice):
                words.update(dict.fromkeys(FAMILIES))
        elif origin is Annotated:
            inner, *more = get_args(kind)
            take(inner, more)
        elif origin in (Union, types.UnionType):
            for member in get_args(kind):
                take(member, ())
        elif origin is Literal:
            words.update((str(word).lower() if isinstance(word, bool) else str(word), None) for word in get_args(kind))
        elif origin is dict:
            below = choices_of(get_args(kind)[1])
            named.update(dict.fromkeys(below.pieces))
        elif kind is bool:
            words.update({"true": None, "false": None})
        elif kind is not type(None):
            others = True

    take(annotation, metadata)
    return Choices(tuple(words), tuple(pieces), tuple(named), others)
