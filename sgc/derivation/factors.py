"""The parts of a plan: factors of the model, proposals, weights, terms, and the charges of draws. Plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from sgc.derivation.experts import Experts
from sgc.derivation.formula import symbol
from sgc.derivation.graph import Role
from sgc.derivation.name_sets import NOTHING, NameSet, members
from sgc.objectives.bound import Ingredients, Message
from sgc.objectives.estimator import Estimator
from sgc.objectives.expressions import LabelScore, Score

SAMPLES = "S"  # the dimension of samples, beside the enumerated ones, which bear their nodes' names


@dataclass(frozen=True)
class Factor:
    """One conditional density of the model, and the dimensions over which its value varies in this plan.

    above: of a count with labelled steps, the number that it is above. The density is then conditioned on this, or
    where `tail` it is the probability of this.
    """

    node: str
    role: Role
    parents: tuple[str, ...]
    dims: NameSet = NOTHING
    above: str = ""
    tail: bool = False

    def __str__(self) -> str:
        return self._write(str, "|", self.above)

    def called(self, name: Callable[[str], str]) -> Factor:
        """Give the factor with other names."""
        return replace(self, node=name(self.node), parents=tuple(map(name, self.parents)))

    def latex(self) -> str:
        return self._write(symbol, r"\mid", self.above.replace("*", "^*"))

    def _write(self, name: Callable[[str], str], bar: str, above: str) -> str:
        letter = "p" if self.role == "generative" else "q"
        condition = f"{name(self.node)} > {above}"
        conditions = [name(parent) for parent in self.parents] + ([condition] if above and not self.tail else [])
        left = condition if self.tail else name(self.node)
        return f"{letter}({left} {bar} {', '.join(conditions)})" if conditions else f"{letter}({left})"


@dataclass(frozen=True)
class Proposal:
    """A node that q proposes, how it gives its values, and over which dimensions these vary."""

    factor: Factor
    estimator: Estimator
    support: int
    dims: NameSet
    above_samples: bool = False  # whether what q reads varies over the samples
    experts: Experts | None = None  # that make up q together

    @property
    def node(self) -> str:
        return self.factor.node


@dataclass(frozen=True)
class Weight:
    """A factor of the importance weight, and the proposals through which it varies (none: it is constant)."""

    factor: Factor
    carriers: tuple[str, ...]
    biased: bool = False  # it reads a relaxed or averaged value

    @property
    def varies(self) -> bool:
        return bool(self.carriers)

    @property
    def tag(self) -> str:
        """How its term in the bound is computed."""
        if self.biased:
            return "biased"
        if SAMPLES in self.factor.dims:
            return "sampled"
        return "enumerated" if self.factor.dims else "exact"

    @property
    def why(self) -> str:
        """Where it comes from: its node's label, or labels of the steps that the node counts."""
        return "labels of its steps" if self.factor.tail else "label"


@dataclass(frozen=True)
class Term:
    """A term of log p(c, l) − log r: its node and role, its dimensions, how it is computed, and why so.

    Roles: `generative` log p(v | ·), `recognition` −log q(v | ·), `kl` both of a node at once. Tags: `exact`,
    `enumerated` (a sum over a finite support), `sampled` (unbiased up to normalised weights), `biased`.
    """

    node: str
    role: str
    dims: NameSet
    tag: str
    why: Message
    reads: tuple[str, ...] = ()  # the names whose values it depends on


@dataclass(frozen=True)
class Charge:
    """What a draw of a `score_function` node is charged with: what it can influence (Schulman et al. 2015).

    Its particles' own share of `terms` and of the labels' α terms; where the samples meet in Z or under a logarithm
    a sample is charged the whole bound, or the bound with it less the bound without.
    """

    node: str
    charged: int  # of all terms of the plan, as bits
    every: tuple[tuple[str, str], ...] = field(repr=False)  # node and role
    varied: int  # of all weights of the plan, those that vary with it, as bits
    weighing: tuple[str, ...] = field(repr=False)  # their nodes
    baseline: str

    @property
    def terms(self) -> tuple[tuple[str, str], ...]:
        """The node and role of each term that is charged."""
        return tuple(self.every[i] for i in members(self.charged))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labelled nodes whose factor varies with the draw."""
        return tuple(self.weighing[i] for i in members(self.varied))


@dataclass(frozen=True)
class Paths:
    """The draws of a plan, and the features below them: computed once the draws are weighed on their way to scores."""

    drawn: tuple[str, ...]
    again: frozenset[str]  # read by q of draws: computed to draw, and again to score
    scored: frozenset[str]  # read by p
    proposing: frozenset[str]  # read by any q

    def early(self, feature: str) -> bool:
        """Tell whether a feature is computed while values are proposed: one that p alone reads is not."""
        return feature in self.proposing or feature not in self.scored


def ingredients(roles: Iterable[tuple[str, str]], weights: Iterable[Weight], *, enumerated: bool) -> Ingredients:
    """Give the ingredients of a bound.

    roles: of each term, its node and role. enumerated: whether something is proposed and all of it is enumerated.
    """
    labels = (LabelScore(w.factor.node, w.carriers, any(d != SAMPLES for d in w.factor.dims)) for w in weights)
    return Ingredients(tuple(Score(*role) for role in roles), tuple(labels), enumerated)
