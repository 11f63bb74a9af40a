"""What a model is written of: nodes with their two conditionals, inputs, features, repeats and parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from sgc.distributions.category_names import Categories
from sgc.distributions.own_family import OwnFamily
from sgc.networks.entries import NetworkChoice
from sgc.piece import Many, Maybe, Piece, by_form, tagged
from sgc.spec.conditionals import Decay, Generative, Recognition

Size = Annotated[int, Field(ge=1, le=10_000_000)]


class DerivedRecognition(Piece):
    """Recognition parents derived from the generative graph, and the network of nodes that give none of their own."""

    parents: Literal["auto"] = Field(
        description="`auto` and nothing else.",
        examples=["auto"],
    )
    network: Maybe[NetworkChoice] = Field(
        None,
        description="The network of every node that gives none of its own.",
        examples=[{"mlp": [512]}],
    )


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

    @property
    def as_written(self) -> dict[str, Any]:  # Any: as for `options`
        """A node with nothing but this family, as a file has it."""
        return {"distribution": {self.name: self.options}}


def _distribution_tag(value: Any) -> str:  # Any: whatever YAML can say
    own = isinstance(value, OwnFamily) or (isinstance(value, dict) and "python" in value)
    return "own" if own else "family"


if TYPE_CHECKING:
    Distribution = DistributionChoice | OwnFamily
else:
    Distribution = tagged({"family": DistributionChoice, "own": OwnFamily}, "distribution", _distribution_tag)


class Node(Piece):
    """A random variable: its distribution, its event, when it is observed, and its two conditionals."""

    distribution: Distribution = Field(
        description="The family: a name, `{Family: {option: value}}`, or a class of your own.",
        examples=["Categorical", {"DiscretizedLogistic": {"levels": 256}}],
    )
    shape: Many[Size] = Field(
        (),
        description="The shape of one value, without batch and categories; `[]`: a single number.",
        examples=[[1, 28, 28]],
    )
    categories: Maybe[Annotated[int, Field(ge=2, le=1_000_000)]] = Field(
        None,
        description="How many categories a Categorical has; data hold 0 to `categories` - 1.",
        examples=[10],
    )
    values: Maybe[Categories] = Field(
        None,
        description="The categories by the names or numbers that data have for them, in place of `categories`.",
        examples=[["cat", "dog"]],
    )
    supervision: Literal["full", "partial", "none"] = Field(
        description=("When it is observed: `full`, in every row; `partial`, in rows that have a label; `none`, never."),
        examples=["partial"],
    )
    missing: Maybe[Literal["drop"]] = Field(
        None,
        description=(
            "`drop`, of a partial leaf of p: where an element is absent its term is left out, and "
            "networks read zero and a flag. It has no recognition then, and makes no patterns of labels."
        ),
        examples=["drop"],
    )
    generative: Maybe[Generative] = Field(
        None,
        description="The conditional p(node | parents). Absent: the standard prior of the family.",
        examples=[{"parents": ["y"], "network": {"mlp": [64]}}],
    )
    recognition: Maybe[Recognition] = Field(
        None,
        description=(
            "The conditional q(node | parents). Every node needs one that is not `full` and does not drop "
            "what is missing."
        ),
        examples=[{"parents": ["x"], "network": {"mlp": [64]}}],
    )

    @property
    def category_count(self) -> int | None:
        """How many categories the node has; None where it has none."""
        return self.categories if self.values is None else len(self.values)


class Input(Piece):
    """A value that networks read and no graph models: a category (`values`, `categories`), or numbers (`shape`)."""

    values: Maybe[Categories] = Field(
        None,
        description="The categories that the column holds, by name; networks read them one-hot.",
        examples=[["A", "B"]],
    )
    categories: Maybe[Annotated[int, Field(ge=2)]] = Field(
        None,
        description=("How many categories the column holds, as 0 to `categories` - 1; networks read them one-hot."),
        examples=[4],
    )
    shape: Maybe[Many[Size]] = Field(
        None,
        description="The shape of a value of numbers; absent, with no categories: a single number.",
        examples=[[3]],
    )
    support: Maybe[Literal["real", "positive", "nonnegative", "unit_interval"]] = Field(
        None,
        description=(
            "Where its numbers lie; data outside are refused. A feature that is made of it can then be the "
            "parameter of a distribution, as a library size times shares."
        ),
        examples=["positive"],
    )


class Feature(Piece):
    """A deterministic node of both graphs: what a network makes of its parents."""

    parents: Annotated[Many[str], Field(min_length=1)] = Field(
        description="What its network reads.",
        examples=[["x"]],
    )
    network: NetworkChoice = Field(
        description="What it is computed by.",
        examples=[{"mlp": [64]}],
    )
    weight_decay: Decay = Field(
        None,
        description=(
            "How strongly the weights of its own network are drawn to 0, in place of `train.optimizer.weight_decay`."
        ),
        examples=[0.1],
    )


class Carry(Feature):
    """A state that a repeat carries from step to step, in both graphs."""

    direction: Literal["forward", "backward"] = Field(
        "forward",
        description="`forward`: from the first step to the last; `backward`: from the last to the first.",
        examples=["backward"],
    )


_source = by_form("path", mapping="mapping")


class Part(Piece):
    """Another spec's nodes and networks as a part of this one, with the weights of a run or without."""

    spec: Maybe[tagged({"path": str, "mapping": dict[str, Any]}, "spec", _source)] = Field(  # type: ignore[valid-type]
        None,
        description=(
            "The file of the other spec, looked for beside this one, or the spec itself. With `weights` "
            "it may be left out."
        ),
        examples=["mnist-m2.yaml"],
    )
    weights: Maybe[str] = Field(
        None,
        description="The folder of a run, whose best weights it starts from.",
        examples=["runs/mnist-m2"],
    )
    freeze: bool = Field(
        False,
        description="Whether the weights stay as they are.",
        examples=[True],
    )
    bind: dict[str, str] = Field(
        {},
        description=(
            "Which of its nodes are nodes here: the name there, and the name here. A bound node keeps its "
            "status and its q; the part gives its p."
        ),
        examples=[{"x": "image"}],
    )


