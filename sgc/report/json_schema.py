"""The JSON Schema of a spec, for editors: what a user may write, with the short forms that the loader unfolds."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from sgc.distributions.families import COUNTED, FAMILIES
from sgc.distributions.own_family import OwnFamily
from sgc.distributions.row_totals import TOTAL
from sgc.distributions.table import BY, Option
from sgc.distributions.zero_inflated import OF
from sgc.networks.layer import Layer
from sgc.piece import Named
from sgc.spec.pieces import DistributionChoice
from sgc.spec.spec import NAME, Spec

BODY = ("features", "nodes", "repeat", "use")  # sections of a spec and of a repeat
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:  # Any: JSON
    """Give the JSON Schema of a whole spec."""
    schema = Spec.model_json_schema(by_alias=True, schema_generator=_Written)
    schema["$defs"]["Node"]["properties"]["distribution"] = _distribution()
    for section in ("inputs", "networks", *BODY):
        schema["properties"][section]["propertyNames"] = {"pattern": NAME}
    for section in (*BODY, "carry"):
        schema["$defs"]["Repeat"]["properties"][section]["propertyNames"] = {"pattern": NAME}
    schema["required"].remove("nodes")
    schema["anyOf"] = [{"required": [section]} for section in ("nodes", "repeat", "use")]
    _count_items(schema)
    return {
        "$schema": DIALECT,
        "title": "sgc spec",
        "description": "A semi-supervised deep generative model: its variables, its two graphs, its objective.",
        **{key: value for key, value in schema.items() if key not in ("title", "description")},
    }


class _Written(GenerateJsonSchema):
    """Describes what is written in a file, where pydantic would describe what the models hold."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Add the short forms of a kind that is written by its name."""
        body = super().model_schema(schema)
        kind = schema["cls"]
        if not issubclass(kind, Named | Layer):
            return body
        about: JsonSchemaValue = {key: body.pop(key) for key in ("title", "description") if key in body}
        long: list[JsonSchemaValue] = [body]
        if issubclass(kind, Layer) and body.get("properties"):
            long.append(next(iter(body["properties"].values())))  # {Linear: 64}
        under = long[0] if len(long) == 1 else {"anyOf": long}
        forms = [
            {"type": "object", "properties": {kind.name: under}, "required": [kind.name], "additionalProperties": False}
        ]
        if not body.get("required"):
            forms.insert(0, {"const": kind.name, "type": "string"})
        return {**about, "anyOf": forms} if len(forms) > 1 else {**about, **forms[0]}

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Leave null out: a key may be absent, but not written and left empty."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Leave out a default of null, which no spec can have."""
        described = super().default_schema(schema)
        if "default" in described and described["default"] is None:
            del described["default"]
        return described

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        """Let branches overlap: 0 is a count and a share, and the loader knows which."""
        described = super().tagged_union_schema(schema)
        branches = described.pop("oneOf", None)
        described.pop("discriminator", None)
        return described if branches is None else {**described, "anyOf": branches}

    def field_title_should_be_set(self, schema: Any) -> bool:  # Any: pydantic's own union
        """Give no titles that only repeat a key."""
        return False


def _count_items(schema: Any) -> None:  # Any: JSON
    """Bound the entries of lists, where pydantic, behind a validator, bounds letters (minLength for minItems)."""
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        _count_items(part)
    if isinstance(schema, dict) and schema.get("type") == "array":
        for letters, items in (("minLength", "minItems"), ("maxLength", "maxItems")):
            if letters in schema:
                schema[items] = schema.pop(letters)


def _distribution() -> dict[str, Any]:  # Any: JSON
    """Describe a family: by its name, or with its options."""
    with_options: dict[str, Any] = {}  # Any: JSON
    for name, family in FAMILIES.items():
        properties = {option: _option(option, facts) for option, facts in family.options.items()}
        if family.forms:
            properties[BY] = {"enum": [family.by, *family.forms]}
        if family.inflates:
            properties[OF] = {"anyOf": _written({key: with_options[key] for key in COUNTED})}
        needed = [option for option, facts in family.options.items() if facts.default is None]
        with_options[name] = {
            "type": "object",
            "properties": properties,
            "required": [*needed, *([OF] if family.inflates else [])],
            "additionalProperties": False,
        }
    own = {"$ref": f"#/$defs/{OwnFamily.__name__}"}
    return {"description": DistributionChoice.__doc__, "anyOf": [*_written(with_options), own]}


def _written(with_options: dict[str, Any]) -> list[Any]:  # Any: JSON
    """Describe the ways to write one of some families, by the schema of the options of each."""
    names = sorted(with_options)
    plain = [name for name in names if not with_options[name]["required"]]
    named = {
        "type": "object",
        "properties": {"name": {"enum": names}, "options": {"type": "object"}},
        "required": ["name"],
        "additionalProperties": False,
    }
    single = {
        "type": "object",
        "properties": with_options,
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
    }
    return [{"enum": plain}, single, named]


def _option(name: str, option: Option) -> dict[str, Any]:  # Any: JSON
    described: dict[str, Any] = {"type": "integer" if option.type == "int" else "number"}
    described["exclusiveMinimum" if option.open_low else "minimum"] = option.low
    if option.high != float("inf"):
        described["maximum"] = option.high
    if option.default is not None:
        described["default"] = option.default
    if name == TOTAL:  # of each row: an input's name, or the row's own sum
        return {"anyOf": [described, {"type": "string", "pattern": NAME}]}
    return described
