"""An overview of a model in panels: samples, a row for each category, held-out rows and their reconstructions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgc.errors import DataError, UsageError
from sgc.running.choosing import WIDE, HeldOut, category_word, share_word, spread
from sgc.running.panels import Panel, shades
from sgc.running.turning import inferred, made, settled
from sgc.runtime.model import Model
from sgc.runtime.steps import apart, filled, join, nodes_of, split, steps_of

POSTERIOR = 16  # samples of the weighted posterior


def generated(model: Model, count: int, given: Mapping[str, Any], **words: Any) -> dict[str, Tensor]:
    """Sample rows, what is held as it is. Any: values as a spec may hold them. Raises: UsageError."""
    try:
        return model.generate(count, given, **words)
    except (ValueError, KeyError) as problem:
        raise UsageError(f"--given: {problem.args[0]}") from None


def _lacks(value: Tensor) -> bool:
    """Tell whether some of what was generated is missing: NaN, or -1 of categories."""
    return bool((value.isnan() if value.is_floating_point() else value == -1).any())


class Overview:
    """Makes the panels of one model; `held` are nodes and inputs that are given, in all but the held-out rows."""

    def __init__(self, model: Model, node: str, held: Mapping[str, Any]) -> None:  # Any: as above
        self.model, self.node, self.held = model, node, held
        self.variable, self.steps = model.outline.outer[node], nodes_of(model.outline, node)
        self.left_out = ""  # why there are no reconstructions
        self.taken: dict[str, Any] = {}  # which held-out rows were; Any: what JSON can say

    def pictures(self, values: Tensor, rows: int) -> np.ndarray:
        """Lay values out as a grid of so many rows."""
        return shades(values.detach().cpu().numpy(), self.variable, rows, steps_of(self.model.outline, self.node))

    def samples(self, count: int) -> Panel:
        """Draw rows from the model, what is held as it is."""
        wide = min(WIDE, count)
        whole = max(wide, count // wide * wide)
        drawn = generated(self.model, whole, self.held, means=[self.node])
        return Panel("samples", self.pictures(drawn[self.node], whole // wide))

    def categories(self) -> list[Panel]:
        """A row for every category of each node that has some, everything else alike down a column."""
        panels = []
        for name, variable in self.model.outline.outer.items():
            if variable.categories is None or len(variable.event) > 1 or name in self.held or name == self.node:
                continue
            if name not in self.model.outline.graphs.ancestors(self.steps, "generative"):
                continue
            roots = self._style(name)
            places = torch.from_numpy(spread(WIDE, variable.categories))
            given = {k: v.repeat_interleave(len(places), 0) for k, v in roots.items()}
            whole = {**self.held, **given, name: places.repeat(WIDE)}
            found = generated(self.model, WIDE * len(places), whole, means=[self.node])[self.node]
            grid = found.reshape(WIDE, len(places), *self.variable.event).transpose(0, 1)
            rows = tuple(f"{name} = {category_word(self.model, name, place)}" for place in places.tolist())
            title = f"each {name}{share_word(len(places), variable.categories)}, the rest alike down a column"
            panels.append(Panel(title, self.pictures(grid, len(places)), rows))
        return panels

    def _style(self, name: str) -> dict[str, Tensor]:
        """Draw what does not depend on a node in p and is not the picture: it stays when the node is turned.

        Each step of a repeat by itself; one that some row does not have is not kept.
        """
        outline, graphs = self.model.outline, self.model.outline.graphs
        drawn = split(outline, generated(self.model, WIDE, self.held))
        above = {n for n in graphs.nodes if name in graphs.ancestors([n], "generative")}
        held = {node for given in self.held for node in nodes_of(outline, given)}
        kept = set(graphs.nodes) - above - held - set(self.steps)
        return {n: v for n, v in drawn.items() if n in kept and not _lacks(v)}

    def reconstructions(self, opened: Callable[[], HeldOut]) -> list[Panel]:
        """Held-out rows above their reconstructions; none where the data cannot be opened, and `left_out` says why.

        The first are made of what q says of the row, node by node; of the weighted posterior too, where the model was
        trained with several samples.
        """
        try:
            held_out = opened()
            chosen = held_out.choose(self.node, WIDE)
        except (UsageError, DataError) as problem:
            self.left_out = f"no reconstructions: {problem}"
            return []
        batch = chosen.batch
        data = join(self.model.outline, batch).get(self.node)
        if data is None:  # it is inferred itself
            self.left_out = f"no reconstructions: '{self.node}' is not observed in every row"
            return []
        self.taken = held_out.taken()
        values = inferred(self.model, batch)
        shown = [data, made(self.model, values, self.node)]
        if self.model.spec.objective.samples > 1:
            outline = self.model.outline
            values = filled(outline, {**values, **self._posterior(batch)})
            shown.append(made(self.model, values, self.node))
        rows = ("data", "from q", "posterior")[: len(shown)]
        title = "held-out rows, and their reconstructions"
        return [Panel(title, self.pictures(torch.cat(shown), len(shown)), rows, chosen.words)]

    def _posterior(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Infer what is not observed by the weighted posterior: the most probable category, the mean of the rest."""
        found, outline = {}, self.model.outline
        for name, posterior in self.model.infer(batch, samples=POSTERIOR).items():
            for node, mean in apart(outline, name, posterior.mean).items():
                if not outline.variables[node].dropped:  # a leaf: nothing is made of it
                    found[node] = settled(outline.variables[node], mean)
        return found
