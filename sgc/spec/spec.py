"""The spec in types: pydantic models that mirror the YAML, key by key, with their defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from sgc.data.sources.source_section import DataSection
from sgc.distributions.category_names import Categories
from sgc.distributions.own_family import OwnFamily
from sgc.metrics.metrics import METRICS
from sgc.metrics.own_metric import OwnMetric
from sgc.networks.entries import NetworkChoice, SharedNetwork
from sgc.objectives.bound import Bound
from sgc.objectives.bounds import BOUNDS
from sgc.objectives.estimators import EstimatorChoice
from sgc.objectives.objective import Objective
from sgc.objectives.own_objectives import OwnBound
from sgc.own_code import OwnCode, OwnPiece
from sgc.piece import EMPTY, Many, Maybe, Piece, by_form, tagged
from sgc.schedules import Schedule, is_schedule, number, scheduled
from sgc.spec.scopes import NAME as NAME
from sgc.spec.unrolled import Unrolled

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


class BatchSizes(Piece):
    """Rows a step of each stream."""

    unlabelled: Size
    labelled: Size


class Optimizer(Piece):
    """An optimiser of torch.optim and its learning rate."""

    name: Literal["Adam", "AdamW", "NAdam", "RAdam", "Adamax", "SGD", "RMSprop"] = "Adam"
    lr: number(gt=0, to_zero=True) = 0.001  # type: ignore[valid-type]
    weight_decay: number(ge=0) = 0.0  # type: ignore[valid-type]
    betas: Maybe[Annotated[Many[number(ge=0, lt=1)], Field(min_length=2, max_length=2)]] = None  # type: ignore[valid-type]
    momentum: Maybe[number(ge=0)] = None  # type: ignore[valid-type]
    eps: Maybe[number(gt=0)] = None  # type: ignore[valid-type]


class Stop(Piece):
    """Stop early: after so many epochs without a better validation bound."""

    patience: Size


# What rows count by the category they are labelled with: for all nodes that have one a row, or by node.
if TYPE_CHECKING:
    CategoryWeights = Literal["balanced"] | Mapping[str, Literal["balanced"] | tuple[float, ...]]
else:
    _numbers = {"word": Literal["balanced"], "numbers": Many[Annotated[float, Field(ge=0)]]}
    _weights = tagged(_numbers, "category weights", by_form("word", sequence="numbers"))
    _choices = {"word": Literal["balanced"], "by_node": dict[str, _weights]}
    CategoryWeights = tagged(_choices, "category weights", by_form("word", mapping="by_node"))


_batch = by_form("size", mapping="sizes")


class Train(Piece):
    """How the model is trained."""

    epochs: Size = 50
    batch_size: tagged({"size": Size, "sizes": BatchSizes}, "batch size", _batch) = 100  # type: ignore[valid-type]
    optimizer: Optimizer = Optimizer()
    clip_norm: Maybe[number(gt=0)] = None  # type: ignore[valid-type]
    labelled_also_unlabelled: bool = False
    weight: Maybe[str] = None  # a column of the data: what each row counts
    category_weights: Maybe[CategoryWeights] = None  # what labelled rows count, by their category
    stop: Maybe[Stop] = None
    device: str = "auto"
    precision: Literal["64-true", "32-true", "bf16-mixed", "16-mixed"] = "32-true"
    compile: Literal[False, True, "reduce-overhead"] = False  # by torch.compile; the last: its mode with CUDA graphs
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0


if TYPE_CHECKING:
    MetricChoice = str | OwnMetric
else:
    MetricChoice = tagged({"name": Literal[tuple(METRICS)], "own": OwnMetric}, "metric", by_form("name", mapping="own"))


class Evaluate(Piece):
    """How the model is evaluated."""

    samples: Size = 100
    metrics: dict[str, MetricChoice] = {}  # noqa: RUF012 - a frozen pydantic default


def _own_pieces(part: Any) -> Iterator[OwnPiece]:  # Any: whatever a spec holds
    """Find the pieces that name own code, in a piece and all that it holds."""
    if isinstance(part, OwnPiece):
        yield part
    below: Any = (value for _, value in part) if isinstance(part, Piece) else ()  # Any: values of any fields
    if isinstance(part, dict):
        below = part.values()
    elif isinstance(part, list | tuple):
        below = part
    for inner in below:
        yield from _own_pieces(inner)


def _integer(value: Any) -> Any:  # Any: whatever YAML can say
    return value if type(value) is int else EMPTY  # for Python true and 1.0 are 1


@dataclass(frozen=True)
class Origin:
    """Where a spec was read from, whether own code may be imported, and what was derived or unrolled.

    None of it is saved. All origins are equal: a spec is the same in any folder.
    """

    folder: Path | None = field(default=None, compare=False)
    trusted: bool = field(default=False, compare=False)
    derived: frozenset[str] = field(default=frozenset(), compare=False)
    unrolled: Unrolled = field(default=Unrolled(), compare=False)


class Spec(Piece):
    """A whole spec, valid in itself and between its parts once `sgc.load` has returned it."""

    _origin: Origin = PrivateAttr(default=Origin())

    version: Annotated[Literal[1], BeforeValidator(_integer)]
    name: Annotated[str, Field(pattern=NAME)] = "model"
    description: str = ""
    data: Maybe[DataSection] = None
    inputs: dict[str, Input] = {}  # noqa: RUF012 - a frozen pydantic default
    networks: dict[str, SharedNetwork] = {}  # noqa: RUF012 - a frozen pydantic default
    features: dict[str, Feature] = {}  # noqa: RUF012 - a frozen pydantic default
    recognition: Maybe[RecognitionRule] = None  # none once it is carried out
    nodes: dict[str, Node]
    repeat: dict[str, Repeat] = {}  # noqa: RUF012 - a frozen pydantic default; none once it is unrolled
    use: dict[str, Part] = {}  # noqa: RUF012 - a frozen pydantic default; none once the part is taken in
    objective: Objective = Objective()
    train: Train = Train()
    evaluate: Evaluate = Evaluate()

    @property
    def folder(self) -> Path:
        """The folder of the file it was read from, beside which its data are looked for; else the current one."""
        return self._origin.folder or Path.cwd()

    @property
    def trusted(self) -> bool:
        """Whether own code that it names may be imported."""
        return self._origin.trusted

    def stands_in(self, folder: Path | None, *, trusted: bool) -> Spec:
        """Note the folder that it was read from, None for a spec from Python, and whether its own code is trusted."""
        place = None if folder is None else folder.resolve()
        self._origin = replace(self._origin, folder=place, trusted=trusted)
        return self

    @property
    def maximised(self) -> Bound:
        """The bound. Raises: UsageError where it is own code that is not trusted, or cannot be imported."""
        bound = self.objective.bound
        if isinstance(bound, OwnBound):
            return bound.load(OwnCode(bound.python, self.folder, self.trusted))
        return BOUNDS[bound]

    def own_code(self, *, but: tuple[type[OwnPiece], ...] = ()) -> list[str]:
        """List the own code that it names, as module:Class. but: kinds that are left out."""
        return [piece.python for piece in _own_pieces(self) if not isinstance(piece, but)]

    @property
    def derived(self) -> frozenset[str]:
        """The nodes whose recognition parents `recognition: auto` derived."""
        return self._origin.derived

    def with_parents(self, recognition: Mapping[str, Recognition]) -> Spec:
        """Return the spec with derived recognitions in place of `recognition: auto`."""
        nodes = {name: self.nodes[name].model_copy(update={"recognition": q}) for name, q in recognition.items()}
        spec = self.model_copy(update={"nodes": {**self.nodes, **nodes}, "recognition": None})
        spec._origin = replace(self._origin, derived=frozenset(recognition))
        return spec

    @property
    def unrolled(self) -> Unrolled:
        """Its repeats and parts; empty where it had none."""
        return self._origin.unrolled

    def once(self, unrolled: Unrolled) -> Spec:
        """Note the repeats and parts that were written out in it."""
        self._origin = replace(self._origin, unrolled=unrolled)
        return self

    def plain(self) -> dict[str, Any]:  # Any: plain data
        """Return the spec as plain data with every default, fit to be loaded again.

        Repeats are as they were written, and parts are in full.
        """
        plain = self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={*self.unrolled.written})
        for section in ("repeat", "use"):
            if not plain.get(section):
                plain.pop(section, None)
        return {**plain, **self.unrolled.written}
