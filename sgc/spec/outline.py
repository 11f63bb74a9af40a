"""The outline of a model: every name of a spec resolved, every shape inferred, every parameter counted, without torch.

`check` makes one to find faults of shape, `inspect` prints one, `compile` builds modules from one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from sgc.derivation.experts import Experts
from sgc.derivation.graph import Graphs, Role, Supervision
from sgc.derivation.row_groups import Merging
from sgc.distributions.family import Family
from sgc.distributions.supports import REAL, Support
from sgc.networks.entries import OwnNetwork
from sgc.networks.entry import Entry
from sgc.networks.layer import Shape
from sgc.networks.stack import Stack
from sgc.objectives.estimator import Estimator
from sgc.objectives.gradient import GRADIENTS
from sgc.objectives.objective import Objective
from sgc.objectives.objective_words import ObjectiveWords
from sgc.schedules import Number
from sgc.spec.fixed_parameters import Constant as Constant
from sgc.spec.spec import Spec


@dataclass(frozen=True)
class Density:
    """One conditional, resolved: the network on its parents, the heads it gives, and the constant parameters.

    One of experts has no network, no heads and no constants of its own, but a density for each expert. It also reads
    what says whether an expert's parents are there.
    """

    node: str
    role: Role
    parents: tuple[str, ...]  # what the network reads
    reads: tuple[str, ...]  # these and the names that parameters take their value from
    entries: tuple[Entry, ...]
    trunk: str  # the name of the shared network; empty where it is the density's own
    stack: Stack | None  # None: no network
    heads: Mapping[str, Shape]
    constants: Mapping[str, Constant]
    parameters: int  # of the heads and constants, and of the network where it is not shared
    experts: Experts | None = None
    of_experts: tuple[Density, ...] = ()  # in the order of `experts.members`
    weight_decay: Number | None = None  # of the weights of its own network; None: that of the optimiser

    @property
    def conditionals(self) -> tuple[Density, ...]:
        """The densities with networks of their own: those of its experts, or itself."""
        return self.of_experts or (self,)

    @property
    def shared_parameters(self) -> int:
        """Count the parameters of the shared networks that it uses, each once."""
        shared = {d.trunk: d.stack.parameters for d in self.conditionals if d.trunk and d.stack is not None}
        return sum(shared.values())


@dataclass(frozen=True)
class Variable:
    """A random variable, resolved."""

    name: str
    family: Family
    support: Support  # the family's, within the bounds that p's fixed parameters give
    shape: Shape  # without the category axis
    event: Shape  # with it: the value in the graph
    view: Shape  # what networks read of it
    categories: int | None
    values: tuple[Any, ...] | None  # Any: the names of categories as in the data
    supervision: Supervision
    estimator: Estimator | None
    dropped: bool = False  # missing: drop
    total: str = ""  # the source of a total_count by row: an input, or `OWN_SUM`; empty: it is not by row


@dataclass(frozen=True)
class FeatureOutline:
    """A feature, resolved."""

    name: str
    parents: tuple[str, ...]
    entries: tuple[Entry, ...]
    trunk: str
    stack: Stack
    weight_decay: Number | None = None  # as for Density

    @property
    def parameters(self) -> int:
        return 0 if self.trunk else self.stack.parameters


@dataclass(frozen=True)
class InputOutline:
    """An input, resolved: a category as one-hot, or numbers."""

    name: str
    shape: Shape
    categories: int | None
    values: tuple[Any, ...] | None  # Any: as for Variable
    support: Support = REAL  # the range that parameters taken from it require


@dataclass(frozen=True)
class Stepped:
    """A node of a repeat as data and users know it, with one name for all steps.

    steps: the sizes of the repeats around it, outermost first; nodes: the node of each step, row-major.
    """

    name: str
    steps: tuple[int, ...]
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Outline:
    """A whole model without its tensors."""

    spec: Spec
    variables: Mapping[str, Variable]
    features: Mapping[str, FeatureOutline]
    inputs: Mapping[str, InputOutline]
    generative: Mapping[str, Density]
    recognition: Mapping[str, Density]
    graphs: Graphs = field(repr=False)
    stepped: Mapping[str, Stepped] = field(default_factory=dict)

    @cached_property
    def outer(self) -> Mapping[str, Variable]:
        """Every variable as data and users know it: for a node of a repeat one, whose first axes are the steps."""
        outer: dict[str, Variable] = {}
        for name, variable in self.variables.items():
            if name not in self.outer_name:
                outer[name] = variable
            elif (outer_name := self.outer_name[name]) not in outer:
                steps = self.stepped[outer_name].steps
                shape, event, view = ((*steps, *part) for part in (variable.shape, variable.event, variable.view))
                outer[outer_name] = replace(variable, name=outer_name, shape=shape, event=event, view=view)
        return outer

    @cached_property
    def outer_name(self) -> Mapping[str, str]:
        """The one name of all steps of a node, by the node of each step."""
        return {node: name for name, stepped in self.stepped.items() for node in stepped.nodes}

    @property
    def objective(self) -> Objective:
        return self.spec.objective

    @cached_property
    def words(self) -> ObjectiveWords:
        """The words of the objective that shape a plan."""
        objective = self.objective
        return ObjectiveWords(
            bound=self.spec.maximised,
            samples=objective.samples,
            weights=objective.weights,
            label_term=objective.label_term,
            kl=objective.kl,
            gradient=GRADIENTS[objective.gradient],
            alpha_by_node=isinstance(objective.alpha, Mapping),
        )

    @cached_property
    def merging(self) -> Merging:
        """Which observation patterns may share a plan."""
        passed = {
            (density.node, density.role): density.parameters + density.shared_parameters
            for density in [*self.generative.values(), *self.recognition.values()]
        }
        return Merging(self.graphs, self.words, passed)

    def names_read(self, role: Role, *, without: Collection[str] = ()) -> set[str]:
        """Name everything that the conditionals of a graph read, directly or through features.

        without: nodes whose conditionals do not count.
        """
        densities = self.generative if role == "generative" else self.recognition
        front = [name for node, density in densities.items() if node not in without for name in density.reads]
        reached: set[str] = set()
        while front:
            name = front.pop()
            if name not in reached:
                reached.add(name)
                front += self.features[name].parents if name in self.features else ()
        return reached

    @property
    def own_networks(self) -> tuple[str, ...]:
        """Name the networks of the user's own code, whose parameters only their classes know."""
        features = self.features.values()
        densities = [*self.generative.values(), *self.recognition.values()]
        pieces: list[Density | FeatureOutline] = [*(part for d in densities for part in d.conditionals), *features]
        entries = (entry for piece in pieces for entry in piece.entries)
        return tuple(dict.fromkeys(entry.python for entry in entries if isinstance(entry, OwnNetwork)))

    def parameter_count(self) -> int:
        """Count every learned number, shared networks once."""
        return sum(count for _, count in self.parameter_table())

    def parameter_table(self) -> list[tuple[str, int]]:
        """List the densities, features and shared networks that have parameters, and how many."""
        rows: list[tuple[str, int]] = []
        shared: dict[str, int] = {}
        names = self.spec.unrolled
        for density in [*self.generative.values(), *self.recognition.values()]:
            letter = "p" if density.role == "generative" else "q"
            if names.owner(density.node) == density.node:  # the steps of a repeat share theirs
                rows.append((f"{letter}({names.id(density.node).name})", density.parameters))
            for part in density.conditionals:
                if part.trunk and part.stack is not None:
                    shared[part.trunk] = part.stack.parameters
        for feature in self.features.values():
            if names.owner(feature.name) == feature.name:
                rows.append((names.id(feature.name).name, feature.parameters))
            if feature.trunk:
                shared[feature.trunk] = feature.stack.parameters
        return [row for row in rows if row[1]] + [(f"network {name}", count) for name, count in shared.items() if count]
