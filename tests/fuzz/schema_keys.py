"""Every key of the language, by its JSON Schema: where each may stand, and specs that are given one.

A key that is new in the schema is drawn without a word here: the keys are numbered, and `with_key` takes a number.
"""

from __future__ import annotations

import copy
import functools
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jsonschema

from sgc.report.json_schema import json_schema

Raw = dict[str, Any]  # Any: a schema or a spec, as plain data
Step = tuple[str, str | int]  # into a schema: a key of `properties`, a name of any (`names`), an item, one `anyOf`
NAMED: Step = ("names", "")
ITEM: Step = ("items", "")
DEEP = 4  # mappings in each other, below which only what is required is drawn
OTHERS = ("x", "mine:Own")  # what strings may say that no name is; the code is nowhere


@dataclass(frozen=True)
class Key:
    """A key of the language: the way from the whole schema to the mapping that has it, and its name."""

    way: tuple[Step, ...]
    name: str


@functools.cache
def schema() -> Raw:
    return json_schema()


@functools.cache
def _validator() -> Any:  # Any: of a library without types
    return jsonschema.Draft202012Validator(schema())


def resolved(part: Raw) -> Raw:
    """Follow the references of a schema."""
    while "$ref" in part:
        part = schema()["$defs"][part["$ref"].rpartition("/")[2]]
    return part


def inner(part: Raw) -> dict[Step, Raw]:
    """List the schemas in a schema, by the step that leads there."""
    found: dict[Step, Raw] = {("properties", name): each for name, each in part.get("properties", {}).items()}
    found |= {("anyOf", i): each for i, each in enumerate(part.get("anyOf", ())) if {*each} != {"required"}}
    for step, word in ((NAMED, "additionalProperties"), (ITEM, "items")):
        if isinstance(part.get(word), dict) and part[word]:
            found[step] = part[word]
    return found


@functools.cache
def keys() -> tuple[Key, ...]:
    """List every key that may stand somewhere, each once, by one of its shortest ways."""
    found: list[Key] = []
    waiting: list[tuple[tuple[Step, ...], Raw]] = [((), schema())]
    seen = {id(schema())}
    for way, part in waiting:
        for step, raw in inner(part).items():
            if step[0] == "properties":
                found.append(Key(way, str(step[1])))
            each = resolved(raw)
            if id(each) not in seen:
                seen.add(id(each))
                waiting.append(((*way, step), each))
    return tuple(found)


def valid(value: Any, part: Raw) -> bool:  # Any: plain data
    return bool(_validator().evolve(schema=part).is_valid(value))


