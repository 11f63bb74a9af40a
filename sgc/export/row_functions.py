"""What a graph computes of one row, in the runtime's own operations: q's or the posterior's answers, and p's draws.

Everything has a leading axis of the one row. A graph maps the function over the rows of a batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sgc.data.encoder import Encoder
from sgc.derivation.existence import counts_of
from sgc.distributions.row_totals import OWN_SUM
from sgc.errors import ParameterError, UsageError
from sgc.export.noise import DrawnFromNoise
from sgc.export.preprocessing import Cells
from sgc.objectives.bounds import IWAE
from sgc.runtime import steps
from sgc.runtime.batch import PatternRows
from sgc.runtime.density_modules import naming
from sgc.runtime.generation import inputs_wanted
from sgc.runtime.group import Group
from sgc.runtime.inference import Answer
from sgc.runtime.layout import Layout
from sgc.runtime.model import Model
from sgc.runtime.network_modules import read_by
from sgc.runtime.posterior import Posterior


class RowFunction(ABC):
    """A function of the cells of one row and of noise. `cells`: what it reads, by outer name."""

    def __init__(self, model: Model, encoders: Mapping[str, Encoder], reads: Sequence[str]) -> None:
        """Take what the function reads. Raises: UsageError for a model that no fixed graph computes."""
        self.model, self.outline, self.encoders = model, model.outline, encoders
        if counts := counts_of(self.outline.graphs):
            raise UsageError(
                f"'{next(iter(counts))}' says how many steps a row has: a graph has the same steps for all rows"
            )
        self.cells = {name: self.cells_of(name) for name in reads}

    def cells_of(self, name: str) -> Cells:
        """Describe the cells of a node or an input."""
        if name in self.outline.inputs:
            entry = self.outline.inputs[name]
            return Cells(name, entry.shape, entry.categories, self.encoders.get(name), entry.values)
        variable = self.outline.outer[name]
        read = self.encoders.get(name), variable.values, variable.dropped
        return Cells(name, variable.event, variable.categories, *read)

    @property
    def whole(self) -> frozenset[str]:
        """The outputs that are draws of whole numbers."""
        return frozenset()

    def values_of(self, given: Sequence[Tensor], mode: DrawnFromNoise) -> dict[str, Tensor]:
        """Read the cells of the row as values by node, [1, *event]."""
        values: dict[str, Tensor] = {}
        for cells, tensor in zip(self.cells.values(), given, strict=True):
            mode.of = cells.name
            uniforms = mode.noise("uniform", cells.shape, torch.float32) if cells.draws else None
            values[cells.name] = cells.read(tensor, self.model.like, uniforms)
        mode.of = ""
        return steps.split(self.outline, values)

    @abstractmethod
    def __call__(self, given: Sequence[Tensor], mode: DrawnFromNoise) -> dict[str, Tensor]:
        """Compute the outputs of the row by name, under the mode. given: the cells, [1, *shape] each."""


class Prediction(RowFunction):
    """The means of unobserved nodes, and the deviations of numbers, in the units of the data; probabilities."""

    def __init__(
        self, model: Model, encoders: Mapping[str, Encoder], given: Sequence[str], samples: int, from_: Answer
    ) -> None:
        outline = model.outline
        outer = outline.outer
        evidence = [name for name, variable in outer.items() if variable.supervision == "full" or variable.dropped]
        for name in given:
            if name not in outer or outer[name].supervision != "partial":
                raise UsageError(f"'{name}' is no partially labelled node, which a prediction could be given")
        super().__init__(model, encoders, [*outline.inputs, *dict.fromkeys([*evidence, *given])])
        self.observed = frozenset(node for name in given for node in steps.nodes_of(outline, name))
        self.observed = frozenset(node for node in self.observed if not outline.variables[node].dropped)
        self.samples, self.weighted = samples, from_ == "posterior"

    def __call__(self, given: Sequence[Tensor], mode: DrawnFromNoise) -> dict[str, Tensor]:
        with mode:
            part = PatternRows(self.observed, 1, None, self.values_of(given, mode))
            (sums,) = self.model.sums([part], samples=self.samples, exact=True, bound=IWAE)
            posterior = Posterior(sums, self.outline)
            means = {name: posterior.mean(name, weighted=self.weighted) for name in sums.plan.proposed}
            spreads = {n: posterior.deviation(n, mean, weighted=self.weighted) for n, mean in means.items()}
            means, spreads = steps.join(self.outline, means), steps.join(self.outline, spreads)
            outputs: dict[str, Tensor] = {}
            for name, mean in means.items():
                cells = self.cells_of(name)
                if cells.categories is not None:
                    outputs[f"{name}.probability"] = mean
                    continue
                outputs[name] = cells.write(mean)
                spread = cells.write_deviation(spreads[name])
                if spread is not None:
                    outputs[f"{name}.sd"] = spread
            return outputs


class Generation(RowFunction):
    """Draws of p, each node after its parents, in the units of the data, and the mean that each is drawn about.

    `undrawn`: the nodes that nothing reads and that no noise of a fixed size draws: their means alone are given.
    """

    def __init__(self, model: Model, encoders: Mapping[str, Encoder], given: Sequence[str]) -> None:
        outline = model.outline
        for name in given:
            if name not in outline.outer and name not in outline.inputs:
                raise UsageError(f"no node or input is named '{name}', which a generation could be given")
        wanted = inputs_wanted(outline, given)
        super().__init__(model, encoders, list(dict.fromkeys([*wanted, *given])))
        held = {node for name in self.cells for node in steps.nodes_of(outline, name)}
        self.read = outline.names_read("generative", without=held)
        for name, variable in outline.variables.items():
            if variable.total == OWN_SUM and name not in held:
                raise UsageError(f"'{name}' cannot be drawn: its total is the sum of its own value")
        self.undrawn: dict[str, str] = {}

    @property
    def whole(self) -> frozenset[str]:
        return frozenset(name for name, node in self.outline.outer.items() if node.family.support.discrete)

    def __call__(self, given: Sequence[Tensor], mode: DrawnFromNoise) -> dict[str, Tensor]:
        with mode:
            held = self.values_of(given, mode)
            layout, outline = Layout({}, 1, 1), self.outline
            group = Group(self.model.plan(()), layout, {}, self.model.like)
            drawn: dict[str, Tensor] = {}
            means: dict[str, Tensor] = {}
            for name in [*(n for n in outline.inputs if n in held), *outline.graphs.order("generative")]:
                if name in held:
                    group.put(name, layout.clamp(held[name]), outline)
                elif name in outline.features:
                    if name in self.read:
                        feature = self.model.machine.features[name]
                        (value,) = feature([read_by(feature, group.values, group.network_inputs)], layout.rank)
                        group.put(name, value, outline)
                elif name not in outline.inputs:
                    self._node(name, group, mode, drawn, means)
            return self._outputs(steps.join(outline, drawn), steps.join(outline, means))

    def _node(
        self, name: str, group: Group, mode: DrawnFromNoise, drawn: dict[str, Tensor], means: dict[str, Tensor]
    ) -> None:
        """Draw a node, if it can be, and give its mean, if it has one. Raises: ParameterError if it cannot be drawn."""
        module, variable = self.model.machine.generative[name], self.outline.variables[name]
        parents = [group.network_inputs[parent] for parent in module.outline.parents]
        (parameters,) = module.parameters_of([parents], [group.values], group.layout.rank)
        p = module.distribution(parameters, finite=True)
        leading = group.layout.drawn(p.batch_shape)
        means[name] = variable.family.mean(p.expand(leading)).reshape(1, *variable.event)
        mode.of = name
        try:
            with naming(module.outline):
                value = variable.family.draw(p, leading).value.reshape(1, *variable.event)
        except ParameterError as problem:
            if name in self.read:
                raise
            self.undrawn[name] = problem.message
            return
        drawn[name] = value
        group.put(name, group.layout.clamp(value), self.outline)

    def _outputs(self, drawn: Mapping[str, Tensor], means: Mapping[str, Tensor]) -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = {}
        for name, mean in means.items():
            cells = self.cells_of(name)
            if cells.categories is not None:
                if name in drawn:
                    outputs[name] = drawn[name].argmax(-1)
                outputs[f"{name}.probability"] = mean
                continue
            if name in drawn:
                outputs[name] = cells.write(drawn[name])
            outputs[f"{name}.mean"] = cells.write(mean)
        return outputs


def output_facts(function: RowFunction, name: str) -> dict[str, Any]:  # Any: what JSON can say
    """Say what an output is, by its name."""
    known = {**function.outline.outer, **function.outline.inputs}
    node, what = (name, "") if name in known else (name.rpartition(".")[0], name.rpartition(".")[2])
    facts = function.cells_of(node).facts()
    for key in ("in_the_graph", "before_the_graph", "empty"):
        facts.pop(key, None)
    if what == "probability":
        facts |= {"values": "probabilities", "shape": [*facts["shape"], facts["categories"]]}
    words = {"sd": "standard deviation", "mean": "mean", "probability": "probability of each category"}
    plain = "mean" if isinstance(function, Prediction) else "draw"
    return {"node": node, "is": words.get(what, plain), **facts}
