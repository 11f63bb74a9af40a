"""The spec as written, in types: pydantic models that mirror the YAML, key by key, with their defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema, field_validator, model_validator
from pydantic_core import PydanticCustomError

from sgc.kinds.base import Many, Maybe, Piece, tagged
from sgc.kinds.estimators import EstimatorChoice
from sgc.kinds.networks import NetworkChoice, SharedNetwork
from sgc.kinds.objectives import Objective
from sgc.kinds.schedules import number
from sgc.kinds.sources import DataSection

NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"
Size = Annotated[int, Field(ge=1, le=10_000_000)]


def _scalar(value: Any) -> str:  # Any: whatever YAML can say
    return "list" if isinstance(value, list | tuple) else "mapping" if isinstance(value, dict) else "scalar"


CategoryName = Annotated[str | int | float | bool, Field(union_mode="left_to_right")]


class LearnedConstant(Piece):
    """A parameter that is the same for every row and learned from `start`."""

    start: Annotated[float, Field()]
    learn: bool = True


# A parameter of a distribution fixed by hand: a number, one for each element, a learned constant, or a feature's name.
FixedParameter = tagged(
    {"number": float, "numbers": Many[Any], "learned": LearnedConstant, "name": str},
    "parameter",
    lambda value: (
        "name"
        if isinstance(value, str)
        else "numbers"
        if isinstance(value, list | tuple)
        else "learned"
        if isinstance(value, dict | LearnedConstant)
        else "number"
    ),
)


class Generative(Piece):
    """The conditional p(node | parents)."""

    parents: Many[str] = ()
    network: Maybe[NetworkChoice] = None
    parameters: dict[str, FixedParameter] = {}  # noqa: RUF012 - a frozen pydantic default
    learn: bool = False  # frees a standard prior


class Recognition(Piece):
    """The conditional q(node | parents), and the estimator of its expectation."""

    parents: Many[str] = ()
    network: Maybe[NetworkChoice] = None
    parameters: dict[str, FixedParameter] = {}  # noqa: RUF012 - a frozen pydantic default
    estimator: Maybe[EstimatorChoice] = None


class DistributionChoice(Piece):
    """A family by its name in torch.distributions, with its options where it has any."""

    name: str
    options: dict[str, Any] = {}  # noqa: RUF012 - Any: options are checked by the family

    @model_validator(mode="before")
    @classmethod
    def _unwrap(cls, value: Any) -> Any:  # Any: whatever YAML can say
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict) and len(value) == 1 and "name" not in value:
            (name, options), *_ = value.items()
            return {"name": name, "options": options if options is not None else {}}
        if isinstance(value, dict) and set(value) <= {"name", "options"} and "name" in value:
            return value
        raise PydanticCustomError("expected", "expected the name of a family, or {Family: {option: value}}")


Distribution = Annotated[
    DistributionChoice,
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "object", "minProperties": 1, "maxProperties": 1}]}, mode="validation"
    ),
]


class Node(Piece):
    """A random variable: its distribution, its event, when it is observed, and its two conditionals."""

    distribution: Distribution
    shape: Many[Size] = ()
    categories: Maybe[Annotated[int, Field(ge=2, le=1_000_000)]] = None
    values: Maybe[Annotated[Many[CategoryName], Field(min_length=2)]] = None
    supervision: Literal["full", "partial", "none"]
    generative: Maybe[Generative] = None
    recognition: Maybe[Recognition] = None

    @field_validator("values")
    @classmethod
    def _distinct(cls, values: tuple[Any, ...] | None) -> tuple[Any, ...] | None:  # Any: names of categories
        for i, value in enumerate(values or ()):
            if any(value == other and type(value) is type(other) for other in (values or ())[:i]):
                raise PydanticCustomError("duplicate", f"'{value}' stands twice".replace("{", "").replace("}", ""))
        return values

    @property
    def category_count(self) -> int | None:
        """How many categories the node has; None where it has none."""
        return self.categories if self.values is None else len(self.values)


class Input(Piece):
    """A value that networks read and nobody models: a category (`values`, `categories`), or numbers (`shape`)."""

    values: Maybe[Annotated[Many[CategoryName], Field(min_length=2)]] = None
    categories: Maybe[Annotated[int, Field(ge=2)]] = None
    shape: Maybe[Many[Size]] = None


class Feature(Piece):
    """A deterministic node of both graphs: what a network makes of its parents."""

    parents: Annotated[Many[str], Field(min_length=1)]
    network: NetworkChoice


class BatchSizes(Piece):
    """Rows a step of each stream."""

    unlabelled: Size
    labelled: Size


class Optimizer(Piece):
    """An optimiser of torch.optim and its learning rate."""

    name: Literal["Adam", "AdamW", "NAdam", "RAdam", "Adamax", "SGD", "RMSprop"] = "Adam"
    lr: number(gt=0) = 0.001  # type: ignore[valid-type]
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    betas: Maybe[Many[Annotated[float, Field(ge=0, lt=1)]]] = None
    momentum: Maybe[Annotated[float, Field(ge=0)]] = None
    eps: Maybe[Annotated[float, Field(gt=0)]] = None

    @field_validator("betas")
    @classmethod
    def _pair(cls, betas: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if betas is not None and len(betas) != 2:
            raise PydanticCustomError("expected", f"expected two numbers, got {len(betas)}")
        return betas


class Stop(Piece):
    """Stop early: after so many epochs without a better validation bound."""

    patience: Size


def _batch_tag(value: Any) -> str:  # Any: whatever YAML can say
    return "sizes" if isinstance(value, dict | BatchSizes) else "size"


class Train(Piece):
    """How the model is trained."""

    epochs: Size = 50
    batch_size: tagged({"size": Size, "sizes": BatchSizes}, "batch size", _batch_tag) = 100  # type: ignore[valid-type]
    optimizer: Optimizer = Optimizer()
    clip_norm: Maybe[Annotated[float, Field(gt=0)]] = None
    labelled_also_unlabelled: bool = False
    stop: Maybe[Stop] = None
    device: str = "auto"
    precision: Literal["64-true", "32-true", "bf16-mixed", "16-mixed"] = "32-true"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0


class Evaluate(Piece):
    """How the model is evaluated."""

    samples: Size = 100
    metrics: dict[str, Literal["error", "rmse", "mae", "angle"]] = {}  # noqa: RUF012 - a frozen pydantic default


class Spec(Piece):
    """A whole spec, valid in itself and between its parts once `sgc.load` has returned it."""

    version: Literal[1]
    name: Annotated[str, Field(pattern=NAME)] = "model"
    description: str = ""
    data: Maybe[DataSection] = None
    inputs: dict[str, Input] = {}  # noqa: RUF012 - a frozen pydantic default
    networks: dict[str, SharedNetwork] = {}  # noqa: RUF012 - a frozen pydantic default
    features: dict[str, Feature] = {}  # noqa: RUF012 - a frozen pydantic default
    nodes: dict[str, Node]
    objective: Objective = Objective()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()

    def plain(self) -> dict[str, Any]:  # Any: plain data
        """Return the spec as plain data with every default written out, fit to be loaded again."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