class Repeat(Piece):
    """Nodes that are repeated as often as `count` says, with the same networks in every step."""

    count: tagged({"number": Size, "node": str}, "count", by_form("number", text="node")) = Field(  # type: ignore[valid-type]
        description="How often the body stands: a number, or a node whose values are the possible numbers.",
        examples=[3],
    )
    carry: dict[str, Carry] = Field(
        {},
        description=(
            "States that go from step to step, each by its parents and its network; `prev.NAME` is the step before."
        ),
        examples=[{"state": {"parents": ["x"], "network": {"gru": 16}}}],
    )
    features: dict[str, Feature] = Field(
        {},
        description="Deterministic nodes of each step.",
        examples=[{"g": {"parents": ["x"], "network": {"mlp": [8]}}}],
    )
    nodes: dict[str, Node] = Field(
        {},
        description=(
            "Random variables of each step. Inside the body names are local and outer ones are visible; "
            "outside, `REPEAT.NODE` is all steps side by side."
        ),
        examples=[
            {
                "v": {
                    "distribution": "Normal",
                    "supervision": "none",
                    "recognition": {"parents": ["x"], "network": {"mlp": [8]}},
                }
            }
        ],
    )
    use: dict[str, Part] = Field(
        {},
        description="Other specs as parts of each step.",
        examples=[{"digit": {"spec": "specs/mnist-m2.yaml", "bind": {"x": "v"}}}],
    )
    repeat: dict[str, Repeat] = Field(
        {},
        description="Repeats inside each step.",
        examples=[
            {
                "inner": {
                    "count": 2,
                    "nodes": {
                        "v": {
                            "distribution": "Normal",
                            "supervision": "none",
                            "recognition": {"parents": ["x"], "network": {"mlp": [8]}},
                        }
                    },
                }
            }
        ],
    )
