"""Rows of one observation pattern: their plan, their particles, and the scores once the plan is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.distributions import Distribution

from sgc.derivation.plan import Plan
from sgc.distributions.points import Point
from sgc.objectives.estimator import Draw
from sgc.runtime.batch import there
from sgc.runtime.drawn_paths import PathWeight
from sgc.runtime.layout import Layout, Score
from sgc.shared_rows import RowShare
from sgc.spec.outline import Outline, Variable

Key = tuple[str, str]  # node and role


@dataclass(eq=False)
class Group:
    """Rows of one pattern: their plan, their particles, and the score of every factor once they are run."""

    plan: Plan
    layout: Layout
    given: Mapping[str, Tensor]  # observed nodes and inputs, [B, *event]
    like: Tensor  # of the type and on the device of the computation
    labelled: Mapping[str, Tensor] = field(
        default_factory=dict
    )  # [B]: whether a row carries a node of plan.maybe_labelled
    share: RowShare | None = None  # of rows that several processes share out
    labelled_of_all: Mapping[str, Tensor] = field(default_factory=dict)  # `labelled` of the rows of all processes
    values: dict[str, Tensor] = field(default_factory=dict)  # [*enumerated, S, B, *event]
    points: dict[str, Point] = field(default_factory=dict)  # draws, as densities read them
    network_inputs: dict[str, Tensor] = field(default_factory=dict)  # what networks read
    present: dict[str, Tensor] = field(default_factory=dict)  # present elements of nodes that drop the missing ones
    dropped: dict[str, Distribution] = field(default_factory=dict)  # p of these nodes, once they are scored
    masses: list[Score] = field(default_factory=list)  # log q of enumerated nodes
    scores: dict[Key, Score] = field(default_factory=dict)  # of every term, with its sign
    weights: dict[str, Score] = field(default_factory=dict)  # log q of labelled nodes
    charged: dict[str, tuple[Score, Draw, Point]] = field(default_factory=dict)  # log q, and the draws that are charged
    drawn_with: dict[str, Mapping[str, Tensor]] = field(default_factory=dict)  # q's parameters, where paths are weighed
    paths: dict[str, PathWeight] = field(default_factory=dict)  # of draws whose gradient is weighed
    waking: dict[str, Score] = field(default_factory=dict)  # log q of what is proposed, where that trains q
    proposals: dict[str, Distribution] = field(default_factory=dict)  # q of every node that has one
    parameters: dict[Key, Mapping[str, Tensor]] | None = None  # of each conditional, by p or q, where they are kept
    exist: dict[str, Tensor] = field(default_factory=dict)  # [B]: rows whose labelled counts reach a step
    allowed: dict[str, Tensor] = field(default_factory=dict)  # [B, K]: the values of a count that labels allow

    def put(self, name: str, value: Tensor, outline: Outline) -> None:
        """Store the value of a node, a feature or an input, and what networks read of it; NaN is missing."""
        variable = outline.variables.get(name)
        self.values[name] = value
        if variable is not None and variable.dropped:
            self.present[name] = there(variable, value)
            self.network_inputs[name] = variable.family.look_flagged(value, self.present[name], variable.event)
        else:
            self.network_inputs[name] = value if variable is None else variable.family.look(value)

    def put_draw(self, name: str, drawn: Point, outline: Outline) -> None:
        """Store a draw: networks read its value, and densities score the point itself."""
        self.points[name] = drawn
        self.put(name, drawn.value, outline)

    def scorable(self, name: str, variable: Variable, conditional: Distribution) -> Tensor:
        """Give the value of a node; in rows that do not have its step, another one with a finite score."""
        value = self.values[name]
        if name not in self.exist or name not in self.plan.clamped:
            return value
        exists = self.exist[name].reshape(-1, *(1,) * len(variable.event))
        return torch.where(exists, value, variable.family.inside(conditional, value))

    def score(self, log: Tensor, name: str, role: str) -> Score:
        """Lay out the score of a node over at most the dimensions that the plan gives it."""
        return self.layout.score(log, self.plan.dims(name, role))
