"""No key of the language is forgotten by `make fuzz`: it draws each of the JSON Schema, and the loader knows each."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest
from key_examples import base
from make_pages import PIECES
from pydantic import ValidationError
from schema_keys import keys, schema, valid, with_key

from sgc.errors import SpecError
from sgc.piece import Piece
from sgc.spec.document import from_mapping
from sgc.spec.loader import validate


def mappings(value: Any) -> Iterator[dict[Any, Any]]:  # Any: plain data
    """List every mapping in plain data."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from mappings(each)


def test_every_key_of_the_pages_is_among_them() -> None:
    written = {field.alias or name for kind in PIECES.values() for name, field in kind.model_fields.items()}
    assert written - {each.name for each in keys()} == set()


def kinds(base: type[Piece]) -> Iterator[type[Piece]]:
    """List what derives from a piece, once or more."""
    for kind in base.__subclasses__():
        yield from (kind, *kinds(kind))


def test_a_key_has_no_second_name() -> None:
    """A field that Python cannot name as its key, `from`, has a name of its own, which no file may write."""
    renamed = [(kind, name) for kind in kinds(Piece) for name, field in kind.model_fields.items() if field.alias]
    assert {kind.__name__ for kind, _ in renamed} >= {"Average", "Schedule", "Window"}
    for kind, name in renamed:
        if kind.model_config["extra"] == "forbid":
            with pytest.raises(ValidationError) as caught:
                kind.model_validate({name: 1})
            faults = {(fault["type"], fault["loc"]) for fault in caught.value.errors()}
            assert ("extra_forbidden", (name,)) in faults, kind


@pytest.mark.parametrize("part", range(4))
def test_every_key_is_drawn_as_the_schema_takes_it_and_the_loader_knows_it(part: int) -> None:
    for number in range(part, len(keys()), 4):
        name = keys()[number].name
        spec = with_key(base(), number, random.Random(number))
        assert any(name in each for each in mappings(spec)), (number, name)
        assert number % 3 or valid(spec, schema()), (number, name)
        try:
            validate(from_mapping(spec))
        except SpecError as problem:
            unknown = [str(fault) for fault in problem.faults if f"unknown key '{name}'" in fault.message]
            assert unknown == [], number
