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
from sgc.trackers.tracker import Tracker
from sgc.trackers.trackers import TrackerChoice as AnyTracker


class BatchSizes(Piece):
    """Rows a step of each stream."""

    unlabelled: Size = Field(
        description="Rows without labels in a step.",
        examples=[200],
    )
    labelled: Size = Field(
        description="Rows with labels in a step.",
        examples=[100],
    )


class Optimizer(Piece):
    """An optimiser of torch.optim and its learning rate."""

    name: Literal["Adam", "AdamW", "NAdam", "RAdam", "Adamax", "SGD", "RMSprop"] = Field(
        "Adam",
        description="Which optimiser of `torch.optim`.",
        examples=["AdamW"],
    )
    lr: number(gt=0, to_zero=True) = Field(  # type: ignore[valid-type]
        0.001,
        description="The learning rate.",
        examples=[0.0003, {"from": 0.001, "to": 0, "epochs": 50, "curve": "cosine"}],
    )
    weight_decay: number(ge=0) = Field(  # type: ignore[valid-type]
        0.0,
        description="How strongly weights are drawn to 0, as the optimiser means it.",
        examples=[0.0001],
    )
    betas: Maybe[Annotated[Many[number(ge=0, lt=1)], Field(min_length=2, max_length=2)]] = Field(  # type: ignore[valid-type]
        None,
        description="Of the Adams: how much of the running means of gradients and squares is kept.",
        examples=[[0.9, 0.99]],
    )
    momentum: Maybe[number(ge=0)] = Field(  # type: ignore[valid-type]
        None,
        description="Of SGD and RMSprop: how much of the last step is kept.",
        examples=[0.9],
    )
    eps: Maybe[number(gt=0)] = Field(  # type: ignore[valid-type]
        None,
        description="Of all but SGD: what is added to the denominator of a step.",
        examples=[1e-08],
    )


class Stop(Piece):
    """Stop early: after so many epochs without a better validation bound."""

    patience: Size = Field(
        description="Epochs without a better validation bound after which training ends.",
        examples=[30],
    )


Decay = Annotated[float, Field(gt=0, lt=1)]


class Average(Piece):
    """The average of the weights over the steps of training, which is what a run validates, keeps and answers with."""

    decay: Maybe[Decay] = Field(
        None,
        description="How much of the average a step keeps (EMA). Absent: every step counts alike (SWA).",
        examples=[0.999],
    )
    start: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        0,
        alias="from",
        description="After how many epochs it begins, fewer than `train.epochs`; before, weights are as they are.",
        examples=[30],
    )


# What rows count by the category they are labelled with: for all nodes that have one a row, or by node.
if TYPE_CHECKING:
    CategoryWeights = Literal["balanced"] | Mapping[str, Literal["balanced"] | tuple[float, ...]]
else:
    _numbers = {"word": Literal["balanced"], "numbers": Many[Annotated[float, Field(ge=0)]]}
    _weights = tagged(_numbers, "category weights", by_form("word", sequence="numbers"))
    _choices = {"word": Literal["balanced"], "by_node": dict[str, _weights]}
    CategoryWeights = tagged(_choices, "category weights", by_form("word", mapping="by_node"))


if TYPE_CHECKING:
    TrackerChoice = Tracker
else:
    TrackerChoice = AnyTracker

_batch = by_form("size", mapping="sizes")
_average = by_form("decay", mapping="average")


