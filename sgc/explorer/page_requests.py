"""What the page asks: requests as strict models, checked before anything is computed."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sgc.errors import UsageError

Text = Annotated[str, Field(max_length=200)]
Place = Annotated[int, Field(ge=0, lt=2**53)]
Numbers = Annotated[list[float], Field(max_length=4096)]

R = TypeVar("R", bound="Request")


class Request(BaseModel):
    """What every request has: the window that asks, and the number of the request in it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    tab: Text = ""
    number: Place = 0


class RowPlace(BaseModel):
    """A row: of a split, of rows that were brought, or none, to begin with p."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    rows: Text = ""
    place: Place = 0


class NodeState(BaseModel):
    """What a node is held at or turned to, or what q is told or not told of it; no value: as it is inferred.

    place: the element that was moved, where the others make room for it.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    state: Literal["held", "turned", "evidence", "hidden"]
    value: Numbers | None = None
    place: Place | None = None


class Asked(Request):
    """A state of the page: where it begins, what of it is changed, and how values are taken from distributions.

    taken: of free nodes the centers of their distributions, or draws; `all`: draws of what is shown, too.
    """

    row: RowPlace = RowPlace()
    nodes: Annotated[dict[Text, NodeState], Field(max_length=4096)] = {}
    inferred: Literal["q", "posterior"] = "q"
    taken: Literal["centers", "draws", "all"] = "centers"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    known: Text = ""  # the start that the page has already, see `Exploration.show`


class Traverse(Asked):
    """One element of a node, to be turned through its range."""

    node: Text
    element: Place = 0


class Walk(Request):
    """Another row: by its number, a step, at random, or the next with a label."""

    row: RowPlace
    way: Literal["number", "step", "random", "label"]
    value: Annotated[int, Field(gt=-(2**53), lt=2**53)] = 0
    node: Text = ""


class Brought(Request):
    """Rows that the user brings: the name of a file, and what is in it, in base64."""

    name: Text
    content: str
    inverted: bool = False


def read_request(kind: type[R], text: bytes) -> R:
    """Read a request. Raises: UsageError, which names the first key that is wrong."""
    try:
        return kind.model_validate_json(text)
    except ValidationError as problem:
        first: Any = problem.errors(include_url=False, include_input=False)[0]  # Any: pydantic's own
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"the page asked for something else: {f'{where}: ' if where else ''}{first['msg']}") from None
