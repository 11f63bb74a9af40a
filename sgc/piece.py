"""The base of every piece of a spec: a frozen pydantic model that refuses unknown keys."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    InstanceOf,
    SerializerFunctionWrapHandler,
    Tag,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue, SkipJsonSchema
from pydantic_core import CoreSchema
from pydantic_core.core_schema import definitions_schema, no_info_plain_validator_function

T = TypeVar("T")

INTERNAL = "<internal>"  # the tag of what no file has
EMPTY = object()  # put in place of an empty value, it has the wrong type for any field


class Piece(BaseModel):
    """A mapping of the spec language: strict types (no '3' for 3), no unknown keys, frozen."""

    model_config = ConfigDict(defer_build=True, extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:  # Any: of the class statement
        """Keep the types of class variables as read: pydantic reads those of its bases again with each class."""
        types = inspect.get_annotations(cls)
        cls.__annotations__ = {name: ClassVar if name in cls.__class_vars__ else type for name, type in types.items()}


class Named(Piece):
    """A kind that is written by its name alone, or as `{name: {options}}`."""

    name: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _unwrap(cls, value: Any) -> Any:  # Any: whatever YAML can say
        if value == cls.name:
            return {}
        return value[cls.name] if isinstance(value, dict) and list(value) == [cls.name] else value

    @model_serializer(mode="wrap")
    def _wrap(self, inner: SerializerFunctionWrapHandler) -> Any:  # Any: plain data
        options = inner(self)
        return {self.name: options} if options else self.name


def _not_empty(value: Any, inner: ValidatorFunctionWrapHandler) -> Any:  # Any: whatever YAML can say
    return inner(EMPTY if value is None else value)


def _as_tuple(value: Any) -> Any:  # Any: whatever YAML can say
    return tuple(value) if isinstance(value, list) else value


# A key that may be absent, but not written and left empty.
Maybe = Annotated[T | None, WrapValidator(_not_empty)]
# A list of the file, kept as a tuple.
Many = Annotated[tuple[T, ...], BeforeValidator(_as_tuple)]


class WhenUsed:
    """Has pydantic build the validator of a piece when a value is first taken for one: specs use few of all kinds."""

    def __init__(self, kind: type[Piece]) -> None:
        self.kind = kind

    def __get_pydantic_core_schema__(self, kind: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # Any: the piece
        return no_info_plain_validator_function(self.kind.model_validate)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        self.kind.model_rebuild()
        return handler(definitions_schema(self.kind.__pydantic_core_schema__, []))  # a reference to its definition


def branch_of(branch: Any, mark: str) -> Any:  # Any: pydantic builds its types at run time
    """Give a branch of a union its tag; a piece among them is built when it is used."""
    is_piece = isinstance(branch, type) and issubclass(branch, Piece)
    return Annotated[branch, WhenUsed(branch), Tag(mark)] if is_piece else Annotated[branch, Tag(mark)]


def by_form(other: str, *, text: str = "", sequence: str = "", mapping: str = "") -> Callable[[Any], str]:
    """Make a function that chooses a branch by the form of a value; `other` is chosen where its form has none."""

    def choose(value: Any) -> str:  # Any: whatever YAML can say
        form = text if isinstance(value, str) else sequence if isinstance(value, list | tuple) else ""
        return (mapping if isinstance(value, dict | Piece) else form) or other

    return choose


def tagged(
    branches: dict[str, Any], what: str, choose: Callable[[Any], str | None], *, key: bool = False, internal: Any = None
) -> Any:
    """Make a union whose branch `choose` names from the value as written; None is an unknown `what`.

    In the places that pydantic reports, a branch is `<name>`, or `{name}` where its fields are under a `key` of that
    name in the file; see `sgc.spec.grammar`. internal: a class whose instances the program may put there, and no file.
    Any: pydantic builds its types at run time, no checker can follow.
    """
    mark = "{%s}" if key else "<%s>"

    def pick(value: Any) -> str | None:  # Any: whatever YAML can say
        if internal is not None and isinstance(value, internal):
            return INTERNAL
        name = choose(value)
        return None if name is None else mark % name

    union: Any = None
    for tag, branch in branches.items():
        member = branch_of(branch, mark % tag)
        union = member if union is None else union | member
    if internal is not None:
        union = union | Annotated[SkipJsonSchema[InstanceOf[internal]], Tag(INTERNAL)]  # type: ignore[misc]
    return Annotated[
        union,
        Discriminator(
            pick,
            custom_error_type="unknown_kind",
            custom_error_message=f"{what}|{'|'.join(branches)}",  # `sgc.spec.grammar` takes it apart
        ),
    ]
