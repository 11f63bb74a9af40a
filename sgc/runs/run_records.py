"""The contents of a run's files as strict models with a version; an unknown or wrong key is refused by name."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, InstanceOf, model_validator
from pydantic_core import PydanticCustomError
from torch import Tensor

from sgc.data.encoder_record import EncoderRecord
from sgc.data.record import Count, PathText, Record, Some, Versioned
from sgc.piece import Maybe

Share = Annotated[float, Field(ge=0, le=1)]
Terms = dict[str, dict[str, float | None]]  # nats per row, by node and role; null for a number that is not finite


class RowsByStream(Record):
    """Numbers of rows, by stream."""

    unlabelled: Count
    labelled: Count


class RunRecord(Versioned):
    """run.json: the versions, settings and data that a run was started with, and whether it is finished.

    `gamma`, `rate` and `alpha` are those of the start, null where they are not finite. `beside`: the folder where the
    data are looked for; `code`: the folder of own code. `threads`: of torch, and `processes`: that train together, on
    which the last bit of a result depends. Older versions did not write what may be missing.
    """

    versions: dict[str, str]
    platform: str
    seed: Count
    gamma: Annotated[float, Field(ge=0)] | None
    rate: Share | None
    alpha: dict[str, Annotated[float, Field(ge=0)] | None]
    beside: PathText
    data: Literal["spec", "arrays"]
    rows: RowsByStream
    finished: bool
    code: Maybe[PathText] = None
    digest: Maybe[str] = None  # of the data, in an older run without rows.npz
    threads: Maybe[Annotated[int, Field(ge=1, lt=2**31)]] = None
    processes: Maybe[Annotated[int, Field(ge=1, lt=2**31)]] = None

    @property
    def exported(self) -> bool:
        """Whether the folder was made by `sgc export --folder`, which names no machine, and no row."""
        return not self.platform

    @model_validator(mode="after")
    def _of_sgc(self) -> RunRecord:
        if "sgc" not in self.versions:
            raise PydanticCustomError("foreign", "its versions name no sgc")
        return self


class ColumnsRecord(Versioned):
    """columns.json: the encoder of each node, which turns columns of the data into its values."""

    columns: dict[str, EncoderRecord]

    @classmethod
    def of_before(cls, value: dict[str, Any]) -> dict[str, Any]:  # Any: whatever a file can say
        """Read a file without a version, in which the nodes are the top-level keys."""
        nodes = all(isinstance(entry, dict) and "variable" in entry for entry in value.values())
        return {"columns": value} if nodes else value


class PartGradient(Record):
    """The gradient of the parameters of one node or network."""

    estimator: Maybe[str] = None
    norm: float | None
    variance: float | None


class GradientRecord(Record):
    """The gradient as probed after an epoch."""

    norm: float | None
    variance: float | None
    by_node: dict[str, PartGradient]


class EpochRecord(Versioned):
    """A line of metrics.jsonl: the training and the validation of one epoch; null for a number that is not finite."""

    epoch: Some
    step: Count
    loss: float | None
    bound: dict[str, float | None]
    terms: dict[str, Terms]
    effective_samples: dict[str, float | None]
    collapsed: list[str]
    validation_bound: Maybe[float] = None
    active_units: Maybe[dict[str, Count]] = None
    validation_error: Maybe[dict[str, float | None]] = None
    gradient: Maybe[GradientRecord] = None
    warnings: Maybe[list[str]] = None
    best: bool
    lr: float
    seconds: float


def _is_list_of_rows(value: Any) -> Any:  # Any: whatever an archive can hold
    if isinstance(value, np.ndarray) and (value.ndim != 1 or value.dtype.kind not in "iu"):
        text = f"expected a list of integers, got an array of {value.dtype} {list(value.shape)}"
        raise PydanticCustomError("rows", "{text}", {"text": text})
    return value


class LabelsRecord(Versioned):
    """labels.npz: the ids of the training rows whose label was kept, by node."""

    rows: dict[str, Annotated[InstanceOf[np.ndarray], BeforeValidator(_is_list_of_rows)]]


class RowsRecord(Versioned):
    """rows.npz: the fingerprint of the data, which checks its arrays itself."""

    rows: dict[str, InstanceOf[np.ndarray]]


class ParameterGroup(Record):
    """The parameters that an optimiser's state belongs to; options that older versions wrote are ignored."""

    model_config = ConfigDict(extra="ignore")

    params: list[Count]


class OptimizerState(Record):
    """What an optimiser of torch keeps for each parameter, by its place."""

    state: dict[Count, dict[str, InstanceOf[Tensor] | None]]
    param_groups: Annotated[list[ParameterGroup], Field(min_length=1, max_length=1)]


class PrecisionState(Record):
    """The scale of gradients in half precision; empty in any other. Other options are ignored."""

    model_config = ConfigDict(extra="ignore")

    scale: Maybe[Annotated[float, Field(gt=0)]] = None
    tracker: Maybe[Count] = Field(default=None, alias="_growth_tracker")


class AverageState(Record):
    """The average of the weights, by name, over so many steps; of the names that have one."""

    count: Count
    means: dict[str, InstanceOf[Tensor]]


class TermSums(Record):
    """Terms of the bound and effective samples, summed over the rows of each pattern of labels."""

    rows: dict[str, Some]
    terms: dict[str, dict[str, dict[str, float]]]
    effective: dict[str, float]

    @model_validator(mode="after")
    def _of_the_same_patterns(self) -> TermSums:
        if not self.rows.keys() == self.terms.keys() == self.effective.keys():
            raise PydanticCustomError("patterns", "'rows', 'terms' and 'effective' have different patterns")
        return self


class BoundsByStream(Record):
    """Sums of bounds in nats, by stream."""

    unlabelled: float
    labelled: float


class EpochSums(Record):
    """Sums over the steps of an epoch in progress."""

    loss: float
    steps: Count
    bounds: BoundsByStream
    rows: RowsByStream
    terms: Maybe[TermSums] = None  # older versions did not write them


def _is_a_best(bound: float) -> float:
    if bound == math.inf:
        raise PydanticCustomError("best", "expected a bound, which is below infinity, got number inf")
    return bound


class TrainingState(Versioned):
    """training.pt: the weights, the optimiser and the place of a run that is to go on.

    `best_bound` is -inf before there is one, and NaN where there are no validation rows.
    """

    model: dict[str, InstanceOf[Tensor]]
    optimizer: OptimizerState
    precision: PrecisionState = PrecisionState()
    average: Maybe[AverageState] = None  # where train.average wants one
    epoch: Count
    step: Count
    best_bound: Annotated[float, Field(allow_inf_nan=True), AfterValidator(_is_a_best)]
    best_epoch: Count
    sums: EpochSums
    alarms: dict[str, Count] = {}  # noqa: RUF012 - a frozen pydantic default
    running_means: dict[str, float] = {}  # noqa: RUF012 - as above
    seconds: Annotated[float, Field(ge=0)]
