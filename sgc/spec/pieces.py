"""What a model is written of: nodes with their two conditionals, inputs, features, repeats and parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from sgc.distributions.category_names import Categories
from sgc.distributions.own_family import OwnFamily
from sgc.networks.entries import NetworkChoice
from sgc.objectives.estimators import EstimatorChoice
from sgc.piece import Many, Maybe, Piece, by_form, tagged
from sgc.schedules import Schedule, is_schedule, scheduled

Size = Annotated[int, Field(ge=1, le=10_000_000)]


if TYPE_CHECKING:
    Start = float | tuple[Any, ...]  # Any: numbers nested as deep as the event
else:
    Start = tagged({"number": float, "numbers": Many[Any]}, "number", by_form("number", sequence="numbers"))


class LearnedConstant(Piece):
    """A parameter that is the same for every row and learned from `start`: a number, or one for each element."""

    start: Start
    learn: bool = True


def _parameter_tag(value: Any) -> str:  # Any: whatever YAML can say
    if is_schedule(value) or (isinstance(value, dict) and "start" not in value and {"to", "epochs"} & set(value)):
        return "schedule"
    return by_form("number", text="name", sequence="numbers", mapping="learned")(value)


def _not_learned(value: Any) -> Any:  # Any: whatever YAML can say
    for key in ("start", "learn") if isinstance(value, dict) and "from" in value else ():
        if key in value:
            other, later = sorted((key, "from"), key=list(value).index)
            message = f"'{later}' beside '{other}': what a schedule moves is not learned, give one of them"
            raise PydanticCustomError("excludes", "{message}", {"message": message, "key": later})
    return value


# A parameter of a distribution fixed by hand: a number or a schedule, one for each element, a learned constant, or a
# feature's name.
if TYPE_CHECKING:
    FixedParameter = float | Schedule | tuple[Any, ...] | LearnedConstant | str
else:
    branches = {
        "number": float,
        "schedule": Annotated[scheduled(), BeforeValidator(_not_learned)],
        "numbers": Many[Any],
        "learned": LearnedConstant,
        "name": str,
    }
    FixedParameter = tagged(branches, "parameter", _parameter_tag)


class Conditional(Piece):
    """The distribution of a node given its parents; abstract."""

    parents: Many[str] = ()
    network: Maybe[NetworkChoice] = None
    parameters: dict[str, FixedParameter] = {}  # noqa: RUF012 - a frozen pydantic default


class Generative(Conditional):
    """The conditional p(node | parents)."""

    learn: bool = False  # frees a standard prior


class Recognition(Conditional):
    """The conditional q(node | parents), and the estimator of its expectation."""

    estimator: Maybe[EstimatorChoice] = None


class DerivedRecognition(Piece):
    """Recognition parents derived from the generative graph, and the network of nodes that give none of their own."""

    parents: Literal["auto"]
    network: Maybe[NetworkChoice] = None


# The value of the top-level `recognition:`.
if TYPE_CHECKING:
    RecognitionRule = Literal["auto"] | DerivedRecognition
else:
    RecognitionRule = tagged(
        {"word": Literal["auto"], "rule": DerivedRecognition}, "recognition", by_form("rule", text="word")
    )


class DistributionChoice(Piece):
    """A family by its name in torch.distributions, with its options where it has any."""

    name: str
    options: Any = {}  # noqa: RUF012 - Any: checked against the family

    @model_validator(mode="before")
    @classmethod
    def _unwrap(cls, value: Any) -> Any:  # Any: whatever YAML can say
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict) and len(value) == 1 and "name" not in value:
            (name, options), *_ = value.items()
            return {"name": name, "options": options}
        if isinstance(value, dict) and set(value) <= {"name", "options"} and "name" in value:
            return value
        raise PydanticCustomError("expected", "expected the name of a family, or {Family: {option: value}}")


def _distribution_tag(value: Any) -> str:  # Any: whatever YAML can say
    own = isinstance(value, OwnFamily) or (isinstance(value, dict) and "python" in value)
    return "own" if own else "family"


if TYPE_CHECKING:
    Distribution = DistributionChoice | OwnFamily
else:
    Distribution = tagged({"family": DistributionChoice, "own": OwnFamily}, "distribution", _distribution_tag)


class Node(Piece):
    """A random variable: its distribution, its event, when it is observed, and its two conditionals."""

    distribution: Distribution
    shape: Many[Size] = ()
    categories: Maybe[Annotated[int, Field(ge=2, le=1_000_000)]] = None
    values: Maybe[Categories] = None
    supervision: Literal["full", "partial", "none"]
    missing: Maybe[Literal["drop"]] = None  # of a partial leaf of p: absent elements have no term, and q none for them
    generative: Maybe[Generative] = None
    recognition: Maybe[Recognition] = None

    @property
    def category_count(self) -> int | None:
        """How many categories the node has; None where it has none."""
        return self.categories if self.values is None else len(self.values)


class Input(Piece):
    """A value that networks read and no graph models: a category (`values`, `categories`), or numbers (`shape`)."""

    values: Maybe[Categories] = None
    categories: Maybe[Annotated[int, Field(ge=2)]] = None
    shape: Maybe[Many[Size]] = None


class Feature(Piece):
    """A deterministic node of both graphs: what a network makes of its parents."""

    parents: Annotated[Many[str], Field(min_length=1)]
    network: NetworkChoice


class Carry(Feature):
    """A state that a repeat carries from step to step, in both graphs."""

    direction: Literal["forward", "backward"] = "forward"  # backward: from the last step to the first


_source = by_form("path", mapping="mapping")


class Part(Piece):
    """Another spec's nodes and networks as a part of this one, with the weights of a run or without."""

    spec: Maybe[tagged({"path": str, "mapping": dict[str, Any]}, "spec", _source)] = None  # type: ignore[valid-type]
    weights: Maybe[str] = None  # a run folder
    freeze: bool = False
    bind: dict[str, str] = {}  # noqa: RUF012 - a frozen pydantic default; the part's name to the name here


class Repeat(Piece):
    """Nodes that are repeated as often as `count` says, with the same networks in every step."""

    count: tagged({"number": Size, "node": str}, "count", by_form("number", text="node"))  # type: ignore[valid-type]
    carry: dict[str, Carry] = {}  # noqa: RUF012 - a frozen pydantic default
    features: dict[str, Feature] = {}  # noqa: RUF012 - a frozen pydantic default
    nodes: dict[str, Node] = {}  # noqa: RUF012 - a frozen pydantic default
    use: dict[str, Part] = {}  # noqa: RUF012 - a frozen pydantic default
    repeat: dict[str, Repeat] = {}  # noqa: RUF012 - a frozen pydantic default