class Values:
    """Draws values that a schema takes. names: what strings say where the schema says nothing of them."""

    def __init__(self, rng: random.Random, names: Sequence[str]) -> None:
        self.rng, self.names = rng, list(names)

    def value(self, part: Raw, depth: int = 0) -> Any:  # Any: plain data
        """Draw a value of a schema, or take one of its examples."""
        rng, deep = self.rng, depth > DEEP
        if part.get("examples") and rng.random() < (1 if deep else 0.25):
            return copy.deepcopy(rng.choice(part["examples"]))
        part = resolved(part)
        if "const" in part:
            return part["const"]
        if "enum" in part:
            return rng.choice(part["enum"])
        if "anyOf" in part and "properties" not in part:
            flat = [each for each in part["anyOf"] if resolved(each).get("type") not in ("object", "array")]
            return self.value(rng.choice((deep and flat) or part["anyOf"]), depth)
        draws: Mapping[str, Callable[[Raw, int], Any]] = {
            "object": self.mapping,
            "array": self.items,
            "integer": lambda each, _: int(self.number(each, whole=True)),
            "number": lambda each, _: self.number(each),
            "boolean": lambda *_: rng.random() < 0.5,
            "string": lambda each, _: rng.choice(self.words(each))[: each.get("maxLength")],
        }
        return draws.get(part.get("type", ""), lambda *_: rng.choice([0, 1.5, "x"]))(part, depth)

    def words(self, part: Raw) -> list[str]:
        """List the names that a schema takes for a string, or for a key."""
        pattern = part.get("pattern", "")
        fitting = [[each for each in words if re.search(pattern, each)] for words in (self.names, OTHERS)]
        return fitting[0] or fitting[1]

    def mapping(self, part: Raw, depth: int) -> Raw:
        required, names = part.get("required", ()), part.get("additionalProperties")
        share = 0.0 if depth > DEEP else 0.2
        properties = part.get("properties", {})
        chosen = [name for name in properties if name in required or self.rng.random() < share]
        if part.get("maxProperties") == 1:  # one of a kind, by its name
            chosen = [self.rng.choice(list(properties))]
        made = {name: self.value(properties[name], depth + 1) for name in chosen}
        if isinstance(names, dict):
            keys = self.words(part.get("propertyNames", {}))
            chosen = self.rng.sample(keys, min(len(keys), self.rng.randint(1, 1 if depth > DEEP else 2)))
            made |= {name: self.value(names, depth + 1) for name in chosen}
        return made

    def items(self, part: Raw, depth: int) -> list[Any]:  # Any: plain data
        least = part.get("minItems", 0)
        count = min(self.rng.randint(least, least + 2), part.get("maxItems", least + 2))
        return [self.value(part.get("items") or {"type": "number"}, depth + 1) for _ in range(count)]

    def number(self, part: Raw, *, whole: bool = False) -> float:
        """Draw a number in its range: near an end, or plain."""
        least, above = part.get("minimum", -1), part.get("exclusiveMinimum")
        most, below = part.get("maximum", 10**6), part.get("exclusiveMaximum")
        fitting = [
            each
            for each in (0, 1, 2, 3, 8, least, least + 1, most, 0.5, 0.1, 1e-6, 1e6, part.get("default"))
            if isinstance(each, int | float)
            and least <= each <= most
            and (above is None or each > above)
            and (below is None or each < below)
            and (not whole or each == int(each))
        ]
        return float(self.rng.choice(fitting)) if not whole else int(self.rng.choice(fitting))


def names_of(spec: Raw) -> list[str]:
    """List the names that a spec gives, those in repeats by their place."""
    found: list[str] = []
    for section in ("nodes", "inputs", "features", "networks"):
        found += spec.get(section, {})
    for name, body in spec.get("repeat", {}).items():
        found += [name, *(f"{name}.{node}" for node in body.get("nodes", {}))]
    return [each for each in found if isinstance(each, str)] or ["x"]


def with_key(spec: Raw, number: int, rng: random.Random) -> Raw:
    """Give a spec the key of a number, where it may stand, with a value of the schema; what is in the way goes."""
    key = keys()[number % len(keys())]
    values = Values(rng, names_of(spec))

    def go(value: Any, part: Raw, way: Sequence[Step]) -> Any:  # Any: plain data
        part = resolved(part)
        if not way:
            return {**_kept(value, part, values), key.name: values.value(part["properties"][key.name])}
        (kind, word), rest = way[0], way[1:]
        if kind == "anyOf":
            return go(value, part["anyOf"][word], rest)
        each = inner(part)[way[0]]
        if kind == "items":
            items = value if isinstance(value, list) and value else values.items({**part, "minItems": 1}, 1)
            i = rng.randrange(len(items))
            return [*items[:i], go(items[i], each, rest), *items[i + 1 :]]
        made = _kept(value, part, values)
        if kind == "names":
            word = rng.choice(list(made) or values.words(part.get("propertyNames", {})))
        return {**made, word: go(made.get(word), each, rest)}

    made: Raw = go(copy.deepcopy(spec), schema(), key.way)
    return made


def _kept(value: Any, part: Raw, values: Values) -> Raw:  # Any: plain data
    """Keep of a mapping what a schema takes, and draw what it wants besides."""
    properties, others = part.get("properties", {}), part.get("additionalProperties", True)
    found = value if isinstance(value, dict) else {}
    one = part.get("maxProperties") == 1
    made = {
        name: each
        for name, each in found.items()
        if not one and (valid(each, properties[name]) if name in properties else others is not False)
    }
    made |= {name: values.value(properties[name], 1) for name in part.get("required", ()) if name not in made}
    return made
