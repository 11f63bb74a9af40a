"""How a model is trained and evaluated: the sections `train` and `evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from sgc.metrics.metrics import METRICS
from sgc.metrics.own_metric import OwnMetric
from sgc.piece import Many, Maybe, Piece, by_form, tagged
from sgc.schedules import number
from sgc.spec.pieces import Size


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
