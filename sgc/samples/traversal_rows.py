"""Rows in which one node is turned: through its categories, the range of its labels, or the dimensions of a latent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgc.errors import UsageError, option, suggest
from sgc.runtime.counts import absent_rows
from sgc.runtime.generation import intervened_nodes
from sgc.runtime.model import Model
from sgc.runtime.steps import join, listed, nodes_of, owner_of, steps_of
from sgc.samples.overview import not_finite_words
from sgc.samples.panels import Panel, shades
from sgc.samples.shown_rows import WIDE, Chosen, HeldOut, category_word, share_word, spread
from sgc.samples.traversal import followers, infer_centers, reaches, turn, with_generated

STEPS = 9  # values that a node of numbers is turned through
TALL = 20  # dimensions of a latent node that are shown at most


@dataclass(frozen=True)
class Turned:
    """Rows in which one node is turned: all values, [R, C, *event], and the rows before."""

    title: str
    values: dict[str, Tensor]
    before: dict[str, Tensor]  # [R, *event], inferred; of the node that is shown, the generated mean
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    ids: tuple[int, ...]  # of each row
    own: Tensor | None = None  # the rows' own pictures, [R, *event]; None if they are not shown

    def panel(self, model: Model, node: str) -> Panel:
        """Show each row: its own picture and the one generated for it, if they are shown, and then the turned ones."""
        first = [] if self.own is None else [self.own.unsqueeze(1), self.before[node].unsqueeze(1)]
        words = ("data", "from q")[: len(first)]
        grid = torch.cat([*first, self.values[node]], 1).cpu().numpy()
        pictures = shades(grid, model.outline.outer[node], len(grid), steps_of(model.outline, node))
        return Panel(self.title, pictures, self.rows, (*words, *self.columns), len(first))

    def failures(self, model: Model, node: str) -> list[str]:
        """List the rows whose generated pictures are not finite."""
        texts = [f"row {row}" for row in self.ids]
        pictures = join(model.outline, self.values, axis=2)[node]
        return not_finite_words(model, node, pictures, "pictures", texts)

    def arrays(self, model: Model, node: str) -> dict[str, Tensor]:
        """Give all values by outer name, [R, C, *event] or [R, C, *steps, *event], categories as integers.

        NODE.row, NODE.data and NODE.model are the ids of the rows, their own pictures, and the ones generated for them.
        """
        arrays: dict[str, Tensor] = {}
        for name, value in join(model.outline, self.values, axis=2).items():
            arrays[name] = value if owner_of(model.outline, name).categories is None else value.argmax(-1)
        arrays[f"{node}.row"] = torch.tensor(self.ids)
        if self.own is not None:
            arrays[f"{node}.data"] = self.own
        return {**arrays, f"{node}.model": self.before[node]}


class Turner:
    """Turns nodes in held-out rows of one model; `held` are the given values of nodes and inputs, in all rows."""

    def __init__(self, model: Model, node: str, held: Mapping[str, Any], opened: Callable[[], HeldOut]) -> None:
        # Any: values as a spec may hold them
        self.model, self.node, self.held, self._opened = model, node, held, opened

    @cached_property
    def held_out(self) -> HeldOut:
        """The rows, opened when they are first needed."""
        return self._opened()

    def analogies(self, name: str) -> Turned:
        """Turn one node through its categories in held-out rows. Raises: UsageError."""
        variables = self.model.outline.variables
        self._want_step(name, "analogies")
        turnable = [n for n, v in variables.items() if v.categories and len(v.event) == 1]
        if name in variables and variables[name].categories and name not in turnable:
            raise UsageError(
                f"{option('analogies')}: '{name}' has several categories in a row, and one alone can be turned"
            )
        if name not in turnable:
            raise UsageError(
                f"{option('analogies')}: '{name}' is not a node with categories ({suggest(name, turnable)})"
            )
        self._check(name, "analogies")
        count = variables[name].categories
        assert count is not None
        chosen = self._choose(name, WIDE, "analogies")
        places = torch.from_numpy(spread(WIDE, count))
        values = torch.eye(count, dtype=self.model.like.dtype, device=self.model.like.device)[places]
        words = tuple(f"{name} = {category_word(self.model, name, place)}" for place in places.tolist())
        title = f"{name} turned through its categories{share_word(len(places), count)}"
        return self._turn(name, values.expand(len(chosen), *values.shape), chosen, title, words)

    def traverse(self, name: str) -> Turned:
        """Turn a node of numbers through its values in the data, or a latent by dimension. Raises: UsageError."""
        variables, shown = self.model.outline.variables, nodes_of(self.model.outline, self.node)
        self._want_step(name, "traverse")
        latent = [n for n, v in variables.items() if v.supervision == "none" and not v.family.support.bounded]
        labelled = [n for n, v in variables.items() if v.supervision != "none" and v.categories is None]
        movable = [n for n in [*latent, *labelled] if n not in shown and not variables[n].dropped]
        if name not in movable:
            hint = suggest(name, movable)
            if name in variables and variables[name].categories:
                hint = f"{option('analogies', name)} turns its categories"
            raise UsageError(f"{option('traverse')}: '{name}' is not a node of numbers that can be turned ({hint})")
        self._check(name, "traverse")
        if name in latent:
            return self._dimensions(name)
        values, words, origin = self.held_out.range_of(name, STEPS)
        chosen = self._choose(name, WIDE, "traverse")
        title = f"{name} turned through its values in the {origin}"
        return self._turn(name, values.expand(len(chosen), *values.shape), chosen, title, words)

    def _dimensions(self, name: str) -> Turned:
        """Move each dimension of a latent node from -3 to 3, in one row."""
        size = prod(self.model.outline.variables[name].event)
        shown = min(size, TALL)
        chosen = self._choose(name, 1, "traverse")
        start = infer_centers(self.model, chosen.batch)[name]
        steps = torch.linspace(-3, 3, STEPS).to(start)
        moved = start.reshape(1, 1, size).repeat(shown, len(steps), 1)
        for i in range(shown):
            moved[i, :, i] = steps
        values = moved.reshape(shown, len(steps), *start.shape[1:])
        title = f"each dimension of {name} from -3 to 3{share_word(shown, size, 'the first ')}"
        rows = tuple(f"{name}[{i}]" for i in range(shown))
        return self._turn(name, values, chosen, title, tuple(f"{step:.3g}" for step in steps.tolist()), rows)

    def _choose(self, name: str, count: int, flag: str) -> Chosen:
        """Choose rows; if a step is turned, those in which it exists by the inferred and the held values."""
        if not self.model.outline.graphs.nodes[name].exists:
            return self.held_out.choose(self.node, count)

        def fit(batch: dict[str, Tensor]) -> np.ndarray:
            rows = len(next(iter(batch.values())))
            gone = absent_rows(self.model.outline, name, {**infer_centers(self.model, batch), **self._hold(rows)})
            exists = np.ones(rows, dtype=bool) if gone is None else ~gone.reshape(rows).cpu().numpy()
            if not exists.any():
                raise UsageError(
                    f"{option(flag)}: '{name}' exists in none of {rows} held-out rows by what is inferred of them: "
                    f"hold its count with {option('given')}"
                )
            return exists

        return self.held_out.choose(self.node, count, fit)

    def _want_step(self, name: str, flag: str) -> None:
        stepped = self.model.outline.stepped
        if name in stepped:
            steps = listed(stepped[name].nodes)
            raise UsageError(
                f"{option(flag)}: '{name}' is a node of a repeat, and one step alone can be turned: {steps}"
            )

    def _check(self, name: str, flag: str) -> None:
        outline = self.model.outline
        if name in self.held or outline.outer_name.get(name) in self.held:
            raise UsageError(f"{option('given')} {name} beside {option(flag)} {name}: hold a node or turn it, not both")
        if any(node in self.held for node in (self.node, *nodes_of(outline, self.node))):
            raise UsageError(
                f"{option('given')} {self.node}: it is what is shown, and cannot be held beside {option(flag)}"
            )
        if not reaches(outline.graphs, name, nodes_of(outline, self.node)):
            raise UsageError(
                f"{option(flag)}: '{self.node}' does not depend on '{name}': its pictures would all be the same"
            )

    def _turn(
        self,
        name: str,
        values: Tensor,
        chosen: Chosen,
        title: str,
        columns: tuple[str, ...],
        rows: tuple[str, ...] = (),
    ) -> Turned:
        """Give rows the values of a node, [R, C, *event], and the held values.

        rows: labels of all R, if one row was chosen; its own picture is then not shown.
        """
        model, (count, wide) = self.model, values.shape[:2]
        before = infer_centers(model, chosen.batch)
        before = {n: v.expand(count, *v.shape[1:]) for n, v in before.items()}
        new = {name: values.flatten(0, 1), **self._hold(count * wide)}
        spread_out = {n: v.repeat_interleave(wide, 0) for n, v in before.items()}
        values_now = turn(model, spread_out, new, self.node)
        ways = {"recognition": "proposed", "generative": "generated"}
        shown = nodes_of(model.outline, self.node)
        anew = [f"{n} {ways[role]} anew" for n, role in followers(model.outline.graphs, new, shown)]
        held_words = [f"{n} = {value}" for n, value in self.held.items()]
        return Turned(
            "; ".join([title, ", ".join([*held_words, *anew, "the rest as inferred"])]),
            {n: v.reshape(count, wide, *v.shape[1:]) for n, v in values_now.items()},
            with_generated(model, before, self.node),
            rows or chosen.words,
            columns,
            chosen.ids * (count // len(chosen)),
            None if rows else join(model.outline, chosen.batch).get(self.node),
        )

    def _hold(self, count: int) -> dict[str, Tensor]:
        try:
            return intervened_nodes(self.model.outline, self.held, count, self.model.like)
        except ValueError as problem:
            raise UsageError(f"{option('given')}: {problem.args[0]}") from None
