"""The conditionals of a node as they are written: p, q, the experts of q, and the parameters that no network gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from sgc.networks.entries import NetworkChoice
from sgc.objectives.estimators import EstimatorChoice
from sgc.piece import Many, Maybe, Piece, by_form, tagged
from sgc.schedules import Number, Schedule, is_schedule, number, scheduled

if TYPE_CHECKING:
    Start = float | tuple[Any, ...]  # Any: numbers nested as deep as the event
else:
    Start = tagged({"number": float, "numbers": Many[Any]}, "number", by_form("number", sequence="numbers"))


class LearnedConstant(Piece):
    """A parameter that is the same for every row and learned from `start`: a number, or one for each element."""

    start: Start = Field(
        description="The value before training: a number, or one for each element.",
        examples=[0.5],
    )
    learn: bool = Field(
        True,
        description="Whether it is learned; false: it stays at `start`.",
        examples=[True],
    )


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


if TYPE_CHECKING:
    Decay = Number | None
else:
    Decay = Maybe[number(ge=0)]


class Conditional(Piece):
    """The distribution of a node given its parents; abstract."""

    parents: Many[str] = Field(
        (),
        description="What the conditional reads: nodes, features and inputs, by name.",
        examples=[["y", "z"]],
    )
    network: Maybe[NetworkChoice] = Field(
        None,
        description=(
            "What leads from the parents to the parameters of the distribution; each parent enters by "
            "weights of its own. Without parents or network the parameters are the same for every row."
        ),
        examples=[{"mlp": [256, 256]}],
    )
    parameters: dict[str, FixedParameter] = Field(
        {},
        description=(
            "Parameters that no network gives: a number, numbers for the elements, a schedule, `{start: "
            "1}` to learn one for all rows, or the name of a feature, node or input whose value is taken."
        ),
        examples=[{"scale": 0.5}],
    )
    weight_decay: Decay = Field(
        None,
        description=(
            "How strongly the weights of its own network are drawn to 0, in place of `train.optimizer.weight_decay`."
        ),
        examples=[0.1],
    )


class Generative(Conditional):
    """The conditional p(node | parents)."""

    learn: bool = Field(
        False,
        description="Frees the standard prior of a node without parents, so that its parameters are learned.",
        examples=[True],
    )


class Expert(Piece):
    """One expert of q: a conditional of its own parents, which counts in the rows where these are there."""

    parents: Maybe[Many[str]] = Field(
        None,
        description="What it reads. Absent: the node, feature or input that it is named after.",
        examples=[["image"]],
    )
    network: Maybe[NetworkChoice] = Field(
        None,
        description="What leads from its parents to the parameters of its distribution.",
        examples=[{"mlp": [256, 256]}],
    )
    parameters: dict[str, FixedParameter] = Field(
        {},
        description="Parameters that no network gives: as those of a conditional, but for names.",
        examples=[{"scale": 0.5}],
    )
    weight_decay: Decay = Field(
        None,
        description="How strongly the weights of its own network are drawn to 0: as that of a conditional.",
        examples=[0.1],
    )

    def reads(self, name: str) -> tuple[str, ...]:
        """Give its parents. name: its own."""
        return (name,) if self.parents is None else self.parents


class Recognition(Conditional):
    """The conditional q(node | parents), and the estimator of its expectation."""

    estimator: Maybe[EstimatorChoice] = Field(
        None,
        description=(
            "How draws of q are handed on, and where their gradient comes from. Absent: `pathwise` where "
            "the family has it, else `enumerate` where its support has up to 64 values, else "
            "`score_function`."
        ),
        examples=["enumerate", {"gumbel_softmax": {"temperature": 0.66}}],
    )
    experts: Maybe[Annotated[dict[str, Expert], Field(min_length=1)]] = Field(
        None,
        description=(
            "Conditionals of a Normal node that make up its q together, in place of `parents` and `network`: by name, "
            "which is that of its parent where it gives no `parents`. One whose parents are missing in a row "
            "(`missing: drop`) is left out there, so that all patterns of missing parents share networks."
        ),
        examples=[{"x": {"network": {"mlp": [256]}}, "y": {"network": {"mlp": [64]}}}],
    )
    combine: Maybe[Literal["product", "mixture", "mixture_of_products"]] = Field(
        None,
        description=(
            "How experts make up q: `product`, their densities multiplied (MVAE); `mixture`, one of them, each as "
            "likely (MMVAE); `mixture_of_products`, the product of some of them, each choice as likely (MoPoE). "
            "Absent: `product`."
        ),
        examples=["mixture_of_products"],
    )
    prior: Maybe[bool] = Field(
        None,
        description=(
            "Whether p of the node is a factor of every product as well; it needs a p without parents whose parameters "
            "are fixed. Absent: true for a product, false for mixtures, as in their sources."
        ),
        examples=[False],
    )

    @property
    def mixes(self) -> bool:
        """Whether it is a mixture of experts, or of their products."""
        return self.experts is not None and self.combine not in (None, "product")