class Train(Piece):
    """How the model is trained."""

    epochs: Size = Field(
        50,
        description="Passes over the rows without labels (over all rows where every row has its labels).",
        examples=[50],
    )
    batch_size: tagged({"size": Size, "sizes": BatchSizes}, "batch size", _batch) = Field(  # type: ignore[valid-type]
        100,
        description=("Rows a step of each of the two streams, with labels and without: one number for both, or each."),
        examples=[{"unlabelled": 200, "labelled": 100}],
    )
    optimizer: Optimizer = Field(
        Optimizer(),
        description="The optimiser and its learning rate.",
        examples=[{"name": "Adam", "lr": 0.001}],
    )
    clip_norm: Maybe[number(gt=0)] = Field(  # type: ignore[valid-type]
        None,
        description="Gradients of a larger norm are scaled down to this one.",
        examples=[5],
    )
    labelled_also_unlabelled: bool = Field(
        False,
        description="Whether rows with labels also go through the other stream, without them.",
        examples=[True],
    )
    weight: Maybe[str] = Field(
        None,
        description="A column of the data that says what each row counts.",
        examples=["sampling_weight"],
    )
    category_weights: Maybe[CategoryWeights] = Field(
        None,
        description=(
            "What labelled rows count by category: `balanced`, as many effective rows of each, or `{y: [1, 2.5, 1]}`."
        ),
        examples=["balanced", {"y": "balanced"}],
    )
    stop: Maybe[Stop] = Field(
        None,
        description="When to stop early; absent: never.",
        examples=[{"patience": 30}],
    )
    average: Maybe[tagged({"decay": Decay, "average": Average}, "average", _average)] = Field(  # type: ignore[valid-type]
        None,
        description=(
            "Keep an average of the weights over steps, and validate, choose the best epoch and answer with it: the "
            "decay of an exponential average, or when one begins."
        ),
        examples=[0.999, {"from": 30}, {"decay": 0.999, "from": 5}],
    )
    device: str = Field(
        "auto",
        description="`auto`, `cpu`, `cuda`, `cuda:1`, `mps`; `auto` takes a GPU where there is one.",
        examples=["cpu"],
    )
    precision: Literal["64-true", "32-true", "bf16-mixed", "16-mixed", "auto"] = Field(
        "32-true",
        description=(
            "Numbers of 64 or 32 bits, or of 16 where they suffice and 32 elsewhere. `auto`: `bf16-mixed` where the "
            "device has instructions for it, else `32-true`; a run keeps what was chosen."
        ),
        examples=["bf16-mixed"],
    )
    compile: Literal[False, True, "reduce-overhead"] = Field(
        False,
        description=("Whether steps are compiled by `torch.compile`; `reduce-overhead` is its mode with CUDA graphs."),
        examples=[True],
    )
    shard: bool = Field(
        False,
        description=(
            "Whether several processes share out the weights of networks (FSDP), for networks larger than a device."
        ),
        examples=[True],
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        0,
        description="What weights, labels, orders of rows and draws follow from.",
        examples=[1],
    )
    loggers: Maybe[Many[TrackerChoice]] = Field(
        None,
        description="The trackers that are told after each epoch what `metrics.jsonl` says of it.",
        examples=[["tensorboard"], [{"mlflow": {"uri": "sqlite:///runs/mlflow.db"}}, "wandb"]],
    )
    pictures: Maybe[Size] = Field(
        None,
        description=(
            "Of a spec with pictures: after how many epochs trackers get new ones. They get those of the best epoch in "
            "any case, at the end."
        ),
        examples=[10],
    )

    @property
    def averaged(self) -> Average | None:
        """The average of the weights in its long form, None where there is none."""
        return Average(decay=self.average) if isinstance(self.average, float) else self.average


if TYPE_CHECKING:
    MetricChoice = str | OwnMetric
else:
    MetricChoice = tagged({"name": Literal[tuple(METRICS)], "own": OwnMetric}, "metric", by_form("name", mapping="own"))


class Evaluate(Piece):
    """How the model is evaluated."""

    samples: Size = Field(
        100,
        description="Draws a row of the importance-sampled log p(x) and of the weighted posterior.",
        examples=[100],
    )
    metrics: dict[str, MetricChoice] = Field(
        {},
        description=("By node: how its predictions are measured. Absent: `error` of categories, `rmse` of numbers."),
        examples=[{"y": "error"}],
    )
