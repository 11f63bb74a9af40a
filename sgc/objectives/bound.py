"""What a bound is: its formula as an expression over a plan's factors, and what it refuses and warns of.

A new bound is one file with one class derived from `Bound`, and a line in `sgc.objectives.bounds`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from sgc.objectives.expressions import Expression, LabelScore, Scale, Score


@dataclass(frozen=True)
class BoundWords:
    """The words of the objective that change the formula of a bound."""

    samples: int = 1
    weights: str = "normalized"
    label_term: str = "mean_log"
    alpha_by_node: bool = False


@dataclass(frozen=True)
class Ingredients:
    """What the bound of rows of one pattern is made of.

    scores: the terms of log p(c, l) − log r(l | c). labels: log q of labelled nodes, in an order of q. enumerated:
    whether something is proposed and all of it is enumerated.
    """

    scores: tuple[Score, ...]
    labels: tuple[LabelScore, ...]
    enumerated: bool = False

    @property
    def varying(self) -> tuple[LabelScore, ...]:
        """The labels whose factor varies over the particles."""
        return tuple(label for label in self.labels if label.varies)


@dataclass(frozen=True)
class Message:
    """A sentence about a plan, with blanks: `{node}` for a node, `{factor}` for a label's factor, `{carriers}` for what
    it reads.

    Names are put in by whatever shows the plan: a node of a repeat has another name where its steps are shown as one.
    """

    words: str
    node: str = ""
    label: LabelScore | None = None


class Bound(ABC):
    """A lower bound of log p, or another objective, of rows of one observation pattern.

    It is a value: two of one class with the same attributes are equal, and nothing changes them once they are made.
    """

    name: ClassVar[str]  # as specs write it
    source: ClassVar[str]  # its equation, with authors and year
    has_alpha: ClassVar[bool] = True  # whether labels have a weight of their own
    refused: ClassVar[Mapping[str, str]] = {}  # words of the objective that it does not have, and why
    idle: ClassVar[Mapping[str, str]] = {}  # words that it takes and that do nothing in it, and why
    own_words: ClassVar[frozenset[str]] = frozenset()  # `weights`, `label_term`: words that change this bound
    generative: ClassVar[bool] = True  # whether p is trained; else latents that no label reads are left out
    closed_kl_refusal: ClassVar[str] = ""  # why no KL divergence is taken in closed form, if none is
    importance_weighted: ClassVar[bool] = False  # whether its first part is log E_r[p/r]
    without_score: ClassVar[bool] = False  # whether the mean of q's score is 0 in it, so that `stl` may leave it out

    @abstractmethod
    def expression(self, given: Ingredients, words: BoundWords) -> Expression:
        """Write the bound of one row, in nats."""

    def normalises(self, words: BoundWords) -> bool:
        """Tell whether the weights of particles are divided by their mean, so that what is constant cancels."""
        return False

    def warnings(self, given: Ingredients, words: BoundWords) -> Iterator[Message | str]:
        """Say what a user should know of rows of a pattern before training; what names a label is a `Message`."""
        yield from ()

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), repr(self)))

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({options})"


def alpha_of(label: LabelScore, more: float = 0.0) -> Scale:
    """Give the weight of a label: its α, and what is added to it."""
    return Scale(more, label.node)
