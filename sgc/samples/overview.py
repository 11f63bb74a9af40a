"""An overview of a model in panels: samples, a row for each category, held-out rows and their reconstructions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgc.derivation.existence import counts_of
from sgc.distributions.row_totals import OWN_SUM
from sgc.errors import DataError, RunError, UsageError, option
from sgc.runtime.counts import filled, values_of
from sgc.runtime.finiteness import rows_words
from sgc.runtime.model import Model
from sgc.runtime.steps import join, nodes_of, split, steps_of
from sgc.samples.decomposition import decompositions
from sgc.samples.panels import Panel, shades, whole_picture
from sgc.samples.shown_rows import WIDE, HeldOut, category_word, share_word, spread
from sgc.samples.traversal import generated_mean, infer_centers, posterior_means

POSTERIOR = 16  # samples of the weighted posterior


def generated(
    model: Model, count: int, given: Mapping[str, Any], failures: list[str], **words: Any
) -> dict[str, Tensor]:  # Any: values as a spec may hold them
    """Sample rows, with given nodes held at their values.

    failures: takes in the rows that are not finite. Raises: UsageError; RunError if no row is finite.
    """
    try:
        generation = model.generation(count, given, **words)
    except (ValueError, KeyError) as problem:
        raise UsageError(f"{option('given')}: {problem.args[0]}") from None
    if generation.broken:
        failures.append(f"samples that are not finite: {rows_words(generation.broken)}")
    return generation.values


def shown_node(model: Model, ending: str) -> str:
    """Choose the node that is shown: a picture, preferably observed in every row; as numbers any observed node."""
    variables = model.outline.outer
    observed = [
        name for name, variable in variables.items() if variable.supervision != "none" and variable.categories is None
    ]
    shown = [name for name in observed if whole_picture(variables[name].event, steps_of(model.outline, name))]
    if not shown and ending == ".png":
        own = [name for name, variable in model.outline.variables.items() if variable.total == OWN_SUM]
        more = f", and give '{own[0]}': its total is its own sum" if own else ""
        raise UsageError(f"no observed node is a picture: write numbers with -o FILE.npz{more}")
    shown = shown or observed
    if not shown:
        raise UsageError("every observed node is a category: there are no numbers to show")
    return next((name for name in shown if variables[name].supervision == "full"), shown[0])


def not_finite_words(model: Model, name: str, value: Tensor, what: str, rows: Sequence[str]) -> list[str]:
    """List the rows whose values of a shown node, [R, *event] or [R, C, *event], are not finite."""
    known = value.isnan() if name in model.outline.stepped else torch.zeros_like(value, dtype=torch.bool)
    wrong = ~(torch.isfinite(value) | known).reshape(len(value), -1).all(1)  # a step that does not exist is NaN
    wrong |= value.isnan().reshape(len(value), -1).all(1)
    listed = [rows[place] for place in wrong.nonzero().reshape(-1).tolist()]
    return [f"{what} that are not finite, of node '{name}': {', '.join(listed)}"] if listed else []


def _lacks(value: Tensor) -> bool:
    """Tell whether some of the generated values are missing: NaN, or -1 for categories."""
    return bool((value.isnan() if value.is_floating_point() else value == -1).any())


class Overview:
    """Makes the panels of one model; `held` are the given values of nodes and inputs, not used in held-out rows."""

    def __init__(self, model: Model, node: str, held: Mapping[str, Any]) -> None:  # Any: as above
        self.model, self.node, self.held = model, node, held
        self.variable, self.steps = model.outline.outer[node], nodes_of(model.outline, node)
        self.failures: list[str] = []  # what is not finite
        self.left_out = ""  # why there are no reconstructions
        self.taken: dict[str, Any] = {}  # the held-out rows that are shown; Any: what JSON can say

    def pictures(self, values: Tensor, rows: int) -> np.ndarray:
        """Arrange values as a grid of so many rows."""
        return shades(values.detach().cpu().numpy(), self.variable, rows, steps_of(self.model.outline, self.node))

    def samples(self, count: int) -> Panel:
        """Draw rows from the model, with given nodes held at their values."""
        wide = min(WIDE, count)
        shown = max(wide, count // wide * wide)
        drawn = generated(self.model, shown, self.held, self.failures, means=[self.node])
        return Panel("samples", self.pictures(drawn[self.node], shown // wide))

    def categories(self) -> list[Panel]:
        """Show a row for each category of each node with categories, with everything else the same in a column."""
        panels = []
        for name, variable in self.model.outline.outer.items():
            if variable.categories is None or len(variable.event) > 1 or name in self.held or name == self.node:
                continue
            if name not in self.model.outline.graphs.ancestors(self.steps, "generative"):
                continue
            roots = self._style(name)
            places = torch.from_numpy(spread(WIDE, variable.categories))
            repeated = {k: v.repeat_interleave(len(places), 0) for k, v in roots.items()}
            held = {**self.held, **repeated, name: places.repeat(WIDE)}
            drawn = generated(self.model, WIDE * len(places), held, self.failures, means=[self.node])[self.node]
            grid = drawn.reshape(WIDE, len(places), *self.variable.event).transpose(0, 1)
            rows = tuple(f"{name} = {category_word(self.model, name, place)}" for place in places.tolist())
            title = f"each {name}{share_word(len(places), variable.categories)}, the rest alike down a column"
            panels.append(Panel(title, self.pictures(grid, len(places)), rows))
        return panels

    def _style(self, name: str) -> dict[str, Tensor]:
        """Draw the nodes that do not depend on a node in p and are not the picture: they stay when the node is turned.

        The steps of a repeat are drawn separately. If the node counts steps, as many are drawn as it can count, so that
        a step is the same in all rows in which it exists. A step that is absent by another count is kept if the count
        is kept too.
        """
        outline, graphs = self.model.outline, self.model.outline.graphs
        holding = dict(self.held)
        if name in counts_of(graphs):
            numbers = values_of(outline.variables[name])
            holding[name] = torch.tensor(numbers.index(max(numbers)))
        drawn = split(outline, generated(self.model, WIDE, holding, self.failures))
        changed = {name}
        for node in graphs.order("generative"):
            if node in graphs.nodes and graphs.sources(graphs.parents(node, "generative")) & changed:
                changed.add(node)
        held = {node for held_name in self.held for node in nodes_of(outline, held_name)}
        unchanged = set(graphs.nodes) - changed - held - set(self.steps)
        certain = {n for n in unchanged if {*graphs.nodes[n].counts} <= unchanged | held | {name}}
        joined = join(outline, {n: v for n, v in drawn.items() if n in unchanged and (n in certain or not _lacks(v))})
        return {n: v for n, v in joined.items() if n in outline.stepped or not _lacks(v)}

    def reconstructions(self, opened: Callable[[], HeldOut]) -> list[Panel]:
        """Show held-out rows above their reconstructions; none if the data cannot be opened, and `left_out` says why.

        They are generated from the centers of q, node by node, and from the weighted posterior too if the model was
        trained with several samples. If there are windows on the picture, they also decompose the rows.
        """
        try:
            held_out = opened()
            chosen = held_out.choose(self.node, WIDE)
        except (UsageError, DataError) as problem:
            self.left_out = f"no reconstructions: {problem}"
            return []
        except RunError as problem:
            self.failures.append(f"no reconstructions: {problem}")
            return []
        self.failures += held_out.failures
        batch = chosen.batch
        data = join(self.model.outline, batch).get(self.node)
        if data is None:  # the node is itself inferred
            self.left_out = f"no reconstructions: '{self.node}' is not observed in every row"
            return []
        self.taken = held_out.taken()
        values = infer_centers(self.model, batch)
        shown = [data, generated_mean(self.model, values, self.node)]
        if self.model.spec.objective.samples > 1:
            variables = self.model.outline.variables
            means = posterior_means(self.model, batch, POSTERIOR)
            values = {**values, **{name: variables[name].family.support.nearest(mean) for name, mean in means.items()}}
            values = filled(self.model.outline, values)
            shown.append(generated_mean(self.model, values, self.node))
        rows = ("data", "from q", "posterior")[: len(shown)]
        texts = [f"{chosen.split} row {row}" for row in chosen.ids]
        for reconstruction in shown[1:]:
            self.failures += not_finite_words(self.model, self.node, reconstruction, "reconstructions", texts)
        title = f"{chosen.kind}, and their reconstructions"
        panel = Panel(title, self.pictures(torch.cat(shown), len(shown)), rows, chosen.words)
        return [panel, *decompositions(self.model, self.node, held_out, chosen)]
