"""What an estimator is: how a proposed node hands on values, how these are scored, and where its gradient comes from.

Each turns q(v | parents) into particles with a mass: the S samples carry 1/S once, and the masses of all particles of a
row sum to one. A new estimator is one file with one class derived from `Estimator`, and a line in
`sgc.objectives.estimators`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import PrivateAttr

from sgc.distributions.family import Family
from sgc.distributions.points import Point
from sgc.piece import Named
from sgc.schedules import Number, Schedule

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributions import Distribution


@dataclass(frozen=True, eq=False)
class Draw:
    """What is drawn from.

    leading: the leading shape of the values, [*enumerated, S, B]. epoch: that of schedules.
    """

    family: Family
    q: Distribution
    leading: tuple[int, ...]
    epoch: float


class Charging(Protocol):
    """What the bound charges the draws of one node with. Both [*enumerated, S, B], without a gradient."""

    def costs(self) -> Tensor:
        """Give ŵ F of each draw: its share of all weight, times the terms that it can influence."""

    def signal(self) -> Tensor:
        """Give the same less a baseline; where samples meet in Z or under a logarithm, the bound less its baseline."""


class Estimator(Named, ABC):
    """How a proposed node hands on values, and what its gradient is."""

    _written: Any = PrivateAttr(default=None)  # of one of the user's own, what names it; Any: a piece above this file

    name: ClassVar[str]  # as specs write it
    tag: ClassVar[str]  # of its draws: `sampled`, `enumerated`, or `biased`, which is handed on to all that reads them
    enumerates: ClassVar[bool] = False  # whether its whole support has a dimension of its own
    over_samples: ClassVar[bool] = True  # whether its values vary over the samples; else over what q reads alone
    averages: ClassVar[bool] = False  # whether it hands on q's mean, and is scored by expectations under q
    attainable: ClassVar[bool] = True  # whether its values are ones that the node can take: else there is no bound
    reparameterised: ClassVar[bool] = False  # whether its gradient is that of the value alone, and right
    charged: ClassVar[bool] = False  # whether its gradient comes from what its draws are charged with
    own_costs: ClassVar[bool] = False  # whether it needs each sample's own costs: samples weigh no others
    one_q: ClassVar[bool] = False  # whether q has to be the same for all samples
    weighs_draws: ClassVar[bool] = False  # whether the samples of a row do not count alike, see `log_mass`
    exact: ClassVar[bool] = False  # whether evaluation keeps it
    gradient_note: ClassVar[str] = ""  # why its gradient is none of a bound, where its value is one
    wanted_samples: ClassVar[int] = 1  # enough for a useful gradient
    count_refusal: ClassVar[str] = ""  # how it would propose the count of a repeat, which must be a whole number

    @staticmethod
    @abstractmethod
    def refuse(family: Family, event: tuple[int, ...]) -> str:
        """Say why the family cannot have this estimator; an empty string where it can."""

    @property
    def kl_refusal(self) -> str:
        """Why no KL divergence is taken in closed form; an empty string where one may be."""
        return ""

    @property
    def baseline_word(self) -> str:
        """Which baseline it takes off what its draws are charged with; an empty string where none is to be chosen."""
        return ""

    def decay_at(self, epoch: float) -> float:
        """Give what a running mean keeps of itself in a step, if it takes one off."""
        return 0.0

    def at_samples(self, samples: int) -> Estimator:
        """Fill in what the number of samples decides."""
        return self

    def refuse_samples(self, samples: int) -> tuple[str, str, str]:
        """Refuse a number of samples: give its option at fault, why, and what is allowed; or empty strings."""
        return "", "", ""

    @abstractmethod
    def draw(self, given: Draw) -> Point:
        """Give values, [*leading, *event]."""

    @property
    def scores_itself(self) -> bool:
        """Whether its draws have a density of their own, see `log_prob`."""
        return False

    def log_prob(self, family: Family, conditional: Distribution, drawn: Point, epoch: float) -> Tensor:
        """Score a draw under a conditional of p or q, in nats, [*leading]."""
        raise NotImplementedError

    def log_mass(self, given: Draw, drawn: Point) -> Tensor:
        """Give the log of what each draw counts in place of 1, [*leading]: of a row, on average over samples, 1."""
        raise NotImplementedError

    def surrogate(self, log: Tensor, given: Draw, drawn: Point, charging: Charging) -> Tensor:
        """Give a number for each row, [B], whose value is 0 and whose gradient is what the draws add to the bound's.

        log: log q of the draws, [*enumerated, S, B], with its gradient.
        """
        raise NotImplementedError

    @property
    def own(self) -> bool:
        """Whether it is one of the user's own."""
        return self._written is not None

    def plain(self, number: Callable[[Number], Any] = lambda number: number) -> Any:  # Any: plain data
        """Write it as a spec does. number: what becomes of its numbers and schedules."""
        if self._written is not None:
            return self._written.model_dump(mode="json")
        options = {key: getattr(self, key) for key in type(self).model_fields}
        written = {
            key: number(value) if isinstance(value, Schedule) else value
            for key, value in options.items()
            if value is not None
        }
        return {self.name: written} if written else self.name

    def __str__(self) -> str:
        return self.name
